//! The configuration as popward-config sends it: checked values, and descriptors of the files that
//! it names. Nothing in this file opens or reads one of these files.

use popward_proto::VERSION;
use popward_proto::account::GROUPS_MAX;
use popward_proto::bounded::{AbsolutePath, List, Text, UserName};
use popward_proto::monitor_auth::{AuthSettings, MonitorToAuth, TABLES_MAX};
use popward_proto::monitor_config::{
    Accounts, Base, CERTIFICATES_MAX, ConfigToMonitor, Listen, LogSettings, MEMBERS_MAX, Member,
    WARNINGS_MAX,
};
use popward_proto::monitor_front::FrontSettings;
use popward_proto::settings::{AllSettings, Table};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// A configuration that passed all checks.
#[derive(Debug)]
pub(crate) struct Config {
    /// The configuration file. A reload reads it again.
    pub(crate) path: PathBuf,
    /// The directory of the other executables.
    pub(crate) libexec: PathBuf,
    /// The directory of the users' state directories.
    pub(crate) state: PathBuf,
    /// This host's name, as workers write it in locks.
    pub(crate) host: Text<64>,
    /// How long running sessions may go on after SIGTERM.
    pub(crate) grace: Duration,
    /// The number of front processes.
    pub(crate) fronts: u32,
    /// The users that the processes run as. `None`: the monitor is not root, and all processes run
    /// as its user.
    pub(crate) accounts: Option<Accounts>,
    /// The addresses to listen at.
    pub(crate) listen: Vec<Listen>,
    /// Certificates with their keys, in order of preference.
    pub(crate) certificates: Rc<[Certificate]>,
    /// The authorities of client certificates, a PEM file. `None`: fronts ask no client for a
    /// certificate.
    pub(crate) client_ca: Option<OwnedFd>,
    /// The settings for auth.
    pub(crate) auth: AuthSettings,
    /// The settings that may differ between accounts.
    pub(crate) settings: AllSettings,
    /// The members of the groups that tables with a `spool.path` name.
    pub(crate) members: Vec<Member>,
    /// The settings for fronts.
    pub(crate) front: FrontSettings,
    /// Where the log goes, and the least important level that is written.
    pub(crate) log: LogSettings,
}

/// A certificate chain and its key: two PEM files. The monitor keeps them open, because it may have
/// to start a front or keys again.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// The chain. The server's own certificate comes first.
    pub(crate) chain: OwnedFd,
    /// The private key.
    pub(crate) key: OwnedFd,
    /// The path of the key, for the log.
    pub(crate) key_path: AbsolutePath,
}

impl Config {
    /// Returns the messages with auth's part of the configuration. The settings come last.
    pub(crate) fn for_auth(&self) -> Vec<MonitorToAuth> {
        let settings = MonitorToAuth::Settings {
            version: VERSION,
            settings: Box::new(self.auth.clone()),
        };
        self.settings.login_delays().chain([settings]).collect()
    }

    /// Returns those groups of the user `name` for which a table has a `spool.path`. Returns no
    /// groups if the system's user `name` does not have the id `uid`. Such an account is in a
    /// password file with its own ids, so the system's groups do not hold for it.
    pub(crate) fn groups_of(&self, name: &UserName, uid: u32) -> List<u32, GROUPS_MAX> {
        let members = self.members.iter();
        let theirs = members.filter(|member| member.user == *name && member.uid == uid);
        let groups: Vec<u32> = theirs.map(|member| member.gid).collect();
        List::try_from(groups).unwrap_or_default()
    }
}

/// The part of a configuration that popward-config has sent so far.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    path: PathBuf,
    base: Option<Base>,
    auth: Option<AuthSettings>,
    tables: Vec<Table>,
    members: Vec<Member>,
    client_ca: Option<OwnedFd>,
    certificates: Vec<Certificate>,
    /// Warnings for the operator.
    pub(crate) warnings: Vec<String>,
}

/// The result of adding a message to a draft.
#[derive(Debug)]
pub(crate) enum Drafted {
    /// The draft is not complete yet.
    More,
    /// The configuration is complete.
    Whole(Box<Config>),
    /// The configuration cannot be used. The text says why.
    Refused(String),
    /// popward-config broke the rules: the message may not come now, or it is one too many.
    Nonsense,
}

impl Draft {
    /// An empty draft of the configuration in the file `path`.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a message that the permit table permits, with its descriptors.
    pub(crate) fn hear(&mut self, message: ConfigToMonitor, files: Vec<OwnedFd>) -> Drafted {
        let mut files = files.into_iter();
        let room = match message {
            ConfigToMonitor::Refused(why) => return Drafted::Refused(why.into()),
            ConfigToMonitor::End => return self.whole(),
            ConfigToMonitor::Warning(text) => push(&mut self.warnings, WARNINGS_MAX, text.into()),
            ConfigToMonitor::Base(base) => self.base.replace(*base).is_none(),
            ConfigToMonitor::Auth(auth) => self.auth.replace(*auth).is_none(),
            ConfigToMonitor::Table(table) => push(&mut self.tables, TABLES_MAX, *table),
            ConfigToMonitor::Member(member) => push(&mut self.members, MEMBERS_MAX, member),
            ConfigToMonitor::ClientAuthorities(_) => {
                self.client_ca = files.next();
                true
            }
            ConfigToMonitor::Certificate { key: key_path, .. } => {
                let (Some(chain), Some(key)) = (files.next(), files.next()) else {
                    return Drafted::Nonsense;
                };
                let certificate = Certificate {
                    chain,
                    key,
                    key_path,
                };
                push(&mut self.certificates, CERTIFICATES_MAX, certificate)
            }
        };
        if room {
            Drafted::More
        } else {
            Drafted::Nonsense
        }
    }

    fn whole(&mut self) -> Drafted {
        let draft = std::mem::take(self);
        self.warnings = draft.warnings;
        let (Some(base), Some(auth)) = (draft.base, draft.auth) else {
            return Drafted::Nonsense;
        };
        let path = |path: &AbsolutePath| path.as_path().to_owned();
        Drafted::Whole(Box::new(Config {
            path: draft.path,
            libexec: path(&base.libexec),
            state: path(&base.state),
            host: base.host,
            grace: Duration::from_secs(base.grace_s.into()),
            fronts: base.fronts,
            accounts: base.accounts,
            listen: base.listen.into(),
            certificates: draft.certificates.into(),
            client_ca: draft.client_ca,
            auth,
            settings: AllSettings {
                everybody: base.everybody,
                tables: draft.tables,
            },
            members: draft.members,
            front: base.front,
            log: base.log,
        }))
    }
}

/// Adds `item`. Returns false if the list then has more than `most` items.
fn push<T>(list: &mut Vec<T>, most: usize, item: T) -> bool {
    list.push(item);
    list.len() <= most
}
