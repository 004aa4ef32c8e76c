//! Which mechanisms a connection is offered, and what STLS changes.

use super::*;
use crate::sasl::NamedMechanism;

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
        let mut client = SaslClient::new(offer);
        let (_, capabilities) = client.say("CAPA");
        let announced: Vec<&str> = capabilities
            .lines()
            .find_map(|line| line.strip_prefix("SASL "))
            .map_or(Vec::new(), |names| names.split(' ').collect());
        let (_, list) = client.say("AUTH");
        assert_eq!(
            list.lines()
                .skip(1)
                .take_while(|line| *line != ".")
                .collect::<Vec<_>>(),
            announced
        );
        for (name, _) in NamedMechanism::all() {
            let (_, heard) = SaslClient::new(offer).say(&format!("AUTH {name}"));
            assert_eq!(
                heard.starts_with('+'),
                announced.contains(&name),
                "{name}: {heard}"
            );
        }
        let (_, heard) = SaslClient::new(offer).say("USER u");
        assert_eq!(
            heard.starts_with("+OK"),
            capabilities.contains("\r\nUSER\r\n")
        );
        let (action, _) = SaslClient::new(offer).say("STLS");
        assert_eq!(
            action == Action::StartTls,
            capabilities.contains("\r\nSTLS\r\n")
        );
    }
}

#[test]
fn after_stls_everything_sent_before_is_forgotten() {
    let mut client = SaslClient::new(Offer {
        security: Security::Stls,
        ..everything()
    });
    client.say("USER mallory");
    client.out.clear();
    let script = b"STLS\r\nPASS injected\r\n";
    let (used, action) = client.pop3.input(script, &mut client.out);
    assert_eq!((used, action), (6, Action::StartTls));
    assert!(
        !client.pop3.wants_input(),
        "what else came is the caller's to throw away"
    );
    client.pop3.secured(everything());
    client.heard();
    assert_eq!(client.say("PASS p").1, "-ERR USER first\r\n");
    assert!(!client.say("CAPA").1.contains("STLS"));
    assert_eq!(client.say("STLS").1, "-ERR TLS is active\r\n");
}
