//! SCRAM's keys, and what is computed from them (RFC 5802, section 3; RFC 7677).

use super::digest::base64;
use crate::crypt::equal;
use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use popward_proto::auth::ScramHash;
use sha1::Sha1;
use sha2::Sha256;
use sha2::digest::Digest;
use std::borrow::Cow;
use zeroize::Zeroizing;

/// The iterations of new secrets and of made-up challenges. RFC 7677 demands at least so many, and
/// Dovecot uses so many.
pub(crate) const ITERATIONS: u32 = 4096;

/// The length of new and made-up salts, in bytes.
pub(crate) const SALT: usize = 16;

/// The iterations that a file may have. With more, a check of a password would take minutes.
const ITERATIONS_PERMITTED: std::ops::RangeInclusive<u32> = 1..=10_000_000;

/// How keys were made from a password. The challenge shows this to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// The rounds of PBKDF2.
    pub(crate) iterations: u32,
    /// The salt of PBKDF2.
    pub(crate) salt: Vec<u8>,
}

impl Parameters {
    /// Those of users whose password is in the file. The salt is none yet: it has only the length.
    pub(crate) fn usual() -> Self {
        Self {
            iterations: ITERATIONS,
            salt: vec![0; SALT],
        }
    }
}

/// The keys that a password file stores for a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// How the keys were made.
    pub(crate) parameters: Parameters,
    stored: Zeroizing<Vec<u8>>,
    server: Zeroizing<Vec<u8>>,
}

impl Keys {
    /// Parses Dovecot's form `iterations,salt,StoredKey,ServerKey`. The last three are base64.
    pub(crate) fn parse(hash: ScramHash, text: &str) -> Result<Self, &'static str> {
        let expected = "expected ITERATIONS,SALT,STOREDKEY,SERVERKEY after {SCRAM-...}, with keys of the hash's length";
        let fields: Vec<&str> = text.split(',').collect();
        let &[iterations, salt, stored, server] = fields.as_slice() else {
            return Err(expected);
        };
        let iterations = iterations.parse().ok();
        let iterations = iterations.filter(|count| ITERATIONS_PERMITTED.contains(count));
        let key = |text: &str| {
            base64(text)
                .filter(|key| key.len() == length(hash))
                .map(Zeroizing::new)
        };
        let salt = base64(salt).filter(|salt| (1..=64).contains(&salt.len()));
        match (iterations, salt, key(stored), key(server)) {
            (Some(iterations), Some(salt), Some(stored), Some(server)) => Ok(Self {
                parameters: Parameters { iterations, salt },
                stored,
                server,
            }),
            _ => Err(expected),
        }
    }

    /// Makes the keys of a password.
    pub(crate) fn derive(hash: ScramHash, password: &[u8], parameters: Parameters) -> Self {
        let salted = salted(hash, password, &parameters);
        let client = mac(hash, &salted, &[b"Client Key"]);
        Self {
            parameters,
            stored: digest(hash, &client),
            server: mac(hash, &salted, &[b"Server Key"]),
        }
    }

    /// Keys of the right length that no password is known to have.
    pub(crate) fn nobody(hash: ScramHash, parameters: Parameters) -> Self {
        let none = Zeroizing::new(vec![0; length(hash)]);
        Self {
            parameters,
            stored: none.clone(),
            server: none,
        }
    }

    /// Whether these are the keys of `secret`. It is tried in the form of `SASLprep` and as it is,
    /// because not every tool that makes keys uses `SASLprep`.
    pub(crate) fn verify(&self, hash: ScramHash, secret: &[u8]) -> bool {
        let is = |secret: &[u8]| {
            let own = Self::derive(hash, secret, self.parameters.clone());
            equal(&own.stored, &self.stored)
        };
        let prepared = prepared(secret);
        is(&prepared) || (*prepared != *secret && is(secret))
    }

    /// Checks the client's `proof` over `message` (the RFC's `AuthMessage`). Returns
    /// `ServerSignature` if the proof is right.
    pub(crate) fn prove(
        &self,
        hash: ScramHash,
        message: &[&[u8]],
        proof: &[u8],
    ) -> Option<Vec<u8>> {
        let signature = mac(hash, &self.stored, message);
        // `zip` ends at the shorter side. So the length of the proof is checked below.
        let client: Zeroizing<Vec<u8>> = Zeroizing::new(
            proof
                .iter()
                .zip(signature.iter())
                .map(|(p, s)| p ^ s)
                .collect(),
        );
        let right = proof.len() == length(hash) && equal(&digest(hash, &client), &self.stored);
        let own = mac(hash, &self.server, message);
        right.then(|| own.to_vec())
    }

    /// The form in which Dovecot stores them.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        let encode = |bytes: &[u8]| Base64::encode_string(bytes);
        Zeroizing::new(format!(
            "{},{},{},{}",
            self.parameters.iterations,
            encode(&self.parameters.salt),
            encode(&self.stored),
            encode(&self.server)
        ))
    }

    /// A key for made-up salts. Without the password file, nobody can know it.
    pub(crate) fn key(&self) -> [u8; 32] {
        Sha256::new_with_prefix(self.stored.as_slice())
            .chain_update(self.server.as_slice())
            .finalize()
            .into()
    }
}

