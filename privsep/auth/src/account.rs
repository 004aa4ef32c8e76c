//! Whose account a login is for: what the client claims, and why there is none.

use popward_conversation::account::NoAccount;
use popward_proto::bounded::UserName;
use std::net::IpAddr;

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
