//! Which parts of a header a scheme takes. `tests/schemes.rs` compares with whole servers.

use super::*;
use popward_mbox::assignment;
use popward_mbox::scan::BUFFER_MIN;
use popward_mbox::testing::{InMemory, scan};
use proptest::prelude::*;

const FROM: &str = "From a@b Mon Nov 23 10:00:00 2026\n";

fn named(spool: &[u8], schemes: &[Scheme], room: usize) -> Vec<Option<Box<str>>> {
    let mut source = InMemory(spool);
    let mut buffer = vec![0; room];
    let maildrop = scan(&mut source, spool.len() as u64, &mut buffer).unwrap();
    names(&mut source, &maildrop, schemes, &mut buffer, 0).unwrap()
}

/// The UIDL of a single message with this header and body.
fn one(scheme: Scheme, message: &str) -> Option<String> {
    let spool = format!("{FROM}{message}");
    let names = named(spool.as_bytes(), &[scheme], BUFFER_MIN);
    assert_eq!(names.len(), 1);
    names[0].as_deref().map(str::to_owned)
}

fn digest(bytes: &str) -> String {
    format!("{:x}", md5::compute(bytes))
}

#[test]
fn an_x_uidl_counts_only_if_it_is_a_valid_uidl() {
    let x_uidl = |header: &str| one(Scheme::XUidl, &format!("A: b\n{header}\n\nX-UIDL: body\n"));
    let longest = "~".repeat(70);
    for (header, expected) in [
        ("X-UIDL: abc", Some("abc")),
        ("x-uidl:abc \t", Some("abc")),
        ("X-UIDL:\n \t abc\n \t", Some("abc")),
        ("X-UIDL: abc\r", Some("abc")),
        (&format!("X-UIDL: {longest}"), Some(&longest)),
        (&format!("X-UIDL: {longest}!"), None),
        ("X-UIDL: a b", None),
        ("X-UIDL: a\n b", None),
        ("X-UIDL: gr\u{fc}n", None),
        ("X-UIDL: a\0b", None),
        ("X-UIDL: a\rb", None),
        ("X-UIDL:", None),
        ("X-UIDL: ", None),
        ("X-UIDL : abc", None),
        ("X-UIDLS: abc", None),
        (" X-UIDL: abc", None),
        ("B: c\n X-UIDL: abc", None),
        // The first X-UIDL counts, whatever its value.
        ("X-UIDL: first\nX-UIDL: second", Some("first")),
        ("X-UIDL: not one\nX-UIDL: second", None),
        ("\nX-UIDL: body", None),
        ("\r\nX-UIDL: body", None),
    ] {
        assert_eq!(x_uidl(header).as_deref(), expected, "{header:?}");
    }
}

/// What Dovecot 2.3.19.1 answered for exactly these messages (`doveadm fetch guid`).
#[test]
fn dovecot_drops_one_blank_and_wants_a_colon() {
    for (message, expected) in [
        (
            "Date:  two blanks\nMessage-ID : <space-before-colon>\nSubject: x\n\nb\n\n",
            "8107383d70fb2b4c8f19758bca34f7c6",
        ),
        (
            "Date:\t tab blank\nReceived\n continued without colon\nDate: late\n\nb\n\n",
            "94bdfee207fff5607a2bd28dd30313a5",
        ),
        (
            " Date: indented first\n Date: continued\nDelivered-To:\n\tfolded\nX-DELIVERY-ID:   \nMessage-Id:abc\n\nb\n\n",
            "46537be33791bf50e0747aa3d98262e9",
        ),
    ] {
        assert_eq!(
            one(Scheme::DovecotMd5, message).as_deref(),
            Some(expected),
            "{message:?}"
        );
    }
}

#[test]
fn dovecot_hashes_a_cr_that_ends_no_line() {
    for (header, hashed) in [
        ("Date: a\r\n b\r\n", "a b"),
        ("Date: a\rb\r\r\n", "a\rb\r"),
        ("Date: a\r", "a\r"),
        ("Date:\r\n\tb\n", "\tb"),
    ] {
        assert_eq!(
            one(Scheme::DovecotMd5, header),
            Some(digest(hashed)),
            "{header:?}"
        );
    }
}

