//! Spools as they are found, and the same spools through buffers of different sizes.

use super::*;
use crate::convert::Converter;
use crate::header::Shown;
use crate::plan::Plan;
use crate::source::InMemory;
use proptest::prelude::*;

const FROM: &str = "From a@b Mon Nov 23 10:00:00 2026\n";

fn read(spool: &[u8], room: usize) -> Result<Maildrop, ScanError<std::convert::Infallible>> {
    scan(&mut InMemory(spool), spool.len() as u64, &mut vec![0; room])
}

fn sent(spool: &[u8], message: &Message) -> Vec<u8> {
    let range = |from: u64, to: u64| usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
    let mut output = Vec::new();
    let mut converter = Converter::whole();
    let input = &spool[range(message.header, message.end)];
    assert!(converter.convert(input, &mut output, usize::MAX).is_empty());
    converter.finish(&mut output);
    output
}

/// How many octets that is before dot-stuffing.
fn unstuffed(wire: &[u8]) -> u64 {
    let stuffed =
        usize::from(wire.starts_with(b".")) + memchr::memmem::find_iter(wire, b"\n.").count();
    (wire.len() - stuffed) as u64
}

#[test]
fn two_messages_and_their_separators() {
    let spool = format!("{FROM}A: 1\n\nbody\n\n{FROM}B: 2\n\n.dot\nlast");
    let maildrop = read(spool.as_bytes(), BUFFER_MIN).unwrap();
    assert_eq!(maildrop.messages.len(), 2);
    assert_eq!(
        sent(spool.as_bytes(), &maildrop.messages[0]),
        b"A: 1\r\n\r\nbody\r\n"
    );
    assert_eq!(
        sent(spool.as_bytes(), &maildrop.messages[1]),
        b"B: 2\r\n\r\n..dot\r\nlast\r\n"
    );
    assert_eq!(maildrop.messages[0].octets, 14);
    assert_eq!(maildrop.messages[1].octets, 20);
}

#[test]
fn a_from_line_without_an_empty_line_or_a_date_is_text() {
    let spool = format!("{FROM}A: 1\n\nbody\n{FROM}\nFrom here on\n");
    assert_eq!(
        read(spool.as_bytes(), BUFFER_MIN).unwrap().messages.len(),
        1
    );
}

#[test]
fn what_is_no_mbox_is_refused() {
    assert_eq!(read(b"Hello\n", BUFFER_MIN), Err(ScanError::NotMbox));
    assert_eq!(
        read(format!("\n{FROM}").as_bytes(), BUFFER_MIN),
        Err(ScanError::NotMbox)
    );
    assert_eq!(read(b"", BUFFER_MIN).unwrap(), Maildrop::default());
}

#[test]
fn content_length_holds_only_where_a_message_follows() {
    let inner = format!("x\n\n{FROM}Y: 1\n\ny\n");
    let right = format!(
        "{FROM}Content-Length: {}\n\n{inner}\n{FROM}Z: 1\n\nz\n",
        inner.len()
    );
    assert_eq!(
        read(right.as_bytes(), BUFFER_MIN).unwrap().messages.len(),
        2
    );
    let wrong = format!(
        "{FROM}Content-Length: {}\n\n{inner}\n{FROM}Z: 1\n\nz\n",
        inner.len() + 1
    );
    assert_eq!(
        read(wrong.as_bytes(), BUFFER_MIN).unwrap().messages.len(),
        3
    );
}

#[test]
fn p5_status_edits_and_line_ends_leave_the_digest() {
    let digest = |headers: &str| {
        let spool = format!("{FROM}{headers}\nbody\n");
        read(spool.as_bytes(), BUFFER_MIN).unwrap().messages[0].digest
    };
    let plain = digest("Subject: s\nTo: t\n\tu\n");
    assert_eq!(
        digest("Subject: s\nStatus: RO\nX-Keywords: a\n b\nTo: t\n\tu\n"),
        plain
    );
    assert_ne!(digest("Subject: s2\nTo: t\n\tu\n"), plain);
    let crlf = format!("{FROM}Subject: s\nTo: t\n\tu\n\nbody\n").replace('\n', "\r\n");
    assert_eq!(
        read(crlf.as_bytes(), BUFFER_MIN).unwrap().messages[0].digest,
        plain
    );
    // As mailutils rewrites what postfix, procmail and Dovecot wrote.
    let spaced = format!(
        "{}Subject: s\nTo: t\n\tu\n\nbody\n",
        FROM.replace("a@b ", "a@b  ")
    );
    assert_eq!(
        read(spaced.as_bytes(), BUFFER_MIN).unwrap().messages[0].digest,
        plain
    );
}

