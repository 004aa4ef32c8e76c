//! popward-auth-pam: holds one conversation with PAM, for one login.
//!
//! It runs as a user of its own, `accounts.pam`, with the group `accounts.pam_group`. On Debian the
//! group `shadow` lets `pam_unix` read `/etc/shadow`. An operator can choose root, because some
//! modules need it. The process has no capability in either case, and no program that it starts can
//! gain a right.
//!
//! It reads the files that its user may read. Landlock lets it write nothing but [`FILES`] and what
//! is in [`DIRECTORIES`]. Sockets and system calls are free, because nobody knows which of them
//! PAM's modules need.
//!
//! The monitor starts it. The command line says how long it may take, and the PAM service.

mod pam;

use pam::PamError;
use popward_conversation::account::{answer, of_system};
use popward_conversation::{Conversation, NotReady};
use popward_proto::auth_conversation::{AuthToConversation, ConversationToAuth};
use popward_proto::bounded::Text;
use popward_proto::secret::Secret;
use popward_sys::landlock::reading::restrict_writing;
use std::process::ExitCode;

/// The files that modules may write.
const FILES: &[&str] = &["/dev/null"];

/// The directories in which modules may make, write and remove files: those for temporary files,
/// and the one in which `pam_faillock` counts.
const DIRECTORIES: &[&str] = &["/tmp", "/var/tmp", "/run/faillock"];

fn main() -> ExitCode {
    match Conversation::take() {
        Some(conversation) => conversation.hold_guarded(confine, ask),
        None => ExitCode::FAILURE,
    }
}

fn confine() -> Result<(), NotReady> {
    Ok(restrict_writing(FILES, DIRECTORIES)?)
}

/// Asks PAM. `None`: the question is for another process.
fn ask(question: &AuthToConversation, service: &str) -> Option<ConversationToAuth> {
    let AuthToConversation::Pam { user, secret, peer } = question else {
        return None;
    };
    let secret = secret.as_ref().map(Secret::expose);
    Some(match pam::check(service, user.as_str(), secret, *peer) {
        Ok(name) => answer(of_system(&name)),
        Err(PamError::Refused(why)) => ConversationToAuth::Refused(Text::truncated(&why)),
        Err(PamError::Failed(why)) => ConversationToAuth::Failed(Text::truncated(&why)),
    })
}
