//! Checks credentials against the password file, one function for each mechanism. Runs on a hashing
//! thread.
//!
//! A check takes the same time for a user who does not exist or is locked (P9). So it always reads
//! the whole file, and it always computes a hash: the user's, or that of the user who stands in.

use crate::account::{Claim, NotGranted};
use crate::passwd_file::{Lookup, find};
use crate::scram_exchange::ScramExchange;
use crate::stored::Stored;
use crate::verdict::Verdict;
use popward_proto::auth::Credentials;
use std::path::Path;

/// Checks `credentials` for `claim` against the password file at `path`.
///
/// `key` makes what a name without a password looks like, unless the file has a stand-in line.
pub(crate) fn check(
    path: &Path,
    claim: Claim,
    credentials: &Credentials,
    key: &[u8; 32],
) -> Verdict {
    let hash = match credentials {
        Credentials::Scram { hash, .. } => Some(*hash),
        _ => None,
    };
    let found = match find(path, &claim.user, hash, key) {
        Ok(found) => found,
        Err(why) => return Verdict::Failed(format!("{}: {why}", path.display())),
    };
    match credentials {
        Credentials::Scram {
            hash,
            first_bare,
            nonce,
            ..
        } => match ScramExchange::begin(found, claim, *hash, (first_bare, nonce)) {
            Ok((first, exchange)) => Verdict::Challenge(first, exchange),
            Err(why) => why.into(),
        },
        _ => check_at_once(found, &claim, credentials),
    }
}

/// The account of a user whom a token or a certificate has identified already.
pub(crate) fn account(path: &Path, claim: &Claim) -> Verdict {
    // The key does not matter, because nobody stands in for an identified user.
    match find(path, &claim.user, None, &[0; 32]) {
        Err(why) => Verdict::Failed(format!("{}: {why}", path.display())),
        Ok(Lookup { entry, .. }) => match entry {
            Ok(entry) => entry.grant(&claim.user, claim.peer).into(),
            Err(none) => Verdict::from(NotGranted::from(none)),
        },
    }
}

/// Checks the credentials of a mechanism with one step.
fn check_at_once(found: Lookup, claim: &Claim, credentials: &Credentials) -> Verdict {
    let entry = match found.entry {
        Ok(entry) => entry,
        Err(none) => {
            pretend(&found.stand_ins, credentials);
            return Verdict::from(NotGranted::from(none));
        }
    };
    if !entry.stored.is_usable() {
        pretend(&found.stand_ins, credentials);
        return Verdict::Refused("locked".to_owned());
    }
    match (verify(&entry.stored, credentials), credentials) {
        (Some(true), _) => entry.grant(&claim.user, claim.peer).into(),
        (Some(false), _) => Verdict::Refused("wrong password".to_owned()),
        (None, Credentials::Password { .. }) => {
            pretend(&found.stand_ins, credentials);
            let user = &claim.user;
            Verdict::Unusable(format!("{user}: expected a hash that this host can make"))
        }
        (None, _) => Verdict::Refused("no secret for this mechanism".to_owned()),
    }
}

/// Spends the time of a check where there is nothing to check against (P9).
fn pretend(stand_ins: &[Stored], credentials: &Credentials) {
    // The stand-ins come from the file, so this host may be unable to make a stand-in's hash too.
    // A stored form without a secret for this mechanism takes no time. The next one would.
    let most = match credentials {
        Credentials::Password { .. } => usize::MAX,
        _ => 1,
    };
    let nobody = Stored::nobody();
    for stand_in in stand_ins.iter().chain([&nobody]).take(most) {
        if verify(stand_in, credentials).is_some() {
            return;
        }
    }
}

/// Whether the credentials match what is stored. `None` if they cannot be compared.
fn verify(stored: &Stored, credentials: &Credentials) -> Option<bool> {
    match credentials {
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

#[cfg(test)]
mod tests;
