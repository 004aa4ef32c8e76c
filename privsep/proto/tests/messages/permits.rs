//! The permit tables: what may come in which phase, how often, with how many descriptors.

use super::*;

fn admits<M: Message>(phase: M::Phase, message: &M) -> bool {
    let descriptors = message.permit().descriptors;
    Gate::new(phase).admit(message, descriptors, message.announces())
        != Err(Refused {
            kind: message.permit().kind,
            why: OUT_OF_PHASE,
        })
}

#[test]
fn a_worker_hears_nothing_but_in_the_transaction_state() {
    let requests = [
        FrontToWorker::Stat,
        FrontToWorker::OfAll(OfAll::Sizes),
        FrontToWorker::OfAll(OfAll::UniqueIds),
        FrontToWorker::OfOne(ONE, OfOne::Size),
        FrontToWorker::OfOne(ONE, OfOne::UniqueId),
        FrontToWorker::OfOne(ONE, OfOne::Whole),
        FrontToWorker::OfOne(ONE, OfOne::Top(1)),
        FrontToWorker::OfOne(ONE, OfOne::Delete),
        FrontToWorker::Rset,
        FrontToWorker::Quit,
    ];
    for request in requests {
        assert!(!admits(WorkerPhase::Opening, &request), "{request:?}");
        assert!(admits(WorkerPhase::Transaction, &request), "{request:?}");
        assert!(!admits(WorkerPhase::Update, &request), "{request:?}");
    }
}

#[test]
fn a_front_hears_only_the_answer_to_what_it_asked() {
    use ClientPhase::{Asked, Idle, Opening, Streaming};
    let totals = Totals::default();
    let unique = Text::truncated("x");
    let phases = [
        Opening,
        Idle,
        Streaming,
        Asked(Request::Totals),
        Asked(Request::Listing),
        Asked(Request::Size),
        Asked(Request::Unique),
        Asked(Request::Body),
        Asked(Request::Delete),
        Asked(Request::Quit),
    ];
    // One letter a phase of the list above: x where the answer may come.
    let table = [
        (WorkerToFront::Opened(totals), "x........."),
        (WorkerToFront::NotOpened(OpenFailure::InUse), "x........."),
        (WorkerToFront::Totals(totals), "...x......"),
        (WorkerToFront::Listing(totals), "....x....."),
        (WorkerToFront::Size(ONE, 1), ".....x...."),
        (WorkerToFront::Unique(ONE, unique), "......x..."),
        (WorkerToFront::Body(1), ".......x.."),
        (WorkerToFront::Ahead(ONE, 1), ".x.xxxxxxx"),
        (WorkerToFront::Deleted(ONE, 1), "........x."),
        (WorkerToFront::Refused(Refusal::NoSuchMessage), ".....xxxx."),
        (WorkerToFront::Broken(Broken::LockLost), ".xxxxxxxx."),
        (
            WorkerToFront::Committed(Update {
                deleted: totals,
                left: totals,
            }),
            ".........x",
        ),
        (WorkerToFront::NotCommitted(Broken::System), ".........x"),
    ];
    for (answer, row) in table {
        for (phase, due) in phases.iter().zip(row.chars()) {
            assert_eq!(
                admits(*phase, &answer),
                due == 'x',
                "{answer:?} in {phase:?}"
            );
        }
    }
}

#[test]
fn settings_come_before_everything_and_descriptors_with_what_they_are_for() {
    use SetupPhase::{Serving, Starting};
    let table = [
        (listener(), Starting, Serving, 1),
        (MonitorToFront::ClientAuthorities, Starting, Serving, 1),
        (
            MonitorToFront::Certificate(key_facts()),
            Starting,
            Serving,
            1,
        ),
        (MonitorToFront::Sessions, Starting, Serving, 1),
        (MonitorToFront::Serve, Starting, Serving, 0),
        (MonitorToFront::Drain, Serving, Starting, 0),
    ];
    for (message, good, bad, descriptors) in table {
        assert!(
            admits(good, &message) && !admits(bad, &message),
            "{message:?}"
        );
        assert_eq!(message.permit().descriptors, descriptors, "{message:?}");
        let wrong = Gate::new(good).admit(&message, descriptors + 1, false);
        assert!(
            matches!(
                wrong,
                Err(Refused {
                    why: DESCRIPTORS,
                    ..
                })
            ),
            "{message:?}"
        );
    }
    let table = [
        (
            SessionsToFront::Session {
                session: session(),
                user: user("u"),
                login_delay_s: 0,
            },
            1,
        ),
        (no_session(), 0),
        (
            SessionsToFront::Ended {
                session: session(),
                finished: true,
            },
            0,
        ),
        (SessionsToFront::Newcomer(session()), 0),
    ];
    for (message, descriptors) in table {
        assert!(admits(Serving, &message) && !admits(Starting, &message));
        assert_eq!(message.permit().descriptors, descriptors, "{message:?}");
    }
    let ready = SessionsToMonitor::Ready { version: 1 };
    assert_eq!(ready.permit().descriptors, 1);
    assert!(admits(Starting, &ready) && !admits(Serving, &ready));
    let broken = SessionsToMonitor::BrokeRules(Peer::Auth, Text::truncated("x"));
    assert!(!admits(Starting, &broken) && admits(Serving, &broken));
    for phase in [Starting, Serving] {
        for message in [MonitorToFront::Auth, MonitorToFront::Keys] {
            assert!(admits(phase, &message) && message.permit().descriptors == 1);
        }
    }
    assert!(!admits(Starting, &MonitorToAuth::Front(FrontId(1))));
    assert!(!admits(Starting, &MonitorToKeys::Key(KeyId(1))));
    assert!(!admits(KeysPhase::Idle, &KeysToFront::Refused));
    let tickets = KeysToFront::Tickets(TicketKeys {
        current: ticket_key(),
        previous: None,
        left_ms: 1,
    });
    assert!(!admits(KeysPhase::Idle, &tickets) && admits(KeysPhase::Waiting, &tickets));
    assert!(admits(
        AuthPhase::Serving,
        &AuthToFront::Refused {
            session: session(),
            why: AuthRefusal::Credentials
        }
    ));
    assert!(!admits(
        JobPhase::Given,
        &WorkerToSessions::Dotlock {
            device: 1,
            inode: 1
        }
    ));
}
