//! What the supervisor, its monitors, their sessions and popward-log say to each other.

use super::*;
use popward_proto::log_line::{Line, Origin, Role};
use popward_proto::supervisor_log::{Destination, SupervisorToLog};
use popward_proto::supervisor_monitor::{
    CommonSettings, MonitorToSupervisor, Start, SupervisorToMonitor, Why,
};
use popward_proto::supervisor_sessions::{
    Claim, Refusal, SessionsToSupervisor, SupervisorToSessions,
};

fn longest_path() -> AbsolutePath {
    path(&format!("/{}", "x".repeat(AbsolutePath::MAX - 1)))
}

/// What the supervisor and the monitors use of a configuration, at its largest.
pub(crate) fn common() -> CommonSettings {
    CommonSettings {
        libexec: longest_path(),
        grace_s: u16::MAX,
        log_level: Level::Debug,
    }
}

fn start() -> SupervisorToMonitor {
    SupervisorToMonitor::Start(Start {
        version: u32::MAX,
        first_front: FrontId(u32::MAX),
        trial: true,
        oldest: true,
        connections_before: Some(u32::MAX),
        common: common(),
    })
}

#[test]
fn the_messages_of_supervisor_monitor_and_sessions_fit_at_their_largest() {
    let session = SessionId::new(FrontId(u32::MAX), u32::MAX);
    for message in [
        start(),
        SupervisorToMonitor::Listener {
            tls: true,
            headers: ProxyHeaders::FromProxies,
        },
        SupervisorToMonitor::Retire,
    ] {
        there_and_back(&message);
    }
    let why = Why::truncated(&"x".repeat(4096));
    there_and_back(&MonitorToSupervisor::Unusable(why.clone()));
    there_and_back(&SessionsToMonitor::Unusable(why));
    for message in [
        SupervisorToSessions::Start {
            version: u32::MAX,
            libexec: longest_path(),
            state: longest_path(),
            log_level: Level::Debug,
            after_crash: true,
        },
        SupervisorToSessions::Claimed(session, Some(Refusal::Elsewhere)),
        SupervisorToSessions::Claimed(session, None),
        SupervisorToSessions::Newcomer(session),
    ] {
        there_and_back(&message);
    }
    for message in [
        SessionsToSupervisor::Claim(Claim {
            session,
            user: user(&"x".repeat(UserName::MAX)),
            directory: longest_path(),
            spool: user(&"x".repeat(UserName::MAX)),
            sessions_max: u32::MAX,
            adopts: true,
        }),
        SessionsToSupervisor::Released(session),
    ] {
        there_and_back(&message);
    }
}

#[test]
fn a_line_fits_if_its_record_does() {
    let text = Text::truncated(&"x".repeat(512));
    let field = || {
        let name = Text::truncated(&"x".repeat(24));
        (name, Text::truncated(&"x".repeat(256)))
    };
    let record = Record {
        level: Level::Debug,
        session: Some(SessionId::new(FrontId(u32::MAX), u32::MAX)),
        qpopper: true,
        text,
        fields: list((0..20).map(|_| field()).collect()),
    };
    let origin = Origin {
        role: Role::Adopt,
        pid: u32::MAX,
    };
    there_and_back(&record);
    there_and_back(&Line { origin, record });
    there_and_back(&SupervisorToLog::Open {
        version: u32::MAX,
        pid: u32::MAX,
    });
    there_and_back(&SupervisorToLog::To(Destination::Syslog));
}

#[test]
fn a_monitor_starts_once_and_is_told_to_accept_only_after_that() {
    let mut gate: Gate<SupervisorToMonitor> = Gate::new(SetupPhase::Starting);
    assert!(gate.admit(&SupervisorToMonitor::Accept, 0, false).is_err());
    assert!(gate.admit(&start(), 0, false).is_ok());
    gate.enter(SetupPhase::Serving);
    assert!(gate.admit(&start(), 0, false).is_err());
    assert!(gate.admit(&SupervisorToMonitor::Accept, 0, false).is_ok());
    // A newer auth without one of its channels.
    for message in [SupervisorToMonitor::Retire, SupervisorToMonitor::NewerAuth] {
        assert!(gate.admit(&message, 1, false).is_err());
        assert!(gate.admit(&message, 2, false).is_ok());
    }
    let mut gate: Gate<MonitorToSupervisor> = Gate::new(SetupPhase::Starting);
    let retired = MonitorToSupervisor::Retired;
    assert!(gate.admit(&retired, 0, false).is_err(), "before Ready");
}
