//! monitor ↔ auth: auth's settings, the fronts that it serves, and its conversations.
//!
//! After a reload, auth has a channel to each older monitor too. Over this channel come the fronts
//! of that monitor.

use crate::account::FrontId;
use crate::account_selector::AccountSelector;
use crate::bounded::{AbsolutePath, List, Text};
use crate::network::Network;
use crate::permit::{Message, Permit, any, once};
use crate::setup_phase::SetupPhase;
use serde::{Deserialize, Serialize};

/// The source of accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountSource {
    /// A file in Dovecot's passwd-file syntax.
    PasswdFile {
        /// The file.
        path: AbsolutePath,
    },
    /// PAM checks the password and the account. NSS knows the ids.
    Pam {
        /// The PAM service.
        service: Text<32>,
    },
    /// A program checks the password. The ids come from it or from NSS.
    Checkpassword {
        /// The program.
        program: AbsolutePath,
    },
}

/// Most domains that are cut off names.
pub const DOMAINS_MAX: usize = 16;

/// Most groups in `auth.groups`.
pub const ALLOWED_GROUPS_MAX: usize = 32;

/// Most networks without penalties.
pub const EXEMPT_MAX: usize = 32;

/// Most scopes that a token must have.
pub const SCOPES_MAX: usize = 8;

/// Which users with the right credentials may log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Smallest user id that may log in, never 0.
    pub first_uid: u32,
    /// Largest user id that may log in.
    pub last_uid: u32,
    /// A file with the names of the users who may log in, one on each line. `None`: all may.
    pub allow_file: Option<AbsolutePath>,
    /// A file with the names of users who may not log in.
    pub deny_file: Option<AbsolutePath>,
    /// Groups. A user must be in one of them. If the list is empty, all may log in.
    pub groups: List<u32, ALLOWED_GROUPS_MAX>,
    /// The login delay, in seconds (RFC 2449, section 6.5). 0: none. [`MonitorToAuth::LoginDelay`]
    /// sets another one for some accounts.
    pub login_delay_s: u32,
}

/// The changes to a name before it is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRules {
    /// Whether upper-case ASCII letters become lower-case.
    pub lower_case: bool,
    /// Domains that are cut off, in lower case. `*` means every domain.
    pub trim_domains: List<Text<128>, DOMAINS_MAX>,
}

/// The cost of wrong guesses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// The failure delay, in milliseconds. A failure is answered after a whole number of these
    /// (promise P9).
    pub failure_delay_ms: u32,
    /// From so many failures on, a source waits before its next check. 0: it never waits.
    pub source_failures: u32,
    /// After this many seconds, half of a source's failures are forgotten. At least 1.
    pub source_half_life_s: u32,
    /// Longest wait of a source, in milliseconds.
    pub source_wait_max_ms: u32,
    /// Sources that never wait.
    pub exempt: List<Network, EXEMPT_MAX>,
    /// After so many failures of one name within the window, nothing is checked for this name until
    /// the window ends. 0: there is no such limit.
    pub account_failures: u32,
    /// The window, in seconds.
    pub account_window_s: u32,
}

/// How bearer tokens are checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenSource {
    /// As signed JSON (RFC 7519), with the keys in a file.
    Keys {
        /// The file, a JSON Web Key Set (RFC 7517).
        file: AbsolutePath,
        /// The claims that a token must have.
        rules: TokenRules,
    },
    /// By a program. It reads the token from standard input and writes the user's name to standard
    /// output.
    Program {
        /// The program.
        program: AbsolutePath,
    },
}

/// The claims that a token must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRules {
    /// The value of `iss`.
    pub issuer: Text<256>,
    /// The value of `aud`, or one of its values.
    pub audience: Text<256>,
    /// The name of the claim with the user's name.
    pub user_claim: Text<64>,
    /// The values that `scope` must have.
    pub scopes: List<Text<64>, SCOPES_MAX>,
}

/// Which name in a client's certificate is the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateUser {
    /// The subject's common name.
    CommonName,
    /// The first e-mail address among its alternative names.
    Email,
    /// The first DNS name among them.
    Dns,
}

/// How client certificates are checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRules {
    /// A PEM file with the authorities.
    pub authorities: AbsolutePath,
    /// Which name in a certificate is the user's.
    pub name: CertificateUser,
}

