//! OAUTHBEARER, XOAUTH2 and EXTERNAL.

use super::*;

fn a_refused_token(name: &str, message: &str, named: Option<&str>, last: &str) {
    let mut client = SaslClient::new(everything());
    let login = client.login(&format!("AUTH {name} {}", base64(message)));
    let Login::Check(Credentials::Token { user: asked, token }) = login else {
        panic!();
    };
    assert_eq!((asked, token.expose()), (named.map(user), &b"vF9dft4q"[..]));
    let refused = client
        .pop3
        .auth_refused(AuthRefusal::Credentials, &mut client.out);
    assert_eq!(refused, Action::None);
    let why = client.heard();
    let why = Base64::decode_vec(why.strip_prefix("+ ").unwrap().trim_end()).unwrap();
    assert!(why.starts_with(b"{\"status\":"));
    assert!(client.say(last).1.starts_with("-ERR [AUTH]"), "{last:?}");
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
            SaslClient::new(everything()).say(&format!("AUTH OAUTHBEARER {}", base64(message)));
        assert!(
            heard.0 == Action::None && heard.1.starts_with("-ERR"),
            "{message:?}"
        );
    }
    let long = format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", "t".repeat(8000));
    let login = SaslClient::new(everything()).login(&format!("AUTH OAUTHBEARER {}", base64(&long)));
    assert!(matches!(login, Login::Check(Credentials::Token { .. })));
}

#[test]
fn external_takes_the_user_from_the_message_or_the_certificate() {
    let mut client = SaslClient::new(everything());
    assert_eq!(client.login("AUTH EXTERNAL ="), Login::Certificate(None));
    client.opens();
    let named = SaslClient::new(everything()).login("AUTH EXTERNAL dGlt");
    assert_eq!(named, Login::Certificate(Some(user("tim"))));
    let mut without = SaslClient::new(Offer {
        certificate: false,
        ..everything()
    });
    assert!(without.say("AUTH EXTERNAL =").1.starts_with("-ERR"));
}
