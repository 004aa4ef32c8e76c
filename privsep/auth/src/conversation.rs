//! The child's side of a conversation: the same executable, started by auth with one argument, one descriptor and one
//! question. PAM's modules and an operator's programs are other people's code, and a token or a certificate is anybody's
//! bytes: what they break, leak or block ends with the child.
//!
//! `pam` and `program` have no filter, since what they run is not ours to know. `proof` has one, and no file: it parses
//! what clients send.

mod pam;

use crate::verdict::Verdict;
use pam::PamError;
use popward_proto::auth_conversation::{AuthToConversation, ConversationPhase, ConversationToAuth};
use popward_proto::bounded::Text;
use popward_proto::secret::Secret;
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use popward_sys::confine::{self, Identity, NotConfined};
use popward_sys::inherited;
use std::process::ExitCode;

/// Descriptors that modules and programs may open: LDAP and SSSD hold some.
const FILES: u64 = 256;

/// What a child is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// PAM's modules run in it.
    Pam,
}

type Auth = Channel<ConversationToAuth, AuthToConversation>;

/// The whole life of the child.
pub(crate) fn main(mode: Mode) -> ExitCode {
    let Ok([auth]) = inherited::take::<1>() else {
        return ExitCode::FAILURE;
    };
    let channel = Channel::new(auth, ConversationPhase::Conversation);
    let answered = match confine() {
        Ok(()) => answer(channel, mode),
        Err(error) => {
            let why = Text::truncated(&format!("not confined: {error}"));
            channel.send(&ConversationToAuth::Failed(why))
        }
    };
    match answered {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn confine() -> Result<(), NotConfined> {
    // Whatever a module starts is in this group, and goes with it.
    let _ = nix::unistd::setsid();
    confine::lasting::end_with_parent()?;
    confine::harden(FILES)?;
    confine::drop_capabilities(&[])?;
    let identity = Identity::current().ok_or(NotConfined::Unproven("between two users"))?;
    confine::prove(&identity, &confine::groups()?, &[])
}

fn answer(mut channel: Auth, mode: Mode) -> Result<(), ChannelError> {
    let mut buffer = PacketBuffer::for_messages();
    let Packet::Message(question, _file) = channel.receive(&mut buffer)? else {
        return Err(ChannelError::Closed);
    };
    let verdict = match (mode, question) {
        (
            Mode::Pam,
            AuthToConversation::Pam {
                service,
                user,
                secret,
                peer,
            },
        ) => {
            let secret = secret.as_ref().map(Secret::expose);
            match pam::check(service.as_str(), user.as_str(), secret, peer) {
                Ok(name) => Verdict::granted_by_system(&name),
                Err(PamError::Refused(why)) => Verdict::Refused(why),
                Err(PamError::Failed(why)) => Verdict::Failed(why),
            }
        }
        _ => return Err(ChannelError::Closed),
    };
    channel.send(&match verdict {
        Verdict::Granted(account) => ConversationToAuth::Granted(account),
        Verdict::Named(user) => ConversationToAuth::Named(user),
        Verdict::Refused(why) => ConversationToAuth::Refused(Text::truncated(&why)),
        Verdict::Failed(why) => ConversationToAuth::Failed(Text::truncated(&why)),
        Verdict::Challenge(..) | Verdict::Proved(..) => return Err(ChannelError::Closed),
    })
}
