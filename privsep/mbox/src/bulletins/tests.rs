//! Names, their order, and the text that is kept.

use super::*;
use crate::pins::Pins;
use proptest::prelude::*;

fn names(list: &[&str]) -> Vec<Box<str>> {
    list.iter().map(|name| (*name).into()).collect()
}

#[test]
fn names_are_in_the_order_of_their_numbers() {
    let mut list = names(&["10.b", "9", "010.a", "0", "100.x", "9.z"]);
    assert_eq!(sort(&mut list), 0);
    assert_eq!(list, names(&["0", "9", "9.z", "010.a", "10.b", "100.x"]));
    let mut many: Vec<Box<str>> = (0..MOST + 7).map(|n| n.to_string().into()).collect();
    assert_eq!(sort(&mut many), 7);
    assert_eq!((&*many[0], many.len()), ("7", MOST));
}

#[test]
fn only_some_names_are_bulletins() {
    for good in ["1", "00012.all.Welcome", &"9".repeat(NAME_MAX)] {
        assert!(is_name(good), "{good}");
    }
    for bad in [
        "",
        "README",
        ".1",
        "1~",
        "1 a",
        "1/a",
        "1\n",
        "1é",
        &"9".repeat(NAME_MAX + 1),
    ] {
        assert!(!is_name(bad), "{bad}");
    }
}

#[test]
fn a_new_user_is_shown_the_newest_ones_unless_they_are_old() {
    let list = names(&["1", "2", "3"]);
    let gone = |keep, old: &str| first(&list, keep, |name| name <= old).0;
    assert_eq!(gone(1, ""), names(&["1", "2"]).into_iter().collect());
    assert_eq!(gone(9, "1"), names(&["1"]).into_iter().collect());
    assert_eq!(gone(0, "").len(), 3);
}

#[test]
fn a_text_that_is_none_is_refused_with_its_line() {
    assert_eq!(Gone::decode(b""), Err(1));
    assert_eq!(Gone::decode(b"popward bulletins 2\n"), Err(1));
    assert_eq!(Gone::decode(b"popward bulletins 1\n7.a\nx\n"), Err(3));
    assert_eq!(Gone::decode(b"popward bulletins 1\n7.a"), Err(2));
}

#[test]
fn p5_no_message_of_a_spool_can_have_a_bulletins_uidl() {
    let name = format!("{PREFIX}1.welcome");
    assert!(!uidl::is_valid(name.as_bytes()));
    // With a suffix, it would be one's.
    assert!(!uidl::is_valid(b"popward-bulletin"));
    assert!(uidl::is_valid(b"popward-bulleti"));
    let pins = format!("popward pins 1\n{} {name}\n", "0".repeat(32));
    assert_eq!(Pins::decode(pins.as_bytes()), Err(2));
}

proptest! {
    #[test]
    fn what_is_kept_comes_back(list in prop::collection::btree_set("[0-9][!-.0-}]{0,52}", 0..20)) {
        let gone = Gone(list.into_iter().map(Into::into).collect());
        prop_assert_eq!(Gone::decode(&gone.encode()), Ok(gone));
    }

    #[test]
    fn p5_uidls_of_bulletins_are_uidls_and_differ(list in prop::collection::btree_set("[0-9][!-.0-}]{0,52}", 1..20)) {
        let uidls: BTreeSet<String> = list.iter().map(|name| format!("{PREFIX}{name}")).collect();
        prop_assert_eq!(uidls.len(), list.len());
        for (uidl, name) in uidls.iter().zip(&list) {
            prop_assert!(is_name(name), "{}", name);
            prop_assert!(uidl.len() <= uidl::MAX && uidl.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(gone) = Gone::decode(&text) {
            prop_assert_eq!(Gone::decode(&gone.encode()), Ok(gone));
        }
    }
}
