//! Whether what a client shows is what the password file has, mechanism by mechanism. It runs on a hashing thread.
//!
//! A check takes as long for somebody who does not exist or is locked (P9): the whole file is read, and what is shown is
//! held against something of the kind that the file's users have.

use crate::passwd_file::{Entry, Found, NoEntry, find};
use crate::stored::{Stored, scram};
use crate::verdict::Verdict;
use popward_proto::auth::{Credentials, SCRAM_MAX, ScramHash, ScramProof};
use popward_proto::bounded::{Text, UserName};
use std::net::IpAddr;
use std::path::Path;
use zeroize::Zeroizing;

/// The user whom a client claims to be.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// The name, as it is looked for.
    pub(crate) user: UserName,
    /// From where.
    pub(crate) peer: IpAddr,
}

/// A SCRAM exchange that waits for the client's proof.
#[derive(Debug)]
pub(crate) struct ScramExchange {
    hash: ScramHash,
    claim: Claim,
    /// `client-first-message-bare`, a comma, and `server-first-message`.
    messages: String,
    parameters: scram::Parameters,
    secret: Secret,
    /// Whose proof it is, if it is right; where no proof is, why there is nobody, or nothing for this mechanism.
    entry: Result<Entry, NoEntry>,
}

/// What a proof is held against. Of a password the keys are made only then: it takes a while, which would tell apart in
/// the first step who has one.
#[derive(Debug)]
enum Secret {
    Keys(scram::Keys),
    Password(Zeroizing<Vec<u8>>),
}

/// What a check comes to where passwords are in the file at `path`. `key` is that of made-up salts, where the file has none.
pub(crate) fn check(path: &Path, claim: Claim, shown: &Credentials, key: &[u8; 32]) -> Verdict {
    let hash = match shown {
        Credentials::Scram { hash, .. } => Some(*hash),
        _ => None,
    };
    let found = match find(path, &claim.user, hash) {
        Ok(found) => found,
        Err(why) => return Verdict::Failed(format!("{}: {why}", path.display())),
    };
    match shown {
        Credentials::Scram {
            hash,
            first_bare,
            nonce,
            ..
        } => challenge(found, claim, *hash, (first_bare, nonce), key),
        _ => shown_at_once(found, &claim, shown),
    }
}

/// The account of a user who has shown by other means who it is.
pub(crate) fn account(path: &Path, claim: &Claim) -> Verdict {
    match find(path, &claim.user, None) {
        Err(why) => Verdict::Failed(format!("{}: {why}", path.display())),
        Ok(Found { entry, .. }) => match entry {
            Ok(entry) => entry.grant(&claim.user, claim.peer),
            Err(none) => none.verdict(),
        },
    }
}

/// Mechanisms of one step.
fn shown_at_once(found: Found, claim: &Claim, shown: &Credentials) -> Verdict {
    let entry = match found.entry {
        Ok(entry) => entry,
        Err(none) => {
            pretend(&found.like, shown);
            return none.verdict();
        }
    };
    if !entry.stored.is_usable() {
        pretend(&found.like, shown);
        return Verdict::Refused("locked".to_owned());
    }
    match (verify(&entry.stored, shown), shown) {
        (Some(true), _) => entry.grant(&claim.user, claim.peer),
        (Some(false), _) => Verdict::Refused("wrong password".to_owned()),
        (None, Credentials::Password { .. }) => {
            pretend(&found.like, shown);
            let user = &claim.user;
            Verdict::Unusable(format!("{user}: expected a hash that this host can make"))
        }
        (None, _) => Verdict::Refused("no secret for this mechanism".to_owned()),
    }
}

/// Takes as long as a check of somebody's, for whom there is nothing to be checked against (P9).
fn pretend(like: &Stored, shown: &Credentials) {
    if verify(like, shown).is_none() {
        // The first line of the file may be one that cannot be used as well.
        let _ = verify(&Stored::nobody(), shown);
    }
}

/// `None` where nothing can be found out by what is stored.
fn verify(stored: &Stored, shown: &Credentials) -> Option<bool> {
    match shown {
        Credentials::Password { secret, .. } => stored.verify(secret.expose()),
        Credentials::Apop {
            timestamp, digest, ..
        } => stored.verify_apop(timestamp.as_str(), digest),
        Credentials::CramMd5 {
            challenge, digest, ..
        } => stored.verify_cram(challenge.as_str(), digest),
        Credentials::Scram { .. } | Credentials::Token { .. } | Credentials::Certificate { .. } => {
            None
        }
    }
}

/// SCRAM's first step: a salt for everybody, made up where there is none.
fn challenge(
    found: Found,
    claim: Claim,
    hash: ScramHash,
    (first_bare, nonce): (&Text<SCRAM_MAX>, &Text<256>),
    key: &[u8; 32],
) -> Verdict {
    let like = found.parameters.unwrap_or(scram::Parameters {
        iterations: scram::ITERATIONS,
        salt: vec![0; scram::SALT],
    });
    let key = found.key.as_ref().unwrap_or(key);
    let made_up = scram::Parameters {
        iterations: like.iterations,
        salt: scram::made_up(key, hash, claim.user.as_str(), like.salt.len()),
    };
    // For the time alone: whose keys are kept as such proves faster than whose password is.
    let nobody = match found.like {
        Stored::Plain(password) => Secret::Password(password),
        _ => Secret::Keys(scram::Keys::nobody(hash, made_up.clone())),
    };
    let (parameters, secret, entry) = match found.entry {
        Ok(entry) => match &entry.stored {
            Stored::Scram(own, keys) if *own == hash => (
                keys.parameters.clone(),
                Secret::Keys(keys.clone()),
                Ok(entry),
            ),
            Stored::Plain(password) if !password.is_empty() => {
                (made_up, Secret::Password(password.clone()), Ok(entry))
            }
            _ => (made_up, nobody, Err(NoEntry::NoLine)),
        },
        Err(none) => (made_up, nobody, Err(none)),
    };
    let Ok(server_nonce) = scram::nonce() else {
        return Verdict::Failed("no randomness".to_owned());
    };
    let first = scram::first(nonce.as_str(), &server_nonce, &parameters);
    Verdict::Challenge(
        first.clone(),
        Box::new(ScramExchange {
            hash,
            claim,
            messages: format!("{},{first}", first_bare.as_str()),
            parameters,
            secret,
            entry,
        }),
    )
}

impl ScramExchange {
    /// SCRAM's second step.
    pub(crate) fn prove(self, proof: &ScramProof) -> Verdict {
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
        match (self.entry, signature) {
            (Err(NoEntry::NoLine), _) => {
                Verdict::Refused("no such user, or no secret for this mechanism".to_owned())
            }
            (Err(unusable), _) => unusable.verdict(),
            (Ok(_), None) => Verdict::Refused("wrong password".to_owned()),
            (Ok(entry), Some(signature)) => match entry.grant(&self.claim.user, self.claim.peer) {
                Verdict::Granted(account) => Verdict::Proved(signature, account),
                other => other,
            },
        }
    }
}

#[cfg(test)]
mod tests;
