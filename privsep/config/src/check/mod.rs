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

use crate::file;
use crate::host::Host;
use crate::load::Config;
use crate::names::Names;
use crate::owner::Owners;
use crate::values::{Id, Time};
use popward_proto::bounded::{AbsolutePath, List, Text};
use popward_proto::monitor_config::{Accounts, Base, Listen};
use popward_proto::monitor_front::LISTENERS_MAX;
use popward_proto::settings::{AllSettings, Settings};
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

/// Returns the value and its offset in the file. If the file has no value, returns the default with
/// the offset 0.
fn placed<T>(value: Option<Spanned<T>>, default: impl FnOnce() -> T) -> (usize, T) {
    match value {
        Some(value) => (value.span().start, value.into_inner()),
        None => (0, default()),
    }
}

/// Checks that a time is in `range`. Returns it, or the default, in milliseconds. `range` ends
/// before 49 days.
fn time(
    key: &str,
    value: Option<&Spanned<Time>>,
    default: Time,
    range: RangeInclusive<Time>,
) -> Checked<u32> {
    let (offset, time) = placed(value.cloned(), || default);
    if let (true, Ok(ms)) = (range.contains(&time), u32::try_from(time.ms)) {
        return Ok(ms);
    }
    let (least, most) = (range.start(), range.end());
    problem(offset, format!("{key}: expected {least} to {most}"))
}

