//! What fronts are told: `[limits]`, from whom a password is taken without TLS, and who speaks for others.

use super::{Checked, problem};
use crate::config::file;
use popward_proto::account::FrontId;
use popward_proto::monitor_front::{FrontSettings, Limits, Plaintext};
use popward_proto::proxies::Proxies;

pub(super) fn front(
    file: &file::Limits,
    auth: &file::Auth,
    grace: Option<u16>,
    proxies: Proxies,
) -> Checked<FrontSettings> {
    let ms = |seconds: Option<u16>, default: u16| u32::from(seconds.unwrap_or(default)) * 1000;
    let connections = file
        .connections
        .as_ref()
        .map_or((0, 4096), |v| (v.span().start, *v.get_ref()));
    if !(1..=100_000).contains(&connections.1) {
        return problem(connections.0, "limits.connections: expected 1 to 100000");
    }
    // Seven of eight: what remains, only sessions can fill.
    let (offset, unauthenticated) = file
        .unauthenticated
        .as_ref()
        .map_or((0, connections.1 - connections.1 / 8), |v| {
            (v.span().start, *v.get_ref())
        });
    if !(1..=connections.1).contains(&unauthenticated) {
        return problem(
            offset,
            "limits.unauthenticated: expected 1 to limits.connections",
        );
    }
    let per_address = file.connections_per_address.unwrap_or(64).max(1);
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
        limits: Limits {
            connections: connections.1,
            unauthenticated,
            connections_per_address: per_address,
            connections_per_prefix: file
                .connections_per_prefix
                .unwrap_or(per_address.saturating_mul(8))
                .max(1),
            connections_per_minute: file.connections_per_minute.unwrap_or(600),
            login_ms: ms(file.login, 60),
            idle_ms: ms(file.idle, 600),
            line_ms: ms(file.line, 60),
            stall_ms: ms(file.stall, 300),
            rate: file.rate.unwrap_or(64),
            session_ms: file.session.unwrap_or(14_400).clamp(1, 1_000_000) * 1000,
            open_ms: ms(file.open, 60),
            bad_commands: file.bad_commands.unwrap_or(20).max(1),
            failed_logins: file.failed_logins.unwrap_or(3).max(1),
            drain_ms: ms(grace, 30),
        },
        proxies,
    })
}
