//! Removes the dotlock of a worker that has ended, if all spools lie in one directory, which is
//! root's. In any other directory a process of the user does it, because such a directory can hang.
//!
//! Sessions takes on the user's id and the group of the directory for these calls, so it never
//! uses root's rights on files. It removes the lock only if the lock is still the file that the
//! worker made.

use crate::as_user::AsUser;
use crate::workers::Session;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use popward_proto::bounded::{AbsolutePath, UserName};
use popward_proto::sessions_worker::{dotlock_draft_name, dotlock_name};
use popward_sys::dotlock;

/// Removes the dotlock of the session's worker `pid`, and the lock's draft, if they are still
/// `file`, by device and inode.
///
/// # Errors
///
/// `EPERM` if the process cannot take on the ids, or the error of the call that failed.
pub(crate) fn remove(session: &Session, pid: u32, file: (u64, u64)) -> Result<(), Errno> {
    let _user = AsUser::enter(session.account.uid, session.lock_gid)?;
    remove_from(&session.place, pid, file)
}

fn remove_from(
    (directory, spool): &(AbsolutePath, UserName),
    pid: u32,
    file: (u64, u64),
) -> Result<(), Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(directory.as_path(), flags, Mode::empty())?;
    let names = [dotlock_draft_name(spool, pid), dotlock_name(spool)];
    dotlock::remove(&directory, names.each_ref().map(String::as_str), file)
}

#[cfg(test)]
mod tests;
