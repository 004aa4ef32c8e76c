//! A message's bytes as POP3 sends them (RFC 1939, section 3): lines end with CRLF, and a line that
//! begins with `.` gets another dot.

use memchr::memchr;

/// What has been read of the current line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Nothing.
    Start,
    /// A CR and nothing else. If an LF follows, the line is empty.
    Cr,
    /// Text.
    Text,
    /// Text that ends with a CR so far.
    TextCr,
}

impl Line {
    /// The state after `text`, which has no LF.
    fn after(self, text: &[u8]) -> Self {
        match (self, text) {
            (_, []) => self,
            (Self::Start, b"\r") => Self::Cr,
            (_, [.., b'\r']) => Self::TextCr,
            _ => Self::Text,
        }
    }
}

/// Converts one message, piece by piece.
#[derive(Debug, Clone)]
pub struct Converter {
    line: Line,
    in_body: bool,
    /// How many body lines may still be sent. `None`: the whole message.
    lines: Option<u32>,
    /// The octets of the output so far, before dot-stuffing.
    octets: u64,
}

impl Converter {
    /// A converter for RETR.
    pub fn whole() -> Self {
        Self {
            line: Line::Start,
            in_body: false,
            lines: None,
            octets: 0,
        }
    }

    /// A converter for TOP (RFC 1939, section 7): the header, the empty line, and `lines` lines of
    /// the body.
    pub fn top(lines: u32) -> Self {
        Self {
            lines: Some(lines),
            ..Self::whole()
        }
    }

    /// Whether all lines that TOP asked for have been converted.
    pub fn is_done(&self) -> bool {
        self.in_body && self.line == Line::Start && self.lines == Some(0)
    }

    /// The octets of the converted message, before dot-stuffing. `None` for TOP.
    pub fn octets(&self) -> Option<u64> {
        self.lines.is_none().then_some(self.octets)
    }

    /// Converts `input` and appends the result to `output`, until `output` has `room` bytes. `room`
    /// is at least 8. Returns the part of `input` that was not converted.
    pub fn convert<'i>(
        &mut self,
        mut input: &'i [u8],
        output: &mut Vec<u8>,
        room: usize,
    ) -> &'i [u8] {
        while !input.is_empty() && !self.is_done() {
            // Besides its input, a step adds at most two bytes: a stuffed dot and a CR.
            let Some(space) = room
                .checked_sub(output.len() + 2)
                .filter(|space| *space > 0)
            else {
                break;
            };
            if self.line == Line::Start && input[0] == b'.' {
                output.push(b'.');
            }
            let piece = &input[..input.len().min(space)];
            let end = memchr(b'\n', piece);
            let text = &piece[..end.unwrap_or(piece.len())];
            output.extend_from_slice(text);
            self.octets += text.len() as u64;
            self.line = self.line.after(text);
            input = &input[text.len()..];
            if end.is_some() {
                self.end_line(output);
                input = &input[1..];
            }
        }
        input
    }

    fn end_line(&mut self, output: &mut Vec<u8>) {
        let cr = matches!(self.line, Line::Cr | Line::TextCr);
        let end: &[u8] = if cr { b"\n" } else { b"\r\n" };
        output.extend_from_slice(end);
        self.octets += end.len() as u64;
        if self.in_body {
            self.lines = self.lines.map(|lines| lines.saturating_sub(1));
        } else {
            self.in_body = matches!(self.line, Line::Start | Line::Cr);
        }
        self.line = Line::Start;
    }

    /// Adds a line end to the last line, if it has none.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        if self.line != Line::Start {
            output.extend_from_slice(b"\r\n");
            self.octets += 2;
            self.line = Line::Start;
        }
    }
}

#[cfg(test)]
mod tests;
