//! Fuzzes the messages between all processes. The first byte chooses the type, and the rest is a
//! packet's payload. The decoder refuses it, or returns a value. The value encodes to bytes that
//! decode to the same value, and the permit table has a row for it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use popward_proto::auth::{AuthToFront, FrontToAuth};
use popward_proto::auth_conversation::{AuthToConversation, ConversationToAuth};
use popward_proto::auth_handover::AuthToSuccessor;
use popward_proto::auth_sessions::{AuthToSessions, SessionsToAuth};
use popward_proto::codec::{MESSAGE_LIMIT, decode, encode};
use popward_proto::config_monitor::ConfigToMonitor;
use popward_proto::config_sessions::ConfigToSessions;
use popward_proto::keys::{FrontToKeys, KeysToFront};
use popward_proto::log::Record;
use popward_proto::log_line::Line;
use popward_proto::monitor_auth::{AuthToMonitor, MonitorToAuth};
use popward_proto::monitor_front::{FrontToMonitor, MonitorToFront};
use popward_proto::monitor_keys::{KeysToMonitor, MonitorToKeys};
use popward_proto::monitor_sessions::{MonitorToSessions, SessionsToMonitor};
use popward_proto::permit::Message;
use popward_proto::session::{FrontToWorker, WorkerToFront};
use popward_proto::sessions_front::SessionsToFront;
use popward_proto::sessions_worker::{SessionsToWorker, WorkerToSessions};
use popward_proto::supervisor_config::ConfigToSupervisor;
use popward_proto::supervisor_log::SupervisorToLog;
use popward_proto::supervisor_monitor::{MonitorToSupervisor, SupervisorToMonitor};
use popward_proto::supervisor_sessions::SessionsToSupervisor;

fn check<M: Message + PartialEq + std::fmt::Debug>(payload: &[u8]) {
    let Ok(message) = decode::<M>(payload) else {
        return;
    };
    let mut packet = vec![0; MESSAGE_LIMIT];
    let length = encode(&message, &mut packet).expect("what was decoded fits");
    assert_eq!(decode::<M>(&packet[1..length]).as_ref(), Ok(&message));
    assert!(!message.permit().kind.is_empty());
}

fuzz_target!(|data: &[u8]| {
    let Some((which, payload)) = data.split_first() else {
        return;
    };
    match which % 31 {
        0 => check::<FrontToAuth>(payload),
        1 => check::<AuthToFront>(payload),
        2 => check::<AuthToConversation>(payload),
        3 => check::<ConversationToAuth>(payload),
        4 => check::<FrontToKeys>(payload),
        5 => check::<KeysToFront>(payload),
        6 => check::<FrontToMonitor>(payload),
        7 => check::<MonitorToFront>(payload),
        8 => check::<AuthToMonitor>(payload),
        9 => check::<MonitorToAuth>(payload),
        10 => check::<KeysToMonitor>(payload),
        11 => check::<MonitorToKeys>(payload),
        12 => check::<WorkerToSessions>(payload),
        13 => check::<SessionsToWorker>(payload),
        14 => check::<FrontToWorker>(payload),
        15 => check::<WorkerToFront>(payload),
        16 => check::<Record>(payload),
        17 => check::<AuthToSuccessor>(payload),
        18 => check::<Line>(payload),
        19 => check::<SupervisorToLog>(payload),
        20 => check::<SupervisorToMonitor>(payload),
        21 => check::<MonitorToSupervisor>(payload),
        22 => check::<ConfigToSupervisor>(payload),
        23 => check::<ConfigToMonitor>(payload),
        24 => check::<AuthToSessions>(payload),
        25 => check::<SessionsToAuth>(payload),
        26 => check::<SessionsToFront>(payload),
        27 => check::<MonitorToSessions>(payload),
        28 => check::<SessionsToMonitor>(payload),
        29 => check::<SessionsToSupervisor>(payload),
        _ => check::<ConfigToSessions>(payload),
    }
});
