//! `popwardctl user`: one account end to end. It changes nothing.

use crate::account;
use crate::arguments::User;
use crate::configuration::{self, Configuration, NotRead};
use crate::executable;
use crate::facts::{Facts, Question, Spool};
use crate::holders;
use crate::look;
use crate::outcome;
use crate::output::{FAILED, complain, print};
use crate::report::{Directory, Report, Whose};
use popward_proto::account::Account;
use popward_proto::bounded::UserName;
use popward_proto::settings::place;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Exit status: a login would not open the maildrop.
const REFUSED: u8 = 3;
/// Exit status: the configuration has a mistake.
const BAD_CONFIGURATION: u8 = 78;
/// How long the process that looks may take. A large spool on a slow disk takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// How many of a mode's lowest bits are rights of others than the owner.
const GROUP_AND_OTHERS: u32 = 6;

/// Runs the command.
pub(crate) fn main(options: &User) -> ExitCode {
    let configuration = match configuration::read(&options.config) {
        Ok(configuration) => configuration,
        Err(NotRead::Refused(why)) => return complain(&why, BAD_CONFIGURATION),
        Err(NotRead::Failed(why)) => return complain(&why, FAILED),
    };
    let report = match report(&options.name, &configuration) {
        Ok(report) => report,
        Err(why) => return complain(&why, FAILED),
    };
    let text = if options.json {
        match serde_json::to_string(&report) {
            Ok(text) => text + "\n",
            Err(error) => return complain(&error, FAILED),
        }
    } else {
        report.text()
    };
    match print(&text) {
        printed if printed != ExitCode::SUCCESS => printed,
        _ if report.login.opens() => ExitCode::SUCCESS,
        _ => ExitCode::from(REFUSED),
    }
}

fn report(name: &UserName, configuration: &Configuration) -> Result<Report, String> {
    let (account, source) = account::of(name, configuration)?;
    let settings = configuration.settings.of(&account);
    let state = configuration.server.state.as_path();
    let directory = Directory::of(&state.join(account.name.as_str()), account.uid);
    let mut report = Report {
        account: Whose {
            name: account.name.as_str().to_owned(),
            uid: account.uid,
            gid: account.gid,
            home: account.home.as_ref().map(ToString::to_string),
            source: source.as_str(),
        },
        path: None,
        spool: None,
        locks: Vec::new(),
        state: None,
        state_directory: directory,
        login: outcome::no_place(String::new()),
    };
    let placed = admitted(&account, configuration).and_then(|()| {
        place::place(&settings.spool, &account).map_err(|error| format!("spool.path: {error}"))
    });
    let (spool_directory, spool_name) = match placed {
        Ok(place) => place,
        Err(why) => {
            report.login = outcome::no_place(why);
            return Ok(report);
        }
    };
    report.path = Some(spool_directory.as_path().join(spool_name.as_str()));
    let question = Question {
        spool_directory: spool_directory.as_path().to_owned(),
        spool_name: spool_name.as_str().to_owned(),
        state_directory: report.state_directory.path().map(PathBuf::from),
        hide: settings
            .spool
            .hide
            .as_slice()
            .iter()
            .map(ToString::to_string)
            .collect(),
        uid: account.uid,
        gid: account.gid,
        groups: groups(&account)?,
    };
    let facts = ask(&question)?;
    let lock_id = match &facts.spool {
        Spool::There(file) => Some(file.lock_id.as_str()),
        _ => None,
    };
    let host = configuration.sessions.host.as_str();
    report.locks = holders::all(facts.dotlock.as_ref(), lock_id, host, account.uid);
    let adopts = !settings.spool.adopt.as_slice().is_empty() && report.state_directory.is_missing();
    report.login = match report.state_directory.obstacle() {
        Some(why) => outcome::no_place(why),
        None => outcome::of(&facts, &report.locks, adopts),
    };
    report.spool = Some(facts.spool);
    report.state = facts.state;
    Ok(report)
}

/// The groups that a worker of this account may have.
fn groups(account: &Account) -> Result<Vec<u32>, String> {
    if nix::unistd::geteuid().is_root() {
        let groups = account.groups.as_slice().iter().copied();
        return Ok(groups.filter(|gid| *gid != 0).collect());
    }
    // Only root can give groups up.
    popward_sys::confine::groups().map_err(|error| error.to_string())
}

/// Whether the server starts a worker for this account, whoever asks.
fn admitted(account: &Account, configuration: &Configuration) -> Result<(), String> {
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

/// Has a process that runs as the user look.
fn ask(question: &Question) -> Result<Facts, String> {
    let own = nix::unistd::geteuid();
    if !own.is_root() && own.as_raw() != question.uid {
        return Err("only root can look at another user's mail".to_owned());
    }
    let failed = |error: &dyn std::fmt::Display| format!("the process that looks: {error}");
    let identity = own
        .is_root()
        .then(|| executable::as_user(question.uid, question.gid, question.groups.clone()));
    let executable = executable::beside("popwardctl").map_err(|error| failed(&error))?;
    let (mut ours, theirs) = UnixStream::pair().map_err(|error| failed(&error))?;
    let words = ["popwardctl", look::ARGUMENT];
    let child = executable::start(&executable, &words, identity.as_ref(), theirs.as_fd());
    let child = child.map_err(|errno| failed(&errno))?;
    drop(theirs);
    let answer = exchange(&mut ours, question);
    // It has answered, or it is not waited for any more.
    let ended = child.end(true);
    let answer = answer.map_err(|error| failed(&error))?;
    ended.map_err(|errno| failed(&errno))?;
    answer.map_err(|why| failed(&why))
}

fn exchange(
    stream: &mut UnixStream,
    question: &Question,
) -> std::io::Result<Result<Facts, String>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&serde_json::to_vec(question)?)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.take(look::MESSAGE_MAX).read_to_end(&mut answer)?;
    if answer.is_empty() {
        return Err(std::io::Error::other("it ended without an answer"));
    }
    Ok(serde_json::from_slice(&answer)?)
}

impl Directory {
    /// Looks at the state directory `path` of the user `uid`.
    fn of(path: &Path, uid: u32) -> Self {
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
