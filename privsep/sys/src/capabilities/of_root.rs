//! The capabilities that root's processes keep, and the bounding set, which only they can change.

use super::{Capabilities, Errno, Sets, libc, prctl};

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
    if !Capabilities::SETPCAP.is_within(Sets::read()?.effective) {
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
