//! `popwardctl index` and `popwardctl recover`: what a login does with a user's files, without a
//! login. Workers of the server do the work, under the user's locks and as the user.

use crate::accounts;
use crate::arguments::{Upkeep, Whom, Work as Wanted};
use crate::configuration::{self, Configuration};
use crate::index_check::{self, Checked};
use crate::interrupt::Interrupt;
use crate::mailbox::Mailbox;
use crate::output::{FAILED, complain, print};
use crate::task::{Ended, Work};
use popward_proto::bounded::UserName;
use popward_proto::session::OpenFailure;
use popward_proto::sessions_worker::{JOURNAL, Task, dotlock_name};
use serde::Serialize;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

/// Exit status: the operator has to look at some users.
const SOME_LEFT: u8 = 3;

/// What has become of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// The index agrees with the spool, or is not used.
    Good,
    /// The index says that it describes the spool as it is, and does not.
    Wrong,
    /// The index was made anew.
    Rebuilt,
    /// There was nothing to do.
    Nothing,
    /// An update that was broken off is finished.
    Finished,
    /// Another session or program has the locks.
    InUse,
    /// It did not work.
    Failed,
}

/// What is reported of a user.
#[derive(Debug, Serialize)]
struct Report {
    user: String,
    outcome: Outcome,
    details: String,
}

impl Report {
    fn is_bad(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Wrong | Outcome::InUse | Outcome::Failed
        )
    }
}

/// All reports, as JSON has them.
#[derive(Debug, Serialize)]
struct Everybody {
    users: Vec<Report>,
    not_begun: usize,
}

/// Runs the command.
pub(crate) fn main(options: &Upkeep) -> ExitCode {
    let configuration = match configuration::read(&options.config) {
        Ok(configuration) => configuration,
        Err(not_read) => return not_read.complain(),
    };
    let users = match &options.whom {
        Whom::These(users) => users.clone(),
        Whom::All => match accounts::all(&configuration) {
            Ok(users) => users,
            Err(why) => return complain(&why, FAILED),
        },
    };
    let interrupt = match Interrupt::take() {
        Ok(interrupt) => interrupt,
        Err(errno) => return complain(&errno, FAILED),
    };
    let mut all = Everybody {
        users: Vec::new(),
        not_begun: users.len(),
    };
    for user in users {
        interrupt.look();
        if interrupt.is_over() {
            break;
        }
        let report = of(options.work, &user, &configuration);
        if !options.json {
            // The exit status tells of an error at the end.
            let _ = print(&format!("{}: {}\n", report.user, report.details));
        }
        all.users.push(report);
        all.not_begun -= 1;
    }
    if options.json {
        let text = match serde_json::to_string(&all) {
            Ok(text) => text + "\n",
            Err(error) => return complain(&error, FAILED),
        };
        let printed = print(&text);
        if printed != ExitCode::SUCCESS {
            return printed;
        }
    }
    let complete = all.not_begun == 0 && !all.users.iter().any(Report::is_bad);
    ExitCode::from(if complete { 0 } else { SOME_LEFT })
}

fn of(wanted: Wanted, user: &UserName, configuration: &Configuration) -> Report {
    let done = Mailbox::of(user, configuration).and_then(|mailbox| match wanted {
        Wanted::IndexCheck => index_check::check(&mailbox.question()).map(shown),
        Wanted::IndexRebuild => rebuild(&mailbox, configuration),
        Wanted::Recover => recover(mailbox, configuration),
    });
    let (outcome, details) = done.unwrap_or_else(|why| (Outcome::Failed, format!("failed: {why}")));
    Report {
        user: user.as_str().to_owned(),
        outcome,
        details,
    }
}

/// An outcome, and the same in words.
type Done = (Outcome, String);

