//! Spools in all the forms that occur, and the same spools through buffers of different sizes.

#[path = "../../tests/reader/mod.rs"]
mod reader;

use super::*;
use crate::convert::Converter;
use crate::from_line::{LINE_MAX, is_from_line};
use crate::message_reader::BLOCK;
use crate::plan::Plan;
use crate::shown::Shown;
use crate::testing::{InMemory, scan};
use memchr::memmem;
use proptest::prelude::*;

const FROM: &str = "From a@b Mon Nov 23 10:00:00 2026\n";

/// A spool that cannot be read any more after some reads.
struct FailsAfter<'a>(usize, InMemory<'a>);

impl Source for FailsAfter<'_> {
    type Error = &'static str;

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, &'static str> {
        self.0 = self.0.checked_sub(1).ok_or("failed")?;
        Ok(self.1.read_at(offset, into).unwrap_or_default())
    }
}

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

/// The octets of `wire` before dot-stuffing.
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

/// How many messages a spool has.
fn count(spool: &str) -> usize {
    read(spool.as_bytes(), BUFFER_MIN).unwrap().messages.len()
}

#[test]
fn a_from_line_begins_a_message_wherever_it_stands() {
    assert_eq!(count(&format!("{FROM}A: 1\n\nbody\n{FROM}B: 2\n\nx\n")), 2);
    assert_eq!(
        count(&format!("{FROM}A: 1\n\nbody\n \n{FROM}B: 2\n\nx\n")),
        2
    );
    // A From_ line also cuts a header off, even after a line that does not fit into one look.
    assert_eq!(count(&format!("{FROM}A: 1\n{FROM}B: 2\n\nx\n")), 2);
    let long = format!("A: {}\n", "x".repeat(5000));
    assert_eq!(count(&format!("{FROM}{long}{FROM}B: 2\n\nx\n")), 2);
    assert_eq!(count(&FROM.repeat(3)), 3);
    let long = format!("From {}@b Mon Nov 23 10:00:00 2026\n", "x".repeat(500));
    assert_eq!(count(&format!("{FROM}A: 1\n{long}B: 2\n\nx\n")), 2);
    // Without a date, or within a line, it is text.
    assert_eq!(
        count(&format!("{FROM}A: 1\n\nbody\nFrom here on\n\nx {FROM}")),
        1
    );
}

#[test]
fn a_file_that_is_no_mbox_is_refused() {
    assert_eq!(read(b"Hello\n", BUFFER_MIN), Err(ScanError::NotMbox));
    assert_eq!(read(b"\n Hello\n", BUFFER_MIN), Err(ScanError::NotMbox));
    assert_eq!(read(&[b' '; 10_000], BUFFER_MIN), Err(ScanError::NotMbox));
    let returns = format!("{FROM}A: 1\n\nbody\n\n").replace('\n', "\r");
    assert_eq!(
        read(returns.as_bytes(), BUFFER_MIN),
        Err(ScanError::BareReturns)
    );
    let returns = returns.repeat(100);
    assert_eq!(
        read(returns.as_bytes(), BUFFER_MIN),
        Err(ScanError::BareReturns)
    );
    assert_eq!(read(b"", BUFFER_MIN).unwrap(), Maildrop::default());
}

