//! The files of a configuration: popward.toml, and the files in the directory beside it. Their
//! texts are joined to one text, so that an offset names both a file and a place in it.

use crate::host::Host;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Most files in the directory.
const FILES_MAX: usize = 64;

/// Most bytes of all files.
const BYTES_MAX: usize = 1024 * 1024;

/// The lists of tables. Those of several files add up.
const LISTS: [&str; 3] = ["account", "certificate", "listen"];

/// Why a reading of the file failed.
pub(crate) enum Failure {
    /// The text has not the form of the file. The range is the place, in bytes, if there is one.
    Form(toml::de::Error, Option<Range<usize>>),
    /// A value is wrong. The number is its offset in the file, in bytes, or 0 if a default is
    /// wrong.
    Value(usize, String),
}

impl Failure {
    /// The text that was parsed ends at `end`. The place is before that, because the byte at `end`
    /// is another file's.
    pub(crate) fn of_form(error: toml::de::Error, end: usize) -> Self {
        let before = |span: Range<usize>| span.start.min(end.saturating_sub(1))..span.end.min(end);
        let place = error.span().map(before);
        Self::Form(error, place)
    }
}

/// The files with their texts.
#[derive(Debug)]
pub(crate) struct Sources {
    /// The text of all files, each with a line end at its end.
    text: String,
    /// The path of each file, and the offset of its first byte.
    files: Vec<(PathBuf, usize)>,
}

/// A place in a file.
pub(crate) struct Place<'s> {
    pub(crate) path: &'s Path,
    /// The text of the file.
    pub(crate) text: &'s str,
    /// The offset in the file, in bytes.
    pub(crate) offset: usize,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let before = self.text.get(..self.offset).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        write!(out, "{}:{line}", self.path.display())
    }
}

impl Sources {
    /// One file with this text.
    pub(crate) fn of(path: &Path, text: &str) -> Self {
        let mut sources = Self {
            text: String::new(),
            files: Vec::new(),
        };
        sources.add(path.to_owned(), text);
        sources
    }

    fn add(&mut self, path: PathBuf, text: &str) {
        self.files.push((path, self.text.len()));
        self.text += text;
        // Each file has a byte, also an empty one. So all begin at different offsets.
        if !text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// Reads the file `path`, and the files in the directory beside it. Refuses files that others
    /// can change.
    ///
    /// # Errors
    ///
    /// The file or directory, and why it cannot be used.
    pub(crate) fn read(path: &Path, host: &Host) -> Result<Self, (PathBuf, String)> {
        let mut sources = Self::of(path, &read(path, host, BYTES_MAX)?);
        for path in beside(path, host)? {
            let left = BYTES_MAX.saturating_sub(sources.text.len());
            let text = read(&path, host, left)?;
            sources.add(path, &text);
        }
        Ok(sources)
    }

    /// The text of all files.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the file that has the byte at `offset`.
    pub(crate) fn place(&self, offset: usize) -> Place<'_> {
        let index = self.file(offset);
        let (start, end) = self.range(index);
        let path = self.files.get(index).map(|(path, _)| path.as_path());
        Place {
            path: path.unwrap_or(Path::new("")),
            text: self.text.get(start..end).unwrap_or(""),
            offset: offset - start.min(offset),
        }
    }

    /// The index of the file that has the byte at `offset`.
    fn file(&self, offset: usize) -> usize {
        (self.files.partition_point(|(_, start)| *start <= offset)).saturating_sub(1)
    }

    /// Where a file begins and ends in the text.
    fn range(&self, index: usize) -> (usize, usize) {
        let start = |index: usize| self.files.get(index).map(|(_, start)| *start);
        let end = start(index + 1).unwrap_or(self.text.len());
        (start(index).unwrap_or(end), end)
    }

    /// Returns the part of `text` that is of the file with the byte at `offset`. Spaces and a line
    /// end stand in the place of the files before it, so that all offsets stay. `text` is that of [`Self::text`], or
    /// one of the same length with spaces in place of some statements.
    pub(crate) fn part(&self, text: &str, offset: usize) -> String {
        let (start, end) = self.range(self.file(offset));
        let before = start.checked_sub(1).map(|spaces| " ".repeat(spaces) + "\n");
        before.unwrap_or_default() + text.get(start..end).unwrap_or("")
    }

