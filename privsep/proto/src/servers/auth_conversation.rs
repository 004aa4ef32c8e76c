//! auth ↔ the process that holds one conversation: one question and one answer.
//!
//! The monitor starts the process. Its command line says which PAM service or program to ask, so
//! auth cannot choose another one.

use crate::account::Account;
use crate::auth::{CERTIFICATE_MAX, CHAIN_MAX, TOKEN_MAX};
use crate::bounded::{Bytes, List, Text, UserName};
use crate::monitor_auth::{CertificateUser, TokenRules};
use crate::permit::{Message, Permit, once};
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The question to the process. There is only one on each channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthToConversation {
    /// Hold a PAM conversation.
    Pam {
        /// The name.
        user: UserName,
        /// The password. `None`: only the account is checked.
        secret: Option<Secret>,
        /// The client's address: `PAM_RHOST`.
        peer: IpAddr,
    },
    /// Ask a program by qmail's checkpassword interface.
    Checkpassword {
        /// The name.
        user: UserName,
        /// The password.
        secret: Secret,
        /// The client's address.
        peer: IpAddr,
    },
    /// Ask a program which user a token belongs to.
    TokenProgram {
        /// The token.
        token: Secret<TOKEN_MAX>,
        /// The client's address.
        peer: IpAddr,
    },
    /// Find the user of a token. One descriptor comes with it: the file with the issuer's keys.
    Token {
        /// The claims that the token must have.
        rules: TokenRules,
        /// The token.
        token: Secret<TOKEN_MAX>,
    },
    /// Find the user of a certificate. One descriptor comes with it: the file with the authorities.
    /// The fields are those of [`crate::auth::Credentials::Certificate`].
    Certificate {
        /// Which name in the certificate is the user's.
        name: CertificateUser,
        /// The chain.
        chain: List<Bytes<CERTIFICATE_MAX>, CHAIN_MAX>,
        /// The signed message.
        signed: Bytes<256>,
        /// The signature scheme: a TLS code point.
        scheme: u16,
        /// The signature.
        signature: Bytes<1024>,
    },
}

/// The answer of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConversationToAuth {
    /// The credentials belong to this account.
    Granted(Account),
    /// The credentials belong to this user. Auth must look the account up.
    Identified(UserName),
    /// The credentials are wrong. The text is for the log only.
    Refused(Text<128>),
    /// The check itself failed. The text is for the log only.
    Failed(Text<128>),
}

/// The only phase of both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversationPhase {
    /// From start to end.
    Conversation,
}

impl Message for AuthToConversation {
    const LIMIT: usize = 15 * 1024;
    type Phase = ConversationPhase;
    fn permit(&self) -> Permit<ConversationPhase> {
        use ConversationPhase::Conversation;
        match self {
            Self::Pam { .. } => once("Pam", &[Conversation]),
            Self::Checkpassword { .. } => once("Checkpassword", &[Conversation]),
            Self::TokenProgram { .. } => once("TokenProgram", &[Conversation]),
            Self::Token { .. } => once("Token", &[Conversation]).with_descriptors(1),
            Self::Certificate { .. } => once("Certificate", &[Conversation]).with_descriptors(1),
        }
    }
}

impl Message for ConversationToAuth {
    const LIMIT: usize = 5 * 1024;
    type Phase = ConversationPhase;
    fn permit(&self) -> Permit<ConversationPhase> {
        use ConversationPhase::Conversation;
        match self {
            Self::Granted(_) => once("Granted", &[Conversation]),
            Self::Identified(_) => once("Identified", &[Conversation]),
            Self::Refused(_) => once("Refused", &[Conversation]),
            Self::Failed(_) => once("Failed", &[Conversation]),
        }
    }
}
