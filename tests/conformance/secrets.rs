//! The values that a client computes: base64, and the digests and proofs of the mechanisms. This is
//! other code than popward's, so that a mistake there is found.

use super::script::unescaped;
use aws_lc_rs::{hmac, pbkdf2};
use base64ct::{Base64, Encoding};
use std::num::NonZeroU32;

/// The client's nonce in SCRAM. In a test it need not be random.
const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

/// Computes the value of a `{...}`. `binding` is the connection's `tls-exporter`, for SCRAM with
/// channel binding.
pub fn computed(words: &[String], binding: Option<[u8; 32]>) -> Result<Vec<u8>, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let text = match words.as_slice() {
        ["base64", text @ ..] => Base64::encode_string(&unescaped(&text.join(" "))?),
        ["repeat", times, text @ ..] => {
            let times = times.parse().map_err(|_| "expected a number")?;
            return Ok(unescaped(&text.join(" "))?.repeat(times));
        }
        ["bearer", name, length] => {
            let length = length.parse().map_err(|_| "expected a number")?;
            let token = "t".repeat(length);
            Base64::encode_string(format!("{name}\x01auth=Bearer {token}\x01\x01").as_bytes())
        }
        ["apop", timestamp, password] => {
            format!("{:x}", md5::compute(format!("{timestamp}{password}")))
        }
        ["cram", challenge, user, password] => {
            let digest = hmac_md5(password.as_bytes(), &decoded(challenge)?);
            Base64::encode_string(format!("{user} {digest}").as_bytes())
        }
        ["scram-first", hash, user] => {
            Base64::encode_string(format!("{}{}", gs2(hash), bare(user)).as_bytes())
        }
        ["scram-final", hash, user, password, challenge] => {
            Scram::new(hash, user, password, challenge, binding)?.last()
        }
        ["scram-signature", hash, user, password, challenge] => {
            Scram::new(hash, user, password, challenge, binding)?.signature()
        }
        _ => return Err(format!("cannot compute {words:?}")),
    };
    Ok(text.into_bytes())
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    Base64::decode_vec(text).map_err(|error| format!("{text}: {error}"))
}

/// HMAC-MD5 (RFC 2104).
fn hmac_md5(key: &[u8], message: &[u8]) -> String {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let padded = |pad: u8, rest: &[u8]| {
        let mut bytes: Vec<u8> = block.iter().map(|byte| byte ^ pad).collect();
        bytes.extend_from_slice(rest);
        md5::compute(bytes).0
    };
    let digest = padded(0x5c, &padded(0x36, message));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bare(user: &str) -> String {
    format!(
        "n={},r={NONCE}",
        user.replace('=', "=3D").replace(',', "=2C")
    )
}

fn gs2(hash: &str) -> &'static str {
    if hash.ends_with("-PLUS") {
        "p=tls-exporter,,"
    } else {
        "n,,"
    }
}

/// SCRAM's last message, with the proof (RFC 5802, section 3).
struct Scram {
    without_proof: String,
    message: String,
    salted: Vec<u8>,
    algorithm: hmac::Algorithm,
    digest: &'static aws_lc_rs::digest::Algorithm,
}

impl Scram {
    fn new(
        hash: &str,
        user: &str,
        password: &str,
        challenge: &str,
        binding: Option<[u8; 32]>,
    ) -> Result<Self, String> {
        let first = String::from_utf8(decoded(challenge)?).map_err(|_| "no text")?;
        let attribute = |name: &str| {
            let found = first.split(',').find_map(|part| part.strip_prefix(name));
            found.ok_or(format!("no {name} in {first}"))
        };
        let nonce = attribute("r=")?;
        if !nonce.starts_with(NONCE) || nonce.len() < NONCE.len() + 16 {
            return Err(format!("{first}: expected the client's nonce and more"));
        }
        let salt = decoded(attribute("s=")?)?;
        let iterations: u32 = attribute("i=")?.parse().map_err(|_| "expected a number")?;
        if iterations < 4096 {
            return Err(format!(
                "{iterations} iterations: RFC 5802, section 5.1, wants 4096"
            ));
        }
        let (algorithm, derivation, digest, length) = if hash.starts_with("SHA-256") {
            (
                hmac::HMAC_SHA256,
                pbkdf2::PBKDF2_HMAC_SHA256,
                &aws_lc_rs::digest::SHA256,
                32,
            )
        } else {
            let digest = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
            (
                hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                pbkdf2::PBKDF2_HMAC_SHA1,
                digest,
                20,
            )
        };
        let mut channel = gs2(hash).as_bytes().to_vec();
        if hash.ends_with("-PLUS") {
            channel.extend(binding.ok_or("no TLS to be bound to")?);
        }
        let mut salted = vec![0; length];
        let rounds = NonZeroU32::new(iterations).ok_or("no iterations")?;
        pbkdf2::derive(derivation, rounds, &salt, password.as_bytes(), &mut salted);
        let without_proof = format!("c={},r={nonce}", Base64::encode_string(&channel));
        let message = format!("{},{first},{without_proof}", bare(user));
        Ok(Self {
            without_proof,
            message,
            salted,
            algorithm,
            digest,
        })
    }

    fn keyed(&self, key: &[u8], message: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.algorithm, key), message)
            .as_ref()
            .to_vec()
    }

    fn last(&self) -> String {
        let client_key = self.keyed(&self.salted, b"Client Key");
        let stored_key = aws_lc_rs::digest::digest(self.digest, &client_key);
        let signature = self.keyed(stored_key.as_ref(), self.message.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(signature)
            .map(|(key, byte)| key ^ byte)
            .collect();
        let last = format!("{},p={}", self.without_proof, Base64::encode_string(&proof));
        Base64::encode_string(last.as_bytes())
    }

    fn signature(&self) -> String {
        let server_key = self.keyed(&self.salted, b"Server Key");
        let signature = self.keyed(&server_key, self.message.as_bytes());
        Base64::encode_string(format!("v={}", Base64::encode_string(&signature)).as_bytes())
    }
}
