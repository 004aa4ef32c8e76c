//! Bearer tokens: OAUTHBEARER (RFC 7628, section 3.1) and Google's XOAUTH2.

use super::attempt::{Attempt, stand_in, user_name};
use super::mechanism::NamedMechanism;
use super::scram;
use popward_proto::auth::Credentials;
use popward_proto::monitor_front::Mechanism;
use popward_proto::secret::Secret;

/// The byte that separates the parts of both mechanisms' messages.
const SEPARATOR: u8 = 1;

/// The explanation that a client gets before its refusal: JSON in the form of its mechanism.
pub(crate) fn refusal(named: NamedMechanism) -> &'static [u8] {
    match named.mechanism {
        Mechanism::Xoauth2 => br#"{"status":"401","schemes":"bearer"}"#,
        _ => br#"{"status":"invalid_token"}"#,
    }
}

/// Parses a message: `n,a=NAME, ^A key=value ^A ... ^A ^A` (OAUTHBEARER) or `user=NAME ^A
/// auth=Bearer TOKEN ^A ^A` (XOAUTH2).
pub(super) fn token(named: NamedMechanism, message: &[u8]) -> Option<Attempt> {
    let mut parts = message.split(|byte| *byte == SEPARATOR);
    let head = parts.next()?;
    let name = if named.mechanism == Mechanism::Xoauth2 {
        Some(head.strip_prefix(b"user=")?.to_vec())
    } else {
        // OAUTHBEARER has no channel binding. The flag is `n` or `y`, then comes the authorization
        // identity or nothing.
        let identity = [&b"n,"[..], b"y,"]
            .iter()
            .find_map(|flag| head.strip_prefix(*flag))?
            .strip_suffix(b",")?;
        match identity {
            [] => None,
            named => {
                let name = std::str::from_utf8(named.strip_prefix(b"a=")?).ok()?;
                Some(scram::unescape(name)?.into_bytes())
            }
        }
    };
    let bearer = parts.find_map(|part| part.strip_prefix(b"auth="))?;
    let scheme = bearer.get(..7)?;
    let token = scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| bearer[7..].trim_ascii())?;
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let (user, impossible) = match name {
        None => (None, None),
        Some(name) => stand_in(user_name(&name)),
    };
    let token = Secret::try_from(token.to_vec()).ok()?;
    Some(Attempt::check(
        Credentials::Token { user, token },
        impossible,
    ))
}
