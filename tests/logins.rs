//! Every way to log in, with real clients where one knows it: who is let in, who is not, and what
//! they are told.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use base64ct::{Base64UrlUnpadded, Encoding};
use host::{Host, assert_ok, mpop_binds, root, skipped, spool, until, user};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

/// The outputs of `doveadm pw -s SCRAM-SHA-256 -p secret` and of other schemes.
const SCRAM_256: &str = "{SCRAM-SHA-256}4096,RYbLseT/8RCCOcCClX/ptg==,s4LmKvpwzMwlffAZZO+sACsWtM5cgxtOLq2qdO/y8iE=,PJntRmSR/cE5Xc2KK5davJN13tK9cod/WPAflm2gZxw=";
const SCRAM_1: &str = "{SCRAM-SHA-1}4096,TDg8OqX4BK3Yng3Ov1bT1A==,8pg8znK6xFLDSEPj41sqc+l8FcQ=,wLiTLH3mGGDBte6kpBAFg0hT7Yo=";
const CRAM: &str = "{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56";

const ALL: &str = r#"mechanisms = ["user", "apop", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "external", "oauthbearer", "xoauth2"]"#;

/// A host with these lines in `[auth]` and these lines in the password file.
fn host(auth: &str, lines: &str) -> Option<Host> {
    host_with("", auth, lines)
}

/// As [`host`], with the lines of another section.
fn host_with(section: &str, auth: &str, lines: &str) -> Option<Host> {
    if !root() {
        skipped("users of several ids: it takes root");
        return None;
    }
    let users = [
        user("alice", 64421, &spool(2)),
        user("bob", 64422, &spool(1)),
    ];
    let changes = format!("{section}[auth]\n{ALL}\nplaintext = \"always\"\n{auth}\n");
    let host = Host::with(&users, "", &[("[auth]\n", &changes)]);
    fs::write(host.at("users"), lines).unwrap();
    Some(host)
}

fn write(path: &Path, text: &str, mode: u32, owner: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    chown(path, Some(owner), None).unwrap();
}

/// Runs mpop, which logs in and does nothing else. `None` if there is no mpop.
fn mpop(host: &Host, how: &str, user: &str, password: &str) -> Option<Output> {
    let bound = format!("{how}-plus");
    let how = if mpop_binds(how) { &bound } else { how };
    mpop_with(host, &[], how, user, password)
}

fn mpop_with(host: &Host, more: &[&str], how: &str, user: &str, password: &str) -> Option<Output> {
    let options = [
        "--auth-only",
        "--host=localhost",
        "--tls=on",
        "--tls-starttls=off",
        "--delivery=mda,/bin/true",
    ];
    let ran = Command::new("mpop")
        .args(options)
        .args(more)
        .arg(format!("--port={}", host.tls))
        .arg(format!(
            "--tls-trust-file={}",
            host.at("cert.pem").display()
        ))
        .arg(format!("--auth={how}"))
        .arg(format!("--user={user}"))
        .arg(format!("--passwordeval=echo {password}"))
        .env("HOME", host.directory.path())
        .output();
    match ran {
        Ok(output) => Some(output),
        Err(_) => {
            skipped("mpop is not installed");
            None
        }
    }
}

fn curl(host: &Host, options: &[&str]) -> Option<Output> {
    let url = format!("pop3s://localhost:{}/", host.tls);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--cacert"])
        .arg(host.at("cert.pem"))
        .args(options)
        .arg(url);
    match curl.output() {
        Ok(output) => Some(output),
        Err(_) => {
            skipped("curl is not installed");
            None
        }
    }
}

fn told(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    format!("{}: {}", output.status, String::from_utf8_lossy(&text))
}

