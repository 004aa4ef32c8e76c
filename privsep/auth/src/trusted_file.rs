//! Files that decide who may log in: only root may be able to write them. Auth's own user may not,
//! because whoever broke into auth could then add a user for the time after.
//!
//! If popward was not started by root, all its processes run as one user. That user may write them.

use nix::sys::socket::{getsockopt, sockopt};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

/// The user that the monitor runs as: root, or the only user of all processes. In tests this is the
/// user that runs them.
static MONITOR: OnceLock<u32> = OnceLock::new();

/// Learns from the channel to the monitor as whom the monitor runs. The monitor made the channel.
pub(crate) fn trust_maker_of(channel: &impl AsFd) -> nix::Result<()> {
    let maker = getsockopt(channel, sockopt::PeerCredentials)?;
    MONITOR.get_or_init(|| maker.uid());
    Ok(())
}

/// Opens such a file for reading.
///
/// Owner and mode are those of the opened file. Another file that takes its place in the path a
/// moment later does not matter.
///
/// # Errors
///
/// A text for the operator: the file cannot be read, is not a regular file, belongs to another
/// user than root and the monitor's, or its group or others can write it.
pub(crate) fn open(path: &Path) -> Result<File, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let status = file.metadata().map_err(|error| error.to_string())?;
    let own = || nix::unistd::geteuid().as_raw();
    let monitor = *MONITOR.get_or_init(own);
    if !status.is_file() || status.mode() & 0o022 != 0 || ![0, monitor].contains(&status.uid()) {
        return Err("expected a file of root's that others cannot write".to_owned());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_that_others_own_or_can_write_is_refused() {
        let held = tempfile::NamedTempFile::new().unwrap();
        assert!(open(held.path()).is_ok());
        for mode in [0o620, 0o602] {
            std::fs::set_permissions(held.path(), PermissionsExt::from_mode(mode)).unwrap();
            let error = open(held.path()).unwrap_err();
            assert!(error.contains("others cannot write"), "{error}");
        }
        assert!(open(held.path().parent().unwrap()).is_err(), "a directory");
        let none = held.path().with_extension("none");
        assert!(open(&none).unwrap_err().contains("No such file"));
        if nix::unistd::geteuid().is_root() {
            std::fs::set_permissions(held.path(), PermissionsExt::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(held.path(), Some(64102), None).unwrap();
            assert!(open(held.path()).is_err(), "another user's");
        }
    }
}
