//! SCRAM's messages (RFC 5802, section 7; SHA-256 by RFC 7677; channel binding by RFC 9266).

use super::attempt::{Attempt, Login, stand_in, user_name};
use super::mechanism::NamedMechanism;
use base64ct::{Base64, Encoding};
use popward_proto::auth::{Credentials, Impossible, ScramHash, ScramProof};
use popward_proto::bounded::Text;
use popward_proto::monitor_front::Mechanism;

/// The rules for a client's first message: the hash, and what it must say about its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    hash: ScramHash,
    binding: Binding,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Binding {
    /// `-PLUS`: the exchange is bound to this value of `tls-exporter`.
    Bound([u8; 32]),
    /// The exchange is not bound. `possible`: the server offers binding. A client that then says
    /// that the server offers none (`y`) got a changed list of mechanisms: an attacker removed
    /// `-PLUS` from it.
    Free { possible: bool },
}

/// An exchange whose first message has gone to auth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Started {
    /// Why no account can match this login. `None`: an account can match.
    impossible: Option<Impossible>,
    /// The value that `c=` must have in the client's last message.
    channel: String,
    /// The client's nonce. The server's nonce must begin with it.
    nonce: Text<256>,
}

/// An exchange whose challenge has gone to the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenged {
    impossible: Option<Impossible>,
    channel: String,
    nonce: String,
}

impl Rules {
    /// The rules for an exchange of the mechanism `named`. `binding`: the connection's
    /// `tls-exporter`.
    pub(super) fn new(named: NamedMechanism, binding: Option<[u8; 32]>) -> Self {
        Self {
            hash: if named.mechanism == Mechanism::ScramSha1 {
                ScramHash::Sha1
            } else {
                ScramHash::Sha256
            },
            binding: match binding {
                Some(bytes) if named.plus => Binding::Bound(bytes),
                binding => Binding::Free {
                    possible: binding.is_some(),
                },
            },
        }
    }

    /// Parses `client-first-message`: `gs2-header client-first-message-bare`. Returns what auth is
    /// asked, and the exchange that waits for auth's challenge.
    pub(super) fn first(&self, message: &[u8]) -> Option<(Attempt, Started)> {
        let text = std::str::from_utf8(message).ok()?;
        let mut parts = text.splitn(3, ',');
        let (flag, identity, bare) = (parts.next()?, parts.next()?, parts.next()?);
        let mut channel = format!("{flag},{identity},").into_bytes();
        match &self.binding {
            Binding::Bound(bytes) if flag == "p=tls-exporter" => channel.extend_from_slice(bytes),
            Binding::Free { .. } if flag == "n" => {}
            Binding::Free { possible: false } if flag == "y" => {}
            _ => return None,
        }
        // A mandatory extension (`m=`) must be refused if it is not known, and none is known here.
        // `m=` stands before the name, so the check for `n=` refuses it.
        let mut attributes = bare.split(',');
        let name = attributes.next()?.strip_prefix("n=")?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let nonce = Text::try_from(nonce.to_owned()).ok()?;
        let own = identity.is_empty() || identity.strip_prefix("a=") == Some(name);
        let (user, impossible) = stand_in(user_name(unescape(name)?.as_bytes()));
        let impossible = impossible.or((!own).then_some(Impossible::Identity));
        let credentials = Credentials::Scram {
            hash: self.hash,
            user: user?,
            first_bare: Text::try_from(bare.to_owned()).ok()?,
            nonce: nonce.clone(),
        };
        let started = Started {
            impossible,
            channel: Base64::encode_string(&channel),
            nonce,
        };
        Some((Attempt::check(credentials, impossible), started))
    }
}

/// Decodes a `saslname`: `=2C` is a comma and `=3D` an equals sign. `None`: the name has another
/// `=`.
pub(super) fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let rest = match part.get(..2)? {
            "2C" => {
                plain.push(',');
                &part[2..]
            }
            "3D" => {
                plain.push('=');
                &part[2..]
            }
            _ => return None,
        };
        plain.push_str(rest);
    }
    Some(plain)
}

impl Started {
    /// Continues with auth's `server-first-message`. `None`: its nonce does not begin with the
    /// client's.
    pub(crate) fn challenged(self, first: &str) -> Option<Challenged> {
        let nonce = first.split(',').next()?.strip_prefix("r=")?;
        nonce.starts_with(self.nonce.as_str()).then(|| Challenged {
            impossible: self.impossible,
            channel: self.channel,
            nonce: nonce.to_owned(),
        })
    }
}

impl Challenged {
    /// Parses `client-final-message`, with the proof.
    pub(super) fn proof(&self, message: &[u8]) -> Option<Attempt> {
        let text = std::str::from_utf8(message).ok()?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let channel = attributes.next()?.strip_prefix("c=")?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        if channel != self.channel || nonce != self.nonce {
            return None;
        }
        let proof = Base64::decode_vec(proof).ok()?;
        let login = Login::Prove(ScramProof {
            without_proof: Text::try_from(without_proof.to_owned()).ok()?,
            proof: proof.try_into().ok()?,
        });
        let impossible = self.impossible;
        Some(Attempt { login, impossible })
    }
}
