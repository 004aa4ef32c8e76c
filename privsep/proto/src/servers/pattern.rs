//! Where spools are: a path with placeholders, taken apart. popward-config reads it from text; the
//! monitor fills it in.

use crate::bounded::{List, OutOfBounds, Text};
use serde::{Deserialize, Serialize};

/// Most parts of a pattern.
pub const PARTS_MAX: usize = 16;

/// Longest literal part, in bytes.
pub const LITERAL_MAX: usize = 1024;

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// As it is.
    Literal(Text<LITERAL_MAX>),
    /// `{user}`: the account's name.
    User,
    /// `{user:1}`: its first character.
    First,
    /// `{user:2}`: its second character, or its first if it has one only (Qpopper's hash-spool 2).
    Second,
    /// `{user:hash}`: a letter for its first five bytes (Qpopper's hash-spool 1).
    Hash,
    /// `{name}`: what stands before its last `@`, or all of it.
    Name,
    /// `{domain}`: what stands behind that.
    Domain,
    /// `{home}`: its home directory.
    Home,
}

/// A path with placeholders. It is absolute, and different accounts can have different ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "List<Part, PARTS_MAX>", into = "List<Part, PARTS_MAX>")]
pub struct Pattern(List<Part, PARTS_MAX>);

impl Pattern {
    /// Its parts, in order.
    pub fn parts(&self) -> &[Part] {
        self.0.as_slice()
    }

    /// The directory above everything that differs between accounts. `None`: the path begins with a
    /// home.
    pub fn base(&self) -> Option<&str> {
        let Some(Part::Literal(text)) = self.parts().first() else {
            return None;
        };
        text.as_str()
            .rsplit_once('/')
            .map(|(directory, _)| directory)
    }
}

impl TryFrom<List<Part, PARTS_MAX>> for Pattern {
    type Error = OutOfBounds;
    fn try_from(parts: List<Part, PARTS_MAX>) -> Result<Self, OutOfBounds> {
        let absolute = match parts.as_slice().first() {
            Some(Part::Literal(text)) => text.as_str().starts_with('/'),
            first => first == Some(&Part::Home),
        };
        // Otherwise all accounts would have one spool.
        let whole = |part: &Part| matches!(part, Part::User | Part::Name | Part::Home);
        if absolute && parts.as_slice().iter().any(whole) {
            Ok(Self(parts))
        } else {
            Err(OutOfBounds(
                "no pattern of an absolute path for each account",
            ))
        }
    }
}

impl From<Pattern> for List<Part, PARTS_MAX> {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}
