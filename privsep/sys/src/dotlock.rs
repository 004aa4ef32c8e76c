//! Removes the dotlock of a worker that has ended.

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::OwnedFd;

/// Removes the files with these names in `directory`, if they are the file that the worker made:
/// `made`, by device and inode.
///
/// # Errors
///
/// The error of the call that failed. A file that is not there is no error.
pub fn remove(directory: &OwnedFd, names: [&str; 2], made: (u64, u64)) -> Result<(), Errno> {
    for name in names {
        let found = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let removed = found.and_then(|found| match (found.st_dev, found.st_ino) {
            file if file == made => unlinkat(directory, name, UnlinkatFlags::NoRemoveDir),
            _ => Ok(()),
        });
        if removed.is_err_and(|errno| errno != Errno::ENOENT) {
            return removed;
        }
    }
    Ok(())
}
