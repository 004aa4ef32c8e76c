//! Every message has a UIDL of its own, and keeps it whatever happens to the others.

use super::*;
use crate::uidl::is_valid;
use proptest::prelude::*;

/// Messages with these digests. Nothing else about them counts here.
fn maildrop(digests: &[u8]) -> Maildrop {
    let message = |digest: &u8| Message {
        from_line: 0,
        header: 1,
        body: 1,
        end: 1,
        octets: 0,
        digest: [*digest; 16],
        name: None,
        pseudo: false,
    };
    Maildrop {
        messages: digests.iter().map(message).collect(),
        length: 1,
        ..Maildrop::default()
    }
}

fn names_of(maildrop: &Maildrop) -> Vec<String> {
    let hex = |name: &str| match name.as_bytes() {
        [one, two, ..] if name.len() >= 32 => {
            format!("{}{}{}", char::from(*one), char::from(*two), &name[32..])
        }
        _ => name.to_owned(),
    };
    maildrop.messages.iter().map(|m| hex(&name(m))).collect()
}

/// Names the messages of a spool that held `known` before.
fn read(digests: &[u8], known: &Maildrop, pins: &mut Pins) -> Maildrop {
    let mut maildrop = maildrop(digests);
    let named = carry_over(&mut maildrop.messages, &known.messages);
    assign(&mut maildrop, &named, pins);
    maildrop
}

/// Messages with these digests and the UIDLs of another server.
fn based(digests: &[u8], base: impl Fn(usize) -> Option<Box<str>>) -> Maildrop {
    let mut maildrop = maildrop(digests);
    for (index, message) in maildrop.messages.iter_mut().enumerate() {
        message.name = base(index);
    }
    maildrop
}

/// Names messages with different digests and these base names, with nothing known.
fn told(bases: &[&str]) -> Vec<String> {
    let digests: Vec<u8> = (0..bases.len()).map(|n| u8::try_from(n).unwrap()).collect();
    let mut maildrop = based(&digests, |index| Some(bases[index].into()));
    let named = vec![false; bases.len()];
    assign(&mut maildrop, &named, &mut Pins::default());
    maildrop.messages.iter().map(|m| name(m).into()).collect()
}

#[test]
fn p5_a_native_name_is_the_digest() {
    let mut one = maildrop(&[0]);
    one.messages[0].digest = *b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\xef\xff";
    assert_eq!(&*name(&one.messages[0]), "000102030405060708090a0b0c0defff");
}

#[test]
fn p5_equal_messages_get_names_of_their_own_and_keep_them() {
    let mut pins = Pins::default();
    let first = read(&[1, 2, 1, 1], &Maildrop::default(), &mut pins);
    assert_eq!(names_of(&first), ["01", "02", "01-2", "01-3"]);
    // With the pins alone, because the index is lost.
    let again = read(&[1, 2, 1, 1], &Maildrop::default(), &mut pins.clone());
    assert_eq!(again, first);
    // The first message is deleted, and the index is lost.
    let mut pins = pins_left(&pins, &first, &[true, false, false, false]).unwrap();
    let left = read(&[2, 1, 1], &Maildrop::default(), &mut pins);
    assert_eq!(names_of(&left), ["02", "01-2", "01-3"]);
    // A new message gets a UIDL that none of them had, with an index or without.
    let without = read(&[2, 1, 1, 1], &Maildrop::default(), &mut pins.clone());
    assert_eq!(names_of(&without)[3], "01-4");
    let more = read(&[2, 1, 1, 1, 2], &left, &mut pins);
    assert_eq!(names_of(&more), ["02", "01-2", "01-3", "01-4", "02-2"]);
    assert_eq!(
        names_of(&read(&[2, 1, 1, 1, 2], &Maildrop::default(), &mut pins)),
        names_of(&more)
    );
    // All messages are gone, so nothing is pinned any more.
    assert_eq!(pins_left(&pins, &more, &[true; 5]), Some(Pins::default()));
    assert_eq!(pins_left(&Pins::default(), &more, &[true; 5]), None);
}

#[test]
fn p5_names_are_carried_over_by_content_where_messages_moved() {
    let mut known = maildrop(&[1, 2, 3, 4]);
    for (message, name) in known.messages.iter_mut().zip(["a", "b", "c", "d"]) {
        message.name = Some(name.into());
    }
    let mut pins = Pins::default();
    let now = read(&[1, 3, 9, 2, 4], &known, &mut pins);
    assert_eq!(names_of(&now), ["a", "c", "09", "b", "d"]);
    assert_eq!(pins, Pins::default());
}

#[test]
fn p5_two_messages_that_claim_one_uidl_are_both_pinned() {
    let mut maildrop = based(&[1, 2, 3], |index| (index != 1).then(|| "same".into()));
    let mut pins = Pins::default();
    assert!(assign(&mut maildrop, &[false; 3], &mut pins));
    assert_eq!(names_of(&maildrop), ["same", "02", "same-2"]);
    assert_eq!(pins.of(&[1; 16]), ["same".into()]);
    assert_eq!(pins.of(&[2; 16]), []);
    assert_eq!(pins.of(&[3; 16]), ["same-2".into()]);
}

