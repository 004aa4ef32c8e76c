//! Bulletins: messages for everybody, files of a directory that are shown behind a user's own and never are in the spool.
//!
//! A bulletin's name is its identity. What is kept of it for a user is that it is shown no more: a text, a first line
//! `popward bulletins 1`, then a line with each such name.

use crate::uidl;
use std::collections::BTreeSet;

/// How the UIDL of every bulletin begins, and of no message of a spool ([`uidl::is_valid`]): the name follows.
pub const PREFIX: &str = "popward-bulletin-";

/// Longest name, in bytes.
pub const NAME_MAX: usize = uidl::MAX - PREFIX.len();

/// Most bulletins that are looked at: the newest.
pub const MOST: usize = 100;

const FIRST_LINE: &[u8] = b"popward bulletins 1\n";

/// The names of the bulletins that a user is shown no more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gone(pub BTreeSet<Box<str>>);

impl Gone {
    /// As a file has them.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = FIRST_LINE.to_vec();
        for name in &self.0 {
            text.extend_from_slice(name.as_bytes());
            text.push(b'\n');
        }
        text
    }

    /// What a file has. The error is the line, from 1, that is none.
    pub fn decode(text: &[u8]) -> Result<Self, usize> {
        let lines = text.strip_prefix(FIRST_LINE).ok_or(1_usize)?;
        let mut gone = Self::default();
        for (number, line) in (2_usize..).zip(lines.split_inclusive(|byte| *byte == b'\n')) {
            let name = line
                .strip_suffix(b"\n")
                .and_then(|name| std::str::from_utf8(name).ok());
            let name = name.filter(|name| is_name(name)).ok_or(number)?;
            gone.0.insert(name.into());
        }
        Ok(gone)
    }
}

/// Whether a file of this name is a bulletin: 1 to [`NAME_MAX`] characters from `!` to `~`, the first one a digit, the last one
/// no `~` as behind an editor's copies, and no `/`.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/')
        && name.starts_with(|first: char| first.is_ascii_digit())
        && !name.ends_with('~')
}

/// Puts the names in order, the oldest first: by their number, then by what stands behind it. Of more than [`MOST`], the
/// newest stay; returns how many do not.
pub fn sort(names: &mut Vec<Box<str>>) -> usize {
    fn key(name: &str) -> (usize, &str, &str) {
        let number = name.trim_start_matches('0');
        let end = number.find(|c: char| !c.is_ascii_digit());
        let (digits, rest) = number.split_at(end.unwrap_or(number.len()));
        (digits.len(), digits, rest)
    }
    names.sort_by(|one, other| (key(one), one).cmp(&(key(other), other)));
    let beyond = names.len().saturating_sub(MOST);
    names.drain(..beyond);
    beyond
}

/// Which of these names, in order, a user has not yet had whose first session this is: all but the newest `keep` that are not
/// `old` are as if they had been deleted.
pub fn first(names: &[Box<str>], keep: usize, old: impl Fn(&str) -> bool) -> Gone {
    let new = names.iter().rev().take(keep);
    let shown: BTreeSet<&Box<str>> = new.filter(|name| !old(name)).collect();
    let gone = names.iter().filter(|name| !shown.contains(name));
    Gone(gone.cloned().collect())
}

#[cfg(test)]
mod tests;
