//! Fuzzes the messages of each SASL mechanism. The target adds base64 and line ends itself.
//!
//! The first byte chooses the mechanism. The second chooses whether the first message comes with
//! the command. The rest is the client's messages, with 0xff between them.
//!
//! The target parses the messages in its own way. It checks that auth is asked exactly what they
//! say, and that the user who logs in is the one that they name.

#![no_main]

use base64ct::{Base64, Encoding};
use libfuzzer_sys::fuzz_target;
use popward_front::pop3::{Action, Identity, Login, Offer, Policy, Pop3, Security};
use popward_proto::auth::{Credentials, ScramProof};
use popward_proto::bounded::UserName;
use popward_proto::monitor_front::Mechanism;
use popward_proto::session::{Totals, WorkerToFront};

const NAMES: [(&str, Mechanism); 10] = [
    ("PLAIN", Mechanism::Plain),
    ("LOGIN", Mechanism::Login),
    ("CRAM-MD5", Mechanism::CramMd5),
    ("SCRAM-SHA-1", Mechanism::ScramSha1),
    ("SCRAM-SHA-1-PLUS", Mechanism::ScramSha1),
    ("SCRAM-SHA-256", Mechanism::ScramSha256),
    ("SCRAM-SHA-256-PLUS", Mechanism::ScramSha256),
    ("EXTERNAL", Mechanism::External),
    ("OAUTHBEARER", Mechanism::Oauthbearer),
    ("XOAUTH2", Mechanism::Xoauth2),
];

/// The channel binding of the connection.
const BINDING: [u8; 32] = [7; 32];

/// The part that auth adds to a client's nonce.
const ADDED: &str = "server";

fn connection(mechanism: Mechanism) -> Pop3 {
    let offer = Offer {
        security: Security::Tls,
        passwords: true,
        mechanisms: [mechanism].into_iter().collect(),
        certificate: true,
        binding: Some(BINDING),
    };
    let policy = Policy {
        bad_commands: 20,
        failed_logins: 3,
    };
    let identity = Identity {
        unique: [7; 2],
        host: "localhost".into(),
    };
    Pop3::new(policy, offer, identity, false)
}

/// Parses a user name. `None`: no account can have it.
fn name(bytes: &[u8]) -> Option<UserName> {
    UserName::try_from(String::from_utf8(bytes.to_vec()).ok()?).ok()
}

/// Decodes SCRAM's `saslname`, in a simple way.
fn saslname(text: &str) -> Vec<u8> {
    text.replace("=2C", ",").replace("=3D", "=").into_bytes()
}

/// The user that the messages name. Checks that auth is asked what they say. `None`: the login is
/// impossible, or the messages name nobody.
fn named(mechanism: Mechanism, messages: &[&[u8]], login: &Login) -> Option<UserName> {
    let last = *messages.last().unwrap();
    match login {
        Login::Check(Credentials::Password { user, secret }) => {
            let (claimed, password) = if mechanism == Mechanism::Plain {
                let parts: Vec<_> = last.split(|byte| *byte == 0).collect();
                let [identity, claimed, password] = parts[..] else {
                    panic!("taken for PLAIN: {last:?}");
                };
                if !identity.is_empty() && identity != claimed {
                    return None;
                }
                (claimed, password)
            } else {
                (messages[messages.len() - 2], last)
            };
            let own = name(claimed).filter(|_| !password.is_empty() && !password.contains(&0))?;
            if password.len() <= 512 {
                assert_eq!((user, secret.expose()), (&own, password));
                return Some(own);
            }
            None
        }
        Login::Check(Credentials::CramMd5 { user, digest, .. }) => {
            let space = last.len() - 33;
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(last[space + 1..].eq_ignore_ascii_case(hex.as_bytes()) && last[space] == b' ');
            let own = name(&last[..space])?;
            assert_eq!(*user, own);
            Some(own)
        }
        Login::Check(Credentials::Scram {
            user,
            first_bare,
            nonce,
            ..
        }) => {
            let text = std::str::from_utf8(last).unwrap();
            let bare = first_bare.as_str();
            assert!(text.ends_with(bare) && bare.starts_with("n="));
            let mut attributes = bare[2..].split(',');
            let claimed = attributes.next().unwrap();
            assert_eq!(attributes.next(), Some(format!("r={nonce}").as_str()));
            let identity = text.split(',').nth(1).unwrap();
            if !identity.is_empty() && identity != format!("a={claimed}") {
                return None;
            }
            let own = name(&saslname(claimed))?;
            assert_eq!(*user, own);
            Some(own)
        }
        Login::Check(Credentials::Token { user, token }) => {
            let within = last
                .windows(token.expose().len())
                .any(|part| part == token.expose());
            assert!(within && token.expose().iter().all(u8::is_ascii_graphic));
            user.clone()
        }
        Login::Certificate(user) => {
            let own = name(last);
            if let Some(own) = &own {
                assert_eq!(user.as_ref(), Some(own));
            }
            own
        }
        other => panic!("{other:?} of {last:?}"),
    }
}