#[test]
fn popa3d_ends_a_header_with_lf_alone() {
    let half = |bytes: &str| {
        let whole = digest(bytes);
        let at = |from: usize| whole[2 * from..2 * from + 2].to_owned();
        Some([3, 2, 1, 0, 7, 6, 5, 4].map(at).concat())
    };
    for (message, hashed) in [
        ("Date: a\r\n\r\nDate: b\r\n", "Date: a\r\nDate: b\r\n"),
        ("Date: a\n\nDate: b\n", "Date: a\n"),
        ("received:\n a\nReceived: b\nDate: c\n\n", "received:\n a\n"),
        (
            "X-delivery-id: a\nx-Delivery-ID: b\n c\n\n",
            "X-delivery-id: a\n",
        ),
        ("Date : a\nDate: b", "Date: b"),
    ] {
        assert_eq!(one(Scheme::Popa3d, message), half(hashed), "{message:?}");
    }
}

#[test]
fn solid_pop3d_takes_no_folded_lines_and_its_own_from_lines() {
    for (message, hashed) in [
        (
            "Date: a\n b\nMessage-ID: c\nMessage-Id: d\n\nDate: e\n",
            "Date: a\nMessage-Id: d\n",
        ),
        ("Date: a\r\n\r\nDate: b\r\n", "Date: a\r\nDate: b\r\n"),
        (
            "Date: a\r\n\r\nFrom here on it is another\nDate: b\n",
            "Date: a\r\nDate: b\n",
        ),
        (
            "Date: a\r\n\r\nFrom here on there is another\nDate: b\n",
            "Date: a\r\n",
        ),
    ] {
        assert_eq!(
            one(Scheme::SolidPop3d, message),
            Some(digest(hashed)),
            "{message:?}"
        );
    }
}

#[test]
fn tpop3d_sees_a_separator_that_begins_within_what_is_hashed() {
    for filler in 460..500 {
        let first = format!("{FROM}\n{}\n\n", "x".repeat(filler));
        let spool = format!("{first}{FROM}\nend\n");
        let names = named(spool.as_bytes(), &[Scheme::Tpop3d], BUFFER_MIN);
        let hashed = &first[..first.len().min(512)];
        assert_eq!(
            names[0].as_deref().map(str::to_owned),
            Some(digest(hashed)),
            "{filler}"
        );
        let last = Some(digest(&format!("{FROM}\nend\n")));
        assert_eq!(names[1].as_deref().map(str::to_owned), last);
    }
}

#[test]
fn the_first_scheme_that_has_a_name_gives_it() {
    let spool = format!("{FROM}X-UIDL: a\n\nb\n\n{FROM}X-UIDL:\n\nb\n");
    let name = |schemes: &[Scheme]| named(spool.as_bytes(), schemes, BUFFER_MIN);
    let x_uidl = name(&[Scheme::XUidl]);
    assert_eq!(x_uidl, [Some("a".into()), None]);
    for scheme in Scheme::ALL.iter().filter(|scheme| names_all(**scheme)) {
        let alone = name(&[*scheme]);
        assert_eq!(
            name(&[Scheme::XUidl, *scheme]),
            [x_uidl[0].clone(), alone[1].clone()]
        );
        assert_eq!(name(&[*scheme, Scheme::XUidl]), alone);
    }
    assert_eq!(name(&[]), [None, None]);
    let spool =
        format!("{FROM}X-IMAPbase: 16 9\nX-UIDL: a\nX-UID: 7\n\nb\n\n{FROM}X-UIDL: c\n\nb\n");
    let name = |schemes: &[Scheme]| named(spool.as_bytes(), schemes, BUFFER_MIN);
    let (a, c) = (Some("a".into()), Some("c".into()));
    assert_eq!(name(&[Scheme::XUidl, Scheme::Uw]), [a, c.clone()]);
    let uid = Some("0000000700000010".into());
    assert_eq!(name(&[Scheme::Dovecot, Scheme::XUidl]), [uid, c]);
}

