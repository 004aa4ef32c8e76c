//! From what was written to what can be run: names become ids, files exist, directories are safe.

use super::{Accounts, Auth, Certificate, Config, Listen, Spool, file};
use popward_proto::account::FrontId;
use popward_proto::bounded::{AbsolutePath, List, Text};
use popward_proto::log::Level;
use popward_proto::monitor_auth::AccountSource;
use popward_proto::monitor_front::{FrontSettings, Plaintext};
use popward_proto::monitor_worker::{HIDDEN_MAX, LockSettings, SCHEMES_MAX, Scheme};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// What is wrong, and at which byte of the file (0 where a default is what is wrong).
pub(super) struct Problem {
    pub(super) offset: usize,
    pub(super) expected: String,
}

type Checked<T> = Result<T, Problem>;

fn problem<T>(offset: usize, expected: impl Into<String>) -> Checked<T> {
    Err(Problem {
        offset,
        expected: expected.into(),
    })
}

/// A value that was written, or its default, with its place.
fn placed<T>(value: Option<Spanned<T>>, default: impl FnOnce() -> T) -> (usize, T) {
    match value {
        Some(value) => (value.span().start, value.into_inner()),
        None => (0, default()),
    }
}

/// The executables that the monitor starts.
pub(crate) const EXECUTABLES: [&str; 4] = [
    "popward-front",
    "popward-auth",
    "popward-keys",
    "popward-worker",
];

pub(super) fn check(path: &Path, file: file::File) -> Checked<Config> {
    let root = nix::unistd::geteuid().is_root();
    let accounts = if root {
        Some(accounts(file.accounts)?)
    } else {
        None
    };
    let auth_settings = auth(&file.auth)?;
    let spool = spool(file.spool, file.lock)?;
    let front = front(&file.limits, &file.auth, file.server.shutdown_grace)?;
    let fronts = placed(file.server.fronts, || 1);
    if !(1..=64).contains(&fronts.1) {
        return problem(fronts.0, "server.fronts: expected 1 to 64");
    }
    Ok(Config {
        path: path.to_owned(),
        libexec: libexec(file.server.libexec, root)?,
        state: absolute("server.state", file.server.state, "/var/lib/popward")?,
        host: host(file.server.host)?,
        grace: Duration::from_secs(file.server.shutdown_grace.unwrap_or(30).into()),
        fronts: fronts.1,
        accounts,
        certificates: certificates(&file.certificate)?,
        listen: file.listen.iter().map(listen).collect::<Checked<_>>()?,
        auth: auth_settings,
        spool,
        front,
        log: log(file.log)?,
    })
}

fn absolute(key: &str, value: Option<file::Placed>, default: &str) -> Checked<PathBuf> {
    let (offset, text) = placed(value, || default.to_owned());
    match AbsolutePath::try_from(text) {
        Ok(path) => Ok(path.as_path().to_owned()),
        Err(_) => problem(
            offset,
            format!("{key}: expected an absolute path without `..`"),
        ),
    }
}

fn user(key: &str, id: Option<Spanned<file::Id>>, default: &str) -> Checked<(u32, u32)> {
    let (offset, id) = placed(id, || file::Id::Name(default.to_owned()));
    let name = match id {
        // A number needs no account: the group has the same one.
        file::Id::Number(number) => return Ok((number, number)),
        file::Id::Name(name) => name,
    };
    match nix::unistd::User::from_name(&name) {
        Ok(Some(user)) => Ok((user.uid.as_raw(), user.gid.as_raw())),
        _ => problem(
            offset,
            format!("accounts.{key}: expected a user of this system, not {name:?}"),
        ),
    }
}

fn accounts(file: file::Accounts) -> Checked<Accounts> {
    let offset = file.front.as_ref().map_or(0, |id| id.span().start);
    let accounts = Accounts {
        front: user("front", file.front, "_popward")?,
        auth: user("auth", file.auth, "_popward-auth")?,
        keys: user("keys", file.keys, "_popward-keys")?,
    };
    let ids = [accounts.front.0, accounts.auth.0, accounts.keys.0];
    if ids[0] == 0 || ids[2] == 0 {
        return problem(
            offset,
            "accounts: expected another user than root for front and keys",
        );
    }
    if ids[0] == ids[1] || ids[0] == ids[2] || ids[1] == ids[2] {
        return problem(offset, "accounts: expected three different users");
    }
    Ok(accounts)
}

