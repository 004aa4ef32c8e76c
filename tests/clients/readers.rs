//! Mail readers that open a POP3 maildrop as a folder: s-nail, mutt, GNU mailutils. And programs
//! that are no mail readers: nc, openssl.

use super::case::{Case, SECRETS, Used, text};
use super::host::{message, retrieved, spool};
use std::fs;
use std::io::Write;
use std::process::Stdio;

#[test]
fn s_nail_copies_every_message() {
    let case = Case::new();
    let authority = format!("tls-ca-file={}", case.authority());
    let rows: [(&str, bool, &[&str], Used); 3] = [
        ("plain", false, &[], ("USER/PASS", false)),
        (
            "stls",
            false,
            &["-S", "pop3-use-starttls"],
            ("USER/PASS", true),
        ),
        ("tls", true, &[], ("USER/PASS", true)),
    ];
    for (name, tls, options, used) in rows {
        let scheme = if tls { "pop3s" } else { "pop3" };
        let url = format!("{scheme}://alice:alice@{}", case.at(tls));
        let copy = format!("copy * {}\nxit", case.home.join(name).display());
        let fixed = [
            "-n",
            "-S",
            "v15-compat=yes",
            "-S",
            "pop3-no-apop",
            "-S",
            "tls-verify=strict",
            "-S",
            &authority,
        ];
        let arguments = [&fixed[..], options, &["-Y", &copy, "-f", &url]].concat();
        if case.runs("s-nail", &arguments, name).is_some() {
            case.mbox(name, &["Status:"], name);
            case.used(used, name);
        }
    }
}

#[test]
fn s_nail_logs_in_by_apop() {
    let case = Case::offering(SECRETS);
    let url = format!("pop3://alice:alice@{}", case.at(false));
    let copy = format!("copy * {}\nxit", case.home.join("apop").display());
    let arguments = ["-n", "-S", "v15-compat=yes", "-Y", &copy, "-f", &url];
    if case.runs("s-nail", &arguments, "APOP").is_some() {
        case.mbox("apop", &["Status:"], "APOP");
        case.used(("APOP", false), "APOP");
    }
}

/// Runs mutt in a terminal that `script` makes. The terminal gets a size, because ncurses 6.5
/// cannot open one of size 0. mutt tags all messages and copies them to a file.
fn mutt_row(case: &Case, name: &str, tls: bool, options: &str, used: Used) {
    let scheme = if tls { "pops" } else { "pop" };
    let file = case.home.join(name);
    // Without a folder mutt begins with a question, and takes the commands for the answer.
    let set = format!(
        "folder={} pop_delete=no confirmappend=no confirmcreate=no copy=no quit=yes",
        case.home.display()
    );
    let push = format!(
        "push <tag-pattern>~A<enter><tag-prefix><copy-message>{}<enter><quit>",
        file.display()
    );
    let command = format!(
        "stty rows 24 cols 80; TERM=vt100 mutt -n -F /dev/null -e 'set {options} {set}' -f {scheme}://alice:alice@{} -e '{push}'",
        case.at(tls)
    );
    if case.client("mutt").is_some()
        && case
            .runs("script", &["-qec", &command, "/dev/null"], name)
            .is_some()
    {
        case.mbox(name, &["Content-Length:", "Lines:", "Status:"], name);
        case.used(used, name);
    }
}

#[test]
fn mutt_copies_every_message() {
    let case = Case::new();
    let authority = format!("ssl_ca_certificates_file={}", case.authority());
    mutt_row(
        &case,
        "plain",
        false,
        "ssl_starttls=no ssl_force_tls=no",
        ("PLAIN", false),
    );
    let forced = format!("ssl_starttls=yes ssl_force_tls=yes {authority}");
    mutt_row(&case, "stls", false, &forced, ("PLAIN", true));
    mutt_row(&case, "tls", true, &authority, ("PLAIN", true));
    mutt_row(
        &case,
        "user",
        true,
        &format!("pop_authenticators=user {authority}"),
        ("USER/PASS", true),
    );
}

#[test]
fn mutt_logs_in_by_apop() {
    let case = Case::offering(SECRETS);
    let options = "ssl_starttls=no ssl_force_tls=no pop_authenticators=apop";
    mutt_row(&case, "apop", false, options, ("APOP", false));
}

