//! Files that say who is let in: nobody but root, or the user that this process runs as, may have written them.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Opens one to be read. It is the opened file that is looked at, whatever the path leads to a moment later.
///
/// # Errors
///
/// In words for the operator: it cannot be read, is no file, is another user's, or others can write it.
pub(crate) fn open(path: &Path) -> Result<File, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let status = file.metadata().map_err(|error| error.to_string())?;
    let own = nix::unistd::geteuid().as_raw();
    if !status.is_file() || status.mode() & 0o022 != 0 || ![0, own].contains(&status.uid()) {
        return Err("expected a file of root's or auth's that others cannot write".to_owned());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_others_have_or_can_write_is_not_read() {
        let held = tempfile::NamedTempFile::new().unwrap();
        assert!(open(held.path()).is_ok());
        for mode in [0o620, 0o602] {
            std::fs::set_permissions(held.path(), PermissionsExt::from_mode(mode)).unwrap();
            let error = open(held.path()).unwrap_err();
            assert!(error.contains("others cannot write"), "{error}");
        }
        assert!(open(held.path().parent().unwrap()).is_err(), "a directory");
        let none = held.path().with_extension("none");
        assert!(open(&none).unwrap_err().contains("No such file"));
        if nix::unistd::geteuid().is_root() {
            std::fs::set_permissions(held.path(), PermissionsExt::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(held.path(), Some(64102), None).unwrap();
            assert!(open(held.path()).is_err(), "another user's");
        }
    }
}
