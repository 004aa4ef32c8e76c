//! Every enum of every boundary: what is encoded decodes to itself, what is not an encoding is refused or is the
//! encoding of what it decodes to, and the permit tables say what `docs/design.md` says.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

use popward_proto::account::{Account, FrontId, SessionId};
use popward_proto::auth::{
    AuthPhase, AuthRefusal, AuthToFront, CERTIFICATE_MAX, CHAIN_MAX, Client, Credentials,
    FrontToAuth, SCRAM_MAX, ScramHash, ScramProof, TOKEN_MAX,
};
use popward_proto::auth_conversation::{AuthToConversation, ConversationToAuth};
use popward_proto::bounded::{AbsolutePath, List, Text, UserName};
use popward_proto::codec::{MESSAGE_LIMIT, decode, encode};
use popward_proto::keys::{FrontToKeys, KeyId, KeysPhase, KeysToFront, TicketKey, TicketKeys};
use popward_proto::log::{Level, LogPhase, Record};
use popward_proto::monitor_auth::{
    AccountSelector, AccountSource, Admission, AuthSettings, AuthToMonitor, CertificateRules,
    CertificateUser, ConversationLimits, MonitorToAuth, NameRules, SELECTOR_GROUPS_MAX,
    SELECTOR_USERS_MAX, SetupPhase, Throttle, TokenRules, TokenSource,
};
use popward_proto::monitor_front::{
    FrontSettings, FrontToMonitor, Language, Limits, MECHANISMS_MAX, Mechanism, MonitorToFront,
    Plaintext, Pop3Settings, TlsSettings,
};
use popward_proto::monitor_keys::{KeyFacts, KeysToMonitor, MonitorToKeys};
use popward_proto::monitor_worker::{
    Job, JobPhase, LockSettings, MonitorToWorker, Scheme, Task, WorkerToMonitor,
};
use popward_proto::network::Network;
use popward_proto::permit::{Gate, Message, Refused};
use popward_proto::proxies::{self, NETWORKS_MAX, Proxies};
use popward_proto::secret::Secret;
use popward_proto::session::{
    Broken, ClientPhase, FrontToWorker, MessageNumber, OfAll, OfOne, OpenFailure, Refusal, Request,
    Totals, Update, WorkerPhase, WorkerToFront,
};
use proptest::prelude::*;
use std::fmt::Debug;
use std::net::Ipv6Addr;
use std::num::NonZeroU32;

mod configuration;
mod handover;
mod permits;

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