    /// The parts of all files.
    pub(crate) fn parts(&self, text: &str) -> Vec<String> {
        let starts = self.files.iter().map(|(_, start)| *start);
        starts.map(|start| self.part(text, start)).collect()
    }

    /// Parses the parts, and makes one table of them.
    pub(crate) fn merged<'p>(&self, parts: &'p [String]) -> Result<Spanned<DeTable<'p>>, Failure> {
        let mut all = DeTable::new();
        for part in parts {
            let failed = |error| Failure::of_form(error, part.len());
            let table = DeTable::parse(part).map_err(failed)?;
            self.merge(&mut all, table.into_inner(), "")?;
        }
        Ok(Spanned::new(0..self.text.len(), all))
    }

    /// Adds the keys of `from`, which are below the tables in `prefix`.
    fn merge<'p>(
        &self,
        into: &mut DeTable<'p>,
        from: DeTable<'p>,
        prefix: &str,
    ) -> Result<(), Failure> {
        for (key, value) in from {
            let Some((first, _)) = into.get_key_value(&key) else {
                into.insert(key, value);
                continue;
            };
            let (first, offset) = (self.place(first.span().start), key.span().start);
            let name = format!("{prefix}{}", key.get_ref());
            match (into.get_mut(&key).map(Spanned::get_mut), value.into_inner()) {
                (Some(DeValue::Table(into)), DeValue::Table(from)) => {
                    self.merge(into, from, &format!("{name}."))?;
                }
                (Some(DeValue::Array(into)), DeValue::Array(from))
                    if LISTS.contains(&name.as_str()) =>
                {
                    from.into_iter().for_each(|value| into.push(value));
                }
                _ => {
                    let text = format!("{name}: expected it in one file, but {first} has it too");
                    return Err(Failure::Value(offset, text));
                }
            }
        }
        Ok(())
    }
}

/// Returns the files in the directory beside the file `path`, in the order of their names. The
/// directory has the name of the file with `.d` behind it. It need not be there.
fn beside(path: &Path, host: &Host) -> Result<Vec<PathBuf>, (PathBuf, String)> {
    let mut name = OsString::from(path);
    name.push(".d");
    let directory = PathBuf::from(name);
    let failed = |why: String| (directory.clone(), why);
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        // A link that leads nowhere is a mistake.
        Err(error) if error.kind() == ErrorKind::NotFound && !directory.is_symlink() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    owned(&directory, host).map_err(failed)?;
    let mut paths = Vec::new();
    for entry in entries {
        let name = entry
            .map_err(|error| failed(error.to_string()))?
            .file_name();
        let is_toml = Path::new(&name).extension() == Some(OsStr::new("toml"));
        if is_toml && !name.as_bytes().starts_with(b".") {
            paths.push(directory.join(name));
        }
        if paths.len() > FILES_MAX {
            return Err(failed(format!("expected at most {FILES_MAX} files")));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads a file of at most `most` bytes.
fn read(path: &Path, host: &Host, most: usize) -> Result<String, (PathBuf, String)> {
    let failed = |why: String| (path.to_owned(), why);
    // Opening a FIFO would wait for somebody who writes to it.
    match path.metadata() {
        Ok(status) if status.is_file() => {}
        Ok(_) => return Err(failed("expected a regular file".to_owned())),
        Err(error) => return Err(failed(error.to_string())),
    }
    let mut text = String::new();
    let file = File::open(path).map(|file| file.take(most as u64 + 1));
    let read = file.and_then(|mut file| file.read_to_string(&mut text));
    read.map_err(|error| failed(error.to_string()))?;
    if text.len() > most {
        let why = format!("expected at most {BYTES_MAX} bytes in all files together");
        return Err(failed(why));
    }
    owned(path, host).map_err(failed)?;
    // Some editors write a byte order mark. TOML permits it at the start of a file.
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// Checks that others cannot change what is at `path`.
fn owned(path: &Path, host: &Host) -> Result<(), String> {
    let whole = std::path::absolute(path).map_err(|error| error.to_string())?;
    host.owners.of(&whole)
}

#[cfg(test)]
mod tests;
