//! SCRAM with a password file: users with keys, with a password, with another secret, and missing
//! users.

use super::*;
use popward_proto::auth::{ScramHash, ScramProof};
use popward_proto::bounded::{Bytes, Text, UserName};
use std::io::Write;

const KEY: [u8; 32] = [9; 32];

/// Of `doveadm pw -s SCRAM-SHA-256 -p secret`.
const KEYS: &str = "{SCRAM-SHA-256}4096,RYbLseT/8RCCOcCClX/ptg==,s4LmKvpwzMwlffAZZO+sACsWtM5cgxtOLq2qdO/y8iE=,PJntRmSR/cE5Xc2KK5davJN13tK9cod/WPAflm2gZxw=";

fn file(lines: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    file
}

fn begin(path: &Path, name: &str, hash: ScramHash, key: &[u8; 32]) -> (String, Box<ScramExchange>) {
    let user = UserName::try_from(name.to_owned()).unwrap();
    let shown = Credentials::Scram {
        hash,
        user: user.clone(),
        first_bare: Text::truncated(&format!("n={name},r=abc")),
        nonce: Text::truncated("abc"),
    };
    let peer = std::net::Ipv4Addr::LOCALHOST.into();
    match check(path, Claim { user, peer }, &shown, key) {
        Verdict::Challenge(first, exchange) => (first, exchange),
        other => panic!("{other:?}"),
    }
}

/// The proof of a client that knows `password`, and the server's signature that it expects.
fn client(name: &str, first: &str, hash: ScramHash, password: &str) -> (ScramProof, Vec<u8>) {
    use base64ct::{Base64, Encoding};
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::digest::Digest;
    let field = |letter: &str| {
        first
            .split(',')
            .find_map(|field| field.strip_prefix(letter))
            .unwrap()
    };
    assert!(field("r=").starts_with("abc") && field("r=").len() > 20);
    let (salt, rounds) = (
        Base64::decode_vec(field("s=")).unwrap(),
        field("i=").parse().unwrap(),
    );
    let without_proof = format!("c=biws,r={}", field("r="));
    let message = format!("n={name},r=abc,{first},{without_proof}");
    macro_rules! with {
        ($hash:ty, $length:literal) => {{
            let mac = |key: &[u8], text: &[u8]| {
                let mac = Hmac::<$hash>::new_from_slice(key).unwrap();
                mac.chain_update(text).finalize().into_bytes().to_vec()
            };
            let mut salted = [0; $length];
            pbkdf2::pbkdf2_hmac::<$hash>(password.as_bytes(), &salt, rounds, &mut salted);
            let key = mac(&salted, b"Client Key");
            let signature = mac(&<$hash>::digest(&key), message.as_bytes());
            let proof: Vec<u8> = key
                .iter()
                .zip(&signature)
                .map(|(key, signature)| key ^ signature)
                .collect();
            let server = mac(&mac(&salted, b"Server Key"), message.as_bytes());
            (proof, server)
        }};
    }
    let (proof, server) = match hash {
        ScramHash::Sha1 => with!(sha1::Sha1, 20),
        ScramHash::Sha256 => with!(sha2::Sha256, 32),
    };
    let proof = ScramProof {
        without_proof: Text::truncated(&without_proof),
        proof: Bytes::try_from(proof).unwrap(),
    };
    (proof, server)
}

fn log_in(path: &Path, name: &str, hash: ScramHash, password: &str) -> Result<u32, String> {
    let (first, exchange) = begin(path, name, hash, &KEY);
    let (proof, server) = client(name, &first, hash, password);
    match Verdict::from(exchange.prove(&proof)) {
        Verdict::Proved(signature, account) => {
            assert_eq!(signature, server);
            Ok(account.uid)
        }
        Verdict::Refused(why) | Verdict::Unusable(why) => Err(why),
        other => panic!("{other:?}"),
    }
}

fn lines() -> String {
    format!(
        "bob:$6$a$b:7:7\nalice:{KEYS}:1:1\ncarol:{{PLAIN}}secret:2:2\ndave:{{PLAIN}}:3:3\neve:{KEYS}:4:4::::nologin\nfrank:{KEYS}:root:1\n"
    )
}

