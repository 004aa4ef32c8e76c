//! The file of pins in a state directory: read whole, and replaced whole.

use crate::state::{NEXT, PINS, State};
use popward_mbox::pins::Pins;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;

/// The largest file of pins, in bytes. That is enough for half a million messages.
const PINS_MAX: u64 = 64 << 20;

/// Reads the pins, and bytes that identify this version of their file. If there is no file, both
/// are empty.
///
/// A file in the wrong form is an error: without its pins, clients would fetch all of their mail
/// again.
pub fn load(state: &State) -> io::Result<(Pins, Vec<u8>)> {
    let Some(file) = state.open(PINS)? else {
        return Ok((Pins::default(), Vec::new()));
    };
    let status = file.metadata()?;
    if status.len() > PINS_MAX {
        return Err(io::Error::other(format!("{PINS}: more than 64 MiB")));
    }
    // The file of pins is replaced, never written over. So another version has another inode or
    // another time.
    let numbers = [status.ino(), status.len()].map(u64::to_le_bytes);
    let times = [
        status.mtime(),
        status.mtime_nsec(),
        status.ctime(),
        status.ctime_nsec(),
    ];
    let version = [numbers.concat(), times.map(i64::to_le_bytes).concat()].concat();
    let mut text = Vec::new();
    file.take(PINS_MAX).read_to_end(&mut text)?;
    let bad = |line| io::Error::other(format!("{PINS}:{line}: expected `KEY UIDL`"));
    Ok((Pins::decode(&text).map_err(bad)?, version))
}

/// Replaces the pins. They are on disk when this returns.
pub fn replace(state: &State, pins: &Pins) -> io::Result<()> {
    stage(state, pins)?;
    state.finish()
}

/// Writes new pins to a file beside the current pins. They are on disk when this returns.
pub(crate) fn stage(state: &State, pins: &Pins) -> io::Result<()> {
    let mut file = state.create(NEXT)?;
    let written = file
        .write_all(&pins.encode())
        .and_then(|()| file.sync_data());
    if written.is_err() {
        // Half a file would take room that the user may not have.
        let _ = state.remove(NEXT);
    }
    written
}
