//! Proxies that a test makes up: which proxy is believed, about what, and what limits and log make
//! of it. Connections come from 127.0.0.2, a proxy with PROXY headers; from 127.0.0.3, a proxy with
//! XCLIENT; and from 127.0.0.1, an ordinary client.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Client, Host, assert_err, assert_ok, spool, until, user};
use std::io::{Read, Write};
use std::sync::Arc;

const PROXY: &str = "127.0.0.2";
const DOVECOT: &str = "127.0.0.3";

/// A host with these networks and `more` keys of `[proxy]`, and `limits`.
fn host(proxy: &str, limits: &str) -> Host {
    host_with(proxy, limits, &[])
}

fn host_with(proxy: &str, limits: &str, changes: &[(&str, &str)]) -> Host {
    let users = [user("alice", 64401, &spool(3))];
    let more = format!(
        "[proxy]\nnetworks = [\"{PROXY}\"]\nxclient = [\"{DOVECOT}\"]\n{proxy}\n[limits]\n{limits}\n"
    );
    Host::with(&users, &more, changes)
}

/// Permits passwords without TLS between the proxies and the host.
const PLAINTEXT: &str = "plaintext = [\"127.0.0.2/31\"]";

/// The proxy's connection to the plain port. It has sent `bytes`.
fn proxied(host: &Host, bytes: &[u8]) -> Client {
    let mut client = Client::from(PROXY, host.plain);
    client.send(bytes);
    client
}

/// A connection for the client `address`, by version 1.
fn of(host: &Host, address: &str) -> Client {
    let header = format!("PROXY TCP4 {address} 192.0.2.250 4660 110\r\n");
    proxied(host, header.as_bytes())
}

/// A header of version 2 for the client 192.0.2.7, with `vectors`.
fn version_2(vectors: &[u8]) -> Vec<u8> {
    let addresses = [192, 0, 2, 7, 192, 0, 2, 250, 0x12, 0x34, 0, 110];
    let length = u8::try_from(addresses.len() + vectors.len()).unwrap();
    let fixed = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, 0x11, 0, length]].concat();
    [&fixed, addresses.as_slice(), vectors].concat()
}

/// LOCAL of version 2, as haproxy's checks send it.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn log_in(client: &mut Client) {
    assert_ok(&client.ask("USER alice"));
    assert_ok(&client.ask("PASS alice"));
    assert_ok(&client.ask("QUIT"));
}

#[test]
fn the_log_has_the_clients_address_by_both_versions() {
    let host = host(PLAINTEXT, "");
    for (times, header) in [
        &b"PROXY TCP4 192.0.2.7 192.0.2.250 4660 110\r\n"[..],
        &version_2(&[4, 0, 3, 1, 2, 3]),
    ]
    .iter()
    .enumerate()
    {
        let mut client = proxied(&host, header);
        assert_eq!(client.line(), "+OK popward ready");
        log_in(&mut client);
        let login = host.logged_times("] login session=", times + 1);
        assert!(login.contains(" peer=192.0.2.7 port=4660 "), "{login}");
        assert!(login.contains(" proxy=127.0.0.2"), "{login}");
        let end = host.logged_times("] end session=", times + 1);
        assert!(end.contains("peer=192.0.2.7 "), "{end}");
    }
    // An octet at a time; and in one write together with what follows.
    let mut client = Client::from(PROXY, host.plain);
    for byte in version_2(&[]) {
        client.send(&[byte]);
    }
    assert_eq!(client.line(), "+OK popward ready");
    let whole = [&version_2(&[])[..], b"USER alice\r\nPASS alice\r\nQUIT\r\n"].concat();
    let mut client = proxied(&host, &whole);
    assert_eq!(client.until_end().matches("+OK").count(), 4);
}