fn shown(checked: Checked) -> Done {
    let good = |text: &str| (Outcome::Good, text.to_owned());
    match checked {
        Checked::NoSpool => good("no spool"),
        Checked::Refused(why) => (Outcome::Failed, format!("failed: {why}")),
        Checked::Changing => (
            Outcome::InUse,
            "in use: the spool changed while it was read".to_owned(),
        ),
        Checked::None => good("no index; a small spool needs none"),
        Checked::Unused(why) => (
            Outcome::Good,
            format!("the index is not used: {why}; the next session makes it anew"),
        ),
        Checked::Earlier { messages, differ } => (
            Outcome::Good,
            format!(
                "{messages} messages, of the spool as it was; {differ} are not there any more; the \
                 next session brings the index up to date"
            ),
        ),
        Checked::Current {
            messages,
            differ: 0,
            ..
        } => (
            Outcome::Good,
            format!("{messages} messages, all as in the spool"),
        ),
        Checked::Current {
            messages,
            differ,
            first,
        } => (
            Outcome::Wrong,
            format!(
                "wrong: {differ} of {messages} messages are not as in the spool, the first is {}",
                first.unwrap_or(1)
            ),
        ),
    }
}

/// Has one worker hold the locks while the index is removed, and another one write it.
fn rebuild(mailbox: &Mailbox, configuration: &Configuration) -> Result<Done, String> {
    let Some(state) = mailbox.state.path() else {
        let text = "no state directory: the first session makes it";
        return Ok((Outcome::Nothing, text.to_owned()));
    };
    let work = work(mailbox, configuration, Task::Serve, Some(state));
    let (question, mut removed) = (mailbox.question(), Ok(()));
    let ended = work.run(|| removed = index_check::remove(&question))?;
    if let Some(not_opened) = not_opened(&ended) {
        return Ok(not_opened);
    }
    removed?;
    let ended = work.run(|| ())?;
    if let Some(not_opened) = not_opened(&ended) {
        return Ok(not_opened);
    }
    Ok(match index_check::check(&question)? {
        Checked::None => (
            Outcome::Nothing,
            "no index; a small spool needs none".to_owned(),
        ),
        checked => match shown(checked) {
            (Outcome::Good, details) => (Outcome::Rebuilt, format!("rebuilt: {details}")),
            other => other,
        },
    })
}

/// Finishes an update that a crash left, and removes a dotlock that it left.
fn recover(mut mailbox: Mailbox, configuration: &Configuration) -> Result<Done, String> {
    // Who has the locks has finished what was left, or is not to be waited for by all others.
    mailbox.settings.spool.locks.timeout_ms = 0;
    let state = mailbox.state.path();
    let journal = state.map(|state| state.join(JOURNAL));
    let lock = mailbox
        .directory
        .as_path()
        .join(dotlock_name(&mailbox.name));
    if journal.is_none_or(|path| is_missing(&path)) && is_missing(&lock) {
        return Ok((Outcome::Nothing, "nothing to finish".to_owned()));
    }
    let task = Task::Finish { dotlock: None };
    let ended = work(&mailbox, configuration, task, state).run(|| ())?;
    Ok(match not_opened(&ended) {
        Some(not_opened) => not_opened,
        None if ended.finished => (
            Outcome::Finished,
            "finished an update that was broken off".to_owned(),
        ),
        None => (
            Outcome::Nothing,
            "nothing to finish; no lock is left".to_owned(),
        ),
    })
}

fn is_missing(path: &Path) -> bool {
    let found = std::fs::symlink_metadata(path);
    found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn work<'a>(
    mailbox: &'a Mailbox,
    configuration: &'a Configuration,
    task: Task,
    state: Option<&'a Path>,
) -> Work<'a> {
    Work {
        mailbox,
        base: &configuration.sessions,
        task,
        state,
        adopt: &mailbox.settings.spool.adopt,
    }
}

/// Why a worker has not done its work.
fn not_opened(ended: &Ended) -> Option<Done> {
    match ended.refused {
        Some(OpenFailure::InUse) => Some((Outcome::InUse, format!("in use: {}", ended.why()))),
        None if ended.with(0) => None,
        _ => Some((Outcome::Failed, format!("failed: {}", ended.why()))),
    }
}
