//! How sessions starts its processes.

use popward_parent::connected_child::ConnectedChild;
use popward_parent::process::{Launch, Starter};
use popward_proto::account::SessionId;
use popward_proto::bounded::{AbsolutePath, UserName};
use popward_proto::log_line::Role;
use popward_proto::sessions_worker::{JobPhase, SessionsToWorker, WorkerToSessions};
use popward_records::Logs;
use popward_sys::spawn::ChildIdentity;
use std::os::fd::BorrowedFd;

/// A process that works for a session, with its channel.
pub(crate) type WorkerChild = ConnectedChild<SessionsToWorker, WorkerToSessions>;

/// What is needed to start a worker.
#[derive(Debug)]
pub(crate) struct WorkerStarter {
    pub(crate) starter: Starter,
    pub(crate) logs: Logs,
    /// The directory of the executables.
    pub(crate) libexec: AbsolutePath,
}

impl WorkerStarter {
    /// Starts the executable of `role` as `identity`, with `word` on its command line and `socket`
    /// behind its channel and its log.
    pub(crate) fn start(
        &mut self,
        role: Role,
        word: &str,
        identity: Option<ChildIdentity>,
        about: (SessionId, UserName),
        socket: BorrowedFd<'_>,
    ) -> nix::Result<WorkerChild> {
        let launch = Launch {
            libexec: self.libexec.as_path(),
            role,
            words: &[word],
            directory: None,
            identity,
        };
        let (starter, phase) = (&mut self.starter, JobPhase::Working);
        self.logs
            .start(starter, &launch, Some(about), &[socket], phase)
    }
}
