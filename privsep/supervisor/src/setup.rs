//! The start of the supervisor, while it has all of root's rights: it opens the listening sockets,
//! gives up what it does not need, and starts popward-log.

use crate::claims::Claims;
use crate::config::Config;
use crate::listeners::{self, Listener};
use crate::outcome::Outcomes;
use crate::supervisor::{Children, Stage, Supervisor};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use popward_parent::log::LogWriter;
use popward_parent::process::Starter;
use popward_proto::log::Level;
use popward_proto::log_line::Role;
use popward_sys::capabilities::Capabilities;
use popward_sys::confine::{self, NotConfined, attempt};
use popward_sys::seccomp::denials;
use popward_sys::{keyring, locked_memory, systemd};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::rc::Rc;

/// What the supervisor keeps of root's capabilities: to start popward-log as nobody and
/// popward-config without groups, and to end popward-log.
const KEPT: Capabilities = Capabilities::SETUID
    .with(Capabilities::SETGID)
    .with(Capabilities::KILL);

/// What no process of the server can have but these: the capabilities of the supervisor and of its
/// monitors.
const BOUNDING: Capabilities = KEPT
    .with(Capabilities::CHOWN)
    .with(Capabilities::SYS_CHROOT);

/// Gives up what whoever started the server has left to this process, and to all that it starts:
/// descriptors, core dumps, keys. Forbids calls that none of them makes.
pub(crate) fn leave_starter() -> Result<(), NotConfined> {
    attempt("close_range", systemd::close_others())?;
    confine::forbid_dumps()?;
    if nix::unistd::geteuid().is_root() {
        attempt("a session keyring", keyring::leave())?;
        // For the private keys. Without CAP_SYS_RESOURCE, the service manager sets the limit.
        locked_memory::permit();
        // Without CAP_SYS_ADMIN this fails, and the service manager forbids the calls. With
        // `no_new_privs` it would not fail, but then a security module could not change domains at
        // the execs.
        let _ = denials::install(denials::OF_PARENTS);
    }
    Ok(())
}

/// popward's processes get the capabilities that they need by an exec as root, which `no_new_privs`
/// forbids.
const NO_NEW_PRIVS: &str = "started with no_new_privs, so its processes could not get the \
    capabilities that they need: remove NoNewPrivileges= of systemd or no-new-privileges of the \
    container. popward sets no_new_privs for each process that can bear it";

/// The signals that end the server.
const ENDING: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// Holds back the signals of a server until it reads them. Otherwise a SIGHUP during the start
/// would end it. The first descriptor is readable after a signal that ends the server, and nobody
/// reads it. The second one reads all signals. A check of the configuration holds none back: a
/// signal ends it, and the tool that it becomes inherits nothing.
pub(crate) fn hold_signals(check: bool) -> nix::Result<(SignalFd, SignalFd)> {
    let mut all = SigSet::from_iter(ENDING);
    all.add(Signal::SIGHUP);
    if !check {
        all.thread_block()?;
    }
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let ending = SignalFd::with_flags(&SigSet::from_iter(ENDING), flags)?;
    Ok((ending, SignalFd::with_flags(&all, flags)?))
}

/// Opens all that the server needs, and gives up what it then does not need.
///
/// # Errors
///
/// Why there is no server, in words for the operator.
pub(crate) fn start(
    (path, config): (PathBuf, Config),
    starter: Starter,
    signals: SignalFd,
    warnings: &[String],
) -> Result<Supervisor, String> {
    let given = systemd::sockets();
    let given = given.map_err(|errno| format!("sockets from systemd: {errno}"))?;
    let listeners = listeners::open(&config.settings, given)?;
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        if nix::sys::prctl::get_no_new_privs() == Ok(true) {
            return Err(NO_NEW_PRIVS.to_owned());
        }
        give_up().map_err(|error| error.to_string())?;
    }
    let mut supervisor = Supervisor {
        outcomes: Outcomes::new(path.clone()),
        path,
        log: LogWriter::new(Role::Supervisor, config.settings.common.log_level),
        config: Rc::new(config),
        starter,
        signals,
        listeners,
        children: Children::default(),
        stage: Stage::Starting,
        current: None,
        next: None,
        claims: Claims::default(),
        wanted: false,
        waits: false,
        started: 0,
        back_off: BTreeMap::new(),
        due: BTreeMap::new(),
        failure: None,
    };
    let log = supervisor.start_log();
    log.map_err(|error| format!("popward-log not started: {error}"))?;
    supervisor.warn_of_configuration(warnings);
    if !is_root {
        let text = "not root: all processes run as one user; a break-in into one reaches the mail and the keys of that user";
        supervisor.log.write(Level::Warning, text, &[]);
    }
    for Listener { address, tls, .. } in &supervisor.listeners {
        let at: &[(&str, &dyn Display)] = &[("address", address), ("tls", tls)];
        supervisor.log.write(Level::Info, "listening", at);
    }
    Ok(supervisor)
}

/// Gives up what is not kept, and proves it.
fn give_up() -> Result<(), NotConfined> {
    attempt("setgroups", nix::unistd::setgroups(&[]))?;
    confine::drop_capabilities(BOUNDING)?;
    // Without CAP_SETPCAP, this leaves the bounding set as it is.
    popward_parent::confine::confine(KEPT)
}
