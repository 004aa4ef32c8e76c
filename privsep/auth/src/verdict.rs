//! The result of one check.

use crate::account::NotGranted;
use crate::scram_exchange::ScramExchange;
use popward_proto::account::Account;
use popward_proto::bounded::UserName;

/// The result of one check. The texts are for the log: a client gets the same answer for every
/// refusal.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The credentials belong to this account.
    Granted(Account),
    /// A token or a certificate belongs to this user. The account must still be looked up.
    Identified(UserName),
    /// SCRAM: the server's first message for the client, and the exchange that checks the client's
    /// proof.
    Challenge(String, Box<ScramExchange>),
    /// SCRAM: the proof is right. The server's signature for the client, and the account.
    Proved(Vec<u8>, Account),
    /// See [`NotGranted::Refused`].
    Refused(String),
    /// See [`NotGranted::Unusable`].
    Unusable(String),
    /// See [`NotGranted::Failed`].
    Failed(String),
}

impl From<NotGranted> for Verdict {
    fn from(why: NotGranted) -> Self {
        match why {
            NotGranted::Refused(why) => Self::Refused(why),
            NotGranted::Unusable(why) => Self::Unusable(why),
            NotGranted::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<Result<Account, NotGranted>> for Verdict {
    fn from(result: Result<Account, NotGranted>) -> Self {
        result.map_or_else(Self::from, Self::Granted)
    }
}

impl From<Result<(Vec<u8>, Account), NotGranted>> for Verdict {
    fn from(result: Result<(Vec<u8>, Account), NotGranted>) -> Self {
        match result {
            Ok((signature, account)) => Self::Proved(signature, account),
            Err(why) => why.into(),
        }
    }
}
