//! `popwardctl user`: one account end to end. It changes nothing.

use crate::account;
use crate::arguments::User;
use crate::as_user;
use crate::configuration::{self, Configuration};
use crate::facts::{Facts, Question, Spool};
use crate::holders;
use crate::look;
use crate::mailbox;
use crate::outcome;
use crate::output::{FAILED, complain, print};
use crate::report::{Directory, Report, Whose};
use popward_proto::bounded::UserName;
use popward_proto::settings::place;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit status: a login would not open the maildrop.
const REFUSED: u8 = 3;

/// Runs the command.
pub(crate) fn main(options: &User) -> ExitCode {
    let configuration = match configuration::read(&options.config) {
        Ok(configuration) => configuration,
        Err(not_read) => return not_read.complain(),
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
    let placed = mailbox::admitted(&account, configuration).and_then(|()| {
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
        groups: mailbox::groups(&account)?,
    };
    let facts: Facts = as_user::ask(look::ARGUMENT, &question, &question, look::ANSWER_MAX)?;
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
