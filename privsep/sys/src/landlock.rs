//! Landlock: limits the files that a process can open to some directories, whatever its user may open.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};
use std::os::fd::BorrowedFd;

#[cfg(feature = "server")]
pub mod reading;

/// Why a process is not restricted.
#[derive(Debug)]
pub enum LandlockError {
    /// The kernel refused the ruleset, or a required part of it.
    Ruleset(landlock::RulesetError),
    /// The kernel has no Landlock, or Landlock is off.
    Missing,
    /// The restriction is on, but a forbidden file could still be opened.
    Unproven,
}

impl std::fmt::Display for LandlockError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ruleset(error) => write!(out, "Landlock: {error}"),
            Self::Missing => out.write_str("the kernel has no Landlock (Linux 5.13, lsm=landlock)"),
            Self::Unproven => {
                out.write_str("Landlock is on, and what it forbids can still be opened")
            }
        }
    }
}

impl std::error::Error for LandlockError {}

impl From<landlock::RulesetError> for LandlockError {
    fn from(error: landlock::RulesetError) -> Self {
        Self::Ruleset(error)
    }
}

/// Restricts this process. It cannot undo that. Forbidden are:
///
/// - every file, except beneath `directories`, where files may be read, written, made, renamed and
///   removed,
/// - every TCP port,
/// - signals to other processes, and their abstract sockets.
///
/// A kernel enforces what its Landlock knows: files from 5.13 on, truncation from 6.2, TCP from 6.7,
/// signals and abstract sockets from 6.12. Files are required. The rest is a second wall behind the
/// system call filter.
///
/// # Errors
///
/// The kernel cannot restrict files, or the proof failed. The process must not go on then.
pub fn restrict(directories: &[BorrowedFd<'_>]) -> Result<(), LandlockError> {
    restrict_to(directories, &[])
}

/// As [`restrict`], but files beneath `readable` may be read too.
pub fn restrict_to(
    directories: &[BorrowedFd<'_>],
    readable: &[BorrowedFd<'_>],
) -> Result<(), LandlockError> {
    let within: BitFlags<AccessFs> = AccessFs::ReadFile
        | AccessFs::WriteFile
        | AccessFs::ReadDir
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::Truncate;
    let mut ruleset = ruleset()?;
    for directory in directories {
        ruleset = ruleset.add_rule(PathBeneath::new(*directory, within))?;
    }
    for directory in readable {
        ruleset = ruleset.add_rule(PathBeneath::new(*directory, READING))?;
    }
    enforce(ruleset)?;
    prove()
}

const READING: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// A ruleset that forbids everything that no rule permits.
fn ruleset() -> Result<RulesetCreated, LandlockError> {
    let known = ABI::V6;
    Ok(Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(known))?
        .handle_access(AccessNet::from_all(known))?
        .scope(Scope::from_all(known))?
        .create()?)
}

fn enforce(ruleset: RulesetCreated) -> Result<(), LandlockError> {
    match ruleset.restrict_self()?.ruleset {
        RulesetStatus::NotEnforced => Err(LandlockError::Missing),
        _ => Ok(()),
    }
}

/// Opens the root directory, which must fail. A process with an empty root directory opens that one.
fn prove() -> Result<(), LandlockError> {
    match std::fs::read_dir("/") {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        _ => Err(LandlockError::Unproven),
    }
}
