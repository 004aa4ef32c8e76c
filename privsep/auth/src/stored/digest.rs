//! Digests of passwords, with and without salt. LDAP directories and old password files have them.

use crate::crypt::equal;
use base64ct::{Base64Unpadded, Encoding};
use md5::Md5;
use sha1::Sha1;
use sha2::digest::Digest as _;
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

/// The hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

/// A digest of the password followed by a salt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest {
    algorithm: Algorithm,
    value: Zeroizing<Vec<u8>>,
    salt: Vec<u8>,
}

impl Digest {
    /// Parses the value of `scheme`, which is in upper case and may end in `.HEX`, `.B64` or
    /// `.BASE64`. `None` if the scheme is no digest.
    pub(super) fn parse(scheme: &str, text: &str) -> Option<Result<Self, &'static str>> {
        let (name, encoding) = scheme.split_once('.').unwrap_or((scheme, ""));
        let (algorithm, salted) = match name {
            "PLAIN-MD5" | "LDAP-MD5" => (Algorithm::Md5, false),
            "SMD5" => (Algorithm::Md5, true),
            "SHA" | "SHA1" => (Algorithm::Sha1, false),
            "SSHA" => (Algorithm::Sha1, true),
            "SHA256" => (Algorithm::Sha256, false),
            "SSHA256" => (Algorithm::Sha256, true),
            "SHA512" => (Algorithm::Sha512, false),
            "SSHA512" => (Algorithm::Sha512, true),
            _ => return None,
        };
        let length = algorithm.length();
        let bytes = match encoding {
            "HEX" => hex(text),
            // Dovecot reads a value of this length as hexadecimal, whatever the scheme's encoding
            // is.
            "" if !salted && text.len() == 2 * length => hex(text),
            "" | "B64" | "BASE64" => base64(text),
            _ => return None,
        };
        let fits = |bytes: &Vec<u8>| bytes.len() == length || (salted && bytes.len() > length);
        let Some(mut value) = bytes.filter(fits).map(Zeroizing::new) else {
            return Some(Err("expected a digest of the scheme's length, in base64"));
        };
        let salt = value.split_off(length);
        Some(Ok(Self {
            algorithm,
            value,
            salt,
        }))
    }

    /// Whether this is the digest of `secret`.
    pub(super) fn verify(&self, secret: &[u8]) -> bool {
        equal(&self.algorithm.hash(secret, &self.salt), &self.value)
    }
}

impl Algorithm {
    /// The length of a digest, in bytes.
    fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn hash(self, secret: &[u8], salt: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::Md5 => Md5::new_with_prefix(secret)
                .chain_update(salt)
                .finalize()
                .to_vec(),
            Self::Sha1 => Sha1::new_with_prefix(secret)
                .chain_update(salt)
                .finalize()
                .to_vec(),
            Self::Sha256 => Sha256::new_with_prefix(secret)
                .chain_update(salt)
                .finalize()
                .to_vec(),
            Self::Sha512 => Sha512::new_with_prefix(secret)
                .chain_update(salt)
                .finalize()
                .to_vec(),
        })
    }
}

/// Decodes base64, with or without padding.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    Base64Unpadded::decode_vec(text.trim_end_matches('=')).ok()
}

/// Decodes hexadecimal digits.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    if text.len() % 2 != 0 {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}
