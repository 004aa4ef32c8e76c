//! The examples of the RFCs, and tokens with exactly one error.

use super::*;
use popward_proto::bounded::{List, Text};
use proptest::prelude::*;
use serde_json::json;

#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
#[cfg(not(feature = "aws-lc-rs"))]
use ring::signature::{Ed25519KeyPair, KeyPair};

fn verified(key: &Value, token: &str) -> Option<&'static str> {
    let keys = keys::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = Base64UrlUnpadded::decode_vec(signature).unwrap();
    keys[0].verify(signed.as_bytes(), &signature)
}

/// RFC 7515, appendices A.2 and A.3; RFC 8037, appendix A.4.
#[test]
fn signatures_as_in_rfc_7515_and_rfc_8037() {
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rsa = json!({
        "kty": "RSA",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        "e": "AQAB",
    });
    let curve = json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let edwards = json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    });
    let tokens = [
        (&rsa, "RS256", format!("eyJhbGciOiJSUzI1NiJ9.{claims}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw")),
        (&curve, "ES256", format!("eyJhbGciOiJFUzI1NiJ9.{claims}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")),
        (&edwards, "EdDSA", "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg".to_owned()),
    ];
    for (key, algorithm, token) in &tokens {
        assert_eq!(verified(key, token), Some(*algorithm));
        assert_eq!(
            verified(key, &token.replacen("eyJ", "eyI", 1)),
            None,
            "{algorithm}"
        );
        let others = tokens.iter().filter(|(_, other, _)| other != algorithm);
        for (_, other, token) in others {
            assert_eq!(verified(key, token), None, "{algorithm} {other}");
        }
    }
    // A key with a purpose is used for no other purpose.
    let other = [("alg", json!("PS256")), ("use", json!("enc"))];
    for (member, value) in other {
        let mut key = rsa.clone();
        key[member] = value;
        let key = json!({ "keys": [key, curve] }).to_string();
        let keys = keys::parse(key.as_bytes()).unwrap();
        let token = &tokens[0].2;
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = Base64UrlUnpadded::decode_vec(signature).unwrap();
        assert!(
            keys.iter()
                .all(|key| key.verify(signed.as_bytes(), &signature).is_none()),
            "{member}"
        );
    }
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn keys() -> String {
    let x = Base64UrlUnpadded::encode_string(pair().public_key().as_ref());
    json!({ "keys": [
        { "kty": "oct", "k": "c2VjcmV0" },
        { "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "ours" },
    ] })
    .to_string()
}

fn signed(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = Base64UrlUnpadded::encode_string(pair().sign(signed.as_bytes()).as_ref());
    format!("{signed}.{signature}")
}

fn rules() -> TokenRules {
    let scopes = vec![Text::truncated("mail"), Text::truncated("pop")];
    TokenRules {
        issuer: Text::truncated("https://id.example.org"),
        audience: Text::truncated("popward"),
        user_claim: Text::truncated("email"),
        scopes: List::try_from(scopes).unwrap(),
    }
}

const NOW: f64 = 1_000_000.0;

fn told(token: &str) -> String {
    let keys = keys::parse(keys().as_bytes()).unwrap();
    match user(&keys, token.as_bytes(), &rules(), NOW) {
        Ok(user) => user.to_string(),
        Err(why) => why.to_owned(),
    }
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "typ": "at+JWT", "kid": "ours" })
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example.org", "aud": ["other", "popward"], "exp": 1_000_100, "nbf": 999_900.5,
        "email": "alice@example.org", "scope": "openid pop mail",
    })
}

