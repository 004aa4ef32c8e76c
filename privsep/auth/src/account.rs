//! Whose account a login is for: what the client claims, and why there is none.

use popward_conversation::account::NoAccount;
use popward_proto::account::Account;
use popward_proto::bounded::UserName;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process is confined so that a call of NSS would end it.
static WITHOUT_NSS: AtomicBool = AtomicBool::new(false);

/// From now on, [`of_system`] fails.
pub(crate) fn end_nss() {
    WITHOUT_NSS.store(true, Ordering::Relaxed);
}

/// The account of a user of the system.
///
/// # Errors
///
/// NSS fails or does not know the user, or this process cannot ask NSS.
pub(crate) fn of_system(user: &UserName) -> Result<Account, NotGranted> {
    if WITHOUT_NSS.load(Ordering::Relaxed) {
        return Err(NotGranted::Failed(format!(
            "{user}: reload popward: when it began, each line of the password file had ids"
        )));
    }
    Ok(popward_conversation::account::of_system(user.as_str())?)
}

/// The user whom a client claims to be.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// The name after the configured changes (lower case, domains cut off).
    pub(crate) user: UserName,
    /// The client's address.
    pub(crate) peer: IpAddr,
}

/// Why a check gave no account. The texts are for the log: a client never sees them.
#[derive(Debug)]
pub(crate) enum NotGranted {
    /// The credentials are wrong, or the user may not log in.
    Refused(String),
    /// The user's entry in the source of accounts cannot be used. The log tells the operator. The
    /// client gets the same answer as for a wrong password, because another answer would tell that
    /// the user exists (P9).
    Unusable(String),
    /// The check itself failed, so nothing is known about the credentials.
    Failed(String),
}

impl From<NoAccount> for NotGranted {
    fn from(why: NoAccount) -> Self {
        match why {
            NoAccount::Refused(why) => Self::Refused(why),
            NoAccount::Failed(why) => Self::Failed(why),
        }
    }
}
