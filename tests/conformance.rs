//! The rules of the RFCs, as scripts (`tests/conformance/*.pop3`).
//!
//! Each script runs on a connection in the clear, over TLS, and over TLS after STLS. On each it
//! runs line by line, in one write, and octet by octet. The replies must be those of the script,
//! and the same each time. Afterwards the spool must be as the script says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    reason = "a test may fail"
)]

mod host;
#[path = "conformance/run.rs"]
mod run;
#[path = "conformance/script.rs"]
mod script;
#[path = "conformance/secrets.rs"]
mod secrets;

use host::wire::Security;
use host::{Host, User, user};
use run::Cut;
use rustls::ClientConfig;
use script::{Over, Script};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// The folder of the scripts.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// The messages of `maildrop.mbox`, each with the bytes up to the next one.
fn maildrop() -> Vec<String> {
    let text = std::fs::read_to_string(folder().join("maildrop.mbox")).unwrap();
    let mut messages = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if line.starts_with("From ") && !messages.last().unwrap().is_empty() {
            messages.push(String::new());
        }
        messages.last_mut().unwrap().push_str(line);
    }
    messages
}

/// Makes the files that the scripts' configurations name, in a directory that goes away. `TOKENS`
/// is a program that knows the owner of each token. `CLIENTS` and `SERVER` are authorities for
/// clients' certificates. `CLIENTS` signed the client's own.
fn things() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let known = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
    let script = format!(
        "#!/bin/sh\ntoken=$(cat)\n[ \"$token\" = {known} ] || [ ${{#token}} -ge 1024 ] && echo alice\n"
    );
    std::fs::write(at("tokens"), script).unwrap();
    host::certificate(directory.path(), host::P256);
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=alice",
            "-newkey",
        ])
        .args(host::P256)
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(at("own.key"))
        .arg("-out")
        .arg(at("own.pem"))
        .output()
        .unwrap();
    assert!(made.status.success());
    let others = ["tokens", "own.pem", "cert.pem"].map(at);
    for path in others
        .iter()
        .map(PathBuf::as_path)
        .chain([directory.path()])
    {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    directory
}

/// A host with this configuration. Alice has the maildrop, bob has none, and carol has a file that
/// is not an mbox. Dan's password is ` pass  word ` with its spaces, erna's is `grüße€` in UTF-8,
/// and emil's is `grüße` in ISO 8859-1.
fn host(configuration: &[(String, String)], things: &Path) -> Host {
    let users = [
        user("alice", 64401, maildrop().concat().as_bytes()),
        User {
            spool: None,
            ..user("bob", 64402, b"")
        },
        user("carol", 64403, b"this is no mbox\n"),
        user("dan", 64404, b""),
        user("erna", 64405, b""),
        user("emil", 64406, b""),
    ];
    let mut more = String::new();
    let mut changes = vec![(
        "failure_delay = \"200ms\"",
        "failure_delay = \"1ms\"".to_owned(),
    )];
    for (section, line) in configuration {
        let mut line = line.clone();
        for (word, file) in [
            ("TOKENS", "tokens"),
            ("CLIENTS", "own.pem"),
            ("SERVER", "cert.pem"),
        ] {
            line = line.replace(word, things.join(file).to_str().unwrap());
        }
        match section.as_str() {
            "[auth]" => changes.push(("[auth]\n", format!("[auth]\n{line}\n"))),
            "[spool]" if line.starts_with("lock_timeout") => {
                changes.push(("lock_timeout = \"2s\"", line));
            }
            "[spool]" => changes.push(("[spool]\n", format!("[spool]\n{line}\n"))),
            _ => more += &format!("{section}\n{line}\n"),
        }
    }
    let changes: Vec<_> = changes
        .iter()
        .map(|(line, other)| (*line, other.as_str()))
        .collect();
    let host = Host::with(&users, &more, &changes);
    let accounts = std::fs::read_to_string(host.at("users")).unwrap();
    let accounts = accounts.replace("dan:{PLAIN}dan:", "dan:{PLAIN} pass  word :");
    let accounts = accounts.replace("erna:{PLAIN}erna:", "erna:{PLAIN}grüße€:");
    let (before, after) = accounts.split_once("emil:{PLAIN}emil:").unwrap();
    let emil = b"emil:{PLAIN}gr\xfc\xdfe:";
    let accounts = [before.as_bytes(), emil, after.as_bytes()].concat();
    std::fs::write(host.at("users"), accounts).unwrap();
    host
}

