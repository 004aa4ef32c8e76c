//! Which line starts a message: one with a date that Dovecot or c-client accepts.
//!
//! Both are asked, because a spool was written and may be read by either: a message that only one of them
//! sees is mail that must not vanish in the message before it. A `From ` without such a date stays text of the body,
//! as both servers have it; popa3d, for one, would split there.
//!
//! Told apart from the two on purpose: a line longer than [`LINE_MAX`] is none (they have no such bound); one that is shorter
//! than its columns is none (c-client reads on, into the line before it); NUL is a byte like any
//! other (c-client ends the line there); and Dovecot's mail-header form must have its comma after the weekday.

/// The longest From_ line, in bytes without its line end. A path of SMTP has at most 256 (RFC 5321 section
/// 4.5.3.1.3), and a date with its zone and `remote from` not much more; the bound is what lets a scan look at a whole
/// line in a small buffer.
pub const LINE_MAX: usize = 1024;

/// The shortest line in which c-client looks for a date.
const C_CLIENT_MIN: usize = 27;
/// The shortest line in which c-client looks for ` remote from host`.
const C_CLIENT_REMOTE_MIN: usize = 41;
/// What Dovecot wants after the sender before it looks for a date.
const DOVECOT_DATE_MIN: usize = 21;

/// Whether a line, given without its LF or CRLF, starts a message when an empty line or nothing is before it.
pub fn is_from_line(line: &[u8]) -> bool {
    match line.strip_prefix(b"From ") {
        Some(rest) if line.len() <= LINE_MAX => dovecot_accepts(rest) || c_client_accepts(line),
        _ => false,
    }
}

/// Whether `bytes` begin as a delivery does: with a From_ line, or with the empty line that some programs put before it.
pub fn mail_begins(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\r").unwrap_or(bytes);
    let bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
    let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    is_from_line(line.strip_suffix(b"\r").unwrap_or(line))
}

/// Dovecot 2.3: from the left; a sender without spaces (unless quoted), then the date, then anything.
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
    // The weekday's four bytes are not looked at, but for the comma of the second form.
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
    let year_first = digits::<4>(rest).is_some();
    let rest = if year_first {
        rest
    } else {
        &rest[memchr::memchr(b' ', rest)? + 1..]
    };
    digits::<4>(rest).map(drop)
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

/// UW c-client 2007f: from the right, by columns alone, since the sender may hold spaces.
fn c_client_accepts(line: &[u8]) -> bool {
    let line = without_remote(line);
    if line.len() < C_CLIENT_MIN {
        return false;
    }
    // The byte so many before the end of the line; 0, which none of the columns may hold, before its start.
    let back = |count: usize| line.len().checked_sub(count).map_or(0, |index| line[index]);
    let signed = |count: usize| matches!(back(count), b'+' | b'-');
    // How far from the end the time ends: before the year, and a zone on either side of it.
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
