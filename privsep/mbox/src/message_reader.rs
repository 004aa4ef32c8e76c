//! Reads one message: its header line by line, and its body up to the next From_ line.

use crate::error::ScanError;
use crate::from_line::{self, LINE_MAX, Start};
use crate::header::{Fate, Fields, Hidden, LOOK};
use crate::message::Message;
use crate::octets::Octets;
use crate::source::Source;
use crate::window::Window;
use memchr::{memchr, memmem};

/// Smallest buffer for a scan, in bytes. Larger ones (1 MiB) make it faster.
pub const BUFFER_MIN: usize = 4 * LINE_MAX;

/// How many bytes of a body are searched, and then counted, at a time. They stay in the nearest
/// cache between the two.
pub(crate) const BLOCK: usize = 16 * 1024;

/// The beginning of a From_ line, with the line feed of the line before it.
const FROM: &[u8] = b"\nFrom ";

/// How many bytes before a line feed show whether it ends an empty line: a CR, and the line feed of
/// the line before.
const BEFORE: u64 = 2;

/// A message that is being read.
pub(crate) struct MessageReader<'w, 'b, S> {
    window: &'w mut Window<'b, S>,
    from_line: u64,
    header: u64,
    content: Content,
}

/// What the bytes that were read so far add up to.
struct Content {
    octets: Octets,
    digest: blake3::Hasher,
    fields: Fields,
    /// How the last header line is treated.
    fate: Fate,
}

/// Where a header ends.
#[derive(Clone, Copy)]
struct Header {
    /// Where the empty line begins that ends the header.
    empty: u64,
    /// Where the body begins.
    body: u64,
}

impl Header {
    /// Whether there is no empty line, because a From_ line or the end of the spool follows at
    /// once.
    fn is_cut_off(self) -> bool {
        self.empty == self.body
    }
}

/// A message that was read to its end.
pub(crate) struct Found {
    pub(crate) message: Message,
    /// Where the next From_ line begins.
    pub(crate) next: u64,
    /// Where the message's Content-Length points to, if it does not hold and points behind the
    /// message.
    pub(crate) claim: Option<u64>,
}

impl Content {
    /// Adds a part of a header line: a whole line with its LF, or the next part of a long one.
    /// `text` is the part without the end of the line.
    fn add(&mut self, part: &[u8], text: &[u8], is_line: bool, ends: bool) {
        if !self.fate.hidden && is_line {
            self.octets.add_line(text);
        } else if !self.fate.hidden {
            self.octets.add(part);
        }
        if !self.fate.rewritten && is_line && part.len() == text.len() + 1 {
            self.digest.update(part);
        } else if !self.fate.rewritten {
            self.digest.update(text);
            self.digest.update(if ends { b"\n" } else { b"" });
        }
    }

    /// The digest of the From_ line and the header lines.
    fn digest(&self) -> [u8; 16] {
        let mut digest = [0; 16];
        digest.copy_from_slice(&self.digest.finalize().as_bytes()[..16]);
        digest
    }
}

impl<'w, 'b, S: Source> MessageReader<'w, 'b, S> {
    /// Begins at the From_ line at `from_line`. The header begins at `header`.
    pub(crate) fn new(
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
        Ok(Self {
            window,
            from_line,
            header,
            content: Content {
                octets: Octets::new(),
                digest,
                fields: Fields::new(hide),
                fate: Fate::default(),
            },
        })
    }

    /// Reads the header alone. Returns the digest.
    pub(crate) fn digest(mut self) -> Result<[u8; 16], ScanError<S::Error>> {
        self.headers()?;
        Ok(self.content.digest())
    }

    /// Reads the message to its end.
    pub(crate) fn message(mut self) -> Result<Found, ScanError<S::Error>> {
        let header = self.headers()?;
        let target = self.content.fields.content_length;
        let target = target.and_then(|count| header.body.checked_add(count));
        let target = target.filter(|_| !header.is_cut_off());
        let confirmed = match target {
            Some(target) => self.confirmed(target)?,
            None => None,
        };
        let (end, next) = match confirmed {
            Some(found) => {
                self.count(header.empty, found.0)?;
                found
            }
            None if header.is_cut_off() => (header.body, header.body),
            None => self.search(header)?,
        };
        let message = Message {
            from_line: self.from_line,
            header: self.header,
            body: header.body.min(end),
            end,
            octets: self.content.octets.finish(),
            digest: self.content.digest(),
            name: None,
            pseudo: self.content.fields.pseudo,
        };
        let claim = target.filter(|target| confirmed.is_none() && *target >= next);
        Ok(Found {
            message,
            next,
            claim,
        })
    }

