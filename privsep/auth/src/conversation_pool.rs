//! Auth's side of its conversations: it starts a child for each, takes its answer, and ends it. The
//! number of children and the time of each are bounded.

use crate::login::LoginId;
use crate::verdict::Verdict;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use popward_proto::auth_conversation::{AuthToConversation, ConversationPhase, ConversationToAuth};
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer, socket_pair};
use popward_sys::spawn::{Child, Spawn, Spawner};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// A child that has not answered yet.
struct Conversation {
    login_id: LoginId,
    /// Whether the question is for a user's name (a token, a certificate). Otherwise it is for an
    /// account.
    names: bool,
    until: Instant,
    child: Child,
    channel: Channel<AuthToConversation, ConversationToAuth>,
}

/// All conversations of auth.
pub(crate) struct ConversationPool {
    /// The children's executable: auth's own.
    executable: &'static Path,
    spawner: Spawner,
    null: File,
    root: File,
    held: Vec<Conversation>,
    /// Children that have answered or were killed, and are not reaped yet.
    ending: Vec<Child>,
    /// When to look for orphans: processes that modules have started and left behind. They become
    /// children of auth.
    sweep: Option<Instant>,
}

/// The time from a conversation's end, or from an orphan's end, to the next look for orphans.
const SWEEP: Duration = Duration::from_millis(100);

impl ConversationPool {
    /// No conversations.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            executable: Path::new("/proc/self/exe"),
            spawner: Spawner::default(),
            null: File::options().read(true).write(true).open("/dev/null")?,
            root: File::open("/")?,
            held: Vec::new(),
            ending: Vec::new(),
            sweep: None,
        })
    }

    /// How many children there are, including those that are ending.
    pub(crate) fn count(&self) -> usize {
        self.held.len() + self.ending.len()
    }

    /// Starts a conversation. `file` goes with the question: the keys or authorities to check
    /// against. `limit` is the longest time until its answer. `Err` says for the log what failed.
    pub(crate) fn start(
        &mut self,
        login_id: LoginId,
        question: &AuthToConversation,
        file: Option<&File>,
        limit: Duration,
    ) -> Result<(), String> {
        let (ours, theirs) = socket_pair().map_err(|errno| errno.to_string())?;
        let child = self
            .spawner
            .spawn(&Spawn {
                executable: self.executable,
                arguments: mode(question),
                null: self.null.as_fd(),
                descriptors: &[theirs.as_fd()],
                directory: self.root.as_fd(),
                identity: None,
            })
            .map_err(|errno| format!("cannot start a conversation: {errno}"))?;
        let channel: Channel<_, _> = Channel::new(ours, ConversationPhase::Conversation);
        let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
        // If this channel could block, one slow child would make all logins wait.
        let sent = channel
            .set_nonblocking()
            .map_err(ChannelError::System)
            .and_then(|()| channel.send_with(question, &files));
        if let Err(error) = sent {
            self.end(child);
            return Err(format!("conversation: {error}"));
        }
        self.held.push(Conversation {
            login_id,
            names: matches!(
                question,
                AuthToConversation::TokenProgram { .. }
                    | AuthToConversation::Token { .. }
                    | AuthToConversation::Certificate { .. }
            ),
            until: Instant::now() + limit,
            child,
            channel,
        });
        Ok(())
    }

    /// The descriptors to wait for: those of answers, and those of ends.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let answers = self.held.iter().map(|held| held.channel.as_fd());
        answers.chain(self.ending.iter().map(|child| child.pidfd.as_fd()))
    }

    /// The next time at which [`ConversationPool::proceed`] has something to do without a message.
    pub(crate) fn next(&self) -> Option<Instant> {
        let ends = self.held.iter().map(|held| held.until);
        ends.chain(self.sweep).min()
    }

    /// Kills and reaps orphans: children of auth that are no conversation.
    fn sweep(&mut self) {
        let children = format!("/proc/self/task/{}/children", std::process::id());
        // A kernel without CONFIG_PROC_CHILDREN has no such file. Orphans then run to their own
        // end.
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let own: Vec<u32> = self
            .held
            .iter()
            .map(|held| held.child.pid)
            .chain(self.ending.iter().map(|child| child.pid))
            .collect();
        let orphans = children
            .split_whitespace()
            .filter_map(|pid| pid.parse::<u32>().ok())
            .filter(|pid| !own.contains(pid))
            .filter_map(|pid| i32::try_from(pid).ok());
        self.sweep = None;
        for pid in orphans.map(nix::unistd::Pid::from_raw) {
            // It is a child of this process and not reaped, so no other process has its id.
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            self.sweep = Some(Instant::now() + SWEEP);
        }
    }

    /// Takes the answers that have come, and ends the conversations whose time is over.
    pub(crate) fn proceed(&mut self, buffer: &mut PacketBuffer) -> Vec<(LoginId, Verdict)> {
        use ConversationToAuth::{Failed, Granted, Identified, Refused};
        let now = Instant::now();
        let mut verdicts = Vec::new();
        for place in (0..self.held.len()).rev() {
            let held = &mut self.held[place];
            let verdict = match held.channel.receive(buffer) {
                Err(ChannelError::WouldBlock) if held.until > now => continue,
                Err(ChannelError::WouldBlock) => {
                    Verdict::Failed("conversation: took too long".to_owned())
                }
                // A child that was asked for a user's name must not grant an account, and the other
                // way round. A broken parser could do so.
                Ok(Packet::Message(Granted(account), _)) if !held.names => {
                    Verdict::Granted(account)
                }
                Ok(Packet::Message(Identified(user), _)) if held.names => Verdict::Identified(user),
                Ok(Packet::Message(Granted(_) | Identified(_), _)) => {
                    Verdict::Failed("conversation: not what was asked".to_owned())
                }
                Ok(Packet::Message(Refused(why), _)) => Verdict::Refused(why.to_string()),
                Ok(Packet::Message(Failed(why), _)) => Verdict::Failed(why.to_string()),
                Ok(Packet::Data { .. }) => Verdict::Failed("conversation: data".to_owned()),
                Err(error) => Verdict::Failed(format!("conversation: {error}")),
            };
            let held = self.held.swap_remove(place);
            verdicts.push((held.login_id, verdict));
            self.end(held.child);
        }
        self.ending.retain(|child| !is_reaped(child));
        if self.sweep.is_some_and(|at| at <= now) {
            self.sweep();
        }
        verdicts
    }

    /// Kills a child and the processes in its group.
    fn end(&mut self, child: Child) {
        if let Ok(pid) = i32::try_from(child.pid).map(nix::unistd::Pid::from_raw) {
            // The child is not reaped, so no other process has its id. It has no group of its own
            // before it has begun: then the first call fails, and the second one kills it.
            let _ = killpg(pid, Signal::SIGKILL);
            let _ = kill(pid, Signal::SIGKILL);
        }
        if !is_reaped(&child) {
            self.ending.push(child);
        }
        self.sweep = Some(Instant::now() + SWEEP);
    }
}

