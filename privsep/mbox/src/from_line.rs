//! Says which lines begin a message.
//!
//! A From_ line is `From `, an address and a date. popward accepts a line if Dovecot 2.3 or
//! c-client 2007f accepts it, because either of them may have written the spool. If two messages
//! were shown as one, a client would delete both at once. A line `From ` without such a date is
//! text, as it is for both of these programs.
//!
//! The first line of a spool may have any date or none, because a spool must begin with a message.
//! No sender can write that line.
//!
//! popward differs from the two on purpose:
//!
//! - A line of more than [`LINE_MAX`] bytes is text. The two have no such bound.
//! - A line shorter than its columns is text. c-client reads on, into the line before it.
//! - NUL is a byte like any other. c-client ends the line there.
//! - The date form `Mon, 23 Nov 2026` must have its comma. Dovecot skips four bytes without looking
//!   at them.

/// The longest From_ line, in bytes without its line end. An SMTP path has at most 256 bytes (RFC
/// 5321, section 4.5.3.1.3), and a date with its zone and `remote from` adds little. The bound lets
/// a scan look at a whole line in a small buffer.
pub const LINE_MAX: usize = 1024;

/// The shortest line in which c-client looks for a date.
const C_CLIENT_MIN: usize = 27;
/// The shortest line in which c-client looks for ` remote from host`.
const C_CLIENT_REMOTE_MIN: usize = 41;
/// How many bytes Dovecot wants after the sender before it looks for a date.
const DOVECOT_DATE_MIN: usize = 21;

/// Whether a line, given without its LF or CRLF, begins a message.
pub fn is_from_line(line: &[u8]) -> bool {
    match line.strip_prefix(b"From ") {
        Some(rest) if line.len() <= LINE_MAX => dovecot_accepts(rest) || c_client_accepts(line),
        _ => false,
    }
}

/// How many bytes [`Start::of`] looks at: the longest From_ line with its CRLF.
pub const LOOK: usize = LINE_MAX + 2;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// A From_ line, with its length in bytes. The length includes the line end.
    FromLine(usize),
    /// A From_ line without a line end, at the end of the spool, or only the beginning of one where
    /// a message must begin. A delivery was broken off here, so this is no message.
    BrokenOff,
    /// Anything else.
    Text,
}

impl Start {
    /// Looks at `bytes`, which begin where a line begins. They are at least [`LOOK`] bytes. If
    /// `to_end`, they may be fewer and reach to the end of the spool.
    ///
    /// `first`: the line is the first one of a spool, behind its empty lines. There every line that
    /// begins with `From ` and has a line end is a From_ line.
    pub fn of(bytes: &[u8], to_end: bool, first: bool) -> Self {
        let to_end = to_end && bytes.len() <= LOOK;
        let bytes = &bytes[..bytes.len().min(LOOK)];
        let end = memchr::memchr(b'\n', bytes);
        let line = &bytes[..end.unwrap_or(bytes.len())];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_from = is_from_line(line);
        // With a CR in it, this may be a whole message whose lines end with CR alone.
        let one_line = || line.len() <= LINE_MAX && !line.contains(&b'\r');
        match end {
            Some(end) if is_from => Self::FromLine(end + 1),
            Some(end) if first && line.starts_with(b"From ") && one_line() => {
                Self::FromLine(end + 1)
            }
            None if to_end && is_from && one_line() => Self::BrokenOff,
            None if to_end && first && is_begun(bytes) => Self::BrokenOff,
            _ => Self::Text,
        }
    }
}

/// The length in bytes of the empty lines at the start of `bytes`. As in c-client, a line of spaces
/// and tabs counts as empty.
pub(crate) fn empty_lines(bytes: &[u8]) -> usize {
    let mut length = 0;
    loop {
        let rest = &bytes[length..];
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
        let blanks = blanks.count();
        length += match rest[blanks..] {
            [b'\n', ..] => blanks + 1,
            [b'\r', b'\n', ..] => blanks + 2,
            _ => return length,
        };
    }
}

/// Recognizes a delivery that was broken off within the word `From`, if a From_ line follows on the
/// same line, as in `FrFrom a@b`. Returns how many bytes the broken-off delivery wrote.
///
/// Only for the start of a spool, or of bytes that were added to one, because a message must begin
/// there. Elsewhere such a line is text.
fn broken_word(bytes: &[u8], to_end: bool) -> Option<usize> {
    (1..5).find(|&count| {
        let after = bytes.strip_prefix(&b"From"[..count]);
        after.is_some_and(|after| matches!(Start::of(after, to_end, false), Start::FromLine(_)))
    })
}

/// Whether `bytes` can be the beginning of a From_ line. They must reach to the end of the spool.
fn is_begun(bytes: &[u8]) -> bool {
    let begins = bytes.starts_with(b"From ") || b"From ".starts_with(bytes);
    begins && bytes.len() <= LINE_MAX && memchr::memchr2(b'\n', b'\r', bytes).is_none()
}

/// Where a message begins at the start of a spool, or of bytes that were added to one. Empty lines
/// were skipped. Before the message there may be the bytes of a delivery that was broken off within
/// the word `From`. A From_ line that was only begun counts too.
pub(crate) fn mail_start(bytes: &[u8], to_end: bool) -> Option<usize> {
    let begins = Start::of(bytes, to_end, true) != Start::Text;
    begins.then_some(0).or_else(|| broken_word(bytes, to_end))
}

