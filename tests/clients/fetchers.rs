//! Programs that fetch mail: curl, fetchmail, mpop, getmail.

use super::case::{Case, SECRETS, Used, succeeded, text};
use super::host::mpop_binds;
use std::fs;

/// A way to run curl: its options, the scheme, and how it must log in.
type Row = (&'static [&'static str], &'static str, Used);

fn curl_row(case: &Case, (options, scheme, used): Row) {
    let url = format!("{scheme}://{}", case.at(scheme == "pop3s"));
    let authority = case.authority();
    let what = format!("{options:?} {url}");
    let fixed = ["-sS", "-u", "alice:alice", "--cacert", &authority];
    for (number, expected) in (1..).zip(&case.expected) {
        let url = format!("{url}/{number}");
        let arguments = [&fixed[..], options, &[&url]].concat();
        let Some(heard) = case.runs("curl", &arguments, &what) else {
            return;
        };
        assert_eq!(heard, *expected, "{what}");
        case.used(used, &what);
    }
}

#[test]
fn curl_fetches_every_byte() {
    let case = Case::new();
    let rows: [Row; 6] = [
        (&[], "pop3", ("PLAIN", false)),
        (&["--login-options", "AUTH=LOGIN"], "pop3", ("LOGIN", false)),
        (
            &["--sasl-ir", "--login-options", "AUTH=PLAIN"],
            "pop3",
            ("PLAIN", false),
        ),
        (&[], "pop3s", ("PLAIN", true)),
        (&["--ssl-reqd"], "pop3", ("PLAIN", true)),
        (
            &["--ssl-reqd", "--sasl-ir", "--login-options", "AUTH=LOGIN"],
            "pop3",
            ("LOGIN", true),
        ),
    ];
    for row in rows {
        curl_row(&case, row);
    }
}

