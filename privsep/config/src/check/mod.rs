//! Checks the values of popward.toml and makes the configuration from them. Names of users and
//! groups become ids. Files must exist, and others must not be able to change them.

mod account;
mod auth;
mod front;
mod log;
mod pam;
mod pop3;
mod proxy;
mod spool;
mod tls;

use crate::config::Config;
use crate::file;
use crate::host::Host;
use crate::names::Names;
use crate::owner::Owners;
use crate::values::{Id, Time};
use popward_proto::bounded::{AbsolutePath, List, Text};
use popward_proto::monitor_config::{Accounts, Base, Listen};
use popward_proto::monitor_front::LISTENERS_MAX;
use popward_proto::settings::{AllSettings, Settings};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use toml::Spanned;

/// A wrong value: its offset in the file, in bytes, and the expected value in words for the
/// operator. The offset is 0 if a default is wrong.
pub(crate) struct Problem {
    pub(crate) offset: usize,
    pub(crate) expected: String,
}

type Checked<T> = Result<T, Problem>;

fn problem<T>(offset: usize, expected: impl Into<String>) -> Checked<T> {
    Err(Problem {
        offset,
        expected: expected.into(),
    })
}

/// Returns the value and its offset in the file. The offset of a default is 0.
fn placed<T>(value: &Spanned<T>) -> (usize, &T) {
    (value.span().start, value.get_ref())
}

/// Returns the meaning of a value that has one of these names.
fn one_of<T: Copy>(key: &str, value: &file::Placed, names: &[(&str, T)]) -> Checked<T> {
    let (offset, value) = placed(value);
    if let Some((_, meaning)) = names.iter().find(|(name, _)| value == name) {
        return Ok(*meaning);
    }
    let mut all = quoted(names);
    let last = all.pop().unwrap_or_default();
    problem(
        offset,
        format!("{key}: expected {} or {last}", all.join(", ")),
    )
}

/// Returns the meanings of at least one value. All of them have these names.
fn some_of<T: Copy>(
    key: &str,
    values: &Spanned<Vec<String>>,
    names: &[(&str, T)],
) -> Checked<Vec<T>> {
    let (offset, values) = placed(values);
    let known = |value: &String| names.iter().find(|(name, _)| value == name);
    let all = values.iter().map(|value| Some(known(value)?.1));
    match all.collect::<Option<Vec<T>>>() {
        Some(all) if !all.is_empty() => Ok(all),
        _ => {
            let all = quoted(names).join(", ");
            problem(offset, format!("{key}: expected some of {all}"))
        }
    }
}

fn quoted<T>(names: &[(&str, T)]) -> Vec<String> {
    names.iter().map(|(name, _)| format!("{name:?}")).collect()
}

/// A day in seconds.
const DAY: u64 = 86_400;

/// Checks that a value is in `range`, and returns it.
fn within<T: Copy + Display + PartialOrd>(
    key: &str,
    value: &Spanned<T>,
    range: RangeInclusive<T>,
) -> Checked<T> {
    let (offset, value) = placed(value);
    if range.contains(value) {
        return Ok(*value);
    }
    let (least, most) = (range.start(), range.end());
    problem(offset, format!("{key}: expected {least} to {most}"))
}

/// Checks that a time is in the range of these seconds, which ends before 49 days. Returns it in
/// milliseconds.
fn time(key: &str, value: &Spanned<Time>, range: RangeInclusive<u64>) -> Checked<u32> {
    let range = Time::s(*range.start())..=Time::s(*range.end());
    let time = within(key, value, range)?;
    Ok(u32::try_from(time.ms).unwrap_or(u32::MAX))
}

/// Does the same for a time that must have whole seconds. Returns it in seconds.
fn seconds(key: &str, value: &Spanned<Time>, range: RangeInclusive<u64>) -> Checked<u32> {
    let ms = time(key, value, range)?;
    if ms % 1000 == 0 {
        return Ok(ms / 1000);
    }
    problem(value.span().start, format!("{key}: expected whole seconds"))
}

/// The executables that popward starts from `server.libexec`.
const EXECUTABLES: [&str; 10] = [
    "popward-monitor",
    "popward-log",
    "popward-adopt",
    "popward-front",
    "popward-auth",
    "popward-auth-pam",
    "popward-auth-program",
    "popward-auth-proof",
    "popward-keys",
    "popward-worker",
];

