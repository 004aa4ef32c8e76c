//! The adoption of one user's mail.

use super::comparison::Comparison;
use super::draft::StateRoot;
use crate::arguments::Adopt;
use crate::configuration::Configuration;
use crate::listing::{self, Listing};
use crate::mailbox::Mailbox;
use crate::old_server;
use crate::passwords::Passwords;
use crate::report::Directory;
use crate::task::Work;
use popward_proto::bounded::{List, UserName};
use popward_proto::sessions_worker::{NO_SPOOL, SCHEMES_MAX, Scheme, Task};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::Path;

/// What all adoptions of one command have in common.
pub(crate) struct Common<'a> {
    /// What the caller wants.
    pub(crate) options: &'a Adopt,
    /// The configuration in force.
    pub(crate) configuration: &'a Configuration,
    /// The directory of all state directories. `None`: nothing is written.
    pub(crate) root: Option<StateRoot>,
    /// The old server, if its answers are compared.
    pub(crate) old_server: Option<SocketAddr>,
    /// The passwords there.
    pub(crate) passwords: Passwords,
}

/// What has become of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The user's mail has the old server's UIDLs now.
    Adopted,
    /// It would have them.
    WouldAdopt,
    /// The user has a state directory, and so has been adopted or has had a session.
    Skipped,
    /// There is no mail. If some comes, the next adoption or login finds it.
    NoSpool,
    /// The old server gives other UIDLs. Nothing was written.
    Differs,
    /// It did not work.
    Failed,
}

impl Outcome {
    /// The outcome in words.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::WouldAdopt => "would be adopted",
            Self::Skipped => "skipped",
            Self::NoSpool => "no spool",
            Self::Differs => "not adopted",
            Self::Failed => "failed",
        }
    }

    /// Whether the operator has to look at this user.
    pub(crate) fn is_bad(self) -> bool {
        matches!(self, Self::Differs | Self::Failed)
    }
}

/// What is reported of a user.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Who.
    pub(crate) user: String,
    /// What has become of the user.
    pub(crate) outcome: Outcome,
    /// How many messages have, or would have, the old server's UIDL.
    pub(crate) kept: Option<usize>,
    /// How many have popward's own.
    pub(crate) native: Option<usize>,
    /// What the old server says, if it was asked.
    pub(crate) old_server: Option<Comparison>,
    /// Why, if that needs words.
    pub(crate) why: Option<String>,
}

impl Report {
    fn new(user: &UserName, outcome: Outcome) -> Self {
        Self {
            user: user.as_str().to_owned(),
            outcome,
            kept: None,
            native: None,
            old_server: None,
            why: None,
        }
    }

    /// A line for a terminal.
    pub(crate) fn line(&self) -> String {
        let counts = self.kept.zip(self.native).map(|(kept, native)| {
            format!(", {kept} messages with old UIDLs, {native} with popward's own")
        });
        let why = self.why.as_ref().map(|why| format!(": {why}"));
        let compared = self.old_server.as_ref().map(|found| format!("; {found}"));
        let details: String = [counts, why, compared].into_iter().flatten().collect();
        format!("{}: {}{details}\n", self.user, self.outcome.as_str())
    }
}

/// Adopts a user's mail, or says what would be.
pub(crate) fn adopt(common: &Common<'_>, user: &UserName) -> Report {
    match attempt(common, user) {
        Ok(report) => report,
        Err(why) => Report {
            why: Some(why),
            ..Report::new(user, Outcome::Failed)
        },
    }
}

