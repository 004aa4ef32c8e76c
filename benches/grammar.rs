//! How many pipelined commands the protocol takes in a second, without I/O: the grammar alone, and
//! with the state machine and its replies.
//!
//!     cargo bench --bench grammar

use divan::counter::ItemsCount;
use popward_front::pop3::{Action, Identity, Offer, Policy, Pop3, Security, command};
use popward_proto::bounded::UserName;
use popward_proto::monitor_front::Mechanism;
use popward_proto::session::{FrontToWorker, Totals, WorkerToFront};

fn main() {
    divan::main();
}

const COMMANDS: [&str; 8] = [
    "RETR 1",
    "DELE 17",
    "TOP 4711 20",
    "LIST",
    "UIDL 3",
    "NOOP",
    "STAT",
    "USER somebody@example.org",
];

#[divan::bench]
fn lines_to_commands(bencher: divan::Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(COMMANDS.len())).bench(|| {
        for line in COMMANDS {
            let _ = divan::black_box(command::parse(divan::black_box(line.as_bytes())));
        }
    });
}

/// A session after its login.
fn session() -> Pop3 {
    let policy = Policy {
        bad_commands: 20,
        failed_logins: 3,
    };
    let offer = Offer {
        security: Security::Tls,
        passwords: true,
        mechanisms: [Mechanism::User].into_iter().collect(),
        certificate: false,
        binding: None,
    };
    let identity = Identity {
        unique: [0; 2],
        host: "localhost".into(),
    };
    let mut pop3 = Pop3::new(policy, offer, identity, false);
    let mut out = Vec::new();
    pop3.greeting(&mut out);
    let (_, action) = pop3.input(b"USER u\r\nPASS p\r\n", &mut out);
    assert!(matches!(action, Action::Login(_)));
    if let Ok(user) = UserName::try_from("u".to_owned()) {
        pop3.granted(user, 0);
    }
    pop3.worker(&WorkerToFront::Opened(Totals::default()), &mut out);
    pop3
}

#[divan::bench]
fn pipelined_noops_with_replies(bencher: divan::Bencher<'_, '_>) {
    const COUNT: usize = 500;
    let input = b"NOOP\r\n".repeat(COUNT);
    let (mut pop3, mut out) = (session(), Vec::with_capacity(1 << 16));
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
        out.clear();
        pop3.input(divan::black_box(&input), &mut out)
    });
}

#[divan::bench]
fn pipelined_requests_with_a_workers_answers(bencher: divan::Bencher<'_, '_>) {
    const COUNT: usize = 500;
    let input = b"STAT\r\n".repeat(COUNT);
    let (mut pop3, mut out) = (session(), Vec::with_capacity(1 << 16));
    let answer = WorkerToFront::Totals(Totals::default());
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
        out.clear();
        let mut rest = &input[..];
        while !rest.is_empty() {
            let (used, action) = pop3.input(rest, &mut out);
            assert!(action == Action::Ask(FrontToWorker::Stat));
            pop3.worker(&answer, &mut out);
            rest = &rest[used..];
        }
    });
}
