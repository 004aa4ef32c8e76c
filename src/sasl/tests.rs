//! Tests of all mechanisms, line by line as a client uses them, and of lines that break their
//! rules.

use super::*;
use crate::pop3::tests::{POLICY, identity, offer};
use crate::pop3::{Action, End, Pop3, Security};
use base64ct::{Base64, Encoding};
use popward_proto::auth::{AuthRefusal, ScramHash, ScramProof};
use popward_proto::session::{Totals, WorkerToFront};

/// An offer of all mechanisms, over TLS.
fn everything() -> Offer {
    use Mechanism as M;
    let all = [
        M::User,
        M::Apop,
        M::Plain,
        M::Login,
        M::CramMd5,
        M::ScramSha1,
        M::ScramSha256,
        M::External,
        M::Oauthbearer,
        M::Xoauth2,
    ];
    Offer {
        security: Security::Tls,
        passwords: true,
        mechanisms: all.into_iter().collect(),
        certificate: true,
        binding: Some([7; 32]),
    }
}

struct Session {
    pop3: Pop3,
    out: Vec<u8>,
}

impl Session {
    fn new(offer: Offer) -> Self {
        let mut pop3 = Pop3::new(POLICY, offer, identity(), false);
        pop3.greeting(&mut Vec::new());
        let out = Vec::new();
        Self { pop3, out }
    }

    /// Sends a line. Returns the action and the reply.
    fn say(&mut self, line: &str) -> (Action, String) {
        self.out.clear();
        let line = format!("{line}\r\n");
        let (used, action) = self.pop3.input(line.as_bytes(), &mut self.out);
        assert_eq!(used, line.len());
        (action, self.heard())
    }