/// No sender writes the first line of a spool, and no message is before it. So the date in it need
/// not be one that any program knows.
#[test]
fn a_spool_may_begin_with_a_from_line_of_any_date() {
    for first in [
        "From a@b Mon Nov 23 16: 18:08 2026",
        "From a@b Mon Nov 23 10:00:00 GMT-0700 2026",
        "From a@b Mon Nov 23 10:00:00 26",
        "From a@b\tMon\tNov 23 10:00:00 2026",
        "From a@b 2026-11-23T10:00:00Z",
        "From a@b",
        "From ",
    ] {
        for (before, end) in [("", "\n"), ("\n \n", "\n"), ("", "\r\n")] {
            let start = format!("{before}{first}{end}A: 1{end}{end}x{end}");
            let spool = format!("{start}{end}{FROM}B: 2\n\ny\n");
            let maildrop = read(spool.as_bytes(), BUFFER_MIN).unwrap();
            assert_eq!(maildrop.messages.len(), 2, "{spool:?}");
            assert_eq!(
                sent(spool.as_bytes(), &maildrop.messages[0]),
                b"A: 1\r\n\r\nx\r\n"
            );
            // A later session finds it again, and can read on from it.
            let mut known = read(start.as_bytes(), BUFFER_MIN).unwrap();
            let length = spool.len() as u64;
            let (mut source, mut buffer) = (InMemory(spool.as_bytes()), [0; BUFFER_MIN]);
            let begins = begins_there(
                &mut Window::new(&mut source, length, &mut buffer),
                &known.messages[0],
            );
            assert_eq!(begins, Ok(true), "{spool:?}");
            let hide = Hidden::default();
            scan_on(&mut source, length, &mut buffer, hide, &mut known).unwrap();
            assert_eq!(known, maildrop, "{spool:?}");
            // Behind another message only a date that is one begins a message.
            let behind = 2 + usize::from(is_from_line(first.as_bytes()));
            assert_eq!(
                count(&format!("{FROM}A: 1\n\n{spool}")),
                behind,
                "{spool:?}"
            );
        }
    }
    let refused = |spool: &str| read(spool.as_bytes(), BUFFER_MIN).unwrap_err();
    assert_eq!(refused("From\n\nx\n"), ScanError::NotMbox);
    assert_eq!(refused(">From a@b\n\nx\n"), ScanError::NotMbox);
    assert_eq!(refused("From a@b\rA: 1\r\rx\n"), ScanError::NotMbox);
    let long = format!("From {}\n\nx\n", "x".repeat(LINE_MAX));
    assert_eq!(refused(&long), ScanError::NotMbox);
}

/// A From_ line with an odd date is one only where the spool begins.
#[test]
fn a_message_with_an_odd_date_is_not_found_again_behind_another_one() {
    let odd = "From a@b 26\nA: 1\n\nx\n\n";
    let first = read(odd.as_bytes(), BUFFER_MIN).unwrap();
    let moved = Message {
        from_line: 5,
        header: first.messages[0].header + 5,
        ..first.messages[0].clone()
    };
    let there = |spool: String| {
        let length = spool.len() as u64;
        let mut source = InMemory(spool.as_bytes());
        begins_there(
            &mut Window::new(&mut source, length, &mut [0; BUFFER_MIN]),
            &moved,
        )
    };
    assert_eq!(there(format!("\n\n\n\n\n{odd}")), Ok(true));
    assert_eq!(there(format!("text\n{odd}")), Ok(false));
    assert_eq!(there(format!("From {odd}")), Ok(false));
}

#[test]
fn empty_lines_before_the_first_message_do_not_hide_it() {
    for (before, offset) in [("\n", 1), ("\r\n\n", 3), (" \n\t\r\n", 5)] {
        let maildrop = read(format!("{before}{FROM}A: 1\n\nx\n").as_bytes(), BUFFER_MIN).unwrap();
        assert_eq!(maildrop.messages[0].from_line, offset);
    }
    let lines = "\n".repeat(3 * BUFFER_MIN);
    assert_eq!(count(&lines), 0);
    let maildrop = read(format!("{lines}{FROM}").as_bytes(), BUFFER_MIN).unwrap();
    assert_eq!(maildrop.messages[0].from_line, lines.len() as u64);
}

#[test]
fn bytes_before_the_first_message_are_deleted_together_with_it() {
    let spool = format!("\n\n{FROM}A: 1\n\nx\n\n{FROM}B: 2\n\ny\n");
    let maildrop = read(spool.as_bytes(), BUFFER_MIN).unwrap();
    let plan = Plan::new(&maildrop, &[true, false]).unwrap();
    assert_eq!((plan.first_change, plan.final_length), (0, 42));
    let plan = Plan::new(&maildrop, &[false, true]).unwrap();
    assert_eq!((plan.first_change, plan.final_length), (45, 45));
    let plan = Plan::new(&maildrop, &[true, true]).unwrap();
    assert_eq!((plan.first_change, plan.final_length), (0, 0));
}