#[test]
fn a_right_token_names_its_user_and_each_error_has_its_reason() {
    assert_eq!(told(&signed(&header(), &claims())), "alice@example.org");
    let change = |member: &str, value: Value| {
        let mut claims = claims();
        claims[member] = value;
        told(&signed(&header(), &claims))
    };
    for (member, value, answer) in [
        ("exp", json!(999_970), "its time is over"),
        ("exp", json!(999_971), "alice@example.org"),
        ("exp", json!("1000100"), "a time that is none"),
        ("exp", json!(1e300), "alice@example.org"),
        ("nbf", json!(1_000_031), "its time has not come"),
        ("nbf", json!(null), "a time that is none"),
        ("iss", json!("https://id.example.org/"), "of another issuer"),
        (
            "iss",
            json!(["https://id.example.org"]),
            "of another issuer",
        ),
        ("aud", json!("popward"), "alice@example.org"),
        ("aud", json!("popward2"), "for another audience"),
        ("aud", json!([]), "for another audience"),
        ("aud", json!({ "popward": 1 }), "for another audience"),
        (
            "scope",
            json!("openid mail"),
            "without a scope that it must have",
        ),
        ("scope", json!(["mail", "pop"]), "alice@example.org"),
        (
            "scope",
            json!("mailpop"),
            "without a scope that it must have",
        ),
        ("email", json!(7), "without a user"),
        (
            "email",
            json!("../alice"),
            "without a user that could be one",
        ),
        ("email", json!(""), "without a user that could be one"),
    ] {
        assert_eq!(change(member, value.clone()), answer, "{member} {value}");
    }
    for (member, answer) in [
        ("exp", "without an end"),
        ("iss", "of another issuer"),
        ("aud", "for another audience"),
    ] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(member);
        assert_eq!(told(&signed(&header(), &claims)), answer);
    }
}

#[test]
fn the_key_decides_the_algorithm_not_the_token() {
    for (change, answer) in [
        (
            json!({ "alg": "none" }),
            "names another algorithm than that of its key",
        ),
        (
            json!({ "alg": "HS256" }),
            "names another algorithm than that of its key",
        ),
        (json!({}), "names another algorithm than that of its key"),
        (
            json!({ "alg": "EdDSA", "crit": ["b64"], "b64": false }),
            "has extensions that must be understood",
        ),
        (
            json!({ "alg": "EdDSA", "typ": "logout+jwt" }),
            "of another type",
        ),
        (json!({ "alg": "EdDSA", "typ": 7 }), "of another type"),
        (json!({ "alg": "EdDSA" }), "alice@example.org"),
        (
            json!({ "alg": "EdDSA", "typ": "application/at+jwt" }),
            "alice@example.org",
        ),
    ] {
        assert_eq!(told(&signed(&change, &claims())), answer, "{change}");
    }
}

#[test]
fn a_token_that_the_issuer_has_not_signed_is_not_parsed() {
    let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let whole = format!("{}.{}", part(&json!({ "alg": "none" })), part(&claims()));
    assert_eq!(told(&format!("{whole}.")), "signed by none of the keys");
    for token in ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.!", "é.é.é"] {
        let answer = told(token);
        assert!(
            ["not signed JSON", "signed by none of the keys"].contains(&answer.as_str()),
            "{token}: {answer}"
        );
    }
    let nested = "[".repeat(100_000);
    assert_eq!(
        told(&format!(
            "e30.{}.AAAA",
            Base64UrlUnpadded::encode_string(nested.as_bytes())
        )),
        "signed by none of the keys"
    );
}

#[test]
fn the_error_for_a_wrong_key_file_says_what_was_expected() {
    let told = |text: &str| keys::parse(text.as_bytes()).map(drop).unwrap_err();
    assert_eq!(told("{}"), "expected a JSON Web Key Set");
    assert_eq!(
        told("-----BEGIN PUBLIC KEY-----"),
        "expected a JSON Web Key Set"
    );
    assert!(told(r#"{"keys":[{"kty":"oct","k":"AA"}]}"#).starts_with("expected a key of kty RSA"));
    assert!(
        told(r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}"#)
            .starts_with("expected a key")
    );
    let many = vec![r#"{"kty":"oct"}"#; 33].join(",");
    assert_eq!(
        told(&format!(r#"{{"keys":[{many}]}}"#)),
        "expected at most 32 keys"
    );
}

proptest! {
    #[test]
    fn a_token_with_one_byte_changed_is_refused(place in 0usize..400, to in "[A-Za-z0-9_-]") {
        let token = signed(&header(), &claims());
        let place = place % token.len();
        let (to, from) = (to.as_bytes()[0], token.as_bytes()[place]);
        // The last character of each part has unused bits. They must be zero.
        prop_assume!(to != from && from != b'.');
        let mut other = token.clone().into_bytes();
        other[place] = to;
        let answer = told(std::str::from_utf8(&other).unwrap());
        prop_assert!(answer != "alice@example.org", "{}", answer);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(token in prop::collection::vec(any::<u8>(), 0..200)) {
        let keys = keys::parse(keys().as_bytes()).unwrap();
        prop_assert!(user(&keys, &token, &rules(), NOW).is_err());
    }
}
