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
