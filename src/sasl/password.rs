//! Logins with a password or a digest of it: USER and PASS, PLAIN (RFC 4616), CRAM-MD5 (RFC 2195)
//! and APOP (RFC 1939, section 7).

use super::attempt::{Attempt, stand_in, stand_in_password, user_name};
use popward_proto::auth::Credentials;
use popward_proto::bounded::{Text, UserName};

/// A login with name and password. Auth is asked about a stand-in if the name or the password is
/// impossible. Without that question the refusal would be faster and would show that no account has
/// the name.
pub(crate) fn password(user: Option<UserName>, secret: &[u8]) -> Option<Attempt> {
    let (user, impossible_name) = stand_in(user);
    let (secret, impossible_secret) = stand_in_password(secret);
    let (user, secret) = (user?, secret?);
    let credentials = Credentials::Password { user, secret };
    Some(Attempt::check(
        credentials,
        impossible_name.or(impossible_secret),
    ))
}

/// Parses PLAIN's message: `[authorization identity] NUL name NUL password`. A client that asks to
/// act as another user is refused.
pub(super) fn plain(message: &[u8]) -> Option<Attempt> {
    let mut parts = message.split(|byte| *byte == 0);
    let (identity, name, secret) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let attempt = password(user_name(name), secret)?;
    let own = identity.is_empty() || identity == name;
    Some(if own {
        attempt
    } else {
        attempt.acting_as_another()
    })
}

/// Parses CRAM-MD5's message: `name SP digest`.
pub(super) fn cram_md5(challenge: Text<128>, message: &[u8]) -> Option<Attempt> {
    let space = memchr::memrchr(b' ', message)?;
    let (user, impossible) = stand_in(user_name(&message[..space]));
    let credentials = Credentials::CramMd5 {
        user: user?,
        challenge,
        digest: digest(&message[space + 1..])?,
    };
    Some(Attempt::check(credentials, impossible))
}

/// A login with APOP's name and digest over this greeting's timestamp.
pub(crate) fn apop(name: &[u8], digest: [u8; 16], timestamp: Text<128>) -> Option<Attempt> {
    let (user, impossible) = stand_in(user_name(name));
    let credentials = Credentials::Apop {
        user: user?,
        timestamp,
        digest,
    };
    Some(Attempt::check(credentials, impossible))
}

/// Parses a digest of 32 hexadecimal digits.
pub(crate) fn digest(text: &[u8]) -> Option<[u8; 16]> {
    let mut digest = [0; 16];
    if text.len() != 32 || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}
