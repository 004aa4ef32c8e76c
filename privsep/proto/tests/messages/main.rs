//! The messages of every boundary between processes. Each message decodes to itself, other bytes
//! are refused, and the permit tables are those of `docs/design.md`.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

use popward_proto::account::{Account, FrontId, SessionId};
use popward_proto::account_selector::{AccountSelector, SELECTOR_GROUPS_MAX, SELECTOR_USERS_MAX};
use popward_proto::auth::{
    AuthPhase, AuthRefusal, AuthToFront, CERTIFICATE_MAX, CHAIN_MAX, Client, Credentials,
    FrontToAuth, SCRAM_MAX, ScramHash, ScramProof, TOKEN_MAX,
};
use popward_proto::auth_conversation::{AuthToConversation, ConversationToAuth};
use popward_proto::auth_sessions::{AuthToSessions, SessionsToAuth};
use popward_proto::bounded::{AbsolutePath, List, Text, UserName};
use popward_proto::codec::{MESSAGE_LIMIT, decode, encode};
use popward_proto::keys::{FrontToKeys, KeyId, KeysPhase, KeysToFront, TicketKey, TicketKeys};
use popward_proto::listen::ProxyHeaders;
use popward_proto::log::{Level, Record};
use popward_proto::monitor_auth::{
    AccountSource, Admission, AuthSettings, AuthToMonitor, CertificateRules, CertificateUser,
    ConversationId, ConversationKind, ConversationLimits, MonitorToAuth, NameRules, Throttle,
    TokenRules, TokenSource,
};
use popward_proto::monitor_front::{
    FrontSettings, FrontToMonitor, Language, Limits, MECHANISMS_MAX, Mechanism, MonitorToFront,
    Plaintext, Pop3Settings, TlsSettings,
};
use popward_proto::monitor_keys::{KeyFacts, KeysToMonitor, MonitorToKeys};
use popward_proto::monitor_sessions::{MonitorToSessions, Peer, SessionsToMonitor};
use popward_proto::network::Network;
use popward_proto::permit::{DESCRIPTORS, Gate, Message, OUT_OF_PHASE, Refused};
use popward_proto::proxies::{NETWORKS_MAX, Proxies};
use popward_proto::secret::Secret;
use popward_proto::session::{
    Broken, ClientPhase, FrontToWorker, MessageNumber, OfAll, OfOne, OpenFailure, Refusal, Request,
    Totals, Update, WorkerPhase, WorkerToFront,
};
use popward_proto::sessions_front::SessionsToFront;
use popward_proto::sessions_worker::{
    Job, JobPhase, LockSettings, Scheme, SessionsToWorker, Task, WorkerToSessions,
};
use popward_proto::setup_phase::SetupPhase;
use std::fmt::Debug;
use std::net::Ipv6Addr;
use std::num::NonZeroU32;

mod any_bytes;
mod configuration;
mod handover;
mod largest;
mod permits;
mod supervisor;

const ONE: MessageNumber = MessageNumber(NonZeroU32::MIN);

fn user(name: &str) -> UserName {
    UserName::try_from(name.to_owned()).unwrap()
}

fn path(path: &str) -> AbsolutePath {
    AbsolutePath::try_from(path.to_owned()).unwrap()
}

fn list<T, const N: usize>(items: Vec<T>) -> List<T, N> {
    List::try_from(items).ok().unwrap()
}

/// Asserts that a message fits its kind's limit and decodes to itself, and that no prefix of it and
/// nothing longer decodes.
fn there_and_back<M: Message + PartialEq + Debug>(message: &M) {
    let mut packet = vec![0; M::LIMIT + 1];
    assert!(packet.len() <= MESSAGE_LIMIT);
    let length = encode(message, &mut packet).unwrap_or_else(|e| panic!("{message:?}: {e}"));
    assert_eq!(&decode::<M>(&packet[1..length]).unwrap(), message);
    for cut in 1..length - 1 {
        assert!(
            decode::<M>(&packet[1..=cut]).is_err(),
            "{message:?} cut to {cut}"
        );
    }
    let mut longer = packet[1..length].to_vec();
    longer.push(0);
    assert!(decode::<M>(&longer).is_err(), "{message:?} and a byte");
}

fn session() -> SessionId {
    SessionId::new(FrontId(u32::MAX), u32::MAX)
}

fn key_facts() -> KeyFacts {
    KeyFacts {
        key: KeyId(u16::MAX),
        schemes: list(vec![u16::MAX; 12]),
        public_key: list(vec![255; 1200]),
    }
}

fn ticket_key() -> TicketKey {
    TicketKey {
        name: [255; 16],
        secret: [255; 32],
    }
}

fn secret() -> Secret {
    Secret::try_from(vec![255; 512]).unwrap()
}

fn listener() -> MonitorToFront {
    MonitorToFront::Listener {
        tls: true,
        headers: ProxyHeaders::Only,
    }
}

fn no_session() -> SessionsToFront {
    SessionsToFront::NoSession {
        session: session(),
        too_many: true,
    }
}

fn settings() -> FrontSettings {
    let host = Network::of(Ipv6Addr::from_bits(u128::MAX).into(), 32, 128);
    FrontSettings {
        version: u32::MAX,
        front: FrontId(u32::MAX),
        connections_known: true,
        tells_expiry: true,
        plaintext: Plaintext::Always,
        mechanisms: list(vec![Mechanism::Xoauth2; MECHANISMS_MAX]),
        host: Text::truncated(&"h".repeat(64)),
        tls: TlsSettings {
            only_1_3: true,
            ticket_ms: u32::MAX,
        },
        limits: Limits {
            connections: u32::MAX,
            unauthenticated: u32::MAX,
            connections_per_address: u32::MAX,
            connections_per_prefix: u32::MAX,
            connections_per_minute: u32::MAX,
            login_ms: u32::MAX,
            idle_ms: u32::MAX,
            line_ms: u32::MAX,
            stall_ms: u32::MAX,
            rate: u32::MAX,
            yield_ms: Some(u32::MAX),
            session_ms: u32::MAX,
            open_ms: u32::MAX,
            bad_commands: u32::MAX,
            failed_logins: u32::MAX,
            drain_ms: u32::MAX,
        },
        pop3: Pop3Settings {
            greeting: Some(Text::truncated(&"g".repeat(128))),
            implementation: Some(Text::truncated(&"i".repeat(64))),
            utf8: true,
            language: Language::Spanish,
            qpopper_log: true,
            login_delay_s: u32::MAX,
            login_delay_differs: true,
        },
        proxies: Proxies {
            networks: list(vec![host; NETWORKS_MAX]),
            xclient: list(vec![host; NETWORKS_MAX]),
            tls: list(vec![host; NETWORKS_MAX]),
            plaintext: list(vec![host; NETWORKS_MAX]),
            header_ms: u32::MAX,
            connections: u32::MAX,
        },
    }
}
