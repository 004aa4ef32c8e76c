//! One walk over the spool: From_ lines, headers, bodies. Bodies are searched, but not read line by
//! line.

use crate::from_line::{self, LINE_MAX, Start, broken_word, empty_lines, is_begun, is_from_line};
use crate::header::{Fate, Fields, Hidden, LOOK};
use crate::message::{Maildrop, Message};
use crate::octets::Octets;
use crate::source::Source;
use crate::tally;
use crate::window::Window;
use memchr::{memchr, memmem};

/// Smallest buffer for a scan, in bytes. Larger ones (1 MiB) make it faster.
pub const BUFFER_MIN: usize = 4 * LINE_MAX;

/// How many bytes of a body are looked at together. They stay in the nearest cache for a second
/// look.
const BLOCK: usize = 4 * 1024;

/// The beginning of a From_ line, with the line feed of the line before it.
const FROM: &[u8] = b"\nFrom ";

/// How many bytes before a line feed show whether it ends an empty line: a CR, and the line feed of
/// the line before.
const BEFORE: u64 = 2;

/// The most messages of a maildrop. Message numbers have 32 bits in the protocol between processes.
pub const MESSAGES_MAX: usize = 16_000_000;

/// Why a spool was not read.
#[derive(Debug, PartialEq, Eq)]
pub enum ScanError<E> {
    /// The spool does not begin with a From_ line.
    NotMbox,
    /// The spool's lines end with CR alone, so it cannot be told which of them begin messages.
    BareReturns,
    /// The spool ended before the given length.
    Truncated {
        /// The offset up to which bytes were expected.
        expected: u64,
        /// The offset where they ended.
        found: u64,
    },
    /// The spool has more than [`MESSAGES_MAX`] messages.
    TooManyMessages,
    /// Reading failed.
    Source(E),
}

impl<E: std::fmt::Display> std::fmt::Display for ScanError<E> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotMbox => out.write_str("does not begin with a From_ line: no mbox"),
            Self::BareReturns => out.write_str("its lines end with CR alone: no mbox"),
            Self::Truncated { expected, found } => {
                write!(out, "ends at {found}, expected bytes up to {expected}")
            }
            Self::TooManyMessages => write!(out, "more than {MESSAGES_MAX} messages"),
            Self::Source(error) => error.fmt(out),
        }
    }
}

/// Scans the first `length` bytes of `source` through `buffer`, which has at least [`BUFFER_MIN`]
/// bytes.
pub fn scan<S: Source>(
    source: &mut S,
    length: u64,
    buffer: &mut [u8],
) -> Result<Maildrop, ScanError<S::Error>> {
    scan_on(
        source,
        length,
        buffer,
        Hidden::default(),
        Maildrop::default(),
    )
}

/// Does the same as [`scan`] with a spool that was `known` when it was shorter. The last known
/// message is read again, because the bytes behind it decide where it ends. No claim of `known` may
/// point to less than `length`. Sizes do not count the lines that `hide` hides.
pub fn scan_on<S: Source>(
    source: &mut S,
    length: u64,
    buffer: &mut [u8],
    hide: Hidden,
    known: Maildrop,
) -> Result<Maildrop, ScanError<S::Error>> {
    let mut window = Window::new(source, length, buffer);
    let mut maildrop = Maildrop {
        length,
        tail: 0,
        ..known
    };
    let mut start = match maildrop.messages.pop() {
        Some(last) => last.from_line,
        None => first_from_line(&mut window)?,
    };
    let mut claim = None;
    while start < length {
        if maildrop.messages.len() >= MESSAGES_MAX {
            return Err(ScanError::TooManyMessages);
        }
        let is_first = maildrop.messages.is_empty();
        let header = match line_at(&mut window, start, is_first)? {
            Start::FromLine(count) => start + count as u64,
            Start::Text if !is_tail(&mut window, start)? => return Err(ScanError::NotMbox),
            Start::Text | Start::BrokenOff => {
                maildrop.tail = length - start;
                break;
            }
        };
        if let Some(target) = claim {
            maildrop.claims.add(target, length);
        }
        let walk = Walk::new(&mut window, start, header, hide)?;
        let (message, next);
        (message, next, claim) = walk.message()?;
        maildrop.messages.push(message);
        start = next;
    }
    Ok(maildrop)
}

