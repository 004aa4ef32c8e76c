//! Tests of logins with USER and PASS, and of the limits on what goes wrong before a login.

use super::*;
use popward_proto::bounded::UserName;

#[test]
fn p1_a_password_needs_tls_unless_plain_text_is_permitted() {
    let mut client = Client::with(Pop3::new(POLICY, offer(false), identity(), false));
    client.say(b"CAPA\r\nUSER u\r\nPASS p\r\n");
    let text = client.text();
    assert_eq!(
        text.matches("-ERR [AUTH] a password is taken over TLS only")
            .count(),
        2
    );
    assert!(!text.contains("USER\r\n"), "not announced");
    assert!(client.asked.is_empty() && !client.pop3.is_logged_in());
}

#[test]
fn p9_auth_is_asked_about_an_impossible_name_too_and_the_login_fails() {
    for name in ["../etc", "a b", &"x".repeat(200), "\u{0}"] {
        let mut pop3 = Pop3::new(POLICY, offer(true), identity(), false);
        let mut out = Vec::new();
        pop3.greeting(&mut out);
        let script = format!("USER {name}\r\nPASS p\r\n");
        let mut bytes = script.as_bytes();
        let action = loop {
            let (used, action) = pop3.input(bytes, &mut out);
            bytes = &bytes[used..];
            if action != Action::None {
                break action;
            }
        };
        assert!(matches!(action, Action::Login(Login::Check(_))), "{name:?}");
        // Grants the stand-in: a source of accounts might accept it.
        pop3.granted(UserName::try_from("_".to_owned()).unwrap(), 0);
        let action = pop3.worker(&WorkerToFront::Opened(totals()), &mut out);
        assert_eq!(action, Action::Close(End::Temporary));
        assert!(!pop3.is_logged_in());
    }
}

#[test]
fn failed_logins_and_bad_commands_have_a_limit() {
    let (text, end) = heard(&"USER u\r\nPASS x\r\n".repeat(10));
    assert_eq!(text.matches("-ERR [AUTH]").count(), 3);
    assert_eq!(end, Some(End::FailedLogins));
    let (text, end) = heard(&"BAD\r\n".repeat(10));
    assert_eq!(text.matches("-ERR").count(), 5);
    assert_eq!(end, Some(End::BadCommands));
}