#[test]
fn real_clients_log_in_by_every_mechanism_that_the_stored_secret_allows() {
    let ids = "64421:64421::/nonexistent";
    let lines = format!(
        "alice:{{PLAIN}}secret:{ids}\nbob:{SCRAM_256}:64422:64422\ncarol:{SCRAM_1}:{ids}\ndave:{CRAM}:{ids}\nerin:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=:{ids}\n"
    );
    let Some(host) = host("", &lines) else { return };
    let passwords = ["user", "plain", "login"];
    let table = [
        (
            "alice",
            &[
                "user",
                "plain",
                "login",
                "apop",
                "cram-md5",
                "scram-sha-1",
                "scram-sha-256",
            ][..],
        ),
        ("bob", &["user", "plain", "login", "scram-sha-256"]),
        ("carol", &["user", "plain", "login", "scram-sha-1"]),
        ("dave", &["user", "plain", "login", "cram-md5"]),
        ("erin", &passwords),
    ];
    for (user, permitted) in table {
        for how in table[0].1 {
            let Some(output) = mpop(&host, how, user, "secret") else {
                return;
            };
            assert_eq!(
                output.status.success(),
                permitted.contains(how),
                "{user} {how}: {}",
                told(&output)
            );
            let output = mpop(&host, how, user, "secreT").unwrap();
            assert!(!output.status.success(), "{user} {how}: {}", told(&output));
        }
    }
    for (user, how) in [
        ("alice", "PLAIN"),
        ("alice", "LOGIN"),
        ("alice", "CRAM-MD5"),
        ("alice", "+APOP"),
        ("dave", "CRAM-MD5"),
    ] {
        let how = format!("AUTH={how}");
        let login = |password| {
            curl(
                &host,
                &["-u", &format!("{user}:{password}"), "--login-options", &how],
            )
        };
        let Some(output) = login("secret") else {
            return;
        };
        assert!(output.status.success(), "{user} {how}: {}", told(&output));
        let output = login("secreT").unwrap();
        assert_eq!(
            output.status.code(),
            Some(67),
            "{user} {how}: {}",
            told(&output)
        );
    }
    let log = host.log().replace("no secret", "");
    let shown = ["secret", "secreT", "c2VjcmV0"]
        .iter()
        .any(|secret| log.contains(secret));
    assert!(!shown, "a secret in the log");
}

const WRONG: &str = "-ERR [AUTH] user name or password wrong";

#[test]
fn p9_a_refusal_by_list_group_or_extra_field_reads_like_a_wrong_password() {
    let lines = "alice:{PLAIN}a:64421:64421::/nonexistent\nbob:{PLAIN}b:64422:64422::/nonexistent\n\
                 carol:{PLAIN}c:64421:64421::::nologin\ndave:{PLAIN}d:64421:64421::::allow_nets=192.0.2.0/24\n\
                 erin:{PLAIN}e:64421:64421::::allow_nets=127.0.0.0/8\nfrank:{PLAIN}f:64421:64423::\n";
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let deny = directory.path().join("deny");
    write(&deny, "# who has left\nbob\n", 0o644, 0);
    let auth = format!(
        "deny_file = \"{}\"\ngroups = [64421, 64422]\nlower_case = true\ntrim_domain = [\"Example.org\"]",
        deny.display()
    );
    let Some(host) = host(&auth, lines) else {
        return;
    };
    for (name, secret) in [
        ("alice", "a"),
        ("ALICE", "a"),
        ("Alice@EXAMPLE.org", "a"),
        ("erin", "e"),
    ] {
        assert_ok(&host.answer(name, secret));
    }
    for (name, secret) in [
        ("bob", "b"),
        ("carol", "c"),
        ("dave", "d"),
        ("frank", "f"),
        ("alice", "b"),
        ("alice@example.net", "a"),
    ] {
        assert_eq!(host.answer(name, secret), WRONG, "{name}");
    }
    for why in [
        "in auth.deny_file",
        "nologin",
        "allow_nets",
        "in none of auth.groups",
        "wrong password",
        "no such user",
    ] {
        host.logged(why);
    }
    // Others can write the list, so auth does not use it.
    write(&deny, "", 0o666, 0);
    host.signal(nix::sys::signal::Signal::SIGHUP);
    assert!(
        host.logged("writable by nobody else")
            .contains("auth.deny_file")
    );
    assert_eq!(host.answer("bob", "b"), WRONG, "the list before is kept");
}

#[test]
fn the_field_userdb_mail_names_the_spool_that_is_served() {
    let Some(host) = host("", "") else { return };
    let mail = host.at("mail");
    let line = format!(
        "carol:{{PLAIN}}c:64422:64422::/nonexistent::userdb_mail=mbox:~/mail:INBOX={}/bob\n",
        mail.display()
    );
    fs::write(
        host.at("users"),
        line + "dave:{PLAIN}d:64422:64422::::userdb_mail=maildir:~/Maildir\n",
    )
    .unwrap();
    let mut client = host.connect_any();
    assert_ok(&client.ask("USER carol"));
    assert_ok(&client.ask("PASS c"));
    assert!(client.ask("STAT").starts_with("+OK 1 "), "bob's spool");
    assert!(host.answer("dave", "d").starts_with("-ERR [SYS/TEMP]"));
    assert!(host.logged("expected mbox:").contains("dave"));
}