/// Whether `message` still begins where it was found, with the same header. `length` is the
/// spool's. `buffer` is as for [`scan`].
pub fn begins_there<S: Source>(
    source: &mut S,
    length: u64,
    buffer: &mut [u8],
    message: &Message,
) -> Result<bool, ScanError<S::Error>> {
    let mut window = Window::new(source, length, buffer);
    let mut line = line_at(&mut window, message.from_line, false)?;
    if line == Start::Text {
        let is_first = match first_from_line(&mut window) {
            Ok(first) => first == message.from_line,
            Err(ScanError::NotMbox | ScanError::BareReturns) => false,
            Err(error) => return Err(error),
        };
        line = line_at(&mut window, message.from_line, is_first)?;
    }
    let Start::FromLine(count) = line else {
        return Ok(false);
    };
    let header = message.from_line + count as u64;
    let hide = Hidden::default();
    let mut walk = Walk::new(&mut window, message.from_line, header, hide)?;
    walk.headers()?;
    Ok(header == message.header && walk.name() == message.digest)
}

/// What the line at `offset` is. `is_first` says that it is the first line of the spool, behind its
/// empty lines.
fn line_at<S: Source>(
    window: &mut Window<'_, S>,
    offset: u64,
    is_first: bool,
) -> Result<Start, ScanError<S::Error>> {
    let length = window.length();
    let view = window.at(offset, from_line::LOOK)?;
    let to_end = offset + view.len() as u64 == length;
    Ok(if is_first {
        Start::of_first(view, to_end)
    } else {
        Start::of(view, to_end)
    })
}

/// Where the first From_ line begins. Empty lines may come before it, and so may the bytes of a
/// delivery that was broken off within the word `From`. A From_ line that was only begun counts
/// too. If there is no From_ line, this is the spool's length.
fn first_from_line<S: Source>(window: &mut Window<'_, S>) -> Result<u64, ScanError<S::Error>> {
    let length = window.length();
    let mut offset = 0;
    loop {
        let view = window.at(offset, from_line::LOOK)?;
        let to_end = offset + view.len() as u64 == length;
        let skipped = empty_lines(view);
        if skipped > 0 {
            offset += skipped as u64;
            continue;
        }
        let begins = Start::of_first(view, to_end) != Start::Text;
        if view.is_empty() || begins || (to_end && is_begun(view)) {
            return Ok(offset);
        }
        if let Some(count) = broken_word(view, to_end) {
            return Ok(offset + count as u64);
        }
        let view = &view[..view.len().min(from_line::LOOK)];
        return Err(match (memchr(b'\n', view), memchr(b'\r', view)) {
            (None, Some(_)) => ScanError::BareReturns,
            _ => ScanError::NotMbox,
        });
    }
}

/// Whether all bytes from `offset` on are the beginning of a From_ line.
fn is_tail<S: Source>(
    window: &mut Window<'_, S>,
    offset: u64,
) -> Result<bool, ScanError<S::Error>> {
    let length = window.length();
    let view = window.at(offset, from_line::LOOK)?;
    Ok(offset + view.len() as u64 == length && is_begun(view))
}

/// Where a header ends.
struct Header {
    /// Where the empty line begins that ends the header.
    empty: u64,
    /// Where the body begins.
    body: u64,
    /// Whether there is no empty line, because a From_ line or the end of the spool follows at
    /// once.
    cut_off: bool,
}

impl Header {
    fn ended(empty: u64, body: u64) -> Self {
        let cut_off = empty == body;
        Self {
            empty,
            body,
            cut_off,
        }
    }
}

/// A message that is being read.
struct Walk<'w, 'b, S> {
    window: &'w mut Window<'b, S>,
    from_line: u64,
    header: u64,
    octets: Octets,
    digest: blake3::Hasher,
    fields: Fields,
}

impl<'w, 'b, S: Source> Walk<'w, 'b, S> {
    fn new(
        window: &'w mut Window<'b, S>,
        from_line: u64,
        header: u64,
        hide: Hidden,
    ) -> Result<Self, ScanError<S::Error>> {
        let mut digest = blake3::Hasher::new();
        let length = usize::try_from(header - from_line).unwrap_or(usize::MAX);
        let line = &window.at(from_line, length)?[..length];
        // The line is hashed word by word. postfix, procmail and Dovecot write two spaces before
        // the date. mailutils (3.15) leaves one of them when it rewrites a spool, and the digest
        // must not change.
        let words = line.split(u8::is_ascii_whitespace);
        for word in words.filter(|word| !word.is_empty()) {
            digest.update(word);
            digest.update(b" ");
        }
        digest.update(b"\n");
        let octets = Octets::new();
        Ok(Self {
            window,
            from_line,
            header,
            octets,
            digest,
            fields: Fields {
                hide,
                ..Fields::default()
            },
        })
    }

