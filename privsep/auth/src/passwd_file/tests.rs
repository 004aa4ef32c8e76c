//! Hashes that other tools made, and lines that are not as they should be.

use super::*;
use std::io::Write;

/// What a check of `alice` comes to, in a word, against a file with these lines.
fn checked(lines: &str, secret: &str) -> String {
    checked_as("alice", lines, secret)
}

fn checked_as(name: &str, lines: &str, secret: &str) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    let name = UserName::try_from(name.to_owned()).unwrap();
    match check(file.path(), &name, secret.as_bytes()) {
        Verdict::Granted(account) => format!("{}:{}", account.uid, account.gid),
        Verdict::Refused(why) => why,
        Verdict::Failed(why) => why[why.find(": ").unwrap() + 2..].to_owned(),
    }
}

fn alice(stored: &str) -> String {
    format!("# comment\nbob:{{PLAIN}}b:7:7\nalice:{stored}:1001:1002::/home/alice\n")
}

#[test]
fn hashes_of_other_tools_are_verified() {
    let hashes = [
        // openssl passwd -6 -salt saltstring secret
        "{SHA512-CRYPT}$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
        // mkpasswd -m yescrypt
        "$y$j9T$bSikplDn35XO6D83lpS8b1$7RgAd/pLaPJhMZR9FPJ5qjCR5uZk33bILAbe90vdid.",
        // htpasswd -nbB -C 5
        "{BLF-CRYPT}$2y$05$tFFYhl17f6PSjXo0k91q2u2jc9XHINOQreuLKEynlOuryV8j2gdZ.",
        // argon2 somesaltvalue -id -e
        "{ARGON2ID}$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHR2YWx1ZQ$EJ8rBuCBfHlXWBJ/WpLbIMwH0FytuBJaK1nzHYZnpT8",
    ];
    for hash in hashes {
        let lines = alice(hash);
        assert_eq!(checked(&lines, "secret"), "1001:1002", "{hash}");
        assert_eq!(checked(&lines, "secreT"), "wrong password", "{hash}");
    }
}

#[test]
fn nobody_and_a_locked_account_have_no_password() {
    assert_eq!(checked("", ""), "no such user");
    assert_eq!(checked("alicea:{PLAIN}x:1:1\n", "x"), "no such user");
    for hash in [
        "",
        "!",
        "*",
        "{SHA512-CRYPT}!",
        "{ARGON2ID}x",
        "!$6$a$b",
        "{PLAIN}",
    ] {
        assert_eq!(checked(&alice(hash), ""), "locked", "{hash}");
    }
    // The password of the stand-in opens nothing.
    assert_eq!(checked("bob:{PLAIN}b:7:7\n", "b"), "no such user");
    assert_eq!(checked("bob:{PLAIN}b:7:7\nalice:!:1:1\n", "b"), "locked");
}

#[test]
fn the_first_line_of_a_user_counts_and_names_are_whole() {
    assert_eq!(
        checked(&(alice("{PLAIN}a b") + "alice:{PLAIN}c:9:9\n"), "a b"),
        "1001:1002"
    );
    assert_eq!(checked(&alice("{plain}x"), "x"), "1001:1002");
    assert_eq!(checked("alice:{PLAIN}x:5:6\r\n", "x"), "5:6");
}

#[test]
fn a_line_without_ids_is_a_user_of_the_system() {
    assert_eq!(
        checked("alice:{PLAIN}x::\n", "x"),
        "no such user of this system"
    );
}

#[test]
fn a_line_that_is_not_as_expected_says_what_was() {
    let told = |rest: &str| checked(&format!("#\nalice:{rest}\n"), "x");
    assert_eq!(
        told("x:root:1"),
        "line 2: expected a user id in the third field"
    );
    assert_eq!(
        told("x:1:"),
        "line 2: expected a group id in the fourth field"
    );
    assert!(told("{ROT13}x:1:1").contains("expected a known scheme"));
    assert!(told("x:1:1::home").contains("expected an absolute home"));
}

#[test]
fn a_name_ends_at_the_first_colon() {
    for name in ["alice:{PLAIN}x", "alice:{PLAIN}x:5:6", "alic"] {
        assert_eq!(
            checked_as(name, "alice:{PLAIN}x:5:6\n", "x"),
            "no such user",
            "{name}"
        );
    }
}