#[test]
fn the_pseudo_message_is_hidden_and_never_deleted() {
    let spool = format!("{FROM}X-IMAP: 1195658475 0000000042\n\ntext\n\n{FROM}A: 1\n\nbody\n");
    let maildrop = read(spool.as_bytes(), BUFFER_MIN).unwrap();
    assert_eq!([0, 1].map(|index| maildrop.is_hidden(index)), [true, false]);
    let plan = Plan::new(&maildrop, &[true, true]).unwrap();
    assert_eq!(plan.final_length, maildrop.messages[1].from_line);
}

/// Pieces that spools are made of, in all their odd forms.
fn spool() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"From a@b Mon Nov 23 10:00:00 2026\n",
        b"From a@b Mon Nov 23 10:00:00 2026\r\n",
        b"\n",
        b"\r\n",
        b"From nobody\n",
        b"Subject: x\n",
        b" folded\r\n",
        b"Content-Length: 5\n",
        b"Status: RO\n",
        b".\n",
        b"..\r\n",
        b"text without end",
        b"\r",
        b"\0",
        b"line\n",
    ];
    proptest::collection::vec(proptest::sample::select(pieces), 0..40).prop_map(|pieces| {
        let mut spool = FROM.as_bytes().to_vec();
        spool.extend(pieces.concat());
        spool
    })
}

/// The rule, the simple way: line by line, in memory. For spools without Content-Length.
fn model(spool: &[u8]) -> Vec<usize> {
    let (mut starts, mut offset, mut empty) = (Vec::new(), 0, true);
    for line in spool.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if empty && is_from_line(text) {
            starts.push(offset);
        }
        empty = line == b"\n" || line == b"\r\n";
        offset += line.len();
    }
    starts
}

