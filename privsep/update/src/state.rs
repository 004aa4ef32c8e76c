//! The user can put anything into this directory. A worker must not follow a link out of it. It
//! must not wait for the other end of a pipe while it holds the locks.

use popward_sys::libc;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The index's name.
pub const INDEX: &str = "index";
/// The pins' name.
pub const PINS: &str = "pins";
/// The name of the pins that hold once the update is done.
pub(crate) const NEXT: &str = "pins.new";

/// A state directory.
#[derive(Debug, Clone)]
pub struct State(PathBuf);

impl State {
    /// The state directory at `path`.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The path of the file `name` in this directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Opens a regular file. `None`: there is no file of this name.
    pub fn open(&self, name: &str) -> io::Result<Option<File>> {
        match self.regular(name, File::options().read(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(Some),
        }
    }

    /// Makes an empty file, or empties the file that is there.
    pub fn create(&self, name: &str) -> io::Result<File> {
        let options = &mut File::options();
        self.regular(name, options.write(true).create(true).truncate(true))
    }

    /// Opens a file for reading and writing as it is. If there is none, makes an empty one.
    pub(crate) fn open_to_write(&self, name: &str) -> io::Result<File> {
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

    /// Renames a file. It replaces a file that has the new name.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    /// Puts the new pins in the place of the old ones, because the update is done. They are on disk
    /// when this returns. Without new pins the old ones stay.
    pub(crate) fn finish(&self) -> io::Result<()> {
        match self.rename(NEXT, PINS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.and_then(|()| self.sync()),
        }
    }

    /// Makes an NFS client look at the directory again. Without this, it may not see files that
    /// another host made.
    pub(crate) fn look_again(&self) -> io::Result<()> {
        File::open(&self.0).map(drop)
    }

    /// Waits until the names in this directory are on disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}