#[test]
fn scram_admits_users_with_keys_or_a_password_and_nobody_else() {
    let file = file(&lines());
    let (one, other) = (ScramHash::Sha256, ScramHash::Sha1);
    assert_eq!(log_in(file.path(), "alice", one, "secret"), Ok(1));
    assert_eq!(log_in(file.path(), "carol", one, "secret"), Ok(2));
    assert_eq!(log_in(file.path(), "carol", other, "secret"), Ok(2));
    for (name, hash, password, why) in [
        ("alice", one, "secreT", "wrong password"),
        ("carol", one, "secreT", "wrong password"),
        ("alice", other, "secret", "no such user, or no secret"),
        ("bob", one, "secret", "no such user, or no secret"),
        ("dave", one, "", "no such user, or no secret"),
        ("nobody", one, "secret", "no such user, or no secret"),
        ("eve", one, "secret", "nologin"),
        ("frank", one, "secret", "/"),
    ] {
        let told = log_in(file.path(), name, hash, password).unwrap_err();
        assert!(told.starts_with(why), "{name}: {told}");
    }
}

/// The server's first message without its nonce.
fn parameters(path: &Path, name: &str, key: &[u8; 32]) -> String {
    let (first, _) = begin(path, name, ScramHash::Sha256, key);
    first.split_once(',').unwrap().1.to_owned()
}

#[test]
fn p9_a_missing_user_gets_a_challenge_like_an_existing_one() {
    let own = file(&lines());
    let path = own.path();
    assert_eq!(
        parameters(path, "alice", &KEY),
        "s=RYbLseT/8RCCOcCClX/ptg==,i=4096"
    );
    let made_up: Vec<String> = ["bob", "carol", "dave", "nobody", "frank"]
        .map(|name| parameters(path, name, &KEY))
        .to_vec();
    for (place, one) in made_up.iter().enumerate() {
        assert_eq!(one.len(), parameters(path, "alice", &KEY).len());
        assert!(one.ends_with(",i=4096"));
        assert!(!made_up[place + 1..].contains(one), "each name has its own");
    }
    assert_eq!(parameters(path, "nobody", &KEY), made_up[3], "and keeps it");
    assert_ne!(parameters(path, "nobody", &[8; 32]), made_up[3]);
    // A made-up challenge has the parameters of the file's users.
    let others = file(
        "a:{SCRAM-SHA-256}9999,AAAAAAAA,s4LmKvpwzMwlffAZZO+sACsWtM5cgxtOLq2qdO/y8iE=,PJntRmSR/cE5Xc2KK5davJN13tK9cod/WPAflm2gZxw=:1:1\n",
    );
    let one = parameters(others.path(), "nobody", &KEY);
    assert!(
        one.ends_with(",i=9999") && one.len() == "s=AAAAAAAA,i=9999".len(),
        "{one}"
    );
}

/// Two users' keys differ in what a challenge shows of them. Each name without keys looks like one
/// of these users, and always like the same one.
#[test]
fn p9_a_missing_user_s_challenge_is_like_that_of_some_user() {
    let other = KEYS.replace("4096,RYbLseT/8RCCOcCClX/ptg==", "9999,AAAAAAAA");
    let crypt = "carol:$6$a$b:3:3";
    let file = file(&format!("alice:{KEYS}:1:1\nbob:{other}:2:2\n{crypt}\n"));
    let shown = |name: &str| {
        let shown = parameters(file.path(), name, &KEY);
        let (salt, iterations) = shown.split_once(",i=").unwrap();
        (salt.len(), iterations.to_owned())
    };
    let users = [shown("alice"), shown("bob")];
    assert_ne!(users[0], users[1]);
    let names: Vec<String> = (0..64).map(|number| format!("nobody{number}")).collect();
    let seen: Vec<_> = names.iter().map(|name| shown(name)).collect();
    for user in &users {
        // Each user stands in for half of the names. Less than 8 of 64 occur once in 10^10 times.
        let count = seen.iter().filter(|seen| *seen == user).count();
        assert!((8..=56).contains(&count), "{user:?}: {count} of 64");
    }
    assert!(seen.iter().all(|seen| users.contains(seen)));
    let again: Vec<_> = names.iter().map(|name| shown(name)).collect();
    assert_eq!(seen, again);
    assert!(users.contains(&shown("carol")));
}

