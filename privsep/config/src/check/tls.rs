//! `[tls]` and `[[certificate]]`: checks the settings of TLS, certificates and keys.

use super::rules::{Checked, DAY, Problem, one_of, problem, safe, seconds};
use crate::config::{Certificate, Named};
use crate::file;
use crate::host::Host;
use crate::owner::Owners;
use crate::pair;
use nix::fcntl::OFlag;
use popward_proto::bounded::AbsolutePath;
use popward_proto::config_monitor::CERTIFICATES_MAX;
use popward_proto::monitor_front::TlsSettings;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

/// Checks the settings that all certificates share, and opens the file with the authorities of
/// client certificates.
pub(super) fn tls(file: &file::Tls, owners: &Owners) -> Checked<(TlsSettings, Option<Named>)> {
    let only_1_3 = one_of(
        "tls.minimum",
        &file.minimum,
        &[("1.2", false), ("1.3", true)],
    )?;
    // No ticket key is valid for more than two of these times.
    let ticket_s = seconds("tls.ticket_rotation", &file.ticket_rotation, 0..=DAY)?;
    let client_ca = match &file.client_ca {
        Some(value) => {
            let (path, file) = readable("tls.client_ca", value)?;
            // Whoever can write to this file can make certificates for all users, and log in as
            // them.
            safe("tls.client_ca", value.span().start, path.as_path(), owners)?;
            if let Err(why) = pair::authorities(&file) {
                let expected = format!("tls.client_ca: {path}: {why}");
                return problem(value.span().start, expected);
            }
            Some((path, file))
        }
        None => None,
    };
    let settings = TlsSettings {
        only_1_3,
        ticket_ms: ticket_s * 1000,
    };
    Ok((settings, client_ca))
}

/// Opens the certificates and keys, and checks that each pair belongs together. Warns of a
/// certificate that has expired or is not valid yet.
pub(super) fn certificates(files: &[file::Certificate], host: &Host) -> Checked<Vec<Certificate>> {
    if let Some(beyond) = files.get(CERTIFICATES_MAX) {
        let expected = format!("certificate: expected at most {CERTIFICATES_MAX}");
        return problem(beyond.chain.span().start, expected);
    }
    files.iter().map(|file| certificate(file, host)).collect()
}

fn certificate(file: &file::Certificate, host: &Host) -> Checked<Certificate> {
    let (chain_at, key_at) = (file.chain.span().start, file.key.span().start);
    let chain = readable("certificate.chain", &file.chain)?;
    let key = readable("certificate.key", &file.key)?;
    secret(&key).or_else(|why| problem(key_at, format!("certificate.key: {why}")))?;
    let at_chain = |why: String| Problem {
        offset: chain_at,
        expected: format!("certificate.chain: {}: {why}", chain.0),
    };
    let at_key = |why: String| Problem {
        offset: key_at,
        expected: format!("certificate.key: {}: {why}", key.0),
    };
    let certificates = pair::chain(&chain.1).map_err(at_chain)?;
    let signing = pair::key(&key.1).map_err(at_key)?;
    if let Some(when) = pair::not_valid_now(&certificates).map_err(at_chain)? {
        host.warn(chain_at, format!("certificate.chain: {}: {when}", chain.0));
    }
    if !pair::belong_together(certificates, signing) {
        let expected = format!("expected the key of the certificate in {}", chain.0);
        return Err(at_key(expected));
    }
    Ok(Certificate { chain, key })
}

/// The mode bits that let everybody read and write a file.
const EVERYBODYS: u32 = 0o006;

/// Refuses a key that everybody can read or write, because such a key is no longer secret. ssh does
/// the same with host keys. A group may read the key, for example Debian's ssl-cert.
fn secret((path, file): &Named) -> Result<(), String> {
    let mode = file.metadata().map_or(0, |status| status.mode()) & 0o7777;
    if mode & EVERYBODYS == 0 {
        return Ok(());
    }
    Err(format!(
        "{path}: expected a file that is not open to everybody, not one of mode {mode:04o}: make a new key, or chmod 0600"
    ))
}

/// Opens a regular file. The checks and later the processes use the same open file, so nobody can
/// replace the file after the checks.
fn readable(key: &str, value: &file::Placed) -> Checked<Named> {
    let offset = value.span().start;
    let Ok(path) = AbsolutePath::try_from(value.get_ref().clone()) else {
        return problem(
            offset,
            format!("{key}: expected an absolute path without `..`"),
        );
    };
    // Without O_NONBLOCK, opening a FIFO would wait for somebody who writes to it.
    let mut options = File::options();
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    match options.open(path.as_path()) {
        Ok(file) if file.metadata().is_ok_and(|status| status.is_file()) => Ok((path, file)),
        Ok(_) => problem(offset, format!("{key}: expected a regular file: {path}")),
        Err(error) => problem(
            offset,
            format!("{key}: expected a readable file: {path}: {error}"),
        ),
    }
}
