//! Tests of XCLIENT: which peers may send it, when, and what it changes.

use super::*;

/// Runs a proxy's script and returns all replies. There is no TLS, so the client's address decides
/// whether a password is permitted.
fn proxied(trusted: bool, script: &str) -> String {
    let mut client = Client::with(Pop3::new(POLICY, offer(false), identity(), trusted));
    client.say(script.as_bytes());
    client.text().replace("\r\n", "|")
}

#[test]
fn a_trusted_proxy_may_pipeline_xclient_and_the_login() {
    let heard = proxied(
        true,
        "XCLIENT ADDR=192.0.2.7 PORT=9 TTL=5 FORWARD=YQ==\r\nUSER u\r\nPASS p\r\n",
    );
    let expected =
        "+OK [XCLIENT] popward ready|+OK client noted|+OK password?|+OK 2 messages, 20 octets|";
    assert_eq!(heard, expected);
    // The client's address decides whether a password is permitted, not the proxy's.
    let heard = proxied(true, "xclient ADDR=192.0.2.8 PORT=9\nUSER u\n");
    let refused = "+OK client noted|-ERR [AUTH] a password is taken over TLS only|";
    assert!(heard.ends_with(refused), "{heard}");
}

#[test]
fn xclient_is_accepted_once_before_login_from_trusted_proxies_only() {
    let named = "XCLIENT ADDR=192.0.2.7 PORT=9\r\n";
    let unknown = "-ERR unknown command|";
    let heard = proxied(false, named);
    assert_eq!(heard, format!("+OK popward ready|{unknown}"));
    assert!(proxied(true, &named.repeat(2)).ends_with(unknown));
    let after = proxied(true, &format!("{named}USER u\r\nPASS p\r\n{named}"));
    assert!(after.ends_with(unknown), "{after}");
    for bad in ["XCLIENT\r\n", "XCLIENT ADDR=192.0.2.7 PORT=x\r\n"] {
        assert!(proxied(true, bad).ends_with("-ERR bad arguments|"));
    }
    // A USER that came before XCLIENT is forgotten.
    let heard = proxied(true, &format!("{named}USER u\r\n"));
    assert!(heard.ends_with("+OK password?|"));
    let mut client = Client::with(Pop3::new(POLICY, offer(true), identity(), true));
    client.say(format!("USER u\r\n{named}PASS p\r\n").as_bytes());
    assert!(client.text().ends_with("-ERR USER first\r\n"));
}
