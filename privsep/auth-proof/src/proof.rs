//! What a token or a certificate proves.

use popward_proto::bounded::UserName;

/// The result of a check. The texts are for the log.
#[derive(Debug)]
pub(crate) enum Proof {
    /// It is this user's.
    Identified(UserName),
    /// It proves nothing.
    Refused(String),
    /// The check itself failed.
    Failed(String),
}
