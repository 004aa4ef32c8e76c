//! Restricts the process that reads the configuration: it may read every file and change none.

use super::{LandlockError, READING, enforce, ruleset};
use landlock::{PathBeneath, RulesetCreatedAttr};
use std::fs::File;
use std::io::ErrorKind;

/// As [`super::restrict`], but every file may be read.
pub fn restrict_to_reading() -> Result<(), LandlockError> {
    let root = File::open("/").map_err(|_| LandlockError::Unproven)?;
    enforce(ruleset()?.add_rule(PathBeneath::new(root, READING))?)?;
    // The proof: everybody may write to this file, so only Landlock can forbid it.
    match File::options().write(true).open("/dev/null") {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        _ => Err(LandlockError::Unproven),
    }
}