/// A line without ids is a system user's, and only NSS knows those. Auth decides when it begins
/// whether it can ask NSS: see privsep/auth/src/confinement.rs.
#[test]
fn a_line_without_ids_lets_a_system_user_in() {
    if !root() {
        return skipped("a user of the system: it takes root");
    }
    let users = [user("games", 5, &spool(2)), user("bob", 64422, &spool(1))];
    let host = Host::start(&users);
    let line = "games:{PLAIN}g::\nbob:{PLAIN}b:64422:64422::/nonexistent\n";
    fs::write(host.at("users"), line).unwrap();
    assert!(host.answer("games", "g").starts_with("-ERR [SYS/TEMP]"));
    assert!(host.logged("reload popward").contains("games"));
    assert_ok(&host.answer("bob", "b"));
    assert!(host.reload(&[]).status.success());
    until("the new auth serves", || {
        host.answer("games", "g").starts_with("+OK")
    });
    assert_ok(&host.answer("bob", "b"));
    assert!(!host.log().contains("process died"), "{}", host.log());
}

#[test]
fn a_login_that_comes_too_soon_is_told_so_only_with_the_right_password() {
    let lines =
        "alice:{PLAIN}a:64421:64421::/nonexistent\nbob:{PLAIN}b:64422:64422::/nonexistent\n";
    let Some(host) = host("login_delay = \"3600s\"", lines) else {
        return;
    };
    let mut client = host.connect_any();
    assert!(client.multi("CAPA").contains("\nLOGIN-DELAY 3600\n"));
    assert_ok(&host.answer("alice", "a"));
    assert!(host.answer("alice", "a").starts_with("-ERR [LOGIN-DELAY]"));
    assert_eq!(host.answer("alice", "b"), WRONG);
    assert_ok(&host.answer("bob", "b"));
}

/// A login whose maildrop was not opened did nothing for its user. So the next one need not wait.
#[test]
fn a_login_that_opened_no_maildrop_starts_no_login_delay() {
    let lines =
        "alice:{PLAIN}a:64421:64421::/nonexistent\nbob:{PLAIN}b:64422:64422::/nonexistent\n";
    let Some(host) = host("login_delay = \"3600s\"", lines) else {
        return;
    };
    let opens_once = |name: &str, secret: &str| {
        // Auth learns that nothing was opened when the worker has ended. The client can hear it
        // before.
        until("the next login is looked at", || {
            let answer = host.answer(name, secret);
            assert!(
                answer.starts_with("+OK") || answer.starts_with("-ERR [LOGIN-DELAY]"),
                "{answer}"
            );
            answer.starts_with("+OK")
        });
        let answer = host.answer(name, secret);
        assert!(answer.starts_with("-ERR [LOGIN-DELAY]"), "{answer}");
    };
    // The worker refuses, because another program has the spool.
    let lock = host.spool("alice.lock");
    fs::write(&lock, "1:elsewhere").unwrap();
    assert!(host.answer("alice", "a").starts_with("-ERR [IN-USE]"));
    fs::remove_file(&lock).unwrap();
    opens_once("alice", "a");
    // The monitor makes no worker, because bob's state directory is a file.
    let state = host.at("state/bob");
    fs::write(&state, "").unwrap();
    assert!(host.answer("bob", "b").starts_with("-ERR [SYS/TEMP]"));
    fs::remove_file(&state).unwrap();
    opens_once("bob", "b");
    // No process has died.
    assert!(!host.log().contains("process died"), "{}", host.log());
}

#[test]
fn guessing_makes_a_source_wait_and_closes_an_account_for_a_while() {
    let lines =
        "alice:{PLAIN}a:64421:64421::/nonexistent\nbob:{PLAIN}b:64422:64422::/nonexistent\n";
    let auth =
        "source_exempt = []\nsource_failures = 3\naccount_failures = 4\naccount_window = \"3600s\"";
    let Some(host) = host(auth, lines) else {
        return;
    };
    let timed = |name, secret| {
        let start = Instant::now();
        let answer = host.answer(name, secret);
        (answer, start.elapsed().as_millis() / 200)
    };
    // A failure takes one delay of 200 ms. After three failures a source waits one delay more,
    // after six failures two more.
    let steps: Vec<u128> = (0..7)
        .map(|_| {
            let (answer, steps) = timed("alice", "x");
            assert_eq!(answer, WRONG);
            steps
        })
        .collect();
    assert!(
        steps[..3].iter().all(|steps| *steps >= 1) && steps[3] >= 2 && steps[6] >= 3,
        "{steps:?}"
    );
    assert!(host.logged("too many failures").contains("user=alice"));
    let (answer, _) = timed("alice", "a");
    assert_eq!(answer, WRONG, "nothing is checked for alice now");
    let (answer, steps) = timed("bob", "b");
    assert_ok(&answer);
    assert!(steps >= 2, "the source waits, whoever it asks for: {steps}");
    host.assert_rate_limited("too many failures", 1);
}