/// The same mail twice changes no other UIDL either.
#[test]
fn p5_a_chosen_suffix_of_equal_messages_changes_no_other_name() {
    let bases = ["abc", "abc-5", "abc-5"];
    let base = |index: usize| Some(bases[index].into());
    let mut pins = Pins::default();
    let mut first = based(&[1, 2, 2], base);
    assert!(assign(&mut first, &[false; 3], &mut pins));
    assert_eq!(names_of(&first), ["abc", "abc-5", "abc-5-2"]);
    let mut again = based(&[1, 2, 2], base);
    assign(&mut again, &[false; 3], &mut pins);
    assert_eq!(again, first);
}

/// A sender who chooses a UIDL with a suffix cannot take the UIDL without the suffix from another
/// message.
#[test]
fn p5_a_chosen_suffix_changes_no_other_name() {
    let bases = ["foo", "foo-7", "foo-7"];
    let base = |index: usize| Some(bases[index].into());
    let mut pins = Pins::default();
    let mut first = based(&[1, 2, 3], base);
    assert!(assign(&mut first, &[false; 3], &mut pins));
    let mut again = based(&[1, 2, 3], base);
    assign(&mut again, &[false; 3], &mut pins);
    assert_eq!(names_of(&again), ["foo", "foo-7", "foo-7-2"]);
    assert_eq!(again, first);
}

#[test]
fn p5_a_pinned_uidl_has_priority_over_all_others() {
    let mut pins = Pins::default();
    pins.set([1; 16], vec!["old".into()]);
    pins.set([2; 16], vec!["02".into(), "two".into()]);
    let mut maildrop = based(&[2, 1, 2, 2], |_| Some("base".into()));
    assert!(assign(&mut maildrop, &[false; 4], &mut pins));
    assert_eq!(names_of(&maildrop), ["02", "old", "two", "base"]);
    assert_eq!(pins.of(&[2; 16]).len(), 3);
}

#[test]
fn p5_the_pseudo_message_takes_no_name_from_another() {
    let mut maildrop = based(&[1, 2], |index| (index > 0).then(|| "01".into()));
    maildrop.messages[0].pseudo = true;
    assert!(!assign(&mut maildrop, &[false; 2], &mut Pins::default()));
    assert_eq!(names_of(&maildrop), ["01", "01"]);
}

#[test]
fn p5_equal_names_get_suffixes_that_no_other_has() {
    assert_eq!(told(&["a", "b", "c"]), ["a", "b", "c"]);
    assert_eq!(
        told(&["a", "a", "b", "a", "b"]),
        ["a", "a-2", "b", "a-3", "b-2"]
    );
    // The other name may stand before or after the equal ones.
    assert_eq!(
        told(&["a", "a", "a-2", "a-3", "a"]),
        ["a", "a-4", "a-2", "a-3", "a-5"]
    );
    assert_eq!(
        told(&["a-2", "a-2", "a", "a"]),
        ["a-2", "a-2-2", "a", "a-3"]
    );
    // A UIDL has 70 characters at most.
    let long = "x".repeat(70);
    let start = "x".repeat(59);
    assert_eq!(told(&[&long, &long]), [long.clone(), format!("{start}-2")]);
    let other = format!("{start}y");
    assert_eq!(
        told(&[&long, &long, &other, &other])[1..],
        [format!("{start}-2"), other.clone(), format!("{start}-3")]
    );
}

/// A sender chooses X-UIDL values. No choice makes this slow.
#[test]
fn p5_many_equal_names_become_different_fast() {
    let mut names: Vec<Box<str>> = vec!["a".into(); 100_000];
    names.extend((2..100_000).map(|number| format!("a-{number}").into()));
    unique(&mut names, &BTreeSet::new(), BTreeMap::new());
    assert_eq!(&*names[99_999], "a-199998");
}

proptest! {
    #[test]
    fn p5_no_two_share_a_name_and_all_names_are_valid(
        digests in prop::collection::vec(0_u8..6, 0..12), more in prop::collection::vec(0_u8..6, 0..6),
        bases in prop::collection::vec(prop::option::of(prop::sample::select(vec!["a", "a-2", "a-3", "b", "-5"])), 18),
    ) {
        let base = |index: usize| bases[index].map(Into::into);
        let mut pins = Pins::default();
        let mut first = based(&digests, base);
        assign(&mut first, &vec![false; digests.len()], &mut pins);
        let all = [digests, more].concat();
        let mut now = based(&all, base);
        let named = carry_over(&mut now.messages, &first.messages);
        assign(&mut now, &named, &mut pins);
        let names: BTreeSet<_> = now.messages.iter().map(name).collect();
        prop_assert_eq!(names.len(), all.len());
        prop_assert!(names.iter().all(|name| is_valid(name.as_bytes())));
        for (old, new) in first.messages.iter().zip(&now.messages) {
            prop_assert_eq!(name(old), name(new));
        }
        prop_assert_eq!(Pins::decode(&pins.encode()), Ok(pins));
    }
}