    fn heard(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.out)).unwrap()
    }

    /// Sends a line. Returns the question to auth. Fails if there is none, or if there is a reply
    /// before auth's answer.
    fn login(&mut self, line: &str) -> Login {
        match self.say(line) {
            (Action::Login(login), heard) if heard.is_empty() => login,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    fn opens(&mut self) {
        self.pop3.granted(user("granted"), 0);
        let opened = WorkerToFront::Opened(Totals::default());
        assert_eq!(self.pop3.worker(&opened, &mut self.out), Action::None);
        assert!(self.pop3.is_logged_in() && self.heard().starts_with("+OK"));
    }
}

fn base64(message: &str) -> String {
    Base64::encode_string(message.as_bytes())
}

fn user(name: &str) -> UserName {
    UserName::try_from(name.to_owned()).unwrap()
}

fn password(name: &str, secret: &str) -> Login {
    Login::Check(Credentials::Password {
        user: user(name),
        secret: Secret::try_from(secret.as_bytes().to_vec()).unwrap(),
    })
}

#[test]
fn plain_comes_with_the_command_or_on_the_next_line() {
    let message = base64("\0tim\0tanstaaftanstaaf");
    let expected = password("tim", "tanstaaftanstaaf");
    let mut session = Session::new(everything());
    assert_eq!(session.login(&format!("auth plain {message} ")), expected);
    session.opens();
    assert_eq!(session.pop3.method(), "PLAIN");
    let mut session = Session::new(everything());
    assert_eq!(
        session.say("AUTH PLAIN"),
        (Action::None, "+ \r\n".to_owned())
    );
    assert_eq!(session.login(&message), expected);
    let own = base64("tim\0tim\0tanstaaftanstaaf");
    assert_eq!(
        Session::new(everything()).login(&format!("AUTH PLAIN {own}")),
        expected
    );
}

#[test]
fn p9_auth_is_asked_about_an_impossible_login_and_it_fails() {
    for message in ["other\0tim\0p", "\0../tim\0p", "\0tim\0", "\0\0p"] {
        let mut session = Session::new(everything());
        let login = session.login(&format!("AUTH PLAIN {}", base64(message)));
        assert!(matches!(login, Login::Check(_)), "{message:?}");
        session.pop3.granted(user("_"), 0);
        let opened = WorkerToFront::Opened(Totals::default());
        let action = session.pop3.worker(&opened, &mut session.out);
        assert_eq!(action, Action::Close(End::Temporary), "{message:?}");
        assert!(!session.pop3.is_logged_in());
    }
    // SCRAM: auth's signature for an impossible name is not sent to the client.
    let mut session = Session::new(everything());
    let first = base64("n,,n=../user,r=abc");
    session.login(&format!("AUTH SCRAM-SHA-256 {first}"));
    let none = session
        .pop3
        .auth_challenge("r=abcdef,s=QQ==,i=4096", &mut session.out);
    assert_eq!(
        none,
        Action::None,
        "the challenge is the client's all the same"
    );
    session.heard();
    let last = base64(&format!("c=biws,r=abcdef,p={}", base64("proof")));
    assert!(matches!(session.login(&last), Login::Prove(_)));
    let signature = vec![1; 32].try_into().ok().unwrap();
    let action = session.pop3.auth_signature(&signature, &mut session.out);
    assert_eq!(action, Action::Close(End::Temporary));
}

#[test]
fn login_asks_for_name_and_password() {
    for script in [vec!["AUTH LOGIN", "dGlt"], vec!["AUTH LOGIN dGlt"]] {
        let mut session = Session::new(everything());
        let mut answer = String::new();
        for line in script {
            answer = session.say(line).1;
        }
        assert_eq!(answer, "+ UGFzc3dvcmQ6\r\n");
        assert_eq!(session.login("cA=="), password("tim", "p"));
    }
    let (_, first) = Session::new(everything()).say("AUTH LOGIN");
    assert_eq!(first, "+ VXNlcm5hbWU6\r\n");
}

#[test]
fn cram_md5_uses_each_challenge_once() {
    let mut session = Session::new(everything());
    let mut challenges = Vec::new();
    for _ in 0..2 {
        let (_, challenge) = session.say("AUTH CRAM-MD5");
        let challenge = challenge.strip_prefix("+ ").unwrap().trim_end();
        let challenge = String::from_utf8(Base64::decode_vec(challenge).unwrap()).unwrap();
        assert!(challenge.starts_with('<') && challenge.ends_with("@mail.example.org>"));
        let answer = base64("tim b913a602c7eda7a495b4e6e7334d3890");
        let Login::Check(Credentials::CramMd5 {
            challenge: over,
            digest,
            ..
        }) = session.login(&answer)
        else {
            panic!();
        };
        assert_eq!(over.as_str(), challenge);
        assert_eq!(digest[..2], [0xb9, 0x13]);
        challenges.push(challenge);
        session
            .pop3
            .auth_refused(AuthRefusal::Credentials, &mut session.out);
        assert!(session.heard().starts_with("-ERR [AUTH]"));
    }
    assert_ne!(challenges[0], challenges[1]);
    assert!(
        session.say("AUTH CRAM-MD5 dGlt").1.starts_with("-ERR"),
        "the server begins"
    );
}

#[test]
fn p9_auth_is_told_why_a_login_is_impossible() {
    use popward_proto::auth::Impossible as I;
    let long = "p".repeat(PASSWORD_MAX + 1);
    let name = "n".repeat(200);
    for (message, expected) in [
        ("\0u\0p".to_owned(), None),
        (format!("\0u\0{}", "p".repeat(PASSWORD_MAX)), None),
        (format!("\0u\0{long}"), Some(I::TooLong)),
        ("\0u\0".to_owned(), Some(I::Empty)),
        ("other\0u\0p".to_owned(), Some(I::Identity)),
        (format!("\0{name}\0p"), Some(I::Name)),
    ] {
        let mut session = Session::new(everything());
        let login = session.login(&format!("AUTH PLAIN {}", base64(&message)));
        assert!(matches!(login, Login::Check(_)));
        assert_eq!(session.pop3.impossible(), expected, "{message:?}");
    }
    let mut session = Session::new(everything());
    session.say("USER u");
    session.login("PASS a\0b");
    assert_eq!(session.pop3.impossible(), Some(I::Nul));
}

#[test]
fn apop_uses_the_timestamp_of_the_greeting() {
    let mut session = Session::new(everything());
    session.pop3.greeting(&mut session.out);
    let greeting = session.heard();
    let start = greeting.find('<').unwrap();
    let timestamp = greeting[start..].trim_end();
    // The form is that of RFC 1939's example: two decimal numbers and the host. Perl's
    // `Mail::Transport::POP3` looks for decimal digits.
    assert_eq!(timestamp, "<1896.000000000006971709520@mail.example.org>");
    let login = session.login("APOP mrose c4c9334bac560ecc979e58001b3e22fb");
    let Login::Check(Credentials::Apop {
        user: name,
        timestamp: over,
        digest,
    }) = login
    else {
        panic!();
    };
    assert_eq!(
        (name, over.as_str(), digest[0]),
        (user("mrose"), timestamp, 0xc4)
    );
    session.opens();
    assert_eq!(session.pop3.method(), "APOP");
    let mut without = Session::new(offer(true));
    without.pop3.greeting(&mut without.out);
    assert_eq!(without.heard(), "+OK popward ready\r\n");
    for line in [
        "APOP mrose c4c9334bac560ecc979e58001b3e22fb",
        "APOP mrose",
        "APOP mrose xyz",
    ] {
        assert!(without.say(line).1.starts_with("-ERR"), "{line:?}");
    }
}

/// The example of RFC 5802, section 5. After the server's last message the client sends an empty
/// line (RFC 5034).
#[test]
fn scram_takes_three_messages() {
    let mut session = Session::new(Offer {
        binding: None,
        ..everything()
    });
    assert_eq!(session.say("AUTH SCRAM-SHA-1").1, "+ \r\n");
    let login = session.login(&base64("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"));
    let Login::Check(Credentials::Scram {
        hash,
        user: name,
        first_bare,
        nonce,
    }) = login
    else {
        panic!();
    };
    assert_eq!((hash, name), (ScramHash::Sha1, user("user")));
    assert_eq!(first_bare.as_str(), "n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    assert_eq!(nonce.as_str(), "fyko+d2lbbFgONRv9qkxdawL");
    let first = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
    assert_eq!(
        session.pop3.auth_challenge(first, &mut session.out),
        Action::None
    );
    assert_eq!(session.heard(), format!("+ {}\r\n", base64(first)));
    let without = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
    let last = format!("{without},p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    let proof = Base64::decode_vec("v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=").unwrap();
    let expected = Login::Prove(ScramProof {
        without_proof: Text::truncated(without),
        proof: proof.try_into().ok().unwrap(),
    });
    assert_eq!(session.login(&base64(&last)), expected);
    let signature = Base64::decode_vec("rmF9pqV8S7suAoZWja4dJRkFsKQ=").unwrap();
    let signature = signature.try_into().ok().unwrap();
    session.pop3.auth_signature(&signature, &mut session.out);
    assert_eq!(
        session.heard(),
        format!("+ {}\r\n", base64("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="))
    );
    assert_eq!(session.login(""), Login::Proceed);
    session.opens();
    assert_eq!(session.pop3.method(), "SCRAM-SHA-1");
}

#[test]
fn scram_binds_the_channel_if_the_mechanism_name_says_so() {
    let bound = format!("p=tls-exporter,,{}", "\u{7}".repeat(32));
    let cases = [
        // The mechanism's name, whether the connection offers a binding, the client's GS2 header,
        // and the channel data of its last message (`None`: refused).
        (
            "SCRAM-SHA-256-PLUS",
            true,
            "p=tls-exporter,,",
            Some(base64(&bound)),
        ),
        ("SCRAM-SHA-256-PLUS", true, "p=tls-unique,,", None),
        ("SCRAM-SHA-256-PLUS", true, "n,,", None),
        ("SCRAM-SHA-256", true, "p=tls-exporter,,", None),
        ("SCRAM-SHA-256", true, "n,,", Some("biws".to_owned())),
        // The client says that the server offers no binding, but the server does. An attacker
        // changed the list of mechanisms.
        ("SCRAM-SHA-256", true, "y,,", None),
        ("SCRAM-SHA-256", false, "y,,", Some("eSws".to_owned())),
        (
            "SCRAM-SHA-256",
            false,
            "n,a=user,",
            Some(base64("n,a=user,")),
        ),
    ];
    for (name, can, header, channel) in cases {
        let binding = can.then_some([7; 32]);
        let mut session = Session::new(Offer {
            binding,
            ..everything()
        });
        let first = base64(&format!("{header}n=user,r=abc"));
        let (action, heard) = session.say(&format!("AUTH {name} {first}"));
        let Some(channel) = channel else {
            assert!(
                action == Action::None && heard.starts_with("-ERR"),
                "{name} {header}"
            );
            continue;
        };
        assert!(
            matches!(action, Action::Login(Login::Check(_))),
            "{name} {header}"
        );
        for (said, right) in [(channel.as_str(), true), ("cCws", false)] {
            let mut session = Session::new(Offer {
                binding,
                ..everything()
            });
            session.login(&format!("AUTH {name} {first}"));
            session
                .pop3
                .auth_challenge("r=abcdef,s=QQ==,i=4096", &mut session.out);
            let last = base64(&format!("c={said},r=abcdef,p=QUJD"));
            let (action, _) = session.say(&last);
            if right {
                assert!(
                    matches!(action, Action::Login(Login::Prove(_))),
                    "{name} {header}"
                );
            } else {
                assert_eq!(action, Action::Login(Login::Cancel), "{name} {header}");
            }
        }
    }
    let mut session = Session::new(Offer {
        binding: None,
        ..everything()
    });
    assert!(
        session.say("AUTH SCRAM-SHA-256-PLUS").1.starts_with("-ERR"),
        "nothing to bind to"
    );
}

#[test]
fn scram_names_are_unescaped_and_extensions_are_refused() {
    for (name, plain) in [("a=2Cb=3Dc", Some("a,b=c")), ("a=2cb", None), ("a=", None)] {
        let first = base64(&format!("n,,n={name},r=abc"));
        let (action, _) = Session::new(everything()).say(&format!("AUTH SCRAM-SHA-256 {first}"));
        match (action, plain) {
            (Action::Login(Login::Check(Credentials::Scram { user: name, .. })), Some(plain)) => {
                assert_eq!(name, user(plain));
            }
            (Action::None, None) => {}
            other => panic!("{other:?}"),
        }
    }
    for bare in [
        "m=x,n=user,r=abc",
        "n=user",
        "n=user,r=",
        "n=user,r=a\u{e4}",
        "r=abc,n=user",
        "",
    ] {
        let first = base64(&format!("n,,{bare}"));
        let (action, heard) =
            Session::new(everything()).say(&format!("AUTH SCRAM-SHA-256 {first}"));
        assert!(
            action == Action::None && heard.starts_with("-ERR"),
            "{bare:?}"
        );
    }
}

fn a_refused_token(name: &str, message: &str, named: Option<&str>, last: &str) {
    let mut session = Session::new(everything());
    let login = session.login(&format!("AUTH {name} {}", base64(message)));
    let Login::Check(Credentials::Token { user: asked, token }) = login else {
        panic!();
    };
    assert_eq!((asked, token.expose()), (named.map(user), &b"vF9dft4q"[..]));
    let refused = session
        .pop3
        .auth_refused(AuthRefusal::Credentials, &mut session.out);
    assert_eq!(refused, Action::None);
    let why = session.heard();
    let why = Base64::decode_vec(why.strip_prefix("+ ").unwrap().trim_end()).unwrap();
    assert!(why.starts_with(b"{\"status\":"));
    assert!(session.say(last).1.starts_with("-ERR [AUTH]"), "{last:?}");
}

#[test]
fn tokens_work_in_both_mechanisms_and_refusals_are_explained() {
    let cases = [
        (
            "OAUTHBEARER",
            "n,a=tim,\u{1}host=h\u{1}port=995\u{1}auth=Bearer vF9dft4q\u{1}\u{1}",
            Some("tim"),
        ),
        (
            "OAUTHBEARER",
            "n,,\u{1}auth=bearer vF9dft4q\u{1}\u{1}",
            None,
        ),
        (
            "XOAUTH2",
            "user=tim\u{1}auth=Bearer vF9dft4q\u{1}\u{1}",
            Some("tim"),
        ),
    ];
    for (name, message, named) in cases {
        // The login is refused whatever the client answers to the explanation (RFC 7628, section
        // 3.2.3).
        for last in ["AQ==", "*", "", "no base64", &"A".repeat(13_000)] {
            a_refused_token(name, message, named, last);
        }
    }
    for message in [
        "x",
        "n,a=tim,\u{1}\u{1}",
        "n,a=tim,\u{1}auth=Basic abc\u{1}\u{1}",
        "p=x,,\u{1}auth=Bearer t\u{1}\u{1}",
    ] {
        let heard =
            Session::new(everything()).say(&format!("AUTH OAUTHBEARER {}", base64(message)));
        assert!(
            heard.0 == Action::None && heard.1.starts_with("-ERR"),
            "{message:?}"
        );
    }
    let long = format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", "t".repeat(8000));
    let login = Session::new(everything()).login(&format!("AUTH OAUTHBEARER {}", base64(&long)));
    assert!(matches!(login, Login::Check(Credentials::Token { .. })));
}

#[test]
fn external_takes_the_user_from_the_message_or_the_certificate() {
    let mut session = Session::new(everything());
    assert_eq!(session.login("AUTH EXTERNAL ="), Login::Certificate(None));
    session.opens();
    let named = Session::new(everything()).login("AUTH EXTERNAL dGlt");
    assert_eq!(named, Login::Certificate(Some(user("tim"))));
    let mut without = Session::new(Offer {
        certificate: false,
        ..everything()
    });
    assert!(without.say("AUTH EXTERNAL =").1.starts_with("-ERR"));
}

#[test]
fn a_star_and_invalid_messages_cancel_an_exchange() {
    for line in ["*", "not base64!", "=", "AAA", &"A".repeat(13_000)] {
        let mut session = Session::new(everything());
        session.say("AUTH PLAIN");
        let (action, heard) = session.say(line);
        assert_eq!(action, Action::None, "auth knew nothing of it");
        assert!(heard.starts_with("-ERR"), "{line:?}: {heard}");
        assert!(session.say("CAPA").1.starts_with("+OK"), "{line:?}");
    }
    for line in ["*", "!", "YmFk"] {
        let mut session = Session::new(everything());
        session.login(&format!("AUTH SCRAM-SHA-256 {}", base64("n,,n=user,r=abc")));
        session
            .pop3
            .auth_challenge("r=abcdef,s=QQ==,i=4096", &mut session.out);
        assert_eq!(
            session.say(line).0,
            Action::Login(Login::Cancel),
            "{line:?}"
        );
    }
    // Auth's challenge must begin with the client's nonce. This one does not.
    let mut session = Session::new(everything());
    session.login(&format!("AUTH SCRAM-SHA-256 {}", base64("n,,n=user,r=abc")));
    let action = session
        .pop3
        .auth_challenge("r=xyz,s=QQ==,i=4096", &mut session.out);
    assert_eq!(action, Action::Login(Login::Cancel));
}

#[test]
fn capa_announces_exactly_the_mechanisms_that_are_accepted() {
    let offers = [
        everything(),
        offer(true),
        offer(false),
        Offer {
            security: Security::Stls,
            passwords: false,
            certificate: false,
            binding: None,
            ..everything()
        },
        Offer {
            mechanisms: [Mechanism::ScramSha256].into_iter().collect(),
            ..everything()
        },
    ];
    for offer in offers {
        let mut session = Session::new(offer);
        let (_, capabilities) = session.say("CAPA");
        let announced: Vec<&str> = capabilities
            .lines()
            .find_map(|line| line.strip_prefix("SASL "))
            .map_or(Vec::new(), |names| names.split(' ').collect());
        let (_, list) = session.say("AUTH");
        assert_eq!(
            list.lines()
                .skip(1)
                .take_while(|line| *line != ".")
                .collect::<Vec<_>>(),
            announced
        );
        for (name, ..) in NAMES {
            let (_, heard) = Session::new(offer).say(&format!("AUTH {name}"));
            assert_eq!(
                heard.starts_with('+'),
                announced.contains(&name),
                "{name}: {heard}"
            );
        }
        let (_, heard) = Session::new(offer).say("USER u");
        assert_eq!(
            heard.starts_with("+OK"),
            capabilities.contains("\r\nUSER\r\n")
        );
        let (action, _) = Session::new(offer).say("STLS");
        assert_eq!(
            action == Action::StartTls,
            capabilities.contains("\r\nSTLS\r\n")
        );
    }
}

#[test]
fn after_stls_everything_sent_before_is_forgotten() {
    let mut session = Session::new(Offer {
        security: Security::Stls,
        ..everything()
    });
    session.say("USER mallory");
    session.out.clear();
    let script = b"STLS\r\nPASS injected\r\n";
    let (used, action) = session.pop3.input(script, &mut session.out);
    assert_eq!((used, action), (6, Action::StartTls));
    assert!(
        !session.pop3.wants_input(),
        "what else came is the caller's to throw away"
    );
    session.pop3.secured(everything());
    session.heard();
    assert_eq!(session.say("PASS p").1, "-ERR USER first\r\n");
    assert!(!session.say("CAPA").1.contains("STLS"));
    assert_eq!(session.say("STLS").1, "-ERR TLS is active\r\n");
}
