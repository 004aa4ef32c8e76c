//! What fronts are told: `[limits]`, and from whom a password is taken without TLS.

use super::{Checked, problem};
use crate::config::file;
use popward_proto::account::FrontId;
use popward_proto::monitor_front::{FrontSettings, Limits, Plaintext, TlsSettings};

pub(super) fn front(
    file: &file::Limits,
    auth: &file::Auth,
    tls: TlsSettings,
    grace: Option<u16>,
) -> Checked<FrontSettings> {
    let ms = |seconds: Option<u16>, default: u16| u32::from(seconds.unwrap_or(default)) * 1000;
    let connections = file
        .connections
        .as_ref()
        .map_or((0, 4096), |v| (v.span().start, *v.get_ref()));
    if !(1..=100_000).contains(&connections.1) {
        return problem(connections.0, "limits.connections: expected 1 to 100000");
    }
    let plaintext = match auth
        .plaintext
        .as_ref()
        .map_or("loopback", |v| v.get_ref().as_str())
    {
        "never" => Plaintext::Never,
        "loopback" => Plaintext::Loopback,
        "always" => Plaintext::Always,
        _ => {
            let offset = auth.plaintext.as_ref().map_or(0, |v| v.span().start);
            return problem(
                offset,
                r#"auth.plaintext: expected "never", "loopback" or "always""#,
            );
        }
    };
    Ok(FrontSettings {
        version: popward_proto::VERSION,
        front: FrontId(0),
        plaintext,
        tls,
        limits: Limits {
            connections: connections.1,
            connections_per_address: file.connections_per_address.unwrap_or(64).max(1),
            login_ms: ms(file.login, 60),
            idle_ms: ms(file.idle, 600),
            stall_ms: ms(file.stall, 300),
            session_ms: file.session.unwrap_or(14_400).clamp(1, 1_000_000) * 1000,
            open_ms: ms(file.open, 60),
            bad_commands: file.bad_commands.unwrap_or(20).max(1),
            failed_logins: file.failed_logins.unwrap_or(3).max(1),
            drain_ms: ms(grace, 30),
        },
    })
}
