//! The largest message of each kind fits its limit, and decodes to itself.

use super::*;

fn longest_name() -> UserName {
    user(&"u".repeat(UserName::MAX))
}

fn longest_path() -> AbsolutePath {
    path(&format!("/{}", "p".repeat(AbsolutePath::MAX - 1)))
}

#[test]
fn the_largest_messages_of_front_and_keys_come_back() {
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
}

#[test]
fn the_largest_messages_of_monitor_and_keys_come_back() {
    there_and_back(&MonitorToKeys::Settings {
        version: u32::MAX,
        ticket_ms: u32::MAX,
    });
    there_and_back(&KeysToMonitor::Loaded(key_facts()));
    there_and_back(&MonitorToKeys::Key(KeyId(u16::MAX)));
}

#[test]
fn the_largest_messages_of_monitor_and_front_come_back() {
    there_and_back(&MonitorToFront::Certificate(key_facts()));
    there_and_back(&FrontToMonitor::Unusable {
        key: Some(KeyId(u16::MAX)),
        why: Text::truncated(&"w".repeat(256)),
    });
    there_and_back(&MonitorToFront::Settings(Box::new(settings())));
}

#[test]
fn the_largest_messages_of_monitor_auth_and_conversations_come_back() {
    let name = longest_name();
    let long = longest_path();
    let account = Account {
        name: name.clone(),
        uid: u32::MAX,
        gid: u32::MAX,
        groups: list(vec![u32::MAX; 256]),
        home: Some(long.clone()),
        spool: Some(long.clone()),
    };
    there_and_back(&AuthToSessions::Granted {
        session: session(),
        account: account.clone(),
    });
    there_and_back(&ConversationToAuth::Granted(account));
    there_and_back(&ConversationToAuth::Failed(Text::truncated(
        &"w".repeat(128),
    )));
    there_and_back(&MonitorToAuth::Conversation(ConversationId(u32::MAX)));
    there_and_back(&AuthToMonitor::Converse(
        ConversationId(u32::MAX),
        ConversationKind::Proof,
    ));
    there_and_back(&SessionsToAuth::NotOpened {
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
    conversations(&name);
}

#[test]
fn the_largest_messages_of_sessions_and_worker_come_back() {
    let name = longest_name();
    let long = longest_path();
    let text = Text::truncated(&"t".repeat(64));
    there_and_back(&SessionsToWorker::Job(Job {
        version: u32::MAX,
        session: session(),
        task: Task::Free {
            pid: u32::MAX,
            dotlock: (u64::MAX, u64::MAX),
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
    there_and_back(&WorkerToSessions::Updates);
    there_and_back(&WorkerToSessions::Finished);
    there_and_back(&WorkerToSessions::Dotlock {
        device: u64::MAX,
        inode: u64::MAX,
    });
}

#[test]
fn the_largest_log_record_comes_back() {
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

/// The messages of auth and a conversation's process.
fn conversations(name: &UserName) {
    let peer = std::net::Ipv6Addr::LOCALHOST.into();
    let token = || Secret::try_from(vec![7; TOKEN_MAX]).unwrap();
    there_and_back(&AuthToConversation::Pam {
        user: name.clone(),
        secret: Some(secret()),
        peer,
    });
    there_and_back(&AuthToConversation::Checkpassword {
        user: name.clone(),
        secret: secret(),
        peer,
    });
    there_and_back(&AuthToConversation::TokenProgram {
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

#[test]
fn the_largest_messages_of_front_and_auth_come_back() {
    let name = longest_name();
    there_and_back(&AuthToFront::Refused {
        session: session(),
        why: AuthRefusal::Temporary,
    });
    let text = |length: usize| "t".repeat(length);
    let client = Client {
        peer: std::net::Ipv6Addr::LOCALHOST.into(),
        tls: true,
    };
    let user = name;
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
