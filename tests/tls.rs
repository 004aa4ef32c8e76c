//! TLS with keys in another process: each kind of key, both versions, bytes that are no handshake,
//! names, tickets, client certificates, and strangers who begin handshakes and go away.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Client, Host, assert_ok, resident, spool, user};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

/// Runs a session by `openssl s_client` with `options`. Returns what it hears, and what it says
/// about the connection.
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
    // openssl may have ended already. Its output then says why.
    let _ = child.stdin.take().unwrap().write_all(script);
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
            // The old front may have accepted a connection that came as the reload was done.
            host::until(&format!("{kind:?} {version}"), || {
                let heard = session(&host, &[version]);
                heard.contains("Verification: OK") && heard.contains("+OK popward signing off")
            });
        }
    }
    assert!(host.log().contains("tls=TLSv1_2/") && host.log().contains("tls=TLSv1_3/"));
    let old = session(&host, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(!old.contains("+OK"), "TLS 1.1: {old}");
}

#[test]
fn a_reload_with_unusable_certificates_keeps_the_old_ones() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let (chain, key) = (host.at("cert.pem"), host.at("key.pem"));
    let before = [&chain, &key].map(|path| std::fs::read(path).unwrap());
    let works = || session(&host, &["-tls1_3"]).contains("+OK popward signing off");
    assert!(works());
    let mut refused = 0;
    let mut reload = |path: &std::path::Path, why: &str| {
        host.signal(Signal::SIGHUP);
        refused += 1;
        let said = host.logged_times("configuration not reloaded", refused);
        assert!(said.contains(path.to_str().unwrap()), "{said}");
        assert!(said.contains(why), "{said}");
    };
    // A key that does not fit the chain, bytes that are no key, a chain that is none.
    host::certificate(&host.at(""), host::P256);
    let other = std::fs::read(&key).unwrap();
    std::fs::write(&chain, &before[0]).unwrap();
    let unfit = format!("expected the key of the certificate in {}", chain.display());
    for (bad, why) in [
        (&other[..], unfit.as_str()),
        (b"none", "expected a private key in PEM"),
        (&other, &unfit),
    ] {
        std::fs::write(&key, bad).unwrap();
        reload(&key, why);
        assert!(works(), "{}", host.log());
    }
    std::fs::write(&key, &before[1]).unwrap();
    std::fs::write(&chain, "none").unwrap();
    reload(&chain, "expected certificates in PEM, found none");
    std::fs::remove_file(&chain).unwrap();
    reload(&chain, "No such file");
    std::fs::write(&chain, &before[0]).unwrap();
    host.signal(Signal::SIGHUP);
    host.logged("configuration reloaded");
    assert!(works());
}

#[test]
fn a_certificate_that_has_expired_is_warned_of_and_used() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let at = |name: &str| host.at(name).to_str().unwrap().to_owned();
    let authority = format!(
        "[ca]\ndefault_ca = d\n[d]\ndatabase = {0}/index\nserial = {0}/serial\nnew_certs_dir = {0}\n\
         default_md = sha256\npolicy = p\nx509_extensions = e\n[p]\ncommonName = supplied\n\
         [e]\nbasicConstraints = CA:FALSE\n",
        at("")
    );
    std::fs::write(host.at("ca.conf"), authority).unwrap();
    std::fs::write(host.at("index"), "").unwrap();
    std::fs::write(host.at("serial"), "01\n").unwrap();
    let openssl = |words: &[&str]| {
        let made = std::process::Command::new("openssl")
            .args(words)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    };
    let (key, wish, chain, configuration) =
        (at("key.pem"), at("wish.pem"), at("cert.pem"), at("ca.conf"));
    openssl(&[
        "req",
        "-new",
        "-subj",
        "/CN=localhost",
        "-key",
        &key,
        "-out",
        &wish,
    ]);
    openssl(&[
        "ca",
        "-batch",
        "-notext",
        "-selfsign",
        "-config",
        &configuration,
        "-keyfile",
        &key,
        "-startdate",
        "20200101000000Z",
        "-enddate",
        "20200131000000Z",
        "-in",
        &wish,
        "-out",
        &chain,
    ]);
    host.signal(Signal::SIGHUP);
    let said = host.logged("configuration warning");
    assert!(
        said.contains("cert.pem: the certificate expired "),
        "{said}"
    );
    host.logged("configuration reloaded");
}

