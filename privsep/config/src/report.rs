//! The end of `popward --check`: which addresses are taken, and what this host gives. Nothing here
//! is a mistake of the configuration.

use crate::config::{Config, DEFAULT};
use popward_proto::sessions_worker::LockSettings;
use popward_sys::facts;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Returns the configured addresses at which a program listens already. A server that runs with the
/// configuration `path` listens there itself: then there are none.
pub(crate) fn taken(config: &Config, path: &Path) -> Vec<SocketAddr> {
    let now = facts::listening();
    let is_taken = |address: &SocketAddr| now.iter().any(|other| collide(*address, *other));
    let wanted = config.supervisor.listen.as_slice().iter();
    let taken = wanted.map(|listen| listen.address).filter(is_taken);
    taken.filter(|_| !runs(path)).collect()
}

/// Whether only one of two sockets can listen. A socket at `::` takes IPv4 as well.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    let any = a.is_unspecified() || b.is_unspecified();
    let takes_all = [a, b].contains(&Ipv6Addr::UNSPECIFIED.into());
    one.port() == other.port() && (a == b || takes_all || any && a.is_ipv4() == b.is_ipv4())
}

/// Whether a server runs that was started with the configuration `path`, in whatever way its command
/// line writes that path. A relative path there is not found, because it is one from the server's
/// working directory.
fn runs(path: &Path) -> bool {
    let file = |path: &Path| std::fs::metadata(path).ok().map(|at| (at.dev(), at.ino()));
    let own = file(path);
    facts::command_lines("popward").iter().any(|line| {
        let mut words = line.split('\0');
        let config = words.find(|word| ["--config", "-c"].contains(word));
        let config = config.and_then(|_| words.next());
        let other = Path::new(config.unwrap_or(DEFAULT));
        path == other || own.is_some() && own == file(other)
    })
}

/// Describes this host.
pub(crate) fn host(config: &Config) -> String {
    let spool = &config.sessions.everybody.spool;
    let spools = spool.pattern.base().map(|base| {
        let kind = facts::file_system(&Path::new("/").join(base));
        format!("{base} on {kind}; locks {}", locks(spool.locks, &kind))
    });
    let state = config.supervisor.state.as_path();
    // A monitor makes the directory if it is missing.
    let state = state.parent().filter(|_| !state.exists()).unwrap_or(state);
    let (kind, room) = (facts::file_system(state), facts::room(state));
    let lines = [
        ("kernel", facts::read("/proc/sys/kernel/osrelease")),
        ("Landlock", format!("version {}", facts::landlock())),
        ("security modules", facts::read("/sys/kernel/security/lsm")),
        (
            "domain of popward-config",
            facts::read("/proc/self/attr/current"),
        ),
        (
            "spools",
            spools.unwrap_or("in the users' directories".to_owned()),
        ),
        (
            "journals",
            format!("{} on {kind}; room for {room}", state.display()),
        ),
    ];
    let lines = lines
        .iter()
        .map(|(what, value)| match value.trim_matches(['\0', '\n']) {
            "" => format!("  {what}: not known\n"),
            value => format!("  {what}: {value}\n"),
        });
    format!("this host gives:\n{}", lines.collect::<String>())
}

/// The locks that workers take on a file system of this kind. On NFS, flock is an fcntl lock.
fn locks(locks: LockSettings, kind: &str) -> String {
    let flock = locks.flock && !(locks.fcntl && kind.starts_with("nfs"));
    let all = [
        ("dotlock", locks.dotlock),
        ("fcntl", locks.fcntl),
        ("flock", flock),
    ];
    let taken = all.iter().filter(|(_, taken)| *taken);
    taken.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
