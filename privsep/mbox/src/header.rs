//! What a header line means to the scan: whether its bytes count for the digest, where the body says it ends,
//! and whether this is c-client's pseudo message.

/// How much of a line is looked at. Every field below is known, and every value that we read ends, within it.
pub(crate) const LOOK: usize = 96;

/// The fields that readers add, change or take away: Dovecot, c-client, mutt, mailutils, Qpopper. Whatever one of them does
/// to a message, its digest stays.
const REWRITTEN: [&[u8]; 9] = [
    b"Status",
    b"X-Status",
    b"X-Keywords",
    b"X-UID",
    b"X-UIDL",
    b"X-IMAP",
    b"X-IMAPbase",
    b"Content-Length",
    b"Lines",
];

/// What the start of a header line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Begins with a space or a tab: belongs to the field before it.
    Continuation,
    /// A field that some reader rewrites.
    Rewritten,
    /// `Content-Length` with a usable number: how long the body is said to be.
    ContentLength(u64),
    /// `X-IMAP` with numbers: in the first message, the mark of the pseudo message.
    PseudoMark,
    /// Everything else.
    Kept,
}

/// What the lines of a header have said so far.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// The first usable `Content-Length`.
    pub(crate) content_length: Option<u64>,
    /// Whether it is marked as c-client's pseudo message's.
    pub(crate) pseudo: bool,
}

impl Fields {
    /// Takes the start of a line, which is the whole of it if `complete`. Says whether it is kept by all readers; `before`
    /// is what was said of the line before it.
    pub(crate) fn read(&mut self, start: &[u8], complete: bool, before: bool) -> bool {
        match read(start, complete) {
            Line::Continuation => return before,
            Line::Kept => return true,
            Line::Rewritten => {}
            Line::ContentLength(length) => {
                self.content_length = self.content_length.or(Some(length));
            }
            Line::PseudoMark => self.pseudo = true,
        }
        false
    }
}

/// Reads the start of a line, which is the whole of it if `complete`.
fn read(start: &[u8], complete: bool) -> Line {
    if matches!(start.first(), Some(b' ' | b'\t')) {
        return Line::Continuation;
    }
    let look = &start[..start.len().min(LOOK)];
    let complete = complete && look.len() == start.len();
    let Some(colon) = memchr::memchr(b':', look) else {
        return Line::Kept;
    };
    let (name, value) = (&look[..colon], &look[colon + 1..]);
    if !REWRITTEN
        .iter()
        .any(|field| name.eq_ignore_ascii_case(field))
    {
        return Line::Kept;
    }
    if name.eq_ignore_ascii_case(b"Content-Length") && complete {
        return number(value.trim_ascii()).map_or(Line::Rewritten, Line::ContentLength);
    }
    if name.eq_ignore_ascii_case(b"X-IMAP") && is_uid_base(value, complete) {
        return Line::PseudoMark;
    }
    Line::Rewritten
}

/// `uidvalidity lastuid`, then nothing or a space and keywords. UIDVALIDITY is not 0 (Dovecot's condition).
fn is_uid_base(value: &[u8], complete: bool) -> bool {
    let mut words = value.trim_ascii_start().splitn(2, |&byte| byte == b' ');
    let uid_validity = words.next().and_then(number32);
    let rest = words.next().unwrap_or_default().trim_ascii_start();
    let last_uid_end = memchr::memchr2(b' ', b'\t', rest);
    // Cut off in the middle, a number says nothing.
    let last_uid = match last_uid_end {
        Some(end) => number32(&rest[..end]),
        None if complete => number32(rest),
        None => None,
    };
    uid_validity.is_some_and(|number| number != 0) && last_uid.is_some()
}

fn number32(digits: &[u8]) -> Option<u32> {
    number(digits).and_then(|number| u32::try_from(number).ok())
}

/// Decimal digits and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