/// A salt for a name without keys. The same key, name and hash always give the same salt: a salt
/// that changed would tell that the name has no keys (P9).
pub(crate) fn made_up(key: &[u8; 32], hash: ScramHash, name: &str, length: usize) -> Vec<u8> {
    let label: &[u8] = match hash {
        ScramHash::Sha1 => b"SCRAM-SHA-1 ",
        ScramHash::Sha256 => b"SCRAM-SHA-256 ",
    };
    let mut salt = Vec::new();
    for block in 0u8..=3 {
        salt.extend_from_slice(&mac(
            ScramHash::Sha256,
            key,
            &[&[block], label, name.as_bytes()],
        ));
    }
    salt.truncate(length);
    salt
}

/// HMAC-SHA-256 of a name. `label` says what it is for. No label begins like a message of
/// [`made_up`].
pub(crate) fn keyed(key: &[u8; 32], label: &[u8], name: &str) -> Zeroizing<Vec<u8>> {
    mac(ScramHash::Sha256, key, &[label, name.as_bytes()])
}

/// A password in the form of `SASLprep` (RFC 4013). A password that `SASLprep` forbids stays as it
/// is.
pub(crate) fn prepared(secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let form = std::str::from_utf8(secret)
        .ok()
        .and_then(|text| stringprep::saslprep(text).ok())
        .filter(|form| !form.is_empty());
    Zeroizing::new(match form {
        Some(Cow::Owned(form)) => form.into_bytes(),
        _ => secret.to_vec(),
    })
}

/// The RFC's `Hi`, which is PBKDF2.
fn salted(hash: ScramHash, password: &[u8], parameters: &Parameters) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(vec![0; length(hash)]);
    let (salt, rounds) = (&parameters.salt, parameters.iterations);
    match hash {
        ScramHash::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, rounds, &mut out),
        ScramHash::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, rounds, &mut out),
    }
    out
}

/// The length of the hash, in bytes.
fn length(hash: ScramHash) -> usize {
    match hash {
        ScramHash::Sha1 => 20,
        ScramHash::Sha256 => 32,
    }
}

fn digest(hash: ScramHash, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(match hash {
        ScramHash::Sha1 => Sha1::digest(bytes).to_vec(),
        ScramHash::Sha256 => Sha256::digest(bytes).to_vec(),
    })
}

fn mac(hash: ScramHash, key: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    fn with<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
        for part in parts {
            mac.update(part);
        }
        Zeroizing::new(mac.finalize().into_bytes().to_vec())
    }
    match hash {
        ScramHash::Sha1 => with::<Hmac<Sha1>>(key, parts),
        ScramHash::Sha256 => with::<Hmac<Sha256>>(key, parts),
    }
}

/// A new server nonce of printable characters.
pub(crate) fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 18];
    getrandom::fill(&mut bytes)?;
    Ok(Base64::encode_string(&bytes))
}

/// `server-first-message`.
pub(crate) fn first(client_nonce: &str, server_nonce: &str, parameters: &Parameters) -> String {
    let salt = Base64::encode_string(&parameters.salt);
    format!(
        "r={client_nonce}{server_nonce},s={salt},i={}",
        parameters.iterations
    )
}
