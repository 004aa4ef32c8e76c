//! Passwords in the forms that password files store, and which credentials each form can verify. No
//! file, no clock.

mod argon;
mod cram;
mod digest;
pub(crate) mod scram;

pub(crate) use cram::HmacContexts;
pub(crate) use digest::{Digest, hex};

use crate::crypt;
use base64ct::{Base64, Encoding};
use popward_proto::auth::ScramHash;
use zeroize::Zeroizing;

/// A stored password. It is wiped when it is dropped: a hash is enough to try passwords elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A hash that crypt(3) knows.
    Crypt(Zeroizing<String>),
    Argon2(Zeroizing<String>),
    /// The password itself, in whatever encoding. Everything else can be computed from it.
    Plain(Zeroizing<Vec<u8>>),
    Digest(Digest),
    CramMd5(HmacContexts),
    Scram(ScramHash, scram::Keys),
}

/// The hash that stands in for a missing user's if the file has no usable line at all.
const NOBODY: &str = "$6$popwardpopward$xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

impl Stored {
    /// A hash that no password is known to have.
    pub(crate) fn nobody() -> Self {
        Self::Crypt(Zeroizing::new(NOBODY.to_owned()))
    }

    /// Parses `{SCHEME}value`, Dovecot's form, or a bare hash of crypt(3). `Err` says what was
    /// expected.
    pub(crate) fn parse(password: &[u8]) -> Result<Self, &'static str> {
        let end = password.iter().position(|byte| *byte == b'}');
        let (scheme, value) = match (password, end) {
            ([b'{', ..], Some(end)) => (&password[1..end], &password[end + 1..]),
            _ => (&b"CRYPT"[..], password),
        };
        let scheme = String::from_utf8_lossy(scheme).to_ascii_uppercase();
        if let "PLAIN" | "CLEARTEXT" | "CLEAR" = scheme.as_str() {
            return Ok(Self::Plain(Zeroizing::new(value.to_vec())));
        }
        let value = std::str::from_utf8(value).map_err(|_| "expected UTF-8")?;
        match scheme.as_str() {
            "CRYPT" | "SHA512-CRYPT" | "SHA256-CRYPT" | "BLF-CRYPT" | "MD5-CRYPT" | "MD5"
            | "DES-CRYPT" => Ok(Self::Crypt(Zeroizing::new(value.to_owned()))),
            "ARGON2ID" | "ARGON2I" => Ok(Self::Argon2(Zeroizing::new(value.to_owned()))),
            "PLAIN.B64" | "PLAIN.BASE64" => digest::base64(value)
                .map(|password| Self::Plain(Zeroizing::new(password)))
                .ok_or("expected base64 after {PLAIN.B64}"),
            "CRAM-MD5" | "HMAC-MD5" => HmacContexts::parse(value).map(Self::CramMd5),
            "SCRAM-SHA-1" => {
                let keys = scram::Keys::parse(ScramHash::Sha1, value)?;
                Ok(Self::Scram(ScramHash::Sha1, keys))
            }
            "SCRAM-SHA-256" => {
                let keys = scram::Keys::parse(ScramHash::Sha256, value)?;
                Ok(Self::Scram(ScramHash::Sha256, keys))
            }
            _ => match Digest::parse(&scheme, value) {
                Some(digest) => digest.map(Self::Digest),
                None => Err(
                    "expected a known scheme: CRYPT, SHA512-CRYPT, SHA256-CRYPT, BLF-CRYPT, MD5-CRYPT, DES-CRYPT, ARGON2ID, \
                     ARGON2I, SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, SSHA512, SSHA256, SSHA, SHA512, SHA256, SHA, \
                     SMD5, PLAIN-MD5, LDAP-MD5, PLAIN",
                ),
            },
        }
    }

    /// Whether a password can match. The marks of locked accounts match none.
    pub(crate) fn is_usable(&self) -> bool {
        match self {
            Self::Crypt(hash) => crypt::has_form(hash),
            Self::Argon2(hash) => hash.starts_with("$argon2"),
            Self::Plain(password) => !password.is_empty(),
            Self::Digest(_) | Self::CramMd5(_) | Self::Scram(..) => true,
        }
    }

    /// Whether a user with this password can log in by SCRAM with this hash function.
    pub(crate) fn fits_scram(&self, hash: ScramHash) -> bool {
        match self {
            Self::Scram(own, _) => *own == hash,
            Self::Plain(password) => !password.is_empty(),
            _ => false,
        }
    }

    /// Whether `secret` is this password. `None` if this host cannot make such a hash. That takes
    /// no time, so the caller must spend the time of a check (P9).
    pub(crate) fn verify(&self, secret: &[u8]) -> Option<bool> {
        match self {
            Self::Crypt(hash) => crypt::verify(secret, hash),
            Self::Plain(password) => Some(crypt::equal(secret, password)),
            Self::Argon2(hash) => argon::verify(secret, hash),
            Self::Digest(digest) => Some(digest.verify(secret)),
            Self::CramMd5(contexts) => Some(HmacContexts::of(secret) == *contexts),
            Self::Scram(hash, keys) => Some(keys.verify(*hash, secret)),
        }
    }

    /// Whether `digest` is the APOP digest for this password (RFC 1939, section 7). `None` if the
    /// stored form cannot tell.
    pub(crate) fn verify_apop(&self, timestamp: &str, digest: &[u8; 16]) -> Option<bool> {
        match self {
            Self::Plain(password) => Some(cram::apop(timestamp, password, digest)),
            _ => None,
        }
    }

    /// Whether `digest` is the CRAM-MD5 digest for this password (RFC 2195). `None` if the stored
    /// form cannot tell.
    pub(crate) fn verify_cram(&self, challenge: &str, digest: &[u8; 16]) -> Option<bool> {
        let contexts = match self {
            Self::Plain(password) => &HmacContexts::of(password),
            Self::CramMd5(contexts) => contexts,
            _ => return None,
        };
        Some(contexts.verify(challenge.as_bytes(), digest))
    }
}

/// The `{PLAIN}` text that a password file stores for `password`, or `{PLAIN.B64}` if the password
/// has characters that a line cannot have. `Err` for a password that is not UTF-8.
pub(crate) fn plain(password: &[u8]) -> Result<Zeroizing<String>, &'static str> {
    let text = std::str::from_utf8(password).map_err(|_| "expected a password in UTF-8")?;
    let fits = !text.is_empty()
        && !text.contains(|c: char| c == ':' || c.is_control())
        && text.trim() == text;
    Ok(Zeroizing::new(if fits {
        format!("{{PLAIN}}{text}")
    } else {
        format!("{{PLAIN.B64}}{}", Base64::encode_string(password))
    }))
}

#[cfg(test)]
mod tests;