fn attempt(common: &Common<'_>, user: &UserName) -> Result<Report, String> {
    let mailbox = Mailbox::of(user, common.configuration)?;
    let is_adopted = !mailbox.state.is_missing();
    let schemes = schemes(common.options, &mailbox)?;
    let mut report = Report::new(user, Outcome::WouldAdopt);
    if is_adopted {
        report.outcome = Outcome::Skipped;
        report.why = Some("has a state directory".to_owned());
    }
    // The old server comes first: some servers write their UIDLs into the spool then.
    let old = common.old_server.map(|server| ask(common, server, user));
    let old = old.transpose()?;
    if old.is_some() || (common.options.dry_run && !is_adopted) {
        // Without a state directory there are no pins, and with one nothing else counts.
        let used = if is_adopted { &[] } else { schemes.as_slice() };
        match listing::of(mailbox.question(), used)? {
            Listing::Refused(why) => return Err(why),
            Listing::NoSpool if is_adopted => {}
            Listing::NoSpool => report.outcome = Outcome::NoSpool,
            Listing::Messages { listed, kept } => {
                report.old_server = old.as_ref().map(|old| Comparison::of(old, &listed));
                report.kept = Some(kept);
                report.native = Some(listed.len() - kept);
            }
        }
    }
    let agrees = report.old_server.as_ref().is_none_or(Comparison::agrees);
    if !agrees {
        report.outcome = Outcome::Differs;
    }
    match &common.root {
        Some(root) if report.outcome == Outcome::WouldAdopt => {
            write(common, root, &mailbox, &schemes, report)
        }
        _ => Ok(report),
    }
}

/// The schemes of this user's mail.
fn schemes(options: &Adopt, mailbox: &Mailbox) -> Result<List<Scheme, SCHEMES_MAX>, String> {
    let schemes = if options.from.is_empty() {
        mailbox.settings.spool.adopt.clone()
    } else {
        List::try_from(options.from.clone()).map_err(|error| format!("--from: {error}"))?
    };
    if schemes.as_slice().is_empty() {
        return Err("adopt.from is not configured; --from names the old server".to_owned());
    }
    Ok(schemes)
}

fn ask(
    common: &Common<'_>,
    server: SocketAddr,
    user: &UserName,
) -> Result<Vec<crate::listing::Listed>, String> {
    // Dovecot's master users log in as `USER*MASTER`, with their own password.
    let master = common.options.master.as_deref();
    let name = format!("{user}{}", master.unwrap_or(""));
    let password = common.passwords.of(master.unwrap_or(user.as_str()));
    let missing = || format!("no password for {}", master.unwrap_or(user.as_str()));
    old_server::ask(server, name, password.ok_or_else(missing)?)
}

/// Has popward-adopt pin the UIDLs, and gives the user the state directory with the pins.
fn write(
    common: &Common<'_>,
    root: &StateRoot,
    mailbox: &Mailbox,
    schemes: &List<Scheme, SCHEMES_MAX>,
    mut report: Report,
) -> Result<Report, String> {
    let draft = root.draft(mailbox)?;
    let work = Work {
        mailbox,
        base: &common.configuration.sessions,
        task: Task::Adopt,
        state: Some(&draft),
        adopt: schemes,
    };
    let ended = work.run(|| ());
    let done = match &ended {
        Ok(ended) if ended.with(0) => {
            let count = |field| ended.logged("adopted", field)?.parse().ok();
            (report.kept, report.native) = (count("messages"), count("native"));
            let kept = root.keep(mailbox, &draft);
            kept.map_err(|errno| format!("state directory: {errno}"))?
        }
        Ok(ended) if ended.with(NO_SPOOL) => {
            root.remove(&draft);
            report.outcome = Outcome::NoSpool;
            return Ok(report);
        }
        // A login may have adopted meanwhile, and holds the locks.
        _ if has_state(common, mailbox) => {
            root.remove(&draft);
            false
        }
        Ok(ended) => return Err(ended.why()),
        Err(why) => return Err(why.clone()),
    };
    if done {
        report.outcome = Outcome::Adopted;
    } else {
        report.outcome = Outcome::Skipped;
        report.why = Some("a login came first".to_owned());
        (report.kept, report.native) = (None, None);
    }
    Ok(report)
}

fn has_state(common: &Common<'_>, mailbox: &Mailbox) -> bool {
    let root: &Path = common.configuration.server.state.as_path();
    let path = root.join(mailbox.account.name.as_str());
    !Directory::of(&path, mailbox.account.uid).is_missing()
}