#[test]
fn a_checkpassword_program_and_a_token_program_are_asked() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let (check, token) = (
        directory.path().join("check"),
        directory.path().join("token"),
    );
    write(
        &check,
        "#!/bin/sh\nasked=$(tr '\\0' '\\n' <&3 | head -n 2 | tr '\\n' '/')\n[ \"$asked\" = alice/a/ ] || exit 1\n\
         USER=alice HOME=/nonexistent userdb_uid=64421 userdb_gid=64421 exec \"$1\" \"$2\"\n",
        0o755,
        0,
    );
    write(
        &token,
        "#!/bin/sh\n[ \"$(cat)\" = good ] && echo games\n",
        0o755,
        0,
    );
    let auth = format!(
        "source = \"checkpassword\"\ncheckpassword = \"{}\"\noauth2 = {{ program = \"{}\" }}",
        check.display(),
        token.display()
    );
    let Some(host) = host(&auth, "") else { return };
    assert_ok(&host.answer("alice", "a"));
    assert_eq!(host.answer("alice", "b"), WRONG);
    assert_eq!(host.answer("bob", "a"), WRONG);
    let bearer = |token| curl(&host, &["-u", "games", "--oauth2-bearer", token]);
    let Some(output) = bearer("good") else { return };
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(bearer("bad").unwrap().status.code(), Some(67));
    assert_eq!(
        curl(&host, &["-u", "alice", "--oauth2-bearer", "good"])
            .unwrap()
            .status
            .code(),
        Some(67),
        "another's token"
    );
    until("no conversation is left", || {
        host.children("popward-auth-program").is_empty()
    });
}

fn openssl(directory: &Path, arguments: &str) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments}: {}", told(&output));
    output.stdout
}

/// A token with these claims, signed with the directory's `issuer.pem`.
fn signed(directory: &Path, claims: &str) -> String {
    let header = Base64UrlUnpadded::encode_string(br#"{"alg":"EdDSA","typ":"JWT"}"#);
    let text = format!(
        "{header}.{}",
        Base64UrlUnpadded::encode_string(claims.as_bytes())
    );
    fs::write(directory.join("text"), &text).unwrap();
    let signature = openssl(directory, "pkeyutl -sign -rawin -inkey issuer.pem -in text");
    format!("{text}.{}", Base64UrlUnpadded::encode_string(&signature))
}

#[test]
fn p1_a_signed_token_is_checked_by_a_process_without_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = directory.path();
    openssl(path, "genpkey -algorithm ed25519 -out issuer.pem");
    let public = openssl(path, "pkey -in issuer.pem -pubout -outform DER");
    let x = Base64UrlUnpadded::encode_string(&public[public.len() - 32..]);
    let keys = path.join("keys.json");
    write(
        &keys,
        &format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#),
        0o644,
        0,
    );
    let auth = format!(
        "trim_domain = [\"*\"]\noauth2 = {{ keys = \"{}\", issuer = \"https://id.example.org\", audience = \"popward\" }}",
        keys.display()
    );
    let Some(host) = host(
        &auth,
        "alice:!:64421:64421::/nonexistent\nbob:!:64422:64422::::nologin\n",
    ) else {
        return;
    };
    let claims = |user: &str, end: u64| {
        format!(
            r#"{{"iss":"https://id.example.org","aud":"popward","exp":{end},"email":"{user}@example.org"}}"#
        )
    };
    let (good, old) = (claims("alice", 99_999_999_999), claims("alice", 1));
    for (token, name, answer) in [
        (signed(path, &good), "alice", Some(0)),
        (signed(path, &good), "bob", Some(67)),
        (signed(path, &old), "alice", Some(67)),
        (
            signed(path, &claims("bob", 99_999_999_999)),
            "bob",
            Some(67),
        ),
        (
            signed(path, &claims("carol", 99_999_999_999)),
            "carol",
            Some(67),
        ),
        ("e30.e30.e30".to_owned(), "alice", Some(67)),
    ] {
        let Some(output) = curl(&host, &["-u", name, "--oauth2-bearer", &token]) else {
            return;
        };
        assert_eq!(output.status.code(), answer, "{name}: {}", told(&output));
    }
    for why in [
        "its time is over",
        "nologin",
        "no such user",
        "another user's",
        "signed by none of the keys",
    ] {
        host.logged(why);
    }
    assert!(!host.log().contains("died"), "no filter killed anybody");
    // mpop says OAUTHBEARER. curl may have said XOAUTH2.
    let token = signed(path, &good);
    if let Some(output) = mpop(&host, "oauthbearer", "alice", &token) {
        assert!(output.status.success(), "{}", told(&output));
        assert!(
            mpop(&host, "xoauth2", "alice", &token)
                .unwrap()
                .status
                .success()
        );
    }
}

