//! Hashes from other tools, and lines with errors.

use super::*;
use crate::account::Claim;
use crate::check::{account, check};
use crate::verdict::Verdict;
use popward_proto::auth::Credentials;
use popward_proto::secret::Secret;
use std::io::Write;

const KEY: [u8; 32] = [7; 32];

/// The result of a check of `alice` against a file with these lines, as a short text.
fn checked(lines: &str, secret: &str) -> String {
    checked_as("alice", lines, secret)
}

fn checked_as(name: &str, lines: &str, secret: &str) -> String {
    checked_from("192.0.2.7", name, lines, secret)
}

fn checked_from(peer: &str, name: &str, lines: &str, secret: &str) -> String {
    let file = file(lines);
    let claim = claim(name, peer);
    let shown = Credentials::Password {
        user: claim.user.clone(),
        secret: Secret::try_from(secret.as_bytes().to_vec()).unwrap(),
    };
    told(&check(file.path(), claim, &shown, &KEY))
}

fn claim(name: &str, peer: &str) -> Claim {
    Claim {
        user: UserName::try_from(name.to_owned()).unwrap(),
        peer: peer.parse().unwrap(),
    }
}

fn file(lines: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    file
}

fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Granted(account) => {
            let spool = account.spool.as_ref().map(|path| format!(" {path}"));
            format!(
                "{}:{}{}",
                account.uid,
                account.gid,
                spool.unwrap_or_default()
            )
        }
        Verdict::Refused(why) => why.clone(),
        // A client sees a refusal. These tests tell them apart.
        Verdict::Unusable(why) | Verdict::Failed(why) => {
            why[why.find(": ").unwrap() + 2..].to_owned()
        }
        other => panic!("{other:?}"),
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
        // openssl passwd -1 -salt saltsalt secret
        "{MD5-CRYPT}$1$saltsalt$9xy1btjgzLYfb7hivXtC//",
        // openssl passwd -crypt -salt xx secret (of OpenSSL before 3), and crypt(3) with BSDi's
        // setting
        "xxWAum7tHdIUw",
        "{DES-CRYPT}xxWAum7tHdIUw",
        "_J9..rasmz0.F/jqjWck",
        // doveadm pw -s SCHEME -p secret
        "{SCRAM-SHA-256}4096,RYbLseT/8RCCOcCClX/ptg==,s4LmKvpwzMwlffAZZO+sACsWtM5cgxtOLq2qdO/y8iE=,PJntRmSR/cE5Xc2KK5davJN13tK9cod/WPAflm2gZxw=",
        "{SCRAM-SHA-1}4096,TDg8OqX4BK3Yng3Ov1bT1A==,8pg8znK6xFLDSEPj41sqc+l8FcQ=,wLiTLH3mGGDBte6kpBAFg0hT7Yo=",
        "{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56",
        "{SSHA}3vFT/byD8W2wAGSC5EKYAQNvMF3WxMmP",
        "{SSHA256}Rt6o/0H4SJZrjR6GVzzmJEPGrWTRpMVibsR/tcp8HWEQvwZL",
        "{SSHA512}MeEw8pbQP+1UzGeOq7nZv+BjwhV8SOf/PNlkhUWypjTtHu/PD6benOYW8fYyyd+xbY4AnBDs3Qpi0GtldxU7Oe6wV5M=",
        "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
        "{SHA512}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/isg==",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{SHA1}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{SHA.HEX}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4",
        "{SHA}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4",
        "{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69",
        "{SMD5}VGaPcIcS3e4/dgOz68gKS4eqimA=",
        "{LDAP-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
        "{CLEARTEXT}secret",
    ];
    for hash in hashes {
        let lines = alice(hash);
        assert_eq!(checked(&lines, "secret"), "1001:1002", "{hash}");
        assert_eq!(checked(&lines, "secreT"), "wrong password", "{hash}");
    }
}

