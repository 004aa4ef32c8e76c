//! Dovecot's and UW ipop3d's UIDLs: a message's UID and the mailbox's UIDVALIDITY (RFC 3501, section
//! 2.3.1.1). Both servers write these numbers into the spool when a session ends. The first message
//! has the mailbox's in X-IMAPbase, or X-IMAP if it is the pseudo message, and each message has its
//! own in X-UID.
//!
//! A number counts only where both servers would believe it: X-UID has one number that is greater
//! than that of the message before, and at most the last one that X-IMAPbase names. At the first
//! message without such a number it is over: the old server would number that one and all later ones
//! anew. They have come since its last session, so no client knows a UIDL of them.

use super::header::{Header, continues, is_field, read};
use popward_mbox::message::Maildrop;
use popward_mbox::scan::ScanError;
use popward_mbox::source::Source;
use popward_mbox::window::Window;

const BASES: [&[u8]; 2] = [b"X-IMAPbase:", b"X-IMAP:"];
const UID: &[u8] = b"X-UID:";

/// How many bytes of a value of X-IMAPbase are looked at. Keywords may follow the two numbers.
const BASE_LOOK: usize = 64;

/// The numbers of the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mailbox {
    validity: u32,
    last: u32,
}

/// What stands first in a UIDL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Uid,
    Validity,
}

/// The UIDLs of all messages.
pub(super) fn names<S: Source>(
    window: &mut Window<'_, S>,
    maildrop: &Maildrop,
    first: First,
) -> Result<Vec<Option<Box<str>>>, ScanError<S::Error>> {
    let mut names = vec![None; maildrop.messages.len()];
    let (mut mailbox, mut before) = (None, 0);
    for (index, message) in maildrop.messages.iter().enumerate() {
        let mut numbers = Numbers {
            is_first: index == 0,
            ..Numbers::default()
        };
        let end = maildrop.segment_end(index);
        read(window, message.header, end, &mut [&mut numbers])?;
        if index == 0 {
            mailbox = numbers.mailbox();
            if maildrop.is_hidden(0) {
                continue;
            }
        }
        let (Some(Mailbox { validity, last }), Some(uid)) = (mailbox, numbers.uid()) else {
            break;
        };
        if uid <= before || uid > last {
            break;
        }
        before = uid;
        let name = match first {
            First::Uid => format!("{uid:08x}{validity:08x}"),
            First::Validity => format!("{validity:08x}{uid:08x}"),
        };
        names[index] = Some(name.into_boxed_str());
    }
    Ok(names)
}

/// Reads the two fields of a message.
#[derive(Debug, Default)]
struct Numbers {
    is_first: bool,
    /// The field that is being read, and how many bytes of its name are still to come.
    field: Field,
    name_left: usize,
    /// The value of the first X-IMAPbase, as far as it is looked at.
    base: Option<Vec<u8>>,
    uid: Uid,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Field {
    #[default]
    Other,
    Base,
    Uid,
}

/// The value of X-UID, as far as it has been read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Uid {
    #[default]
    None,
    /// Blanks, or nothing.
    Begun,
    Number(u32),
    /// White space has followed the number.
    Ended(u32),
    /// It is no number.
    Invalid,
}

impl Header for Numbers {
    fn begin(&mut self, start: &[u8]) -> bool {
        if start == b"\n" || start == b"\r\n" {
            return false;
        }
        if continues(start) {
            return true;
        }
        self.field = Field::Other;
        let base = BASES.iter().find(|name| is_field(start, name));
        if let Some(name) = base.filter(|_| self.is_first && self.base.is_none()) {
            (self.field, self.name_left) = (Field::Base, name.len());
            self.base = Some(Vec::new());
        } else if is_field(start, UID) && self.uid == Uid::None {
            (self.field, self.name_left) = (Field::Uid, UID.len());
            // In the first message, a number before X-IMAPbase does not count.
            let early = self.is_first && self.base.is_none();
            self.uid = if early { Uid::Invalid } else { Uid::Begun };
        }
        true
    }

    fn take(&mut self, piece: &[u8]) {
        let skipped = self.name_left.min(piece.len());
        self.name_left -= skipped;
        for byte in &piece[skipped..] {
            match (self.field, &mut self.base) {
                (Field::Base, Some(value)) if value.len() < BASE_LOOK => value.push(*byte),
                (Field::Uid, _) => self.uid = self.uid.and(*byte),
                _ => return,
            }
        }
    }

    fn name(self: Box<Self>) -> Option<Box<str>> {
        None
    }
}

impl Numbers {
    /// The numbers of X-IMAPbase: UIDVALIDITY, which is not 0, and the last UID.
    fn mailbox(&self) -> Option<Mailbox> {
        // A keyword need not be text, and may be cut within a character.
        let value = String::from_utf8_lossy(self.base.as_deref()?);
        let mut words = value.split_ascii_whitespace();
        let mut number = || words.next().and_then(decimal);
        let (validity, last) = (number()?, number()?);
        (validity != 0).then_some(Mailbox { validity, last })
    }

    fn uid(&self) -> Option<u32> {
        match self.uid {
            Uid::Number(uid) | Uid::Ended(uid) => Some(uid),
            _ => None,
        }
    }
}

/// A number of digits alone.
fn decimal(word: &str) -> Option<u32> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| digits)
}

impl Uid {
    /// The value with its next byte.
    fn and(self, byte: u8) -> Self {
        let blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let digit = char::from(byte).to_digit(10);
        match (self, digit) {
            (Self::Begun | Self::Ended(_), None) if blank => self,
            (Self::Begun, Some(digit)) => Self::Number(digit),
            (Self::Number(uid), None) if blank => Self::Ended(uid),
            (Self::Number(uid), Some(digit)) => uid
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(digit))
                .map_or(Self::Invalid, Self::Number),
            _ => Self::Invalid,
        }
    }
}
