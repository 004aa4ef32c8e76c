//! The capabilities of this process (capabilities(7)): reads its sets. Only
//! processes that may have some give them up.

#[cfg(feature = "server")]
pub(crate) mod of_root;

use nix::errno::Errno;
use nix::libc;

/// A set of capabilities. Bit `n` is the capability with number `n` in linux/capability.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// No capability.
    pub const NONE: Self = Self(0);

    /// Whether `other` has all capabilities of this set.
    pub(crate) fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
}

/// What capget(2) and capset(2) take first: `_LINUX_CAPABILITY_VERSION_3`, and 0 for this process.
const HEADER: [u32; 2] = [0x2008_0522, 0];

/// The effective, permitted and inheritable set of this process. The ambient set is a part of the
/// last two.
pub(crate) fn held() -> nix::Result<[Capabilities; 3]> {
    let mut header = HEADER;
    // The lower halves of the three sets, then the upper halves.
    let mut words = [0_u32; 6];
    // SAFETY: the kernel reads and writes the header, and fills these six words. Both live until
    // the call returns.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_capget, header.as_mut_ptr(), words.as_mut_ptr())
    })?;
    let set = |at: usize| Capabilities(u64::from(words[at]) | u64::from(words[at + 3]) << 32);
    Ok([0, 1, 2].map(set))
}

#[cfg(test)]
mod tests;
