//! One walk over the spool: From_ lines, headers, bodies. Bodies are searched, never read line by line.

use crate::from_line::{LINE_MAX, is_from_line};
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
    scan_on(source, length, buffer, Hidden::default(), Vec::new())
}

/// As [`scan`], of a spool that begins with `messages`. Where the last of them ends is found out again: what follows
/// decides it. Sizes are without the lines that `hide` hides.
pub fn scan_on<S: Source>(
    source: &mut S,
    length: u64,
    buffer: &mut [u8],
    hide: Hidden,
    mut messages: Vec<Message>,
) -> Result<Maildrop, ScanError<S::Error>> {
    let mut window = Window::new(source, length, buffer);
    let mut start = messages.pop().map_or(0, |last| last.from_line);
    let mut maildrop = Maildrop { messages, length };
    while start < length {
        if maildrop.messages.len() >= MESSAGES_MAX {
            return Err(ScanError::TooManyMessages);
        }
        let Some(header) = from_line_at(&mut window, start)? else {
            return Err(ScanError::NotMbox);
        };
        let (message, next) = Walk::new(&mut window, start, header, hide)?.message()?;
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
    let Some(header) = from_line_at(&mut window, message.from_line)? else {
        return Ok(false);
    };
    let hide = Hidden::default();
    let mut walk = Walk::new(&mut window, message.from_line, header, hide)?;
    walk.headers()?;
    Ok(header == message.header && walk.name() == message.digest)
}

/// Where the From_ line that begins at `offset` ends, behind its LF. `None`: there is no From_ line.
fn from_line_at<S: Source>(
    window: &mut Window<'_, S>,
    offset: u64,
) -> Result<Option<u64>, ScanError<S::Error>> {
    let length = window.length();
    let view = window.at(offset, LINE_MAX + 2)?;
    let view = &view[..view.len().min(LINE_MAX + 2)];
    let end = memchr(b'\n', view);
    let line = &view[..end.unwrap_or(view.len())];
    let at_end = end.is_some() || offset + view.len() as u64 == length;
    let taken = end.map_or(line.len(), |end| end + 1) as u64;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok((at_end && is_from_line(line)).then_some(offset + taken))
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

    /// Reads it to its end; returns it and where the next From_ line begins.
    fn message(mut self) -> Result<(Message, u64), ScanError<S::Error>> {
        let (empty, body) = self.headers()?;
        let (end, next) = match self.content_end(body)? {
            Some(found) => {
                self.count(empty, found.0)?;
                found
            }
            None => self.search(empty, body)?,
        };
        let message = Message {
            from_line: self.from_line,
            header: self.header,
            body: body.min(end),
            end,
            octets: self.octets.finish(),
            digest: self.name(),
            name: None,
            pseudo: self.fields.pseudo,
        };
        Ok((message, next))
    }

    /// The digest of what was read of the header.
    fn name(&self) -> [u8; 16] {
        let mut digest = [0; 16];
        digest.copy_from_slice(&self.digest.finalize().as_bytes()[..16]);
        digest
    }

    /// Reads header lines; returns where the empty line begins that ends them, and where the body does.
    fn headers(&mut self) -> Result<(u64, u64), ScanError<S::Error>> {
        let mut offset = self.header;
        let mut fate = Fate::PLAIN;
        let length = self.window.length();
        loop {
            let view = self.window.at(offset, LOOK + 2)?;
            // Lines that count and end with LF alone are hashed together: from `run` to `at`.
            let (mut run, mut at, mut empty, mut hidden) = (0, 0, None, 0);
            while let Some(end) = memchr(b'\n', &view[at..]) {
                let text = &view[at..at + end];
                let line = text.strip_suffix(b"\r").unwrap_or(text);
                if line.is_empty() {
                    empty = Some(end as u64 + 1);
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
                return Ok((offset, offset + line));
            }
            let start = &view[at..];
            if offset + rest as u64 >= length {
                if rest == 0 {
                    return Ok((offset, offset));
                }
            } else if rest < LOOK + 2 {
                continue;
            }
            // A long line, or the spool's last.
            fate = self.fields.read(start, false, fate);
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

    /// Where the body ends by its Content-Length, if a From_ line or the end of the spool follows there (Dovecot's
    /// condition); and where the next From_ line begins.
    fn content_end(&mut self, body: u64) -> Result<Option<(u64, u64)>, ScanError<S::Error>> {
        let length = self.window.length();
        let target = self
            .fields
            .content_length
            .and_then(|n| body.checked_add(n))
            .filter(|t| *t <= length);
        let Some(target) = target else {
            return Ok(None);
        };
        let mut near = [0; LINE_MAX + 4];
        let near = self.window.peek(target, &mut near)?;
        let near = &near[..near.len().min(LINE_MAX + 4)];
        let separator = match near {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => return Ok(None),
        };
        let rest = &near[separator..];
        let line = &rest[..memchr(b'\n', rest).unwrap_or(rest.len())];
        let follows = is_from_line(line.strip_suffix(b"\r").unwrap_or(line));
        Ok((rest.is_empty() || follows).then_some((target, target + separator as u64)))
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

    /// Searches the body for the next From_ line after an empty line. `empty` is where the header's empty line begins:
    /// it is the separator where a From_ line follows at once.
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
            let after_empty = separator > 0 || candidate == body;
            if after_empty && from_line_at(self.window, candidate)?.is_some() {
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
