//! `popward spool` shows the messages that the server would see in a file. It runs as its caller.
//! It refuses a file that is not a spool.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, built, install, user};
use nix::sys::stat::Mode;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The schemes that name every message, and the folder with their server's sessions.
const SERVERS: [(&str, &str); 4] = [
    ("popa3d", "popa3d"),
    ("solid-pop3d", "solid-pop3d"),
    ("tpop3d", "tpop3d"),
    ("dovecot-md5", "dovecot-pop3d-md5"),
];

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("privsep/mbox/tests/vectors")
}

fn vector(name: &str) -> PathBuf {
    vectors().join(format!("{name}.mbox"))
}

/// What `popward spool` does with `file` and `options`.
fn spool(file: &Path, options: &[&str]) -> Output {
    let mut popward = Command::new(built().join("popward"));
    popward
        .arg("spool")
        .arg(file)
        .args(options)
        .output()
        .unwrap()
}

/// The columns that it shows, for each message.
fn shown(file: &Path, options: &[&str]) -> Vec<Vec<String>> {
    let output = spool(file, options);
    assert_eq!(
        (output.status.code(), &output.stderr[..]),
        (Some(0), &b""[..])
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text
        .lines()
        .map(|line| line.split(' ').map(str::to_owned).collect());
    lines.collect()
}

/// One column, without hidden messages.
fn column(file: &Path, options: &[&str], column: usize) -> Vec<String> {
    let mut lines = shown(file, options);
    lines.retain(|line| line[0] != "-");
    lines
        .into_iter()
        .map(|mut line| line.swap_remove(column))
        .collect()
}

const OCTETS: usize = 2;
const UIDL: usize = 3;

#[test]
fn json_and_text_say_the_same_of_every_spool() {
    let mut messages = 0;
    for entry in std::fs::read_dir(vectors()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "mbox") {
            continue;
        }
        for list in ["native", "x-uidl", "x-uidl,popa3d", "tpop3d,native"] {
            let objects: Vec<String> = shown(&path, &["--uidl", list])
                .into_iter()
                .map(|line| {
                    let [number, offset, octets, uidl, key] = &line[..] else {
                        panic!("{line:?}");
                    };
                    let hidden = number == "-";
                    let number = if hidden { "null" } else { number };
                    let uidl = uidl.replace('\\', "\\\\").replace('"', "\\\"");
                    assert_eq!(key.len(), 32, "{line:?}");
                    format!(
                        "{{\"number\":{number},\"offset\":{offset},\"octets\":{octets},\"uidl\":\"{uidl}\",\"key\":\"{key}\",\"hidden\":{hidden}}}"
                    )
                })
                .collect();
            messages += objects.len();
            let json = spool(&path, &["--json", "--uidl", list]);
            assert_eq!(json.status.code(), Some(0));
            assert_eq!(
                String::from_utf8(json.stdout).unwrap(),
                format!("{{\"messages\":[{}]}}\n", objects.join(",")),
                "{}",
                path.display()
            );
        }
    }
    assert!(messages > 200, "{messages}");
}

