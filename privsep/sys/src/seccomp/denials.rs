//! The system calls that no process of a server makes, and that have been a way out of other
//! programs' walls: tracing, namespaces, mounts, kernel modules, `io_uring` and the like.
//!
//! Each of these calls fails with `EPERM`. All processes inherit the list, also PAM's modules and
//! an operator's programs, and cannot remove it. Their other calls are not known, so they have no
//! table.

use super::{ALLOW, Rule, allow_without, compile, give, install_program, jump, same};
use crate::confine::NotConfined;
use crate::keyring;
use crate::seccomp::allow_if;
use nix::errno::Errno;
use nix::libc::{self, c_int, sock_filter};

impl Rule {
    /// Permits the call only if the argument with this number (from 0), a pointer, is null, too.
    ///
    /// # Panics
    ///
    /// The rule has too many conditions already: this adds two.
    #[must_use]
    pub const fn and_null(self, argument: u8) -> Self {
        self.and_if(argument, &[0])
            .and(2 * argument + 1, u32::MAX, &[0])
    }
}

/// The calls that fail.
const DENIED: &[i64] = &[
    // Other processes: their memory, their registers, their descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_perf_event_open,
    // Namespaces. `clone` is permitted without their flags: see the exceptions.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_clone,
    // Mounts.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    // Files by their inode, past all directories.
    libc::SYS_open_by_handle_at,
    // Parts of the kernel with a long list of holes.
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_fanotify_init,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    libc::SYS_personality,
    // The machine: another kernel, its modules, its ports, its clock, its name, its log.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
];

/// New processes and threads, but no new namespaces.
const PROCESSES: Rule = allow_without(libc::SYS_clone, 0, NAMESPACES as u64);

/// The flags of `clone` that make a namespace. The flag for time namespaces is only in `clone3`.
const NAMESPACES: c_int = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;

/// What a process may do that starts the server's other processes: give each an empty keyring of
/// its own. Without a name the call joins no existing keyring.
pub const OF_PARENTS: &[Rule] = &[
    PROCESSES,
    allow_if(libc::SYS_keyctl, 0, &[keyring::JOIN_SESSION_KEYRING as u64]).and_null(1),
];

/// What may be done by a process that starts none of the server's own.
pub const OF_OTHERS: &[Rule] = &[PROCESSES];

/// Makes the calls of the list fail in all threads of this process, and in all processes that it
/// starts, except those that `exceptions` permits. 32-bit programs are killed, because their calls
/// have other numbers.
///
/// # Errors
///
/// The kernel refused the filter: it takes one only with `no_new_privs` or `CAP_SYS_ADMIN`.
pub fn install(exceptions: &[Rule]) -> Result<(), NotConfined> {
    install_program(program(exceptions))
}

fn program(exceptions: &[Rule]) -> Vec<sock_filter> {
    let fail = |errno: Errno| {
        let data = u32::try_from(errno as c_int).unwrap_or(0);
        give(libc::SECCOMP_RET_ERRNO | data)
    };
    let mut rest = Vec::new();
    // The kernel shows a process in the x32 mode as one of this machine. Its calls have other
    // numbers.
    #[cfg(target_arch = "x86_64")]
    rest.extend([jump(libc::BPF_JGE, X32, [0, 1]), fail(Errno::ENOSYS)]);
    // Its flags lie in memory, where a filter cannot read them. After this error the C libraries
    // use `clone`.
    let clone3 = u32::try_from(libc::SYS_clone3).unwrap_or(u32::MAX);
    rest.extend([same(clone3, [0, 1]), fail(Errno::ENOSYS)]);
    for call in DENIED {
        // Every call's number fits.
        let call = u32::try_from(*call).unwrap_or(u32::MAX);
        rest.extend([same(call, [0, 1]), fail(Errno::EPERM)]);
    }
    rest.push(ALLOW);
    compile(&[exceptions], &[], &rest)
}

/// `__X32_SYSCALL_BIT`.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

#[cfg(test)]
mod tests;
