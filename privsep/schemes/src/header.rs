//! Reads messages' headers for the schemes, line by line.

use memchr::memchr;
use popward_mbox::scan::ScanError;
use popward_mbox::source::Source;
use popward_mbox::window::Window;
use std::fmt::Write;

/// How many bytes of a line the schemes see at its start: more than any field's name has.
const START: usize = 32;

/// A scheme that reads a message line by line, until the header ends.
pub(crate) trait Header {
    /// A line begins. `start` is the whole line with its LF, or its first [`START`] bytes. Returns
    /// false if the header ended before this line.
    fn begin(&mut self, start: &[u8]) -> bool;

    /// Takes the line's next bytes, from its first byte to its LF.
    fn take(&mut self, piece: &[u8]);

    /// The UIDL that the scheme gives the message.
    fn name(self: Box<Self>) -> Option<Box<str>>;
}

/// Gives the lines from `offset` to `end` to each of `headers`, until its header ends.
pub(crate) fn read<S: Source>(
    window: &mut Window<'_, S>,
    mut offset: u64,
    end: u64,
    headers: &mut [&mut dyn Header],
) -> Result<(), ScanError<S::Error>> {
    let mut reading: Vec<_> = headers.iter_mut().collect();
    let mut inside = false;
    while offset < end && !reading.is_empty() {
        let view = window.at(offset, START)?;
        let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
        let view = &view[..view.len().min(left)];
        let line_end = memchr(b'\n', view);
        let piece = &view[..line_end.map_or(view.len(), |at| at + 1)];
        if !inside {
            let start = &piece[..piece.len().min(START)];
            reading.retain_mut(|header| header.begin(start));
        }
        for header in &mut reading {
            header.take(piece);
        }
        inside = line_end.is_none();
        offset += piece.len() as u64;
    }
    Ok(())
}

/// Whether a line begins the field `name`. `name` includes the colon.
pub(crate) fn is_field(start: &[u8], name: &[u8]) -> bool {
    let begin = start.get(..name.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(name))
}

/// Whether a line continues the field of the line before it.
pub(crate) fn continues(start: &[u8]) -> bool {
    matches!(start, [b' ' | b'\t', ..])
}

/// Bytes in hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into_boxed_str()
}
