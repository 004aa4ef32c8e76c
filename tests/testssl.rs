//! testssl.sh examines both ways to TLS. It must find nothing that it would not find at an A-grade
//! server.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::Host;
use std::process::{Command, Stdio};

/// Findings about this test's certificate: it lasts days, signs itself, and has no name on the
/// internet.
const NOT_OF_THE_SERVER: [&str; 5] = [
    "cert_",
    "DNS_CAArecord",
    "OCSP_",
    // Since testssl.sh 3.2: T, because nobody vouches for the certificate.
    "overall_grade",
    "grade_cap_reason",
];

/// Id, severity and text.
type Finding = (String, String, String);

/// The findings of an audit, each of which is a JSON object.
fn findings(json: &str) -> Vec<Finding> {
    let value = |object: &str, key: &str| {
        let (_, rest) = object.split_once(&format!("\"{key}\""))?;
        let (_, rest) = rest.split_once('"')?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    json.split('{')
        .filter_map(|object| {
            Some((
                value(object, "id")?,
                value(object, "severity")?,
                value(object, "finding")?,
            ))
        })
        .collect()
}

/// Everything that testssl.sh finds at this port, with `options`.
fn audit(host: &Host, port: u16, options: &[&str]) -> Vec<Finding> {
    let file = host.at(&format!("testssl-{port}.json"));
    // testssl.sh does not overwrite a file.
    let _ = std::fs::remove_file(&file);
    let output = Command::new("testssl")
        .args([
            "--quiet",
            "--warnings",
            "batch",
            "--color",
            "0",
            "--ip",
            "127.0.0.1",
        ])
        .arg("--jsonfile")
        .arg(&file)
        .args(options)
        .arg(format!("localhost:{port}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let json = std::fs::read_to_string(file).unwrap_or_default();
    assert!(!json.is_empty(), "{said}");
    findings(&json)
}

#[test]
fn testssl_finds_nothing_to_fix() {
    if Command::new("testssl").arg("--version").output().is_err() {
        return host::skipped("testssl.sh is not installed");
    }
    let host = Host::start(&[]);
    let runs: [(u16, &[&str]); 2] = [(host.tls, &[]), (host.plain, &["--starttls", "pop3"])];
    // The audits mostly wait, so both run at once.
    std::thread::scope(|scope| {
        for (port, options) in runs {
            let host = &host;
            scope.spawn(move || judge(host, port, options));
        }
    });
}

/// testssl.sh 3.0.8 lets `openssl s_client` ask for a renegotiation and ends its input at once. It
/// takes exit code 0 for consent. But openssl also ends with 0 if it sees its input's end before
/// the server's refusal.
const RENEGOTIATION: &str = "secure_client_renego";
/// How often this finding is tried again. A server that consents does so each time.
const AGAIN: usize = 3;

fn judge(host: &Host, port: u16, options: &[&str]) {
    let all = audit(host, port, options);
    let has = |id: &str, text: &str| {
        all.iter()
            .any(|(found, _, finding)| found == id && finding.contains(text))
    };
    // This shows that it reached the server at all.
    assert!(
        has("TLS1_3", "offered") && has("TLS1_2", "offered"),
        "{all:?}"
    );
    assert!(
        has("TLS1_1", "not offered") && has("TLS1", "not offered"),
        "{all:?}"
    );
    let mut bad = to_mend(all);
    let renegotiation = [options, &["-R"]].concat();
    for _ in 0..AGAIN {
        if bad.iter().any(|(id, ..)| id != RENEGOTIATION) {
            break;
        }
        if bad.is_empty() {
            return;
        }
        let all = audit(host, port, &renegotiation);
        assert!(all.iter().any(|(id, ..)| id == RENEGOTIATION), "{all:?}");
        bad = to_mend(all);
    }
    assert!(bad.is_empty(), "port {port}: {bad:#?}");
}

/// The findings that the server could mend.
fn to_mend(mut all: Vec<Finding>) -> Vec<Finding> {
    all.retain(|(id, severity, _)| {
        // WARN means that it could not examine something. Sometimes it resumes with a client that
        // ends before it has its ticket.
        let fine = matches!(severity.as_str(), "OK" | "INFO" | "DEBUG" | "WARN");
        !fine && !NOT_OF_THE_SERVER.iter().any(|kind| id.starts_with(kind))
    });
    all
}
