//! monitor ↔ auth: where accounts come from, which fronts may ask, and who was granted.

use crate::account::{Account, FrontId, SessionId};
use crate::bounded::{AbsolutePath, List, Text, UserName};
use crate::network::Network;
use crate::permit::{Message, Permit, any};
use serde::{Deserialize, Serialize};

/// Where auth looks for accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountSource {
    /// A file in Dovecot's passwd-file syntax.
    PasswdFile {
        /// The file.
        path: AbsolutePath,
    },
    /// PAM for the password and the account phase, NSS for the ids.
    Pam {
        /// The PAM service.
        service: Text<32>,
    },
    /// A program for the password, which says the ids, or NSS does.
    Checkpassword {
        /// The program.
        program: AbsolutePath,
    },
}

/// Most domains that are cut off names.
pub const DOMAINS_MAX: usize = 16;

/// Most groups of which a user must have one.
pub const ALLOWED_GROUPS_MAX: usize = 32;

/// Most networks that penalties leave alone.
pub const EXEMPT_MAX: usize = 32;

/// Most scopes that a token must have.
pub const SCOPES_MAX: usize = 8;

/// Who may log in, of those whose credentials are right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Smallest user id that may log in, never 0.
    pub first_uid: u32,
    /// Largest user id that may log in.
    pub last_uid: u32,
    /// A file with the names of those who may, one a line. Without it all may.
    pub allow_file: Option<AbsolutePath>,
    /// A file with the names of those who may not.
    pub deny_file: Option<AbsolutePath>,
    /// Groups of which a user must have one; if there are none here, all may.
    pub groups: List<u32, ALLOWED_GROUPS_MAX>,
    /// Seconds from one login of an account to the next (RFC 2449, section 6.5); 0 for none. [`MonitorToAuth::LoginDelay`] has
    /// others for some accounts.
    pub login_delay_s: u32,
}

/// Most tables of the configuration that name accounts.
pub const TABLES_MAX: usize = 64;

/// Most users that one of them names.
pub const SELECTOR_USERS_MAX: usize = 64;

/// Most groups that one of them names.
pub const SELECTOR_GROUPS_MAX: usize = 16;

/// Accounts, by their names or by the groups that they have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSelector {
    /// Those of these names.
    pub users: List<UserName, SELECTOR_USERS_MAX>,
    /// Those of which one of these is a group, primary or not.
    pub groups: List<u32, SELECTOR_GROUPS_MAX>,
}

impl AccountSelector {
    /// Whether the account is one of them.
    pub fn matches(&self, account: &Account) -> bool {
        let groups = account.groups.as_slice();
        let in_group = |gid| groups.contains(gid) || *gid == account.gid;
        self.users.as_slice().contains(&account.name) || self.groups.as_slice().iter().any(in_group)
    }
}

/// What is done to a name before it is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRules {
    /// Upper-case letters (of ASCII) become lower-case ones.
    pub lower_case: bool,
    /// Domains that are cut off, in lower case; `*` is every domain.
    pub trim_domains: List<Text<128>, DOMAINS_MAX>,
}

/// What guessing costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// A failure is answered this many milliseconds after it came, or whole multiples of it (promise P9).
    pub failure_delay_ms: u32,
    /// From so many failures on, a source waits before its next check; 0 for never.
    pub source_failures: u32,
    /// Half of a source's failures are forgotten after so many seconds, at least 1.
    pub source_half_life_s: u32,
    /// Longest such wait, in milliseconds.
    pub source_wait_max_ms: u32,
    /// Sources that never wait.
    pub exempt: List<Network, EXEMPT_MAX>,
    /// After so many failures of one name within the window nothing is checked for it until the window's end; 0 for
    /// never.
    pub account_failures: u32,
    /// The window, in seconds.
    pub account_window_s: u32,
}

