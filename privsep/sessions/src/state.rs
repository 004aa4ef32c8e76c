//! Makes the users' state directories. Sessions makes them, because only sessions may write in the
//! directory above them. Then they belong to their users.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, unlinkat};
use popward_proto::bounded::UserName;
use popward_proto::sessions_worker::ADOPTING;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The directory that contains all users' state directories.
#[derive(Debug)]
pub(crate) struct StateRoot {
    directory: OwnedFd,
    path: PathBuf,
}

/// Why a user has no state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateError {
    /// The directory could not be made or examined.
    System(Errno),
    /// The name exists, but it is not a directory that belongs to this user alone.
    Foreign,
}

impl std::fmt::Display for StateError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System(errno) => errno.fmt(out),
            Self::Foreign => out.write_str("not a directory of this user's alone (mode 0700)"),
        }
    }
}

/// The name of the empty directory. No user has a name like this.
const EMPTY: &str = ".empty";

/// Makes a directory, unless it is there.
fn make(above: impl AsFd, path: &Path, mode: Mode) -> nix::Result<()> {
    match mkdirat(&above, path, mode) {
        // The umask may have removed rights that other processes need there.
        Ok(()) => fchmodat(&above, path, mode, FchmodatFlags::FollowSymlink),
        Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Returns the name of the directory in which popward-adopt works for `user`.
fn draft(user: &UserName) -> String {
    format!("{ADOPTING}{user}")
}

impl StateRoot {
    /// Opens the directory `path`. Makes it first if it is missing.
    ///
    /// # Errors
    ///
    /// The path, and why it could not be opened or made.
    pub(crate) fn open(path: &Path) -> Result<Self, (PathBuf, Errno)> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = make(AT_FDCWD, path, Mode::from_bits_truncate(0o711))
            .and_then(|()| open(path, flags, Mode::empty()))
            .map_err(|errno| (path.to_owned(), errno))?;
        Ok(Self {
            directory,
            path: path.to_owned(),
        })
    }

    /// Opens the empty directory that becomes the root directory of some processes. Makes it first
    /// if it is missing.
    ///
    /// # Errors
    ///
    /// As [`StateRoot::open`].
    pub(crate) fn empty_directory(&self) -> Result<OwnedFd, (PathBuf, Errno)> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        make(
            &self.directory,
            Path::new(EMPTY),
            Mode::from_bits_truncate(0o555),
        )
        .and_then(|()| openat(&self.directory, EMPTY, flags, Mode::empty()))
        .map_err(|errno| (self.path.join(EMPTY), errno))
    }

    /// Whether `user` has a state directory. Sessions cannot look into it.
    pub(crate) fn has(&self, user: &UserName) -> bool {
        let found = fstatat(&self.directory, user.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        found != Err(Errno::ENOENT)
    }

    /// Returns the path of the state directory of `user`. Makes the directory if it is missing.
    pub(crate) fn of(&self, user: &UserName, uid: u32, gid: u32) -> Result<PathBuf, StateError> {
        self.named(user.as_str(), uid, gid)
    }

    /// Returns the path of the directory in which popward-adopt makes the state of `user`. Makes
    /// the directory if it is missing. The user has no state directory until popward-adopt is done,
    /// so that the next login repeats a failed adoption.
    pub(crate) fn draft_of(
        &self,
        user: &UserName,
        uid: u32,
        gid: u32,
    ) -> Result<PathBuf, StateError> {
        self.named(&draft(user), uid, gid)
    }

    /// Makes the draft the state directory of `user`, and waits until that is on disk. The client
    /// hears its UIDLs next, and these must stay the same after a power cut. If `popwardctl adopt`
    /// has made a state directory meanwhile, that one stays, and so does the draft.
    pub(crate) fn keep_draft_of(&self, user: &UserName) -> Result<(), StateError> {
        let (from, to) = (draft(user), user.as_str());
        renameat(&self.directory, from.as_str(), &self.directory, to)
            .or_else(|errno| self.has(user).then_some(()).ok_or(errno))
            .and_then(|()| nix::unistd::fsync(&self.directory))
            .map_err(StateError::System)
    }

    /// Removes the draft of `user` after popward-adopt found no spool. A draft with files that an
    /// earlier adoption left stays. The next adoption works in it.
    pub(crate) fn remove_draft_of(&self, user: &UserName) {
        let name = draft(user);
        let _ = unlinkat(&self.directory, name.as_str(), UnlinkatFlags::RemoveDir);
    }

    fn named(&self, name: &str, uid: u32, gid: u32) -> Result<PathBuf, StateError> {
        let look = || fstatat(&self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        // This looks for the directory before it makes it, because `mkdirat` on an existing name
        // would lock the parent directory and block all others.
        let found = match look() {
            Err(Errno::ENOENT) => {
                mkdirat(&self.directory, name, Mode::S_IRWXU).and_then(|()| look())
            }
            found => found,
        };
        let mut status = found.map_err(StateError::System)?;
        // If root owns the directory, sessions made it just now, or before a crash that came
        // before this `fchownat`. Only root makes directories here, so the monitor may give it to
        // the user.
        if status.st_uid != uid && status.st_uid == 0 {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
            fchownat(&self.directory, name, Some(uid), Some(gid), flags)
                .map_err(StateError::System)?;
            status = look().map_err(StateError::System)?;
        }
        let directory = status.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
        if !directory || status.st_uid != uid || status.st_mode & 0o077 != 0 {
            return Err(StateError::Foreign);
        }
        Ok(self.path.join(name))
    }
}
