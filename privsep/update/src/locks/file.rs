//! What the locks ask of a file, and the fcntl lock that they take on it.

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstatat};
use popward_sys::libc;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

/// Opens a file of `directory` to read it. Follows no link, and does not wait for the other end of a
/// pipe.
pub(super) fn open_to_read(directory: &OwnedFd, name: &str) -> nix::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    openat(directory, name, flags, Mode::empty()).map(File::from)
}

/// Whether `name` still names this file.
pub(super) fn is_at(directory: &OwnedFd, name: &str, file: &FileStat) -> bool {
    let at = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    at.is_ok_and(|at| (at.st_dev, at.st_ino) == (file.st_dev, file.st_ino))
}

/// Whether a file lies on NFS.
pub(super) fn is_on_nfs(file: impl AsFd) -> bool {
    let nfs = nix::sys::statfs::NFS_SUPER_MAGIC;
    nix::sys::statfs::fstatfs(file).is_ok_and(|system| system.filesystem_type() == nfs)
}

/// An exclusive fcntl lock of the whole file, and of everything that is appended later.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the kernel's structure has narrower fields than its constants"
)]
pub(super) const WHOLE_FILE: libc::flock = libc::flock {
    l_type: libc::F_WRLCK as libc::c_short,
    l_whence: libc::SEEK_SET as libc::c_short,
    l_start: 0,
    l_len: 0,
    l_pid: 0,
};
