//! SCRAM: its three messages, channel binding, names and extensions.

use super::*;
use popward_proto::auth::{ScramHash, ScramProof};

/// The example of RFC 5802, section 5. After the server's last message the client sends an empty
/// line (RFC 5034).
#[test]
fn scram_takes_three_messages() {
    let mut client = SaslClient::new(Offer {
        binding: None,
        ..everything()
    });
    assert_eq!(client.say("AUTH SCRAM-SHA-1").1, "+ \r\n");
    let login = client.login(&base64("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"));
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
        client.pop3.auth_challenge(first, &mut client.out),
        Action::None
    );
    assert_eq!(client.heard(), format!("+ {}\r\n", base64(first)));
    let without = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
    let last = format!("{without},p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    let proof = Base64::decode_vec("v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=").unwrap();
    let expected = Login::Prove(ScramProof {
        without_proof: Text::truncated(without),
        proof: proof.try_into().ok().unwrap(),
    });
    assert_eq!(client.login(&base64(&last)), expected);
    let signature = Base64::decode_vec("rmF9pqV8S7suAoZWja4dJRkFsKQ=").unwrap();
    let signature = signature.try_into().ok().unwrap();
    client.pop3.auth_signature(&signature, &mut client.out);
    assert_eq!(
        client.heard(),
        format!("+ {}\r\n", base64("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="))
    );
    assert_eq!(client.login(""), Login::Proceed);
    client.opens();
    assert_eq!(client.pop3.method(), "SCRAM-SHA-1");
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
        let mut client = SaslClient::new(Offer {
            binding,
            ..everything()
        });
        let first = base64(&format!("{header}n=user,r=abc"));
        let (action, heard) = client.say(&format!("AUTH {name} {first}"));
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
            let mut client = SaslClient::new(Offer {
                binding,
                ..everything()
            });
            client.login(&format!("AUTH {name} {first}"));
            client
                .pop3
                .auth_challenge("r=abcdef,s=QQ==,i=4096", &mut client.out);
            let last = base64(&format!("c={said},r=abcdef,p=QUJD"));
            let (action, _) = client.say(&last);
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
    let mut client = SaslClient::new(Offer {
        binding: None,
        ..everything()
    });
    assert!(
        client.say("AUTH SCRAM-SHA-256-PLUS").1.starts_with("-ERR"),
        "nothing to bind to"
    );
}

#[test]
fn scram_names_are_unescaped_and_extensions_are_refused() {
    for (name, plain) in [("a=2Cb=3Dc", Some("a,b=c")), ("a=2cb", None), ("a=", None)] {
        let first = base64(&format!("n,,n={name},r=abc"));
        let (action, _) = SaslClient::new(everything()).say(&format!("AUTH SCRAM-SHA-256 {first}"));
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
            SaslClient::new(everything()).say(&format!("AUTH SCRAM-SHA-256 {first}"));
        assert!(
            action == Action::None && heard.starts_with("-ERR"),
            "{bare:?}"
        );
    }
}