/// Checks that the proof is the client's last message, and that it is bound to the channel of the
/// first.
fn proved(messages: &[&[u8]], proof: &ScramProof, plus: bool) {
    let last = std::str::from_utf8(messages.last().unwrap()).unwrap();
    assert!(last.starts_with(proof.without_proof.as_str()));
    let first = std::str::from_utf8(messages[messages.len() - 2]).unwrap();
    let header: Vec<_> = first.splitn(3, ',').collect();
    let mut channel = format!("{},{},", header[0], header[1]).into_bytes();
    assert_eq!(header[0].starts_with("p="), plus);
    if plus {
        channel.extend_from_slice(&BINDING);
    }
    let bound = format!("c={},r=", Base64::encode_string(&channel));
    assert!(proof.without_proof.as_str().starts_with(&bound));
    assert!(proof.without_proof.as_str().contains(ADDED));
}

/// What the messages so far have shown: the user, and whether auth was asked.
struct Seen {
    whose: Option<UserName>,
    login: bool,
}

fn act(
    pop3: &mut Pop3,
    out: &mut Vec<u8>,
    action: Action,
    messages: &[&[u8]],
    which: usize,
    seen: &mut Seen,
) -> bool {
    let Action::Login(login) = action else {
        return matches!(action, Action::None);
    };
    seen.login = true;
    match &login {
        Login::Cancel => return true,
        Login::Prove(proof) => {
            proved(messages, proof, NAMES[which].0.ends_with("PLUS"));
            let signature = vec![1; 32].try_into().ok().unwrap();
            return matches!(pop3.auth_signature(&signature, out), Action::None);
        }
        Login::Proceed => assert!(messages.last().unwrap().is_empty()),
        login => seen.whose = named(NAMES[which].1, messages, login),
    }
    if let Login::Check(Credentials::Scram { nonce, .. }) = &login {
        let first = format!("r={nonce}{ADDED},s=QUJD,i=4096");
        return matches!(pop3.auth_challenge(&first, out), Action::None);
    }
    pop3.granted(UserName::try_from("granted".to_owned()).ok().unwrap(), 0);
    let opened = WorkerToFront::Opened(Totals::default());
    pop3.worker(&opened, out);
    // A token and a certificate can name the user themselves.
    let by_itself = match login {
        Login::Check(Credentials::Token { user: None, .. }) => true,
        Login::Certificate(None) => messages.last().unwrap().is_empty(),
        Login::Check(Credentials::Token { .. }) => return false,
        _ => false,
    };
    assert_eq!(pop3.is_logged_in(), seen.whose.is_some() || by_itself);
    false
}

fuzz_target!(|data: &[u8]| {
    let Some((&[which, at_once], rest)) = data.split_first_chunk() else {
        return;
    };
    let which = usize::from(which) % NAMES.len();
    let (spelled, mechanism) = NAMES[which];
    let messages: Vec<&[u8]> = rest.split(|byte| *byte == 0xff).take(6).collect();
    let mut pop3 = connection(mechanism);
    let mut out = Vec::new();
    pop3.greeting(&mut out);
    let mut seen = Seen {
        whose: None,
        login: false,
    };
    let mut lines = Vec::new();
    let mut begun = 0;
    if at_once % 2 == 1 && !messages[0].is_empty() {
        lines.push((
            format!("AUTH {spelled} {}\r\n", Base64::encode_string(messages[0])),
            1,
        ));
        begun = 1;
    } else {
        lines.push((format!("AUTH {spelled}\r\n"), 0));
    }
    for (at, message) in messages.iter().enumerate().skip(begun) {
        lines.push((format!("{}\r\n", Base64::encode_string(message)), at + 1));
    }
    for (line, heard) in lines {
        let (used, action) = pop3.input(line.as_bytes(), &mut out);
        assert_eq!(used, line.len());
        if !act(
            &mut pop3,
            &mut out,
            action,
            &messages[..heard],
            which,
            &mut seen,
        ) {
            return;
        }
        assert!(!pop3.is_logged_in());
    }
});