/// Whether bytes that were added to a spool can be a delivery: a line that begins with `From `, or
/// the part of one that was written before the delivery was broken off. Empty lines may come
/// before.
///
/// `bytes` are the first added bytes: at least [`LOOK`] bytes after the empty lines, or all bytes
/// up to the end of the spool.
pub fn mail_begins(bytes: &[u8]) -> bool {
    let to_end = bytes.len() < LOOK;
    mail_start(&bytes[empty_lines(bytes)..], to_end).is_some()
}

/// As Dovecot 2.3 reads a line, from the left: a sender without spaces (unless it is quoted), the
/// date, then anything.
fn dovecot_accepts(rest: &[u8]) -> bool {
    let after_quoted = rest.strip_prefix(b"\"").and_then(|quoted| {
        let end = memchr::memchr(b'"', quoted)?;
        Some(&quoted[end + 1..])
    });
    let rest = after_quoted.unwrap_or(rest);
    let Some(sender_end) = memchr::memchr(b' ', rest) else {
        return false;
    };
    let mut date = &rest[sender_end..];
    while let Some(shorter) = date.strip_prefix(b" ") {
        date = shorter;
    }
    // Of the weekday's four bytes, only the comma of the second form is checked.
    match date.split_at_checked(4) {
        Some((weekday, after)) if date.len() >= DOVECOT_DATE_MIN => {
            asctime(after).is_some() || (weekday[3] == b',' && mail_header_date(after).is_some())
        }
        _ => false,
    }
}

/// `Nov 23 10:00[:00] [zone] 2026`.
fn asctime(date: &[u8]) -> Option<()> {
    let rest = time(day(month(date)?)?)?.strip_prefix(b" ")?;
    let zone_first = || digits::<4>(&rest[memchr::memchr(b' ', rest)? + 1..]);
    digits::<4>(rest).or_else(zone_first).map(drop)
}

/// `23 Nov 2026 10:00:00`, with or without a space before.
fn mail_header_date(date: &[u8]) -> Option<()> {
    let year = month(day(date)?)?;
    let rest = digits::<4>(year)?.strip_prefix(b" ")?;
    let minutes = digits::<2>(digits::<2>(rest)?.strip_prefix(b":")?)?;
    digits::<2>(minutes.strip_prefix(b":")?).map(drop)
}

/// Takes the month's English name, or `???`, and a space.
fn month(text: &[u8]) -> Option<&[u8]> {
    const NAMES: [&[u8; 3]; 12] = [
        b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov",
        b"dec",
    ];
    let (name, rest) = text.split_at_checked(3)?;
    let known = name == b"???" || NAMES.iter().any(|month| name.eq_ignore_ascii_case(*month));
    if known { rest.strip_prefix(b" ") } else { None }
}

/// Takes a day of one or two digits, with a space before it or not, and a space.
fn day(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let rest = digits::<2>(text).or_else(|| digits::<1>(text))?;
    rest.strip_prefix(b" ")
}

/// Takes `10:00` or `10:00:00`.
fn time(text: &[u8]) -> Option<&[u8]> {
    let rest = digits::<2>(digits::<2>(text)?.strip_prefix(b":")?)?;
    match rest.strip_prefix(b":") {
        Some(seconds) => digits::<2>(seconds),
        None => Some(rest),
    }
}

/// Takes `COUNT` digits.
fn digits<const COUNT: usize>(text: &[u8]) -> Option<&[u8]> {
    let (number, rest) = text.split_at_checked(COUNT)?;
    number.iter().all(u8::is_ascii_digit).then_some(rest)
}

/// As UW c-client 2007f reads a line: from the right and by columns alone, since the sender may
/// hold spaces.
fn c_client_accepts(line: &[u8]) -> bool {
    let line = without_remote(line);
    if line.len() < C_CLIENT_MIN {
        return false;
    }
    // The byte at `count` bytes before the line's end. Before the line's start this is 0, which no
    // column may hold.
    let back = |count: usize| line.len().checked_sub(count).map_or(0, |index| line[index]);
    let signed = |count: usize| matches!(back(count), b'+' | b'-');
    // How many bytes before the line's end the time ends. The year follows it, and a zone may stand
    // before or after the year.
    let time_end = match () {
        () if back(5) == b' ' && back(8) == b':' => 5,
        () if back(5) == b' ' && back(9) == b' ' => 9,
        () if back(5) == b' ' && back(11) == b' ' && signed(10) => 11,
        () if back(5) == b' ' => return false,
        () if back(4) == b' ' && back(9) == b' ' => 9,
        () if back(4) == b' ' => return false,
        () if back(6) == b' ' && back(11) == b' ' && signed(5) => 11,
        () => return false,
    };
    let time = time_end + if back(time_end + 6) == b':' { 9 } else { 6 };
    let columns = [time, time + 3, time + 7, time + 11];
    back(time_end + 3) == b':' && columns.iter().all(|&column| back(column) == b' ')
}

/// The line without the ` remote from host` that smail and Solaris append.
fn without_remote(line: &[u8]) -> &[u8] {
    if line.len() < C_CLIENT_REMOTE_MIN {
        return line;
    }
    let host = memchr::memrchr(b' ', line).unwrap_or(0);
    let Some(mut before) = line[..host].strip_suffix(b" remote from") else {
        return line;
    };
    while let Some(shorter) = before.strip_suffix(b" ") {
        before = shorter;
    }
    before
}

#[cfg(test)]
mod tests;
