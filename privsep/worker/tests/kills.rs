//! Kills the worker with SIGKILL at every system call of a session, of an update and of recoveries
//! (promises P3 and P7). The next session must find every message that was not deleted exactly once
//! and byte for byte. Every deletion that was answered `+OK` must be done.
//!
//! The worker is the real executable. `harness` plays its monitor and its front, and steps it from
//! call to call.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

#[cfg(target_arch = "x86_64")]
mod harness;

/// System calls are read from registers, and this knows only x86_64's.
#[cfg(not(target_arch = "x86_64"))]
#[test]
fn p3_nothing_is_lost_by_kills() {
    use std::io::Write;
    let why = b"skipped: kills at system calls: only x86_64's registers are known\n";
    std::io::stderr().write_all(why).unwrap();
}

#[cfg(target_arch = "x86_64")]
mod at_every_call {
    use super::harness::crash::{
        FEW, Known, LARGE, MANY, PIECES, apart, delivered, listed, opening, quit, settled,
        traceable, unfinished,
    };
    use super::harness::trace::{Act, From, Script, run, writes};
    use super::harness::{Case, Desk, Outcome, Snapshot, say, spread};
    use nix::libc;
    use nix::sys::signal::Signal;

    /// Large spools are used only where messages move, because deleting up to the end is one call
    /// at any length.
    fn cases() -> Vec<Case> {
        let moves = |case: &Case| {
            !case
                .spool(Outcome::Kept)
                .starts_with(case.spool(Outcome::Done))
        };
        let large = Case::all(LARGE).into_iter().filter(moves);
        let pieces = Case::cramped(PIECES);
        let all = Case::all(MANY).into_iter().chain(large);
        all.chain(pieces).collect()
    }

    /// Otherwise the large spool would test nothing more than the small one.
    #[test]
    fn the_large_spool_takes_an_update_of_several_steps() {
        if !traceable() {
            return;
        }
        let steps = |size| {
            let calls = listed(&Desk::new(), &Case::all(size)[0]);
            let writes = calls.iter().filter(|call| **call == libc::SYS_pwrite64);
            writes.count()
        };
        let (few, many) = (steps(FEW), steps(LARGE));
        assert!(
            many > few,
            "{few} writes to a small spool, {many} to a large one"
        );
        let cramped = &Case::cramped(PIECES)[0];
        let calls = listed(&Desk::of(cramped), cramped);
        let syncs = calls.iter().filter(|call| **call == libc::SYS_fsync);
        assert!(syncs.count() > 4, "a sync for each piece");
    }

    #[test]
    fn p3_a_kill_at_any_call_of_an_update_does_all_of_it_or_nothing() {
        if !traceable() {
            return;
        }
        let counts = spread(&cases(), |case| kill_update(&Desk::of(case), case));
        let (kills, kept): (usize, usize) = counts
            .iter()
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        say(&format!(
            "updates: {kills} kills, {kept} of them before the point of no return"
        ));
        assert!(kills > 300 && kept > 50 && kept < kills);
    }

    /// Returns how many kills there were, and after how many of them nothing was deleted.
    fn kill_update(desk: &Desk, case: &Case) -> (usize, usize) {
        let mut known = Known::default();
        let (mut kills, mut kept) = (0, 0);
        let undisturbed = listed(desk, case);
        for at in 0.. {
            let torn = undisturbed.get(at).is_some_and(|call| writes(*call));
            let mut there = false;
            for act in [Act::Kill, Act::KillWithin]
                .into_iter()
                .take(1 + usize::from(torn))
            {
                desk.restore(&Snapshot::fresh(case.spool(Outcome::Kept)));
                let done = run(desk, &quit(case, From::Quit, Some((at, act))));
                if !done.died_of(Signal::SIGKILL) {
                    assert!(done.is_committed(), "{done:?}");
                    continue;
                }
                there = true;
                desk.clean_up(done.lock, done.pid);
                let when = format!("{act:?} at call {at} of the update");
                let (outcome, _) = known.outcome(desk, case, 0, &when);
                assert!(
                    outcome == Outcome::Done || done.quit().is_none(),
                    "{}, {when}: answered and undone",
                    case.name
                );
                kills += 1;
                kept += usize::from(outcome == Outcome::Kept);
            }
            if !there {
                break;
            }
        }
        // If an index is written, the count of the last calls depends on the clock.
        assert!(kills >= undisturbed.len() * 3 / 4, "{}: {kills}", case.name);
        (kills, kept)
    }

