//! Who can change a file: what is in the configuration, and what it names, decides who is let in and as whom, so it must be
//! root's alone.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Most symbolic links on the way to a file, as for the kernel.
const LINKS_MAX: usize = 40;

/// Those who may be able to change a file.
#[derive(Debug, Clone)]
pub(crate) struct Owners {
    ids: Vec<u32>,
    /// Whose a file should be, for an error.
    whose: &'static str,
}

impl Owners {
    /// Root; where this process is not root's, its own user too, who can do no more to others by that than by itself.
    pub(crate) fn of_the_configuration() -> Self {
        let own = nix::unistd::geteuid();
        if own.is_root() {
            let (ids, whose) = (vec![0], "root's");
            Self { ids, whose }
        } else {
            let (ids, whose) = (vec![0, own.as_raw()], "root's or this user's");
            Self { ids, whose }
        }
    }

    /// And the user that auth runs as, which may keep its own secrets.
    pub(crate) fn and_auth(self, auth: Option<u32>) -> Self {
        match auth.filter(|auth| !self.ids.contains(auth)) {
            None => self,
            Some(auth) => Self {
                ids: vec![0, auth],
                whose: "root's or auth's",
            },
        }
    }

    /// Whether nobody else can change what is at `path`, which is absolute: it, its directories, links on the way and theirs
    /// are theirs and writable by nobody else. In a directory with the sticky bit others cannot change what is not theirs.
    ///
    /// # Errors
    ///
    /// What was expected, of which file or directory.
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
            let target =
                target.ok_or_else(|| format!("expected {} to lead to a file", at.display()))?;
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

/// Components, the last one first.
fn put_in_front(rest: &mut Vec<PathBuf>, path: &Path) {
    let parts = path.components().rev();
    rest.extend(parts.map(|part| Path::new(&part).to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A directory with a file in it; what others cannot change has mode 0755 and 0644.
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
    fn what_others_can_write_on_the_way_is_named() {
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
    fn a_link_is_followed_and_what_is_on_its_way_counts() {
        let (held, file) = place();
        let owners = Owners::of_the_configuration();
        let loose = held.path().join("loose");
        create_dir(&loose).unwrap();
        let (first, second) = (held.path().join("first"), loose.join("second"));
        // Two links, the second one relative, in a directory where it could be replaced: the file itself is safe.
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
    fn whose_a_file_may_be() {
        if !nix::unistd::geteuid().is_root() {
            let why = b"skipped: only root gives files away\n";
            std::io::Write::write_all(&mut std::io::stderr(), why).unwrap();
            return;
        }
        let (_held, file) = place();
        std::os::unix::fs::chown(&file, Some(64102), None).unwrap();
        refused(&file, &file);
        let owners = Owners::of_the_configuration();
        owners.clone().and_auth(Some(64102)).of(&file).unwrap();
        let error = owners.clone().and_auth(Some(64103)).of(&file).unwrap_err();
        assert!(error.contains("to be root's or auth's and"), "{error}");
        assert!(owners.and_auth(Some(0)).of(&file).is_err());
    }
}
