//! The capabilities of this process (capabilities(7)): reads its sets, and gives capabilities up.

use nix::errno::Errno;
use nix::libc::{self, c_int, c_ulong};

/// A set of capabilities. Bit `n` is the capability with number `n` in linux/capability.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// No capability.
    pub const NONE: Self = Self(0);
    /// Changes the owners of files.
    pub const CHOWN: Self = Self(1 << 0);
    /// Signals processes of other users.
    pub const KILL: Self = Self(1 << 5);
    /// Takes any groups.
    pub const SETGID: Self = Self(1 << 6);
    /// Takes any user ids.
    pub const SETUID: Self = Self(1 << 7);
    /// Removes capabilities from the bounding set.
    pub(crate) const SETPCAP: Self = Self(1 << 8);
    /// Changes the root directory.
    pub const SYS_CHROOT: Self = Self(1 << 18);

    /// The capabilities of both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

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

/// `PR_CAP_AMBIENT_CLEAR_ALL` of linux/prctl.h.
const AMBIENT_CLEAR_ALL: c_ulong = 4;

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

/// Gives up every capability except those of `keep`, in all sets. The process cannot get them back.
/// The bounding set shrinks too if this process may change it.
pub(crate) fn give_up_except(keep: Capabilities) -> nix::Result<()> {
    let held = Sets::read()?;
    if Capabilities::SETPCAP.is_within(held.effective) {
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
    }
    prctl(libc::PR_CAP_AMBIENT, AMBIENT_CLEAR_ALL)?;
    let kept = held.permitted.0 & keep.0;
    let halves = [(kept & 0xffff_ffff) as u32, (kept >> 32) as u32];
    // Effective, permitted, inheritable.
    let words = halves.map(|half| [half, half, 0]);
    let mut header = HEADER;
    // SAFETY: the kernel reads the header and six words. Both live until the call returns.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) })?;
    Ok(())
}

fn prctl(option: c_int, argument: c_ulong) -> nix::Result<c_int> {
    // SAFETY: the options that this file uses take numbers, and touch no memory of the process.
    Errno::result(unsafe { libc::prctl(option, argument, 0, 0, 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The capability sets of this thread, as the kernel shows them: bounding, permitted,
    /// effective, inheritable, ambient.
    fn shown() -> [u64; 5] {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"].map(|name| {
            let mut lines = status.lines();
            let set = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            u64::from_str_radix(set.unwrap(), 16).unwrap()
        })
    }

    /// The kernel has these sets for each thread. So the test gives up those of a thread of its
    /// own.
    #[test]
    fn p10_what_is_given_up_is_in_no_set_any_more() {
        let before = shown();
        let keep = Capabilities::KILL.with(Capabilities::SYS_CHROOT);
        let give_up = move || {
            give_up_except(keep).unwrap();
            let sets = Sets::read().unwrap();
            assert!(sets.permitted.is_within(keep));
            let seen = [sets.permitted.0, sets.effective.0, sets.inheritable.0];
            assert_eq!(seen, shown()[1..4]);
            let some = shown();
            give_up_except(Capabilities::NONE).unwrap();
            (some, shown())
        };
        let (some, none) = std::thread::spawn(give_up).join().unwrap();
        let kept = before[1] & keep.0;
        assert_eq!(some[1..], [kept, kept, 0, 0]);
        assert_eq!(none[1..], [0; 4]);
        // Only a process with CAP_SETPCAP can shrink its bounding set.
        let may_shrink = before[2] & Capabilities::SETPCAP.0 != 0;
        let bounding = if may_shrink { keep.0 } else { u64::MAX };
        assert_eq!(some[0], before[0] & bounding);
        assert_eq!(shown(), before, "another thread");
    }
}