    /// Reads the message to its end. Returns it, where the next From_ line begins, and where the
    /// message's Content-Length points to, if it does not hold and points behind the message.
    fn message(mut self) -> Result<(Message, u64, Option<u64>), ScanError<S::Error>> {
        let header = self.headers()?;
        let target = self.fields.content_length;
        let target = target.and_then(|count| header.body.checked_add(count));
        let target = target.filter(|_| !header.cut_off);
        let confirmed = match target {
            Some(target) => self.confirmed(target)?,
            None => None,
        };
        let (end, next) = match confirmed {
            Some(found) => {
                self.count(header.empty, found.0)?;
                found
            }
            None if header.cut_off => (header.body, header.body),
            None => self.search(header.empty, header.body)?,
        };
        let message = Message {
            from_line: self.from_line,
            header: self.header,
            body: header.body.min(end),
            end,
            octets: self.octets.finish(),
            digest: self.name(),
            name: None,
            pseudo: self.fields.pseudo,
        };
        let claim = target.filter(|target| confirmed.is_none() && *target >= next);
        Ok((message, next, claim))
    }

    /// The digest of the From_ line and the header lines that were read.
    fn name(&self) -> [u8; 16] {
        let mut digest = [0; 16];
        digest.copy_from_slice(&self.digest.finalize().as_bytes()[..16]);
        digest
    }

    /// Reads header lines, up to an empty line, a From_ line or the end of the spool.
    fn headers(&mut self) -> Result<Header, ScanError<S::Error>> {
        let mut offset = self.header;
        let mut fate = Fate::PLAIN;
        let length = self.window.length();
        loop {
            let view = self.window.at(offset, LOOK + 2)?;
            // Lines that count and end with LF alone are hashed together. They lie from `run` to
            // `at`.
            let (mut run, mut at, mut hidden) = (0, 0, 0);
            // The length of the empty line that ends the header. It is 0 if a From_ line cuts the
            // header off.
            let mut empty = None;
            while let Some(end) = memchr(b'\n', &view[at..]) {
                let text = &view[at..at + end];
                let line = text.strip_suffix(b"\r").unwrap_or(text);
                if line.is_empty() {
                    empty = Some(end as u64 + 1);
                    break;
                }
                if is_from_line(line) {
                    empty = Some(0);
                    break;
                }
                let next = at + end + 1;
                fate = self.fields.read(line, true, fate);
                if fate.hidden {
                    hidden += line.len() as u64 + 2;
                }
                if !fate.kept || line.len() < text.len() {
                    self.digest.update(&view[run..at]);
                    if fate.kept {
                        self.digest.update(line);
                        self.digest.update(b"\n");
                    }
                    run = next;
                }
                at = next;
            }
            self.digest.update(&view[run..at]);
            let rest = view.len() - at;
            self.octets
                .add(&view[..at], S::tally(self.octets.previous(), view, at));
            self.octets.take_off(hidden);
            offset += at as u64;
            if let Some(line) = empty {
                return Ok(Header::ended(offset, offset + line));
            }
            let start = &view[at..];
            if offset + rest as u64 >= length {
                if rest == 0 {
                    return Ok(Header::ended(offset, offset));
                }
            } else if rest < LOOK + 2 {
                continue;
            }
            // This is a long line, or the spool's last line.
            fate = self.fields.read(start, false, fate);
            if start.starts_with(b"From ") && line_at(self.window, offset, false)? != Start::Text {
                return Ok(Header::ended(offset, offset));
            }
            offset = self.line(offset, fate)?;
        }
    }

    /// Reads one header line, in pieces if it is long. Returns where the next line begins.
    fn line(&mut self, mut offset: u64, fate: Fate) -> Result<u64, ScanError<S::Error>> {
        let mut held_cr = false;
        loop {
            let view = self.window.at(offset, LOOK + 2)?;
            let end = memchr(b'\n', view);
            let piece = &view[..end.map_or(view.len(), |end| end + 1)];
            if !fate.hidden {
                let tally = S::tally(self.octets.previous(), piece, piece.len());
                self.octets.add(piece, tally);
            }
            let text = &piece[..end.unwrap_or(piece.len())];
            if fate.kept {
                // A CR at the end of a piece may belong to the line's end. The next byte shows it.
                if held_cr && !text.is_empty() {
                    self.digest.update(b"\r");
                }
                held_cr = text.last() == Some(&b'\r') || (held_cr && text.is_empty());
                self.digest.update(text.strip_suffix(b"\r").unwrap_or(text));
            }
            offset += piece.len() as u64;
            if end.is_some() || offset >= self.window.length() {
                if fate.kept {
                    self.digest.update(b"\n");
                }
                return Ok(offset);
            }
        }
    }

