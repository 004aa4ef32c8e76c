//! Reads the files of the PAM service before the first login. It checks that the files exist, and
//! whether the service uses `pam_unix`. That module must be able to read `/etc/shadow`.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The directories in which PAM looks for services, in this order.
pub(super) const DIRECTORIES: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];

/// The file with the hashes of the system's users.
pub(super) const SHADOW: &str = "/etc/shadow";

/// Whether a process can read the file `shadow` without any capability. `own` has its user, its
/// group and its further group. `None`: it runs as this process does. A missing file is no problem,
/// because `pam_unix` does not need it then.
pub(super) fn reads_shadow(shadow: &Path, own: Option<((u32, u32), Option<u32>)>) -> bool {
    let Ok(status) = shadow.metadata() else {
        return true;
    };
    let Some(((uid, gid), further)) = own else {
        return std::fs::File::open(shadow).is_ok();
    };
    let bit = if status.uid() == uid {
        0o400
    } else if status.gid() == gid || Some(status.gid()) == further {
        0o040
    } else {
        0o004
    };
    status.mode() & bit != 0
}

/// Most files that are read for one service. A file counts twice if it is included for its `auth`
/// lines and for its `account` lines.
const FILES_MAX: usize = 32;

/// Largest file, in bytes.
const FILE_MAX: u64 = 64 * 1024;

/// A line that makes PAM use `pam_unix`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The file.
    pub(super) path: PathBuf,
    /// The line, from 1.
    pub(super) line: usize,
}

/// Looks for `pam_unix` in the `auth` and `account` lines of `service`, and in the files that these
/// lines include. Other lines do not matter, because a login does not use them.
///
/// # Errors
///
/// A file is missing, cannot be read, or has more than [`FILE_MAX`] bytes, or there are more than
/// [`FILES_MAX`] files. The text is in words for the operator.
pub(super) fn asks_pam_unix(directories: &[&Path], service: &str) -> Result<Option<Found>, String> {
    let mut waiting = vec![(service.to_owned(), None)];
    let mut read = Vec::new();
    while let Some((name, wanted)) = waiting.pop() {
        // One file may be included for its auth lines, and again for its account lines.
        if read.contains(&(name.clone(), wanted)) {
            continue;
        }
        if read.len() == FILES_MAX {
            return Err(format!(
                "expected at most {FILES_MAX} files that include each other"
            ));
        }
        let (path, text) = text(directories, &name)?;
        read.push((name, wanted));
        for (line, kind, rest) in statements(&text) {
            let included = |kind| waiting_for(rest.get(1), kind);
            match (kind, rest.first().map(String::as_str)) {
                ("@include", Some(file)) => waiting.push((file.to_owned(), wanted)),
                (kind, _) if !["auth", "account"].contains(&kind) => {}
                (kind, _) if wanted.is_some_and(|wanted| wanted != kind_of(kind)) => {}
                (kind, Some("include" | "substack")) => waiting.extend(included(kind)),
                _ if rest
                    .iter()
                    .skip(1)
                    .take(1)
                    .any(|module| is_pam_unix(module)) =>
                {
                    return Ok(Some(Found { path, line }));
                }
                _ => {}
            }
        }
    }
    Ok(None)
}

/// The type of a line that matters for a login: `auth` or `account`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Auth,
    Account,
}

fn kind_of(kind: &str) -> Kind {
    if kind == "auth" {
        Kind::Auth
    } else {
        Kind::Account
    }
}

fn waiting_for(file: Option<&String>, kind: &str) -> Option<(String, Option<Kind>)> {
    file.map(|file| (file.clone(), Some(kind_of(kind))))
}

fn is_pam_unix(module: &str) -> bool {
    Path::new(module)
        .file_name()
        .is_some_and(|name| name == "pam_unix.so")
}