/// Only root may be able to change what root starts.
fn libexec(value: Option<file::Placed>, root: bool) -> Checked<PathBuf> {
    let offset = value.as_ref().map_or(0, |value| value.span().start);
    let own = std::env::current_exe()
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned));
    let directory = match (value, own) {
        (None, Some(own)) => own,
        (value, _) => absolute("server.libexec", value, "/usr/libexec/popward")?,
    };
    for name in EXECUTABLES {
        let path = directory.join(name);
        if !path.is_file() {
            return problem(
                offset,
                format!("server.libexec: expected {} to exist", path.display()),
            );
        }
        if root && !path.ancestors().all(is_roots) {
            let why = "to be root's and writable by nobody else, like all directories above it";
            return problem(
                offset,
                format!("server.libexec: expected {} {why}", path.display()),
            );
        }
    }
    Ok(directory)
}

/// Whether only root can change what is at `path`: it, or (in a directory) what it has entries for that are root's.
fn is_roots(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|status| {
        let others_write = status.mode() & 0o022 != 0;
        let sticky = status.is_dir() && status.mode() & 0o1000 != 0;
        status.uid() == 0 && (!others_write || sticky)
    })
}

fn host(value: Option<file::Placed>) -> Checked<Text<64>> {
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

fn listen(file: &file::Listen) -> Checked<Listen> {
    let offset = file.address.span().start;
    match file.address.get_ref().parse() {
        Ok(address) => Ok(Listen {
            address,
            tls: file.tls,
        }),
        Err(_) => problem(
            offset,
            "listen.address: expected ADDRESS:PORT, such as 0.0.0.0:110 or [::]:110",
        ),
    }
}

fn certificates(files: &[file::Certificate]) -> Checked<Vec<Certificate>> {
    if let Some(beyond) = files.get(16) {
        return problem(
            beyond.chain.span().start,
            "certificate: expected at most 16",
        );
    }
    let readable = |key: &str, value: &file::Placed| {
        let path = PathBuf::from(value.get_ref());
        match std::fs::File::open(&path) {
            Ok(_) if path.is_absolute() => Ok(path),
            Ok(_) => problem(
                value.span().start,
                format!("{key}: expected an absolute path"),
            ),
            Err(error) => {
                let shown = path.display();
                problem(
                    value.span().start,
                    format!("{key}: expected a readable file: {shown}: {error}"),
                )
            }
        }
    };
    files
        .iter()
        .map(|file| {
            Ok(Certificate {
                chain: readable("certificate.chain", &file.chain)?,
                key: readable("certificate.key", &file.key)?,
            })
        })
        .collect()
}

fn auth(file: &file::Auth) -> Checked<Auth> {
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

fn spool(file: file::Spool, lock: file::Lock) -> Checked<Spool> {
    let (offset, pattern) = placed(file.path, || "/var/mail/{user}".to_owned());
    let bare = pattern.replace("{user}", "u").replace("{home}", "/h");
    if !bare.starts_with('/') || bare.contains(['{', '}']) || bare == pattern || bare.ends_with('/')
    {
        let expected =
            "spool.path: expected an absolute path with {user} or {home}, no other pattern";
        return problem(offset, expected);
    }
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
fn shared_group(pattern: &str) -> Option<u32> {
    let (directory, _) = pattern.rsplit_once('/')?;
    let status = std::fs::metadata(directory).ok()?;
    let needed = status.mode() & 0o022 == 0o020 && status.gid() != 0;
    needed.then(|| status.gid())
}

fn front(file: &file::Limits, auth: &file::Auth, grace: Option<u16>) -> Checked<FrontSettings> {
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
    })
}

fn log(file: file::Log) -> Checked<crate::log::Settings> {
    use crate::log::Destination;
    let (offset, to) = placed(file.to, || "stderr".to_owned());
    let to = match to.as_str() {
        "stderr" => Destination::Stderr,
        "journald" => Destination::Journald,
        "syslog" => Destination::Syslog,
        _ => {
            return problem(
                offset,
                r#"log.to: expected "stderr", "journald" or "syslog""#,
            );
        }
    };
    let (offset, level) = placed(file.level, || "info".to_owned());
    let level = match level.as_str() {
        "error" => Level::Error,
        "warning" => Level::Warning,
        "notice" => Level::Notice,
        "info" => Level::Info,
        "debug" => Level::Debug,
        _ => {
            let expected = r#"log.level: expected "error", "warning", "notice", "info" or "debug""#;
            return problem(offset, expected);
        }
    };
    Ok(crate::log::Settings { to, level })
}
