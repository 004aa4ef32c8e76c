//! One walk over the spool: From_ lines, headers, bodies. Bodies are searched, never read line by line.

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

/// How much of a body is looked at at once: small enough to stay in the nearest cache for a second look.
const BLOCK: usize = 4 * 1024;

/// How a From_ line begins, behind the line feed of the line before.
const FROM: &[u8] = b"\nFrom ";

/// How many bytes before a line feed tell whether it ends an empty line: a CR, and the line feed of the line before.
const BEFORE: u64 = 2;

/// Most messages of a maildrop: their numbers are 32 bits in the protocol between processes.
pub const MESSAGES_MAX: usize = 16_000_000;

/// Why a spool was not read.
#[derive(Debug, PartialEq, Eq)]
pub enum ScanError<E> {
    /// It does not begin with a From_ line.
    NotMbox,
    /// Its lines end with CR alone: which of them begin messages cannot be told.
    BareReturns,
    /// It ended before the length that was given.
    Truncated {
        /// Where bytes were expected up to.
        expected: u64,
        /// Where they ended.
        found: u64,
    },
    /// It has more than [`MESSAGES_MAX`] messages.
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

/// Reads the first `length` bytes of `source` through `buffer`, of at least [`BUFFER_MIN`] bytes.
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

/// As [`scan`], of a spool that was `known` when it was shorter. The last of the known messages is read again, because what
/// follows decides where it ends. No claim of `known` may point to less than `length`. Sizes are without the lines that `hide`
/// hides.
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
        let header = match line_at(&mut window, start)? {
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

/// Whether `message` still begins where it was found, with the header that it had. `buffer` is as for [`scan`], and
/// `length` the spool's.
pub fn begins_there<S: Source>(
    source: &mut S,
    length: u64,
    buffer: &mut [u8],
    message: &Message,
) -> Result<bool, ScanError<S::Error>> {
    let mut window = Window::new(source, length, buffer);
    let Start::FromLine(count) = line_at(&mut window, message.from_line)? else {
        return Ok(false);
    };
    let header = message.from_line + count as u64;
    let hide = Hidden::default();
    let mut walk = Walk::new(&mut window, message.from_line, header, hide)?;
    walk.headers()?;
    Ok(header == message.header && walk.name() == message.digest)
}

/// What the line is that begins at `offset`.
fn line_at<S: Source>(
    window: &mut Window<'_, S>,
    offset: u64,
) -> Result<Start, ScanError<S::Error>> {
    let length = window.length();
    let view = window.at(offset, from_line::LOOK)?;
    let to_end = offset + view.len() as u64 == length;
    Ok(Start::of(view, to_end))
}

/// Where the first From_ line begins: behind empty lines, and behind what a delivery wrote that was broken off within the word
/// `From`. Where there is only the beginning of one, that begins there; where there is none, this is the length.
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
        if view.is_empty() || Start::of(view, to_end) != Start::Text || (to_end && is_begun(view)) {
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

/// Whether all that is left from `offset` on is the beginning of a From_ line.
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
    /// Where the empty line begins that ends it.
    empty: u64,
    /// Where the body begins.
    body: u64,
    /// There is no empty line: a From_ line or the end of the spool follows at once.
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

/// One message, being read.
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
        // Word by word: postfix, procmail and Dovecot write two spaces before the date, of which mailutils (3.15) leaves one
        // when it rewrites a spool.
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

    /// Reads it to its end. Returns it, where the next From_ line begins, and where its Content-Length points to, if that is
    /// behind it.
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

    /// The digest of what was read of the header.
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
            // Lines that count and end with LF alone are hashed together: from `run` to `at`.
            let (mut run, mut at, mut hidden) = (0, 0, 0);
            // How long the empty line is that ends the header; a From_ line that cuts it off is none of its bytes.
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
            // A long line, or the spool's last.
            fate = self.fields.read(start, false, fate);
            if start.starts_with(b"From ") && line_at(self.window, offset)? != Start::Text {
                return Ok(Header::ended(offset, offset));
            }
            offset = self.line(offset, fate)?;
        }
    }

    /// Takes one header line, in pieces if need be; returns where the next begins.
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
                // A CR at the end of a piece is the line's end or not, as the next byte shows.
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

    /// Whether the body ends at `target`, where its Content-Length says: a line end follows, and behind that a From_ line or the
    /// end of the spool. This is Dovecot's condition. Returns `target`, and where the next From_ line begins.
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

    /// Searches the body for the next From_ line. `empty` is where the header's empty line begins. It is the separator where a
    /// From_ line follows at once.
    fn search(&mut self, empty: u64, body: u64) -> Result<(u64, u64), ScanError<S::Error>> {
        let length = self.window.length();
        let finder = memmem::Finder::new(FROM);
        // What has been counted, and from where on From_ lines are looked for: never before it.
        let mut counted = empty;
        let mut search = body.saturating_sub(1).max(empty);
        // Whether a line just before began as a From_ line does: the next may, too.
        let mut suspect = false;
        loop {
            // A line feed is looked at with the bytes before it that make it the end of an empty line.
            let start = counted.saturating_sub(BEFORE).max(empty);
            let view = self.window.at(start, BUFFER_MIN / 2)?;
            let view = &view[..view.len().min(BLOCK)];
            let view_end = start + view.len() as u64;
            let at_end = view_end >= length;
            let new = &view[within(counted - start)..];
            let mut most = new.len();
            if !at_end {
                // The rest of a From_ line must be in view; and no CRLF must lie across what is counted.
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
            if line_at(self.window, candidate)? != Start::Text {
                let end = candidate - separator;
                self.count(counted, end)?;
                return Ok((end, candidate));
            }
            // It is text. What lies before it is counted, all but what could be a separator.
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

/// How many bytes the empty line is long that `bytes` end with; 0 if they do not end with one. `fresh`: a line starts
/// where the bytes do.
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
