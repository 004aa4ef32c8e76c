//! One walk over the spool: where each message begins and ends.

pub use crate::error::ScanError;
use crate::from_line::{self, Start, empty_lines, mail_start};
use crate::header::Hidden;
pub use crate::message::MESSAGES_MAX;
use crate::message::{Maildrop, Message};
pub use crate::message_reader::BUFFER_MIN;
use crate::message_reader::MessageReader;
use crate::source::Source;
use crate::window::Window;
use memchr::memchr;

/// Scans the first `length` bytes of `source` through `buffer`, which has at least [`BUFFER_MIN`]
/// bytes, and adds the messages to `maildrop`. Sizes do not count the lines that `hide` hides.
///
/// `maildrop` is what the beginning of the spool is known to be. Its last message is read again,
/// because the bytes behind it decide where it ends. None of its claims may point to less than
/// `length`, except if the claims are those of a spool of this length.
///
/// After an error, `maildrop` has the messages that were read whole, and its length is theirs.
pub fn scan_on<S: Source>(
    source: &mut S,
    length: u64,
    buffer: &mut [u8],
    hide: Hidden,
    maildrop: &mut Maildrop,
) -> Result<(), ScanError<S::Error>> {
    let mut window = Window::new(source, length, buffer);
    maildrop.tail = 0;
    let mut start = match maildrop.messages.pop() {
        Some(last) => last.from_line,
        None => first_from_line(&mut window)?,
    };
    let mut claim = None;
    while start < length {
        maildrop.length = start;
        if maildrop.messages.len() >= MESSAGES_MAX {
            return Err(ScanError::TooManyMessages);
        }
        let header = match window.line_at(start, maildrop.messages.is_empty())? {
            Start::FromLine(count) => start + count as u64,
            Start::Text => return Err(ScanError::NotMbox),
            Start::BrokenOff => {
                maildrop.tail = length - start;
                break;
            }
        };
        if let Some(target) = claim {
            maildrop.claims.add(target, length);
        }
        let found = MessageReader::new(&mut window, start, header, hide)?.message()?;
        maildrop.messages.push(found.message);
        (start, claim) = (found.next, found.claim);
    }
    maildrop.length = length;
    Ok(())
}

/// Whether `message` still begins where it was found, with the same header. The buffer of `window`
/// has at least [`BUFFER_MIN`] bytes.
pub fn begins_there<S: Source>(
    window: &mut Window<'_, S>,
    message: &Message,
) -> Result<bool, ScanError<S::Error>> {
    let mut line = window.line_at(message.from_line, false)?;
    if line == Start::Text {
        match first_from_line(window) {
            Ok(first) if first == message.from_line => line = window.line_at(first, true)?,
            Ok(_) | Err(ScanError::NotMbox | ScanError::BareReturns) => {}
            Err(error) => return Err(error),
        }
    }
    let Start::FromLine(count) = line else {
        return Ok(false);
    };
    let header = message.from_line + count as u64;
    let hide = Hidden::default();
    let reader = MessageReader::new(window, message.from_line, header, hide)?;
    Ok(header == message.header && reader.digest()? == message.digest)
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
        if let Some(count) = mail_start(view, to_end) {
            return Ok(offset + count as u64);
        }
        let view = &view[..view.len().min(from_line::LOOK)];
        return Err(match (memchr(b'\n', view), memchr(b'\r', view)) {
            (None, Some(_)) => ScanError::BareReturns,
            _ => ScanError::NotMbox,
        });
    }
}

#[cfg(test)]
mod tests;