/// The message with everything at its largest must fit its kind's limit, and come back as it went.
fn there_and_back<M: Message + PartialEq + Debug>(message: &M) {
    let mut packet = vec![0; M::LIMIT + 1];
    assert!(packet.len() <= MESSAGE_LIMIT);
    let length = encode(message, &mut packet).unwrap_or_else(|e| panic!("{message:?}: {e}"));
    assert_eq!(&decode::<M>(&packet[1..length]).unwrap(), message);
    // Each shorter prefix is no message, and neither is one byte more.
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

#[test]
fn the_largest_of_each_kind_fits_and_comes_back() {
    let name = user(&"u".repeat(UserName::MAX));
    let long = path(&format!("/{}", "p".repeat(AbsolutePath::MAX - 1)));
    logins(&name);
    there_and_back(&AuthToFront::Refused {
        session: session(),
        why: AuthRefusal::Temporary,
    });
    let message = list(vec![7; 512]);
    there_and_back(&FrontToKeys::Sign {
        key: KeyId(u16::MAX),
        scheme: u16::MAX,
        message,
    });
    there_and_back(&KeysToFront::Signature(list(vec![7; 1024])));
    there_and_back(&KeysToFront::Tickets(TicketKeys {
        current: ticket_key(),
        previous: Some(ticket_key()),
        left_ms: u32::MAX,
    }));
    there_and_back(&MonitorToKeys::Settings {
        version: u32::MAX,
        ticket_ms: u32::MAX,
    });
    let account = Account {
        name: name.clone(),
        uid: u32::MAX,
        gid: u32::MAX,
        groups: list(vec![u32::MAX; 256]),
        home: Some(long.clone()),
        spool: Some(long.clone()),
    };
    there_and_back(&AuthToMonitor::Granted {
        session: session(),
        account: account.clone(),
    });
    there_and_back(&ConversationToAuth::Granted(account));
    there_and_back(&ConversationToAuth::Failed(Text::truncated(
        &"w".repeat(128),
    )));
    there_and_back(&MonitorToAuth::NotOpened {
        session: session(),
        user: name.clone(),
    });
    there_and_back(&MonitorToAuth::Settings {
        version: u32::MAX,
        settings: Box::new(auth_settings(&long)),
    });
    let named = AccountSelector {
        users: list(vec![name.clone(); SELECTOR_USERS_MAX]),
        groups: list(vec![u32::MAX; SELECTOR_GROUPS_MAX]),
    };
    there_and_back(&MonitorToAuth::LoginDelay(named, u32::MAX));
    conversations(&name, &long);
    there_and_back(&KeysToMonitor::Loaded(key_facts()));
    there_and_back(&MonitorToKeys::Key(KeyId(u16::MAX)));
    there_and_back(&MonitorToFront::Certificate(key_facts()));
    there_and_back(&FrontToMonitor::Unusable {
        key: Some(KeyId(u16::MAX)),
        why: Text::truncated(&"w".repeat(256)),
    });
    let text = Text::truncated(&"t".repeat(64));
    there_and_back(&MonitorToWorker::Job(Job {
        version: u32::MAX,
        session: session(),
        task: Task::Finish {
            dotlock: Some((u64::MAX, u64::MAX)),
        },
        user: name.clone(),
        uid: u32::MAX,
        gid: u32::MAX,
        groups: list(vec![u32::MAX; 256]),
        spool_directory: long.clone(),
        spool_name: name,
        state_directory: Some(long.clone()),
        host: text,
        locks: LockSettings {
            dotlock: true,
            fcntl: true,
            flock: true,
            timeout_ms: u32::MAX,
        },
        adopt: list(vec![Scheme::DovecotMd5; 8]),
        hide: list(vec![Text::truncated(&"h".repeat(16)); 9]),
    }));
    there_and_back(&WorkerToMonitor::Updates);
    there_and_back(&WorkerToMonitor::Finished);
    there_and_back(&WorkerToMonitor::Dotlock {
        device: u64::MAX,
        inode: u64::MAX,
    });
    there_and_back(&Record {
        level: Level::Debug,
        session: Some(session()),
        qpopper: true,
        text: Text::truncated(&"t".repeat(512)),
        fields: list(vec![
            (
                Text::truncated(&"n".repeat(24)),
                Text::truncated(&"v".repeat(256))
            );
            20
        ]),
    });
    there_and_back(&MonitorToFront::Settings(Box::new(settings())));
}

/// The largest settings of auth.
fn auth_settings(long: &AbsolutePath) -> AuthSettings {
    let text = |length: usize| "t".repeat(length);
    AuthSettings {
        source: AccountSource::PasswdFile { path: long.clone() },
        names: NameRules {
            lower_case: true,
            trim_domains: list(vec![Text::truncated(&text(128)); 16]),
        },
        admission: Admission {
            first_uid: u32::MAX,
            last_uid: u32::MAX,
            allow_file: Some(long.clone()),
            deny_file: Some(long.clone()),
            groups: list(vec![u32::MAX; 32]),
            login_delay_s: u32::MAX,
        },
        throttle: Throttle {
            failure_delay_ms: u32::MAX,
            source_failures: u32::MAX,
            source_half_life_s: u32::MAX,
            source_wait_max_ms: u32::MAX,
            exempt: list(vec!["2001:db8::/128".parse().unwrap(); 32]),
            account_failures: u32::MAX,
            account_window_s: u32::MAX,
        },
        tokens: Some(TokenSource::Keys {
            file: long.clone(),
            rules: token_rules(),
        }),
        certificates: Some(CertificateRules {
            authorities: long.clone(),
            name: CertificateUser::CommonName,
        }),
        conversation_limits: ConversationLimits {
            limit_ms: u32::MAX,
            at_once: u16::MAX,
        },
    }
}

fn token_rules() -> TokenRules {
    let text = |length: usize| "t".repeat(length);
    TokenRules {
        issuer: Text::truncated(&text(256)),
        audience: Text::truncated(&text(256)),
        user_claim: Text::truncated(&text(64)),
        scopes: list(vec![Text::truncated(&text(64)); 8]),
    }
}

/// What conversations are about.
fn conversations(name: &UserName, long: &AbsolutePath) {
    let peer = std::net::Ipv6Addr::LOCALHOST.into();
    let token = || Secret::try_from(vec![7; TOKEN_MAX]).unwrap();
    there_and_back(&AuthToConversation::Pam {
        service: Text::truncated(&"s".repeat(32)),
        user: name.clone(),
        secret: Some(secret()),
        peer,
    });
    there_and_back(&AuthToConversation::Checkpassword {
        program: long.clone(),
        user: name.clone(),
        secret: secret(),
        peer,
    });
    there_and_back(&AuthToConversation::TokenProgram {
        program: long.clone(),
        token: token(),
        peer,
    });
    there_and_back(&AuthToConversation::Token {
        rules: token_rules(),
        token: token(),
    });
    there_and_back(&AuthToConversation::Certificate {
        name: CertificateUser::Email,
        chain: list(vec![list(vec![7; CERTIFICATE_MAX]); CHAIN_MAX]),
        signed: list(vec![7; 256]),
        scheme: u16::MAX,
        signature: list(vec![7; 1024]),
    });
    there_and_back(&ConversationToAuth::Identified(name.clone()));
}

/// Every way to show credentials, and what is answered.
fn logins(name: &UserName) {
    let text = |length: usize| "t".repeat(length);
    let client = Client {
        peer: std::net::Ipv6Addr::LOCALHOST.into(),
        tls: true,
    };
    let user = name.clone();
    for credentials in [
        Credentials::Password {
            user: user.clone(),
            secret: secret(),
        },
        Credentials::Apop {
            user: user.clone(),
            timestamp: Text::truncated(&text(128)),
            digest: [255; 16],
        },
        Credentials::CramMd5 {
            user: user.clone(),
            challenge: Text::truncated(&text(128)),
            digest: [255; 16],
        },
        Credentials::Scram {
            hash: ScramHash::Sha256,
            user: user.clone(),
            first_bare: Text::truncated(&text(SCRAM_MAX)),
            nonce: Text::truncated(&text(256)),
        },
        Credentials::Token {
            user: Some(user.clone()),
            token: Secret::try_from(vec![255; TOKEN_MAX]).unwrap(),
        },
        Credentials::Certificate {
            user: Some(user.clone()),
            chain: list(vec![list(vec![7; CERTIFICATE_MAX]); CHAIN_MAX]),
            signed: list(vec![7; 256]),
            scheme: u16::MAX,
            signature: list(vec![7; 1024]),
        },
    ] {
        there_and_back(&FrontToAuth::Check {
            impossible: Some(popward_proto::auth::Impossible::Name),
            session: session(),
            credentials,
            client,
        });
    }
    there_and_back(&FrontToAuth::Prove {
        session: session(),
        proof: ScramProof {
            without_proof: Text::truncated(&text(SCRAM_MAX)),
            proof: list(vec![7; 32]),
        },
    });
    there_and_back(&FrontToAuth::Proceed(session()));
    there_and_back(&FrontToAuth::Cancel(session()));
    there_and_back(&AuthToFront::Challenge {
        session: session(),
        first: Text::truncated(&text(1024)),
    });
    there_and_back(&AuthToFront::Signature {
        session: session(),
        signature: list(vec![7; 32]),
    });
}

fn listener() -> MonitorToFront {
    MonitorToFront::Listener {
        tls: true,
        headers: proxies::ProxyHeaders::Only,
    }
}

fn no_session() -> MonitorToFront {
    MonitorToFront::NoSession {
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

#[test]
fn values_out_of_bounds_do_not_decode() {
    for name in [
        "",
        ".hidden",
        "-option",
        "a/b",
        "a b",
        "a\nb",
        "a\0",
        &"x".repeat(129),
    ] {
        assert!(UserName::try_from(name.to_owned()).is_err(), "{name:?}");
        let encoded = postcard::to_allocvec(name).unwrap();
        assert!(
            postcard::from_bytes::<UserName>(&encoded).is_err(),
            "{name:?}"
        );
    }
    for bad in [
        "",
        "relative",
        "/a/../b",
        "/a\0",
        &format!("/{}", "x".repeat(1024)),
    ] {
        let encoded = postcard::to_allocvec(bad).unwrap();
        assert!(
            postcard::from_bytes::<AbsolutePath>(&encoded).is_err(),
            "{bad:?}"
        );
    }
    let encoded = postcard::to_allocvec(&vec![1u8; 513]).unwrap();
    assert!(postcard::from_bytes::<Secret>(&encoded).is_err());
    assert!(
        postcard::from_bytes::<MessageNumber>(&[0]).is_err(),
        "there is no message 0"
    );
}

#[test]
fn p9_a_secret_is_not_shown() {
    assert_eq!(
        format!(
            "{:?}",
            Secret::<512>::try_from(b"hunter2".to_vec()).unwrap()
        ),
        "Secret(..)"
    );
    assert_eq!(format!("{:?}", ticket_key()), "TicketKey(..)");
}

/// Decoding either fails, or gives a value that encodes to something that decodes to the same.
fn total<M: Message + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(message) = decode::<M>(bytes) {
        there_and_back_once(&message);
    }
}

fn there_and_back_once<M: Message + PartialEq + Debug>(message: &M) {
    let mut packet = vec![0; MESSAGE_LIMIT];
    let length = encode(message, &mut packet).unwrap();
    assert_eq!(&decode::<M>(&packet[1..length]).unwrap(), message);
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused_in_every_direction(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        total::<FrontToAuth>(&bytes);
        total::<AuthToFront>(&bytes);
        total::<AuthToConversation>(&bytes);
        total::<ConversationToAuth>(&bytes);
        total::<popward_proto::auth_handover::AuthToSuccessor>(&bytes);
        total::<FrontToKeys>(&bytes);
        total::<KeysToFront>(&bytes);
        total::<FrontToMonitor>(&bytes);
        total::<MonitorToFront>(&bytes);
        total::<FrontToWorker>(&bytes);
        total::<WorkerToFront>(&bytes);
        total::<AuthToMonitor>(&bytes);
        total::<MonitorToAuth>(&bytes);
        total::<KeysToMonitor>(&bytes);
        total::<MonitorToKeys>(&bytes);
        total::<WorkerToMonitor>(&bytes);
        total::<MonitorToWorker>(&bytes);
        total::<Record>(&bytes);
    }

    #[test]
    fn any_request_and_answer_comes_back(number in 1u32.., lines: u32, octets: u64, kind in 0u8..4) {
        let number = MessageNumber(NonZeroU32::new(number).unwrap());
        there_and_back(&match kind {
            0 => FrontToWorker::OfOne(number, OfOne::Whole),
            1 => FrontToWorker::OfOne(number, OfOne::Top(lines)),
            2 => FrontToWorker::OfOne(number, OfOne::Size),
            _ => FrontToWorker::OfOne(number, OfOne::UniqueId),
        });
        there_and_back(&WorkerToFront::Size(number, octets));
        there_and_back(&WorkerToFront::Unique(number, Text::truncated(&"i".repeat(70))));
        there_and_back(&WorkerToFront::Opened(Totals { messages: lines, octets }));
    }
}