#[test]
fn no_password_opens_a_missing_or_locked_account() {
    assert_eq!(checked("", ""), "no such user");
    assert_eq!(checked("alicea:{PLAIN}x:1:1\n", "x"), "no such user");
    for hash in [
        "",
        "!",
        "*",
        "{SHA512-CRYPT}!",
        "{ARGON2ID}x",
        "!$6$a$b",
        "!xxWAum7tHdIUw",
        "*xWAum7tHdIUw",
        "x",
        "{PLAIN}",
    ] {
        assert_eq!(checked(&alice(hash), ""), "locked", "{hash}");
    }
    // The stand-in's password opens no account.
    assert_eq!(checked("bob:{PLAIN}b:7:7\n", "b"), "no such user");
    assert_eq!(checked("bob:{PLAIN}b:7:7\nalice:!:1:1\n", "b"), "locked");
}

#[test]
fn the_first_line_with_exactly_the_user_s_name_counts() {
    assert_eq!(
        checked(&(alice("{PLAIN}a b") + "alice:{PLAIN}c:9:9\n"), "a b"),
        "1001:1002"
    );
    assert_eq!(checked(&alice("{plain}x"), "x"), "1001:1002");
    assert_eq!(checked("alice:{PLAIN}x:5:6\r\n", "x"), "5:6");
}

#[test]
fn a_line_without_ids_is_a_system_user() {
    assert_eq!(
        checked("alice:{PLAIN}x::\n", "x"),
        "no such user of this system"
    );
}

#[test]
fn the_error_for_a_wrong_line_says_what_was_expected() {
    let told = |rest: &str| checked(&format!("#\nalice:{rest}\n"), "x");
    assert!(told("{SCRAM-SHA-256}4096,AAAA,AAAA,AAAA:1:1").contains("expected ITERATIONS"));
    assert!(told("{SCRAM-SHA-1}0,AAAA:1:1").contains("expected ITERATIONS"));
    assert!(told("{CRAM-MD5}00:1:1").contains("expected 64 hexadecimal"));
    assert!(told("{SHA256}5en6G6MezRroT3XKqkdPOmY/BfQ=:1:1").contains("expected a digest"));
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

/// The kind of a check's result, as far as a client may see it.
fn kind(name: &str, lines: &str) -> &'static str {
    let file = file(lines);
    let claim = claim(name, "192.0.2.7");
    let user = claim.user.clone();
    let shown = Credentials::Password {
        user: user.clone(),
        secret: Secret::try_from(b"x".to_vec()).unwrap(),
    };
    match (
        check(file.path(), claim.clone(), &shown, &KEY),
        account(file.path(), &claim),
    ) {
        (Verdict::Refused(_), Verdict::Refused(_)) => "refused",
        (Verdict::Unusable(_), Verdict::Unusable(_)) => "refused, and the operator told",
        other => panic!("{other:?}"),
    }
}

#[test]
fn p9_an_unusable_line_looks_like_a_missing_user() {
    let lines =
        "bob:{PLAIN}b:7:7\nalice:x:root:1\ncarol:{ROT13}x:1:1\ndave:{PLAIN}x:1:1::::user=bob\n";
    assert_eq!(kind("nobody", lines), "refused");
    for name in ["alice", "carol", "dave"] {
        assert_eq!(
            kind(name, lines),
            "refused, and the operator told",
            "{name}"
        );
    }
}