/// A From_ line, and the empty line before it, may lie across any edge of a block or of the buffer.
#[test]
fn a_message_begins_wherever_its_from_line_lies() {
    for room in [BUFFER_MIN, 5000, 1 << 20] {
        for edge in [BUFFER_MIN / 2, BUFFER_MIN, 5000, BLOCK, 2 * BLOCK] {
            for separator in ["\n\n", "\r\n\r\n", "\n\r\n", "\r\n\n", "\n\n\n", "\r\r\n"] {
                for place in edge - 60..edge + 20 {
                    let begin = format!("{FROM}A: 1\n\n");
                    let filler = "x".repeat(place - begin.len());
                    let spool = format!("{begin}{filler}{separator}{FROM}B: 2\n\nend\n");
                    let maildrop = read(spool.as_bytes(), room).unwrap();
                    let starts: Vec<_> = maildrop.messages.iter().map(|m| m.from_line).collect();
                    let expected: Vec<_> = model(spool.as_bytes())
                        .into_iter()
                        .map(|start| start as u64)
                        .collect();
                    assert_eq!(starts, expected, "{room} {edge} {separator:?} {place}");
                    for message in &maildrop.messages {
                        assert_eq!(
                            message.octets,
                            unstuffed(&sent(spool.as_bytes(), message)),
                            "{room} {edge} {separator:?} {place}"
                        );
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn sizes_are_what_is_sent_whatever_the_buffer(spool in spool(), filler in 0usize..9000) {
        let mut spool = spool;
        spool.extend(std::iter::repeat_n(b'x', filler));
        spool.extend_from_slice(b"\n\nFrom a@b Mon Nov 23 10:00:00 2026\nA: b\n\nc\n");
        let maildrop = read(&spool, 1 << 20).unwrap();
        for message in &maildrop.messages {
            prop_assert_eq!(message.octets, unstuffed(&sent(&spool, message)));
        }
        prop_assert_eq!(&read(&spool, BUFFER_MIN).unwrap(), &maildrop);
        prop_assert_eq!(&read(&spool, BUFFER_MIN + filler).unwrap(), &maildrop);
        if memchr::memmem::find(&spool, b"Content-Length").is_none() {
            let starts: Vec<_> = maildrop.messages.iter().map(|m| usize::try_from(m.from_line).unwrap()).collect();
            prop_assert_eq!(starts, model(&spool));
        }
    }

    #[test]
    fn what_is_hidden_is_neither_sent_nor_counted(
        fields in prop::collection::vec((prop::sample::select(vec!["Status", "x-uid", "X-UIDL", "Subject", "Stat", "X-Keywords"]), "[ -~]{0,120}", any::<bool>()), 0..8),
        crlf in any::<bool>(), end in prop::sample::select(vec!["\n\nbody\n\n", "\n", "", "\n\n"]), pieces in 1_usize..130,
    ) {
        let fold = |folded: bool| if folded { "\n\tfolded: Status: x" } else { "" };
        let lines: Vec<String> = fields.iter().map(|(name, value, folded)| format!("{name}: {value}{}", fold(*folded))).collect();
        let mut text = format!("{FROM}{}{end}", lines.join("\n"));
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        let spool = text.into_bytes();
        let mut hide = Hidden::default();
        prop_assert!(hide.add("status") && hide.add("X-UID") && !hide.add("Subject"));
        let length = spool.len() as u64;
        let scanned = scan_on(&mut InMemory(&spool), length, &mut vec![0; BUFFER_MIN], hide, Vec::new()).unwrap();
        let message = &scanned.messages[0];
        let at = |offset: u64| usize::try_from(offset).unwrap();
        let (mut shown, mut filter) = (Vec::new(), Shown::new(hide));
        for piece in spool[at(message.header)..at(message.body)].chunks(pieces) {
            filter.pass(piece, &mut shown);
        }
        filter.finish(&mut shown);
        shown.extend_from_slice(&spool[at(message.body)..at(message.end)]);
        let (mut wire, mut converter) = (Vec::new(), Converter::whole());
        converter.convert(&shown, &mut wire, usize::MAX);
        converter.finish(&mut wire);
        prop_assert_eq!(message.octets, unstuffed(&wire));
        let wire = String::from_utf8(wire).unwrap();
        let kept = fields.iter().zip(&lines).filter(|((name, ..), _)| !["Status", "x-uid"].contains(name));
        let expected: String = kept.map(|(_, line)| line.replace('\n', "\r\n") + "\r\n").collect();
        // Of the last line, the end may be the separator's.
        prop_assert!(wire.starts_with(&expected), "{:?} {:?}", wire, expected);
    }

    #[test]
    fn a_scan_goes_on_where_another_ended(spool in spool(), more in spool()) {
        prop_assume!(memchr::memmem::find(&spool, b"Content-Length").is_none());
        let known = read(&spool, BUFFER_MIN).unwrap().messages;
        // As delivery agents append: a new message after an empty line.
        let mut grown = spool;
        grown.extend_from_slice(b"\n\n");
        grown.extend_from_slice(&more);
        let length = grown.len() as u64;
        let on = scan_on(&mut InMemory(&grown), length, &mut vec![0; BUFFER_MIN], Hidden::default(), known).unwrap();
        prop_assert_eq!(on, read(&grown, BUFFER_MIN).unwrap());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, BUFFER_MIN);
        let mut spool = FROM.as_bytes().to_vec();
        spool.extend(bytes);
        prop_assert!(read(&spool, BUFFER_MIN).is_ok());
    }

    #[test]
    fn what_a_plan_keeps_reads_as_before(spool in spool(), deleted in proptest::collection::vec(any::<bool>(), 40)) {
        let maildrop = read(&spool, 1 << 20).unwrap();
        prop_assume!(memchr::memmem::find(&spool, b"Content-Length").is_none());
        let Some(plan) = Plan::new(&maildrop, &deleted) else { return Ok(()) };
        let at = |offset: u64| usize::try_from(offset).unwrap();
        let mut left = spool[..at(plan.first_change)].to_vec();
        for range in &plan.kept {
            left.extend_from_slice(&spool[at(range.start)..at(range.end)]);
        }
        prop_assert_eq!(left.len() as u64, plan.final_length);
        let after = read(&left, 1 << 20).unwrap();
        let kept: Vec<_> = maildrop.messages.iter().zip(&deleted).filter(|(_, gone)| !**gone).collect();
        prop_assert_eq!(after.messages.len(), kept.len());
        for (after, (before, _)) in after.messages.iter().zip(kept) {
            prop_assert_eq!(sent(&left, after), sent(&spool, before));
        }
        prop_assert_eq!(crate::plan::left(&maildrop, &deleted), after);
    }
}
