//! The directory in which popward-adopt works for a user, until it becomes the user's state
//! directory.
//!
//! It has another name than the one in which sessions has popward-adopt work, so that a login at
//! the same time works in its own. The first of the two to be done gives the user the state
//! directory. The other one finds it there.

use crate::mailbox::Mailbox;
use crate::report::Directory;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, RenameFlags, open, openat, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

/// What stands before the user's name. No user has a name that begins with a dot.
const PREFIX: &str = ".adopting-by-hand.";

/// The files that popward-adopt makes.
const FILES: [&str; 2] = ["pins", "pins.new"];

/// The directory of all state directories, which no other popwardctl changes now.
pub(crate) struct StateRoot {
    path: PathBuf,
    lock: Flock<OwnedFd>,
}

impl StateRoot {
    /// Opens the directory, and makes it if it is missing.
    ///
    /// # Errors
    ///
    /// Why it cannot be used, for the operator.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        match DirBuilder::new().mode(0o711).create(path) {
            // The umask may have removed rights that the users need there.
            Ok(()) => std::fs::set_permissions(path, PermissionsExt::from_mode(0o711))
                .map_err(|error| failed(&error))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&error)),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(path, flags, Mode::empty()).map_err(|errno| failed(&errno))?;
        let lock = Flock::lock(directory, FlockArg::LockExclusiveNonblock);
        let lock = lock.map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => failed(&"another `popwardctl adopt` works there"),
            errno => failed(&errno),
        })?;
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    /// Makes the draft of a user, or takes the one that an adoption has left that was broken off.
    ///
    /// # Errors
    ///
    /// Why there is none, for the operator.
    pub(crate) fn draft(&self, mailbox: &Mailbox) -> Result<PathBuf, String> {
        let account = &mailbox.account;
        let path = self.path.join(format!("{PREFIX}{}", account.name));
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            // Only root makes names in the directory above.
            _ => lchown(&path, Some(account.uid), Some(account.gid)).map_err(failed)?,
        }
        match Directory::of(&path, account.uid) {
            Directory::There(path) => Ok(path),
            other => Err(other.obstacle().unwrap_or_default()),
        }
    }

    /// Makes the draft the user's state directory, and waits until that is on disk. Returns false
    /// if the user has one by now.
    ///
    /// # Errors
    ///
    /// A system call failed.
    pub(crate) fn keep(&self, mailbox: &Mailbox, draft: &Path) -> nix::Result<bool> {
        let to = self.path.join(mailbox.account.name.as_str());
        match renameat2(
            AT_FDCWD,
            draft,
            AT_FDCWD,
            &to,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            Ok(()) => {}
            Err(Errno::EEXIST) => {
                self.remove(draft);
                return Ok(false);
            }
            Err(errno) => return Err(errno),
        }
        nix::unistd::fsync(&*self.lock).map(|()| true)
    }

    /// Removes a draft. What cannot be removed stays, and the next adoption works in it.
    pub(crate) fn remove(&self, draft: &Path) {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let Ok(directory) = openat(&*self.lock, draft, flags, Mode::empty()) else {
            return;
        };
        let directory = File::from(directory);
        for name in FILES {
            // Most of them are not there.
            let _ = unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir);
        }
        let _ = std::fs::remove_dir(draft);
    }
}