/// A delivery was broken off within its From_ line. The next delivery begins on the same line.
#[test]
fn a_broken_off_from_line_is_no_message_but_the_next_one_is() {
    let line = FROM.trim_end();
    let message = format!("{FROM}A: 1\n\nx\n\n");
    let maildrop = read(format!("{message}{line}").as_bytes(), BUFFER_MIN).unwrap();
    assert_eq!(
        (maildrop.messages.len(), maildrop.tail),
        (1, line.len() as u64)
    );
    assert_eq!(
        maildrop.messages,
        read(message.as_bytes(), BUFFER_MIN).unwrap().messages
    );
    // The part of a From_ line stays when the message before it is deleted.
    let plan = Plan::new(&maildrop, &[true]).unwrap();
    let tail = message.len() as u64..(message.len() + line.len()) as u64;
    assert_eq!(plan.kept, vec![tail]);
    for cut in 0..=line.len() {
        // In an empty spool, any part of a From_ line is recognized.
        let alone = read(&line.as_bytes()[..cut], BUFFER_MIN).unwrap();
        assert_eq!((alone.messages.len(), alone.tail), (0, cut as u64));
        let next = format!("{}{message}", &line[..cut]);
        let next = read(next.as_bytes(), BUFFER_MIN).unwrap();
        assert_eq!(next.messages.len(), 1, "{cut}");
        // After another message, `FFrom ` could be a line of text.
        let behind = read(
            format!("{message}{}{message}", &line[..cut]).as_bytes(),
            BUFFER_MIN,
        );
        assert_eq!(
            behind.unwrap().messages.len(),
            if (1..5).contains(&cut) { 1 } else { 2 },
            "{cut}"
        );
    }
}

/// A sender can write any number into Content-Length, but does not know what follows the message in
/// the spool.
#[test]
fn a_content_length_joins_messages_only_by_dovecots_condition() {
    let other = format!("{FROM}B: 2\n\ny\n");
    let text = format!("x\n\n{other}");
    let spool =
        |count: usize, after: &str| format!("{FROM}Content-Length: {count}\n\n{text}{after}");
    // What follows the body's end decides: nothing, an empty line, an empty line and a From_ line,
    // or anything else.
    for (after, messages) in [
        (String::new(), 2),
        ("\n".into(), 1),
        ("\r\n".into(), 1),
        ("\n\n".into(), 2),
        (format!("\n{other}"), 2),
        (other.clone(), 3),
        (format!("\n{}", FROM.trim_end()), 1),
        ("\nFrom here\n".into(), 2),
    ] {
        assert_eq!(count(&spool(text.len(), &after)), messages, "{after:?}");
    }
    assert_eq!(count(&spool(text.len() + 1, "\n")), 2);
    assert_eq!(count(&spool(text.len() - 1, "\n")), 2);
    assert_eq!(count(&spool(usize::MAX, "\n")), 2);
    // A header that was cut off has no body, so its Content-Length says nothing.
    let cut_off = format!("{FROM}Content-Length: {}\n{other}\n{other}", other.len());
    assert_eq!(count(&cut_off), 3);
}

