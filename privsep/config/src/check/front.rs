//! The settings for fronts: `[limits]`, `auth.plaintext` and `auth.mechanisms`. Other files check
//! the rest of these settings.

use super::{Checked, placed, problem, time};
use crate::file;
use crate::values::{Size, Time, TimeOrNever};
use popward_proto::account::FrontId;
use popward_proto::bounded::{List, Text};
use popward_proto::monitor_front::{
    FrontSettings, Limits, MECHANISMS_MAX, Mechanism, Plaintext, Pop3Settings, TlsSettings,
};
use popward_proto::proxies::Proxies;
use toml::Spanned;

/// The longest time that a limit can have, but for a session.
const LIMIT_MAX: Time = Time::days(1);

/// The longest time that a session can have.
const SESSION_MAX: Time = Time::days(11);

/// Checks a time of `[limits]`, from 0 to `LIMIT_MAX`. Returns it in milliseconds.
fn limit(key: &str, value: Option<&Spanned<Time>>, default: Time) -> Checked<u32> {
    let range = Time::s(0)..=LIMIT_MAX;
    time(&format!("limits.{key}"), value, default, range)
}

/// Checks `limits.open`: the time from PASS until the maildrop is open, in milliseconds.
pub(super) fn open(file: &file::Limits) -> Checked<u32> {
    limit("open", file.open.as_ref(), Time::s(60))
}

pub(super) fn front(
    file: &file::Limits,
    auth: &file::Auth,
    host: Text<64>,
    tls: TlsSettings,
    grace_s: u32,
    pop3: Pop3Settings,
    proxies: Proxies,
) -> Checked<FrontSettings> {
    let connections = file
        .connections
        .as_ref()
        .map_or((0, 4096), |v| (v.span().start, *v.get_ref()));
    if !(1..=100_000).contains(&connections.1) {
        return problem(connections.0, "limits.connections: expected 1 to 100000");
    }
    // The default is seven eighths of all connections. Only logged-in clients can use the last
    // eighth.
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
        connections_known: false,
        plaintext,
        mechanisms: mechanisms(auth)?,
        host,
        tls,
        limits: Limits {
            connections: connections.1,
            unauthenticated,
            connections_per_address: per_address,
            connections_per_prefix: file
                .connections_per_prefix
                .unwrap_or(per_address.saturating_mul(8))
                .max(1),
            connections_per_minute: file.connections_per_minute.unwrap_or(600),
            login_ms: limit("login", file.login.as_ref(), Time::s(180))?,
            idle_ms: limit("idle", file.idle.as_ref(), Time::s(600))?,
            line_ms: limit("line", file.line.as_ref(), Time::s(60))?,
            stall_ms: limit("stall", file.stall.as_ref(), Time::s(300))?,
            rate: rate(file.rate.as_ref())?,
            yield_ms: yield_ms(file.yield_to_newcomer.as_ref())?,
            session_ms: time(
                "limits.session",
                file.session.as_ref(),
                Time::s(14_400),
                Time::s(1)..=SESSION_MAX,
            )?,
            open_ms: open(file)?,
            bad_commands: file.bad_commands.unwrap_or(20).max(1),
            failed_logins: file.failed_logins.unwrap_or(3).max(1),
            drain_ms: grace_s * 1000,
        },
        pop3,
        proxies,
    })
}

/// Checks `limits.yield_to_newcomer`, in milliseconds. `None`: sessions do not yield.
fn yield_ms(value: Option<&Spanned<TimeOrNever>>) -> Checked<Option<u32>> {
    let (offset, silence) = placed(value.cloned(), || TimeOrNever(Some(Time::s(30))));
    match silence.0.map(|time| (time, u32::try_from(time.ms))) {
        None => Ok(None),
        Some((time, Ok(ms))) if (Time::s(1)..=LIMIT_MAX).contains(&time) => Ok(Some(ms)),
        Some(_) => {
            let least = Time::s(1);
            let text =
                format!("limits.yield_to_newcomer: expected \"never\", or {least} to {LIMIT_MAX}");
            problem(offset, text)
        }
    }
}

/// Checks `limits.rate`, in octets a second.
fn rate(value: Option<&Spanned<Size>>) -> Checked<u32> {
    let (offset, size) = placed(value.cloned(), || Size { octets: 64 });
    let octets = u32::try_from(size.octets);
    octets.or_else(|_| problem(offset, r#"limits.rate: expected less than "4GiB""#))
}

/// The values of `auth.mechanisms`.
const MECHANISMS: [(&str, Mechanism); MECHANISMS_MAX] = [
    ("user", Mechanism::User),
    ("apop", Mechanism::Apop),
    ("plain", Mechanism::Plain),
    ("login", Mechanism::Login),
    ("cram-md5", Mechanism::CramMd5),
    ("scram-sha-1", Mechanism::ScramSha1),
    ("scram-sha-256", Mechanism::ScramSha256),
    ("external", Mechanism::External),
    ("oauthbearer", Mechanism::Oauthbearer),
    ("xoauth2", Mechanism::Xoauth2),
];

fn mechanisms(auth: &file::Auth) -> Checked<List<Mechanism, MECHANISMS_MAX>> {
    let default = || ["user", "plain", "login"].map(str::to_owned).to_vec();
    let (offset, names) = placed(auth.mechanisms.clone(), default);
    let known = |name: &String| {
        let same = MECHANISMS
            .iter()
            .find(|(known, _)| *known == name.to_lowercase());
        same.map(|(_, mechanism)| *mechanism)
    };
    let mechanisms: Option<Vec<Mechanism>> = names.iter().map(known).collect();
    let list = mechanisms.and_then(|mechanisms| List::try_from(mechanisms).ok());
    match list {
        Some(list) if !list.as_slice().is_empty() => Ok(list),
        _ => {
            let names = MECHANISMS.map(|(name, _)| format!("{name:?}")).join(", ");
            problem(offset, format!("auth.mechanisms: expected some of {names}"))
        }
    }
}
