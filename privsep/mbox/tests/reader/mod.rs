//! A reader that finds messages in a slow and obvious way: all lines of a spool in memory, one
//! after another. The tests of the scan and `fuzz/targets/mbox.rs` compare the scan with this
//! reader.

/// A function that says whether a line, without its line end, is a From_ line. This reader does not
/// test it.
pub type IsFromLine = fn(&[u8]) -> bool;

/// A message, as offsets into the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simple {
    pub from_line: usize,
    pub header: usize,
    pub end: usize,
    /// How many octets RETR sends, before dot-stuffing.
    pub octets: usize,
}

/// A line: where it begins, where the next line begins, and its bytes without LF or CRLF.
struct Line<'a> {
    start: usize,
    next: usize,
    text: &'a [u8],
    terminated: bool,
}

impl Line<'_> {
    fn is_empty(&self) -> bool {
        self.terminated && self.text.is_empty()
    }

    /// Whether a message ends before this line: it is a From_ line, or one that was broken off at
    /// the end of the spool.
    fn begins(&self, is_from_line: IsFromLine) -> bool {
        is_from_line(self.text) && (self.terminated || !self.text.contains(&b'\r'))
    }

    /// Whether this line begins a message if it is the spool's first line.
    fn begins_a_spool(&self) -> bool {
        let short = self.text.len() <= 1024 && !self.text.contains(&b'\r');
        self.terminated && self.text.starts_with(b"From ") && short
    }

    /// Whether this line can be the first bytes of a From_ line.
    fn is_begun(&self) -> bool {
        let begins = self.text.starts_with(b"From ") || b"From ".starts_with(self.text);
        begins
            && !self.terminated
            && self.text.len() == self.next - self.start
            && self.text.len() <= 1024
            && !self.text.contains(&b'\r')
    }
}

fn lines(spool: &[u8], mut start: usize) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for line in spool[start..].split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n");
        let terminated = text.is_some();
        let text = text.unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let next = start + line.len();
        lines.push(Line {
            start,
            next,
            text,
            terminated,
        });
        start = next;
    }
    lines
}

/// The number of a Content-Length line.
fn content_length(line: &[u8]) -> Option<usize> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let digits = value.iter().all(u8::is_ascii_digit);
    if !name.eq_ignore_ascii_case(b"Content-Length") || !digits || line.len() > 96 {
        return None;
    }
    let value = std::str::from_utf8(value).ok()?;
    Some(if value.is_empty() {
        0
    } else {
        value.parse().unwrap_or(usize::MAX)
    })
}

/// The messages of a spool, and how many bytes at its end belong to no message. `None`: the spool
/// is no mbox.
pub fn read(spool: &[u8], is_from_line: IsFromLine) -> Option<(Vec<Simple>, usize)> {
    let mut begin = 0;
    for line in lines(spool, 0) {
        let blank = line.text.iter().all(|byte| matches!(byte, b' ' | b'\t'));
        if !(line.terminated && blank) {
            break;
        }
        begin = line.next;
    }
    // A delivery may have been broken off within the word `From`.
    let first = lines(spool, begin);
    let first_line = first.first();
    let begins = |line: &&Line<'_>| line.begins(is_from_line) || line.begins_a_spool();
    if let Some(line) = first_line.filter(|line| !begins(line)) {
        if line.is_begun() {
            return Some((Vec::new(), spool.len() - begin));
        }
        let broken = (1..5).find(|&count| {
            line.terminated
                && line.text.starts_with(&b"From"[..count])
                && is_from_line(&line.text[count..])
        });
        begin += broken?;
    }
    let lines = lines(spool, begin);
    let starts_at = |at: usize| lines.partition_point(|line| line.start < at);
    let begins = |at: usize| {
        lines
            .get(starts_at(at))
            .is_some_and(|line| line.start == at && line.begins(is_from_line))
    };
    let (mut messages, mut at) = (Vec::new(), 0);
    while let Some(first) = lines.get(at).filter(|line| line.terminated) {
        let header = first.next;
        at += 1;
        // The header ends at an empty line or a From_ line.
        let (mut said, mut body) = (None, None);
        while let Some(line) = lines.get(at).filter(|line| !line.begins(is_from_line)) {
            at += 1;
            if line.is_empty() {
                body = Some(line.next);
                break;
            }
            said = said.or_else(|| content_length(line.text));
        }
        let believed = body.zip(said).and_then(|(body, said)| {
            let target = body.checked_add(said)?;
            let rest = spool.get(target..)?;
            let separator = match rest {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                _ => return None,
            };
            let next = target + separator;
            (next == spool.len() || begins(next)).then_some((target, next))
        });
        let (end, next) = believed.unwrap_or_else(|| {
            while lines.get(at).is_some_and(|line| !line.begins(is_from_line)) {
                at += 1;
            }
            let next = lines.get(at).map_or(spool.len(), |line| line.start);
            // The empty line before a From_ line is the separator. The line that ends a header is a
            // separator only if there are no header lines.
            let before = &lines[at - 1];
            let is_body = body.is_some_and(|body| before.start >= body) || before.start == header;
            (
                if is_body && before.is_empty() {
                    before.start
                } else {
                    next
                },
                next,
            )
        });
        at = starts_at(next);
        messages.push(Simple {
            from_line: first.start,
            header,
            end,
            octets: octets(&spool[header..end]),
        });
    }
    let tail = lines.get(at).map_or(0, |line| spool.len() - line.start);
    Some((messages, tail))
}

/// The length of a message on the wire, before dot-stuffing.
fn octets(content: &[u8]) -> usize {
    let mut octets = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let ends_in_crlf = line.ends_with(b"\r\n");
        let text = line.len() - usize::from(line.ends_with(b"\n")) - usize::from(ends_in_crlf);
        octets += text + 2;
    }
    octets
}
