//! Finds the user of a bearer token that is signed JSON (RFC 7519, in the form of RFC 7515).
//!
//! The signature is verified before anything in the token is parsed. Each key of the file is tried,
//! with the algorithms that this key is for. The token cannot choose an algorithm. So all JSON that
//! is parsed was written by the issuer.

mod keys;

use crate::proof::Proof;
use base64ct::{Base64UrlUnpadded, Encoding};
use popward_proto::bounded::UserName;
use popward_proto::monitor_auth::TokenRules;
use serde_json::{Map, Value};
use std::time::{SystemTime, UNIX_EPOCH};

/// How much the issuer's clock may differ from this host's, in seconds.
const LEEWAY: f64 = 30.0;

/// Checks `token` now, against the key set `keys` (JSON).
pub(crate) fn check(keys: &[u8], token: &[u8], rules: &TokenRules) -> Proof {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    match keys::parse(keys) {
        Err(why) => Proof::Failed(format!("auth.oauth2.keys: {why}")),
        Ok(keys) => match user(&keys, token, rules, now.as_secs_f64()) {
            Ok(user) => Proof::Identified(user),
            Err(why) => Proof::Refused(format!("token: {why}")),
        },
    }
}

/// The user of a token, at a time in seconds since 1970.
fn user(
    keys: &[keys::Key],
    token: &[u8],
    rules: &TokenRules,
    now: f64,
) -> Result<UserName, &'static str> {
    let text = std::str::from_utf8(token).map_err(|_| "not signed JSON")?;
    let (signed, signature) = text.rsplit_once('.').ok_or("not signed JSON")?;
    let (header, claims) = signed.split_once('.').ok_or("not signed JSON")?;
    let decode = |part: &str| Base64UrlUnpadded::decode_vec(part).map_err(|_| "not signed JSON");
    let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
    let algorithm = keys
        .iter()
        .find_map(|key| key.verify(signed.as_bytes(), &signature))
        .ok_or("signed by none of the keys")?;
    // From here on, the text is known to come from the issuer.
    let object = |bytes: &[u8]| {
        serde_json::from_slice::<Map<String, Value>>(bytes).map_err(|_| "no JSON object")
    };
    check_header(&object(&header)?, algorithm)?;
    check_claims(&object(&claims)?, rules, now)
}

fn check_header(header: &Map<String, Value>, algorithm: &str) -> Result<(), &'static str> {
    if header.get("alg").and_then(Value::as_str) != Some(algorithm) {
        return Err("names another algorithm than that of its key");
    }
    if header.contains_key("crit") {
        return Err("has extensions that must be understood");
    }
    // A token of another type, such as a logout token, is not for logins (RFC 9068, section 2.1).
    match header
        .get("typ")
        .map(|kind| kind.as_str().unwrap_or_default())
    {
        None => Ok(()),
        Some(kind) => {
            let kind = kind.to_ascii_lowercase();
            let kind = kind.strip_prefix("application/").unwrap_or(&kind);
            ["jwt", "at+jwt"]
                .contains(&kind)
                .then_some(())
                .ok_or("of another type")
        }
    }
}

fn check_claims(
    claims: &Map<String, Value>,
    rules: &TokenRules,
    now: f64,
) -> Result<UserName, &'static str> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or("a time that is none"),
    };
    if time("exp")?.ok_or("without an end")? + LEEWAY <= now {
        return Err("its time is over");
    }
    if time("nbf")?.is_some_and(|start| start - LEEWAY > now) {
        return Err("its time has not come");
    }
    if text("iss") != Some(rules.issuer.as_str()) {
        return Err("of another issuer");
    }
    let has = |value: &Value, wanted: &str| match value {
        Value::String(one) => one == wanted,
        Value::Array(all) => all.iter().any(|one| one == wanted),
        _ => false,
    };
    if !claims
        .get("aud")
        .is_some_and(|value| has(value, rules.audience.as_str()))
    {
        return Err("for another audience");
    }
    // `scope` is one text (RFC 9068, section 2.2.3). Some issuers use `scp`, a text or a list.
    let scopes = claims.get("scope").or_else(|| claims.get("scp"));
    let scoped = |wanted: &str| match scopes {
        Some(Value::String(all)) => all.split(' ').any(|one| one == wanted),
        Some(other) => has(other, wanted),
        None => false,
    };
    if !rules
        .scopes
        .as_slice()
        .iter()
        .all(|scope| scoped(scope.as_str()))
    {
        return Err("without a scope that it must have");
    }
    let user = text(rules.user_claim.as_str()).ok_or("without a user")?;
    UserName::try_from(user.to_owned()).map_err(|_| "without a user that could be one")
}

#[cfg(test)]
mod tests;
