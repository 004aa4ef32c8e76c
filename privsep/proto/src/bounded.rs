//! Types whose values are always within their bounds. Decoding a value checks the same bounds as
//! constructing it.

#[cfg(feature = "server")]
mod parts;

use serde::{Deserialize, Serialize};

/// The error for a value that is out of bounds. The text is for the log and holds no part of the
/// value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfBounds(pub &'static str);

impl std::fmt::Display for OutOfBounds {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.0)
    }
}

/// A text of at most `MAX` bytes of UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// The longest prefix of `text` that fits. It ends between two characters.
    pub fn truncated(text: &str) -> Self {
        let mut end = text.len().min(MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self(text[..end].to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = OutOfBounds;
    fn try_from(text: String) -> Result<Self, OutOfBounds> {
        let fits = text.len() <= MAX;
        fits.then_some(Self(text))
            .ok_or(OutOfBounds("text too long"))
    }
}

impl<const MAX: usize> std::fmt::Display for Text<MAX> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

/// A list of at most `MAX` items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<T>")]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> List<T, MAX> {
    /// The items.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for List<T, MAX> {
    type Error = OutOfBounds;
    fn try_from(items: Vec<T>) -> Result<Self, OutOfBounds> {
        let fits = items.len() <= MAX;
        fits.then_some(Self(items))
            .ok_or(OutOfBounds("too many items"))
    }
}

/// Bytes that are not secret: a public key, a signature, a message to sign.
pub type Bytes<const MAX: usize> = List<u8, MAX>;

/// The name of an account: 1 to 128 bytes. It is always safe as one component of a path and as one
/// word of a log line.
///
/// It has no `/`, no white space and no control characters, and it does not begin with `.` or `-`.
/// Only auth knows whether such an account exists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct UserName(String);

impl UserName {
    /// Longest name, in bytes.
    pub const MAX: usize = 128;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserName {
    type Error = OutOfBounds;
    fn try_from(name: String) -> Result<Self, OutOfBounds> {
        let bad = |c: char| c == '/' || c.is_control() || c.is_whitespace();
        if name.is_empty()
            || name.len() > Self::MAX
            || name.starts_with(['.', '-'])
            || name.contains(bad)
        {
            return Err(OutOfBounds("no account name"));
        }
        Ok(Self(name))
    }
}

impl std::fmt::Display for UserName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

/// An absolute path of at most 1,024 bytes, without NUL and without `..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AbsolutePath(String);

impl AbsolutePath {
    /// Longest path, in bytes.
    pub const MAX: usize = 1024;

    /// The path.
    pub fn as_path(&self) -> &std::path::Path {
        std::path::Path::new(&self.0)
    }
}

impl TryFrom<String> for AbsolutePath {
    type Error = OutOfBounds;
    fn try_from(path: String) -> Result<Self, OutOfBounds> {
        let climbs = path.split('/').any(|part| part == "..");
        if path.len() > Self::MAX || !path.starts_with('/') || path.contains('\0') || climbs {
            return Err(OutOfBounds("no absolute path"));
        }
        Ok(Self(path))
    }
}