#[test]
fn the_operator_is_told_about_a_hash_that_this_host_cannot_make() {
    for hash in ["$99$salt$x", "{CRYPT}$2b$99$x", "{ARGON2ID}$argon2id$x"] {
        let answer = checked(&alice(hash), "x");
        assert_eq!(answer, "expected a hash that this host can make", "{hash}");
    }
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

#[test]
fn the_stand_in_line_gives_no_account() {
    let lines = ".stand-in:{PLAIN}x:5:6\nalice:{PLAIN}a:1001:1002\n";
    assert_eq!(checked_as("bob", lines, "x"), "no such user");
    assert_eq!(checked_as("alice", lines, "a"), "1001:1002");
    assert!(UserName::try_from(".stand-in".to_owned()).is_err());
}

/// The result of a check of a line with these extra fields.
fn extra(fields: &str) -> String {
    let lines = format!("alice@example.org:{{PLAIN}}a:1001:1002:::/bin/sh:{fields}\n");
    checked_as("alice@example.org", &lines, "a")
}

#[test]
fn allow_nets_and_nologin_refuse_even_the_right_password() {
    for (fields, answer) in [
        ("", "1001:1002"),
        ("allow_nets=192.0.2.0/24", "1001:1002"),
        ("userdb_x=y allow_nets=::1,192.0.2.7", "1001:1002"),
        ("allow_nets=192.0.2.8", "not from an address of allow_nets"),
        ("allow_nets=local", "not from an address of allow_nets"),
        (
            "allow_nets=::/0,192.0.2.7 allow_nets=192.0.2.0/24",
            "1001:1002",
        ),
        (
            "allow_nets=192.0.2.7 allow_nets=192.0.2.8",
            "not from an address of allow_nets",
        ),
        ("nologin", "nologin"),
        ("nologin=yes reason=moved", "nologin"),
        ("nodelay userdb_quota_rule=*:storage=1G", "1001:1002"),
    ] {
        assert_eq!(extra(fields), answer, "{fields}");
    }
    let lines = "alice:{PLAIN}a:1:2:::: allow_nets=192.0.2.8\n";
    assert_eq!(checked_as("alice", lines, "b"), "wrong password", "P9");
    assert_eq!(checked_from("192.0.2.8", "alice", lines, "a"), "1:2");
}

#[test]
fn a_protecting_field_that_cannot_be_parsed_is_an_error_with_its_line() {
    for fields in [
        "allow_nets",
        "allow_nets=",
        "allow_nets=192.0.2.0/33",
        "allow_nets=192.0.2.1,,::1",
    ] {
        let answer = extra(fields);
        assert!(
            answer.starts_with("line 1: expected addresses or networks"),
            "{fields}: {answer}"
        );
    }
    for (fields, field) in [
        ("allow_real_nets=192.0.2.0/24", "no allow_real_nets"),
        ("nodelay user=bob", "no user"),
        ("userdb_uid=7 userdb_gid=7", "no userdb_uid"),
        ("fail", "no fail"),
        ("proxy=y host=192.0.2.9", "no proxy"),
        ("user:protected=bob", "no user"),
        (
            "allow_nets:protected=0.0.0.0/0",
            "allow_nets without :protected",
        ),
        ("nologin:remove", "nologin without :remove"),
    ] {
        let answer = extra(fields);
        assert!(
            answer.starts_with(&format!("line 1: expected {field}")),
            "{fields}: {answer}"
        );
    }
    assert!(extra("userdb_mail=maildir:~/Maildir").ends_with("with ~/, %u, %n, %d or %h"));
    assert!(extra("userdb_mail=mbox:/a:INBOX=/b/%{user}").ends_with("with ~/, %u, %n, %d or %h"));
    assert!(
        extra("userdb_mail=mbox:~/mail:INBOX=~/x").ends_with("%d or %h"),
        "no home"
    );
}

#[test]
fn userdb_mail_names_the_spool() {
    for (mail, spool) in [
        (
            "mbox:~/mail:INBOX=/var/mail/%u",
            "/var/mail/alice@example.org",
        ),
        (
            "mbox:/srv/%d/%n/mail:INBOX=/srv/%d/%n",
            "/srv/example.org/alice",
        ),
        ("mbox:/srv/%n:INDEX=/x", "/srv/alice/inbox"),
    ] {
        assert_eq!(
            extra(&format!("userdb_mail={mail}")),
            format!("1001:1002 {spool}")
        );
    }
    let lines = "alice:{PLAIN}a:1:2::/home/alice/::userdb_mail=mbox:~/mail:INBOX=%h/Mbox\n";
    assert_eq!(checked_as("alice", lines, "a"), "1:2 /home/alice/Mbox");
}

#[test]
fn an_identified_user_needs_a_line_but_no_password() {
    let file = file("alice:!:1001:1002\nbob:!:7:8::::nologin\n");
    let told = |name| told(&account(file.path(), &claim(name, "::1")));
    assert_eq!(told("alice"), "1001:1002");
    assert_eq!(told("bob"), "nologin");
    assert_eq!(told("carol"), "no such user");
}

/// The name of the line that stands in for each of these unknown names first. Each line's password
/// is its name.
fn stands_in(lines: &str, names: &[UserName], key: &[u8; 32]) -> Vec<String> {
    let file = file(lines);
    let first = |user: &UserName| {
        let found = find(file.path(), user, None, key).unwrap();
        match found.stand_ins.first() {
            Some(Stored::Plain(password)) => String::from_utf8(password.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    names.iter().map(first).collect()
}

fn ten_users() -> Vec<String> {
    (0..10)
        .map(|number| format!("user{number}:{{PLAIN}}user{number}:1:1\n"))
        .collect()
}

fn unknown_names(count: usize) -> Vec<UserName> {
    let name = |number| UserName::try_from(format!("nobody{number}")).unwrap();
    (0..count).map(name).collect()
}

#[test]
fn p9_each_usable_line_stands_in_for_as_many_names_and_no_other_line_does() {
    let mut lines = ten_users();
    let bad = "locked:!:1:1\nempty:{PLAIN}:1:1\nids:{PLAIN}ids:root:1\nfield:{PLAIN}field:1:1::::fail\n\
               a/b:{PLAIN}a/b:1:1\n#comment:{PLAIN}comment:1:1\n.stand-in:{PLAIN}stand-in:1:1\n\n";
    let names = unknown_names(1000);
    let chosen = stands_in(&(lines.concat() + bad), &names, &KEY);
    for number in 0..10 {
        let user = format!("user{number}");
        let count = chosen.iter().filter(|chosen| **chosen == user).count();
        // 100 are expected, and 50 more or less are five standard deviations.
        assert!((50..=150).contains(&count), "{user}: {count} of 1000");
    }
    let users = chosen.iter().all(|chosen| chosen.starts_with("user"));
    assert!(users, "{chosen:?}");
    lines.reverse();
    assert_eq!(
        stands_in(&lines.concat(), &names, &KEY),
        chosen,
        "the order"
    );
    let others = stands_in(&lines.concat(), &names, &[8; 32]);
    let same = others
        .iter()
        .zip(&chosen)
        .filter(|(one, other)| one == other);
    assert!(same.count() < 200, "another key gives another choice");
}

/// If all names changed, a name that does not change would be a user's.
#[test]
fn p9_a_new_line_changes_the_stand_in_of_few_names_and_only_to_itself() {
    let lines = ten_users().concat();
    let names = unknown_names(1000);
    let before = stands_in(&lines, &names, &KEY);
    let after = stands_in(&format!("new:{{PLAIN}}new:1:1\n{lines}"), &names, &KEY);
    let changed: Vec<_> = before.iter().zip(&after).filter(|(b, a)| b != a).collect();
    assert!((40..=150).contains(&changed.len()), "{}", changed.len());
    assert!(changed.iter().all(|(_, after)| *after == "new"));
}

/// A line that is cut could lose the field that bars its user.
#[test]
fn a_line_that_is_too_long_lets_nobody_in() {
    let long = "x".repeat(70_000);
    let lines = format!("alice:{{PLAIN}}a:1:2::::{long} nologin\nbob:{{PLAIN}}b:3:4\n");
    let answer = checked_as("alice", &lines, "a");
    assert_eq!(answer, "line 1: expected at most 65536 bytes");
    assert_eq!(checked_as("bob", &lines, "b"), "3:4");
    let (bad, more) = bad_lines(file(&lines).path()).unwrap();
    assert!(bad.len() == 1 && more == 0, "{bad:?}");
    assert!(
        bad[0].ends_with(":1: expected at most 65536 bytes"),
        "{bad:?}"
    );
}
