//! The grammar of commands (RFC 1939, section 3): parses one line into one command. No state, no
//! allocation.

use popward_proto::session::MessageNumber;
use std::num::NonZeroU32;

/// A command with its arguments, as the client wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// USER (RFC 1939, section 7): the name, without spaces around it.
    User(&'a [u8]),
    /// PASS (RFC 1939, section 7). The password is the rest of the line, verbatim.
    Pass(&'a [u8]),
    /// APOP (RFC 1939, section 7): the name and the digest.
    Apop(&'a [u8], [u8; 16]),
    /// AUTH (RFC 5034): the mechanism, and the initial response if there is one. `None`: the client
    /// asks for the list of mechanisms.
    Auth(Option<(&'a [u8], Option<&'a [u8]>)>),
    /// STLS (RFC 2595).
    Stls,
    /// CAPA (RFC 2449).
    Capa,
    /// STAT (RFC 1939, section 5).
    Stat,
    /// LIST (RFC 1939, section 5). `None`: all messages.
    List(Option<MessageNumber>),
    /// UIDL (RFC 1939, section 7). `None`: all messages.
    Uidl(Option<MessageNumber>),
    /// RETR (RFC 1939, section 5).
    Retr(MessageNumber),
    /// TOP (RFC 1939, section 7): the message and the number of body lines.
    Top(MessageNumber, u32),
    /// DELE (RFC 1939, section 5).
    Dele(MessageNumber),
    /// NOOP (RFC 1939, section 5).
    Noop,
    /// RSET (RFC 1939, section 5).
    Rset,
    /// UTF8 (RFC 6856, section 2.1).
    Utf8,
    /// LANG (RFC 6856, section 3): a language range, `*`, or nothing.
    Lang(&'a [u8]),
    /// QUIT (RFC 1939, sections 4 and 6).
    Quit,
    /// XCLIENT, Dovecot's extension for proxies: the arguments name the proxy's client.
    Xclient(&'a [u8]),
}

/// Why a line is not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The keyword is not known.
    Unknown,
    /// The arguments are missing, too many, or not numbers.
    Arguments,
}

/// Parses a line. `line` does not include the CRLF.
pub fn parse(line: &[u8]) -> Result<Command<'_>, Malformed> {
    let space = memchr::memchr(b' ', line);
    let (keyword, rest) = space.map_or((line, &[][..]), |at| (&line[..at], &line[at + 1..]));
    if keyword.eq_ignore_ascii_case(b"XCLIENT") {
        return Ok(Command::Xclient(rest));
    }
    let mut upper = [0; 4];
    let Some(name) = upper.get_mut(..keyword.len()) else {
        return Err(Malformed::Unknown);
    };
    name.copy_from_slice(keyword);
    upper.make_ascii_uppercase();
    match &upper {
        // The rest is not trimmed, because a password may begin and end with spaces.
        b"PASS" => Ok(Command::Pass(rest)),
        b"USER" => match rest.trim_ascii() {
            [] => Err(Malformed::Arguments),
            name => Ok(Command::User(name)),
        },
        b"RETR" => one(rest).map(Command::Retr),
        b"DELE" => one(rest).map(Command::Dele),
        b"LIST" => optional(rest).map(Command::List),
        b"UIDL" => optional(rest).map(Command::Uidl),
        b"TOP\0" => {
            let rest = rest.trim_ascii();
            let at = memchr::memchr(b' ', rest).ok_or(Malformed::Arguments)?;
            let lines = number(rest[at..].trim_ascii()).ok_or(Malformed::Arguments)?;
            Ok(Command::Top(one(&rest[..at])?, lines))
        }
        b"APOP" => apop(rest),
        b"AUTH" => auth(rest),
        b"STLS" => alone(rest, Command::Stls),
        b"CAPA" => alone(rest, Command::Capa),
        b"STAT" => alone(rest, Command::Stat),
        b"NOOP" => alone(rest, Command::Noop),
        b"RSET" => alone(rest, Command::Rset),
        b"UTF8" => alone(rest, Command::Utf8),
        b"LANG" => Ok(Command::Lang(rest.trim_ascii())),
        b"QUIT" => alone(rest, Command::Quit),
        _ => Err(Malformed::Unknown),
    }
}

/// Parses a command without arguments. Some clients send spaces after it, so these are permitted.
fn alone<'a>(rest: &[u8], command: Command<'a>) -> Result<Command<'a>, Malformed> {
    if rest.trim_ascii().is_empty() {
        Ok(command)
    } else {
        Err(Malformed::Arguments)
    }
}

/// Parses a name and a digest. The name may contain spaces.
fn apop(rest: &[u8]) -> Result<Command<'_>, Malformed> {
    let rest = rest.trim_ascii();
    let space = memchr::memrchr(b' ', rest).ok_or(Malformed::Arguments)?;
    let digest = crate::sasl::digest(&rest[space + 1..]).ok_or(Malformed::Arguments)?;
    match rest[..space].trim_ascii() {
        [] => Err(Malformed::Arguments),
        name => Ok(Command::Apop(name, digest)),
    }
}

/// Parses a mechanism's name and an optional initial response.
fn auth(rest: &[u8]) -> Result<Command<'_>, Malformed> {
    let rest = rest.trim_ascii();
    let mut words = rest
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty());
    let (name, response) = (words.next(), words.next());
    if words.next().is_some() {
        return Err(Malformed::Arguments);
    }
    Ok(Command::Auth(name.map(|name| (name, response))))
}

fn optional(rest: &[u8]) -> Result<Option<MessageNumber>, Malformed> {
    if rest.trim_ascii().is_empty() {
        Ok(None)
    } else {
        one(rest).map(Some)
    }
}

fn one(rest: &[u8]) -> Result<MessageNumber, Malformed> {
    let number = number(rest.trim_ascii()).and_then(NonZeroU32::new);
    number.map(MessageNumber).ok_or(Malformed::Arguments)
}

/// Parses a decimal number. A number above 2^32-1 becomes 2^32-1: no maildrop has that many
/// messages, and no message that many lines.
fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}
