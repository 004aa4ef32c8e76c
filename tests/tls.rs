//! TLS with keys that another process holds: each kind of key, both versions, and what is no handshake.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Client, Host, assert_ok, spool, user};
use std::io::Write;
use std::process::{Command, Stdio};

/// What `openssl s_client` with `options` hears of a session, and what it says of the connection.
fn session(host: &Host, options: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-ign_eof",
            "-crlf",
            "-verify_return_error",
            "-CAfile",
        ])
        .arg(host.at("cert.pem"))
        .args(["-connect", &format!("localhost:{}", host.tls)])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let script = b"USER alice\nPASS alice\nSTAT\nQUIT\n";
    child.stdin.take().unwrap().write_all(script).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn p1_every_kind_of_key_signs_in_both_versions() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let kinds: [&[&str]; 4] = [
        host::P256,
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["rsa:2048"],
        &["ed25519"],
    ];
    let mut reloads = 0;
    for kind in kinds {
        host::certificate(&host.at(""), kind);
        host.signal(nix::sys::signal::Signal::SIGHUP);
        reloads += 1;
        host.logged_times("configuration reloaded", reloads);
        for version in ["-tls1_3", "-tls1_2"] {
            let mut heard = String::new();
            // Certificates follow the reload's log line, once keys has loaded the new key.
            host::until("the new certificate", || {
                heard = session(&host, &[version]);
                heard.contains("Verify return code: 0") || heard.contains("Verification: OK")
            });
            assert!(
                heard.contains("+OK popward signing off"),
                "{kind:?} {version}: {heard}"
            );
        }
    }
    assert!(host.log().contains("tls=TLSv1_2/") && host.log().contains("tls=TLSv1_3/"));
    let old = session(&host, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(!old.contains("+OK"), "TLS 1.1: {old}");
}

#[test]
fn what_is_no_handshake_ends_its_connection_and_no_other() {
    let host = Host::start(&[
        user("alice", 64401, &spool(1)),
        user("bob", 64402, &spool(1)),
    ]);
    let mut bob = host.login("bob");
    for noise in [
        &b"USER alice\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01",
        &vec![0xff; 70_000],
        b"",
    ] {
        let client = Client::new(host.tls);
        let _ = client.stream().write_all(noise);
        // The server may have ended it already.
        let _ = client.stream().shutdown(std::net::Shutdown::Write);
        let mut client = client;
        assert!(!client.until_end().contains("+OK"));
    }
    // One that stands still in the middle keeps nobody waiting.
    let mut still = Client::new(host.tls);
    still.send(b"\x16\x03\x01\x02\x00");
    assert!(session(&host, &[]).contains("+OK popward signing off"));
    assert_ok(&bob.ask("QUIT"));
}
