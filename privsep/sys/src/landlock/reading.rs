//! Restricts processes that may read every file: popward-config changes none, PAM's modules change
//! only what is in a list, and an operator's program may change what its user may.

use super::{
    Forbidden, NotConfined, OPEN, READ_DIRECTORY, READ_FILE, REGULAR_FILES, Rights, TRUNCATE,
    WRITE_FILE, enforce, known,
};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;

const EXECUTE: Rights = 1;
const MAKE_BLOCK_DEVICE: Rights = 1 << 11;
const MOVE: Rights = 1 << 13;
const DEVICE_CONTROLS: Rights = 1 << 15;

/// As [`super::restrict`], but every file may be read, and none may be written.
pub fn restrict_to_reading() -> Result<(), NotConfined> {
    let root = File::open("/").map_err(|_| NotConfined::Unproven(OPEN))?;
    enforce(known()?, &[(root.as_fd(), READ_FILE | READ_DIRECTORY)])?;
    // The proof: everybody may write to this file, so only Landlock can forbid it.
    prove("/dev/null")
}

/// Restricts files only, for a process that runs other programs: every file may be read and
/// executed, and none may be written, made or removed, except `files` and what is beneath
/// `directories`. Paths that are missing are left out.
///
/// Sockets and signals are as free as before, because modules for LDAP or SSSD need sockets.
pub fn restrict_writing(files: &[&str], directories: &[&str]) -> Result<(), NotConfined> {
    let read = READ_FILE | READ_DIRECTORY | EXECUTE | DEVICE_CONTROLS;
    let write_file = WRITE_FILE | TRUNCATE;
    let root = File::open("/").map_err(|_| NotConfined::Unproven(OPEN))?;
    let each = |paths: &[&str], rights: Rights| -> Vec<(File, Rights)> {
        let paths = paths.iter().filter_map(|path| open_path(Path::new(path)));
        paths.map(|file| (file, rights)).collect()
    };
    let mut rules = vec![(root, read)];
    rules.extend(each(files, write_file));
    rules.extend(each(directories, REGULAR_FILES));
    let rules: Vec<_> = rules
        .iter()
        .map(|(file, rights)| (file.as_fd(), *rights))
        .collect();
    let files = Forbidden {
        ports: 0,
        scopes: 0,
        ..known()?
    };
    enforce(files, &rules)?;
    // Everybody may write to this file, so only Landlock can forbid it.
    prove("/dev/zero")
}

/// Keeps this process, and all that it starts, away from the memory and the descriptors of other
/// processes of its user, and restricts no file. A restricted process can trace only processes that
/// have its restrictions too.
///
/// Landlock must forbid something. Making a block device takes a capability in any case. Moving
/// files between directories is forbidden unless a rule permits it. The first version of Landlock
/// has no such rule.
pub fn restrict_tracing() -> Result<(), NotConfined> {
    let root = open_path(Path::new("/")).ok_or(NotConfined::Unproven(OPEN))?;
    let forbidden = Forbidden {
        files: known()?.files & (MAKE_BLOCK_DEVICE | MOVE),
        ports: 0,
        scopes: 0,
    };
    let permitted = [(root.as_fd(), MOVE)];
    let has_rule = forbidden.files & MOVE != 0;
    enforce(forbidden, if has_rule { &permitted } else { &[] })
}

/// Opens a path without any right to its contents.
fn open_path(path: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    let options = options.read(true).custom_flags(nix::libc::O_PATH);
    options.open(path).ok()
}

/// Proves that `path` cannot be opened for writing.
fn prove(path: &str) -> Result<(), NotConfined> {
    match File::options().write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        _ => Err(NotConfined::Unproven(OPEN)),
    }
}