#[test]
fn uids_count_as_the_old_servers_believed_them() {
    // The header of the first message, that of the second one, and which of the two have a UIDL.
    for (first, second, expected) in [
        ("X-IMAPbase: 16 9 words\nX-UID: 7", "X-UID: 9", "yes yes"),
        (
            "x-imapbase: 16 0000000009\nx-uid:7   ",
            "X-UID:\t9\r",
            "yes yes",
        ),
        // The value is looked at up to the middle of a letter.
        (
            "X-IMAPbase: 16 0000000009 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaöö\nX-UID: 7",
            "X-UID: 9",
            "yes yes",
        ),
        (
            "X-IMAPbase: 16 0000000009 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaöö\nX-UID: 7",
            "X-UID: 9",
            "yes yes",
        ),
        // The pseudo message has no UIDL.
        ("X-IMAP: 16 0000000009", "X-UID: 9", "no yes"),
        // The second X-UID of a message does not count.
        (
            "X-IMAPbase: 16 9\nX-UID: 7\nX-UID: 8",
            "X-UID: 8\nX-UID: x",
            "yes yes",
        ),
        ("X-IMAPbase: 16 9\nX-UID: 7\n \n", "X-UID: 8\n  ", "yes yes"),
        ("X-IMAPbase: 16 9\nX-UID: 7", "X-UID: 7", "yes no"),
        ("X-IMAPbase: 16 9\nX-UID: 7", "X-UID: 10", "yes no"),
        ("X-IMAPbase: 16 9\nX-UID: 7", "X-UID: 8 a", "yes no"),
        ("X-IMAPbase: 16 9\nX-UID: 7", "X-UID: 8\n a", "yes no"),
        ("X-IMAPbase: 16 9\nX-UID: 7", "X-UID: +8", "yes no"),
        ("X-IMAPbase: 16 9\nX-UID: 7", "X-UIDs: 8", "yes no"),
        // Nothing behind a message without a number counts.
        ("X-IMAPbase: 16 9\nX-UID:", "X-UID: 8", "no no"),
        ("X-IMAPbase: 16 9\nX-UID: 0", "X-UID: 8", "no no"),
        ("X-IMAPbase: 16 9\nX-UID: 99999999999", "X-UID: 8", "no no"),
        ("X-UID: 7\nX-IMAPbase: 16 9", "X-UID: 8", "no no"),
        ("X-IMAPbase: 0 9\nX-UID: 7", "X-UID: 8", "no no"),
        ("X-IMAPbase: 16\nX-UID: 7", "X-UID: 8", "no no"),
        ("X-IMAPbase: 16 9x\nX-UID: 7", "X-UID: 8", "no no"),
        ("X-IMAPbase: 16 -9\nX-UID: 7", "X-UID: 8", "no no"),
        ("Subject: a", "X-IMAPbase: 16 9\nX-UID: 8", "no no"),
    ] {
        let spool = format!("{FROM}{first}\n\nb\n\n{FROM}{second}\n\nb\n");
        let names = named(spool.as_bytes(), &[Scheme::Uw], BUFFER_MIN);
        let found: Vec<_> = names
            .iter()
            .map(|name| if name.is_some() { "yes" } else { "no" })
            .collect();
        assert_eq!(found.join(" "), expected, "{spool}");
    }
}

#[test]
fn only_messages_from_the_given_index_on_are_named() {
    let spool = format!("{FROM}X-UIDL: a\n\nb\n\n").repeat(3);
    let mut source = InMemory(spool.as_bytes());
    let mut buffer = vec![0; BUFFER_MIN];
    let maildrop = scan(&mut source, spool.len() as u64, &mut buffer).unwrap();
    for from in 0..5 {
        let names = names(&mut source, &maildrop, &Scheme::ALL, &mut buffer, from).unwrap();
        assert_eq!(names, vec![Some("a".into()); 3_usize.saturating_sub(from)]);
    }
}

/// A spool that notes which bytes are read.
struct Noting<'a>(InMemory<'a>, Vec<std::ops::Range<u64>>);

