//! What is found of a field, however its header comes.

use super::*;
use proptest::prelude::*;

fn find(header: &[u8], name: &str, most: usize, ascii: bool) -> Option<Vec<u8>> {
    let mut field = Field::new(name.as_bytes(), most, ascii);
    field.pass(header);
    field.value()
}

fn value(header: &str, name: &str) -> Option<String> {
    find(header.as_bytes(), name, 900, false).map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn the_first_field_of_the_name_is_found_and_unfolded() {
    let header = "Received: from a\n\tby b; X-Message-Id: no\nmessage-ID : <1@x>\r\n  (folded\r\n\tonce more) \r\nMessage-Id: <2@x>\n";
    assert_eq!(
        value(header, "Message-Id").as_deref(),
        Some("<1@x> (folded once more)")
    );
    assert_eq!(
        value(header, "received").as_deref(),
        Some("from a by b; X-Message-Id: no")
    );
    assert_eq!(value(header, "Id"), None);
    assert_eq!(value(header, "Message-I"), None);
    assert_eq!(
        value("Subject\nSubject: b\n", "Subject").as_deref(),
        Some("b")
    );
    assert_eq!(value("Subject:\nTo: b\n", "Subject").as_deref(), Some(""));
    assert_eq!(
        value("Subject: no end", "Subject").as_deref(),
        Some("no end")
    );
    assert_eq!(value("", "Subject"), None);
    let mut field = Field::new(b"Message-Id", 900, false);
    field.pass(b"Message: 1\nMESSAGE-id : 2\n");
    assert_eq!(field.line().as_deref(), Some(&b"MESSAGE-id: 2"[..]));
}

#[test]
fn nothing_of_it_can_end_a_line_or_move_a_cursor() {
    let header = b"Subject: a\0b\x1b[2Jc\rd\x7fe\n";
    assert_eq!(
        find(header, "Subject", 900, false).unwrap(),
        b"a b [2Jc d e"
    );
}

#[test]
fn it_is_cut_at_a_character() {
    let header = "Subject: Grüße\n".as_bytes();
    assert_eq!(find(header, "Subject", 4, false).unwrap(), "Grü".as_bytes());
    assert_eq!(find(header, "Subject", 3, false).unwrap(), b"Gr");
    assert_eq!(
        find(header, "Subject", 7, false).unwrap(),
        "Grüße".as_bytes()
    );
    assert_eq!(find(header, "Subject", 900, true).unwrap(), b"Gr????e");
}

proptest! {
    #[test]
    fn pieces_do_not_matter_and_the_bound_holds(
        header in "((Subject|Su|X|subject) ?: ?[ -~\r\t\u{e9}]{0,20}\r?\n( [a-z]{0,5}\n)?){0,6}",
        cuts in prop::collection::vec(1usize..9, 1..80),
        most in 0usize..30,
    ) {
        let whole = find(header.as_bytes(), "Subject", most, false);
        let mut pieces = Field::new(b"Subject", most, false);
        let (mut rest, mut cuts) = (header.as_bytes(), cuts.iter().cycle());
        while let Some(cut) = cuts.next().filter(|_| !rest.is_empty()) {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            if pieces.pass(piece) {
                break;
            }
            rest = after;
        }
        prop_assert_eq!(&pieces.value(), &whole);
        if let Some(value) = whole {
            prop_assert!(value.len() <= most);
            prop_assert!(!value.iter().any(u8::is_ascii_control));
            prop_assert!(std::str::from_utf8(&value).is_ok());
        }
    }
}
