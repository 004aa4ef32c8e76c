//! popward-auth-program: asks an operator's program about one login. The program checks a password
//! (qmail's checkpassword interface) or a token.
//!
//! It runs as a user of its own, `accounts.program`, never as root. So does the program. Neither
//! has a capability, and neither can gain a right by starting another program. Neither can reach the
//! memory of other logins' programs. They may do everything else that this user may do, because
//! nobody knows what the program needs.
//!
//! The monitor starts it. The command line says how long it may take, and where the program is. A
//! checkpassword program starts it too, with one other word (see [`program::REPLY`]).

#![forbid(unsafe_code)]

mod program;

use popward_conversation::Conversation;
use popward_proto::auth_conversation::{AuthToConversation, ConversationToAuth};
use popward_proto::bounded::AbsolutePath;
use popward_sys::landlock::reading::restrict_tracing;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(program::REPLY) {
        return program::reply();
    }
    match Conversation::take() {
        Some(conversation) => conversation.hold_guarded(|| Ok(restrict_tracing()?), ask),
        None => ExitCode::FAILURE,
    }
}

/// Asks the program. `None`: the question is for another process.
fn ask(question: &AuthToConversation, program: &str) -> Option<ConversationToAuth> {
    let program = AbsolutePath::try_from(program.to_owned()).ok()?;
    Some(match question {
        AuthToConversation::Checkpassword { user, secret, peer } => {
            program::checkpassword(&program, user, secret.expose(), *peer)
        }
        AuthToConversation::TokenProgram { token, peer } => {
            program::token(&program, token.expose(), *peer)
        }
        _ => return None,
    })
}
