//! Removes the dotlock of a worker that has ended.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// Removes the files with these names in `directory`, if they are what worker `pid` made: the file
/// `made`, by device and inode, with a text that names no other process.
///
/// # Errors
///
/// The error of the call that failed. A file that is not there is no error.
pub fn remove(
    directory: &OwnedFd,
    names: [&str; 2],
    pid: u32,
    made: (u64, u64),
) -> Result<(), Errno> {
    for name in names {
        match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found)
                if (found.st_dev, found.st_ino) == made && !names_another(directory, name, pid) =>
            {
                unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
            }
            Ok(_) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Whether a dotlock's text names another process. A new file often gets the inode of one that was
/// just removed. So the user's next worker, which has removed the lock of the dead one, may have a
/// lock with the same inode. On a full disk a lock has no text, and only its inode counts.
fn names_another(directory: &OwnedFd, name: &str, pid: u32) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut text = String::new();
    let file = openat(directory, name, flags, Mode::empty());
    let read = file.map(|file| File::from(file).take(16).read_to_string(&mut text));
    let owner = text.split(':').next().map(str::parse::<u32>);
    matches!((read, owner), (Ok(Ok(_)), Some(Ok(owner))) if owner != pid)
}
