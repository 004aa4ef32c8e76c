//! The child's side of a PAM conversation: the same executable, started by auth with the argument `pam`, with one
//! descriptor and one question. PAM's modules are other people's code: what they break, leak or block ends with it.

use crate::pam::{self, PamError};
use crate::verdict::Verdict;
use popward_proto::auth_pam::{AuthToPam, PamPhase, PamToAuth};
use popward_proto::bounded::Text;
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use popward_sys::confine::{self, Identity, NotConfined};
use popward_sys::inherited;
use std::process::ExitCode;

/// Descriptors that modules may open: LDAP and SSSD hold some.
const FILES: u64 = 256;

/// The whole life of the child.
pub(crate) fn main() -> ExitCode {
    let Ok([auth]) = inherited::take::<1>() else {
        return ExitCode::FAILURE;
    };
    let channel = Channel::new(auth, PamPhase::Conversation);
    let answered = match confine() {
        Ok(()) => answer(channel),
        Err(error) => channel.send(&PamToAuth::Failed(Text::truncated(&format!(
            "not confined: {error}"
        )))),
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

fn answer(mut channel: Channel<PamToAuth, AuthToPam>) -> Result<(), ChannelError> {
    let mut buffer = PacketBuffer::for_messages();
    let Packet::Message(
        AuthToPam::Check {
            service,
            user,
            secret,
            peer,
        },
        _,
    ) = channel.receive(&mut buffer)?
    else {
        return Err(ChannelError::Closed);
    };
    let verdict = match pam::check(service.as_str(), user.as_str(), secret.expose(), peer) {
        Ok(name) => Verdict::granted_by_system(&name),
        Err(PamError::Refused(why)) => Verdict::Refused(why),
        Err(PamError::Failed(why)) => Verdict::Failed(why),
    };
    drop(secret);
    channel.send(&match verdict {
        Verdict::Granted(account) => PamToAuth::Granted(account),
        Verdict::Refused(why) => PamToAuth::Refused(Text::truncated(&why)),
        Verdict::Failed(why) => PamToAuth::Failed(Text::truncated(&why)),
    })
}
