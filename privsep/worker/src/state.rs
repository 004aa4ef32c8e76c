//! The user's state directory: all that a worker can open once it is confined.
//!
//! Its owner can put there what they like. A worker must not follow a link of theirs, nor wait for the other end of a
//! pipe with the locks in its hands.

use crate::naming::{NEXT, PINS};
use popward_sys::libc;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A state directory.
#[derive(Debug, Clone)]
pub struct State(PathBuf);

impl State {
    /// The one at `path`.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where a file of it is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Opens a regular file. `None`: there is none.
    pub fn open(&self, name: &str) -> io::Result<Option<File>> {
        match self.regular(name, File::options().read(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(Some),
        }
    }

    /// Makes a file, empty, in the place of one that is there.
    pub fn create(&self, name: &str) -> io::Result<File> {
        let options = &mut File::options();
        self.regular(name, options.write(true).create(true).truncate(true))
    }

    /// Opens a file to read and write it as it is; makes it, empty, if there is none.
    pub fn open_to_write(&self, name: &str) -> io::Result<File> {
        let options = &mut File::options();
        self.regular(name, options.read(true).write(true).create(true))
    }

    fn regular(&self, name: &str, options: &mut OpenOptions) -> io::Result<File> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = options.custom_flags(flags).open(self.path(name))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(file)
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Gives a file another's name, and takes that one's place.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    /// The update is done: its pins take the place of the old ones, on disk. Without new pins the old ones stay.
    pub fn finish(&self) -> io::Result<()> {
        match self.rename(NEXT, PINS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.and_then(|()| self.sync()),
        }
    }

    /// The update did not happen: removes its pins.
    pub fn forget(&self) -> io::Result<()> {
        self.remove(NEXT)
    }

    /// Forgets what this host knows of the directory, where that is on another.
    pub fn look_again(&self) -> io::Result<()> {
        File::open(&self.0).map(drop)
    }

    /// Has the names of its files on disk.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}
