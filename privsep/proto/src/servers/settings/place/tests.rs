//! Patterns give the right paths of spools.

use super::*;
use crate::bounded::{List, Text};

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

fn literal(text: &str) -> Part {
    Part::Literal(Text::truncated(text))
}

fn filled(parts: &[Part], name: &str) -> Result<String, OutOfBounds> {
    let pattern = Pattern::try_from(List::try_from(parts.to_vec()).unwrap()).unwrap();
    fill(&pattern, &account(name))
}

#[test]
fn each_placeholder_is_replaced_by_its_part_of_the_account() {
    use Part::{Domain, First, Hash, Home, Name, Second, User};
    let slash = || literal("/");
    let two = [literal("/m/"), First, slash(), Second, slash(), User];
    let hashed = [literal("/m/"), Hash, slash(), User];
    let of_domain = [literal("/m/"), Domain, slash(), Name];
    let first_of_domain = [literal("/m/"), Domain, slash(), First, slash(), Name];
    let table: [(&[Part], &str, &str); 10] = [
        (&[literal("/var/mail/"), User], "alice", "/var/mail/alice"),
        (&[Home, literal("/mbox")], "alice", "/home/alice/mbox"),
        (&two, "alice", "/m/a/l/alice"),
        (&two, "x", "/m/x/x/x"),
        // As in Qpopper's hash-spool 1: a + l + i + c + e = 97 + 108 + 105 + 99 + 101 = 510, and
        // 510 = 19 * 26 + 16. The letter with the number 16 is q.
        (&hashed, "alice", "/m/q/alice"),
        (&hashed, "alicette", "/m/q/alicette"),
        (&hashed, "a", "/m/t/a"),
        (&of_domain, "bob@example.org", "/m/example.org/bob"),
        (&first_of_domain, "b@x@y.z", "/m/y.z/b/b@x"),
        (
            &[literal("/m/"), Name, literal(".mbox")],
            "bob",
            "/m/bob.mbox",
        ),
    ];
    for (parts, name, path) in table {
        assert_eq!(filled(parts, name).as_deref(), Ok(path), "{parts:?} {name}");
    }
}

#[test]
fn a_name_without_a_valid_domain_has_no_spool_in_a_directory_of_its_domain() {
    let pattern = [literal("/m/"), Part::Domain, literal("/"), Part::Name];
    for name in ["bob", "bob@", "bob@.", "bob@..", "bob@.hidden", "bob@-x"] {
        assert!(filled(&pattern, name).is_err(), "{name}");
    }
}
