//! `[auth]`: where accounts come from, and which may log in.

use super::{Checked, problem};
use crate::config::{Auth, file};
use popward_proto::bounded::{AbsolutePath, Text};
use popward_proto::monitor_auth::AccountSource;

pub(super) fn auth(file: &file::Auth) -> Checked<Auth> {
    let text = |value: &Option<file::Placed>, default: &str| {
        value.as_ref().map_or((0, default.to_owned()), |v| {
            (v.span().start, v.get_ref().clone())
        })
    };
    let (offset, source) = text(&file.source, "passwd-file");
    let source = match source.as_str() {
        "passwd-file" => {
            let (offset, path) = text(&file.passwd_file, "/etc/popward/users");
            match AbsolutePath::try_from(path) {
                Ok(path) if path.as_path().is_file() => AccountSource::PasswdFile { path },
                _ => {
                    return problem(
                        offset,
                        "auth.passwd_file: expected the absolute path of a file",
                    );
                }
            }
        }
        "pam" => {
            let (offset, service) = text(&file.pam_service, "popward");
            let Ok(service) = Text::try_from(service) else {
                return problem(offset, "auth.pam_service: expected at most 32 characters");
            };
            AccountSource::Pam {
                service,
                limit_ms: u32::from(file.pam_limit.unwrap_or(30).max(1)) * 1000,
                at_once: file.pam_at_once.unwrap_or(16).clamp(1, 1024),
            }
        }
        _ => return problem(offset, r#"auth.source: expected "passwd-file" or "pam""#),
    };
    let first = file
        .first_uid
        .as_ref()
        .map_or((0, 1000), |v| (v.span().start, *v.get_ref()));
    let last_uid = file.last_uid.unwrap_or(65533);
    if first.1 == 0 || first.1 > last_uid {
        return problem(first.0, "auth.first_uid: expected 1 to auth.last_uid");
    }
    let delay = file
        .failure_delay_ms
        .as_ref()
        .map_or((0, 2000), |v| (v.span().start, *v.get_ref()));
    if delay.1 > 30_000 {
        return problem(delay.0, "auth.failure_delay_ms: expected at most 30000");
    }
    Ok(Auth {
        source,
        first_uid: first.1,
        last_uid,
        failure_delay_ms: delay.1,
    })
}
