//! What the processes of a conversation have in common: popward-auth-pam, popward-auth-program and
//! popward-auth-proof.
//!
//! The monitor starts such a process when auth asks for it, and gives auth the other end of its
//! channel. The process takes one question from auth, sends one answer, and ends.
//!
//! PAM's modules and an operator's programs are other people's code, which may hang and may leave
//! processes behind. So they run in a second process, and the first one is its guard. The guard
//! ends both, and everything that they have left behind,
//!
//! - once the second process has ended,
//! - once auth has closed the channel or is dead,
//! - after the time limit, which the monitor gives.
//!
//! The monitor kills a guard that has not ended 5 s after the limit.

#![forbid(unsafe_code)]

pub mod account;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use popward_proto::auth_conversation::{AuthToConversation, ConversationPhase, ConversationToAuth};
use popward_proto::bounded::Text;
use popward_sys::channel::{Channel, ChannelError, PacketBuffer};
use popward_sys::confine::NotConfined;
use popward_sys::guard::{Half, end_descendants, split};
use popward_sys::libc;
use popward_sys::server::{self, Root};
use popward_sys::spawn::Child;
use popward_sys::{inherited, seccomp};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Most open descriptors. PAM's modules need some: those for LDAP and SSSD keep connections.
const FILES: u64 = 256;

/// How long the guard tries to end what is left.
const ENDING: Duration = Duration::from_secs(3);

/// The channel to auth.
type Auth = Channel<ConversationToAuth, AuthToConversation>;

/// Why a process cannot hold its conversation.
#[derive(Debug)]
pub enum NotReady {
    /// It has rights that it should not have.
    Confine(NotConfined),
    /// Something else, in words for the log.
    Other(&'static str),
}

impl std::fmt::Display for NotReady {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Confine(error) => error.fmt(out),
            Self::Other(why) => out.write_str(why),
        }
    }
}

impl std::error::Error for NotReady {}

impl From<NotConfined> for NotReady {
    fn from(error: NotConfined) -> Self {
        Self::Confine(error)
    }
}

/// What the monitor gives to the process.
#[derive(Debug)]
pub struct Conversation {
    auth: Auth,
    limit: Duration,
    /// Whom to ask: a PAM service, or the path of a program.
    whom: String,
}

impl Conversation {
    /// Takes the channel and the command line. `None`: no monitor has started this process.
    pub fn take() -> Option<Self> {
        let [auth] = inherited::take::<1>().ok()?;
        let mut words = std::env::args().skip(1);
        let limit_ms = words.next()?.parse().ok()?;
        Some(Self {
            auth: Channel::new(auth, ConversationPhase::Conversation),
            limit: Duration::from_millis(limit_ms),
            whom: words.next()?,
        })
    }

    /// Holds the conversation under a guard. `confine` takes rights away from both processes, beyond
    /// every capability. `answer` gets the question and whom to ask. It returns `None` for a question
    /// of another kind of process.
    pub fn hold_guarded(
        self,
        confine: impl FnOnce() -> Result<(), NotReady>,
        answer: impl FnOnce(&AuthToConversation, &str) -> Option<ConversationToAuth>,
    ) -> ExitCode {
        let confined = server::drop_privileges(FILES, Root::Host).map_err(NotReady::from);
        let half = confined.and_then(|()| {
            seccomp::denials::install(seccomp::denials::OF_OTHERS)?;
            confine()?;
            Ok(split()?)
        });
        match half {
            Err(error) => self.not_ready(&error),
            Ok(Half::Guard(child)) => self.guard(&child),
            Ok(Half::Guarded) => {
                if let Err(error) = set_signals() {
                    return self.not_ready(&error);
                }
                self.hold(|question, _, whom| answer(question, whom))
            }
        }
    }

    /// Holds the conversation in this process alone. It must not be able to start others. `confine`
    /// takes rights away from it, beyond every capability and the file system.
    pub fn hold_alone(
        self,
        confine: impl FnOnce() -> Result<(), NotReady>,
        answer: impl FnOnce(&AuthToConversation, Vec<OwnedFd>) -> Option<ConversationToAuth>,
    ) -> ExitCode {
        let seconds = self.limit.as_millis().div_ceil(1000).max(1);
        server::end_after(u32::try_from(seconds).unwrap_or(u32::MAX));
        let confined = server::end_with_parent()
            .and_then(|()| server::drop_privileges(FILES, Root::Empty))
            .map_err(NotReady::from);
        match confined.and_then(|()| confine()) {
            Err(error) => self.not_ready(&error),
            Ok(()) => self.hold(|question, files, _| answer(question, files)),
        }
    }

    fn hold(
        mut self,
        answer: impl FnOnce(&AuthToConversation, Vec<OwnedFd>, &str) -> Option<ConversationToAuth>,
    ) -> ExitCode {
        let mut buffer = PacketBuffer::for_messages();
        let Ok((question, files)) = self.auth.receive(&mut buffer) else {
            // Auth is dead, or has given up.
            return ExitCode::SUCCESS;
        };
        let sent = match answer(&question, files, &self.whom) {
            Some(answer) => self.auth.send(&answer),
            None => Err(ChannelError::Closed),
        };
        exit_code(sent.is_ok())
    }

    fn not_ready(&self, error: &NotReady) -> ExitCode {
        let why = Text::truncated(&format!("not confined: {error}"));
        let _ = self.auth.send(&ConversationToAuth::Failed(why));
        ExitCode::FAILURE
    }

    /// Waits for the end of the conversation, and ends what is left of it.
    fn guard(&self, child: &Child) -> ExitCode {
        if let Some(why) = self.wait(child) {
            // If auth has the answer already, it does not read this.
            let why = ConversationToAuth::Failed(Text::truncated(&why));
            let _ = self.auth.send(&why);
        }
        exit_code(end_descendants(ENDING))
    }

    /// Waits for the end of `child`. `None`: it has ended in order, or auth is not interested any
    /// more. Otherwise the text says for the log why there is no answer.
    fn wait(&self, child: &Child) -> Option<String> {
        let until = Instant::now() + self.limit;
        let closed = PollFlags::from_bits_retain(libc::POLLRDHUP);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some("took too long".to_owned());
            }
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut ready = [
                PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.auth.as_fd(), closed),
            ];
            match poll(&mut ready, left) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Some(errno.to_string()),
            }
            // `None`: POLLRDHUP, which the library does not know.
            let [ended, gone] = ready.map(|one| one.revents().is_none_or(|it| !it.is_empty()));
            if ended {
                return how(child);
            }
            if gone {
                return None;
            }
        }
    }
}

/// How a child has ended, in words for the log. `None`: in order.
fn how(child: &Child) -> Option<String> {
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    match waitid(Id::PIDFd(child.pidfd.as_fd()), ended) {
        Ok(WaitStatus::Exited(_, 0)) => None,
        Ok(WaitStatus::Exited(_, code)) => Some(format!("the process ended: exit status {code}")),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(format!("the process died: {signal}")),
        _ => Some("the process died".to_owned()),
    }
}

/// Gives the guarded process a group of its own, and its signals. Modules and programs may rely on
/// SIGTERM to end their own processes. A signal to their group does not reach the guard.
fn set_signals() -> Result<(), NotReady> {
    let _ = nix::unistd::setsid();
    let unblocked = nix::sys::signal::SigSet::all().thread_unblock();
    unblocked.map_err(|_| NotReady::Other("signal mask"))
}

fn exit_code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
