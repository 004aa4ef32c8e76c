//! The capabilities that root's processes keep, how a process gives up the others, and the bounding
//! set, which only root's processes can change.

use super::{Capabilities, Errno, HEADER, held, libc};
use crate::confine::{NotConfined, attempt};
use nix::libc::{c_int, c_ulong};

/// `PR_CAP_AMBIENT_CLEAR_ALL` of linux/prctl.h.
const AMBIENT_CLEAR_ALL: c_ulong = 4;

impl Capabilities {
    /// Changes the owners of files.
    pub const CHOWN: Self = Self(1 << 0);
    /// Signals processes of other users.
    pub const KILL: Self = Self(1 << 5);
    /// Takes any groups.
    pub const SETGID: Self = Self(1 << 6);
    /// Takes any user ids.
    pub const SETUID: Self = Self(1 << 7);
    /// Removes capabilities from the bounding set.
    pub(super) const SETPCAP: Self = Self(1 << 8);
    /// Changes the root directory.
    pub const SYS_CHROOT: Self = Self(1 << 18);

    /// The capabilities of both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Removes every capability except those of `keep` from the bounding set, if this process may.
pub(crate) fn shrink(keep: Capabilities) -> nix::Result<()> {
    let [effective, _, _] = held()?;
    if !Capabilities::SETPCAP.is_within(effective) {
        return Ok(());
    }
    for number in 0..u64::BITS.into() {
        match prctl(libc::PR_CAPBSET_READ, number) {
            Ok(1) if keep.0 & 1 << number == 0 => {
                prctl(libc::PR_CAPBSET_DROP, number)?;
            }
            Ok(_) => {}
            // The kernel has no capability with this number.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Gives up every capability except those of `keep`, in all sets. The process cannot get them back.
pub(crate) fn give_up_except(keep: Capabilities) -> nix::Result<()> {
    let [_, permitted, _] = held()?;
    prctl(libc::PR_CAP_AMBIENT, AMBIENT_CLEAR_ALL)?;
    let kept = permitted.0 & keep.0;
    let halves = [(kept & 0xffff_ffff) as u32, (kept >> 32) as u32];
    // Effective, permitted, inheritable.
    let words = halves.map(|half| [half, half, 0]);
    let mut header = HEADER;
    // SAFETY: the kernel reads the header and six words. Both live until the call returns.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), words.as_ptr()) })?;
    Ok(())
}

fn prctl(option: c_int, argument: c_ulong) -> nix::Result<c_int> {
    // SAFETY: the options that this file uses take numbers, and touch no memory of the process.
    Errno::result(unsafe { libc::prctl(option, argument, 0, 0, 0) })
}

/// Gives up every capability except `keep`, in all sets. It cannot get them back. The bounding set
/// shrinks too if this process may change it.
pub fn drop_capabilities(keep: Capabilities) -> Result<(), NotConfined> {
    attempt("bounding set", shrink(keep))?;
    attempt("drop capabilities", give_up_except(keep))
}
