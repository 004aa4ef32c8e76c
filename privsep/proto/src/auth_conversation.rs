//! auth ↔ the child that holds one conversation: "check these", and what came of it. The child asks nothing.

use crate::account::Account;
use crate::auth::{CERTIFICATE_MAX, CHAIN_MAX, TOKEN_MAX};
use crate::bounded::{AbsolutePath, Bytes, List, Text, UserName};
use crate::monitor_auth::{CertificateUser, TokenRules};
use crate::permit::{Message, Permit, once};
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What auth asks of the child. It is the only message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthToConversation {
    /// Hold a PAM conversation.
    Pam {
        /// The PAM service.
        service: Text<32>,
        /// The name.
        user: UserName,
        /// The password; without one the account phase alone is asked for.
        secret: Option<Secret>,
        /// The client's address: `PAM_RHOST`.
        peer: IpAddr,
    },
    /// Ask a program as qmail's checkpassword is asked.
    Checkpassword {
        /// The program.
        program: AbsolutePath,
        /// The name.
        user: UserName,
        /// The password.
        secret: Secret,
        /// The client's address.
        peer: IpAddr,
    },
    /// Ask a program whose a token is.
    TokenProgram {
        /// The program.
        program: AbsolutePath,
        /// The token.
        token: Secret<TOKEN_MAX>,
        /// The client's address.
        peer: IpAddr,
    },
    /// Find out whose a token is, by the keys in the file that comes with it: one descriptor.
    Token {
        /// What must be in it.
        rules: TokenRules,
        /// The token.
        token: Secret<TOKEN_MAX>,
    },
    /// Find out whose a certificate is, by the authorities in the file that comes with it: one descriptor. The rest as
    /// in [`crate::auth::Credentials::Certificate`].
    Certificate {
        /// Where in the certificate the name is.
        name: CertificateUser,
        /// The chain.
        chain: List<Bytes<CERTIFICATE_MAX>, CHAIN_MAX>,
        /// What was signed.
        signed: Bytes<256>,
        /// By which scheme.
        scheme: u16,
        /// The signature.
        signature: Bytes<1024>,
    },
}

/// What the child answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConversationToAuth {
    /// The credentials are this account's.
    Granted(Account),
    /// The credentials are this user's, who is to be looked for.
    Identified(UserName),
    /// Refused, and why, for the log alone.
    Refused(Text<128>),
    /// Nothing is said about the credentials: whoever knows could not be asked. Why, for the log alone.
    Failed(Text<128>),
}

/// The phases of either end: there is one.
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
