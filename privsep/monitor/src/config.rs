//! The configuration as popward-config hands it on: checked values, and descriptors of the files that it names. Nothing
//! here opens or reads one.

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

/// A configuration that can be run.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where it came from, for a reload.
    pub(crate) path: PathBuf,
    /// Where the other executables are.
    pub(crate) libexec: PathBuf,
    /// Where users' state directories are.
    pub(crate) state: PathBuf,
    /// This host's name, as locks say it.
    pub(crate) host: Text<64>,
    /// How long running sessions may go on after SIGTERM.
    pub(crate) grace: Duration,
    /// How many front processes.
    pub(crate) fronts: u32,
    /// Who the processes run as; `None` where the monitor is not root and everybody is its own user.
    pub(crate) accounts: Option<Accounts>,
    /// Where to listen.
    pub(crate) listen: Vec<Listen>,
    /// Certificates with their keys, in order of preference.
    pub(crate) certificates: Rc<[Certificate]>,
    /// The authorities of client certificates, a PEM file; `None`: no client is asked for one.
    pub(crate) client_ca: Option<OwnedFd>,
    /// What auth is told.
    pub(crate) auth: AuthSettings,
    /// What may differ between accounts.
    pub(crate) settings: AllSettings,
    /// Who is in the groups of tables with a `spool.path`.
    pub(crate) members: Vec<Member>,
    /// What fronts are told.
    pub(crate) front: FrontSettings,
    /// Where the log goes, and from which level on.
    pub(crate) log: LogSettings,
}

/// A certificate chain and its key: two PEM files, which are kept open for a front or keys that is started again.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// The chain, the server's own certificate first.
    pub(crate) chain: OwnedFd,
    /// The private key.
    pub(crate) key: OwnedFd,
    /// Where the key is, for the log.
    pub(crate) key_path: AbsolutePath,
}

impl Config {
    /// Auth's part, the settings themselves last.
    pub(crate) fn for_auth(&self) -> Vec<MonitorToAuth> {
        let settings = MonitorToAuth::Settings {
            version: VERSION,
            settings: Box::new(self.auth.clone()),
        };
        self.settings.login_delays().chain([settings]).collect()
    }

    /// The groups of the system's user `name` for which there is another `spool.path`. None, if `uid` is not its: who is
    /// in a password file with ids of its own has no other groups.
    pub(crate) fn groups_of(&self, name: &UserName, uid: u32) -> List<u32, GROUPS_MAX> {
        let members = self.members.iter();
        let theirs = members.filter(|member| member.user == *name && member.uid == uid);
        let groups: Vec<u32> = theirs.map(|member| member.gid).collect();
        List::try_from(groups).unwrap_or_default()
    }
}

/// What popward-config has said of a configuration so far.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    path: PathBuf,
    base: Option<Base>,
    auth: Option<AuthSettings>,
    tables: Vec<Table>,
    members: Vec<Member>,
    client_ca: Option<OwnedFd>,
    certificates: Vec<Certificate>,
    /// What the operator should see.
    pub(crate) warnings: Vec<String>,
}

/// What a message makes of a draft.
#[derive(Debug)]
pub(crate) enum Drafted {
    /// More is to come.
    More,
    /// It is whole.
    Whole(Box<Config>),
    /// The configuration cannot be used, and why.
    Refused(String),
    /// This message may not come.
    Nonsense,
}

impl Draft {
    /// Nothing so far of what is in this file.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            ..Self::default()
        }
    }

    /// Takes a message that the permit table has let through, with its descriptors.
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

/// Returns whether there was room.
fn push<T>(list: &mut Vec<T>, most: usize, item: T) -> bool {
    list.push(item);
    list.len() <= most
}
