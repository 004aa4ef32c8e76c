//! Equal messages get names of their own, and keep them.

use super::*;

/// A message with this digest, and nothing else that counts here.
fn message(digest: u8, repeat: u32) -> Message {
    Message {
        from_line: 0,
        header: 1,
        body: 1,
        end: 1,
        octets: 0,
        digest: [digest; 16],
        repeat,
        pseudo: false,
    }
}

fn repeats(digests: &[u8], known: &[Message]) -> Vec<u32> {
    let mut messages: Vec<_> = digests.iter().map(|digest| message(*digest, 0)).collect();
    tell_apart(&mut messages, known);
    messages.iter().map(|message| message.repeat).collect()
}

#[test]
fn p5_equal_messages_are_numbered_in_order() {
    assert_eq!(repeats(&[1, 2, 1, 1, 3, 2], &[]), [0, 0, 1, 2, 0, 1]);
    let mut three = vec![message(1, 0); 3];
    tell_apart(&mut three, &[]);
    let names: Vec<_> = three.iter().map(name).collect();
    assert_eq!(names[0], "01".repeat(16));
    assert_eq!(names[2], format!("{}-3", "01".repeat(16)));
}

#[test]
fn p5_a_name_stays_when_an_equal_message_before_it_was_deleted() {
    let known = [message(1, 1), message(2, 0), message(1, 2)];
    assert_eq!(repeats(&[1, 2, 1], &known), [1, 0, 2]);
    // What comes gets a name that none of them has.
    assert_eq!(repeats(&[1, 2, 1, 1, 2], &known), [1, 0, 2, 3, 1]);
    assert_eq!(repeats(&[3, 1], &known), [0, 1]);
}

#[test]
fn p5_equal_names_get_suffixes_that_no_other_has() {
    let told = |names: &[&str]| {
        let mut names: Vec<Box<str>> = names.iter().map(|name| (*name).into()).collect();
        unique(&mut names);
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told(&["a", "b", "c"]), ["a", "b", "c"]);
    assert_eq!(
        told(&["a", "a", "b", "a", "b"]),
        ["a", "a-2", "b", "a-3", "b-2"]
    );
    // Whether the other stands before or behind it.
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

/// A sender chooses X-UIDLs: no choice makes telling them apart slow.
#[test]
fn p5_many_equal_names_are_told_apart_at_once() {
    let mut names: Vec<Box<str>> = vec!["a".into(); 100_000];
    names.extend((2..100_000).map(|number| format!("a-{number}").into()));
    unique(&mut names);
    assert_eq!(&*names[99_999], "a-199998");
}
