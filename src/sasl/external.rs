//! EXTERNAL (RFC 4422, appendix A): the client's certificate logs it in.

use super::attempt::{Attempt, Login, stand_in, user_name};

/// Parses EXTERNAL's message. It is the name that the client asks for. If it is empty, the
/// certificate gives the name.
pub(super) fn external(message: &[u8]) -> Attempt {
    let (user, impossible) = if message.is_empty() {
        (None, None)
    } else {
        stand_in(user_name(message))
    };
    let login = Login::Certificate(user);
    Attempt { login, impossible }
}