#[test]
fn p1_a_certificate_is_checked_by_a_process_without_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = directory.path();
    let extensions = "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\nsubjectAltName=email:Alice@example.org\n";
    fs::write(path.join("extensions"), extensions).unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
    for authority in ["ca", "other"] {
        openssl(
            path,
            &format!(
                "req -x509 -nodes -days 2 -subj /CN={authority} {key} -keyout {authority}.key -out {authority}.pem"
            ),
        );
    }
    openssl(
        path,
        &format!("req -new -nodes -subj /CN=x {key} -keyout client.key -out client.csr"),
    );
    openssl(
        path,
        "x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out client.pem",
    );
    let tls = |authority: &str| {
        format!(
            "[tls]\nclient_ca = \"{}\"\n",
            path.join(authority).display()
        )
    };
    let auth = "lower_case = true\ntrim_domain = [\"example.org\"]";
    let lines = "alice:!:64421:64421::/nonexistent\nbob:!:64422:64422::\n";
    // The server does not accept another authority's certificate, nor a certificate for another
    // user.
    for (authority, user, logs_in) in [
        ("ca.pem", "alice", true),
        ("ca.pem", "bob", false),
        ("other.pem", "alice", false),
    ] {
        let Some(host) = host_with(&tls(authority), auth, lines) else {
            return;
        };
        let certificate = [
            format!("--tls-cert-file={}", path.join("client.pem").display()),
            format!("--tls-key-file={}", path.join("client.key").display()),
        ];
        let options: Vec<&str> = certificate.iter().map(String::as_str).collect();
        let Some(output) = mpop_with(&host, &options, "external", user, "-") else {
            return;
        };
        assert_eq!(
            output.status.success(),
            logs_in,
            "{authority} {user}: {}",
            told(&output)
        );
        assert!(!host.log().contains("signal"), "no filter killed anybody");
        if logs_in {
            assert!(host.logged("login session=").contains("method=EXTERNAL"));
        }
    }
}

#[test]
fn secrets_that_popward_secret_makes_log_in() {
    let Some(host) = host("", "") else { return };
    let popward = host.at("libexec").join("popward");
    let ran = |arguments: &str, input: &str| {
        use std::io::Write;
        let mut child = Command::new(&popward)
            .args(arguments.split(' '))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", told(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    for (scheme, how) in [
        ("SCRAM-SHA-256", "scram-sha-256"),
        ("SCRAM-SHA-1", "scram-sha-1"),
        ("CRAM-MD5", "cram-md5"),
        ("ARGON2ID", "plain"),
    ] {
        let stored = ran(&format!("secret --scheme {scheme}"), "pencil\n");
        let line = format!("alice:{}:64421:64421::/nonexistent\n", stored.trim_end());
        fs::write(host.at("users"), line + &ran("secret --stand-in", "")).unwrap();
        let Some(output) = mpop(&host, how, "alice", "pencil") else {
            return;
        };
        assert!(output.status.success(), "{scheme}: {}", told(&output));
        assert!(
            !mpop(&host, how, "alice", "pencils")
                .unwrap()
                .status
                .success()
        );
    }
    // popauth stores each byte of "pencil" inverted.
    let dump = "#:len=6\nYWxpY2UA\n#:len=7\nj5qRnJaTAA==\n";
    fs::write(
        host.at("users"),
        ran("import-popauth", dump).replace("::", ":64421:64421"),
    )
    .unwrap();
    assert!(
        mpop(&host, "apop", "alice", "pencil")
            .unwrap()
            .status
            .success()
    );
}