fn text(directories: &[&Path], name: &str) -> Result<(PathBuf, String), String> {
    // A service can include a file by its absolute name. `join` returns such a name unchanged.
    let mut paths = directories.iter().map(|directory| directory.join(name));
    let path = paths.find(|path| path.exists());
    let path = path.ok_or_else(|| {
        let first = directories.first().map(|directory| directory.join(name));
        format!("{}: no such file", first.unwrap_or_default().display())
    })?;
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let status = path.metadata().map_err(|error| failed(&error))?;
    if !status.is_file() || status.len() > FILE_MAX {
        return Err(failed(&format_args!(
            "expected a file of at most {FILE_MAX} bytes"
        )));
    }
    let bytes = std::fs::read(&path).map_err(|error| failed(&error))?;
    Ok((path, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Returns each statement's line number (from 1), its type, and the words behind the type. A
/// control in brackets becomes one word, also if it has several.
fn statements(text: &str) -> Vec<(usize, &str, Vec<String>)> {
    let mut statements = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, first)) = lines.next() {
        let mut parts = vec![first];
        // A line that ends in a backslash continues on the next line.
        while let Some(text) = parts.last().and_then(|part| part.strip_suffix('\\')) {
            parts.pop();
            parts.push(text);
            match lines.next() {
                Some((_, next)) => parts.push(next),
                None => break,
            }
        }
        let mut words = Vec::new();
        let mut bracket: Option<String> = None;
        for word in parts.iter().flat_map(|part| part.split_whitespace()) {
            if let Some(open) = &mut bracket {
                open.push_str(word);
            } else if word.starts_with('#') {
                break;
            } else if word.starts_with('[') {
                bracket = Some(word.to_owned());
            } else {
                words.push(word.to_owned());
            }
            if bracket.as_ref().is_some_and(|open| open.ends_with(']')) {
                words.extend(bracket.take());
            }
        }
        let kind = first.split_whitespace().next().unwrap_or_default();
        if !words.is_empty() {
            words.remove(0);
            // PAM skips a line with `-auth` if its module is missing. Otherwise it is like `auth`.
            statements.push((number + 1, kind.trim_start_matches('-'), words));
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks for `pam_unix` in the service `popward`. Returns the name of the file and the line.
    fn looked(files: &[(&str, &str)]) -> Result<Option<(String, usize)>, String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let found = asks_pam_unix(&[directory.path()], "popward");
        let named = |found: Found| {
            let name = found.path.file_name().unwrap().to_str().unwrap();
            (name.to_owned(), found.line)
        };
        let base = format!("{}/", directory.path().display());
        found
            .map(|found| found.map(named))
            .map_err(|why| why.replace(&base, ""))
    }

    #[test]
    fn pam_unix_is_found_in_the_service_and_in_the_files_that_it_includes() {
        let at = |name: &str, line| Ok(Some((name.to_owned(), line)));
        let own = "# comment\nauth required pam_env.so\nauth [success=1 default=ignore] pam_unix.so nullok\n";
        assert_eq!(looked(&[("popward", own)]), at("popward", 3));
        let common = "auth\t[success=1 \\\n default=ignore]\tpam_unix.so\n";
        for way in [
            "@include common",
            "auth include common",
            "auth substack common",
            "-auth include common",
        ] {
            let found = looked(&[("popward", way), ("common", common)]);
            assert_eq!(found, at("common", 1), "{way}");
        }
        let account = "account required /lib/security/pam_unix.so\n";
        assert_eq!(looked(&[("popward", account)]), at("popward", 1));
    }

    #[test]
    fn pam_unix_is_not_found_in_lines_that_a_login_does_not_use() {
        for text in [
            "password required pam_unix.so\nsession required pam_unix.so\n",
            "#auth required pam_unix.so\nauth required pam_ldap.so # pam_unix.so\n",
            "auth required pam_exec.so pam_unix.so\n",
            "session include common\naccount include common\n",
        ] {
            let found = looked(&[("popward", text), ("common", "auth required pam_unix.so\n")]);
            assert_eq!(found, Ok(None), "{text}");
        }
    }

    #[test]
    fn only_the_mode_of_the_shadow_file_says_who_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let status = file.as_file().metadata().unwrap();
        let (uid, gid) = (status.uid(), status.gid());
        let other = Some(((uid + 1, gid + 1), None));
        let member = Some(((uid + 1, gid + 1), Some(gid)));
        let owner = Some(((uid, gid + 1), None));
        // As on Debian; as on Fedora, where root needs a capability; as for everybody.
        for (mode, by) in [
            (0o640, [false, true, true]),
            (0o000, [false, false, false]),
            (0o604, [true, false, true]),
        ] {
            let mode_of_file = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.path(), mode_of_file).unwrap();
            let found = [other, member, owner].map(|own| reads_shadow(file.path(), own));
            assert_eq!(found, by, "{mode:o}");
        }
        assert!(reads_shadow(Path::new("/nonexistent/shadow"), other));
    }

    #[test]
    fn a_missing_file_and_too_many_files_are_errors_and_a_circle_is_none() {
        let missing = |name: &str| Err(format!("{name}: no such file"));
        assert_eq!(looked(&[]), missing("popward"));
        assert_eq!(
            looked(&[("popward", "@include common\n")]),
            missing("common")
        );
        let round = [("popward", "@include b\n"), ("b", "auth include popward\n")];
        assert_eq!(looked(&round), Ok(None));
        let names: Vec<String> = (0..40).map(|number| format!("f{number}")).collect();
        let texts: Vec<String> = (1..41)
            .map(|number| format!("@include f{number}"))
            .collect();
        let mut files = vec![("popward", "@include f0")];
        files.extend(
            names
                .iter()
                .map(String::as_str)
                .zip(texts.iter().map(String::as_str)),
        );
        assert!(looked(&files).unwrap_err().contains("at most 32 files"));
    }
}
