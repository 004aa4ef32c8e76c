//! What a crash leaves behind, and what the next sessions make of it.

use super::trace::{Act, From, Run, Script, can_trace, run, run_looking};
use super::{Case, Desk, Outcome, Size, Snapshot, message, say};
use nix::sys::wait::WaitStatus;

/// Some dozens of messages.
pub const MANY: Size = Size {
    messages: 30,
    bytes: 900,
};
/// So much that an update takes several steps of at most 1 MiB.
pub const LARGE: Size = Size {
    messages: 10,
    bytes: 140 << 10,
};
/// So much that an update takes many pieces on a small disk.
pub const PIECES: Size = Size {
    messages: 12,
    bytes: 5 << 10,
};
/// A small spool, for tests that make each call fail in several ways.
pub const FEW: Size = Size {
    messages: 8,
    bytes: 900,
};

/// The bytes of `count` messages that another program delivers.
pub fn delivered(count: u32) -> Vec<u8> {
    (0..count)
        .flat_map(|mail| message(77 + mail, 1500))
        .collect()
}

/// Whether processes can be traced here. If not, this says so.
pub fn traceable() -> bool {
    let possible = can_trace(&Desk::new());
    if let Err(errno) = possible {
        say(&format!(
            "skipped: kills and faults at system calls: ptrace: {errno}"
        ));
    }
    possible.is_ok()
}

/// Runs two sessions after a crash. The first one must find one of the two spools that are
/// permitted. The second one must have nothing to finish, and deletes a message.
///
/// Returns which of the two spools was found, and whether a journal stood. After that the spool is
/// one message shorter.
pub fn settled(desk: &Desk, case: &Case, mails: u32, when: &str) -> (Outcome, bool) {
    let context = || format!("{}, {when}", case.name);
    let first = plain(desk, &[], case, when);
    let bytes = desk.bytes();
    let outcome = case.outcome(&bytes, &delivered(mails), when);
    let count = case.count(outcome) + mails as usize;
    assert_eq!(first.opened(), Some(count), "{}: messages", context());
    let deletions: &[u32] = if count > 0 { &[1] } else { &[] };
    let second = plain(desk, deletions, case, when);
    assert!(
        !second.finished_an_update(),
        "{}: the journal was left",
        context()
    );
    assert_eq!(second.opened(), Some(count), "{}: messages", context());
    let left = desk.bytes();
    let gone = bytes
        .strip_suffix(&left[..])
        .expect("others than the first are touched");
    let heads = gone.windows(6).filter(|window| window == b"\nFrom ");
    let is_first = gone.is_empty() == (count == 0) && heads.count() == 0;
    assert!(is_first, "{}: not the first was deleted", context());
    (outcome, first.finished_an_update())
}

/// Runs a session without faults or kills.
pub fn plain(desk: &Desk, deletions: &[u32], case: &Case, when: &str) -> Run {
    let script = Script {
        deletions,
        ..Script::PLAIN
    };
    let done = run(desk, &script);
    assert!(
        done.is_committed() && done.status == WaitStatus::Exited(pid(&done), 0),
        "{}, {when}: the next session failed: {done:?}",
        case.name
    );
    desk.clean_up(done.lock, done.pid);
    done
}

pub fn pid(run: &Run) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(run.pid)
}

/// What earlier crashes led to. Most crashes leave the same state as another one, which need not be
/// tested again.
#[derive(Default)]
pub struct Known(pub Vec<(Snapshot, Outcome, bool)>);

impl Known {
    /// What becomes of the desk's present state after `mails` deliveries. This is tested without
    /// and with one more delivery before the next session.
    pub fn outcome(&mut self, desk: &Desk, case: &Case, mails: u32, when: &str) -> (Outcome, bool) {
        let now = desk.snapshot();
        let known = self.0.iter().find(|(left, ..)| left.is_like(&now));
        if let Some((_, outcome, finished)) = known {
            return (*outcome, *finished);
        }
        let found = settled(desk, case, mails, when);
        desk.restore(&now);
        desk.deliver(&message(77 + mails, 1500));
        let when = format!("{when}, then a delivery");
        let with_mail = settled(desk, case, mails + 1, &when);
        assert_eq!(found, with_mail, "{}, {when}", case.name);
        self.0.push((now, found.0, found.1));
        found
    }
}

/// A session that deletes the messages of `case`.
pub fn quit(case: &Case, from: From, act: Option<(usize, Act)>) -> Script<'_> {
    Script {
        deletions: &case.deletions,
        quit: true,
        traced: Some(from),
        act,
    }
}

/// The system calls of an update without faults or kills.
pub fn listed(desk: &Desk, case: &Case) -> Vec<i64> {
    desk.restore(&Snapshot::fresh(case.spool(Outcome::Kept)));
    let whole = run(desk, &quit(case, From::Quit, None));
    assert!(whole.is_committed(), "{whole:?}");
    desk.clean_up(whole.lock, whole.pid);
    let outcome = case.outcome(&desk.bytes(), &[], "undisturbed");
    assert_eq!(outcome, Outcome::Done);
    whole.calls
}

/// The states that a crash of an update can leave, in order. No two are alike.
pub fn leavings(desk: &Desk, case: &Case) -> Vec<Snapshot> {
    desk.restore(&Snapshot::fresh(case.spool(Outcome::Kept)));
    let mut left: Vec<Snapshot> = Vec::new();
    let done = run_looking(desk, &quit(case, From::Quit, None), &mut || {
        let now = desk.snapshot();
        if !left.iter().any(|other| other.is_like(&now)) {
            left.push(now);
        }
    });
    assert!(done.is_committed());
    desk.clean_up(done.lock, done.pid);
    left
}

/// The states among them that need a recovery: the first, the last, and some between.
pub fn unfinished(desk: &Desk, case: &Case, most: usize) -> Vec<Snapshot> {
    let mut left = leavings(desk, case);
    left.retain(|snapshot| {
        desk.restore(snapshot);
        settled(desk, case, 0, "what an update leaves").1
    });
    let last = left.len().saturating_sub(1);
    let chosen = (0..most).map(|part| part * last / (most - 1).max(1));
    let mut chosen: Vec<usize> = chosen.filter(|at| *at < left.len()).collect();
    chosen.dedup();
    chosen.iter().map(|at| left[*at].clone()).collect()
}

/// A session without deletions.
pub fn opening(act: Option<(usize, Act)>) -> Script<'static> {
    Script {
        traced: Some(From::Job),
        act,
        ..Script::PLAIN
    }
}

/// The places in `calls` that are worth testing. Of a long row of calls of one kind, such as when a
/// file is read in pieces, these are the first ones, the last ones, and some between.
pub fn apart(calls: &[i64]) -> Vec<usize> {
    let alike = |at: &usize| {
        let near = at.saturating_sub(2)..at + 3;
        calls
            .get(near)
            .is_some_and(|near| near.iter().all(|call| *call == calls[*at]))
    };
    let places = 0..calls.len();
    places.filter(|at| at % 16 == 0 || !alike(at)).collect()
}
