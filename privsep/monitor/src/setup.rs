//! The start, while there is still all of root's privilege: sockets, directories, descriptors; then most of it goes.

use crate::children::Nursery;
use crate::config::Config;
use crate::events::Events;
use crate::generation::Starter;
use crate::leftovers;
use crate::listeners::{self, ListenError};
use crate::log::Log;
use crate::monitor::Monitor;
use crate::state::StateRoot;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use popward_proto::log::Level;
use popward_sys::capabilities::Capabilities;
use popward_sys::confine::{self, Identity, NotConfined};
use popward_sys::spawn::Spawner;
use popward_sys::systemd;
use std::path::{Path, PathBuf};

/// Why there is no server.
#[derive(Debug)]
pub(crate) enum StartError {
    /// No socket to listen at.
    Listen(ListenError),
    /// A directory or device could not be opened or made.
    Open(PathBuf, Errno),
    /// The monitor could not give up what it must.
    Confine(NotConfined),
    /// A system call failed.
    System(&'static str, Errno),
    /// A process that is needed ended or refused before everything was ready; its own words are in the log.
    Child(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(out),
            Self::Open(path, errno) => write!(out, "{}: {errno}", path.display()),
            Self::Confine(error) => error.fmt(out),
            Self::System(what, errno) => write!(out, "{what}: {errno}"),
            Self::Child(why) => out.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}

/// What the monitor keeps of root's capabilities. With `CAP_SETUID` it could become anybody, so the list does not make
/// it harmless: it makes a mistake with a path or a socket harmless.
pub(crate) const KEPT: Capabilities = Capabilities::SETUID
    .with(Capabilities::SETGID)
    .with(Capabilities::KILL)
    .with(Capabilities::CHOWN)
    .with(Capabilities::SYS_CHROOT);

/// Opens all that the server needs, and gives up what it then does not.
pub(crate) fn start(config: Config, warnings: &[String]) -> Result<Monitor, StartError> {
    let given = systemd::sockets().map_err(|e| StartError::System("sockets from systemd", e))?;
    let mut log = Log::open(config.log);
    log.warn_of_configuration(warnings);
    let listeners = listeners::open(&config.listen, given).map_err(StartError::Listen)?;
    if listeners.iter().any(|listener| listener.tls) && config.certificates.is_empty() {
        return Err(StartError::Child(
            "a listener has tls = true, and there is no [[certificate]]".into(),
        ));
    }
    let state = StateRoot::open(&config.state)
        .map_err(|errno| StartError::Open(config.state.clone(), errno))?;
    let nursery = nursery(&config)?;
    let left = leftovers::find(&config, &mut log);
    let events = Events::new().map_err(|e| StartError::System("event loop", e))?;
    confine(&config)?;
    if config.accounts.is_none() {
        let text = "not root: all processes run as one user; a break-in into one reaches the mail and the keys of that user";
        log.write(Level::Warning, text, &[]);
    }
    for listener in &listeners {
        log.write(
            Level::Info,
            "listening",
            &[("address", &listener.address), ("tls", &listener.tls)],
        );
    }
    let starter = Starter {
        nursery,
        events,
        listeners,
        children: 0,
        fronts: 0,
        connections: None,
    };
    Ok(Monitor::new(config, log, starter, state, left))
}

fn nursery(config: &Config) -> Result<Nursery, StartError> {
    let empty = config.state.join(".empty");
    match nix::unistd::mkdir(&empty, Mode::from_bits_truncate(0o555)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(StartError::Open(empty, errno)),
    }
    let open = |path: &Path, flags| {
        open(path, flags | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| StartError::Open(path.to_owned(), errno))
    };
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
    Ok(Nursery {
        spawner: Spawner::default(),
        null: open(Path::new("/dev/null"), OFlag::O_RDWR)?,
        root: open(Path::new("/"), directory)?,
        empty: open(&empty, directory | OFlag::O_NOFOLLOW)?,
    })
}

/// Gives up what is not kept, and proves it. `no_new_privs` is not set here: SELinux and AppArmor could then no longer
/// change domains at the execs; each child sets it for itself.
fn confine(config: &Config) -> Result<(), StartError> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let fail = |errno| StartError::System("limit on open files", errno);
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(fail)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(fail)?;
    if config.accounts.is_none() {
        return Ok(());
    }
    nix::unistd::setgroups(&[]).map_err(|e| StartError::System("setgroups", e))?;
    confine::drop_capabilities(KEPT).map_err(StartError::Confine)?;
    let root = Identity {
        uid: 0,
        gid: nix::unistd::getgid().as_raw(),
    };
    confine::prove_ids(&root, &[], KEPT).map_err(StartError::Confine)
}