#[test]
fn bytes_behind_a_header_begin_tls() {
    let host = host("", "");
    for glued in [false, true] {
        let mut tls = handshake(&host);
        let mut socket = Client::from(PROXY, host.tls).stream().try_clone().unwrap();
        let mut first = version_2(&[]);
        if glued {
            tls.write_tls(&mut first).unwrap();
        }
        socket.write_all(&first).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, socket);
        let mut greeting = [0; 19];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"+OK popward ready\r\n");
        stream
            .write_all(b"USER alice\r\nPASS alice\r\nQUIT\r\n")
            .unwrap();
        let mut rest = String::new();
        let _ = stream.read_to_string(&mut rest);
        assert_eq!(rest.matches("+OK").count(), 3, "{rest}");
        let login = host.logged_times("] login session=", 1 + usize::from(glued));
        assert!(
            login.contains("peer=192.0.2.7 ") && login.contains("tls=TLSv1_3/"),
            "{login}"
        );
    }
}

/// The client's end of a TLS connection.
fn handshake(host: &Host) -> rustls::ClientConnection {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(host.at("cert.pem")).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    rustls::ClientConnection::new(Arc::new(config), name).unwrap()
}

#[test]
fn p1_a_header_from_another_address_is_a_bad_command() {
    let host = host("", "");
    for source in ["127.0.0.1", DOVECOT] {
        let mut client = Client::from(source, host.plain);
        // The connection is greeted without a header, and its header is not believed.
        assert!(client.line().ends_with("popward ready"));
        let header = "PROXY TCP4 192.0.2.7 192.0.2.250 4660 110";
        assert_eq!(client.ask(header), "-ERR unknown command");
    }
    assert!(!host.log().contains("192.0.2.7"));
    let mut nobody = host.connect();
    assert_eq!(
        nobody.ask("XCLIENT ADDR=192.0.2.7 PORT=9"),
        "-ERR unknown command"
    );
}

/// What came in the clear behind STLS is dropped. So the proxy can still name its client over TLS.
#[test]
fn xclient_is_accepted_over_tls_after_stls() {
    // No password is taken without TLS.
    let host = host("", "");
    let mut proxy = Client::from(DOVECOT, host.plain);
    assert_eq!(proxy.line(), "+OK [XCLIENT] popward ready");
    proxy.send(b"STLS\r\nXCLIENT ADDR=192.0.2.66 PORT=1\r\n");
    assert_eq!(proxy.line(), "+OK begin TLS");
    let socket = proxy.stream().try_clone().unwrap();
    let mut stream = rustls::StreamOwned::new(handshake(&host), socket);
    stream
        .write_all(b"XCLIENT ADDR=192.0.2.7 PORT=4660 SESSION=theirs\r\nUSER alice\r\nPASS alice\r\nQUIT\r\n")
        .unwrap();
    let mut heard = String::new();
    let _ = stream.read_to_string(&mut heard);
    assert!(heard.starts_with("+OK client noted\r\n+OK "), "{heard}");
    assert_eq!(heard.matches("+OK").count(), 4, "{heard}");
    let login = host.logged("] login session=");
    for part in [
        " peer=192.0.2.7 port=4660 ",
        " tls=TLSv1_3/",
        " proxy=127.0.0.3",
        " proxy_session=theirs",
    ] {
        assert!(login.contains(part), "{part}: {login}");
    }
    assert!(host.logged("] end session=").contains(" peer=192.0.2.7 "));
}

#[test]
fn a_client_behind_a_proxy_never_counts_as_loopback() {
    let host = host("tls = [\"127.0.0.2/32\"]", "");
    let refused = "-ERR [AUTH] a password is taken over TLS only";
    let mut client = of(&host, "127.0.0.1");
    assert_eq!(client.line(), "+OK popward ready");
    assert_eq!(client.ask("USER alice"), refused);
    let mut checks = proxied(&host, LOCAL);
    assert_ok(&checks.line());
    assert_eq!(checks.ask("USER alice"), refused);
    let mut dovecot = Client::from(DOVECOT, host.plain);
    assert_eq!(dovecot.line(), "+OK [XCLIENT] popward ready");
    assert_eq!(dovecot.ask("USER alice"), refused);
    assert_ok(&dovecot.ask("XCLIENT ADDR=127.0.0.1 PORT=9"));
    assert_eq!(dovecot.ask("USER alice"), refused);
    // A proxy that is believed says that its client came over TLS. Then it says that its client did
    // not.
    for (flags, tls) in [(0x01, true), (0x00, false)] {
        let mut client = proxied(&host, &version_2(&[0x20, 0, 5, flags, 0, 0, 0, 0]));
        assert_ok(&client.line());
        if tls {
            log_in(&mut client);
            assert!(host.logged("] login session=").contains("tls=proxy "));
        } else {
            assert_eq!(client.ask("USER alice"), refused);
        }
    }
}