/// Does the same for a time that must have whole seconds. Returns it in seconds.
fn seconds(
    key: &str,
    value: Option<&Spanned<Time>>,
    default: Time,
    range: RangeInclusive<Time>,
) -> Checked<u32> {
    let ms = time(key, value, default, range)?;
    if ms % 1000 == 0 {
        return Ok(ms / 1000);
    }
    let offset = value.map_or(0, |value| value.span().start);
    problem(offset, format!("{key}: expected whole seconds"))
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

pub(crate) fn check(file: file::File, host: &Host) -> Checked<Config> {
    let (owners, names) = (&host.owners, &host.names);
    let root = nix::unistd::geteuid().is_root();
    let accounts = if root {
        let client_ca = file.tls.client_ca.is_some();
        Some(accounts(file.accounts, &file.auth, client_ca, names)?)
    } else {
        None
    };
    let listen = listening(&file.listen, !file.certificate.is_empty())?;
    let proxies = proxy::proxies(&file.proxy)?;
    let (tls, client_ca) = tls::tls(file.tls, owners)?;
    let auth_id = accounts.as_ref().map(|accounts| accounts.auth.0);
    let authorities = client_ca.as_ref().map(|(path, _)| path);
    let auth = auth::auth(&file.auth, authorities, host, auth_id)?;
    let open = front::open(&file.limits)?;
    let everybody = Settings {
        spool: spool::spool(file.spool, file.adopt, open, host)?,
        sessions_per_user: file.limits.sessions_per_user.unwrap_or(8).max(1),
        login_delay_s: auth.admission.login_delay_s,
    };
    let state = state(file.server.state, host)?;
    let (tables, members) = account::tables(file.account, host, open, &state)?;
    let settings = AllSettings { everybody, tables };
    let host_name = host_name(file.server.host)?;
    let grace = seconds(
        "server.shutdown_grace",
        file.server.shutdown_grace.as_ref(),
        Time::s(30),
        Time::s(0)..=Time::s(18 * 3600),
    )?;
    let pop3 = pop3::pop3(&file.pop3, file.log.qpopper, settings.longest_login_delay())?;
    let front = front::front(
        &file.limits,
        &file.auth,
        host_name.clone(),
        tls,
        grace,
        pop3,
        proxies,
    )?;
    let fronts = placed(file.server.fronts, || 1);
    if !(1..=64).contains(&fronts.1) {
        return problem(fronts.0, "server.fronts: expected 1 to 64");
    }
    let base = Base {
        libexec: libexec(file.server.libexec, host)?,
        state,
        host: host_name,
        grace_s: u16::try_from(grace).unwrap_or(u16::MAX),
        fronts: fronts.1,
        accounts,
        listen,
        everybody: settings.everybody,
        front,
        log: log::log(file.log)?,
    };
    auth::pam(&file.auth, accounts.and_then(|accounts| accounts.pam))?;
    Ok(Config {
        base: Box::new(base),
        auth: Box::new(auth),
        tables: settings.tables,
        members,
        client_ca,
        certificates: tls::certificates(&file.certificate, host)?,
    })
}

fn absolute(key: &str, value: Option<file::Placed>, default: &str) -> Checked<AbsolutePath> {
    let (offset, text) = placed(value, || default.to_owned());
    AbsolutePath::try_from(text).or_else(|_| {
        let expected = format!("{key}: expected an absolute path without `..`");
        problem(offset, expected)
    })
}

/// Checks who can write to the state directory. Whoever can write there can replace a user's
/// directory by another one, with a journal or UIDL pins in it. If the state directory is missing,
/// this checks its parent, because a monitor makes the directory there. Warns of a directory that
/// users cannot pass through to their own directories.
fn state(value: Option<file::Placed>, host: &Host) -> Checked<AbsolutePath> {
    let offset = value.as_ref().map_or(0, |value| value.span().start);
    let path = absolute("server.state", value, "/var/lib/popward")?;
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

fn user(key: &str, id: Option<Spanned<Id>>, default: &str, names: &Names) -> Checked<(u32, u32)> {
    let (offset, id) = placed(id, || Id::Name(default.to_owned()));
    let name = match id {
        // A number need not have a user on this system. The group gets the same number.
        Id::Number(number) => return Ok((number, number)),
        Id::Name(name) => name,
    };
    match names.user(&name) {
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

/// Looks up the users of the processes. A default user of conversations that `auth` has no use for
/// need not exist. `client_ca` says whether clients may show a certificate.
fn accounts(
    file: file::Accounts,
    auth: &file::Auth,
    client_ca: bool,
    names: &Names,
) -> Checked<Accounts> {
    let needs_pam = auth::is_source(auth, "pam");
    let checks_by_program = auth::is_source(auth, "checkpassword");
    let needs_program =
        file.program.is_some() || client_ca || checks_by_program || auth.oauth2.is_some();
    let offset = |id: Option<&Spanned<Id>>| id.map_or(0, |id| id.span().start);
    let (own, place_of_auth) = (offset(file.front.as_ref()), offset(file.auth.as_ref()));
    let auth = user("auth", file.auth, "_popward-auth", names)?;
    let accounts = Accounts {
        front: user("front", file.front, "_popward", names)?,
        auth,
        keys: user("keys", file.keys, "_popward-keys", names)?,
        program: if needs_program {
            user("program", file.program, "_popward-program", names)?
        } else {
            auth
        },
        pam: if needs_pam {
            let ids = user("pam", file.pam, "_popward-pam", names)?;
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
    ids.extend(needs_program.then_some(accounts.program.0));
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
fn libexec(value: Option<file::Placed>, host: &Host) -> Checked<AbsolutePath> {
    let owners = &host.owners;
    let offset = value.as_ref().map_or(0, |value| value.span().start);
    let own = std::env::current_exe()
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned));
    let own = own.and_then(|own| AbsolutePath::try_from(own.to_str()?.to_owned()).ok());
    let directory = match (value, own) {
        (None, Some(own)) => own,
        (value, _) => absolute("server.libexec", value, "/usr/libexec/popward")?,
    };
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

fn host_name(value: Option<file::Placed>) -> Checked<Text<64>> {
    let (offset, host) = placed(value, || {
        nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    });
    let word = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    match Text::try_from(host) {
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
    let headers = proxy::headers(file.proxy.as_ref())?;
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
