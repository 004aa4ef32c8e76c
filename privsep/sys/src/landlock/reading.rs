//! Restricts the process that reads the configuration: it may read every file and change none.

use super::{LandlockError, READ_DIRECTORY, READ_FILE, enforce};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;

/// As [`super::restrict`], but every file may be read, and none may be written.
pub fn restrict_to_reading() -> Result<(), LandlockError> {
    let root = File::open("/").map_err(|_| LandlockError::Unproven)?;
    enforce(&[root.as_fd()], READ_FILE | READ_DIRECTORY)?;
    // The proof: everybody may write to this file, so only Landlock can forbid it.
    match File::options().write(true).open("/dev/null") {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        _ => Err(LandlockError::Unproven),
    }
}
