//! SIGKILL at every system call of a QUIT that deletes bulletins, alone and beside mail (promises P3 and P7): what was answered
//! `+OK` stays done, whoever finishes the spool's update finishes theirs, and without that nothing has happened.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

#[cfg(target_arch = "x86_64")]
mod harness;

/// Calls are told apart by the registers of one architecture.
#[cfg(not(target_arch = "x86_64"))]
#[test]
fn p3_bulletins_survive_kills() {
    use std::io::Write;
    let why = b"skipped: kills at system calls: only x86_64's registers are known\n";
    std::io::stderr().write_all(why).unwrap();
}

#[cfg(target_arch = "x86_64")]
mod at_every_call {
    use super::harness::crash::{FEW, MANY, PIECES, plain, traceable};
    use super::harness::trace::{Act, From, Run, Script, run, writes};
    use super::harness::{Case, Desk, Outcome, Snapshot, say, spread};
    use nix::sys::signal::Signal;

    const NAMES: [&str; 3] = ["1.a", "2.b", "3.c"];

    /// What is kept once the second one is deleted.
    const GONE: &[u8] = b"popward bulletins 1\n2.b\n";

    /// What was kept before: this user is no new one.
    fn before(case: &Case, of: &[u8]) -> Snapshot {
        let mut before = Snapshot::fresh(case.spool(Outcome::Kept));
        before.state.insert("bulletins".to_owned(), of.to_vec());
        before
    }

    /// The session that is disturbed: it deletes `mail` and the second bulletin.
    fn session(desk: &Desk, case: &Case, mail: &[u32], act: Option<(usize, Act)>) -> Run {
        desk.restore(&before(case, b"popward bulletins 1\n"));
        let bulletin = case.count(Outcome::Kept) as u32 + 2;
        let deletions = [mail, &[bulletin]].concat();
        let script = Script {
            deletions: &deletions,
            quit: true,
            traced: Some(From::Quit),
            act,
        };
        let done = run(desk, &script);
        desk.clean_up(done.lock, done.pid);
        done
    }

    /// How many kills there were, and after how many everything was as before.
    fn kill(desk: &Desk, case: &Case, mail: &[u32]) -> (usize, usize) {
        let whole = session(desk, case, mail, None);
        assert!(whole.is_committed(), "{whole:?}");
        let noted = std::fs::read(desk.state().join("bulletins")).unwrap();
        assert_eq!(noted, GONE);
        let (mut kills, mut kept) = (0, 0);
        for at in 0.. {
            let torn = whole.calls.get(at).is_some_and(|call| writes(*call));
            let mut there = false;
            for act in [Act::Kill, Act::KillWithin]
                .into_iter()
                .take(1 + usize::from(torn))
            {
                let done = session(desk, case, mail, Some((at, act)));
                if !done.died_of(Signal::SIGKILL) {
                    assert!(done.is_committed(), "{done:?}");
                    continue;
                }
                there = true;
                kills += 1;
                let when = format!("{act:?} at call {at}");
                kept += usize::from(settled(desk, case, mail, &done, &when) == Outcome::Kept);
            }
            if !there {
                break;
            }
        }
        (kills, kept)
    }

    /// What became of it: of both, or of none.
    fn settled(desk: &Desk, case: &Case, mail: &[u32], killed: &Run, when: &str) -> Outcome {
        let when = format!("{}, {when}", case.name);
        let answered = killed.is_committed();
        let next = plain(desk, &[], case, &when);
        let mut outcome = Outcome::Kept;
        if !mail.is_empty() {
            outcome = case.outcome(&desk.bytes(), &[], &when);
        }
        let mail_left = case.count(outcome);
        let bulletins = next.opened().unwrap() - mail_left;
        assert!(
            bulletins == 2 || bulletins == 3,
            "{when}: {bulletins} bulletins"
        );
        let noted = bulletins == 2;
        if mail.is_empty() {
            outcome = if noted { Outcome::Done } else { Outcome::Kept };
        }
        assert!(
            !answered || (noted && outcome == Outcome::Done),
            "{when}: answered and undone"
        );
        assert_eq!(
            noted,
            outcome == Outcome::Done,
            "{when}: one was done and the other not"
        );
        // What was not done must not be done by another session, whatever that does.
        plain(desk, &[1], case, &when);
        let last = plain(desk, &[], case, &when);
        assert_eq!(
            last.opened(),
            Some(mail_left - 1 + bulletins),
            "{when}: done later"
        );
        outcome
    }

    #[test]
    fn p3_a_kill_at_any_call_does_all_or_nothing_to_mail_and_bulletins() {
        if !traceable() {
            return;
        }
        // Where everything is deleted, there is nothing left to finish an update of: no journal.
        let journalled = |case: &Case| case.count(Outcome::Done) > 0;
        let mut cases = Case::all(FEW);
        cases.extend(Case::cramped(PIECES).into_iter().take(1));
        cases.retain(journalled);
        let counts = spread(&cases, |case| {
            kill(&Desk::with_bulletins(case, &NAMES), case, &case.deletions)
        });
        let (kills, kept) = counts
            .iter()
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        say(&format!(
            "mail and bulletins: {kills} kills, {kept} of them before the point of no return"
        ));
        assert!(kills > 100 && kept > 20 && kept < kills);
    }

    #[test]
    fn p3_a_kill_at_any_call_does_all_or_nothing_to_bulletins_alone() {
        if !traceable() {
            return;
        }
        let case = &Case::all(MANY)[0];
        let (kills, kept) = kill(&Desk::with_bulletins(case, &NAMES), case, &[]);
        say(&format!(
            "bulletins: {kills} kills, {kept} of them before the point of no return"
        ));
        assert!(kills > 5 && kept > 3 && kept < kills);
    }
}
