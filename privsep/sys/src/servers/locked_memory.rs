//! Memory that does not go to swap, because it holds secrets.

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The `RLIMIT_MEMLOCK` of a process that locks its memory, in bytes. The processes that hold
/// secrets are much smaller. A process that reached the limit would get no more memory.
const LIMIT: u64 = 64 << 20;

/// Sets the limit on locked memory for this process and all that it starts. Without
/// `CAP_SYS_RESOURCE` this fails unless the limit is as high already, and the limit stays as it is.
pub fn permit() {
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, LIMIT, LIMIT);
}

/// Keeps all memory of this process out of swap from now on. Returns false if the limit on locked
/// memory is too low for that.
///
/// # Errors
///
/// A system call failed.
pub fn lock() -> nix::Result<bool> {
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    if limit < LIMIT {
        return Ok(false);
    }
    // A page is locked when it is first used. A page that is never used takes no memory.
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: the call takes a number. It changes no contents of memory.
    match Errno::result(unsafe { libc::mlockall(flags) }) {
        Ok(_) => Ok(true),
        // The process is larger than the limit.
        Err(Errno::ENOMEM) => Ok(false),
        Err(errno) => Err(errno),
    }
}
