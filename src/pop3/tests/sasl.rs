//! Tests of the mechanisms of AUTH, line by line as a client uses them, and of lines that break
//! their rules.

mod offered;
mod passwords;
mod scram;
mod tokens;

use super::*;
use base64ct::{Base64, Encoding};
use popward_proto::bounded::UserName;
use popward_proto::secret::{PASSWORD_MAX, Secret};

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

struct SaslClient {
    pop3: Pop3,
    out: Vec<u8>,
}

impl SaslClient {
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
fn p9_auth_is_asked_about_an_impossible_login_and_it_fails() {
    for message in ["other\0tim\0p", "\0../tim\0p", "\0tim\0", "\0\0p"] {
        let mut client = SaslClient::new(everything());
        let login = client.login(&format!("AUTH PLAIN {}", base64(message)));
        assert!(matches!(login, Login::Check(_)), "{message:?}");
        client.pop3.granted(user("_"), 0);
        let opened = WorkerToFront::Opened(Totals::default());
        let action = client.pop3.worker(&opened, &mut client.out);
        assert_eq!(action, Action::Close(End::Temporary), "{message:?}");
        assert!(!client.pop3.is_logged_in());
    }
    // SCRAM: auth's signature for an impossible name is not sent to the client.
    let mut client = SaslClient::new(everything());
    let first = base64("n,,n=../user,r=abc");
    client.login(&format!("AUTH SCRAM-SHA-256 {first}"));
    let none = client
        .pop3
        .auth_challenge("r=abcdef,s=QQ==,i=4096", &mut client.out);
    assert_eq!(
        none,
        Action::None,
        "the challenge is the client's all the same"
    );
    client.heard();
    let last = base64(&format!("c=biws,r=abcdef,p={}", base64("proof")));
    assert!(matches!(client.login(&last), Login::Prove(_)));
    let signature = vec![1; 32].try_into().ok().unwrap();
    let action = client.pop3.auth_signature(&signature, &mut client.out);
    assert_eq!(action, Action::Close(End::Temporary));
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
        let mut client = SaslClient::new(everything());
        let login = client.login(&format!("AUTH PLAIN {}", base64(&message)));
        assert!(matches!(login, Login::Check(_)));
        assert_eq!(client.pop3.impossible(), expected, "{message:?}");
    }
    let mut client = SaslClient::new(everything());
    client.say("USER u");
    client.login("PASS a\0b");
    assert_eq!(client.pop3.impossible(), Some(I::Nul));
}

#[test]
fn a_star_and_invalid_messages_cancel_an_exchange() {
    for line in ["*", "not base64!", "=", "AAA", &"A".repeat(13_000)] {
        let mut client = SaslClient::new(everything());
        client.say("AUTH PLAIN");
        let (action, heard) = client.say(line);
        assert_eq!(action, Action::None, "auth knew nothing of it");
        assert!(heard.starts_with("-ERR"), "{line:?}: {heard}");
        assert!(client.say("CAPA").1.starts_with("+OK"), "{line:?}");
    }
    for line in ["*", "!", "YmFk"] {
        let mut client = SaslClient::new(everything());
        client.login(&format!("AUTH SCRAM-SHA-256 {}", base64("n,,n=user,r=abc")));
        client
            .pop3
            .auth_challenge("r=abcdef,s=QQ==,i=4096", &mut client.out);
        assert_eq!(client.say(line).0, Action::Login(Login::Cancel), "{line:?}");
    }
    // Auth's challenge must begin with the client's nonce. This one does not.
    let mut client = SaslClient::new(everything());
    client.login(&format!("AUTH SCRAM-SHA-256 {}", base64("n,,n=user,r=abc")));
    let action = client
        .pop3
        .auth_challenge("r=xyz,s=QQ==,i=4096", &mut client.out);
    assert_eq!(action, Action::Login(Login::Cancel));
}
