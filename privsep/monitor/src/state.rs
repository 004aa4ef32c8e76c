//! Users' state directories: made here, since only the monitor may write beside them; theirs from then on.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, fchownat};
use popward_proto::bounded::UserName;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The directory of all users' state directories.
#[derive(Debug)]
pub(crate) struct StateRoot {
    directory: OwnedFd,
    path: PathBuf,
}

/// Why a user has no state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateError {
    /// It could not be made or looked at.
    System(Errno),
    /// Something of that name is there and is no directory of this user's.
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

/// The name of the directory in which popward-adopt works.
fn draft(user: &UserName) -> String {
    format!(".adopting.{user}")
}

impl StateRoot {
    /// Opens `path`, and makes it first where it is missing.
    pub(crate) fn open(path: &Path) -> nix::Result<Self> {
        let others_pass = Mode::from_bits_truncate(0o711);
        match nix::unistd::mkdir(path, others_pass) {
            // The umask may have taken what workers need to reach what is theirs.
            Ok(()) => nix::sys::stat::fchmodat(
                nix::fcntl::AT_FDCWD,
                path,
                others_pass,
                nix::sys::stat::FchmodatFlags::FollowSymlink,
            )?,
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self {
            directory: open(path, flags, Mode::empty())?,
            path: path.to_owned(),
        })
    }

    /// Whether `user` has a state directory. This process cannot look into it.
    pub(crate) fn has(&self, user: &UserName) -> bool {
        let found = fstatat(&self.directory, user.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        found != Err(Errno::ENOENT)
    }

    /// The state directory of `user`, made if it is missing.
    pub(crate) fn of(&self, user: &UserName, uid: u32, gid: u32) -> Result<PathBuf, StateError> {
        self.named(user.as_str(), uid, gid)
    }

    /// The directory in which popward-adopt makes the state of `user`. Until it is done, the user has no state directory,
    /// so that an adoption which failed is tried again.
    pub(crate) fn draft_of(
        &self,
        user: &UserName,
        uid: u32,
        gid: u32,
    ) -> Result<PathBuf, StateError> {
        self.named(&draft(user), uid, gid)
    }

    /// Makes the draft the state directory of `user`, on disk: what the client is told next must hold after a power cut.
    pub(crate) fn keep_draft_of(&self, user: &UserName) -> Result<(), StateError> {
        let (from, to) = (draft(user), user.as_str());
        renameat(&self.directory, from.as_str(), &self.directory, to)
            .and_then(|()| nix::unistd::fsync(&self.directory))
            .map_err(StateError::System)
    }

    fn named(&self, name: &str, uid: u32, gid: u32) -> Result<PathBuf, StateError> {
        let look = || fstatat(&self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        // Looked for first: making one that is there takes the directory's lock from everybody else.
        let found = match look() {
            Err(Errno::ENOENT) => {
                mkdirat(&self.directory, name, Mode::S_IRWXU).and_then(|()| look())
            }
            found => found,
        };
        let mut status = found.map_err(StateError::System)?;
        // Just made, or made before a crash and not yet given away: nobody but root makes anything here.
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
