//! Tests of what the configuration changes in replies: texts, UTF8 and LANG.

use super::*;
use popward_proto::monitor_front::Language;
use popward_proto::session::MessageNumber;

/// A connection with these settings.
fn configured(pop3: Pop3Settings) -> Pop3 {
    let settings = FrontSettings {
        version: popward_proto::VERSION,
        front: popward_proto::account::FrontId(1),
        connections_known: false,
        tells_expiry: false,
        plaintext: popward_proto::monitor_front::Plaintext::Never,
        mechanisms: popward_proto::bounded::List::default(),
        host: Text::truncated("mail.example.org"),
        limits: limits(1, 1, 1),
        tls: popward_proto::monitor_front::TlsSettings {
            only_1_3: false,
            ticket_ms: 0,
        },
        pop3,
        proxies: proxies(1),
    };
    Pop3::new(POLICY, offer(true), identity(), false).configured(&Rc::new(settings))
}

/// Runs a client's script with these settings. Returns all replies with the greeting, and the
/// requests to the worker.
fn heard_of(pop3: Pop3Settings, script: &str) -> (String, Vec<FrontToWorker>) {
    let mut client = Client::with(configured(pop3));
    client.say(script.as_bytes());
    (client.text().replace("\r\n", "|"), client.asked)
}

#[test]
fn greeting_and_implementation_are_configurable() {
    let settings = Pop3Settings {
        greeting: Some(Text::truncated("ready")),
        implementation: Some(Text::truncated("")),
        ..Pop3Settings::DEFAULT
    };
    let (text, _) = heard_of(settings, &format!("CAPA\r\n{LOGIN}CAPA\r\nQUIT\r\n"));
    assert!(text.starts_with("+OK ready|"), "{text}");
    assert!(
        !text.contains("popward") && !text.contains("IMPLEMENTATION"),
        "{text}"
    );
    let settings = Pop3Settings {
        implementation: Some(Text::truncated("Qpopper-compatible")),
        ..Pop3Settings::DEFAULT
    };
    let (text, _) = heard_of(settings, &format!("CAPA\r\n{LOGIN}CAPA\r\n"));
    assert_eq!(
        text.matches("IMPLEMENTATION Qpopper-compatible|").count(),
        1
    );
}

/// UTF8 (RFC 6856, section 2).
#[test]
fn utf8_is_offered_if_configured_and_changes_no_request() {
    let settings = |utf8| Pop3Settings {
        utf8,
        ..Pop3Settings::DEFAULT
    };
    let number = MessageNumber(std::num::NonZeroU32::MIN);
    let script = format!("{LOGIN}RETR 1\r\nTOP 1 0\r\n");
    let requests = [OfOne::Whole, OfOne::Top(0)].map(|what| FrontToWorker::OfOne(number, what));
    for offered in [false, true] {
        let (_, asked) = heard_of(settings(offered), &script);
        assert_eq!(asked, requests);
        let (text, asked) = heard_of(settings(offered), &format!("UTF8\r\n{script}"));
        assert_eq!(asked, requests);
        assert_eq!(text.contains("|+OK UTF-8 from here on|"), offered, "{text}");
        let (text, _) = heard_of(settings(offered), &format!("CAPA\r\n{LOGIN}CAPA\r\n"));
        let announced = text.matches("|UTF8|").count();
        assert_eq!(
            announced,
            2 * usize::from(offered),
            "in both states: {text}"
        );
    }
}

/// LANG (RFC 6856, section 3).
#[test]
fn languages_are_listed_and_chosen_in_both_states() {
    let settings = Pop3Settings {
        language: Language::French,
        ..Pop3Settings::DEFAULT
    };
    let script = format!(
        "LANG\r\nLANG de-AT\r\nSTAT\r\n{LOGIN}LANG MUL\r\nRETR 9\r\nRETR 1\r\nLANG *\r\nDELE 1\r\nLANG en\r\nNOOP\r\nLANG es\r\nQUIT\r\n"
    );
    let (text, _) = heard_of(settings, &script);
    let expected = [
        "+OK popward ready",
        "+OK languages|en English|de Deutsch|fr Français|es Español|.",
        "+OK de Sprache gewählt",
        "-ERR nicht vor der Anmeldung",
        "+OK Passwort?",
        "+OK 2 Nachrichten, 20 Oktette",
        "-ERR keine solche Sprache",
        "-ERR keine solche Nachricht",
        "+OK 10 Oktette|data|.",
        "+OK fr langue choisie",
        "+OK message 1 supprimé",
        "+OK en language chosen",
        "+OK nothing done",
        "+OK es idioma elegido",
        "+OK popward se despide|",
    ];
    assert_eq!(text, expected.join("|"));
    let (text, _) = heard("LANG de\r\nUSER u\r\nPASS x\r\n");
    assert!(
        text.ends_with("|-ERR [AUTH] Benutzername oder Passwort falsch|"),
        "response codes stay: {text}"
    );
}

/// STLS must forget what the client said before it (RFC 2595, section 4).
#[test]
fn stls_forgets_the_language() {
    let mut client = Client::new();
    client.pop3.secured(Offer {
        security: Security::Stls,
        ..offer(true)
    });
    client.pop3.input(b"LANG de\r\n", &mut client.out);
    let (_, action) = client.pop3.input(b"STLS\r\n", &mut client.out);
    assert_eq!(action, Action::StartTls);
    client.pop3.secured(offer(true));
    client.out.clear();
    client.say(LOGIN.as_bytes());
    assert!(client.text().starts_with("+OK password?\r\n"));
}
