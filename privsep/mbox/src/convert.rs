//! A message's bytes as POP3 sends them (RFC 1939, section 3): lines ended CRLF, those that begin with `.` stuffed.

use memchr::memchr;

/// Converts one message, piece by piece.
#[derive(Debug, Clone)]
pub struct Converter {
    at_line_start: bool,
    after_cr: bool,
    /// The line being read has no character yet but perhaps a CR.
    line_empty: bool,
    in_body: bool,
    /// Body lines that may still be sent; `None` for the whole message.
    lines: Option<u32>,
}

impl Converter {
    /// For RETR.
    pub fn whole() -> Self {
        Self {
            at_line_start: true,
            after_cr: false,
            line_empty: true,
            in_body: false,
            lines: None,
        }
    }

    /// For TOP: the header, the empty line, and `lines` lines of the body.
    pub fn top(lines: u32) -> Self {
        Self {
            lines: Some(lines),
            ..Self::whole()
        }
    }

    /// Whether all lines that TOP asked for have been converted.
    pub fn is_done(&self) -> bool {
        self.in_body && self.at_line_start && self.lines == Some(0)
    }

    /// Appends to `output` what `input` becomes, while it is not longer than `room` (at least 8), and returns what of
    /// `input` was not converted.
    pub fn convert<'i>(
        &mut self,
        mut input: &'i [u8],
        output: &mut Vec<u8>,
        room: usize,
    ) -> &'i [u8] {
        while !input.is_empty() && !self.is_done() {
            // The most that a step adds beyond its input: a stuffed dot and a CR.
            let Some(space) = room
                .checked_sub(output.len() + 2)
                .filter(|space| *space > 0)
            else {
                break;
            };
            if self.at_line_start && input[0] == b'.' {
                output.push(b'.');
            }
            let piece = &input[..input.len().min(space)];
            match memchr(b'\n', piece) {
                Some(end) => {
                    let text = &piece[..end];
                    output.extend_from_slice(text);
                    let cr = text.last().map_or(self.after_cr, |last| *last == b'\r');
                    output.extend_from_slice(if cr { b"\n" } else { b"\r\n" });
                    self.end_line(text);
                    input = &input[end + 1..];
                }
                None => {
                    output.extend_from_slice(piece);
                    self.at_line_start = false;
                    self.line_empty &= piece == b"\r";
                    self.after_cr = piece.last() == Some(&b'\r');
                    input = &input[piece.len()..];
                }
            }
        }
        input
    }

    fn end_line(&mut self, text: &[u8]) {
        let empty = self.line_empty && (text.is_empty() || (text == b"\r" && self.at_line_start));
        if self.in_body {
            self.lines = self.lines.map(|lines| lines.saturating_sub(1));
        } else {
            self.in_body = empty;
        }
        self.at_line_start = true;
        self.line_empty = true;
        self.after_cr = false;
    }

    /// Ends the last line, if it had no end.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        if !self.at_line_start {
            output.extend_from_slice(b"\r\n");
            self.at_line_start = true;
        }
    }
}

#[cfg(test)]
mod tests;
