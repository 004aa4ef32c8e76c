//! Passwords and tokens, on their way from the front to auth. No worker sees one.

use crate::bounded::OutOfBounds;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Longest password, in bytes.
pub const PASSWORD_MAX: usize = 512;

/// A secret of at most `MAX` bytes, as the client sent it: a password or a token. It is wiped when
/// dropped, and never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<u8>")]
pub struct Secret<const MAX: usize = PASSWORD_MAX>(Zeroizing<Vec<u8>>);

impl<const MAX: usize> Secret<MAX> {
    /// The secret's bytes. A caller that copies them must wipe the copy.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<Vec<u8>> for Secret<MAX> {
    type Error = OutOfBounds;
    fn try_from(bytes: Vec<u8>) -> Result<Self, OutOfBounds> {
        let bytes = Zeroizing::new(bytes);
        if bytes.len() > MAX || bytes.contains(&0) {
            return Err(OutOfBounds("secret too long, or with a NUL"));
        }
        Ok(Self(bytes))
    }
}

impl<const MAX: usize> Serialize for Secret<MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // This serializes from the buffer that is wiped. `into` would make a copy that nobody
        // wipes.
        self.0.as_slice().serialize(serializer)
    }
}

impl<const MAX: usize> std::fmt::Debug for Secret<MAX> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(..)")
    }
}
