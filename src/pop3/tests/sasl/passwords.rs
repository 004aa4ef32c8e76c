//! PLAIN, LOGIN, CRAM-MD5 and APOP.

use super::*;

#[test]
fn plain_comes_with_the_command_or_on_the_next_line() {
    let message = base64("\0tim\0tanstaaftanstaaf");
    let expected = password("tim", "tanstaaftanstaaf");
    let mut client = SaslClient::new(everything());
    assert_eq!(client.login(&format!("auth plain {message} ")), expected);
    client.opens();
    assert_eq!(client.pop3.method(), "PLAIN");
    let mut client = SaslClient::new(everything());
    assert_eq!(
        client.say("AUTH PLAIN"),
        (Action::None, "+ \r\n".to_owned())
    );
    assert_eq!(client.login(&message), expected);
    let own = base64("tim\0tim\0tanstaaftanstaaf");
    assert_eq!(
        SaslClient::new(everything()).login(&format!("AUTH PLAIN {own}")),
        expected
    );
}

#[test]
fn login_asks_for_name_and_password() {
    for script in [vec!["AUTH LOGIN", "dGlt"], vec!["AUTH LOGIN dGlt"]] {
        let mut client = SaslClient::new(everything());
        let mut answer = String::new();
        for line in script {
            answer = client.say(line).1;
        }
        assert_eq!(answer, "+ UGFzc3dvcmQ6\r\n");
        assert_eq!(client.login("cA=="), password("tim", "p"));
    }
    let (_, first) = SaslClient::new(everything()).say("AUTH LOGIN");
    assert_eq!(first, "+ VXNlcm5hbWU6\r\n");
}

#[test]
fn cram_md5_uses_each_challenge_once() {
    let mut client = SaslClient::new(everything());
    let mut challenges = Vec::new();
    for _ in 0..2 {
        let (_, challenge) = client.say("AUTH CRAM-MD5");
        let challenge = challenge.strip_prefix("+ ").unwrap().trim_end();
        let challenge = String::from_utf8(Base64::decode_vec(challenge).unwrap()).unwrap();
        assert!(challenge.starts_with('<') && challenge.ends_with("@mail.example.org>"));
        let answer = base64("tim b913a602c7eda7a495b4e6e7334d3890");
        let Login::Check(Credentials::CramMd5 {
            challenge: over,
            digest,
            ..
        }) = client.login(&answer)
        else {
            panic!();
        };
        assert_eq!(over.as_str(), challenge);
        assert_eq!(digest[..2], [0xb9, 0x13]);
        challenges.push(challenge);
        client
            .pop3
            .auth_refused(AuthRefusal::Credentials, &mut client.out);
        assert!(client.heard().starts_with("-ERR [AUTH]"));
    }
    assert_ne!(challenges[0], challenges[1]);
    assert!(
        client.say("AUTH CRAM-MD5 dGlt").1.starts_with("-ERR"),
        "the server begins"
    );
}

#[test]
fn apop_uses_the_timestamp_of_the_greeting() {
    let mut client = SaslClient::new(everything());
    client.pop3.greeting(&mut client.out);
    let greeting = client.heard();
    let start = greeting.find('<').unwrap();
    let timestamp = greeting[start..].trim_end();
    // The form is that of RFC 1939's example: two decimal numbers and the host. Perl's
    // `Mail::Transport::POP3` looks for decimal digits.
    assert_eq!(timestamp, "<1896.000000000006971709520@mail.example.org>");
    let login = client.login("APOP mrose c4c9334bac560ecc979e58001b3e22fb");
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
    client.opens();
    assert_eq!(client.pop3.method(), "APOP");
    let mut without = SaslClient::new(offer(true));
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
