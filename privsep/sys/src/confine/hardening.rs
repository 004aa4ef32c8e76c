//! How a process that starts no other gives up new privileges, and its proof.

use super::{Identity, NotConfined, attempt, forbid_dumps, prove_ids, prove_that};
use crate::capabilities::Capabilities;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Forbids core dumps, tracing by other processes of the same user, and new privileges by exec.
/// Limits the process to `files` open descriptors, or to fewer if its hard limit is lower.
pub fn harden(files: u64) -> Result<(), NotConfined> {
    // Only a process with CAP_SYS_RESOURCE could raise the hard limit.
    let limit = "limit on open files";
    let (_, hard) = attempt(limit, getrlimit(Resource::RLIMIT_NOFILE))?;
    let files = files.min(hard);
    attempt(limit, setrlimit(Resource::RLIMIT_NOFILE, files, files))?;
    forbid_dumps()?;
    attempt("no new privileges", nix::sys::prctl::set_no_new_privs())
}

/// Proves that this process has the ids of `identity`, at most the supplementary groups `groups`
/// and at most the capabilities `keep`, that it cannot gain others, and that it cannot be dumped.
pub fn prove(identity: &Identity, groups: &[u32], keep: Capabilities) -> Result<(), NotConfined> {
    prove_ids(identity, groups, keep)?;
    let privileges = attempt("read no_new_privs", nix::sys::prctl::get_no_new_privs())?;
    prove_that(privileges, "no_new_privs")?;
    let dumpable = attempt("read dumpable", nix::sys::prctl::get_dumpable())?;
    prove_that(!dumpable, "dumpable")
}
