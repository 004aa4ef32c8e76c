//! The line end that the last line of a spool lacks.
//!
//! A delivery that was broken off leaves such a line. procmail, maildrop, exim and postfix write the
//! next message behind it, and nobody can tell that message's From_ line from text. When mutt
//! rewrites the spool, it loses the line's last byte. So an update ends the line.

use crate::error::UpdateError;
use crate::locks::LockedSpool;
use popward_mbox::from_line::LINE_MAX;
use popward_mbox::message::Maildrop;
use popward_mbox::source::Source;

/// Ends the last line of `spool`, which now holds `left`. Returns whether that was needed. No
/// message reads otherwise afterwards.
///
/// - A line that begins with `From ` stays as it is. With a line end it could be a message. What is
///   delivered behind it is a message without that, by its last columns.
/// - A line that ends with CR stays as it is, because that CR is text.
/// - No line end is added where a sender's Content-Length would then hold.
pub fn end_last_line(spool: &mut LockedSpool, left: &Maildrop) -> Result<bool, UpdateError> {
    let is_text = left.tail == 0 && !left.messages.is_empty();
    if !is_text || left.claims.within || left.claims.ahead <= left.length {
        return Ok(false);
    }
    // No longer line can be a From_ line.
    let mut end = [0; LINE_MAX + 1];
    let start = left.length.saturating_sub(end.len() as u64);
    let count = spool.read_at(start, &mut end)?;
    let line = end[..count].rsplit(|byte| *byte == b'\n').next();
    let line = line.unwrap_or_default();
    if line.is_empty() || line.ends_with(b"\r") || line.starts_with(b"From ") {
        return Ok(false);
    }
    spool.prove_place()?;
    if spool.identity()?.length != left.length {
        return Ok(false);
    }
    spool.write_at(left.length, b"\n")?;
    Ok(true)
}

#[cfg(test)]
mod tests;
