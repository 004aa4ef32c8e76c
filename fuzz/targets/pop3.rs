//! What a client may send, in pieces: the first byte says how large. Replies stay within their length, nothing is asked
//! while an answer is due, and how it is cut changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use popward_front::pop3::{Action, Policy, Pop3};
use popward_proto::session::{FrontToWorker, Totals, Update, WorkerToFront};

/// Feeds `bytes` in pieces of `size` to a session with a worker that always says yes; returns what was heard.
fn heard(bytes: &[u8], size: usize) -> Vec<u8> {
    let policy = Policy {
        bad_commands: 20,
        failed_logins: 3,
    };
    let mut pop3 = Pop3::new(policy, true, true);
    let mut out = Vec::new();
    for mut piece in bytes.chunks(size) {
        while !piece.is_empty() {
            let (used, action) = pop3.input(piece, &mut out);
            assert!(used > 0 || action != Action::None, "no progress");
            piece = &piece[used..];
            let answer = match action {
                Action::None => continue,
                Action::Close(_) => return out,
                Action::Check { .. } => WorkerToFront::Opened(Totals::default()),
                Action::Ask(FrontToWorker::Quit) => WorkerToFront::Committed(Update {
                    deleted: Totals::default(),
                    left: Totals::default(),
                }),
                Action::Ask(FrontToWorker::List(None) | FrontToWorker::Uidl(None)) => {
                    WorkerToFront::Listing(Totals::default())
                }
                Action::Ask(FrontToWorker::Retr(_) | FrontToWorker::Top(..)) => {
                    WorkerToFront::Body(0)
                }
                Action::Ask(_) => WorkerToFront::Totals(Totals::default()),
            };
            assert!(!pop3.wants_input());
            let streams = matches!(answer, WorkerToFront::Listing(_) | WorkerToFront::Body(_));
            if let Action::Close(_) = pop3.worker(&answer, &mut out) {
                return out;
            }
            if streams {
                pop3.data(true, &mut out);
            }
            if matches!(answer, WorkerToFront::Committed(_)) {
                pop3.worker_ended(false, &mut out);
                return out;
            }
        }
    }
    out
}

fuzz_target!(|data: &[u8]| {
    let Some((size, bytes)) = data.split_first() else {
        return;
    };
    let pieces = heard(bytes, usize::from(*size).max(1));
    assert_eq!(pieces, heard(bytes, bytes.len().max(1)));
    for line in pieces.split(|byte| *byte == b'\n') {
        assert!(line.len() < 512);
    }
});
