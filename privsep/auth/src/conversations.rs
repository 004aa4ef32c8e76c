//! Auth's side of its conversations: it asks the monitor for a process for each, sends the question,
//! takes the answer, and closes the channel. The number of conversations and the time of each are
//! bounded.
//!
//! Auth does not start these processes and cannot signal them. A process ends once auth has closed
//! its channel. Its guard and the monitor see to that (`popward-conversation`).

use crate::login::LoginId;
use crate::verdict::Verdict;
use nix::sys::socket::{Shutdown, shutdown};
use popward_proto::auth_conversation::{AuthToConversation, ConversationPhase, ConversationToAuth};
use popward_proto::monitor_auth::{ConversationId, ConversationKind};
use popward_sys::channel::{Channel, ChannelError, PacketBuffer};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

type Process = Channel<AuthToConversation, ConversationToAuth>;

/// How long a process may take to end. One that takes longer does not count any more.
const ENDING: Duration = Duration::from_secs(10);

/// A conversation without an answer.
struct Conversation {
    id: ConversationId,
    login_id: LoginId,
    /// Whether the question is for a user's name (a token, a certificate). Otherwise it is for an
    /// account.
    names: bool,
    until: Instant,
    stage: Stage,
}

/// How far a conversation is.
enum Stage {
    /// The monitor is to give a process for this question. The open file goes with the question.
    Asked(Box<AuthToConversation>, Option<File>),
    /// The process has the question.
    Waits(Process),
    /// The process did not take the question. The text says for the log why.
    Failed(String),
}

/// All conversations of auth.
#[derive(Default)]
pub(crate) struct Conversations {
    started: u32,
    held: Vec<Conversation>,
    /// The processes that have answered or were given up, and until when they may take to end.
    ending: Vec<(Instant, Process)>,
}

impl Conversations {
    /// How many conversations there are, including those whose processes are ending.
    pub(crate) fn count(&self) -> usize {
        self.held.len() + self.ending.len()
    }

    /// Begins a conversation. `file` goes with the question: the keys or authorities to check
    /// against. `limit` is the longest time until its answer. Returns what to ask the monitor for.
    pub(crate) fn begin(
        &mut self,
        login_id: LoginId,
        question: AuthToConversation,
        file: Option<File>,
        limit: Duration,
    ) -> (ConversationId, ConversationKind) {
        let kind = kind(&question);
        self.started = self.started.wrapping_add(1);
        let id = ConversationId(self.started);
        self.held.push(Conversation {
            id,
            login_id,
            names: matches!(
                kind,
                ConversationKind::TokenProgram | ConversationKind::Proof
            ),
            until: Instant::now() + limit,
            stage: Stage::Asked(Box::new(question), file),
        });
        (id, kind)
    }

    /// The monitor has given a process: sends it the question. The channel of a conversation that
    /// was given up is closed.
    pub(crate) fn open(&mut self, id: ConversationId, socket: OwnedFd) {
        let Some(held) = self.held.iter_mut().find(|held| held.id == id) else {
            return;
        };
        let Stage::Asked(question, file) = &held.stage else {
            return;
        };
        let process: Process = Channel::new(socket, ConversationPhase::Conversation);
        let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
        // If this channel could block, one slow process would make all logins wait.
        let sent = process
            .set_nonblocking()
            .map_err(ChannelError::System)
            .and_then(|()| process.send_with(question, &files));
        held.stage = match sent {
            Ok(()) => Stage::Waits(process),
            Err(error) => Stage::Failed(format!("conversation: {error}")),
        };
    }

    /// The descriptors to wait for: those of answers, and those of ends.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let answers = self.held.iter().filter_map(|held| match &held.stage {
            Stage::Waits(process) => Some(process.as_fd()),
            _ => None,
        });
        answers.chain(self.ending.iter().map(|(_, process)| process.as_fd()))
    }

    /// The next time at which [`Conversations::proceed`] has something to do without a message.
    pub(crate) fn next(&self) -> Option<Instant> {
        let ends = self.held.iter().map(|held| match held.stage {
            Stage::Failed(_) => Instant::now(),
            _ => held.until,
        });
        ends.chain(self.ending.iter().map(|(until, _)| *until))
            .min()
    }

    /// Takes the answers that have come, and gives up the conversations whose time is over.
    pub(crate) fn proceed(&mut self, buffer: &mut PacketBuffer) -> Vec<(LoginId, Verdict)> {
        let now = Instant::now();
        let mut verdicts = Vec::new();
        for place in (0..self.held.len()).rev() {
            let held = &mut self.held[place];
            let verdict = held.answer(buffer).or_else(|| {
                let late = "conversation: took too long";
                (held.until <= now).then(|| Verdict::Failed(late.to_owned()))
            });
            let Some(verdict) = verdict else {
                continue;
            };
            let held = self.held.swap_remove(place);
            verdicts.push((held.login_id, verdict));
            if let Stage::Waits(process) = held.stage {
                // The process, or its guard, takes this for the end. The channel stays open in the
                // other direction: it shows when the process has ended.
                let _ = shutdown(process.as_fd().as_raw_fd(), Shutdown::Write);
                self.ending.push((now + ENDING, process));
            }
        }
        // A process that still sends something has broken the rules. Auth reads it no more.
        self.ending.retain_mut(|(until, process)| {
            let waits = process.receive(buffer).err() == Some(ChannelError::WouldBlock);
            waits && *until > now
        });
        verdicts
    }
}

