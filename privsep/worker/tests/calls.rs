//! Counts the system calls of opening a spool that has not changed since the last session.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

#[cfg(target_arch = "x86_64")]
mod harness;

/// System calls are read from registers, and this knows only x86_64's.
#[cfg(not(target_arch = "x86_64"))]
#[test]
fn an_unchanged_spool_is_opened_with_few_calls() {
    use std::io::Write;
    let why = b"skipped: system calls are counted: only x86_64's registers are known\n";
    std::io::stderr().write_all(why).unwrap();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn an_unchanged_spool_is_opened_with_few_calls() {
    use harness::crash::{LARGE, opening, plain, traceable};
    use harness::trace::run;
    use harness::{Case, Desk};
    if !traceable() {
        return;
    }
    let case = Case::all(LARGE).swap_remove(0);
    let desk = Desk::of(&case);
    std::fs::write(desk.spool(), case.spool(harness::Outcome::Kept)).unwrap();
    // Until the file system's clock has moved on, a stamp proves nothing, and the next session
    // scans again.
    for _ in 0..100 {
        plain(&desk, &[], &case, "before");
        let whole = run(&desk, &opening(None));
        if whole
            .records
            .iter()
            .any(|record| record.contains("how=unchanged"))
        {
            // The first `recvmsg` receives the job. At the next one the worker waits for a request.
            let asks = whole
                .calls
                .iter()
                .skip(1)
                .position(|call| *call == nix::libc::SYS_recvmsg);
            let calls = asks.unwrap() + 1;
            harness::say(&format!("{calls} calls to open an unchanged spool"));
            assert!(calls < 110, "{:?}", whole.calls);
            return;
        }
    }
    panic!("never unchanged");
}
