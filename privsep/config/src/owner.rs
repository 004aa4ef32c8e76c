//! Checks who can change a file. The configuration and the files that it names decide who may log
//! in, and as which user. So only root may be able to change them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Most symbolic links on the way to a file. The kernel has the same limit.
const LINKS_MAX: usize = 40;

/// The users who may be able to change a file.
#[derive(Debug, Clone)]
pub(crate) struct Owners {
    ids: Vec<u32>,
    /// The expected owner in words, for an error.
    whose: &'static str,
}

impl Owners {
    /// Root. If this process does not run as root, also the user that it runs as: that user gains
    /// no power over others by changing the configuration.
    pub(crate) fn of_the_configuration() -> Self {
        let own = nix::unistd::geteuid();
        let (ids, whose) = if own.is_root() {
            (vec![0], "root's")
        } else {
            (vec![0, own.as_raw()], "root's or this user's")
        };
        Self { ids, whose }
    }

    /// Checks that only these users can change what is at the absolute `path`. They must own the
    /// file, all directories above it, and each symbolic link on the way with all directories above
    /// that link's target. Nobody else may be able to write to one of these.
    ///
    /// A directory with the sticky bit may be writable by others, because there they cannot remove
    /// or rename the files of another user.
    ///
    /// # Errors
    ///
    /// Names the file or directory and the expected owner and mode.
    pub(crate) fn of(&self, path: &Path) -> Result<(), String> {
        let mut rest: Vec<PathBuf> = Vec::new();
        let mut at = PathBuf::from("/");
        put_in_front(&mut rest, path);
        let mut links = 0;
        self.look(&at)?;
        while let Some(next) = rest.pop() {
            match next.components().next() {
                Some(Component::RootDir) => at = PathBuf::from("/"),
                Some(Component::ParentDir) => _ = at.pop(),
                Some(Component::Normal(name)) => at.push(name),
                _ => continue,
            }
            if !self.look(&at)?.is_symlink() {
                continue;
            }
            links += 1;
            let target = std::fs::read_link(&at).ok().filter(|_| links <= LINKS_MAX);
            let target = target
                .ok_or_else(|| format!("expected the link {} to lead to a file", at.display()))?;
            put_in_front(&mut rest, &target);
            at.pop();
        }
        Ok(())
    }

    fn look(&self, at: &Path) -> Result<Metadata, String> {
        let status = std::fs::symlink_metadata(at)
            .map_err(|error| format!("expected {} to be there: {error}", at.display()))?;
        let others_write = !status.is_symlink() && status.mode() & 0o022 != 0;
        let sticky = status.is_dir() && status.mode() & 0o1000 != 0;
        if self.ids.contains(&status.uid()) && (!others_write || sticky) {
            return Ok(status);
        }
        Err(format!(
            "expected {} to be {} and writable by nobody else, like all directories above it",
            at.display(),
            self.whose
        ))
    }
}

/// Adds the components of `path` to `rest`, the last one first, because `rest` is a stack.
fn put_in_front(rest: &mut Vec<PathBuf>, path: &Path) {
    let parts = path.components().rev();
    rest.extend(parts.map(|part| Path::new(&part).to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// Makes a directory with mode 0755 and a file in it with mode 0644. Others cannot change them.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        create_dir(&inner).unwrap();
        set_permissions(&inner, PermissionsExt::from_mode(0o755)).unwrap();
        write(inner.join("file"), "").unwrap();
        set_permissions(inner.join("file"), PermissionsExt::from_mode(0o644)).unwrap();
        let file = inner.join("file");
        (directory, file)
    }

    fn refused(path: &Path, because_of: &Path) {
        let error = Owners::of_the_configuration().of(path).unwrap_err();
        let named = format!("expected {} to be ", because_of.display());
        assert!(error.starts_with(&named), "{error}");
    }

    #[test]
    fn an_error_names_the_file_or_directory_that_others_can_write_to() {
        let (held, file) = place();
        let owners = Owners::of_the_configuration();
        owners.of(&file).unwrap();
        for mode in [0o664, 0o646] {
            set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            refused(&file, &file);
        }
        set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let inner = file.parent().unwrap();
        set_permissions(inner, PermissionsExt::from_mode(0o775)).unwrap();
        refused(&file, inner);
        set_permissions(inner, PermissionsExt::from_mode(0o1777)).unwrap();
        owners.of(&file).unwrap();
        refused(&held.path().join("none"), &held.path().join("none"));
    }

    #[test]
    fn the_directories_of_a_symbolic_link_are_checked_too() {
        let (held, file) = place();
        let owners = Owners::of_the_configuration();
        let loose = held.path().join("loose");
        create_dir(&loose).unwrap();
        let (first, second) = (held.path().join("first"), loose.join("second"));
        // The first link leads to a second, relative one. Others can replace the second link if
        // they can write to its directory. They cannot change the file itself.
        symlink(&second, &first).unwrap();
        symlink("../inner/./file", &second).unwrap();
        set_permissions(&loose, PermissionsExt::from_mode(0o755)).unwrap();
        owners.of(&first).unwrap();
        set_permissions(&loose, PermissionsExt::from_mode(0o777)).unwrap();
        refused(&first, &loose);
        owners.of(&file).unwrap();
        let round = held.path().join("round");
        symlink(&round, &round).unwrap();
        let error = owners.of(&round).unwrap_err();
        assert!(error.ends_with("to lead to a file"), "{error}");
    }

    #[test]
    fn no_other_user_may_own_a_file() {
        if !nix::unistd::geteuid().is_root() {
            let why = b"skipped: only root gives files away\n";
            std::io::Write::write_all(&mut std::io::stderr(), why).unwrap();
            return;
        }
        let (_held, file) = place();
        std::os::unix::fs::chown(&file, Some(64102), None).unwrap();
        refused(&file, &file);
    }
}
