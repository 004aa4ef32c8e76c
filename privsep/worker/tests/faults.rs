//! Makes system calls fail, one at a time, at each call of an update and of recoveries (promise
//! P3). Faults are a full disk, a quota, a broken device, interrupted calls, and short reads and
//! writes. No message is lost or changed, QUIT is answered truly, and the next session works.
//!
//! With `--nocapture` this prints the answer to each fault, and what the fault leaves. The worker
//! is the real executable. `harness` plays its monitor and its front, and steps it from call to
//! call.

#![allow(
    clippy::unwrap_used,
    clippy::pedantic,
    clippy::print_stdout,
    reason = "a test may fail; its tables are for who asks for them"
)]

#[cfg(target_arch = "x86_64")]
mod harness;

/// System calls are exchanged in registers, and this knows only x86_64's.
#[cfg(not(target_arch = "x86_64"))]
#[test]
fn p3_nothing_is_lost_by_faults() {
    use std::io::Write;
    let why = b"skipped: faults at system calls: only x86_64's registers are known\n";
    std::io::stderr().write_all(why).unwrap();
}

#[cfg(target_arch = "x86_64")]
mod at_every_call {
    use super::harness::crash::{
        FEW, Known, LARGE, PIECES, apart, delivered, listed, opening, pid, quit, traceable,
        unfinished,
    };
    use super::harness::trace::{Act, From, Run, retrieve, run, shortable, writes};
    use super::harness::{Case, Desk, Outcome, Snapshot, say, spread};
    use nix::errno::Errno;
    use nix::libc;
    use nix::sys::wait::WaitStatus;
    use popward_proto::session::WorkerToFront;
    use std::collections::BTreeMap;

    /// The calls that are made to fail, with their names.
    const FAULTY: &[(i64, &str)] = &[
        (libc::SYS_pread64, "pread64"),
        (libc::SYS_pwrite64, "pwrite64"),
        (libc::SYS_read, "read"),
        (libc::SYS_write, "write"),
        (libc::SYS_fsync, "fsync"),
        (libc::SYS_fdatasync, "fdatasync"),
        (libc::SYS_ftruncate, "ftruncate"),
        (libc::SYS_fallocate, "fallocate"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_rename, "rename"),
        (libc::SYS_renameat, "renameat"),
        (libc::SYS_renameat2, "renameat2"),
        (libc::SYS_unlink, "unlink"),
        (libc::SYS_unlinkat, "unlinkat"),
        (libc::SYS_linkat, "linkat"),
        (libc::SYS_fstat, "fstat"),
        (libc::SYS_newfstatat, "newfstatat"),
        (libc::SYS_statx, "statx"),
        (libc::SYS_fcntl, "fcntl"),
        (libc::SYS_flock, "flock"),
        (libc::SYS_utimensat, "utimensat"),
    ];

    /// The calls that a signal may interrupt, by their manual pages. The caller must then call
    /// again. The worker handles no signals, but a file system in user space or over the network
    /// may also answer EINTR.
    const INTERRUPTIBLE: &[i64] = &[
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_ftruncate,
        libc::SYS_fallocate,
    ];

    /// The faults for this call, of which one is done at a time.
    fn acts(call: i64) -> Vec<Act> {
        if !FAULTY.iter().any(|(faulty, _)| *faulty == call) {
            return Vec::new();
        }
        let mut acts: Vec<Act> = [Errno::ENOSPC, Errno::EDQUOT, Errno::EIO, Errno::EINTR]
            .map(Act::Fail)
            .into();
        acts.push(Act::KeepFailing(Errno::EIO));
        if writes(call) || [libc::SYS_openat, libc::SYS_fallocate].contains(&call) {
            acts.push(Act::KeepFailing(Errno::ENOSPC));
        }
        if shortable(call) {
            acts.extend([Act::Half, Act::One]);
        }
        acts
    }

    /// Whether the worker must handle `act` so that nothing shows outside.
    fn is_to_be_borne(call: i64, act: Act) -> bool {
        match act {
            Act::Half | Act::One => true,
            Act::Fail(errno) => errno == Errno::EINTR && INTERRUPTIBLE.contains(&call),
            _ => false,
        }
    }

    /// How often each line occurred. A line says what a fault was, its answer and what it left.
    type Table = BTreeMap<String, usize>;