/// The UIDLs of these messages from a time when popward required an empty line before a From_ line.
#[test]
fn p5_uidls_stay_although_the_rule_for_from_lines_changed() {
    let spool = format!(
        "{FROM}A: 1\nStatus: RO\n\nbody\n\n{FROM}B: 2\r\n\r\nFrom here\r\n\r\n{FROM}\n\n{FROM}C: 3\nContent-Length: 39\n\n\n{FROM}\nx\n\n\n{FROM}D: 4\n"
    );
    let maildrop = read(spool.as_bytes(), BUFFER_MIN).unwrap();
    let names: Vec<_> = maildrop
        .messages
        .iter()
        .map(|message| crate::uidl::name(message).into_string())
        .collect();
    assert_eq!(
        names,
        [
            "115e169145c04e5d634047abb1d62989",
            "782adfcbcc18286a3c082a30a058d079",
            "3c27110e3884b8f6b80f8b69e80a01f8",
            "75297ce6ddc16518908a75a652977d1d",
            "f8fc2833f0019c6231f09b681735604f",
        ]
    );
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
    // mailutils rewrites the spaces that postfix, procmail and Dovecot wrote.
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

/// Pieces of spools, in many odd forms. `@@@` becomes a Content-Length that points near the start
/// of a line.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"From a@b Mon Nov 23 10:00:00 2026\n",
        b"From a@b Mon Nov 23 10:00:00 2026\r\n",
        b"From a@b Mon Nov 23 10:00:00 2026",
        b"\n",
        b"\n",
        b"\r\n",
        b"From nobody\n",
        b"From a@b Mon Nov 23 16: 18:08 2026\r\n",
        b"Fro",
        b" \n",
        b"Subject: x\n",
        b" folded\r\n",
        b"Content-Length: @@@\n",
        b"Content-Length: @@@\n\n",
        b"Content-Length: \n",
        b"Content-Length: -1\n",
        b"Content-Length: 99999999999999999999\n",
        b"Status: RO\n",
        b".\n",
        b"..\r\n",
        b"text without end",
        b"\r",
        b"\0",
        b"line\n",
    ];
    let chosen = proptest::collection::vec(proptest::sample::select(pieces), 0..40);
    (chosen, any::<u64>()).prop_map(|(pieces, mut random)| {
        let mut bytes = pieces.concat();
        while let Some(at) = memmem::find(&bytes, b"@@@") {
            let body = memmem::find(&bytes[at..], b"\n\n").map_or(at, |end| at + end + 2);
            let starts: Vec<_> = memchr::memchr_iter(b'\n', &bytes[body..]).collect();
            let choice = usize::try_from(random % 1009).unwrap();
            random = random.rotate_left(13).wrapping_mul(31);
            let place = starts
                .get(choice % starts.len().max(1))
                .map_or(0, |start| start + 1);
            let number = format!("{:03}", (place + choice % 4).saturating_sub(2).min(999));
            bytes[at..at + 3].copy_from_slice(number.as_bytes());
        }
        bytes
    })
}

/// Such pieces after a From_ line, which may have an odd date.
fn spool() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        Just(FROM),
        Just(FROM),
        Just("From a@b 26\n"),
        Just("\nFrom \r\n")
    ];
    (first, pieces()).prop_map(|(first, pieces)| [first.as_bytes(), &pieces].concat())
}

/// Reads a spool with the slow reader.
fn model(spool: &[u8]) -> Option<(Vec<reader::Simple>, usize)> {
    reader::read(spool, is_from_line)
}

/// Compares what a scan found with what the slow reader finds.
fn assert_as_read_slowly(
    spool: &[u8],
    found: &Result<Maildrop, ScanError<std::convert::Infallible>>,
) {
    let simple = found.as_ref().ok().map(|maildrop| {
        let at = |offset: u64| usize::try_from(offset).unwrap();
        let messages = maildrop.messages.iter().map(|m| reader::Simple {
            from_line: at(m.from_line),
            header: at(m.header),
            end: at(m.end),
            octets: at(m.octets),
        });
        (messages.collect(), at(maildrop.tail))
    });
    assert_eq!(simple, model(spool), "{}", spool.escape_ascii());
}