impl Conversation {
    /// The answer of its process, if there is one.
    fn answer(&mut self, buffer: &mut PacketBuffer) -> Option<Verdict> {
        use ConversationToAuth::{Failed, Granted, Identified, Refused};
        let process = match &mut self.stage {
            Stage::Asked(..) => return None,
            Stage::Failed(why) => return Some(Verdict::Failed(std::mem::take(why))),
            Stage::Waits(process) => process,
        };
        Some(match process.receive(buffer) {
            Err(ChannelError::WouldBlock) => return None,
            // A process that was asked for a user's name must not grant an account, and the other
            // way round. A broken parser could do so.
            Ok((Granted(account), _)) if !self.names => Verdict::Granted(account),
            Ok((Identified(user), _)) if self.names => Verdict::Identified(user),
            Ok((Granted(_) | Identified(_), _)) => {
                Verdict::Failed("conversation: not what was asked".to_owned())
            }
            Ok((Refused(why), _)) => Verdict::Refused(why.to_string()),
            Ok((Failed(why), _)) => Verdict::Failed(why.to_string()),
            Err(error) => Verdict::Failed(format!("conversation: {error}")),
        })
    }
}

/// The kind of process that answers a question.
fn kind(question: &AuthToConversation) -> ConversationKind {
    match question {
        AuthToConversation::Pam { .. } => ConversationKind::Pam,
        AuthToConversation::Checkpassword { .. } => ConversationKind::Checkpassword,
        AuthToConversation::TokenProgram { .. } => ConversationKind::TokenProgram,
        AuthToConversation::Token { .. } | AuthToConversation::Certificate { .. } => {
            ConversationKind::Proof
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use popward_proto::bounded::{Text, UserName};
    use popward_proto::secret::Secret;
    use popward_sys::channel::socket_pair;

    fn question() -> AuthToConversation {
        AuthToConversation::Pam {
            user: UserName::try_from("alice".to_owned()).unwrap(),
            secret: Some(Secret::try_from(b"secret".to_vec()).unwrap()),
            peer: std::net::Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// A conversation with a process that the test plays.
    fn begun(
        conversations: &mut Conversations,
        limit: Duration,
    ) -> Channel<ConversationToAuth, AuthToConversation> {
        let login_id = LoginId::of_test(1);
        let (id, kind) = conversations.begin(login_id, question(), None, limit);
        assert_eq!(kind, ConversationKind::Pam);
        let (ours, theirs) = socket_pair().unwrap();
        conversations.open(id, ours);
        Channel::new(theirs, ConversationPhase::Conversation)
    }

    fn why(verdicts: &[(LoginId, Verdict)]) -> &str {
        match verdicts {
            [(_, Verdict::Failed(why))] => why,
            other => panic!("{other:?}"),
        }
    }

    /// Auth asks a process for its answer as soon as it has the question, if another event wakes it
    /// at that moment. This must not block.
    #[test]
    fn a_process_without_an_answer_does_not_block_auth_and_counts_until_it_has_ended() {
        let mut conversations = Conversations::default();
        let mut buffer = PacketBuffer::for_messages();
        let limit = Duration::from_millis(200);
        let until = Instant::now() + limit;
        let mut process = begun(&mut conversations, limit);
        assert!(conversations.proceed(&mut buffer).is_empty());
        assert!(Instant::now() < until, "it waited");
        while Instant::now() < until + limit / 10 {
            std::thread::yield_now();
        }
        let verdicts = conversations.proceed(&mut buffer);
        assert!(why(&verdicts).contains("too long"), "{verdicts:?}");
        assert_eq!(conversations.count(), 1, "its process is there");
        // The process has the question, and then sees that auth has given up.
        let heard = process.receive(&mut buffer);
        assert!(heard.is_ok());
        assert!(matches!(
            process.receive(&mut buffer),
            Err(ChannelError::Closed)
        ));
        drop(process);
        assert!(conversations.proceed(&mut buffer).is_empty());
        assert_eq!(conversations.count(), 0);
    }

    #[test]
    fn a_process_that_could_not_be_started_fails_the_login() {
        let mut conversations = Conversations::default();
        let mut buffer = PacketBuffer::for_messages();
        let limit = Duration::from_secs(60);
        drop(begun(&mut conversations, limit));
        let verdicts = conversations.proceed(&mut buffer);
        assert!(why(&verdicts).contains("conversation: "), "{verdicts:?}");
        conversations.proceed(&mut buffer);
        assert_eq!(conversations.count(), 0);
        // The other end was closed before auth had it.
        let (id, _) = conversations.begin(LoginId::of_test(2), question(), None, limit);
        let (ours, theirs) = socket_pair().unwrap();
        drop(theirs);
        conversations.open(id, ours);
        let verdicts = conversations.proceed(&mut buffer);
        assert!(why(&verdicts).contains("conversation: "), "{verdicts:?}");
        assert_eq!(conversations.count(), 0);
    }

    #[test]
    fn a_process_that_was_asked_for_an_account_cannot_name_a_user() {
        let mut conversations = Conversations::default();
        let mut buffer = PacketBuffer::for_messages();
        let process = begun(&mut conversations, Duration::from_secs(60));
        let user = UserName::try_from("bob".to_owned()).unwrap();
        process.send(&ConversationToAuth::Identified(user)).unwrap();
        let verdicts = conversations.proceed(&mut buffer);
        assert!(
            why(&verdicts).contains("not what was asked"),
            "{verdicts:?}"
        );
        let process = begun(&mut conversations, Duration::from_secs(60));
        let refused = ConversationToAuth::Refused(Text::truncated("no"));
        process.send(&refused).unwrap();
        let verdicts = conversations.proceed(&mut buffer);
        assert!(
            matches!(&verdicts[..], [(_, Verdict::Refused(why))] if why == "no"),
            "{verdicts:?}"
        );
    }
}
