//! Compares popward with what real servers answered on the same spools (Dovecot 2.3.19, UW ipop3d
//! 2007f). Messages and bytes are the same, except for the differences that are listed and
//! explained below.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod sessions;

use popward_mbox::convert::Converter;
use popward_mbox::from_line::is_from_line;
use popward_mbox::scan::BUFFER_MIN;
use popward_mbox::testing::{InMemory, scan};
use sessions::{body, reply, vector};

/// The octets of each message, and what RETR sends of it, with dots stuffed.
fn ours(spool: &[u8]) -> (Vec<u64>, Vec<Vec<u8>>) {
    let mut source = InMemory(spool);
    let maildrop = scan(&mut source, spool.len() as u64, &mut vec![0; BUFFER_MIN]).unwrap();
    let shown = maildrop
        .messages
        .iter()
        .enumerate()
        .filter(|(index, _)| !maildrop.is_hidden(*index))
        .map(|(_, message)| message);
    shown
        .map(|message| {
            let at = |offset: u64| usize::try_from(offset).unwrap();
            let mut converter = Converter::whole();
            let mut wire = Vec::new();
            let bytes = &spool[at(message.header)..at(message.end)];
            assert!(converter.convert(bytes, &mut wire, usize::MAX).is_empty());
            converter.finish(&mut wire);
            (message.octets, wire)
        })
        .unzip()
}

/// The header lines that Dovecot does not show. This test scans with no hidden fields, so it leaves
/// these lines out before it compares.
const HIDDEN: [&str; 7] = [
    "Content-Length:",
    "Status:",
    "X-IMAP:",
    "X-IMAPbase:",
    "X-Keywords:",
    "X-Status:",
    "X-UID:",
];

/// A message without these lines, as text for the report of a difference.
fn shown(wire: &[u8]) -> String {
    let text = String::from_utf8_lossy(wire);
    let end = text.find("\r\n\r\n").map_or(text.len(), |end| end + 2);
    let (header, body) = text.split_at(end);
    let lines = header.split_inclusive('\n');
    let kept = lines.filter(|line| !HIDDEN.iter().any(|name| line.starts_with(name)));
    kept.collect::<String>() + body
}

fn compare(name: &str) {
    let (octets, wires) = ours(&vector(&format!("{name}.mbox")));
    let session = vector(&format!("dovecot/{name}.txt"));
    let stat = String::from_utf8(reply(&session, "STAT").remove(0)).unwrap();
    assert!(
        stat.starts_with(&format!("+OK {} ", wires.len())),
        "{name}: {stat}"
    );
    for (number, (wire, octets)) in (1..).zip(wires.iter().zip(octets)) {
        let stuffed = usize::from(wire.starts_with(b"."))
            + wire.windows(2).filter(|pair| pair == b"\n.").count();
        assert_eq!(
            octets,
            (wire.len() - stuffed) as u64,
            "{name}: octets of {number}"
        );
        let theirs = body(&session, &format!("RETR {number}"));
        // For an empty message, both say 0 octets. Dovecot sends an empty line, and popward sends
        // none.
        let empty = wire.is_empty() && theirs == b"\r\n";
        assert!(
            empty || shown(wire) == shown(&theirs),
            "{name} {number}:\n{}\n---\n{}",
            shown(wire),
            shown(&theirs)
        );
    }
}

#[test]
fn messages_are_those_of_dovecot_byte_for_byte() {
    for name in [
        "contentlength",
        "crlf",
        "dup",
        "empty",
        "fromlines",
        "imapbase",
        "nofinalblank",
        "nofinalnl",
        "one",
        "plain",
        "pseudo",
        "xuidl",
    ] {
        compare(name);
    }
}

#[test]
fn from_lines_are_those_that_dovecot_or_c_client_takes() {
    let results = String::from_utf8(vector("grammar-results.txt")).unwrap();
    let variants = String::from_utf8(vector("grammar-variants.txt")).unwrap();
    let mut checked = 0;
    for (result, variant) in results.lines().zip(variants.lines()) {
        let (number, line) = variant.split_at(3);
        assert_eq!(result.trim_start()[..3].trim(), number.trim());
        let expected = result.contains("dove=Y") || result.contains("uw-i=Y");
        assert_eq!(is_from_line(line.as_bytes()), expected, "{line:?}");
        checked += 1;
    }
    assert!(checked > 30, "{checked}");
}
