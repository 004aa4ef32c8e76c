//! `popwardctl adopt`: gives users' messages the UIDLs of the server before, before the users'
//! first sessions.

mod comparison;
mod draft;
mod one;

use crate::accounts;
use crate::arguments::{Adopt, Whom};
use crate::configuration::{self, Configuration};
use crate::interrupt::Interrupt;
use crate::old_server;
use crate::output::{FAILED, complain, print};
use crate::passwords::Passwords;
use draft::StateRoot;
use one::{Common, Outcome, Report};
use popward_proto::bounded::UserName;
use popward_sys::confine;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Exit status: the operator has to look at some users.
const SOME_LEFT: u8 = 3;

/// How often the terminal shows how far it is, and a signal is looked for.
const STEP: Duration = Duration::from_millis(200);

/// Runs the command.
pub(crate) fn main(options: &Adopt) -> ExitCode {
    let configuration = match configuration::read(&options.config) {
        Ok(configuration) => configuration,
        Err(not_read) => return not_read.complain(),
    };
    let prepared = prepare(options, &configuration);
    let (common, users) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => return complain(&why, FAILED),
    };
    let all = match adopt_all(&common, users) {
        Ok(all) => all,
        Err(errno) => return complain(&errno, FAILED),
    };
    let text = if options.json {
        match serde_json::to_string(&all) {
            Ok(text) => text + "\n",
            Err(error) => return complain(&error, FAILED),
        }
    } else {
        all.summary()
    };
    match print(&text) {
        printed if printed != ExitCode::SUCCESS => printed,
        _ if all.is_complete() => ExitCode::SUCCESS,
        _ => ExitCode::from(SOME_LEFT),
    }
}

/// What is needed before the first user.
fn prepare<'a>(
    options: &'a Adopt,
    configuration: &'a Configuration,
) -> Result<(Common<'a>, Vec<UserName>), String> {
    let server = options.verify.as_deref();
    let old_server = server.map(old_server::address).transpose()?;
    let mut passwords = Passwords::default();
    if old_server.is_some() {
        // Passwords must not get into a core dump.
        confine::forbid_dumps().map_err(|error| error.to_string())?;
        passwords = Passwords::read(&options.passwords)?;
    }
    let users = match &options.whom {
        Whom::These(users) => users.clone(),
        Whom::All => accounts::all(configuration)?,
    };
    let root = if options.dry_run {
        None
    } else {
        Some(StateRoot::open(configuration.server.state.as_path())?)
    };
    let common = Common {
        options,
        configuration,
        root,
        old_server,
        passwords,
    };
    Ok((common, users))
}

/// What has become of all users.
#[derive(Debug, Serialize)]
struct Everybody {
    /// How many users have each outcome.
    counts: BTreeMap<Outcome, usize>,
    /// How many users were not looked at, because a signal came.
    not_begun: usize,
    /// Each user, in the order of their ends.
    users: Vec<Report>,
}

impl Everybody {
    fn is_complete(&self) -> bool {
        self.not_begun == 0 && !self.counts.keys().any(|outcome| outcome.is_bad())
    }

    fn summary(&self) -> String {
        let counts = self.counts.iter();
        let mut parts: Vec<String> = counts
            .map(|(outcome, count)| format!("{count} {}", outcome.as_str()))
            .collect();
        if self.not_begun > 0 {
            parts.push(format!("{} not begun", self.not_begun));
        }
        if parts.is_empty() {
            parts.push("no users".to_owned());
        }
        format!("{}\n", parts.join(", "))
    }
}

/// Adopts all of these users, some at once. A signal ends it between two users: no adoption is
/// broken off, and no dotlock stays.
fn adopt_all(common: &Common<'_>, users: Vec<UserName>) -> nix::Result<Everybody> {
    let interrupt = Interrupt::take()?;
    let total = users.len();
    let jobs = common.options.jobs.min(total).max(1);
    let left = Mutex::new(users.into_iter());
    let (reports, received) = channel();
    let next = || {
        let mut left = left.lock().ok()?;
        (!interrupt.is_over()).then(|| left.next())?
    };
    let users = std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (reports, next) = (reports.clone(), &next);
            scope.spawn(move || {
                while let Some(user) = next() {
                    // The other end lives as long as these threads.
                    let _ = reports.send(one::adopt(common, &user));
                }
            });
        }
        drop(reports);
        collect(&received, total, common.options.json, || interrupt.look())
    });
    let mut counts = BTreeMap::new();
    for report in &users {
        *counts.entry(report.outcome).or_insert(0) += 1;
    }
    Ok(Everybody {
        counts,
        not_begun: total - users.len(),
        users,
    })
}

/// Shows each report, and on a terminal how far it is. Calls `look` in between.
fn collect(received: &Receiver<Report>, total: usize, json: bool, look: impl Fn()) -> Vec<Report> {
    let mut users = Vec::new();
    let terminal = std::io::stderr().is_terminal();
    let show = |text: &str| {
        if terminal {
            // If standard error fails, nothing can be shown.
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
        }
    };
    loop {
        match received.recv_timeout(STEP) {
            Ok(report) => {
                show("");
                if !json {
                    // The exit status tells of an error at the end.
                    let _ = print(&report.line());
                }
                users.push(report);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                show("");
                return users;
            }
        }
        show(&format!("{} of {total} users", users.len()));
        look();
    }
}