#[test]
fn a_proxy_is_believed_about_tls_only_if_configured() {
    let host = host("", "");
    let mut client = proxied(&host, &version_2(&[0x20, 0, 5, 1, 0, 0, 0, 0]));
    assert_ok(&client.line());
    assert_err(&client.ask("USER alice"));
}

#[test]
fn health_checks_leave_no_log_line_and_use_up_no_limit() {
    let host = host(
        "connections = 4",
        "connections_per_address = 1\nconnections_per_minute = 1",
    );
    // The last line of the start.
    host.logged("certificate number=1");
    let before = host.log();
    for _ in 0..8 {
        // A check that only connects; checks with a header; and checks that wait for the greeting.
        drop(Client::from(PROXY, host.plain));
        let itself = b"PROXY TCP4 127.0.0.2 127.0.0.1 9 110\r\n";
        for header in [LOCAL, b"PROXY UNKNOWN\r\n", itself] {
            let mut check = proxied(&host, header);
            assert_eq!(check.line(), "+OK popward ready");
            let _ = check.ask("QUIT");
            check.until_end();
        }
        let mut check = proxied(&host, LOCAL);
        check.stream().shutdown(std::net::Shutdown::Write).unwrap();
        assert!(!check.until_end().contains("-ERR"));
    }
    // And a check that is reset in the middle.
    drop(proxied(&host, b"PROXY TCP4 "));
    let mut client = of(&host, "192.0.2.7");
    assert_ok(&client.line());
    assert_eq!(host.log(), before);
}

