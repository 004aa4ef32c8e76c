//! An issuer's public keys: a JSON Web Key Set (RFC 7517, RFC 7518 section 6, RFC 8037).

#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs::signature;
#[cfg(not(feature = "aws-lc-rs"))]
use ring::signature;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Deserialize;

/// Most keys in a file. For a token that none of them has signed, all are tried.
const KEYS_MAX: usize = 32;

/// The file's form. Unknown members are ignored, as RFC 7517, section 4 demands.
#[derive(Debug, Deserialize)]
struct Set {
    keys: Vec<Written>,
}

#[derive(Debug, Deserialize)]
struct Written {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A public key, with the algorithms that it is for.
#[derive(Debug)]
pub(super) struct Key {
    public: Public,
    algorithms: Vec<&'static str>,
}

#[derive(Debug)]
enum Public {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An elliptic curve's point, or the 32 bytes of an Ed25519 key.
    Curve(Vec<u8>),
}

/// Parses a key set. Keys of unknown kinds are left out. It is an error if none is left. `Err` says
/// what was expected.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Key>, &'static str> {
    let expected = "expected a JSON Web Key Set";
    let set: Set = serde_json::from_slice(bytes).map_err(|_| expected)?;
    if set.keys.len() > KEYS_MAX {
        return Err("expected at most 32 keys");
    }
    let keys: Vec<Key> = set.keys.iter().filter_map(Written::key).collect();
    if keys.is_empty() {
        return Err("expected a key of kty RSA, EC (P-256, P-384) or OKP (Ed25519)");
    }
    Ok(keys)
}

impl Written {
    fn key(&self) -> Option<Key> {
        if self
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose != "sig")
        {
            return None;
        }
        let bytes =
            |member: &Option<String>| Base64UrlUnpadded::decode_vec(member.as_deref()?).ok();
        // A coordinate has the curve's full length. Leading zeroes are not left out.
        let coordinate =
            |member: &Option<String>, length| bytes(member).filter(|own| own.len() == length);
        let point = |length| {
            let (x, y) = (coordinate(&self.x, length)?, coordinate(&self.y, length)?);
            Some(Public::Curve([&[4][..], &x, &y].concat()))
        };
        let (public, possible): (_, &[&str]) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (modulus, exponent) = (bytes(&self.n)?, bytes(&self.e)?);
                let all = &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
                (Public::Rsa { modulus, exponent }, all)
            }
            ("EC", Some("P-256")) => (point(32)?, &["ES256"]),
            ("EC", Some("P-384")) => (point(48)?, &["ES384"]),
            ("OKP", Some("Ed25519")) => (Public::Curve(coordinate(&self.x, 32)?), &["EdDSA"]),
            _ => return None,
        };
        let named =
            |algorithm: &&&'static str| self.alg.as_deref().is_none_or(|own| own == **algorithm);
        let algorithms: Vec<&'static str> = possible.iter().filter(named).copied().collect();
        (!algorithms.is_empty()).then_some(Key { public, algorithms })
    }
}

impl Key {
    /// The algorithm by which this key has made `signature` over `message`. `None` if it has not.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Option<&'static str> {
        let is = |algorithm: &&&'static str| self.is(algorithm, message, signature);
        self.algorithms.iter().find(is).copied()
    }

    fn is(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        match &self.public {
            Public::Rsa { modulus, exponent } => {
                let parameters: &signature::RsaParameters = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                let key = signature::RsaPublicKeyComponents {
                    n: modulus.as_slice(),
                    e: exponent.as_slice(),
                };
                key.verify(parameters, message, signature).is_ok()
            }
            Public::Curve(point) => {
                let algorithm: &dyn signature::VerificationAlgorithm = match algorithm {
                    "ES256" => &signature::ECDSA_P256_SHA256_FIXED,
                    "ES384" => &signature::ECDSA_P384_SHA384_FIXED,
                    "EdDSA" => &signature::ED25519,
                    _ => return false,
                };
                let key = signature::UnparsedPublicKey::new(algorithm, point);
                key.verify(message, signature).is_ok()
            }
        }
    }
}