    fn fault_name(call: i64, act: Act) -> String {
        let name = FAULTY.iter().find(|(faulty, _)| *faulty == call).unwrap().1;
        let how = match act {
            Act::Fail(errno) => format!("{errno:?}"),
            Act::KeepFailing(errno) => format!("{errno:?} from then on"),
            act => format!("{act:?}"),
        };
        format!("{name} {how}")
    }

    fn print(title: &str, tables: Vec<Table>) -> usize {
        let mut whole = Table::new();
        for (line, count) in tables.into_iter().flatten() {
            *whole.entry(line).or_default() += count;
        }
        println!("{title}:");
        for (line, count) in &whole {
            println!("{count:6} × {line}");
        }
        let faults = whole.values().sum();
        say(&format!("{title}: {faults} faults"));
        let wrong = whole.keys().filter(|line| line.starts_with(WRONG));
        assert_eq!(wrong.count(), 0, "see the lines that begin with {WRONG}");
        faults
    }

    /// The spool's state, as the tables say it.
    fn state(case: &Case, bytes: &[u8], mails: u32) -> &'static str {
        match case.either(bytes, &delivered(mails)) {
            Some(Outcome::Kept) => "as before",
            Some(Outcome::Done) => "done",
            None => "between",
        }
    }

    #[test]
    fn p3_a_fault_at_any_call_of_an_update_loses_nothing_and_is_answered_truly() {
        if !traceable() {
            return;
        }
        let mut cases = Case::all(FEW);
        cases.push(Case::all(LARGE).swap_remove(0));
        cases.push(Case::cramped(PIECES).swap_remove(0));
        let tables = spread(&cases, |case| fault_update(&Desk::of(case), case));
        assert!(print("updates", tables) > 500);
    }

    fn fault_update(desk: &Desk, case: &Case) -> Table {
        let mut table = Table::new();
        let mut known = Known::default();
        let calls = listed(desk, case);
        for at in apart(&calls) {
            let call = calls[at];
            for act in acts(call) {
                desk.restore(&Snapshot::fresh(case.spool(Outcome::Kept)));
                let done = run(desk, &quit(case, From::Quit, Some((at, act))));
                // The last calls differ from run to run: how long the worker waits for a stamp
                // depends on the clock.
                if !done.acted || done.calls.last() != Some(&call) {
                    continue;
                }
                let when = format!("call {at} of the update: {}", fault_name(call, act));
                let line = judge(desk, case, &mut known, &done, call, act, &when);
                *table.entry(line).or_default() += 1;
            }
        }
        table
    }

    /// Compares the answer to a QUIT, during which `act` was done to `call`, with what became of
    /// the spool.
    fn judge(
        desk: &Desk,
        case: &Case,
        known: &mut Known,
        done: &Run,
        call: i64,
        act: Act,
        when: &str,
    ) -> String {
        let context = || format!("{}, {when}: {done:?}", case.name);
        // A worker that leaves a journal tells the monitor by its exit status, and tells the client
        // nothing.
        let unfinished = done.status == WaitStatus::Exited(pid(done), 1);
        assert!(
            unfinished == done.quit().is_none() && matches!(done.status, WaitStatus::Exited(..)),
            "{}",
            context()
        );
        desk.clean_up(done.lock, done.pid);
        let now = state(case, &desk.bytes(), 0);
        let (outcome, finished) = known.outcome(desk, case, 0, when);
        let answer = match done.quit() {
            Some(WorkerToFront::Committed(_)) => "+OK".to_owned(),
            Some(WorkerToFront::NotCommitted(why)) => format!("-ERR {why:?}"),
            _ => "none".to_owned(),
        };
        let truly = if unfinished {
            finished && !is_to_be_borne(call, act)
        } else if done.is_committed() {
            // If the journal could not be put away, the next session looks at it once more.
            (now, outcome) == ("done", Outcome::Done)
        } else {
            // A later session may do the deletions only if a journal stood.
            !is_to_be_borne(call, act) && !finished && now == "as before"
        };
        if !truly {
            say(&context());
        }
        line(truly, call, act, &answer, now, finished)
    }

    /// A line of a table: the call, the fault, what came of it, and whether that is wrong.
    fn line(
        is_right: bool,
        call: i64,
        act: Act,
        answer: &str,
        now: &str,
        finished: bool,
    ) -> String {
        let wrong = if is_right { "" } else { WRONG };
        let later = if finished {
            "; the next session does it"
        } else {
            ""
        };
        let fault = fault_name(call, act);
        format!("{wrong}{fault}: {answer}, the spool is {now}{later}")
    }

    /// Lines that show a forbidden result begin with this.
    const WRONG: &str = "WRONG: ";

    #[test]
    fn p3_a_fault_at_any_call_of_a_recovery_only_delays_it() {
        if !traceable() {
            return;
        }
        let mut cases = Case::all(FEW);
        cases.push(Case::all(LARGE).swap_remove(0));
        cases.push(Case::cramped(PIECES).swap_remove(0));
        let tables = spread(&cases, |case| fault_recoveries(&Desk::of(case), case));
        assert!(print("recoveries", tables) > 500);
    }

    #[test]
    fn p4_a_fault_at_any_call_of_retr_sends_the_message_or_says_that_it_is_not_whole() {
        if !traceable() {
            return;
        }
        // One message fits into a packet, and the other does not.
        let tables = spread(&[(FEW, 3), (LARGE, 2)], |(size, number)| {
            fault_retrieval(&Case::all(*size).swap_remove(0), *number)
        });
        // An executable with debug assertions makes more calls than one without.
        assert!(print("retrievals", tables) > 30);
    }

    fn fault_retrieval(case: &Case, number: u32) -> Table {
        let desk = Desk::of(case);
        let start = || desk.restore(&Snapshot::fresh(case.spool(Outcome::Kept)));
        start();
        let (calls, _, whole) = retrieve(&desk, number, None);
        let whole = whole.unwrap();
        assert!(whole.whole && !whole.bytes.is_empty());
        let mut table = Table::new();
        for at in apart(&calls) {
            let call = calls[at];
            for act in acts(call) {
                start();
                let (done, acted, body) = retrieve(&desk, number, Some((at, act)));
                if !acted || done.last() != Some(&call) {
                    continue;
                }
                let (answer, right) = match body {
                    Some(body) if body.whole => ("the message", body == whole),
                    // The connection is closed, because no error can be reported within a reply.
                    Some(body) => ("a part", whole.bytes.starts_with(&body.bytes)),
                    None => ("-ERR", true),
                };
                let borne = answer == "the message" || !is_to_be_borne(call, act);
                let now = state(case, &desk.bytes(), 0);
                let truly = right && borne && now == "as before";
                let line = line(truly, call, act, answer, now, false);
                *table.entry(line).or_default() += 1;
            }
        }
        table
    }

    fn fault_recoveries(desk: &Desk, case: &Case) -> Table {
        let mut table = Table::new();
        for (place, left) in unfinished(desk, case, 2).iter().enumerate() {
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
            for at in apart(&whole.calls) {
                let call = whole.calls[at];
                for act in acts(call) {
                    start(desk);
                    let done = run(desk, &opening(Some((at, act))));
                    if !done.acted || done.calls.last() != Some(&call) {
                        continue;
                    }
                    let when = format!(
                        "killed update {place}, call {at} of the recovery: {}",
                        fault_name(call, act)
                    );
                    let context = || format!("{}, {when}: {done:?}", case.name);
                    assert!(
                        matches!(done.status, WaitStatus::Exited(..)),
                        "{}",
                        context()
                    );
                    desk.clean_up(done.lock, done.pid);
                    let now = state(case, &desk.bytes(), mails);
                    let (outcome, finished) = known.outcome(desk, case, mails, &when);
                    assert_eq!(outcome, Outcome::Done, "{}", context());
                    let answer = match done.answers.first() {
                        Some(WorkerToFront::Opened(_)) => "opened".to_owned(),
                        Some(WorkerToFront::NotOpened(why)) => format!("-ERR {why:?}"),
                        _ => "ended".to_owned(),
                    };
                    let truly = if answer == "opened" {
                        now == "done"
                    } else {
                        !is_to_be_borne(call, act)
                    };
                    if !truly {
                        say(&context());
                    }
                    let line = line(truly, call, act, &answer, now, finished);
                    *table.entry(line).or_default() += 1;
                }
            }
        }
        table
    }
}
