//! What somebody who has taken a process over would try: each action has a name, the calls that
//! prepare it, and the call that must fail.
//!
//! The kernel does nothing lasting if one of them succeeds, or [`Scene::restore`] undoes it. So most
//! of them have arguments that the kernel refuses only after it has looked at the caller's rights.

mod files;
mod kernel;
mod processes;
mod sockets;

use super::inject::{Argument, Call};
use super::scene::Scene;
use Argument::{Number, Result as Returned, Stack};
use nix::errno::Errno;
use nix::libc;
pub use processes::against_worker;
use std::path::Path;

/// An action.
#[derive(Debug)]
pub struct Action {
    /// Its name in the table.
    pub name: String,
    /// The process that it is against. The table names it behind the action.
    pub whom: Option<String>,
    /// What prepares it, past the filter. [`Returned`] refers to it.
    pub before: Vec<Call>,
    /// The call itself.
    pub call: Call,
    /// Errors that the kernel gives only to those who have the right.
    pub late: &'static [Errno],
    /// When settings of the host decide.
    pub by_host: ByHost,
    /// The version of Landlock that denies it. A kernel with an older one may permit it.
    pub landlock: u32,
    /// Whether a host may forbid to trace processes of the same user (Yama).
    pub traces: bool,
}

/// When settings of the host decide whether an action is possible. The table has no result then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHost {
    /// Never.
    No,
    /// If no filter does. Each filter decides about this action.
    WithoutFilter,
    /// Unless a filter ends the process.
    Always,
}

impl Action {
    fn new(name: &str, number: i64, arguments: &[Argument]) -> Self {
        Self {
            name: name.to_owned(),
            whom: None,
            before: Vec::new(),
            call: call(number, arguments),
            late: &[],
            by_host: ByHost::No,
            landlock: 0,
            traces: false,
        }
    }

    fn after(mut self, before: &[Call]) -> Self {
        self.before = before.to_vec();
        self
    }

    fn late(mut self, late: &'static [Errno]) -> Self {
        self.late = late;
        self
    }

    fn by_host(mut self, by_host: ByHost) -> Self {
        self.by_host = by_host;
        self
    }

    fn against(mut self, whom: &str) -> Self {
        self.whom = Some(whom.to_owned());
        self
    }

    fn traces(mut self) -> Self {
        self.traces = true;
        self
    }

    fn landlock(mut self, version: u32) -> Self {
        self.landlock = version;
        self
    }
}

fn call(number: i64, arguments: &[Argument]) -> Call {
    Call {
        number,
        arguments: arguments.to_vec(),
    }
}

fn bytes(bytes: &[u8]) -> Argument {
    Argument::Bytes(bytes.to_vec())
}

fn text(text: &str) -> Argument {
    bytes(format!("{text}\0").as_bytes())
}

fn path(path: impl AsRef<Path>) -> Argument {
    text(path.as_ref().to_str().unwrap())
}

fn flags(flags: i32) -> Argument {
    Number(flags.into())
}

const NULL: Argument = Number(0);
const HERE: Argument = Number(libc::AT_FDCWD as i64);
const READ: i32 = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK;
const WRITE: i32 = libc::O_WRONLY | libc::O_CLOEXEC | libc::O_NONBLOCK;
const MAKE: i32 = WRITE | libc::O_CREAT | libc::O_EXCL;

/// A signal that nobody notices.
const HARMLESS: i64 = libc::SIGURG as i64;

fn open(at: impl AsRef<Path>, how: i32) -> Call {
    let arguments = [HERE, path(at), flags(how), Number(0o600)];
    call(libc::SYS_openat, &arguments)
}

fn opens(name: &str, at: impl AsRef<Path>, how: i32) -> Action {
    Action {
        call: open(at, how),
        ..Action::new(name, 0, &[])
    }
}

fn socket(family: i32, kind: i32, protocol: i32) -> Call {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let arguments = [family, kind, protocol].map(flags);
    call(libc::SYS_socket, &arguments)
}

/// All actions. Those against other processes are against those of `scene`.
pub fn all(scene: &Scene) -> Vec<Action> {
    [
        files::opened(scene),
        files::changed(scene),
        files::own(scene),
        sockets::all(scene),
        processes::programs(scene),
        processes::neighbours(scene),
        processes::rights(scene),
        kernel::all(scene),
    ]
    .into_iter()
    .flatten()
    .collect()
}