    /// Whether the body ends at `target`, as its Content-Length says. As in Dovecot, a line end
    /// must follow, and behind it a From_ line or the end of the spool. Returns `target`, and where
    /// the next From_ line begins.
    fn confirmed(&mut self, target: u64) -> Result<Option<(u64, u64)>, ScanError<S::Error>> {
        let length = self.window.length();
        if target >= length {
            return Ok(None);
        }
        let mut near = [0; from_line::LOOK + 2];
        let near = self.window.peek(target, &mut near)?;
        let to_end = target + near.len() as u64 == length;
        let separator = match near {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return Ok(None),
        };
        let rest = &near[separator..];
        let follows = Start::of(rest, to_end) != Start::Text;
        let next = target + separator as u64;
        Ok((next == length || follows).then_some((target, next)))
    }

    /// Counts the bytes from `from` to `to`.
    fn count(&mut self, mut from: u64, to: u64) -> Result<(), ScanError<S::Error>> {
        while from < to {
            let view = self.window.at(from, 1)?;
            let most = usize::try_from(to - from)
                .unwrap_or(usize::MAX)
                .min(view.len());
            let tally = S::tally(self.octets.previous(), view, most);
            self.octets.add(&view[..most], tally);
            from += most as u64;
        }
        Ok(())
    }

    /// Searches the body for the next From_ line. `empty` is where the header's empty line begins.
    /// That line is the separator if a From_ line follows it at once. Returns where the message
    /// ends, and where the next From_ line begins.
    fn search(&mut self, empty: u64, body: u64) -> Result<(u64, u64), ScanError<S::Error>> {
        let length = self.window.length();
        let finder = memmem::Finder::new(FROM);
        // Bytes before `counted` have been counted. From_ lines are searched from `search` on,
        // which is never before `counted`.
        let mut counted = empty;
        let mut search = body.saturating_sub(1).max(empty);
        // Whether a line just before began like a From_ line but was text. The next line may be
        // such a line too.
        let mut suspect = false;
        loop {
            // The view begins some bytes earlier, because they show whether a line feed ends an
            // empty line.
            let start = counted.saturating_sub(BEFORE).max(empty);
            let view = self.window.at(start, BUFFER_MIN / 2)?;
            let view = &view[..view.len().min(BLOCK)];
            let view_end = start + view.len() as u64;
            let at_end = view_end >= length;
            let new = &view[within(counted - start)..];
            let mut most = new.len();
            if !at_end {
                // The rest of a From_ line must be in view, and a CRLF must not lie across the end
                // of the counted bytes.
                most = tally::whole(new.len() - FROM.len());
                most -= usize::from(new[most - 1..].starts_with(b"\r\n"));
            }
            let previous = self.octets.previous();
            let tally = (!suspect).then(|| S::tally(previous, new, most));
            let found = if tally.is_none_or(|tally| tally.from_line) {
                let skip = within(search - start).min(view.len());
                finder.find(&view[skip..]).map(|at| skip + at)
            } else {
                None
            };
            let Some(at) = found else {
                if at_end {
                    let end = length - separator(view, start == self.header) as u64;
                    self.count(counted, end)?;
                    return Ok((end, length));
                }
                let tally = tally.unwrap_or_else(|| S::tally(previous, new, most));
                self.octets.add(&new[..most], tally);
                counted += most as u64;
                search = search.max(counted);
                suspect = false;
                continue;
            };
            let candidate = start + at as u64 + 1;
            let separator = separator(&view[..=at], start == self.header) as u64;
            if line_at(self.window, candidate, false)? != Start::Text {
                let end = candidate - separator;
                self.count(counted, end)?;
                return Ok((end, candidate));
            }
            // The line is text. The bytes before it are counted, except those that could be a
            // separator.
            let next = candidate.saturating_sub(4).max(counted);
            self.count(counted, next)?;
            counted = next;
            search = candidate;
            suspect = true;
        }
    }
}

/// A distance between two places in a view.
fn within(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The length of the empty line at the end of `bytes`, or 0 if there is none. `fresh` says that a
/// line begins where `bytes` begin.
fn separator(bytes: &[u8], fresh: bool) -> usize {
    let line_end = |rest: &[u8]| rest.last() == Some(&b'\n') || (fresh && rest.is_empty());
    match bytes {
        [rest @ .., b'\r', b'\n'] if line_end(rest) => 2,
        [rest @ .., b'\n'] if line_end(rest) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
