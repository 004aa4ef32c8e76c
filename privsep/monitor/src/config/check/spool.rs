//! `[spool]` and `[lock]`: where spools are, how they are locked, how their messages are named and shown.

use super::{Checked, placed, problem};
use crate::config::{Spool, file};
use crate::spool::Pattern;
use popward_proto::bounded::{List, Text};
use popward_proto::monitor_worker::{HIDDEN_MAX, LockSettings, SCHEMES_MAX, Scheme};
use std::os::unix::fs::MetadataExt;
use toml::Spanned;

pub(super) fn spool(file: file::Spool, lock: file::Lock) -> Checked<Spool> {
    let (offset, path) = placed(file.path, || "/var/mail/{user}".to_owned());
    let Some(pattern) = Pattern::parse(&path) else {
        let expected = "spool.path: expected an absolute path with {user}, {name} or {home}, no other patterns than {user:1}, {user:2}, {user:hash}, {domain}";
        return problem(offset, expected);
    };
    let group = match file.group {
        None => shared_group(&pattern),
        Some(id) => Some(group(id.span().start, id.into_inner())?),
    };
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
    let timeout_ms = u32::from(file.lock_timeout.unwrap_or(10)) * 1000;
    let locks = LockSettings {
        dotlock: has("dotlock"),
        fcntl: has("fcntl"),
        flock: has("flock"),
        timeout_ms,
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

/// For how long a client is silent until the locks are given up: `"60s"`, `"5m"`.
fn yield_idle(value: Option<file::Placed>, dotlock: bool) -> Checked<Option<u32>> {
    let Some(value) = value else {
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
            r#"lock.yield_idle: expected a time from "1s" to "1440m""#,
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

fn hide(file: Option<Spanned<Vec<String>>>) -> Checked<List<Text<16>, HIDDEN_MAX>> {
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
fn uidl(file: Option<Spanned<Vec<String>>>) -> Checked<List<Scheme, SCHEMES_MAX>> {
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

fn group(offset: usize, id: file::Id) -> Checked<u32> {
    let gid = match id {
        file::Id::Number(number) => Some(number),
        file::Id::Name(name) => nix::unistd::Group::from_name(&name)
            .ok()
            .flatten()
            .map(|group| group.gid.as_raw()),
    };
    match gid {
        Some(gid) if gid != 0 => Ok(gid),
        _ => problem(
            offset,
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
