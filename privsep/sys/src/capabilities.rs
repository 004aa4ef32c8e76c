//! The capabilities of this process (capabilities(7)): reads its sets. Only
//! processes that may have some give them up.

#[cfg(feature = "server")]
pub(crate) mod of_root;

use nix::errno::Errno;
use nix::libc::{self, c_int};

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

/// The sets of this process that capget(2) shows. The ambient set is a part of the permitted and of
/// the inheritable set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sets {
    pub(crate) effective: Capabilities,
    pub(crate) permitted: Capabilities,
    pub(crate) inheritable: Capabilities,
}

/// The first argument of capget(2) and capset(2).
#[repr(C)]
struct Header {
    version: u32,
    /// 0: this process.
    pid: c_int,
}

/// `_LINUX_CAPABILITY_VERSION_3`, of this process.
const HEADER: Header = Header {
    version: 0x2008_0522,
    pid: 0,
};

impl Sets {
    /// The sets as they are now.
    pub(crate) fn read() -> nix::Result<Self> {
        let mut header = HEADER;
        // The lower halves of the effective, permitted and inheritable set, then the upper halves.
        let mut words = [0_u32; 6];
        // SAFETY: the kernel reads and writes the header, and fills these six words. Both live
        // until the call returns.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr())
        })?;
        let set = |at: usize| Capabilities(u64::from(words[at]) | u64::from(words[at + 3]) << 32);
        Ok(Self {
            effective: set(0),
            permitted: set(1),
            inheritable: set(2),
        })
    }
}

#[cfg(test)]
mod tests;
