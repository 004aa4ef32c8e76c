//! Hashes that other tools made, and lines that are not as they should be.

use super::*;

fn entry(password: &str) -> Entry {
    parse(&format!("alice:{password}:1001:1001::/home/alice")).unwrap()
}

#[test]
fn a_sha512_crypt_hash_of_another_tool_is_verified() {
    // Made by `openssl passwd -6 -salt saltstring 'Hello world!'`.
    let hash = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
    for scheme in ["", "{CRYPT}", "{SHA512-CRYPT}"] {
        let entry = entry(&format!("{scheme}{hash}"));
        assert!(verify(Some(&entry), b"Hello world!"));
        assert!(!verify(Some(&entry), b"Hello world"));
    }
}

#[test]
fn nobody_and_a_locked_account_have_no_password() {
    assert!(!verify(None, b""));
    for hash in ["", "!", "*", "{SHA512-CRYPT}!", "{ARGON2ID}x"] {
        assert!(!verify(Some(&entry(hash)), b""), "{hash}");
    }
    assert!(verify(Some(&entry("{PLAIN}a b")), b"a b"));
}

#[test]
fn a_line_that_is_not_as_expected_says_what_was() {
    assert!(parse("alice:x:root:1").unwrap_err().contains("user id"));
    assert!(parse("alice:x:1:").unwrap_err().contains("group id"));
    assert!(
        parse("alice:{ROT13}x:1:1")
            .unwrap_err()
            .contains("known scheme")
    );
    assert!(parse("alice:x:1:1::home").unwrap_err().contains("home"));
}