    #[test]
    fn p3_a_kill_at_any_call_of_a_recovery_only_delays_it() {
        if !traceable() {
            return;
        }
        let kills = spread(&cases(), |case| kill_recoveries(&Desk::of(case), case));
        let again: usize = kills.iter().map(|(_, again)| again).sum();
        let kills: usize = kills.iter().map(|(kills, _)| kills).sum();
        say(&format!(
            "recoveries: {kills} kills, and {again} of the recovery after that"
        ));
        assert!(kills > 500 && again > 50);
    }

    fn kill_recoveries(desk: &Desk, case: &Case) -> (usize, usize) {
        let (mut kills, mut again) = (0, 0);
        for (place, left) in unfinished(desk, case, 3).iter().enumerate() {
            // In every second case mail arrived between the crash and the recovery. Then the
            // recovery must extend the journal.
            let mails = u32::from(place % 2 == 0);
            let mut known = Known::default();
            let start = |desk: &Desk| {
                desk.restore(left);
                desk.deliver(&delivered(mails));
            };
            start(desk);
            let whole = run(desk, &opening(None));
            desk.clean_up(whole.lock, whole.pid);
            assert!(whole.finished_an_update(), "{whole:?}");
            let mut places = apart(&whole.calls);
            if place > 0 {
                // Before the worker is confined, it touches nothing but locks. Testing that once is
                // enough.
                let filter = |call: &i64| *call == libc::SYS_seccomp;
                let confined = whole.calls.iter().rposition(filter).unwrap();
                places.retain(|at| *at > confined);
            }
            let within = |at: &&usize| writes(whole.calls[**at]);
            let torn = places
                .iter()
                .filter(within)
                .map(|at| (*at, Act::KillWithin));
            let whole = places.iter().map(|at| (*at, Act::Kill));
            for (at, act) in whole.chain(torn) {
                start(desk);
                if !killed(desk, at, act) {
                    continue;
                }
                kills += 1;
                let when = format!("killed update {place}, {act:?} at call {at} of the recovery");
                let between = desk.snapshot();
                let before = known.0.len();
                let (outcome, _) = known.outcome(desk, case, mails, &when);
                assert_eq!(outcome, Outcome::Done, "{}, {when}", case.name);
                if known.0.len() == before {
                    continue;
                }
                // This kill left something new. So the next recovery is killed too, at some of its
                // calls.
                for later in places.iter().copied().skip(at % 7).step_by(11) {
                    desk.restore(&between);
                    if !killed(desk, later, Act::Kill) {
                        break;
                    }
                    again += 1;
                    let when = format!("{when}, the next one at call {later}");
                    let (outcome, _) = known.outcome(desk, case, mails, &when);
                    assert_eq!(outcome, Outcome::Done, "{}, {when}", case.name);
                }
            }
        }
        (kills, again)
    }

    /// Kills a session at its call number `at`. Returns whether the session made that many calls.
    fn killed(desk: &Desk, at: usize, act: Act) -> bool {
        let done = run(desk, &opening(Some((at, act))));
        desk.clean_up(done.lock, done.pid);
        done.died_of(Signal::SIGKILL)
    }

    #[test]
    fn p7_a_kill_before_quit_changes_nothing() {
        if !traceable() {
            return;
        }
        let case = &Case::all(FEW)[4];
        let desk = &Desk::new();
        let before = case.spool(Outcome::Kept);
        let mut kills = 0;
        for at in 0.. {
            desk.restore(&Snapshot::fresh(before));
            let script = Script {
                quit: false,
                ..quit(case, From::Job, Some((at, Act::Kill)))
            };
            let done = run(desk, &script);
            assert!(done.died_of(Signal::SIGKILL), "{done:?}");
            desk.clean_up(done.lock, done.pid);
            assert!(desk.bytes() == before, "killed at call {at}");
            kills += 1;
            if !done.acted {
                // The session made fewer calls than `at`, so it was killed while it waited for
                // QUIT.
                assert_eq!(done.answers.len(), 1 + case.deletions.len());
                break;
            }
        }
        let (outcome, finished) = settled(desk, case, 0, "killed before QUIT");
        assert_eq!((outcome, finished), (Outcome::Kept, false));
        say(&format!("before QUIT: {kills} kills"));
        assert!(kills > 50);
    }
}