#[test]
fn mailutils_reads_every_message() {
    let case = Case::new();
    let url = format!("pop://alice:alice@{}", case.at(false));
    let tls = format!("pops://alice:alice@{}", case.at(true));
    // mailutils uses STLS where it is offered, and accepts the certificate.
    for (url, used) in [
        (format!("{url};notls"), ("USER/PASS", false)),
        (url, ("USER/PASS", true)),
        (tls, ("USER/PASS", true)),
    ] {
        let Some(count) = case.runs("messages", &["--no-config", "-q", &url], &url) else {
            return;
        };
        assert_eq!(
            count.split_whitespace().last(),
            Some(case.expected.len().to_string().as_str())
        );
        case.used(used, &url);
        for (number, expected) in (1..).zip(&case.expected) {
            let number = number.to_string();
            let arguments = ["--no-config", "-h", "-f", &url, &number];
            let Some(read) = case.runs("readmsg", &arguments, &url) else {
                return;
            };
            // It writes a From_ line of its own.
            let read = read.split_once('\n').unwrap().1;
            assert_eq!(
                read.trim_end_matches('\n'),
                expected.trim_end_matches('\n'),
                "{url}, {number}"
            );
            case.used(used, &url);
        }
    }
}

/// emacs fetches mail with movemail. This test has no large message, because movemail 3.15 loses a
/// part of one between its stream and its file, whatever the server. `readmsg` above reads it
/// whole.
#[test]
fn movemail_moves_every_message() {
    let case = Case::new();
    fs::write(case.host.spool("alice"), spool(20)).unwrap();
    let url = format!("pop://alice:alice@{}", case.at(false));
    let file = case.home.join("moved");
    let Some(_) = case.runs(
        "movemail",
        &["--no-config", "--emacs", &url, file.to_str().unwrap()],
        &url,
    ) else {
        return;
    };
    let moved = text(&fs::read(&file).unwrap());
    // movemail adds its own headers and quotes From_ lines.
    let own = |line: &&str| !line.starts_with("X-IMAPbase:") && !line.starts_with("X-UID:");
    let moved: String = moved
        .split_inclusive('\n')
        .filter(own)
        .collect::<String>()
        .replace(">>From", ">From");
    for number in 1..=20 {
        assert!(
            moved.contains(&retrieved(number)),
            "message {number} in {moved}"
        );
    }
    assert_eq!(moved.matches("\nSubject: message ").count(), 20);
    assert_eq!(
        case.host.bytes("alice"),
        b"",
        "it deletes what it has moved"
    );
}

const SCRIPT: &[u8] = b"USER alice\r\nPASS alice\r\nSTAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n";

/// Sends all commands at once, by a program that knows nothing of POP3.
fn said_at_once(case: &Case, program: &str, arguments: &[&str]) -> Option<String> {
    let mut child = case
        .limited(program)?
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(SCRIPT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        output.status
    );
    Some(text(&output.stdout))
}

#[test]
fn openssl_and_nc_get_the_exact_replies() {
    let case = Case::new();
    let authority = case.authority();
    let believes = [
        "s_client",
        "-quiet",
        "-ign_eof",
        "-verify_return_error",
        "-CAfile",
        &authority,
    ];
    let plain = case.host.plain.to_string();
    let (at_plain, at_tls) = (case.at(false), case.at(true));
    let rows: [(&str, Vec<&str>, bool); 3] = [
        ("nc", vec!["-N", "127.0.0.1", &plain], false),
        (
            "openssl",
            [&believes[..], &["-connect", &at_tls]].concat(),
            true,
        ),
        (
            "openssl",
            [&believes[..], &["-starttls", "pop3", "-connect", &at_plain]].concat(),
            true,
        ),
    ];
    for (program, arguments, tls) in rows {
        fs::write(case.host.spool("alice"), message(1, "One line.\n.")).unwrap();
        let Some(heard) = said_at_once(&case, program, &arguments) else {
            continue;
        };
        let greeted = if arguments.contains(&"-starttls") {
            ""
        } else {
            "+OK popward ready\n"
        };
        let body = "From: <sender1@example.org>\nMessage-ID: <1@example.org>\nSubject: message 1\n\nOne line.\n..\n";
        let octets = body.len() + body.matches('\n').count() - 1;
        let expected = format!(
            "{greeted}+OK password?\n+OK 1 messages, {octets} octets\n+OK 1 {octets}\n+OK {octets} octets\n{body}.\n\
             +OK message 1 deleted\n+OK popward signing off\n"
        );
        assert_eq!(heard, expected, "{program} {arguments:?}");
        assert_eq!(case.host.bytes("alice"), b"");
        case.used(("USER/PASS", tls), program);
    }
}
