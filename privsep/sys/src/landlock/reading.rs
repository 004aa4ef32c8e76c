//! Every file to read, and none to change: for the process that reads the configuration.

use super::{LandlockError, READING, enforce, ruleset};
use landlock::{PathBeneath, RulesetCreatedAttr};
use std::fs::File;
use std::io::ErrorKind;

/// Forbids this process, for good, all that [`super::restrict`] forbids, but that it may read every file.
pub fn restrict_to_reading() -> Result<(), LandlockError> {
    let root = File::open("/").map_err(|_| LandlockError::Unproven)?;
    enforce(ruleset()?.add_rule(PathBeneath::new(root, READING))?)?;
    // What must fail: everybody may write there.
    match File::options().write(true).open("/dev/null") {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        _ => Err(LandlockError::Unproven),
    }
}
