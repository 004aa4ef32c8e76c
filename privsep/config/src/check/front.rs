//! The settings for fronts: `[limits]`, `auth.plaintext` and `auth.mechanisms`. Other files check
//! the rest of these settings.

use super::rules::{Checked, DAY, one_of, placed, problem, some_of, time, within};
use crate::file;
use crate::values::{Size, Time, TimeOrNever};
use popward_proto::account::FrontId;
use popward_proto::bounded::{List, Text};
use popward_proto::monitor_front::{
    FrontSettings, Limits, MECHANISMS_MAX, Mechanism, Plaintext, Pop3Settings, TlsSettings,
};
use popward_proto::proxies::Proxies;
use toml::Spanned;

/// Checks a time of `[limits]`, from 0 to a day. Returns it in milliseconds.
fn limit(key: &str, value: &Spanned<Time>) -> Checked<u32> {
    time(&format!("limits.{key}"), value, 0..=DAY)
}

/// Checks `limits.open`: the time from PASS until the maildrop is open, in milliseconds.
pub(super) fn open(file: &file::Limits) -> Checked<u32> {
    limit("open", &file.open)
}

pub(super) fn front(
    file: &file::File,
    host: Text<64>,
    tls: TlsSettings,
    grace_s: u32,
    pop3: Pop3Settings,
    proxies: Proxies,
) -> Checked<FrontSettings> {
    let (file, auth) = (&file.limits, &file.auth);
    let connections = within("limits.connections", &file.connections, 1..=100_000)?;
    let unauthenticated = file.unauthenticated();
    if !(1..=connections).contains(unauthenticated.get_ref()) {
        return problem(
            unauthenticated.span().start,
            "limits.unauthenticated: expected 1 to limits.connections",
        );
    }
    Ok(FrontSettings {
        version: popward_proto::VERSION,
        front: FrontId(0),
        connections_known: false,
        tells_expiry: false,
        plaintext: one_of("auth.plaintext", &auth.plaintext, &PLAINTEXT)?,
        mechanisms: mechanisms(auth)?,
        host,
        tls,
        limits: Limits {
            connections,
            unauthenticated: unauthenticated.into_inner(),
            connections_per_address: file.connections_per_address.get_ref().get(),
            connections_per_prefix: file.connections_per_prefix().get_ref().get(),
            connections_per_minute: *file.connections_per_minute.get_ref(),
            login_ms: limit("login", &file.login)?,
            idle_ms: limit("idle", &file.idle)?,
            line_ms: limit("line", &file.line)?,
            stall_ms: limit("stall", &file.stall)?,
            rate: rate(&file.rate)?,
            yield_ms: yield_ms(&file.yield_to_newcomer)?,
            session_ms: time("limits.session", &file.session, 1..=11 * DAY)?,
            open_ms: open(file)?,
            bad_commands: file.bad_commands.get_ref().get(),
            failed_logins: file.failed_logins.get_ref().get(),
            drain_ms: grace_s * 1000,
        },
        pop3,
        proxies,
    })
}

/// Checks `limits.yield_to_newcomer`, in milliseconds. `None`: sessions do not yield.
fn yield_ms(value: &Spanned<TimeOrNever>) -> Checked<Option<u32>> {
    let (offset, silence) = placed(value);
    match silence.0.map(|time| (time, u32::try_from(time.ms))) {
        None => Ok(None),
        Some((time, Ok(ms))) if (Time::s(1)..=Time::s(DAY)).contains(&time) => Ok(Some(ms)),
        Some(_) => {
            let expected = r#"limits.yield_to_newcomer: expected "never", or "1s" to "1d""#;
            problem(offset, expected)
        }
    }
}

/// Checks `limits.rate`, in octets a second.
fn rate(value: &Spanned<Size>) -> Checked<u32> {
    let (offset, size) = placed(value);
    let octets = u32::try_from(size.octets);
    octets.or_else(|_| problem(offset, r#"limits.rate: expected less than "4GiB""#))
}

/// The values of `auth.plaintext`.
const PLAINTEXT: [(&str, Plaintext); 3] = [
    ("never", Plaintext::Never),
    ("loopback", Plaintext::Loopback),
    ("always", Plaintext::Always),
];

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
    let (offset, names) = placed(&auth.mechanisms);
    let small = names.iter().map(|name| name.to_lowercase()).collect();
    let small = Spanned::new(offset..offset, small);
    let mechanisms = some_of("auth.mechanisms", &small, &MECHANISMS)?;
    List::try_from(mechanisms).or_else(|_| problem(offset, "auth.mechanisms: expected at most 10"))
}