#[test]
fn curl_fetches_without_sasl() {
    let case = Case::offering(r#"["user"]"#);
    curl_row(&case, (&[], "pop3", ("USER/PASS", false)));
    curl_row(&case, (&["--ssl-reqd"], "pop3", ("USER/PASS", true)));
}

#[test]
fn curl_logs_in_by_apop_and_cram_md5() {
    // Not SCRAM, because Debian's curl is built without GSASL.
    let case = Case::offering(SECRETS);
    let rows: [Row; 3] = [
        (&["--login-options", "AUTH=+APOP"], "pop3", ("APOP", false)),
        (
            &["--login-options", "AUTH=CRAM-MD5"],
            "pop3",
            ("CRAM-MD5", false),
        ),
        (
            &["--ssl-reqd", "--login-options", "AUTH=CRAM-MD5"],
            "pop3",
            ("CRAM-MD5", true),
        ),
    ];
    for row in rows {
        curl_row(&case, row);
    }
}

#[test]
fn curl_lists_and_deletes() {
    let case = Case::new();
    let url = format!("pop3://{}/", case.at(false));
    let Some(list) = case.runs("curl", &["-sS", "-u", "alice:alice", &url], "LIST") else {
        return;
    };
    let octets = |message: &String| message.len() + message.matches('\n').count();
    let expected: String = (1..)
        .zip(&case.expected)
        .map(|(number, message)| format!("{number} {}\n", octets(message)))
        .collect();
    assert_eq!(list, expected);
    let ids = case
        .runs(
            "curl",
            &["-sS", "-u", "alice:alice", "-X", "UIDL", &url],
            "UIDL",
        )
        .unwrap();
    assert_eq!(ids.lines().count(), case.expected.len());
    let before = text(&case.host.bytes("alice"));
    case.runs(
        "curl",
        &["-sS", "-u", "alice:alice", "-I", "-X", "DELE 1", &url],
        "DELE",
    )
    .unwrap();
    let second = before.find("From sender2").unwrap();
    assert_eq!(text(&case.host.bytes("alice")), before[second..]);
}

/// A configuration of fetchmail. It hands each message to a file of its own.
fn fetchmail_rc(case: &Case, name: &str, options: &str) -> std::path::PathBuf {
    let rc = format!(
        "set no bouncemail\nset invisible\n\
         poll localhost {options} no rewrite mda \"mkdir -p {name} && cat >{name}/$$\"\n"
    );
    case.write(&format!("{name}.rc"), &rc)
}

#[test]
fn fetchmail_fetches_every_byte() {
    let case = Case::new();
    let (plain, tls) = (case.host.plain, case.host.tls);
    let believes = format!("sslcertck sslcertfile {}", case.authority());
    let user = "user alice password alice keep fetchall";
    let rows = [
        (
            "plain",
            format!("port {plain} proto POP3 {user} sslproto \"\""),
            false,
        ),
        (
            "tls",
            format!("port {tls} proto POP3 {user} ssl {believes}"),
            true,
        ),
        (
            "stls",
            format!("port {plain} proto POP3 {user} sslproto TLS1.2+ {believes}"),
            true,
        ),
    ];
    for (name, options, secure) in rows {
        let rc = fetchmail_rc(&case, name, &options);
        let Some(_) = case.runs("fetchmail", &["-f", rc.to_str().unwrap()], name) else {
            return;
        };
        case.stored(name, "fetchmail");
        case.used(("USER/PASS", secure), name);
    }
}

#[test]
fn fetchmail_fetches_only_new_messages_by_uidl() {
    let case = Case::new();
    let believes = format!(
        "sslproto TLS1.2+ sslcertck sslcertfile {}",
        case.authority()
    );
    let options = format!(
        "port {} proto POP3 uidl user alice password alice keep {believes}",
        case.host.plain
    );
    let rc = fetchmail_rc(&case, "seen", &options);
    let arguments = ["-i", "ids", "-f", rc.to_str().unwrap()];
    let Some(_) = case.runs("fetchmail", &arguments, "first") else {
        return;
    };
    case.stored("seen", "first");
    let again = case
        .limited("fetchmail")
        .unwrap()
        .args(arguments)
        .output()
        .unwrap();
    // fetchmail's status 1 means that there was no new mail.
    assert_eq!(again.status.code(), Some(1));
    case.stored("seen", "nothing came twice");
    // The deleted messages are gone. Only the mail that came meanwhile is fetched.
    let options = options.replace(" keep ", " nokeep fetchall ");
    let rc = fetchmail_rc(&case, "last", &options);
    case.runs(
        "fetchmail",
        &["-i", "ids", "-f", rc.to_str().unwrap()],
        "deleting",
    )
    .unwrap();
    case.stored("last", "deleting");
    assert_eq!(case.host.bytes("alice"), b"");
}

#[test]
fn fetchmail_logs_in_by_apop() {
    let case = Case::offering(SECRETS);
    let options = format!(
        "port {} proto APOP user alice password alice keep fetchall sslproto \"\"",
        case.host.plain
    );
    let rc = fetchmail_rc(&case, "apop", &options);
    if case
        .runs("fetchmail", &["-f", rc.to_str().unwrap()], "APOP")
        .is_some()
    {
        case.stored("apop", "APOP");
        case.used(("APOP", false), "APOP");
    }
}

/// What mpop is told about the connection.
#[derive(Debug)]
enum Way {
    Clear,
    Tls,
    Stls,
}

fn mpop_row(case: &Case, auth: &str, way: &Way, pipelining: &str, method: &'static str) {
    let name = format!("{auth}-{way:?}-{pipelining}");
    let bound = !matches!(way, Way::Clear) && mpop_binds(auth);
    let (auth, method) = match method {
        "SCRAM-SHA-1" if bound => ("scram-sha-1-plus", "SCRAM-SHA-1-PLUS"),
        "SCRAM-SHA-256" if bound => ("scram-sha-256-plus", "SCRAM-SHA-256-PLUS"),
        _ => (auth, method),
    };
    for part in ["", "/tmp", "/new", "/cur"] {
        case.directory(&format!("{name}{part}"));
    }
    let trust = format!("--tls-trust-file={}", case.authority());
    let (tls, options) = match way {
        Way::Clear => (false, vec!["--tls=off"]),
        Way::Tls => (true, vec!["--tls=on", "--tls-starttls=off", trust.as_str()]),
        Way::Stls => (true, vec!["--tls=on", "--tls-starttls=on", trust.as_str()]),
    };
    let at = case.at(matches!(way, Way::Tls));
    let (host, port) = at.split_once(':').unwrap();
    let own = [
        format!("--host={host}"),
        format!("--port={port}"),
        format!("--auth={auth}"),
        format!("--pipelining={pipelining}"),
        format!("--delivery=maildir,{name}"),
        format!(
            "--uidls-file={}",
            case.home.join(&name).with_extension("uidls").display()
        ),
    ];
    let fixed = [
        "--user=alice",
        "--passwordeval=echo alice",
        "--keep=on",
        "--received-header=off",
    ];
    let arguments: Vec<&str> = own
        .iter()
        .map(String::as_str)
        .chain(fixed)
        .chain(options)
        .collect();
    if case.runs("mpop", &arguments, &name).is_some() {
        case.stored(&format!("{name}/new"), &name);
        case.used((method, tls), &name);
    }
}

#[test]
fn mpop_fetches_every_byte() {
    let case = Case::new();
    for way in [Way::Clear, Way::Tls, Way::Stls] {
        for pipelining in ["auto", "off"] {
            mpop_row(&case, "user", &way, pipelining, "USER/PASS");
        }
    }
    mpop_row(&case, "plain", &Way::Stls, "auto", "PLAIN");
    mpop_row(&case, "login", &Way::Tls, "auto", "LOGIN");
}

/// `mpop -S` shows the capabilities that it knows, and does not log in.
#[test]
fn mpop_shows_what_the_server_offers() {
    let case = Case::new();
    let trust = format!("--tls-trust-file={}", case.authority());
    let rows: [(bool, &[&str]); 3] = [
        (false, &["--tls=off"]),
        (true, &["--tls=on", "--tls-starttls=off", &trust]),
        (false, &["--tls=on", "--tls-starttls=on", &trust]),
    ];
    for (ended, (tls, options)) in (1..).zip(rows) {
        let at = case.at(tls);
        let (host, port) = at.split_once(':').unwrap();
        let own = [format!("--host={host}"), format!("--port={port}")];
        let own = own.iter().map(String::as_str);
        let arguments: Vec<&str> = ["-S"]
            .into_iter()
            .chain(own)
            .chain(options.iter().copied())
            .collect();
        let Some(heard) = case.runs("mpop", &arguments, &at) else {
            return;
        };
        // mpop's own words for what CAPA says. With STLS it also prints the capabilities from
        // before.
        for offered in [
            "popward ready",
            "PIPELINING:",
            "TOP:",
            "UIDL:",
            "EXPIRE NEVER:",
            "RESP-CODES:",
            "AUTH-RESP-CODE:",
        ] {
            assert!(heard.contains(offered), "{offered:?}, {options:?}: {heard}");
        }
        // Their order depends on mpop's version.
        for mechanism in ["USER", "PLAIN", "LOGIN"] {
            let offered = heard.split_whitespace().any(|word| word == mechanism);
            assert!(offered, "{mechanism}, {options:?}: {heard}");
        }
        assert_eq!(heard.contains("STLS:"), !tls, "{options:?}: {heard}");
        let line = case.host.logged_times("] end session=", ended);
        assert!(line.contains("why=\"quit before login\""), "{line}");
    }
}

#[test]
fn mpop_logs_in_by_stored_secrets() {
    let case = Case::offering(SECRETS);
    for (auth, method) in [
        ("apop", "APOP"),
        ("cram-md5", "CRAM-MD5"),
        ("scram-sha-1", "SCRAM-SHA-1"),
        ("scram-sha-256", "SCRAM-SHA-256"),
    ] {
        mpop_row(&case, auth, &Way::Clear, "auto", method);
        mpop_row(&case, auth, &Way::Stls, "auto", method);
    }
}

#[test]
fn getmail_fetches_every_byte() {
    let case = Case::new();
    let (plain, tls) = (case.host.plain, case.host.tls);
    let rows = [
        ("plain", "SimplePOP3Retriever", plain, String::new(), false),
        (
            "tls",
            "SimplePOP3SSLRetriever",
            tls,
            format!("ca_certs = {}\n", case.authority()),
            true,
        ),
    ];
    for (name, retriever, port, more, secure) in rows {
        let rc = format!(
            "[retriever]\ntype = {retriever}\nserver = localhost\nport = {port}\nusername = alice\npassword = alice\n{more}\
             [destination]\ntype = MDA_external\npath = /bin/sh\narguments = (\"-c\", \"mkdir -p {name} && cat >{name}/$$\")\n\
             [options]\ndelete = false\nread_all = true\ndelivered_to = false\nreceived = false\n"
        );
        case.write(&format!("{name}.rc"), &rc);
        let Some(mut getmail) = case.limited("getmail") else {
            return;
        };
        let output = getmail
            .arg(format!("--getmaildir={}", case.home.display()))
            .arg(format!("--rcfile={name}.rc"))
            .output()
            .unwrap();
        succeeded(&output, name);
        case.stored(name, "getmail");
        case.used(("USER/PASS", secure), name);
    }
    assert!(fs::read_dir(case.home.join("tls")).unwrap().count() > 0);
}