#[test]
fn bytes_that_are_no_handshake_end_one_connection_and_no_other() {
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
        // The server may have ended the connection already.
        let _ = client.stream().shutdown(std::net::Shutdown::Write);
        let mut client = client;
        assert!(!client.until_end().contains("+OK"));
    }
    // A handshake that stands still in the middle keeps nobody waiting.
    let mut still = Client::new(host.tls);
    still.send(b"\x16\x03\x01\x02\x00");
    assert!(session(&host, &[]).contains("+OK popward signing off"));
    assert_ok(&bob.ask("QUIT"));
}

/// What `openssl s_client` says about a connection on which nothing is said.
fn connection(host: &Host, options: &[&str]) -> String {
    let connect = format!("127.0.0.1:{}", host.tls);
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &connect])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let heard = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    // OpenSSL before 3.2 writes spaces here.
    heard.replace("CN = ", "CN=")
}

#[test]
fn stls_resumes_a_session_that_began_on_the_tls_port() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let file = host.at("session");
    let file = file.to_str().unwrap();
    let port = format!("localhost:{}", host.plain);
    for version in ["-tls1_3", "-tls1_2"] {
        let heard = session(&host, &[version, "-sess_out", file]);
        assert!(heard.contains("New, TLSv1."), "{heard}");
        let stls = ["-connect", &port, "-starttls", "pop3"];
        let heard = session(&host, &[&stls[..], &[version, "-sess_in", file]].concat());
        assert!(heard.contains("Reused, TLSv1."), "{heard}");
        assert!(heard.contains("+OK popward signing off"), "{heard}");
        let refused = connection(&host, &[&stls[..], &[version, "-alpn", "h2"]].concat());
        assert!(refused.contains("no application protocol"), "{refused}");
    }
}

/// Makes `STEM.pem` and `STEM.key`: a certificate for these names, with the subject STEM, and its
/// key.
fn named(host: &Host, stem: &str, names: &str, kind: &[&str]) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj"])
        .arg(format!("/CN={stem}"))
        .args(["-addext", &format!("subjectAltName={names}"), "-newkey"])
        .args(kind)
        .arg("-keyout")
        .arg(host.at(&format!("{stem}.key")))
        .arg("-out")
        .arg(host.at(&format!("{stem}.pem")))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// Adds to the configuration and reloads it.
fn reload(host: &Host, more: &str) {
    let path = host.at("popward.toml");
    let config = std::fs::read_to_string(&path).unwrap() + more;
    std::fs::write(&path, config).unwrap();
    let before = host.log().matches("configuration reloaded").count();
    host.signal(Signal::SIGHUP);
    host.logged_times("configuration reloaded", before + 1);
}

fn pair(host: &Host, stem: &str) -> String {
    let (chain, key) = (
        host.at(&format!("{stem}.pem")),
        host.at(&format!("{stem}.key")),
    );
    format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n")
}