impl Source for Noting<'_> {
    type Error = std::convert::Infallible;

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, Self::Error> {
        self.1.push(offset..offset + into.len() as u64);
        self.0.read_at(offset, into)
    }
}

#[test]
fn a_byte_is_read_once_and_bodies_are_left_out() {
    let field = format!("Received: {}\n", "x".repeat(3 * READ));
    let body = "body\n".repeat(READ);
    let spool = format!("{FROM}Date: a\n{field}\n{body}\n").repeat(4);
    let mut source = Noting(InMemory(spool.as_bytes()), Vec::new());
    let mut buffer = vec![0; 1 << 20];
    let maildrop = scan(&mut source, spool.len() as u64, &mut buffer).unwrap();
    for scheme in Scheme::ALL {
        source.1.clear();
        names(
            &mut source,
            &maildrop,
            &[Scheme::XUidl, scheme],
            &mut buffer,
            0,
        )
        .unwrap();
        // Once more for what depends on the messages before.
        let passes = if names_all(scheme) || scheme == Scheme::XUidl {
            1
        } else {
            2
        };
        let back = source
            .1
            .windows(2)
            .filter(|pair| pair[0].end > pair[1].start);
        assert!(back.count() < passes, "{scheme}: {:?}", source.1);
        let read: u64 = source.1.iter().map(|range| range.end - range.start).sum();
        assert!(read <= (passes * 4 * 5 * READ) as u64, "{scheme}: {read}");
    }
}

/// Pieces of headers, in many odd forms.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"From a@b Mon Nov 23 10:00:00 2026\n",
        b"\n",
        b"\r\n",
        b"Received: x\n",
        b"received:\r\n",
        b"Date: y\n",
        b"Message-Id:  z\n",
        b"X-UIDL: abc\n",
        b"X-UIDL:",
        b"X-IMAPbase: 7 9\n",
        b"X-UID: 3 \n",
        b"X-UID: 4",
        b"Delivered-To\t: me\r\r\n",
        b" folded\r\n",
        b"\tfolded\n",
        b"Subject",
        b":",
        b"\r",
        b"\0",
        b"\xff",
        b"From here on there is another\n",
    ];
    let filler = proptest::collection::vec(Just(b'x'), 0..5000);
    let piece = prop_oneof![
        9 => proptest::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => filler,
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn names_do_not_depend_on_the_buffer(
        first in message(),
        second in message(),
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        room in BUFFER_MIN..3 * BUFFER_MIN,
    ) {
        let from = FROM.as_bytes();
        let spool = [from, &first, b"\n\n", from, &second, b"\n\n", from, &bytes].concat();
        for scheme in Scheme::ALL {
            let whole = named(&spool, &[scheme], 1 << 20);
            for name in whole.iter().flatten() {
                prop_assert!((1..=70).contains(&name.len()), "{name:?}");
                prop_assert!(name.bytes().all(|byte| (0x21..=0x7E).contains(&byte)), "{name:?}");
            }
            prop_assert_eq!(&named(&spool, &[scheme], BUFFER_MIN), &whole);
            prop_assert_eq!(&named(&spool, &[scheme], room), &whole);
            prop_assert!(!names_all(scheme) || whole.iter().all(Option::is_some));
        }
    }

    #[test]
    fn names_made_unique_are_uidls(mut names in proptest::collection::vec("[ab]{1,2}(-[23])?", 0..30), long in any::<bool>()) {
        if long {
            names = names.iter().map(|name| format!("{}{name}", "c".repeat(70 - name.len()))).collect();
        }
        let before: Vec<Box<str>> = names.iter().map(|name| name.as_str().into()).collect();
        let mut after = before.clone();
        assignment::unique(&mut after, &std::collections::BTreeSet::new(), std::collections::BTreeMap::new());
        let mut distinct = after.clone();
        distinct.sort();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), after.len());
        prop_assert!(after.iter().all(|name| name.len() <= 70));
        for (index, name) in before.iter().enumerate() {
            // The first of several equal names stays as it is.
            prop_assert_eq!(&after[index] == name, !before[..index].contains(name));
        }
    }
}