#[test]
fn p8_a_missing_or_slow_header_ends_the_connection_and_is_logged_once() {
    let host = host("header = \"1s\"", "");
    for _ in 0..20 {
        let mut client = proxied(&host, b"USER alice\r\n");
        assert_eq!(client.until_end(), "");
    }
    let mut silent = Client::from(PROXY, host.plain);
    assert_eq!(silent.until_end(), "");
    let mut slow = Client::from(PROXY, host.plain);
    for byte in b"PROXY TCP4 192.0.2.7 192.0.2.250" {
        let _ = slow.stream().write_all(&[*byte]);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(slow.until_end(), "");
    host.assert_rate_limited("connection refused", 1);
    assert!(
        host.logged("connection refused")
            .contains("peer=127.0.0.2 ")
    );
}

#[test]
fn p8_clients_of_a_proxy_are_limited_by_their_own_addresses() {
    let host = host(
        "",
        "connections_per_address = 2\nconnections_per_prefix = 3",
    );
    let greeted = |address: &str| {
        let mut client = of(&host, address);
        let line = client.line();
        (client, line)
    };
    let (ready, full) = (
        "+OK popward ready",
        "-ERR [SYS/TEMP] Too many connections, try again later",
    );
    let one = greeted("192.0.2.7");
    let two = greeted("192.0.2.7");
    assert_eq!((&*one.1, &*two.1), (ready, ready));
    assert_eq!(greeted("192.0.2.7").1, full);
    let three = greeted("192.0.2.8");
    assert_eq!((&*three.1, &*greeted("192.0.2.9").1), (ready, full));
    assert_eq!(greeted("192.0.3.9").1, ready);
    // XCLIENT leads to the same limits.
    let mut dovecot = Client::from(DOVECOT, host.plain);
    dovecot.line();
    assert_eq!(dovecot.ask("XCLIENT ADDR=192.0.2.7 PORT=9"), full);
    assert_eq!(dovecot.until_end(), "");
    for _ in 0..10 {
        assert_eq!(greeted("192.0.2.7").1, full);
    }
    let refused = "connection refused peer=192.0.2.7";
    host.logged(refused);
    host.assert_rate_limited(refused, 1);
    drop(one);
    until("there is room again", || greeted("192.0.2.7").1 == ready);
}

#[test]
fn the_end_does_not_wait_for_a_client_that_was_turned_away_behind_a_proxy() {
    let grace = [("shutdown_grace = \"5s\"\n", "shutdown_grace = \"600s\"\n")];
    let mut host = host_with("", "connections_per_address = 1", &grace);
    let mut one = of(&host, "192.0.2.7");
    assert_ok(&one.line());
    assert!(of(&host, "192.0.2.7").line().starts_with("-ERR"));
    assert_ok(&one.ask("QUIT"));
    assert_eq!(host.stop(), Some(0));
}

#[test]
fn p8_new_connections_of_one_address_are_limited_by_the_minute() {
    let host = host("", "connections_per_minute = 5");
    for times in 0..8 {
        let mut client = of(&host, "192.0.2.7");
        let line = client.line();
        assert_eq!(line.starts_with("+OK"), times < 5, "{times}: {line}");
    }
    assert_ok(&of(&host, "192.0.2.8").line());
    // This host's own connections are not limited.
    for _ in 0..20 {
        host.connect();
    }
    let line = host.logged("connection refused");
    assert!(
        line.contains("too many new connections from one address"),
        "{line}"
    );
}

#[test]
fn p8_proxy_connections_without_a_header_are_limited() {
    let host = host("connections = 3", "");
    let waiting: Vec<Client> = (0..3).map(|_| Client::from(PROXY, host.plain)).collect();
    let mut fourth = Client::from(PROXY, host.plain);
    assert_err(&fourth.line());
    // Others are still let in.
    host.connect();
    for (mut client, address) in waiting
        .into_iter()
        .zip(["192.0.2.7", "192.0.2.8", "192.0.2.9"])
    {
        client.send(format!("PROXY TCP4 {address} 192.0.2.250 1 2\r\n").as_bytes());
        assert_ok(&client.line());
    }
    assert_ok(&of(&host, "192.0.2.10").line());
}

#[test]
fn a_listener_may_be_for_proxies_alone_or_for_none() {
    let users = [user("alice", 64401, &spool(1))];
    let more = format!("[proxy]\nnetworks = [\"{PROXY}\"]\n");
    for (value, plain, from_proxy) in [("only", "", ""), ("off", "+OK", "+OK")] {
        let other = format!("[[listen]]\nproxy = \"{value}\"\naddress");
        let host = Host::with(&users, &more, &[("[[listen]]\naddress", &other)]);
        let heard = |mut client: Client| client.line().chars().take(3).collect::<String>();
        assert_eq!(heard(Client::new(host.plain)), plain, "{value}");
        if value == "off" {
            assert_eq!(heard(Client::from(PROXY, host.plain)), from_proxy);
        } else {
            assert_ok(&of(&host, "192.0.2.7").line());
            assert!(host.logged("connection refused").contains("not a proxy's"));
        }
    }
}

#[test]
fn xclient_and_a_login_may_come_in_one_write() {
    let host = host(PLAINTEXT, "");
    let mut client = Client::from(DOVECOT, host.plain);
    assert_eq!(client.line(), "+OK [XCLIENT] popward ready");
    client.send(b"XCLIENT ADDR=2001:db8::7 PORT=4660 SESSION=6fL2EPUK/AAA TTL=4 FORWARD=YT1i\r\nUSER alice\r\nPASS alice\r\nRETR 1\r\nQUIT\r\n");
    let heard = client.until_end();
    assert_eq!(heard.matches("+OK").count(), 5, "{heard}");
    let login = host.logged("] login session=");
    for field in [
        " peer=2001:db8::7 port=4660 ",
        " proxy=127.0.0.3 proxy_session=6fL2EPUK/AAA",
    ] {
        assert!(login.contains(field), "{login}");
    }
}
