//! Prints the listing as text or JSON. The JSON is numbers and plain ASCII, except for errors, so
//! it needs no crate.

use crate::listing::Entry;
use std::io::{Result, Write};

/// Prints a message on each line: number, offset, octets, UIDL, key.
pub(crate) fn text(mut out: impl Write, entries: &[Entry]) -> Result<()> {
    for entry in entries {
        match entry.number {
            Some(number) => write!(out, "{number}")?,
            None => write!(out, "-")?,
        }
        write!(out, " {} {} {} ", entry.offset, entry.octets, entry.uidl)?;
        key(&mut out, entry.key)?;
        writeln!(out)?;
    }
    out.flush()
}

/// Prints one object with all messages.
pub(crate) fn json(mut out: impl Write, entries: &[Entry]) -> Result<()> {
    write!(out, "{{\"messages\":[")?;
    for (index, entry) in entries.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(out, "{comma}{{\"number\":")?;
        match entry.number {
            Some(number) => write!(out, "{number}")?,
            None => write!(out, "null")?,
        }
        write!(
            out,
            ",\"offset\":{},\"octets\":{},\"uidl\":",
            entry.offset, entry.octets
        )?;
        string(&mut out, &entry.uidl)?;
        write!(out, ",\"key\":\"")?;
        key(&mut out, entry.key)?;
        write!(out, "\",\"hidden\":{}}}", entry.number.is_none())?;
    }
    writeln!(out, "]}}")?;
    out.flush()
}

/// Prints one object with the error.
pub(crate) fn json_error(mut out: impl Write, error: &str) -> Result<()> {
    write!(out, "{{\"error\":")?;
    string(&mut out, error)?;
    writeln!(out, "}}")?;
    out.flush()
}

fn key(out: &mut impl Write, key: [u8; 16]) -> Result<()> {
    key.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// Prints a JSON string (RFC 8259, section 7).
fn string(out: &mut impl Write, text: &str) -> Result<()> {
    write!(out, "\"")?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(out, "\\{character}")?,
            '\0'..='\x1f' => write!(out, "\\u{:04x}", u32::from(character))?,
            _ => write!(out, "{character}")?,
        }
    }
    write!(out, "\"")
}

#[cfg(test)]
mod tests;
