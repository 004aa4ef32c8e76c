//! The passwords with which `popwardctl adopt --verify` logs in to the old server: lines of
//! `USER:PASSWORD`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Most bytes of the lines.
const MOST: u64 = 64 << 20;

/// The passwords by name. They are not shown.
#[derive(Default)]
pub(crate) struct Passwords(BTreeMap<String, String>);

impl Passwords {
    /// Reads a file that nobody else can read, or standard input for `-`.
    ///
    /// # Errors
    ///
    /// It cannot be read, others can read it, or a line has another form.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let mut text = String::new();
        let read = if path == Path::new("-") {
            io::stdin().lock().take(MOST).read_to_string(&mut text)
        } else {
            let file = File::open(path).map_err(|error| format!("{shown}: {error}"))?;
            let status = file
                .metadata()
                .map_err(|error| format!("{shown}: {error}"))?;
            let owner = [0, nix::unistd::geteuid().as_raw()].contains(&status.uid());
            if status.is_file() && (!owner || status.mode() & 0o077 != 0) {
                let why = "others can read these passwords; expected your file, with mode 0600";
                return Err(format!("{shown}: {why}"));
            }
            file.take(MOST).read_to_string(&mut text)
        };
        read.map_err(|error| format!("{shown}: {error}"))?;
        Self::parse(&text).map_err(|line| format!("{shown}:{line}: expected USER:PASSWORD"))
    }

    /// `Err` is the number of a line of another form.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut all = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, password) = line.split_once(':').ok_or(index + 1)?;
            if name.is_empty() || password.is_empty() || line.contains(char::is_control) {
                return Err(index + 1);
            }
            all.entry(name.to_owned()).or_insert(password.to_owned());
        }
        Ok(Self(all))
    }

    /// The password of this name.
    pub(crate) fn of(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_and_a_password_with_any_colons() {
        let passwords = Passwords::parse("# old\nalice:a:b\n\nbob: c \nalice:x\n").unwrap();
        assert_eq!(passwords.of("alice"), Some("a:b"), "the first line counts");
        assert_eq!(passwords.of("bob"), Some(" c "));
        assert_eq!(passwords.of("carol"), None);
        for (text, line) in [("alice", 1), ("a:b\n:c", 2), ("a:b\nc:", 2)] {
            assert_eq!(Passwords::parse(text).err(), Some(line), "{text:?}");
        }
    }
}
