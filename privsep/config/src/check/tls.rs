//! `[tls]` and `[[certificate]]`.

use super::{Checked, placed, problem, safe};
use crate::file;
use crate::load::{Certificate, Named};
use crate::owner::Owners;
use popward_proto::bounded::AbsolutePath;
use popward_proto::monitor_config::CERTIFICATES_MAX;
use popward_proto::monitor_front::TlsSettings;
use std::fs::File;

/// Most seconds between two ticket keys: a day, so that none is good for longer than two.
const ROTATION_MAX: u32 = 86_400;

/// What is the same for all certificates, and the authorities of clients'.
pub(super) fn tls(file: file::Tls, owners: &Owners) -> Checked<(TlsSettings, Option<Named>)> {
    let (offset, minimum) = placed(file.minimum, || "1.2".to_owned());
    let only_1_3 = match minimum.as_str() {
        "1.2" => false,
        "1.3" => true,
        _ => return problem(offset, r#"tls.minimum: expected "1.2" or "1.3""#),
    };
    let (offset, rotation) = placed(file.ticket_rotation, || 3600);
    if rotation > ROTATION_MAX {
        return problem(offset, "tls.ticket_rotation: expected 0 to 86400");
    }
    let client_ca = match file.client_ca {
        Some(value) => {
            let (path, file) = readable("tls.client_ca", &value)?;
            // Whoever can write it can be everybody.
            safe("tls.client_ca", value.span().start, path.as_path(), owners)?;
            Some((path, file))
        }
        None => None,
    };
    let settings = TlsSettings {
        only_1_3,
        ticket_ms: rotation * 1000,
    };
    Ok((settings, client_ca))
}

pub(super) fn certificates(files: &[file::Certificate]) -> Checked<Vec<Certificate>> {
    if let Some(beyond) = files.get(CERTIFICATES_MAX) {
        return problem(
            beyond.chain.span().start,
            format!("certificate: expected at most {CERTIFICATES_MAX}"),
        );
    }
    files
        .iter()
        .map(|file| {
            Ok(Certificate {
                chain: readable("certificate.chain", &file.chain)?,
                key: readable("certificate.key", &file.key)?,
            })
        })
        .collect()
}

/// Opens a file: what is checked of it is what is used.
fn readable(key: &str, value: &file::Placed) -> Checked<Named> {
    let offset = value.span().start;
    let Ok(path) = AbsolutePath::try_from(value.get_ref().clone()) else {
        return problem(
            offset,
            format!("{key}: expected an absolute path without `..`"),
        );
    };
    match File::open(path.as_path()) {
        Ok(file) => Ok((path, file)),
        Err(error) => problem(
            offset,
            format!("{key}: expected a readable file: {path}: {error}"),
        ),
    }
}
