//! Makes the offer and the settings of a connection from bits.

use popward_front::pop3::{Mechanisms, Offer, Security};
use popward_proto::VERSION;
use popward_proto::account::FrontId;
use popward_proto::bounded::Text;
use popward_proto::monitor_front::{
    FrontSettings, Language, Limits, Mechanism, Plaintext, Pop3Settings, TlsSettings,
};
use popward_proto::proxies::Proxies;

const MECHANISMS: [Mechanism; 10] = [
    Mechanism::User,
    Mechanism::Apop,
    Mechanism::Plain,
    Mechanism::Login,
    Mechanism::CramMd5,
    Mechanism::ScramSha1,
    Mechanism::ScramSha256,
    Mechanism::External,
    Mechanism::Oauthbearer,
    Mechanism::Xoauth2,
];

/// The offer of a connection. `secure`: after STLS.
pub fn offer(bits: u8, secure: bool) -> Offer {
    let mechanisms: Mechanisms = match bits & 3 {
        0 => MECHANISMS[..1].iter().copied().collect(),
        1 => MECHANISMS[4..].iter().copied().collect(),
        _ => MECHANISMS.iter().copied().collect(),
    };
    Offer {
        security: match (secure || bits & 4 != 0, bits & 8 != 0) {
            (true, _) => Security::Tls,
            (false, true) => Security::Stls,
            (false, false) => Security::Never,
        },
        passwords: secure || bits & 16 != 0,
        mechanisms,
        certificate: bits & 32 != 0,
        binding: (bits & 64 != 0).then_some([1; 32]),
    }
}

/// The settings. The protocol uses only `pop3`.
pub fn settings(bits: u8) -> FrontSettings {
    let none = || Vec::new().try_into().ok().unwrap();
    FrontSettings {
        version: VERSION,
        front: FrontId(1),
        connections_known: false,
        tells_expiry: false,
        plaintext: Plaintext::Never,
        mechanisms: Vec::new().try_into().ok().unwrap(),
        host: Text::truncated("localhost"),
        tls: TlsSettings {
            only_1_3: false,
            ticket_ms: 0,
        },
        limits: Limits {
            connections: 1,
            unauthenticated: 1,
            connections_per_address: 1,
            connections_per_prefix: 1,
            connections_per_minute: 1,
            login_ms: 1,
            idle_ms: 1,
            line_ms: 1,
            stall_ms: 1,
            rate: 1,
            yield_ms: None,
            session_ms: 1,
            open_ms: 1,
            bad_commands: 1,
            failed_logins: 1,
            drain_ms: 1,
        },
        pop3: Pop3Settings {
            greeting: (bits & 1 != 0).then(|| Text::truncated("ready")),
            implementation: (bits & 2 != 0).then(|| Text::truncated("")),
            utf8: bits & 8 != 0,
            language: Language::ALL[usize::from(bits >> 5 & 3)],
            qpopper_log: false,
            login_delay_s: u32::from(bits >> 7) * 600,
            login_delay_differs: bits & 4 != 0,
        },
        proxies: Proxies {
            networks: none(),
            xclient: none(),
            tls: none(),
            plaintext: none(),
            header_ms: 1,
            connections: 1,
        },
    }
}