    /// Reads header lines, up to an empty line, a From_ line or the end of the spool. A long line
    /// comes in parts.
    fn headers(&mut self) -> Result<Header, ScanError<S::Error>> {
        let length = self.window.length();
        let mut offset = self.header;
        let mut begins = true;
        while offset < length {
            let from = begins && self.window.at(offset, LOOK + 2)?.starts_with(b"From ");
            if from && self.window.line_at(offset, false)? != Start::Text {
                break;
            }
            let view = self.window.at(offset, LOOK + 2)?;
            let line_feed = memchr(b'\n', view);
            let ends = line_feed.is_some() || offset + view.len() as u64 >= length;
            let part = match line_feed {
                Some(at) => &view[..=at],
                None if ends => view,
                // A CR may belong to the line's end. The next part begins with it.
                None => view.strip_suffix(b"\r").unwrap_or(view),
            };
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let text = text.strip_suffix(b"\r").filter(|_| ends).unwrap_or(text);
            let is_line = begins && line_feed.is_some();
            let next = offset + part.len() as u64;
            if is_line && text.is_empty() {
                let (empty, body) = (offset, next);
                return Ok(Header { empty, body });
            }
            let content = &mut self.content;
            if begins {
                content.fate = content.fields.read(text, is_line, content.fate);
            }
            content.add(part, text, is_line, ends);
            (offset, begins) = (next, ends);
        }
        let (empty, body) = (offset, offset);
        Ok(Header { empty, body })
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
        let follows = Start::of(rest, to_end, false) != Start::Text;
        let next = target + separator as u64;
        Ok((next == length || follows).then_some((target, next)))
    }

    /// Counts the bytes from `from` to `to`.
    fn count(&mut self, mut from: u64, to: u64) -> Result<(), ScanError<S::Error>> {
        while from < to {
            let view = self.window.at(from, 1)?;
            let most = distance(from, to).min(view.len());
            self.content.octets.add(&view[..most]);
            from += most as u64;
        }
        Ok(())
    }

    /// Searches the body for the next From_ line. The header's empty line is the separator if a
    /// From_ line follows it at once. Returns where the message ends, and where the next From_ line
    /// begins.
    fn search(&mut self, header: Header) -> Result<(u64, u64), ScanError<S::Error>> {
        let length = self.window.length();
        let finder = memmem::Finder::new(FROM);
        // Bytes before `counted` have been counted. Behind it, `searched` bytes have been searched.
        let mut counted = header.empty;
        let mut searched = distance(header.empty, header.body - 1);
        loop {
            let view = self.window.at(counted, BUFFER_MIN / 2)?;
            let view = &view[..view.len().min(BLOCK)];
            let view_end = counted + view.len() as u64;
            let found = finder.find(&view[searched..]);
            let stop = match found {
                Some(at) => counted + (searched + at + 1) as u64,
                None if view_end >= length => length,
                // A From_ line may begin within the last bytes.
                None => view_end - FROM.len() as u64 + 1,
            };
            let empty_line = separator(&view[..distance(counted, stop)], counted == self.header);
            let ends = match found {
                Some(_) => self.window.line_at(stop, false)? != Start::Text,
                None => stop == length,
            };
            let end = stop - if ends { empty_line as u64 } else { BEFORE };
            // The bytes of a separator are not counted before it is known whether they are one.
            let end = end.max(counted);
            self.count(counted, end)?;
            if ends {
                return Ok((end, stop));
            }
            (searched, counted) = (distance(end, stop), end);
        }
    }
}

/// The distance between two places in a view.
fn distance(from: u64, to: u64) -> usize {
    usize::try_from(to - from).unwrap_or(usize::MAX)
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
