//! One SCRAM login against the password file: the challenge, then the check of the client's proof
//! (RFC 5802, section 3; RFC 7677).
//!
//! Every name gets a challenge, because a missing challenge would tell that a user does not exist
//! (P9).

use crate::account::{Claim, NotGranted};
use crate::passwd_file::{Entry, Lookup, NoEntry};
use crate::stored::{Stored, scram};
use popward_proto::account::Account;
use popward_proto::auth::{SCRAM_MAX, ScramHash, ScramProof};
use popward_proto::bounded::Text;
use zeroize::Zeroizing;

/// A SCRAM exchange that waits for the client's proof.
#[derive(Debug)]
pub(crate) struct ScramExchange {
    hash: ScramHash,
    claim: Claim,
    /// `client-first-message-bare`, a comma, and `server-first-message`.
    messages: String,
    parameters: scram::Parameters,
    secret: Secret,
    /// The account if the proof is right. `Err` if no proof can be right: the user does not exist,
    /// or has no secret for this mechanism.
    entry: Result<Entry, NoEntry>,
}

/// The secret that a proof is checked against.
///
/// A password becomes keys in the second step only. In the first step, the time for it would tell
/// which users have a password in the file (P9).
#[derive(Debug)]
enum Secret {
    Keys(scram::Keys),
    Password(Zeroizing<Vec<u8>>),
}

impl ScramExchange {
    /// SCRAM's first step. Returns `server-first-message` and the exchange.
    ///
    /// `first_bare` and `nonce` are the client's.
    pub(crate) fn begin(
        found: Lookup,
        claim: Claim,
        hash: ScramHash,
        (first_bare, nonce): (&Text<SCRAM_MAX>, &Text<256>),
    ) -> Result<(String, Box<Self>), NotGranted> {
        let own = found.entry.as_ref().ok().map(|entry| &entry.stored);
        let own = own.filter(|stored| stored.fits_scram(hash));
        // Without a secret of its own, a name looks like the user who stands in for it. That user's
        // secret also decides what the second step costs: a proof against kept keys takes less time
        // than one against a password.
        let secret = own.or(found.scram.as_ref());
        let like = match secret {
            Some(Stored::Scram(_, keys)) => &keys.parameters,
            _ => &found.of_passwords,
        };
        let made_up = scram::Parameters {
            iterations: like.iterations,
            salt: scram::made_up(&found.key, hash, claim.user.as_str(), like.salt.len()),
        };
        let (parameters, secret) = match secret {
            Some(Stored::Scram(_, keys)) if own.is_some() => {
                (keys.parameters.clone(), Secret::Keys(keys.clone()))
            }
            Some(Stored::Plain(password)) => (made_up, Secret::Password(password.clone())),
            _ => {
                let keys = scram::Keys::nobody(hash, made_up.clone());
                (made_up, Secret::Keys(keys))
            }
        };
        let entry = match found.entry {
            Ok(entry) if !entry.stored.fits_scram(hash) => Err(NoEntry::NoLine),
            entry => entry,
        };
        let Ok(server_nonce) = scram::nonce() else {
            return Err(NotGranted::Failed("no randomness".to_owned()));
        };
        let first = scram::first(nonce.as_str(), &server_nonce, &parameters);
        let exchange = Self {
            hash,
            claim,
            messages: format!("{},{first}", first_bare.as_str()),
            parameters,
            secret,
            entry,
        };
        Ok((first, Box::new(exchange)))
    }

    /// SCRAM's second step. Returns the server's signature and the account if the proof is right.
    pub(crate) fn prove(self, proof: &ScramProof) -> Result<(Vec<u8>, Account), NotGranted> {
        let keys = match self.secret {
            Secret::Keys(keys) => keys,
            Secret::Password(password) => {
                scram::Keys::derive(self.hash, &scram::prepared(&password), self.parameters)
            }
        };
        let message = [
            self.messages.as_bytes(),
            b",",
            proof.without_proof.as_str().as_bytes(),
        ];
        let signature = keys.prove(self.hash, &message, proof.proof.as_slice());
        let refused = |why: &str| Err(NotGranted::Refused(why.to_owned()));
        match (self.entry, signature) {
            (Err(NoEntry::NoLine), _) => refused("no such user, or no secret for this mechanism"),
            (Err(unusable), _) => Err(unusable.into()),
            (Ok(_), None) => refused("wrong password"),
            (Ok(entry), Some(signature)) => {
                let account = entry.grant(&self.claim.user, self.claim.peer)?;
                Ok((signature, account))
            }
        }
    }
}
