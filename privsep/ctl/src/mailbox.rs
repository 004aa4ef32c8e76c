//! One account's mail: whose it is, where it lies, and how a worker of the server would take it.

use crate::account;
use crate::configuration::Configuration;
use crate::facts::Question;
use crate::report::Directory;
use popward_proto::account::Account;
use popward_proto::bounded::{AbsolutePath, UserName};
use popward_proto::settings::{Settings, place};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many of a mode's lowest bits are rights of others than the owner.
const GROUP_AND_OTHERS: u32 = 6;

/// An account for which the server would start a worker.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// Whose it is.
    pub(crate) account: Account,
    /// What holds for it.
    pub(crate) settings: Settings,
    /// The spool's directory.
    pub(crate) directory: AbsolutePath,
    /// The spool's name in it.
    pub(crate) name: UserName,
    /// The groups that its processes may have.
    pub(crate) groups: Vec<u32>,
    /// The state directory.
    pub(crate) state: Directory,
}

impl Mailbox {
    /// The mail of the account `name`.
    ///
    /// # Errors
    ///
    /// Why the server would start no worker, for the operator.
    pub(crate) fn of(name: &UserName, configuration: &Configuration) -> Result<Self, String> {
        let (account, _) = account::of(name, configuration)?;
        admitted(&account, configuration)?;
        let settings = configuration.settings.of(&account);
        let (directory, name) = place::place(&settings.spool, &account)
            .map_err(|error| format!("spool.path: {error}"))?;
        let own = nix::unistd::geteuid();
        if !own.is_root() && own.as_raw() != account.uid {
            return Err("only root can work on another user's mail".to_owned());
        }
        let state = configuration.server.state.as_path();
        let state = Directory::of(&state.join(account.name.as_str()), account.uid);
        if let Some(why) = state.obstacle() {
            return Err(why);
        }
        Ok(Self {
            groups: groups(&account)?,
            account,
            settings,
            directory,
            name,
            state,
        })
    }

    /// Where a process that runs as the user looks.
    pub(crate) fn question(&self) -> Question {
        let hide = self.settings.spool.hide.as_slice();
        Question {
            spool_directory: self.directory.as_path().to_owned(),
            spool_name: self.name.as_str().to_owned(),
            state_directory: self.state.path().map(PathBuf::from),
            hide: hide.iter().map(ToString::to_string).collect(),
            uid: self.account.uid,
            gid: self.account.gid,
            groups: self.groups.clone(),
        }
    }
}

/// The groups that a worker of this account may have.
pub(crate) fn groups(account: &Account) -> Result<Vec<u32>, String> {
    if nix::unistd::geteuid().is_root() {
        let groups = account.groups.as_slice().iter().copied();
        return Ok(groups.filter(|gid| *gid != 0).collect());
    }
    // Only root can give groups up.
    popward_sys::confine::groups().map_err(|error| error.to_string())
}

/// Whether the server starts a worker for this account, whoever asks.
pub(crate) fn admitted(account: &Account, configuration: &Configuration) -> Result<(), String> {
    let may = &configuration.auth.admission;
    if account.uid == 0 || !(may.first_uid..=may.last_uid).contains(&account.uid) {
        return Err(
            "the user id is not in the range of auth.first_uid and auth.last_uid".to_owned(),
        );
    }
    if account.gid == 0 {
        return Err("the account's group is root's".to_owned());
    }
    let (groups, theirs) = (may.groups.as_slice(), account.groups.as_slice());
    let has = |gid: &u32| *gid == account.gid || theirs.contains(gid);
    if !groups.is_empty() && !groups.iter().any(has) {
        return Err("the account is in no group of auth.groups".to_owned());
    }
    Ok(())
}

impl Directory {
    /// Looks at the state directory `path` of the user `uid`.
    pub(crate) fn of(path: &Path, uid: u32) -> Self {
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::Missing,
            Err(error) => Self::Unknown(error.to_string()),
            Ok(status)
                if status.is_dir()
                    && status.uid() == uid
                    && status.mode().trailing_zeros() >= GROUP_AND_OTHERS =>
            {
                Self::There(path.to_owned())
            }
            Ok(_) => Self::Foreign(path.to_owned()),
        }
    }
}
