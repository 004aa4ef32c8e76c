//! Where spools are, by pattern.

use super::*;
use popward_proto::bounded::List;

fn account(name: &str) -> Account {
    Account {
        name: UserName::try_from(name.to_owned()).unwrap(),
        uid: 1000,
        gid: 1000,
        groups: List::default(),
        home: AbsolutePath::try_from("/home/alice/".to_owned()).ok(),
        spool: None,
    }
}

fn filled(pattern: &str, name: &str) -> Result<String, OutOfBounds> {
    Pattern::parse(pattern).unwrap().fill(&account(name))
}

#[test]
fn each_placeholder_stands_for_what_it_says() {
    for (pattern, name, path) in [
        ("/var/mail/{user}", "alice", "/var/mail/alice"),
        ("{home}/mbox", "alice", "/home/alice/mbox"),
        ("/m/{user:1}/{user:2}/{user}", "alice", "/m/a/l/alice"),
        ("/m/{user:1}/{user:2}/{user}", "x", "/m/x/x/x"),
        // Qpopper's hash-spool 1: a + l + i + c + e = 97 + 108 + 105 + 99 + 101 = 510 = 19 * 26 + 16.
        ("/m/{user:hash}/{user}", "alice", "/m/q/alice"),
        ("/m/{user:hash}/{user}", "alicette", "/m/q/alicette"),
        ("/m/{user:hash}/{user}", "a", "/m/t/a"),
        (
            "/m/{domain}/{name}",
            "bob@example.org",
            "/m/example.org/bob",
        ),
        ("/m/{domain}/{user:1}/{name}", "b@x@y.z", "/m/y.z/b/b@x"),
        ("/m/{name}.mbox", "bob", "/m/bob.mbox"),
    ] {
        assert_eq!(
            filled(pattern, name).as_deref(),
            Ok(path),
            "{pattern} {name}"
        );
    }
}

#[test]
fn a_domain_that_is_none_has_no_spool() {
    for name in ["bob", "bob@", "bob@.", "bob@..", "bob@.hidden", "bob@-x"] {
        assert!(filled("/m/{domain}/{name}", name).is_err(), "{name}");
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for bad in [
        "",
        "mail/{user}",
        "/var/mail/all",
        "/var/mail/{user:1}",
        "/var/mail/{domain}/spool",
        "/var/mail/{user}/",
        "/var/mail/{use}",
        "/var/mail/{user",
        "/var/mail/user}{user}",
        "{user}/mbox",
        "/var/mail/{user:3}",
    ] {
        assert_eq!(Pattern::parse(bad), None, "{bad}");
    }
}

#[test]
fn the_base_is_what_all_spools_lie_beneath() {
    let base = |text| Pattern::parse(text).unwrap().base().map(str::to_owned);
    assert_eq!(base("/var/mail/{user}").as_deref(), Some("/var/mail"));
    assert_eq!(
        base("/var/mail/{user:1}/{user}").as_deref(),
        Some("/var/mail")
    );
    assert_eq!(base("/m/x-{user}").as_deref(), Some("/m"));
    assert_eq!(base("{home}/mbox"), None);
}
