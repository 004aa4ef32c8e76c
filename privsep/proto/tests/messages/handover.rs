//! What an auth tells the auth that takes over from it at a reload.

use super::*;
use popward_proto::auth_handover::{
    AuthToSuccessor, ENTRIES_MAX, HandoverPhase, LastLogin, NameFailures, SourceFailures,
};

fn longest() -> UserName {
    user(&"x".repeat(UserName::MAX))
}

fn remembered() -> [AuthToSuccessor; 5] {
    let source = SourceFailures {
        source: Network::source(Ipv6Addr::from(u128::MAX).into()),
        thousandths: u32::MAX,
        age_ms: u64::MAX,
    };
    let name = NameFailures {
        user: longest(),
        count: u32::MAX,
        since_ms: u64::MAX,
        age_ms: u64::MAX,
    };
    let login = LastLogin {
        user: longest(),
        session: session(),
        age_ms: u64::MAX,
    };
    [
        AuthToSuccessor::StandInKey([u8::MAX; 32]),
        AuthToSuccessor::Sources(list(vec![source; ENTRIES_MAX])),
        AuthToSuccessor::Names(list(vec![name; ENTRIES_MAX])),
        AuthToSuccessor::LastLogins(list(vec![login; ENTRIES_MAX])),
        AuthToSuccessor::UnderWay(list(vec![longest(); ENTRIES_MAX])),
    ]
}

fn happening() -> [AuthToSuccessor; 4] {
    [
        AuthToSuccessor::Failed {
            user: Some(longest()),
            peer: Ipv6Addr::from(u128::MAX).into(),
        },
        AuthToSuccessor::Succeeded(longest()),
        AuthToSuccessor::LoggedIn {
            user: longest(),
            session: session(),
        },
        AuthToSuccessor::Decided(longest()),
    ]
}

#[test]
fn the_messages_of_a_handover_fit_at_their_largest() {
    remembered()
        .iter()
        .chain(&happening())
        .for_each(there_and_back);
    there_and_back(&AuthToSuccessor::Whole);
}

#[test]
fn what_is_remembered_comes_before_what_happens_and_each_without_descriptors() {
    use HandoverPhase::{Happening, Remembered};
    for (messages, good, bad) in [
        (remembered().to_vec(), Remembered, Happening),
        (happening().to_vec(), Happening, Remembered),
    ] {
        for message in messages {
            assert!(Gate::new(good).admit(&message, 0, false).is_ok());
            assert!(Gate::new(bad).admit(&message, 0, false).is_err());
            assert!(Gate::new(good).admit(&message, 1, false).is_err());
        }
    }
    let mut gate = Gate::new(Remembered);
    assert!(gate.admit(&AuthToSuccessor::Whole, 0, false).is_ok());
    assert!(gate.admit(&AuthToSuccessor::Whole, 0, false).is_err());
    let whole = Gate::new(Happening).admit(&AuthToSuccessor::Whole, 0, false);
    assert!(whole.is_err());
}

/// A generation is set up once, switched on once, and retired once.
#[test]
fn what_a_reload_says_to_a_process_is_said_once() {
    use SetupPhase::{Serving, Starting};
    fn once<M: Message<Phase = SetupPhase>>(message: &M, good: SetupPhase, bad: SetupPhase) {
        let files = message.permit().descriptors;
        let mut gate = Gate::new(good);
        assert!(gate.admit(message, files, false).is_ok());
        assert!(gate.admit(message, files, false).is_err());
        assert!(Gate::new(bad).admit(message, files, false).is_err());
    }
    once(
        &MonitorToFront::Settings(Box::new(settings())),
        Starting,
        Serving,
    );
    once(&MonitorToFront::Accept, Serving, Starting);
    once(&MonitorToFront::Retire, Serving, Starting);
    once(&MonitorToAuth::Successor, Serving, Starting);
    once(&MonitorToAuth::Predecessor, Serving, Starting);
    once(&AuthToSessions::Drained, Serving, Starting);
    once(&MonitorToAuth::Sessions, Serving, Starting);
    once(&MonitorToSessions::Retire, Serving, Starting);
    once(&SessionsToMonitor::AuthDrained, Serving, Starting);
    once(&SessionsToMonitor::Drained, Serving, Starting);
    let last = Gate::new(AuthPhase::Leaving).admit(&FrontToAuth::Last, 0, false);
    assert!(last.is_err());
}
