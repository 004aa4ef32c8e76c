//! The examples of the RFCs, and secrets from other tools.

use super::*;
use base64ct::{Base64, Encoding};
use proptest::prelude::*;

fn plain(password: &str) -> Stored {
    Stored::Plain(Zeroizing::new(password.as_bytes().to_vec()))
}

fn digest(hex: &str) -> [u8; 16] {
    super::digest::hex(hex).unwrap().try_into().unwrap()
}

#[test]
fn apop_as_in_rfc_1939() {
    let timestamp = "<1896.697170952@dbc.mtview.ca.us>";
    let right = digest("c4c9334bac560ecc979e58001b3e22fb");
    assert_eq!(plain("tanstaaf").verify_apop(timestamp, &right), Some(true));
    assert_eq!(plain("tanstaa").verify_apop(timestamp, &right), Some(false));
    let other = "<1896.697170953@dbc.mtview.ca.us>";
    assert_eq!(plain("tanstaaf").verify_apop(other, &right), Some(false));
    assert_eq!(Stored::nobody().verify_apop(timestamp, &right), None);
}

#[test]
fn cram_md5_as_in_rfc_2195() {
    let challenge = "<1896.697170952@postoffice.reston.mci.net>";
    let right = digest("b913a602c7eda7a495b4e6e7334d3890");
    let stored = HmacContexts::of(b"tanstaaftanstaaf").to_text();
    for stored in [
        plain("tanstaaftanstaaf"),
        Stored::parse(format!("{{CRAM-MD5}}{stored}").as_bytes()).unwrap(),
    ] {
        assert_eq!(stored.verify_cram(challenge, &right), Some(true));
        assert_eq!(stored.verify_cram("<1@x>", &right), Some(false));
        assert_eq!(stored.verify(b"tanstaaftanstaaf"), Some(true));
        assert_eq!(stored.verify(b"tanstaaf"), Some(false));
    }
    assert_eq!(
        plain("tanstaaf").verify_cram(challenge, &right),
        Some(false)
    );
    assert_eq!(Stored::nobody().verify_cram(challenge, &right), None);
}

/// RFC 5802, section 5, and RFC 7677, section 3: user `user`, password `pencil`.
const EXCHANGES: [(ScramHash, [&str; 5]); 2] = [
    (
        ScramHash::Sha1,
        [
            "n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ],
    ),
    (
        ScramHash::Sha256,
        [
            "n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ],
    ),
];

#[test]
fn scram_as_in_rfc_5802_and_rfc_7677() {
    for (hash, [first_bare, server_first, without_proof, proof, signature]) in EXCHANGES {
        let salt = server_first
            .split(",s=")
            .nth(1)
            .unwrap()
            .split(',')
            .next()
            .unwrap();
        let parameters = scram::Parameters {
            iterations: 4096,
            salt: Base64::decode_vec(salt).unwrap(),
        };
        let (nonce, server) = server_first[2..]
            .split(',')
            .next()
            .unwrap()
            .split_at(first_bare.len() - 9);
        assert_eq!(scram::first(nonce, server, &parameters), server_first);
        let keys = scram::Keys::derive(hash, b"pencil", parameters);
        let message = [first_bare, ",", server_first, ",", without_proof].map(str::as_bytes);
        let proof = Base64::decode_vec(proof).unwrap();
        let own = keys.prove(hash, &message, &proof);
        assert_eq!(own, Some(Base64::decode_vec(signature).unwrap()));
        for place in 0..proof.len() {
            let mut wrong = proof.clone();
            wrong[place] ^= 1;
            assert_eq!(keys.prove(hash, &message, &wrong), None, "byte {place}");
        }
        assert_eq!(keys.prove(hash, &message, &proof[1..]), None);
        let longer = [&proof[..], &[0]].concat();
        assert_eq!(keys.prove(hash, &message, &longer), None);
        assert_eq!(keys.prove(hash, &message, &[]), None);
        assert_eq!(keys.prove(hash, &message[1..], &proof), None);
        let stored = scram::Keys::parse(hash, &keys.to_text()).unwrap();
        assert_eq!(stored, keys);
        assert!(keys.verify(hash, b"pencil") && !keys.verify(hash, b"pencil "));
    }
}

#[test]
fn a_proof_of_zeroes_does_not_match_the_keys_of_a_missing_user() {
    let parameters = scram::Parameters {
        iterations: 1,
        salt: vec![1],
    };
    for hash in [ScramHash::Sha1, ScramHash::Sha256] {
        let keys = scram::Keys::nobody(hash, parameters.clone());
        assert_eq!(keys.prove(hash, &[b"x"], &[0; 32]), None);
        assert_eq!(keys.prove(hash, &[b"x"], &[0; 20]), None);
    }
}

/// RFC 4013, section 3.
#[test]
fn two_spellings_of_one_password_are_the_same() {
    for (typed, form) in [
        ("I\u{ad}X", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u{aa}", "a"),
        ("\u{2168}", "IX"),
        // A password that SASLprep forbids stays as it is.
        ("\u{7}", "\u{7}"),
        ("\u{627}1", "\u{627}1"),
    ] {
        assert_eq!(
            *scram::prepared(typed.as_bytes()),
            form.as_bytes(),
            "{typed:?}"
        );
    }
    assert_eq!(*scram::prepared(&[0xff]), [0xff], "not UTF-8");
}

#[test]
fn a_made_up_salt_depends_on_the_name_and_on_the_key() {
    let salt = |key: u8, hash, name| scram::made_up(&[key; 32], hash, name, 16);
    let one = salt(1, ScramHash::Sha256, "alice");
    assert_eq!(one.len(), 16);
    assert_eq!(one, salt(1, ScramHash::Sha256, "alice"));
    assert_ne!(one, salt(1, ScramHash::Sha256, "alicf"));
    assert_ne!(one, salt(1, ScramHash::Sha1, "alice"));
    assert_ne!(one, salt(2, ScramHash::Sha256, "alice"));
    assert_eq!(scram::made_up(&[1; 32], ScramHash::Sha1, "a", 64).len(), 64);
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused_and_an_empty_secret_never_matches(text in "\\PC{0,80}", scheme in "[A-Z0-9.-]{0,14}") {
        for password in [text.clone(), format!("{{{scheme}}}{text}")] {
            if let Ok(stored) = Stored::parse(password.as_bytes()) {
                let _ = stored.is_usable();
            }
        }
    }

    #[test]
    fn cram_md5_with_stored_states_equals_cram_md5_with_the_password(
        password in "[a-z]{1,100}", challenge in "[a-z<>@.]{0,200}",
    ) {
        use hmac::{Hmac, KeyInit, Mac};
        let mac = Hmac::<md5::Md5>::new_from_slice(password.as_bytes()).unwrap();
        let digest: [u8; 16] = mac.chain_update(&challenge).finalize().into_bytes().into();
        prop_assert!(HmacContexts::of(password.as_bytes()).verify(challenge.as_bytes(), &digest));
    }
}

#[test]
fn a_plain_password_may_be_in_any_encoding() {
    let latin_1 = b"gr\xfc\xdfe";
    for stored in [&b"{PLAIN}gr\xfc\xdfe"[..], b"{plain.b64}Z3L832U="] {
        let stored = Stored::parse(stored).unwrap();
        assert_eq!(stored.verify(latin_1), Some(true), "{stored:?}");
        assert_eq!(stored.verify("grüße".as_bytes()), Some(false));
    }
    assert!(Stored::parse(b"{SSHA}\xff").is_err());
}