/// Runs the scripts of a file, and prints what failed.
fn chapter(name: &str) {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    let mut by_configuration: BTreeMap<_, Vec<Script>> = BTreeMap::new();
    let mut count = 0;
    for script in script::parse(name, &text) {
        by_configuration
            .entry(script.configuration.clone())
            .or_default()
            .push(script);
        count += 1;
    }
    assert!(count > 0);
    let mut wrong = Vec::new();
    let messages = maildrop();
    let things = things();
    for (configuration, scripts) in by_configuration {
        let host = host(&configuration, things.path());
        let config = host::wire::config_with_certificate(&host, things.path());
        for script in scripts {
            if let Err(why) = every_way(&script, &host, &config, &messages) {
                wrong.push(format!("{}: {}: {why}", script.place, script.title));
                let log = host.log();
                let last: Vec<_> = log.lines().rev().take(20).collect();
                wrong.extend(last.into_iter().rev().map(|line| format!("  {line}")));
            }
        }
    }
    let wrong = wrong.join("\n");
    assert!(wrong.is_empty(), "of {count} scripts:\n{wrong}");
}

/// Runs a script on each kind of connection, with its lines in each kind of pieces.
fn every_way(
    script: &Script,
    host: &Host,
    config: &Arc<ClientConfig>,
    messages: &[String],
) -> Result<(), String> {
    let left: String = script
        .left
        .iter()
        .map(|number| messages[number - 1].as_str())
        .collect();
    let varies = script.steps.iter().any(|step| step.only.is_some());
    let mut across = None;
    for security in [Security::Clear, Security::Implicit, Security::Stls] {
        let over = if security == Security::Clear {
            Over::Clear
        } else {
            Over::Tls
        };
        if script.only.is_some_and(|only| only != over) {
            continue;
        }
        let mut within = None;
        for cut in [Cut::Lines, Cut::Once, Cut::Octets] {
            let way = format!("{security:?}, {cut:?}");
            std::fs::write(host.spool("alice"), messages.concat()).unwrap();
            let heard = run::run(script, host, config, security, cut);
            let mut heard = heard.map_err(|why| format!("{way}: {why}"))?;
            run::settled(host);
            if host.bytes("alice") != left.as_bytes() {
                return Err(format!("{way}: the spool is not what it should be"));
            }
            same(&mut within, &way, heard.clone())?;
            // Each kind of connection has other capabilities.
            heard.retain(|line| !line.starts_with(run::OFFERED));
            if !varies {
                same(&mut across, &way, heard)?;
            }
        }
    }
    Ok(())
}

/// Whether the replies are the same as in the run before.
fn same(
    before: &mut Option<(String, Vec<String>)>,
    way: &str,
    heard: Vec<String>,
) -> Result<(), String> {
    let (other, first) = before.get_or_insert_with(|| (way.to_owned(), heard.clone()));
    if *first == heard {
        return Ok(());
    }
    Err(format!("{other} heard {first:?}\n{way} heard {heard:?}"))
}

/// Defines one test for each file.
macro_rules! chapters {
    ($($test:ident $file:literal)*) => {
        $(#[test]
        fn $test() {
            chapter($file);
        })*

        #[test]
        fn no_script_is_left_out() {
            let run = [$($file),*];
            for entry in std::fs::read_dir(folder()).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(!name.ends_with(".pop3") || run.contains(&name.as_str()), "{name}");
            }
        }
    };
}

chapters! {
    rfc1939_the_protocol "rfc1939.pop3"
    challenges_of_apop_and_cram_md5 "challenges.pop3"
    rfc2449_capabilities "rfc2449.pop3"
    rfc2595_stls "rfc2595.pop3"
    rfc3206_response_codes "rfc3206.pop3"
    rfc4422_external "external.pop3"
    rfc5034_auth "rfc5034.pop3"
    rfc5802_scram "scram.pop3"
    rfc6856_utf8_and_languages "rfc6856.pop3"
    rfc7628_tokens "tokens.pop3"
    what_qpopper_has "qpopper.pop3"
    what_clients_do "habits.pop3"
}