/// The arguments of the child for a question. The child's mode decides how it confines itself, and
/// it must know that before it reads the question.
fn mode(question: &AuthToConversation) -> &'static [&'static str] {
    match question {
        AuthToConversation::Pam { .. } => &["popward-auth", "pam"],
        AuthToConversation::Checkpassword { .. } | AuthToConversation::TokenProgram { .. } => {
            &["popward-auth", "program"]
        }
        AuthToConversation::Token { .. } | AuthToConversation::Certificate { .. } => {
            &["popward-auth", "proof"]
        }
    }
}

fn is_reaped(child: &Child) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    match waitid(Id::PIDFd(child.pidfd.as_fd()), flags) {
        Ok(nix::sys::wait::WaitStatus::StillAlive) | Err(Errno::EINTR) => false,
        // The child has ended and is reaped now, or it was reaped before.
        Ok(_) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use popward_proto::bounded::{Text, UserName};
    use popward_proto::secret::Secret;

    /// Auth asks a child for its answer as soon as it has started, if another one's end wakes it at
    /// that moment. This must not block.
    #[test]
    fn a_conversation_without_an_answer_does_not_block_auth() {
        let mut conversations = ConversationPool::new().unwrap();
        let login_id = LoginId::of_test(1);
        let question = AuthToConversation::Pam {
            service: Text::truncated("popward-test"),
            user: UserName::try_from("alice".to_owned()).unwrap(),
            secret: Some(Secret::try_from(b"secret".to_vec()).unwrap()),
            peer: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        // A process that never answers.
        let silent = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let text = "#!/bin/sh\nexec sleep 60";
        let write = format!("echo '{text}' >\"$1\" && chmod 700 \"$1\"");
        let mut shell = std::process::Command::new("sh");
        let written = shell.args(["-c", &write, "sh"]).arg(&silent).status();
        assert!(written.unwrap().success());
        conversations.executable = Box::leak(silent.to_path_buf().into_boxed_path());
        let limit = Duration::from_millis(200);
        let until = Instant::now() + limit;
        conversations
            .start(login_id, &question, None, limit)
            .unwrap();
        let mut buffer = PacketBuffer::for_messages();
        assert!(conversations.proceed(&mut buffer).is_empty());
        assert!(Instant::now() < until, "it waited");
        while Instant::now() < until + limit {
            std::thread::yield_now();
        }
        let verdicts = conversations.proceed(&mut buffer);
        assert!(
            matches!(&verdicts[..], [(_, Verdict::Failed(why))] if why.contains("too long")),
            "{verdicts:?}"
        );
    }
}
