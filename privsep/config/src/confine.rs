//! Gives up the rights that popward-config does not need.

use crate::names::{self, Names};
use crate::{pair, syscalls};
use popward_sys::server::{self, Root};
use popward_sys::{channel, landlock, seccomp};
use std::error::Error;

/// Gives up every right but reading, and proves it. Before that it starts the process that looks up
/// names, because the filter forbids starting a process. Returns the channel to that process.
/// `prints` is whether this process may write to its standard output and standard error.
pub(crate) fn confine(prints: bool) -> Result<Names, Box<dyn Error>> {
    server::end_after(names::LIFE_S);
    let names = names::start()?;
    // This process keeps its hard limit on open files. The kernel compares a sender's limit with the
    // number of descriptors that all processes of its user have sent and nobody has read. Under a
    // small limit this process could send none while another program of root's leaves some unread.
    server::drop_privileges(u64::MAX, Root::Host)?;
    // A look-up that hangs would keep this process alive after the supervisor's death.
    server::end_with_parent()?;
    landlock::reading::restrict_to_reading()?;
    // The first use of the random generator looks for a device file. The filter forbids the call
    // for that, so the first use comes before the filter.
    let mut random = [0; 32];
    pair::provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_| "no randomness")?;
    let printing = if prints { syscalls::PRINTING } else { &[] };
    seccomp::install(&[seccomp::RUNTIME, channel::CALLS, syscalls::TABLE, printing])?;
    Ok(names)
}
