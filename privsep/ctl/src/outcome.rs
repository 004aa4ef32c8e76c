//! What a login with the right password would do now: which answer its client would hear, and why.

use crate::facts::{Content, Facts, Journal, Pins, Spool};
use crate::holders::Lock;
use serde::Serialize;

/// What would happen.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Outcome {
    /// The beginning of the answer: `+OK`, or `-ERR` with its response code.
    pub(crate) answer: &'static str,
    /// Why, and what happens before.
    pub(crate) because: String,
}

impl Outcome {
    /// Whether the maildrop would be opened.
    pub(crate) fn opens(&self) -> bool {
        self.answer == OK
    }
}

const OK: &str = "+OK";
const IN_USE: &str = "-ERR [IN-USE]";
const TEMPORARY: &str = "-ERR [SYS/TEMP]";
const PERMANENT: &str = "-ERR [SYS/PERM]";

/// The outcome for an account that has no place for mail, or no usable state directory.
pub(crate) fn no_place(why: String) -> Outcome {
    Outcome {
        answer: TEMPORARY,
        because: why,
    }
}

/// The outcome for these facts. `adopts` is whether popward-adopt would work first.
pub(crate) fn of(facts: &Facts, locks: &[Lock], adopts: bool) -> Outcome {
    let (answer, because) = decide(facts, locks, adopts);
    Outcome { answer, because }
}

fn decide(facts: &Facts, locks: &[Lock], adopts: bool) -> (&'static str, String) {
    // A worker removes the dotlock of a dead process of its own user.
    let held = locks
        .iter()
        .find(|lock| !lock.stale && lock.kind != "lease");
    let held = held.map(|lock| {
        (
            IN_USE,
            format!("the {} is held by {}", lock.kind, lock.holder),
        )
    });
    let file = match &facts.spool {
        Spool::NoDirectory(why) => {
            return (TEMPORARY, format!("the spool's directory: {why}"));
        }
        Spool::Unfit(why) => return (PERMANENT, why.clone()),
        Spool::Unreadable(why) => return (TEMPORARY, format!("the spool: {why}")),
        Spool::Missing => {
            let none = (OK, "there is no spool: the maildrop is empty".to_owned());
            return held.unwrap_or(none);
        }
        Spool::There(file) => file,
    };
    if let Some(held) = held {
        return held;
    }
    let state = facts.state.as_ref();
    let mut first = if adopts {
        "popward-adopt works first; "
    } else {
        ""
    };
    match state.map(|state| &state.journal) {
        Some(Journal::Unfinished) => first = "an update that was broken off is finished first; ",
        Some(Journal::OfAnotherFile) => {
            let why = "an unfinished update of another spool file; its journal is kept";
            return (PERMANENT, why.to_owned());
        }
        Some(Journal::Unusable(why)) => return (TEMPORARY, format!("the journal: {why}")),
        Some(Journal::None) | None => {}
    }
    if let Some(Pins::Unusable(why)) = state.map(|state| &state.pins) {
        return (PERMANENT, format!("pins: {why}"));
    }
    match &file.content {
        // The scan saw a spool of which an update has moved a part.
        _ if first.starts_with("an update") => (OK, format!("{first}then its messages")),
        Content::Refused(why) => (PERMANENT, why.clone()),
        Content::NotRead(why) => (TEMPORARY, format!("the spool: {why}")),
        Content::Mail { messages, .. } => (OK, format!("{first}{messages} messages")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Index, SpoolFile, State};

    fn there(content: Content) -> Spool {
        Spool::There(SpoolFile {
            bytes: 1,
            uid: 1,
            mode: 0o600,
            changed_s_ago: 1,
            lock_id: String::new(),
            content,
        })
    }

    fn mail() -> Spool {
        there(Content::Mail {
            messages: 3,
            octets: 9,
        })
    }

    fn outcome(spool: Spool, journal: Journal, pins: Pins, locks: &[Lock]) -> String {
        let facts = Facts {
            spool,
            dotlock: None,
            state: Some(State {
                index: Index::None,
                pins,
                journal,
            }),
        };
        let outcome = of(&facts, locks, false);
        format!("{} {}", outcome.answer, outcome.because)
    }

    fn lock(stale: bool) -> Lock {
        Lock {
            kind: "dotlock",
            pid: Some(7),
            holder: "mutt".to_owned(),
            stale,
            touched_s_ago: None,
        }
    }

    #[test]
    fn each_obstacle_has_the_answer_that_a_client_would_hear() {
        let why = || "why".to_owned();
        let plain = |spool| outcome(spool, Journal::None, Pins::None, &[]);
        assert_eq!(plain(mail()), "+OK 3 messages");
        assert!(plain(Spool::Missing).starts_with("+OK there is no spool"));
        assert!(plain(Spool::NoDirectory(why())).starts_with("-ERR [SYS/TEMP]"));
        assert!(plain(Spool::Unfit(why())).starts_with("-ERR [SYS/PERM] why"));
        assert!(plain(there(Content::Refused(why()))).starts_with("-ERR [SYS/PERM] why"));
        let locked = |stale| outcome(mail(), Journal::None, Pins::None, &[lock(stale)]);
        assert_eq!(locked(false), "-ERR [IN-USE] the dotlock is held by mutt");
        assert_eq!(locked(true), "+OK 3 messages");
        let journal = |journal| outcome(mail(), journal, Pins::None, &[]);
        assert!(journal(Journal::Unfinished).starts_with("+OK an update that was broken off"));
        assert!(journal(Journal::OfAnotherFile).starts_with("-ERR [SYS/PERM]"));
        let pins = outcome(mail(), Journal::None, Pins::Unusable(why()), &[]);
        assert_eq!(pins, "-ERR [SYS/PERM] pins: why");
    }
}
