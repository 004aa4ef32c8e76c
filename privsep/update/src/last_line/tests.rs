//! Which last lines get a line end.

use super::*;
use crate::testing::{Desk, message};
use popward_mbox::header::Hidden;
use popward_mbox::scan::{BUFFER_MIN, scan_on};

fn read(spool: &mut LockedSpool, length: u64) -> Maildrop {
    let (hide, mut maildrop) = (Hidden::default(), Maildrop::default());
    let mut buffer = [0; BUFFER_MIN];
    scan_on(spool, length, &mut buffer, hide, &mut maildrop).unwrap();
    maildrop
}

/// Ends the last line of a spool. Returns what was added.
fn added(spool: &[u8]) -> Vec<u8> {
    let desk = Desk::new(spool);
    let mut locked = desk.lock();
    let length = spool.len() as u64;
    let maildrop = read(&mut locked, length);
    let ended = end_last_line(&mut locked, &maildrop).unwrap();
    let now = desk.bytes();
    assert_eq!(ended, now.len() > spool.len());
    now.strip_prefix(spool).unwrap().to_vec()
}

#[test]
fn p3_only_a_line_of_text_without_a_line_end_is_ended() {
    let whole = message(1, 10);
    let from = b"From a@b Mon Nov 23 10:00:00 2026";
    let behind = |text: &[u8]| added(&[&whole[..], text].concat());
    for text in [&b"Fro"[..], b"text", &[b'x'; 3000], b"text\n\n ", b"\0"] {
        assert_eq!(behind(text), b"\n", "{}", text.escape_ascii());
    }
    let header = [&from[..], b"\nSubject: x"].concat();
    assert_eq!(behind(&header), b"\n");
    for text in [
        &b""[..],
        b"text\n",
        b"text\r\n",
        b"text\r",
        b"From a@b Mon Nov",
        from,
    ] {
        assert_eq!(behind(text), b"", "{}", text.escape_ascii());
    }
    assert_eq!(added(b""), b"");
    assert_eq!(added(b"From a@b"), b"");
}

/// With a line end, the Content-Length would point to the end of the spool and make the other
/// message text of its own.
#[test]
fn p3_a_line_end_makes_no_content_length_hold() {
    let other = message(2, 10);
    let other = other.trim_ascii_end();
    let (from, claim) = ("From a@b Mon Nov 23 10:00:00 2026", "Content-Length");
    let joined = |length: usize| {
        let head = format!("{from}\n{claim}: {length}\n\nx\n");
        added(&[head.as_bytes(), other].concat())
    };
    assert_eq!(joined(other.len() + 2), b"");
    assert_eq!(joined(usize::MAX >> 1), b"\n");
}

#[test]
fn p2_a_spool_that_has_grown_is_left_alone() {
    let desk = Desk::new(&[&message(1, 10)[..], b"text"].concat());
    let mut locked = desk.lock();
    let length = desk.bytes().len() as u64;
    let maildrop = read(&mut locked, length);
    desk.append(b"more\n");
    let before = desk.bytes();
    assert!(!end_last_line(&mut locked, &maildrop).unwrap());
    assert_eq!(desk.bytes(), before);
}
