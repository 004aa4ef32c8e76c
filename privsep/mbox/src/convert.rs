//! A message's bytes as POP3 sends them (RFC 1939, section 3): lines end with CRLF, and a line that
//! begins with `.` gets another dot.

use memchr::memchr;

/// Converts one message, piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Converter {
    /// How many bytes of the current line have been read, and the last of them.
    line: u64,
    last: u8,
    in_body: bool,
    /// How many body lines may still be sent. `None`: the whole message.
    lines: Option<u32>,
    /// The octets of the output so far, before dot-stuffing.
    octets: u64,
}

impl Converter {
    /// A converter for RETR.
    pub fn whole() -> Self {
        Self::default()
    }

    /// A converter for TOP (RFC 1939, section 7): the header, the empty line, and `lines` lines of
    /// the body.
    pub fn top(lines: u32) -> Self {
        Self {
            lines: Some(lines),
            ..Self::default()
        }
    }

    /// Whether all lines that TOP asked for have been converted.
    pub fn is_done(&self) -> bool {
        self.in_body && self.line == 0 && self.lines == Some(0)
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
            if self.line == 0 && input[0] == b'.' {
                output.push(b'.');
            }
            let piece = &input[..input.len().min(space)];
            let end = memchr(b'\n', piece);
            let text = &piece[..end.unwrap_or(piece.len())];
            output.extend_from_slice(text);
            self.octets += text.len() as u64;
            self.line += text.len() as u64;
            self.last = *text.last().unwrap_or(&self.last);
            input = &input[text.len()..];
            if end.is_some() {
                self.end_line(output);
                input = &input[1..];
            }
        }
        input
    }

    fn end_line(&mut self, output: &mut Vec<u8>) {
        let cr = self.line > 0 && self.last == b'\r';
        let end: &[u8] = if cr { b"\n" } else { b"\r\n" };
        output.extend_from_slice(end);
        self.octets += end.len() as u64;
        if self.in_body {
            self.lines = self.lines.map(|lines| lines.saturating_sub(1));
        } else {
            // The header ends with an empty line.
            self.in_body = self.line == u64::from(cr);
        }
        self.line = 0;
    }

    /// Adds a line end to the last line, if it has none.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        if self.line > 0 {
            output.extend_from_slice(b"\r\n");
            self.octets += 2;
            self.line = 0;
        }
    }
}

#[cfg(test)]
mod tests;
