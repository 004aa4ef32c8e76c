//! `[spool]` and `[adopt]`: where spools are, how workers lock them, and how clients see the
//! messages.

use super::rules::{Checked, group, placed, problem, some_of};
use crate::file::{self, HIDEABLE};
use crate::host::Host;
use crate::names::Names;
use crate::pattern;
use crate::values::{Id, Time};
use popward_proto::bounded::{List, Text};
use popward_proto::pattern::Pattern;
use popward_proto::sessions_worker::{HIDDEN_MAX, LockSettings, SCHEMES_MAX, Scheme};
use popward_proto::settings::Spool;
use std::os::unix::fs::MetadataExt;
use toml::Spanned;

/// Checks the settings of spools for all accounts. `open` is how many milliseconds a login may
/// take.
pub(super) fn spool(
    file: &file::Spool,
    from: &file::Adopt,
    open: u32,
    host: &Host,
) -> Checked<Spool> {
    let pattern = pattern(&file.path, host)?;
    let group = lock_group(file.group.as_ref(), &pattern, &host.names)?;
    let (dotlock, fcntl, flock) = (1, 2, 4);
    let all = [("dotlock", dotlock), ("fcntl", fcntl), ("flock", flock)];
    let wanted = some_of("spool.locks", &file.locks, &all)?;
    let has = |lock| wanted.contains(&lock);
    let locks = LockSettings {
        dotlock: has(dotlock),
        fcntl: has(fcntl),
        flock: has(flock),
        timeout_ms: lock_timeout_ms(&file.lock_timeout(Time::ms(open.into())), open)?,
    };
    Ok(Spool {
        pattern,
        group,
        locks,
        adopt: adopt(&from.from)?,
        hide: hide(&file.hide)?,
    })
}

/// Checks the pattern for the paths of spools.
pub(super) fn pattern(path: &file::Placed, host: &Host) -> Checked<Pattern> {
    let (offset, path) = placed(path);
    match pattern::parse(path) {
        Some(pattern) => {
            if let Some(base) = pattern.base() {
                there(offset, base, host);
            }
            Ok(pattern)
        }
        None => problem(
            offset,
            "spool.path: expected an absolute path with {user}, {name} or {home}; it may also have {user:1}, {user:2}, {user:hash} and {domain}",
        ),
    }
}

/// Warns if the directory `base` is missing. This is no error, because the directory may be mounted
/// later.
fn there(offset: usize, base: &str, host: &Host) {
    let base = if base.is_empty() { "/" } else { base };
    let why = match std::fs::metadata(base) {
        Ok(status) if status.is_dir() => return,
        Ok(_) => "not a directory".to_owned(),
        Err(error) => error.to_string(),
    };
    host.warn(offset, format!("spool.path: {base}: {why}"));
}

/// Returns the lock timeout in milliseconds. `open` is how many milliseconds a login may take in
/// all. The lock timeout must be shorter, or there is only one try: otherwise the login times out
/// before the client gets `[IN-USE]`.
pub(super) fn lock_timeout_ms(value: &Spanned<Time>, open: u32) -> Checked<u32> {
    match u32::try_from(value.get_ref().ms) {
        Ok(timeout) if timeout < open || timeout == 0 => Ok(timeout),
        _ => {
            let open = Time::ms(open.into());
            let expected = format!(
                "spool.lock_timeout: expected less than limits.open, which is {open}: otherwise a login times out before the client gets [IN-USE]"
            );
            problem(value.span().start, expected)
        }
    }
}

/// Checks which header fields are hidden from clients.
pub(super) fn hide(file: &Spanned<Vec<String>>) -> Checked<List<Text<16>, HIDDEN_MAX>> {
    let (offset, names) = placed(file);
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

/// Checks the schemes for the UIDLs of the messages that are in a spool before the user's first
/// session.
pub(super) fn adopt(file: &Spanned<Vec<String>>) -> Checked<List<Scheme, SCHEMES_MAX>> {
    if file.get_ref().is_empty() {
        return Ok(List::default());
    }
    let names = Scheme::ALL.map(|scheme| (scheme.as_str(), scheme));
    let schemes = some_of("adopt.from", file, &names)?;
    let offset = file.span().start;
    List::try_from(schemes).or_else(|_| problem(offset, "adopt.from: expected at most 8"))
}

/// Returns the group that workers need to make dotlocks beside the spools. `None`: they need no
/// group.
pub(super) fn lock_group(
    id: Option<&Spanned<Id>>,
    pattern: &Pattern,
    names: &Names,
) -> Checked<Option<u32>> {
    let Some(id) = id else {
        return Ok(shared_group(pattern));
    };
    match group("spool.group", placed(id), names)? {
        0 => problem(
            id.span().start,
            "spool.group: expected another group than root's",
        ),
        gid => Ok(Some(gid)),
    }
}

/// Returns the group of the directory that holds all spools, if its members may make dotlocks there
/// and others may not. Debian has such a directory (mode 2775, root:mail). `None`: workers need no
/// group (mode 1777), or a group does not help, or there is no such directory.
fn shared_group(pattern: &Pattern) -> Option<u32> {
    let status = std::fs::metadata(pattern.base()?).ok()?;
    let needed = status.mode() & 0o022 == 0o020 && status.gid() != 0;
    needed.then(|| status.gid())
}