/// Checks the file, and makes the configuration from it.
pub(crate) fn check(file: file::File, host: &Host) -> Checked<Config> {
    let (owners, names) = (&host.owners, &host.names);
    let root = nix::unistd::geteuid().is_root();
    let accounts = if root {
        Some(accounts(&file, names)?)
    } else {
        None
    };
    let listen = listening(&file.listen, !file.certificate.is_empty())?;
    let proxies = proxy::proxies(&file.proxy)?;
    let (tls, client_ca) = tls::tls(&file.tls, owners)?;
    let auth_id = accounts.as_ref().map(|accounts| accounts.auth.0);
    let authorities = client_ca.as_ref().map(|(path, _)| path);
    let auth = auth::auth(&file.auth, authorities, host, auth_id)?;
    let open = front::open(&file.limits)?;
    let everybody = Settings {
        spool: spool::spool(&file.spool, &file.adopt, open, host)?,
        sessions_per_user: file.limits.sessions_per_user.get_ref().get(),
        login_delay_s: auth.admission.login_delay_s,
    };
    let state = state(&file.server.state, host)?;
    let (tables, members) = account::tables(&file.account, host, open, &state)?;
    let settings = AllSettings { everybody, tables };
    let host_name = host_name(&file.server.host)?;
    let grace = &file.server.shutdown_grace;
    let grace = seconds("server.shutdown_grace", grace, 0..=18 * 3600)?;
    let pop3 = pop3::pop3(
        &file.pop3,
        *file.log.qpopper.get_ref(),
        settings.longest_login_delay(),
    )?;
    let front = front::front(&file, host_name.clone(), tls, grace, pop3, proxies)?;
    let base = Base {
        libexec: libexec(&file.server.libexec, host)?,
        state,
        host: host_name,
        grace_s: u16::try_from(grace).unwrap_or(u16::MAX),
        fronts: within("server.fronts", &file.server.fronts, 1..=64)?,
        accounts,
        listen,
        everybody: settings.everybody,
        front,
        log: log::log(&file.log)?,
    };
    auth::pam(&file.auth, accounts.and_then(|accounts| accounts.pam))?;
    Ok(Config {
        base: Box::new(base),
        auth: Box::new(auth),
        tables: settings.tables,
        members,
        client_ca,
        certificates: tls::certificates(&file.certificate, host)?,
        file: Box::new(file),
    })
}

fn absolute(key: &str, value: &file::Placed) -> Checked<AbsolutePath> {
    AbsolutePath::try_from(value.get_ref().clone()).or_else(|_| {
        let expected = format!("{key}: expected an absolute path without `..`");
        problem(value.span().start, expected)
    })
}

/// Checks who can write to the state directory. Whoever can write there can replace a user's
/// directory by another one, with a journal or UIDL pins in it. If the state directory is missing,
/// this checks its parent, because a monitor makes the directory there. Warns of a directory that
/// users cannot pass through to their own directories.
fn state(value: &file::Placed, host: &Host) -> Checked<AbsolutePath> {
    let offset = value.span().start;
    let path = absolute("server.state", value)?;
    let there = match path.as_path().parent() {
        Some(parent) if path.as_path().symlink_metadata().is_err() => parent,
        _ => path.as_path(),
    };
    safe("server.state", offset, there, &host.owners)?;
    let mode = path.as_path().metadata().map(|status| status.mode());
    let is_root = nix::unistd::geteuid().is_root();
    if is_root && mode.is_ok_and(|mode| mode & 0o001 == 0) {
        let path = path.as_path().display();
        let text = format!("server.state: users cannot pass through {path}: expected mode 0711");
        host.warn(offset, text);
    }
    Ok(path)
}

fn user(key: &str, id: &Spanned<Id>, names: &Names) -> Checked<(u32, u32)> {
    let (offset, id) = placed(id);
    let name = match id {
        // A number need not have a user on this system. The group gets the same number.
        Id::Number(number) => return Ok((*number, *number)),
        Id::Name(name) => name,
    };
    match names.user(name) {
        Ok(Some(ids)) => Ok(ids),
        Ok(None) => problem(
            offset,
            format!("accounts.{key}: expected a user of this system, not {name:?}"),
        ),
        Err(error) => problem(offset, format!("accounts.{key}: {name:?}: {error}")),
    }
}

fn pam_group(id: &Spanned<Id>, names: &Names) -> Checked<u32> {
    let expected = match group(id.get_ref(), names) {
        Ok(Some(gid)) => return Ok(gid),
        Ok(None) => "expected a group of this system".to_owned(),
        Err(error) => error,
    };
    problem(id.span().start, format!("accounts.pam_group: {expected}"))
}

