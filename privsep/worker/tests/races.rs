//! Two workers of the same user (promise P2). One of them is stopped at each of its system calls in
//! turn. There the other one tries to open the maildrop.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

#[cfg(target_arch = "x86_64")]
mod harness;

/// Tracing reads registers, and this knows only x86_64's.
#[cfg(not(target_arch = "x86_64"))]
#[test]
fn p2_of_two_workers_at_a_stale_lock_one_gets_the_locks_and_keeps_them() {
    use std::io::Write;
    let why = b"skipped: two workers at a stale lock: only x86_64's registers are known\n";
    std::io::stderr().write_all(why).unwrap();
}

#[cfg(target_arch = "x86_64")]
mod stops {
    use super::harness::crash::traceable;
    use super::harness::trace::{From, Script, run_looking};
    use super::harness::worker::{Worker, dele};
    use super::harness::{Desk, NAME};
    use popward_proto::session::{ClientPhase, FrontToWorker, WorkerToFront};
    use std::fs;
    use std::os::unix::fs::chown;
    use std::process::Command;

    const MAIL: &[u8] = b"From a@b Mon Nov 23 10:00:00 2026\nSubject: one\n\none\n\n";

    #[test]
    fn p2_of_two_workers_at_a_stale_lock_one_gets_the_locks_and_keeps_them() {
        if !traceable() {
            return;
        }
        let mut dead = Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let mut opened = [0, 0];
        let mut at = 0;
        loop {
            let desk = Desk::new();
            desk.deliver(MAIL);
            let lock = desk.mail().join(format!("{NAME}.lock"));
            fs::write(&lock, format!("{}:here", dead.id())).unwrap();
            chown(&lock, Some(desk.owner.uid), Some(desk.owner.gid)).unwrap();
            let (mut calls, mut other) = (0, None);
            let script = Script {
                traced: Some(From::Job),
                ..Script::PLAIN
            };
            let first = run_looking(&desk, &script, &mut || {
                if calls == at {
                    other = opens(&desk);
                }
                calls += 1;
            });
            let is_open = [first.opened().is_some(), other.is_some()];
            assert_ne!(is_open, [true; 2], "both at call {at}");
            assert_ne!(is_open, [false; 2], "nobody at call {at}");
            if is_open[0] {
                assert!(first.is_committed(), "call {at}: {first:?}");
            }
            if let Some(other) = &mut other {
                other.ask(dele(1));
                assert!(
                    other
                        .answer(ClientPhase::Asked(dele(1).request()))
                        .is_some()
                );
                other.ask(FrontToWorker::Quit);
                let quit = ClientPhase::Asked(FrontToWorker::Quit.request());
                let answer = other.answer(quit);
                let is_committed = matches!(answer, Some(WorkerToFront::Committed(_)));
                assert!(is_committed, "call {at}: {answer:?}");
                other.run_out();
            }
            for (count, is_open) in opened.iter_mut().zip(is_open) {
                *count += usize::from(is_open);
            }
            at += 1;
            if at == calls {
                break;
            }
        }
        assert!(opened.iter().all(|count| *count > 10), "{opened:?}");
    }

    /// The worker that opens the maildrop. `None`: it cannot.
    fn opens(desk: &Desk) -> Option<Worker> {
        let mut worker = Worker::start(desk).unwrap();
        worker.give_job(desk);
        match worker.answers(&[]).first() {
            Some(WorkerToFront::Opened(_)) => Some(worker),
            answer => {
                assert!(matches!(answer, Some(WorkerToFront::NotOpened(_))));
                worker.run_out();
                None
            }
        }
    }
}