#[test]
fn the_certificate_fits_the_requested_name_and_what_the_client_can_verify() {
    let host = Host::start(&[]);
    let rsa = &["rsa:2048"];
    named(
        &host,
        "both-ecdsa",
        "DNS:mail.example.org,DNS:pop.example.org",
        host::P256,
    );
    named(
        &host,
        "both-rsa",
        "DNS:mail.example.org,DNS:pop.example.org",
        rsa,
    );
    named(&host, "any", "DNS:*.example.net", host::P256);
    let all = ["both-ecdsa", "both-rsa", "any"].map(|stem| pair(&host, stem));
    reload(&host, &all.concat());
    host::until("the new certificates", || {
        connection(&host, &["-servername", "pop.example.org"]).contains("CN=both-ecdsa")
    });
    let only_rsa = "rsa_pss_rsae_sha256:rsa_pkcs1_sha256";
    for (name, sigalgs, subject) in [
        ("mail.example.org", "", "both-ecdsa"),
        ("MAIL.example.org", "", "both-ecdsa"),
        ("mail.example.org", only_rsa, "both-rsa"),
        ("a.example.net", "", "any"),
        ("b.example.net", "", "any"),
        // A wildcard is one label. A name that no certificate has gets the first certificate.
        ("a.b.example.net", "", "localhost"),
        ("example.net", "", "localhost"),
        ("unknown.example.com", "", "localhost"),
        ("localhost", "", "localhost"),
        // The client can verify no certificate for this name. It gets the first that it can verify.
        ("a.example.net", only_rsa, "both-rsa"),
    ] {
        for version in ["-tls1_3", "-tls1_2"] {
            let mut options = vec!["-servername", name, version];
            if !sigalgs.is_empty() {
                options.extend(["-sigalgs", sigalgs]);
            }
            let heard = connection(&host, &options);
            let wanted = format!("subject=CN={subject}\n");
            assert!(
                heard.contains(&wanted),
                "{name} {version} {sigalgs}: {heard}"
            );
        }
    }
    let heard = connection(&host, &["-noservername"]);
    assert!(heard.contains("subject=CN=localhost\n"), "{heard}");
    // The front waited for the whole set. No certificate met another one's key in between.
    assert!(!host.log().contains("cannot use"), "{}", host.log());
}

#[test]
fn a_reload_changes_tls_for_new_connections_only() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let mut old = Command::new("openssl")
        .args(["s_client", "-quiet", "-tls1_2", "-connect"])
        .arg(format!("127.0.0.1:{}", host.tls))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut hears = BufReader::new(old.stdout.take().unwrap());
    let mut line = String::new();
    hears.read_line(&mut line).unwrap();
    assert_ok(&line);
    named(&host, "other", "DNS:localhost", host::P256);
    let path = host.at("popward.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let config = config.replace("/cert.pem", "/other.pem");
    std::fs::write(&path, config.replace("/key.pem", "/other.key")).unwrap();
    reload(&host, "[tls]\nminimum = \"1.3\"\n");
    host::until("the new certificate", || {
        let heard = connection(&host, &[]);
        // Nobody is turned away in between.
        assert!(heard.contains("subject=CN="), "{heard}");
        heard.contains("subject=CN=other\n")
    });
    let refused = connection(&host, &["-tls1_2"]);
    assert!(refused.contains("protocol version"), "{refused}");
    let script = b"USER alice\r\nPASS alice\r\nQUIT\r\n";
    old.stdin.take().unwrap().write_all(script).unwrap();
    let mut rest = String::new();
    hears.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("+OK popward signing off"), "{rest}");
    old.wait().unwrap();
}

#[test]
fn alpn_agrees_on_pop3_and_nothing_else() {
    let host = Host::start(&[]);
    let heard = connection(&host, &["-alpn", "imap,pop3"]);
    assert!(heard.contains("ALPN protocol: pop3"), "{heard}");
    let heard = connection(&host, &["-alpn", "h2,http/1.1"]);
    assert!(heard.contains("no application protocol"), "{heard}");
}

