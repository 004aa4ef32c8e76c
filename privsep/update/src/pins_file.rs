//! The file of pins in a state directory: read whole, and replaced whole.

use crate::state::{NEXT, PINS, State};
use popward_mbox::pins::Pins;
use std::io::{self, Read, Write};

/// The largest file of pins, in bytes. That is enough for half a million messages.
const PINS_MAX: u64 = 64 << 20;

/// Reads the pins, and the text of their file. If there is no file, both are empty.
///
/// A file in the wrong form is an error: without its pins, clients would fetch all of their mail
/// again.
pub fn load(state: &State) -> io::Result<(Pins, Vec<u8>)> {
    let Some(file) = state.open(PINS)? else {
        return Ok((Pins::default(), Vec::new()));
    };
    let mut text = Vec::new();
    if file.take(PINS_MAX + 1).read_to_end(&mut text)? as u64 > PINS_MAX {
        return Err(io::Error::other(format!("{PINS}: more than 64 MiB")));
    }
    let bad = |line| io::Error::other(format!("{PINS}:{line}: expected `KEY UIDL`"));
    Ok((Pins::decode(&text).map_err(bad)?, text))
}

/// Replaces the pins. They are on disk when this returns.
///
/// It is an error if the new file disappears meanwhile: the old pins are still in place then.
pub fn replace(state: &State, pins: &Pins) -> io::Result<()> {
    stage(state, pins)?;
    put_in_place(state)
}

/// Puts the new pins in the place of the old ones. They must be there.
fn put_in_place(state: &State) -> io::Result<()> {
    state.rename(NEXT, PINS)?;
    state.sync()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The worker would name messages by pins that are not on disk.
    #[test]
    fn p5_new_pins_that_disappeared_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::new(directory.path());
        stage(&state, &Pins::default()).unwrap();
        put_in_place(&state).unwrap();
        let error = put_in_place(&state).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
