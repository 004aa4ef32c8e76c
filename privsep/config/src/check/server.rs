//! `[server]`, `[accounts]` and `[[listen]]`: directories, the users of the processes, and
//! addresses.

use super::rules::{Checked, absolute, group, placed, problem, safe};
use super::{auth, proxy};
use crate::file;
use crate::host::Host;
use crate::names::Names;
use crate::values::Id;
use popward_proto::bounded::{AbsolutePath, List, Text};
use popward_proto::config_monitor::Accounts;
use popward_proto::listen::{LISTENERS_MAX, Listen};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use toml::Spanned;

/// The executables that popward starts from `server.libexec`.
const EXECUTABLES: [&str; 11] = [
    "popward-sessions",
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

/// Checks who can write to the state directory. Whoever can write there can replace a user's
/// directory by another one, with a journal or UIDL pins in it. If the state directory is missing,
/// this checks its parent, because a monitor makes the directory there. Warns of a directory that
/// users cannot pass through to their own directories.
pub(super) fn state(value: &file::Placed, host: &Host) -> Checked<AbsolutePath> {
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

/// Looks up the users of the processes. A default user of conversations that the file has no use
/// for need not exist.
pub(super) fn accounts(file: &file::File, names: &Names) -> Checked<Accounts> {
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
            let further = further.map(|id| group("accounts.pam_group", placed(id), names));
            Some((ids, further.transpose()?))
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
pub(super) fn libexec(value: &file::Placed, host: &Host) -> Checked<AbsolutePath> {
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

pub(super) fn host_name(value: &file::Placed) -> Checked<Text<64>> {
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

pub(super) fn listening(
    files: &[file::Listen],
    certificate: bool,
) -> Checked<List<Listen, LISTENERS_MAX>> {
    if let Some(beyond) = files.get(LISTENERS_MAX) {
        let expected = format!("listen: expected at most {LISTENERS_MAX}");
        return problem(beyond.address.span().start, expected);
    }
    // A socket from systemd can have TLS from the start, too. Only the supervisor has these
    // sockets, so it checks them when it starts.
    let tls = files.iter().find(|file| file.tls && !certificate);
    if let Some(tls) = tls {
        let expected = "listen.tls: expected a [[certificate]] beside it";
        return problem(tls.address.span().start, expected);
    }
    let listen = files.iter().map(listen).collect::<Checked<Vec<_>>>()?;
    List::try_from(listen).or_else(|error| problem(0, error.0))
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