/// A From_ line and the empty line before it may lie across any edge of a block or of the buffer.
#[test]
fn a_message_begins_wherever_its_from_line_lies() {
    for room in [BUFFER_MIN, 5000, 1 << 20] {
        for edge in [BUFFER_MIN / 2, BUFFER_MIN, 5000, BLOCK, 2 * BLOCK] {
            for separator in [
                "\n", "\r\n", "\n\n", "\r\n\r\n", "\n\r\n", "\r\n\n", "\n\n\n", "\r\r\n",
            ] {
                for place in edge - 60..edge + 20 {
                    let begin = format!("{FROM}A: 1\n\n");
                    let filler = "x".repeat(place - begin.len());
                    let spool = format!("{begin}{filler}{separator}{FROM}B: 2\n\nend\n");
                    let maildrop = read(spool.as_bytes(), room);
                    assert_as_read_slowly(spool.as_bytes(), &maildrop);
                    let maildrop = maildrop.unwrap();
                    assert_eq!(
                        maildrop.messages.len(),
                        2,
                        "{room} {edge} {separator:?} {place}"
                    );
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
            let (mut source, length) = (InMemory(&spool), spool.len() as u64);
            prop_assert_eq!(begins_there(&mut Window::new(&mut source, length, &mut [0; BUFFER_MIN]), message), Ok(true));
        }
        prop_assert_eq!(&read(&spool, BUFFER_MIN).unwrap(), &maildrop);
        prop_assert_eq!(&read(&spool, BUFFER_MIN + filler).unwrap(), &maildrop);
    }

    #[test]
    fn messages_are_those_of_the_slow_reader(spool in prop_oneof![spool(), pieces()], filler in 0usize..9000, at in 0usize..40) {
        assert_as_read_slowly(&spool, &read(&spool, BUFFER_MIN));
        // The same holds across the edges of blocks and of the buffer.
        let mut spool = spool;
        let at = memchr::memchr_iter(b'\n', &spool).nth(at).map_or(spool.len(), |end| end + 1);
        spool.splice(at..at, std::iter::repeat_n(b'x', filler));
        assert_as_read_slowly(&spool, &read(&spool, BUFFER_MIN));
    }

    /// If a spool is cut at the end of a message, the messages before the cut read the same.
    #[test]
    fn no_message_depends_on_what_is_appended(spool in spool()) {
        let maildrop = read(&spool, BUFFER_MIN).unwrap();
        for known in 1..=maildrop.messages.len() {
            let end = usize::try_from(maildrop.segment_end(known - 1)).unwrap();
            let before = read(&spool[..end], BUFFER_MIN).unwrap();
            prop_assert_eq!(&before.messages[..], &maildrop.messages[..known]);
            prop_assert_eq!(before.tail, 0);
        }
    }

    /// An update ends a last line that has no line end, if no Content-Length can hold by that.
    #[test]
    fn a_line_end_behind_the_last_line_changes_no_message(
        spool in spool(), last in prop::sample::select(vec!["", "x", "Fro", "Subject: x", "From a"]),
    ) {
        let spool = [&spool[..], last.as_bytes()].concat();
        let before = read(&spool, BUFFER_MIN).unwrap();
        let open = !spool.ends_with(b"\n") && !spool.ends_with(b"\r") && before.tail == 0;
        let last_line = spool.rsplit(|byte| *byte == b'\n').next().unwrap();
        if !open || last_line.starts_with(b"From ") || before.claims.within || before.claims.ahead <= before.length {
            return Ok(());
        }
        let ended = [&spool[..], b"\n"].concat();
        let after = read(&ended, BUFFER_MIN).unwrap();
        prop_assert_eq!(before.messages.len(), after.messages.len());
        for (before, after) in before.messages.iter().zip(&after.messages) {
            prop_assert_eq!(sent(&spool, before), sent(&ended, after));
            prop_assert_eq!((before.octets, before.digest), (after.octets, after.digest));
        }
    }

    #[test]
    fn hidden_lines_are_neither_sent_nor_counted(
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
        let mut scanned = Maildrop::default();
        scan_on(&mut InMemory(&spool), length, &mut vec![0; BUFFER_MIN], hide, &mut scanned).unwrap();
        let message = &scanned.messages[0];
        let at = |offset: u64| usize::try_from(offset).unwrap();
        let (mut shown, mut filter) = (Vec::new(), Shown::new(hide));
        let mut header = &spool[at(message.header)..at(message.body)];
        while !header.is_empty() {
            // At least as many bytes as a line's decision needs, and not all of a part at once.
            let view = &header[..header.len().min(crate::header::LOOK + pieces)];
            let (part, is_shown) = filter.part(view);
            let part = &part[..part.len().min(pieces)];
            filter.passed(part);
            shown.extend_from_slice(if is_shown { part } else { &[] });
            header = &header[part.len()..];
        }
        shown.extend_from_slice(&spool[at(message.body)..at(message.end)]);
        let (mut wire, mut converter) = (Vec::new(), Converter::whole());
        converter.convert(&shown, &mut wire, usize::MAX);
        converter.finish(&mut wire);
        prop_assert_eq!(message.octets, unstuffed(&wire));
        let wire = String::from_utf8(wire).unwrap();
        let kept = fields.iter().zip(&lines).filter(|((name, ..), _)| !["Status", "x-uid"].contains(name));
        let expected: String = kept.map(|(_, line)| line.replace('\n', "\r\n") + "\r\n").collect();
        // The end of the last line may be the separator's.
        prop_assert!(wire.starts_with(&expected), "{:?} {:?}", wire, expected);
    }

    #[test]
    fn a_scan_can_continue_where_another_ended(spool in spool(), more in pieces()) {
        let mut known = read(&spool, BUFFER_MIN).unwrap();
        let mut grown = spool;
        grown.extend_from_slice(&more);
        let length = grown.len() as u64;
        // The worker continues a scan only if the index can hold the maildrop and no Content-Length
        // can hold now that did not.
        prop_assume!(known.tail == 0 && length < known.claims.ahead);
        let on = scan_on(&mut InMemory(&grown), length, &mut vec![0; BUFFER_MIN], Hidden::default(), &mut known);
        prop_assert_eq!(on.map(|()| known), read(&grown, BUFFER_MIN));
    }

    /// A scan fails at a read, and another one goes on from what was found, of the same spool.
    #[test]
    fn a_scan_can_continue_where_another_failed(spool in spool(), more in spool(), reads in 0..4_usize) {
        let spool = [spool, more].concat();
        let length = spool.len() as u64;
        let mut maildrop = Maildrop::default();
        let (mut buffer, hide) = (vec![0; BUFFER_MIN], Hidden::default());
        let mut fails = FailsAfter(reads, InMemory(&spool));
        if scan_on(&mut fails, length, &mut buffer, hide, &mut maildrop).is_err() {
            let whole = read(&spool, BUFFER_MIN);
            if let (Ok(whole), true) = (&whole, !maildrop.messages.is_empty()) {
                prop_assert!(maildrop.is_possible());
                prop_assert_eq!(&whole.messages[..maildrop.messages.len()], &maildrop.messages[..]);
            }
            let on = scan_on(&mut InMemory(&spool), length, &mut buffer, hide, &mut maildrop);
            prop_assert_eq!(on.map(|()| maildrop), whole);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, BUFFER_MIN);
        let mut spool = FROM.as_bytes().to_vec();
        spool.extend(bytes);
        prop_assert!(read(&spool, BUFFER_MIN).is_ok());
    }

    #[test]
    fn messages_that_a_plan_keeps_read_as_before(spool in spool(), deleted in proptest::collection::vec(any::<bool>(), 40)) {
        let maildrop = read(&spool, 1 << 20).unwrap();
        // If a Content-Length points further into the spool, only another scan shows whether it
        // holds after the update.
        prop_assume!(!maildrop.claims.within);
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
        let left = crate::plan::left(&maildrop, &deleted);
        prop_assert!(left.claims.ahead <= after.claims.ahead);
        prop_assert_eq!(Maildrop { claims: after.claims, ..left }, after);
    }
}