/// How bearer tokens are checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenSource {
    /// As signed JSON (RFC 7519), by the keys of a file.
    Keys {
        /// The file, a JSON Web Key Set (RFC 7517).
        file: AbsolutePath,
        /// What must be in them.
        rules: TokenRules,
    },
    /// By a program: the token on its standard input, the user on its standard output.
    Program {
        /// The program.
        program: AbsolutePath,
    },
}

/// What must be in a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRules {
    /// `iss` is this.
    pub issuer: Text<256>,
    /// `aud` is, or has, this.
    pub audience: Text<256>,
    /// The claim with the user's name.
    pub user_claim: Text<64>,
    /// `scope` has all of these.
    pub scopes: List<Text<64>, SCOPES_MAX>,
}

/// Where in a client's certificate its user's name is.
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
    /// A PEM file of the authorities.
    pub authorities: AbsolutePath,
    /// Where the user's name is.
    pub name: CertificateUser,
}

/// Bounds of the children that hold conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationLimits {
    /// Longest conversation, in milliseconds; then its process is killed and the check is `Temporary`.
    pub limit_ms: u32,
    /// Most at once; a check beyond is `Temporary`.
    pub at_once: u16,
}

/// All that auth is told of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthSettings {
    /// Where accounts come from.
    pub source: AccountSource,
    /// What is done to names.
    pub names: NameRules,
    /// Who may log in.
    pub admission: Admission,
    /// What guessing costs.
    pub throttle: Throttle,
    /// How tokens are checked, where they are taken at all.
    pub tokens: Option<TokenSource>,
    /// How client certificates are checked, where they are taken at all.
    pub certificates: Option<CertificateRules>,
    /// Bounds of conversations: with PAM, with programs, about tokens and certificates.
    pub conversation_limits: ConversationLimits,
}

/// What the monitor tells auth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitorToAuth {
    /// The first message, and again after a reload.
    Settings {
        /// [`crate::VERSION`].
        version: u32,
        /// The settings.
        settings: Box<AuthSettings>,
    },
    /// In force with the settings that come next: how many seconds the logins of these accounts are apart; 0: any. Of several
    /// that name an account, the first counts.
    LoginDelay(AccountSelector, u32),
    /// A front to serve: one descriptor, the channel to it.
    Front(FrontId),
    /// What was granted came to no session, since its maildrop was not opened: it was no login.
    NotOpened {
        /// The session.
        session: SessionId,
        /// The account's name, as it was granted.
        user: UserName,
    },
}

/// What auth tells the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthToMonitor {
    /// The settings were taken. The first time: and it is confined.
    Ready {
        /// [`crate::VERSION`].
        version: u32,
    },
    /// The settings cannot be used, in words for the operator. Those before them, if any, stay.
    Unusable(Text<256>),
    /// This session is this account's.
    Granted {
        /// The session that asked.
        session: SessionId,
        /// Whose it is.
        account: Account,
    },
    /// This front broke the rules of its channel to auth, which has been closed: no login is made there any more.
    BrokeRules(FrontId),
}

/// The phases of either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupPhase {
    /// Before the first settings are taken.
    Starting,
    /// After.
    Serving,
}

impl Message for MonitorToAuth {
    const LIMIT: usize = 14 * 1024;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Settings { .. } => any("Settings", &[Starting, Serving]),
            Self::LoginDelay(..) => any("LoginDelay", &[Starting, Serving]),
            Self::Front(_) => any("Front", &[Serving]).with_descriptors(1),
            Self::NotOpened { .. } => any("NotOpened", &[Serving]),
        }
    }
}

impl Message for AuthToMonitor {
    const LIMIT: usize = 5 * 1024;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Ready { .. } => any("Ready", &[Starting, Serving]),
            Self::Unusable(_) => any("Unusable", &[Starting, Serving]),
            Self::Granted { .. } => any("Granted", &[Serving]),
            Self::BrokeRules(_) => any("BrokeRules", &[Serving]),
        }
    }
}