#[test]
fn uidls_are_those_of_the_server_that_is_named() {
    for (scheme, server) in SERVERS {
        let session = std::fs::read(vectors().join(server).join("plain.txt")).unwrap();
        let session = String::from_utf8_lossy(&session).into_owned();
        let listing = session.split("C: UIDL\n").nth(1).unwrap().lines().skip(1);
        let theirs: Vec<String> = listing
            .take_while(|line| *line != "S: .\\r\\n")
            .map(|line| {
                line.trim_end_matches("\\r\\n")
                    .rsplit(' ')
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(theirs.len(), 7);
        assert_eq!(column(&vector("plain"), &["--uidl", scheme], UIDL), theirs);
    }
}

#[test]
fn equal_uidls_are_told_apart() {
    let native = column(&vector("dup"), &[], UIDL);
    let popa3d = column(&vector("dup"), &["--uidl", "popa3d"], UIDL);
    for uidls in [native, popa3d] {
        assert_eq!(uidls[1], format!("{}-2", uidls[0]));
        assert_eq!(uidls[3], format!("{}-2", uidls[2]));
    }
    let mixed = column(&vector("xuidl"), &["--uidl", "x-uidl"], UIDL);
    let native = column(&vector("xuidl"), &[], UIDL);
    assert_eq!(mixed[1], "0123456789abcdef0123456789abcdef");
    assert_eq!(mixed[6], "0123456789abcdef0123456789abcdef-2");
    // No UIDLs: popward's own.
    assert_eq!(mixed[2..5], native[2..5]);
}

#[test]
fn the_pseudo_message_is_shown_without_a_number() {
    let lines = shown(&vector("pseudo"), &[]);
    let numbers: Vec<&str> = lines.iter().map(|line| line[0].as_str()).collect();
    assert_eq!(numbers, ["-", "1", "2", "3"]);
}

#[test]
fn it_shows_what_the_server_tells_a_client() {
    let bytes = std::fs::read(vector("plain")).unwrap();
    let host = Host::start(&[user("alice", 64401, &bytes)]);
    let mut client = host.login("alice");
    let mut told = |command: &str| {
        let lines = client.multi(command);
        let words = lines
            .lines()
            .map(|line| line.split(' ').nth(1).unwrap().to_owned());
        words.collect::<Vec<_>>()
    };
    assert_eq!(column(&vector("plain"), &[], UIDL), told("UIDL"));
    assert_eq!(column(&vector("plain"), &[], OCTETS), told("LIST"));
}

#[test]
fn an_empty_file_has_no_messages() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("empty");
    std::fs::write(&file, "").unwrap();
    assert!(shown(&file, &[]).is_empty());
    let json = spool(&file, &["--json"]);
    assert_eq!(
        (json.status.code(), &json.stdout[..]),
        (Some(0), &b"{\"messages\":[]}\n"[..])
    );
}

#[test]
fn what_is_no_spool_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("letter"), "Dear Bob,\n").unwrap();
    std::fs::write(at("returns"), "From a@b Mon Nov 23 10:00:00 2026\rA: 1\r\r").unwrap();
    nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
    for (file, reason) in [
        (at("letter"), "does not begin with a From_ line: no mbox"),
        (at("returns"), "its lines end with CR alone: no mbox"),
        (directory.path().to_owned(), "not a regular file"),
        (at("fifo"), "not a regular file"),
        (PathBuf::from("/dev/null"), "not a regular file"),
        (
            at("missing"),
            "cannot be opened: No such file or directory (os error 2)",
        ),
        (
            at("letter/in it"),
            "cannot be opened: Not a directory (os error 20)",
        ),
    ] {
        let text = spool(&file, &[]);
        assert_eq!((text.status.code(), &text.stdout[..]), (Some(1), &b""[..]));
        assert_eq!(
            String::from_utf8(text.stderr).unwrap(),
            format!("popward-spool: {}: {reason}\n", file.display())
        );
        let json = spool(&file, &["--json"]);
        assert_eq!((json.status.code(), &json.stderr[..]), (Some(1), &b""[..]));
        assert_eq!(
            String::from_utf8(json.stdout).unwrap(),
            format!("{{\"error\":\"{reason}\"}}\n")
        );
    }
}

#[test]
fn a_bad_command_line_is_said_to_be_one() {
    let plain = vector("plain");
    for options in [
        &["--uidl"][..],
        &["--uidl", "qmail"],
        &["--uidl", ""],
        &["--jsno"],
        &["more"],
    ] {
        let output = spool(&plain, options);
        assert_eq!(
            (output.status.code(), &output.stdout[..]),
            (Some(2), &b""[..])
        );
        assert!(output.stderr.starts_with(b"popward-spool: "), "{options:?}");
    }
    let help = Command::new(built().join("popward"))
        .args(["spool", "--help"])
        .output()
        .unwrap();
    assert!(help.status.success() && help.stdout.starts_with(b"usage: popward spool"));
}

/// The executable is the one beside `popward`, not one of the search path.
#[test]
fn without_its_executable_it_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let libexec = directory.path().join("libexec");
    install(&libexec);
    std::fs::remove_file(libexec.join("popward-spool")).unwrap();
    let output = Command::new(libexec.join("popward"))
        .arg("spool")
        .arg(vector("plain"))
        .env("PATH", built())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("popward-spool: No such file"), "{error}");
}

#[test]
fn a_spool_path_that_is_no_file_is_refused_for_good_with_its_reason() {
    let host = Host::start(&[user("alice", 64401, b"")]);
    let path = host.spool("alice");
    std::fs::remove_file(&path).unwrap();
    let elsewhere = host.at("elsewhere");
    std::fs::write(&elsewhere, b"").unwrap();
    let kinds: [(&str, &dyn Fn()); 4] = [
        (
            "the spool is a directory (a Maildir?), not an mbox file",
            &|| {
                std::fs::create_dir(&path).unwrap();
            },
        ),
        ("the spool is not a regular file", &|| {
            nix::unistd::mkfifo(&path, Mode::S_IRWXU | Mode::S_IRWXO).unwrap();
        }),
        ("the spool is not a regular file", &|| {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        }),
        ("the spool is a symbolic link", &|| {
            std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        }),
    ];
    for (times, (reason, make)) in (1..).zip(kinds) {
        make();
        if host::root() && !path.is_symlink() {
            std::os::unix::fs::chown(&path, Some(64401), None).unwrap();
        }
        let mut client = host.connect();
        host::assert_ok(&client.ask("USER alice"));
        let answer = client.ask("PASS alice");
        assert!(answer.starts_with("-ERR [SYS/PERM]"), "{reason}: {answer}");
        let line = host.logged_times("maildrop not opened session=", times);
        assert!(line.contains(reason), "{reason}: {line}");
        if path.is_dir() {
            std::fs::remove_dir(&path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
    }
}
