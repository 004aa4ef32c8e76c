//! Access to files with the rights of another user. So sessions never uses root's rights on what
//! lies in users' directories.

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

/// While a value of this type lives, the process accesses files with the rights of another user.
/// Its fields are the ids from before.
#[derive(Debug)]
pub(crate) struct AsUser(Uid, Gid);

impl AsUser {
    /// Takes the ids.
    ///
    /// # Errors
    ///
    /// `EPERM` if the process may not.
    pub(crate) fn enter(uid: u32, gid: u32) -> Result<Self, Errno> {
        let before_gid = setfsgid(Gid::from_raw(gid));
        let entered = Self(setfsuid(Uid::from_raw(uid)), before_gid);
        // The two calls report no error, they return the id from before. So a second call shows
        // whether the first one worked.
        let is_group = setfsgid(Gid::from_raw(gid)).as_raw() == gid;
        let is_user = setfsuid(Uid::from_raw(uid)).as_raw() == uid;
        if is_group && is_user {
            Ok(entered)
        } else {
            Err(Errno::EPERM)
        }
    }
}

impl Drop for AsUser {
    fn drop(&mut self) {
        setfsuid(self.0);
        setfsgid(self.1);
    }
}
