//! Passwords, as they cross from the front to auth. A worker never sees one.

use crate::bounded::OutOfBounds;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A secret of at most 512 bytes, as the client sent it: a password. Wiped when dropped; never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<u8>")]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Longest secret, in bytes.
    pub const MAX: usize = 512;

    /// The secret's bytes. Whoever copies them wipes the copy.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Secret {
    type Error = OutOfBounds;
    fn try_from(bytes: Vec<u8>) -> Result<Self, OutOfBounds> {
        let bytes = Zeroizing::new(bytes);
        if bytes.len() > Self::MAX || bytes.contains(&0) {
            return Err(OutOfBounds("secret too long, or with a NUL"));
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Straight from the wiped buffer: `into` would make a copy that nobody wipes.
        self.0.as_slice().serialize(serializer)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(..)")
    }
}
