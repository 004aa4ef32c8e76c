//! APOP and CRAM-MD5, which need MD5.

use crate::crypt::equal;
use md5::digest::common::hazmat::{SerializableState, SerializedState};
use md5::{Digest, Md5};
use zeroize::{Zeroize, Zeroizing};

/// The two states of HMAC-MD5 (RFC 2104) after the key: first outer, then inner. Dovecot stores
/// them in hexadecimal. Such a secret works for CRAM-MD5 only, so a stolen file opens nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HmacContexts(Zeroizing<[u8; 32]>);

impl HmacContexts {
    /// Reads 64 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let expected = "expected 64 hexadecimal digits after {CRAM-MD5}";
        let bytes = Zeroizing::new(super::digest::hex(text).ok_or(expected)?);
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| expected)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// The states of a password.
    pub(crate) fn of(password: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; 64]);
        if password.len() > key.len() {
            key[..16].copy_from_slice(&Md5::digest(password));
        } else {
            key[..password.len()].copy_from_slice(password);
        }
        let mut both = Zeroizing::new([0; 32]);
        for (pad, place) in [(0x5c, 0), (0x36, 16)] {
            let padded = Zeroizing::new(key.map(|byte| byte ^ pad));
            let mut state = Md5::new_with_prefix(padded.as_slice()).serialize();
            both[place..place + 16].copy_from_slice(&state[..16]);
            state.as_mut_slice().zeroize();
        }
        Self(both)
    }

    /// Whether `digest` is the HMAC of `challenge`.
    pub(crate) fn verify(&self, challenge: &[u8], digest: &[u8; 16]) -> bool {
        let (outer, inner) = self.0.split_at(16);
        let hash =
            |state: &[u8], text: &[u8]| resume(state).map(|md5| md5.chain_update(text).finalize());
        hash(inner, challenge)
            .and_then(|inner| hash(outer, &inner))
            .is_some_and(|own| equal(&own, digest))
    }

    /// The form in which Dovecot stores them: 64 hexadecimal digits.
    pub(crate) fn to_text(&self) -> String {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect()
    }
}

/// MD5 in `state`, as it is after one block.
///
/// The library's serialized form is: four words, the count of blocks, an empty buffer.
fn resume(state: &[u8]) -> Option<Md5> {
    let mut all = SerializedState::<Md5>::default();
    all.get_mut(..16)?.copy_from_slice(state);
    *all.get_mut(16)? = 1;
    Md5::deserialize(&all).ok()
}

/// Whether `digest` is the MD5 of the greeting's timestamp and the password.
pub(super) fn apop(timestamp: &str, password: &[u8], digest: &[u8; 16]) -> bool {
    let md5 = Md5::new_with_prefix(timestamp).chain_update(password);
    equal(&md5.finalize(), digest)
}