/// Looks up the users of the processes. A default user of conversations that the file has no use
/// for need not exist.
fn accounts(file: &file::File, names: &Names) -> Checked<Accounts> {
    let needs_pam = auth::uses_pam(&file.auth);
    let program = file.program();
    let file = &file.accounts;
    let (own, place_of_auth) = (file.front.span().start, file.auth.span().start);
    let auth = user("auth", &file.auth, names)?;
    let checked = program.as_ref().map(|id| user("program", id, names));
    let accounts = Accounts {
        front: user("front", &file.front, names)?,
        auth,
        keys: user("keys", &file.keys, names)?,
        program: checked.unwrap_or(Ok(auth))?,
        pam: if needs_pam {
            let ids = user("pam", &file.pam, names)?;
            let further = file.pam_group.as_ref();
            Some((ids, further.map(|id| pam_group(id, names)).transpose()?))
        } else {
            None
        },
    };
    if accounts.auth.0 == 0 {
        return problem(
            place_of_auth,
            "accounts.auth: expected another user than root. PAM runs in a process of its own, as accounts.pam",
        );
    }
    let mut ids = vec![accounts.front.0, accounts.auth.0, accounts.keys.0];
    ids.extend(program.is_some().then_some(accounts.program.0));
    if ids.contains(&0) {
        return problem(
            own,
            "accounts: expected another user than root for front, keys and program",
        );
    }
    ids.extend(accounts.pam.map(|((uid, _), _)| uid));
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() != count {
        return problem(own, "accounts: expected different users");
    }
    Ok(accounts)
}

/// Checks that only the owners of the configuration can change the executables, because the monitor
/// starts them as root.
fn libexec(value: &file::Placed, host: &Host) -> Checked<AbsolutePath> {
    let (offset, owners) = (value.span().start, &host.owners);
    let directory = absolute("server.libexec", value)?;
    for name in EXECUTABLES {
        let path = directory.as_path().join(name);
        if !path.is_file() {
            return problem(
                offset,
                format!("server.libexec: expected {} to exist", path.display()),
            );
        }
        safe("server.libexec", offset, &path, owners)?;
    }
    warn_of_readable(directory.as_path(), offset, host);
    Ok(directory)
}

/// Warns of executables that everybody can read. The kernel lets other processes of the same user
/// into a process from its exec on, until the process forbids that. For an executable that its user
/// cannot read, the kernel forbids that from the exec on.
fn warn_of_readable(libexec: &Path, offset: usize, host: &Host) {
    const EVERYBODY_READS: u32 = 0o004;
    // A server that is not root runs as the owner, who may read the executables anyway.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let own = std::env::current_exe().ok();
    let all = EXECUTABLES.iter().map(|name| libexec.join(name));
    let readable: Vec<String> = all
        .chain(own)
        .filter(|path| {
            let status = std::fs::metadata(path);
            status.is_ok_and(|status| status.mode() & EVERYBODY_READS != 0)
        })
        .map(|path| path.display().to_string())
        .collect();
    if !readable.is_empty() {
        let files = readable.join(" ");
        host.warn(
            offset,
            format!("server.libexec: everybody can read these executables: chmod 0711 {files}"),
        );
    }
}

/// Checks that only `owners` can change what is at `path`.
fn safe(key: &str, offset: usize, path: &Path, owners: &Owners) -> Checked<()> {
    owners
        .of(path)
        .or_else(|expected| problem(offset, format!("{key}: {expected}")))
}

/// Returns a group's id. `None`: the system has no such group. `Err` says why the look-up failed.
fn group(id: &Id, names: &Names) -> Result<Option<u32>, String> {
    match id {
        // A number need not have a group on this system.
        Id::Number(gid) => Ok(Some(*gid)),
        Id::Name(name) => names.group(name),
    }
}

fn host_name(value: &file::Placed) -> Checked<Text<64>> {
    let (offset, host) = placed(value);
    let word = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    match Text::try_from(host.clone()) {
        Ok(host) if word => Ok(host),
        _ => problem(
            offset,
            "server.host: expected a host name of at most 64 characters",
        ),
    }
}

fn listening(files: &[file::Listen], certificate: bool) -> Checked<List<Listen, LISTENERS_MAX>> {
    let too_many = || {
        let beyond = files.get(LISTENERS_MAX);
        let offset = beyond.map_or(0, |beyond| beyond.address.span().start);
        problem(offset, format!("listen: expected at most {LISTENERS_MAX}"))
    };
    if files.len() > LISTENERS_MAX {
        return too_many();
    }
    // A socket from systemd can have TLS from the start, too. Only the supervisor has these
    // sockets, so it checks them when it starts.
    let tls = files.iter().find(|file| file.tls && !certificate);
    if let Some(tls) = tls {
        let expected = "listen.tls: expected a [[certificate]] beside it";
        return problem(tls.address.span().start, expected);
    }
    let listen = files.iter().map(listen).collect::<Checked<Vec<_>>>()?;
    List::try_from(listen).or_else(|_| too_many())
}

fn listen(file: &file::Listen) -> Checked<Listen> {
    let offset = file.address.span().start;
    let headers = proxy::headers(&file.proxy)?;
    match file.address.get_ref().parse() {
        Ok(address) => Ok(Listen {
            address,
            tls: file.tls,
            headers,
        }),
        Err(_) => problem(
            offset,
            "listen.address: expected ADDRESS:PORT, such as 0.0.0.0:110 or [::]:110",
        ),
    }
}
