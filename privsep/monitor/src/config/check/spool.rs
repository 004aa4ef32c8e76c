//! `[spool]` and `[lock]`: where spools are, how they are locked, how their messages are named and shown.

use super::{Checked, group, placed, problem};
use crate::config::file;
use crate::config::settings::Spool;
use crate::spool::Pattern;
use popward_proto::bounded::{List, Text};
use popward_proto::monitor_worker::{HIDDEN_MAX, LockSettings, SCHEMES_MAX, Scheme};
use std::os::unix::fs::MetadataExt;
use toml::Spanned;

/// `open` is how many seconds a login may take.
pub(super) fn spool(file: file::Spool, lock: file::Lock, open: u16) -> Checked<Spool> {
    let pattern = pattern(file.path)?;
    let group = lock_group(file.group, &pattern)?;
    let (offset, names) = placed(file.locks, || {
        ["dotlock", "fcntl", "flock"].map(str::to_owned).to_vec()
    });
    if names.is_empty()
        || names
            .iter()
            .any(|n| !["dotlock", "fcntl", "flock"].contains(&n.as_str()))
    {
        return problem(
            offset,
            r#"spool.locks: expected some of "dotlock", "fcntl", "flock""#,
        );
    }
    let has = |name: &str| names.iter().any(|n| n == name);
    let locks = LockSettings {
        dotlock: has("dotlock"),
        fcntl: has("fcntl"),
        flock: has("flock"),
        timeout_ms: match file.lock_timeout {
            Some(seconds) => lock_timeout_ms(seconds, open)?,
            None => u32::from(open.saturating_sub(1).min(10)) * 1000,
        },
        yield_ms: yield_idle(lock.yield_idle, has("dotlock"))?,
    };
    Ok(Spool {
        pattern,
        group,
        locks,
        uidl: uidl(file.uidl)?,
        hide: hide(file.hide)?,
    })
}

/// Where spools are.
pub(super) fn pattern(path: Option<file::Placed>) -> Checked<Pattern> {
    let (offset, path) = placed(path, || "/var/mail/{user}".to_owned());
    match Pattern::parse(&path) {
        Some(pattern) => Ok(pattern),
        None => problem(
            offset,
            "spool.path: expected an absolute path with {user}, {name} or {home}, no other patterns than {user:1}, {user:2}, {user:hash}, {domain}",
        ),
    }
}

/// In milliseconds. `open` is how many seconds a login may take in all.
pub(super) fn lock_timeout_ms(value: Spanned<u16>, open: u16) -> Checked<u32> {
    let (offset, seconds) = (value.span().start, value.into_inner());
    if seconds >= open {
        let expected = format!(
            "spool.lock_timeout: expected less than limits.open, which is {open}: a login that waits longer is not answered [IN-USE]"
        );
        return problem(offset, expected);
    }
    Ok(u32::from(seconds) * 1000)
}

/// For how long a client is silent until the locks are given up: `"60s"`, `"5m"`; or `"never"`.
pub(super) fn yield_idle(value: Option<file::Placed>, dotlock: bool) -> Checked<Option<u32>> {
    let Some(value) = value.filter(|value| value.get_ref() != "never") else {
        return Ok(None);
    };
    let offset = value.span().start;
    if dotlock {
        let expected = r#"lock.yield_idle: expected spool.locks without "dotlock": a worker that has confined itself cannot make one again"#;
        return problem(offset, expected);
    }
    let units = [("s", 1_000_u32), ("m", 60_000)];
    let mut read = units.iter().filter_map(|(unit, ms)| {
        let number: u32 = value.get_ref().strip_suffix(unit)?.parse().ok()?;
        number
            .checked_mul(*ms)
            .filter(|ms| (1_000..=86_400_000).contains(ms))
    });
    match read.next() {
        Some(ms) => Ok(Some(ms)),
        None => problem(
            offset,
            r#"lock.yield_idle: expected a time from "1s" to "1440m", or "never""#,
        ),
    }
}

/// The fields that readers keep their own notes in: nothing else is hidden.
const HIDEABLE: [&str; HIDDEN_MAX] = [
    "Status",
    "X-Status",
    "X-Keywords",
    "X-UID",
    "X-UIDL",
    "X-IMAP",
    "X-IMAPbase",
    "Content-Length",
    "Lines",
];

pub(super) fn hide(file: Option<Spanned<Vec<String>>>) -> Checked<List<Text<16>, HIDDEN_MAX>> {
    let (offset, names) = placed(file, Vec::new);
    let known = |name: &str| {
        let same = |field: &&&str| field.eq_ignore_ascii_case(name);
        HIDEABLE
            .iter()
            .find(same)
            .map(|field| Text::truncated(field))
    };
    let mut fields: Vec<Text<16>> = names.iter().filter_map(|name| known(name)).collect();
    if fields.len() == names.len() {
        fields.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        fields.dedup();
        if let Ok(fields) = List::try_from(fields) {
            return Ok(fields);
        }
    }
    let all = HIDEABLE.join(", ");
    problem(offset, format!("spool.hide: expected some of {all}"))
}

/// The list up to `native`, which names every message.
pub(super) fn uidl(file: Option<Spanned<Vec<String>>>) -> Checked<List<Scheme, SCHEMES_MAX>> {
    let (offset, names) = placed(file, Vec::new);
    let mut schemes = Vec::new();
    for name in names.iter().take_while(|name| *name != "native") {
        schemes.push(match name.as_str() {
            "x-uidl" => Scheme::XUidl,
            "popa3d" => Scheme::Popa3d,
            "solid-pop3d" => Scheme::SolidPop3d,
            "tpop3d" => Scheme::Tpop3d,
            "dovecot-md5" => Scheme::DovecotMd5,
            _ => {
                let expected = r#"spool.uidl: expected some of "x-uidl", "popa3d", "solid-pop3d", "tpop3d", "dovecot-md5", "native""#;
                return problem(offset, expected);
            }
        });
    }
    match List::try_from(schemes) {
        Ok(schemes) => Ok(schemes),
        Err(_) => problem(offset, "spool.uidl: expected at most 8"),
    }
}

/// The group with which dotlocks are made there.
pub(super) fn lock_group(id: Option<Spanned<file::Id>>, pattern: &Pattern) -> Checked<Option<u32>> {
    let Some(id) = id else {
        return Ok(shared_group(pattern));
    };
    match group(id.get_ref()) {
        Some((gid, _)) if gid != 0 => Ok(Some(gid)),
        _ => problem(
            id.span().start,
            "spool.group: expected a group of this system, not root's",
        ),
    }
}

/// The group that dotlocks need in a directory for all users: Debian's 2775 root:mail, not 1777.
fn shared_group(pattern: &Pattern) -> Option<u32> {
    let status = std::fs::metadata(pattern.base()?).ok()?;
    let needed = status.mode() & 0o022 == 0o020 && status.gid() != 0;
    needed.then(|| status.gid())
}