#[test]
fn another_front_and_a_restarted_front_resume_a_tls_session() {
    let grace = "shutdown_grace = \"5s\"\n";
    let two = format!("{grace}fronts = 2\n");
    let host = Host::with(&[user("alice", 64401, &spool(1))], "", &[(grace, &two)]);
    let stop = |pid: &i32| kill(Pid::from_raw(*pid), Signal::SIGSTOP).unwrap();
    let go_on = |pid: &i32| kill(Pid::from_raw(*pid), Signal::SIGCONT).unwrap();
    let end = |pid: &i32| kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap();
    let fronts = host.children("popward-front");
    assert_eq!(fronts.len(), 2);
    let files = ["1.3", "1.2"].map(|version| host.at(&format!("session-{version}")));
    let versions = ["-tls1_3", "-tls1_2"];
    // A stopped front accepts nobody. So the other one answers.
    stop(&fronts[0]);
    for (file, version) in files.iter().zip(versions) {
        let heard = session(&host, &[version, "-sess_out", file.to_str().unwrap()]);
        assert!(heard.contains("New, TLSv1."), "{heard}");
        assert!(heard.contains("+OK popward signing off"), "{heard}");
    }
    go_on(&fronts[0]);
    stop(&fronts[1]);
    let resumed = |file: &std::path::Path, version| {
        let heard = session(&host, &[version, "-sess_in", file.to_str().unwrap()]);
        assert!(heard.contains("+OK popward signing off"), "{heard}");
        assert!(
            heard.contains("Reused, TLSv1.") || heard.contains("New, TLSv1."),
            "{heard}"
        );
        heard.contains("Reused, TLSv1.")
    };
    for (file, version) in files.iter().zip(versions) {
        assert!(resumed(file, version), "{version} at the other front");
    }
    // Neither of the fronts that gave the tickets exists any more.
    end(&fronts[0]);
    end(&fronts[1]);
    host::until("two other fronts", || {
        let now = host.children("popward-front");
        now.len() == 2 && now.iter().all(|pid| !fronts.contains(pid))
    });
    for (file, version) in files.iter().zip(versions) {
        assert!(resumed(file, version), "{version} at a new front");
    }
    // A new keys process has new ticket keys, and so has every front.
    let keys = host.children("popward-keys");
    end(&keys[0]);
    host::until("other keys", || {
        let now = host.children("popward-keys");
        now.len() == 1 && now != keys
    });
    for (file, version) in files.iter().zip(versions) {
        host::until("the old ticket is refused", || !resumed(file, version));
    }
}

#[test]
fn a_ticket_is_refused_after_two_rotations_or_if_tickets_are_off() {
    let more = "[tls]\nticket_rotation = \"1s\"\n";
    let host = Host::with(&[user("alice", 64401, &spool(1))], more, &[]);
    let file = host.at("session");
    let file = file.to_str().unwrap();
    for version in ["-tls1_3", "-tls1_2"] {
        let first = session(&host, &[version, "-sess_out", file]);
        assert!(first.contains("ticket"), "{first}");
        host::until("the ticket is refused", || {
            session(&host, &[version, "-sess_in", file]).contains("New, TLSv1.")
        });
    }
    let path = host.at("popward.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        config.replace("rotation = \"1s\"", "rotation = \"0s\""),
    )
    .unwrap();
    reload(&host, "");
    host::until("no tickets", || {
        let heard = session(&host, &["-tls1_3"]);
        assert!(heard.contains("+OK popward signing off"), "{heard}");
        !heard.contains("TLS session ticket:")
    });
}

#[test]
fn a_configured_authority_asks_for_client_certificates_but_needs_none() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let asked = "Acceptable client certificate CA names\nCN=alices";
    assert!(!connection(&host, &[]).contains(asked));
    named(&host, "alices", "email:alice@example.org", host::P256);
    let ca = host.at("alices.pem");
    reload(&host, &format!("[tls]\nclient_ca = {ca:?}\n"));
    host::until("clients are asked", || {
        connection(&host, &[]).contains(asked)
    });
    let key = host.at("alices.key");
    let with = ["-cert", ca.to_str().unwrap(), "-key", key.to_str().unwrap()];
    for (options, ticket) in [(&[][..], true), (&with, false)] {
        let heard = session(&host, options);
        assert!(heard.contains("+OK popward signing off"), "{heard}");
        assert_eq!(heard.contains("TLS session ticket:"), ticket, "{heard}");
    }
    let heard = session(&host, &["-tls1_2"]);
    assert!(
        heard.contains("No client certificate CA names sent"),
        "{heard}"
    );
    assert!(heard.contains("+OK popward signing off"), "{heard}");
}