/// The limits on conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationLimits {
    /// Longest conversation, in milliseconds. Then its process is killed, and the login fails
    /// temporarily.
    pub limit_ms: u32,
    /// Most conversations at once. A login beyond waits, and fails temporarily after 10 seconds. The
    /// monitor has twice as many processes at most: one may still end while its login goes on with
    /// another one.
    pub at_once: u16,
}

/// The number of a conversation. Auth gives each number once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationId(pub u32);

/// The kind of a conversation. The monitor takes everything else from the configuration: the
/// executable, its user, the PAM service, the path of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConversationKind {
    /// With PAM: popward-auth-pam.
    Pam,
    /// With the checkpassword program: popward-auth-program.
    Checkpassword,
    /// With the program that checks tokens: popward-auth-program.
    TokenProgram,
    /// About a token or a certificate: popward-auth-proof.
    Proof,
}

/// The part of the configuration that auth needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthSettings {
    /// The source of accounts.
    pub source: AccountSource,
    /// The changes to names.
    pub names: NameRules,
    /// Who may log in.
    pub admission: Admission,
    /// The cost of wrong guesses.
    pub throttle: Throttle,
    /// How tokens are checked. `None`: they are not accepted.
    pub tokens: Option<TokenSource>,
    /// How client certificates are checked. `None`: they are not accepted.
    pub certificates: Option<CertificateRules>,
    /// The limits on conversations with PAM and with programs, and about tokens and certificates.
    pub conversation_limits: ConversationLimits,
}

/// Messages from the monitor to auth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitorToAuth {
    /// The settings, after the login delays. Sent once, because a reload starts another auth.
    Settings {
        /// [`crate::VERSION`].
        version: u32,
        /// The settings.
        settings: Box<AuthSettings>,
    },
    /// Before the settings: the login delay of these accounts, in seconds. 0: none. The first
    /// message that names an account counts.
    LoginDelay(AccountSelector, u32),
    /// The channel to sessions, which hears grants: one descriptor.
    Sessions,
    /// A front to serve: one descriptor, the channel to it.
    Front(FrontId),
    /// An older monitor: two descriptors, the channels to it and to its sessions. Over the first
    /// one may come `Front` and `Predecessor`. Conversations are asked of the own monitor only.
    OlderMonitor,
    /// Another auth takes over: one descriptor, the channel to it. This auth hands over what it
    /// remembers of logins once each front has said [`crate::auth::FrontToAuth::Last`].
    Successor,
    /// This auth takes over from another one: one descriptor, the channel to it. It checks no login
    /// before it has everything.
    Predecessor,
    /// The answer to [`AuthToMonitor::Converse`]: one descriptor, the channel to the process. If the
    /// process could not be started, the channel is closed.
    Conversation(ConversationId),
}

/// Messages from auth to the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthToMonitor {
    /// Confined, and the settings can be used.
    Ready {
        /// [`crate::VERSION`].
        version: u32,
    },
    /// The settings cannot be used, in words for the operator.
    Unusable(Text<256>),
    /// Auth needs a process for a conversation of this kind.
    Converse(ConversationId, ConversationKind),
    /// This front broke the rules of its channel to auth. Auth has closed the channel, so no login
    /// can succeed there any more.
    BrokeRules(FrontId),
}

impl Message for MonitorToAuth {
    const LIMIT: usize = 14 * 1024;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Settings { .. } => once("Settings", &[Starting]),
            Self::LoginDelay(..) => any("LoginDelay", &[Starting]),
            Self::Sessions => once("Sessions", &[Serving]).with_descriptors(1),
            Self::Front(_) => any("Front", &[Serving]).with_descriptors(1),
            Self::OlderMonitor => any("OlderMonitor", &[Serving]).with_descriptors(2),
            Self::Successor => once("Successor", &[Serving]).with_descriptors(1),
            Self::Predecessor => once("Predecessor", &[Serving]).with_descriptors(1),
            Self::Conversation(_) => any("Conversation", &[Serving]).with_descriptors(1),
        }
    }
}

impl Message for AuthToMonitor {
    const LIMIT: usize = 5 * 1024;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Ready { .. } => once("Ready", &[Starting]),
            Self::Unusable(_) => once("Unusable", &[Starting]),
            Self::Converse(..) => any("Converse", &[Serving]),
            Self::BrokeRules(_) => any("BrokeRules", &[Serving]),
        }
    }
}