/// A missing user for whom the first of these stands in costs as much as that user, by each
/// mechanism: the challenge shows that user's parameters, and a password is checked by that user's
/// hash.
#[test]
fn p9_one_user_stands_in_for_a_name_by_every_mechanism() {
    let other = KEYS.replace("4096,RYbLseT/8RCCOcCClX/ptg==", "9999,AAAAAAAA");
    let file = file(&format!("alice:{KEYS}:1:1\nbob:{other}:2:2\n"));
    for number in 0..32 {
        let user = UserName::try_from(format!("nobody{number}")).unwrap();
        let hash = Some(ScramHash::Sha256);
        let found = find(file.path(), &user, hash, &KEY).unwrap();
        assert_eq!(found.scram.as_ref(), found.stand_ins.first(), "{user}");
        let found = find(file.path(), &user, None, &KEY).unwrap();
        assert!(found.scram.is_none() && found.stand_ins.len() == 2);
    }
}

#[test]
fn p9_with_a_stand_in_line_made_up_salts_survive_a_restart_of_auth() {
    let other = KEYS.replace("4096,RYbLseT/8RCCOcCClX/ptg==", "9999,AAAAAAAA");
    // One file has the line at its end, and one at its start.
    let own = file(&format!("{}x:{other}:5:5\n.stand-in:{KEYS}\n", lines()));
    let first = file(&format!(".stand-in:{KEYS}\n{}x:{other}:5:5\n", lines()));
    for number in 0..16 {
        let name = format!("nobody{number}");
        let one = parameters(own.path(), &name, &[1; 32]);
        assert_eq!(parameters(own.path(), &name, &[2; 32]), one);
        assert_eq!(parameters(first.path(), &name, &[3; 32]), one);
    }
    let one = parameters(own.path(), "nobody", &[1; 32]);
    assert_eq!(parameters(own.path(), "nobody", &[2; 32]), one);
    assert_ne!(one, parameters(own.path(), "nobodx", &[1; 32]));
    assert_ne!(one, parameters(own.path(), "alice", &[1; 32]));
    assert!(log_in(own.path(), "nobody", ScramHash::Sha256, "secret").is_err());
}

/// The time of a refused login, in seconds.
fn refusal(path: &Path, name: &str, secret: &[u8]) -> f64 {
    let user = UserName::try_from(name.to_owned()).unwrap();
    let shown = Credentials::Password {
        user: user.clone(),
        secret: popward_proto::secret::Secret::try_from(secret.to_vec()).unwrap(),
    };
    let peer = std::net::Ipv4Addr::LOCALHOST.into();
    let start = std::time::Instant::now();
    let verdict = check(path, Claim { user, peer }, &shown, &KEY);
    let refused = matches!(verdict, Verdict::Refused(_) | Verdict::Unusable(_));
    assert!(refused, "{verdict:?}");
    start.elapsed().as_secs_f64()
}

/// The test compares the shortest times, because other programs disturb these least. While they
/// differ, it measures more logins. A hash that is not computed makes a difference that stays.
#[test]
fn p9_a_refusal_takes_the_same_time_for_missing_locked_and_existing_users() {
    let hash = "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.";
    let file = file(&format!(
        "alice:{hash}:1:1\nbob:!:2:2\ncarol:{hash}:3:3::::nologin\n\
         dave:{hash}:root:1\nerin:{{ROT13}}x:1:1\nfrank:$99$salt$x:1:1\ngrace:{hash}:1:1::::user=alice\n"
    ));
    let others = ["nobody", "bob", "carol", "dave", "erin", "frank", "grace"];
    let mut shortest = [f64::INFINITY; 8];
    for round in 1.. {
        let user = refusal(file.path(), "alice", b"wrong");
        shortest[0] = shortest[0].min(user);
        for (shortest, name) in shortest[1..].iter_mut().zip(others) {
            *shortest = shortest.min(refusal(file.path(), name, b"secret"));
        }
        let alike = |other| (0.7..1.4).contains(&(other / shortest[0]));
        if round >= 15 && shortest.iter().copied().all(alike) {
            break;
        }
        assert!(round < 500, "a user and {others:?}: {shortest:?} s");
    }
}