/// A whole `ClientHello` of rustls.
fn hello() -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Makes the end of this connection a reset.
fn reset(stream: &std::net::TcpStream) {
    use nix::sys::socket::{setsockopt, sockopt};
    let at_once = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(stream, sockopt::Linger, &at_once).unwrap();
}

#[test]
fn p8_clients_that_abandon_handshakes_take_no_memory_and_delay_nobody() {
    // The limits are those for clients from many addresses.
    let many = "[limits]\nconnections = 100\nconnections_per_address = 100\n[spool]";
    let alice = user("alice", 64401, &spool(1));
    let host = Host::with(&[alice], "", &[("[spool]", many)]);
    assert!(session(&host, &[]).contains("+OK popward signing off"));
    let (front, keys) = (
        host.children("popward-front")[0],
        host.children("popward-keys")[0],
    );
    let hello = hello();
    // Nothing is signed meanwhile. So the threads are busy for ten seconds, and the queue only
    // grows.
    kill(Pid::from_raw(keys), Signal::SIGSTOP).unwrap();
    let before = resident(front);
    let greeted = || Client::new(host.plain).line().starts_with("+OK");
    let mut gone = 0;
    while gone < 3000 {
        let mut strangers = Vec::new();
        // Until nobody else is let in, even after those who were let in have gone. By then the
        // front has read all hellos.
        while greeted() || greeted() {
            let stranger = Client::new(host.tls);
            stranger.stream().write_all(&hello).unwrap();
            strangers.push(stranger);
        }
        gone += strangers.len();
        strangers
            .iter()
            .for_each(|stranger| reset(stranger.stream()));
        drop(strangers);
        host::until("there is room again", greeted);
    }
    let after = resident(front);
    kill(Pid::from_raw(keys), Signal::SIGCONT).unwrap();
    assert!(after < before + 3000, "{before} KiB, then {after} KiB");
    assert!(session(&host, &[]).contains("+OK popward signing off"));
}

/// CVE-2017-15130: Dovecot kept something for each name that was asked for.
#[test]
fn p8_requested_server_names_take_no_memory() {
    use rustls::pki_types::pem::PemObject;
    // The front queues the time at which it looks at a connection again, and keeps the entry after
    // the connection's end. A short limit keeps the queue short.
    let soon = [("[spool]", "[limits]\nlogin = \"2s\"\n[spool]")];
    let host = Host::with(&[user("alice", 64401, &spool(1))], "", &soon);
    let leaf = [
        host::P256,
        &["-addext", "basicConstraints=critical,CA:FALSE"],
    ]
    .concat();
    named(&host, "wild", "DNS:*.example.org", &leaf);
    reload(&host, &pair(&host, "wild"));
    let mut roots = rustls::RootCertStore::empty();
    let own = rustls::pki_types::CertificateDer::from_pem_file(host.at("wild.pem")).unwrap();
    roots.add(own).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each connection makes a handshake of its own.
    config.resumption = rustls::client::Resumption::disabled();
    let config = std::sync::Arc::new(config);
    let greeted = |number: usize| {
        let name = format!("{number:063}.example.org").try_into().unwrap();
        let client = rustls::ClientConnection::new(std::sync::Arc::clone(&config), name).unwrap();
        let socket = std::net::TcpStream::connect(("127.0.0.1", host.tls)).unwrap();
        let mut line = String::new();
        let mut stream = BufReader::new(rustls::StreamOwned::new(client, socket));
        let _ = stream.read_line(&mut line);
        line.starts_with("+OK")
    };
    host::until("the certificate is served", || greeted(0));
    (1..3000).for_each(|number| assert!(greeted(number)));
    let front = host.children("popward-front")[0];
    let before = resident(front);
    (3000..9000).for_each(|number| assert!(greeted(number)));
    let after = resident(front);
    assert!(after < before + 256, "{before} KiB, then {after} KiB");
}
