//! Compares UIDLs that real servers gave with popward's by their schemes, byte for byte, for every
//! message that both see.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

#[path = "../../mbox/tests/sessions/mod.rs"]
mod sessions;

use popward_mbox::assignment;
use popward_mbox::scan::BUFFER_MIN;
use popward_mbox::testing::{InMemory, scan};
use popward_proto::sessions_worker::Scheme;
use popward_schemes::names;
use sessions::{body, vector};

/// The servers: the folder of their sessions, the scheme, whether they hide the pseudo message, and
/// their mark in `grammar-results.txt`. tpop3d is not in that file. It splits that spool as popa3d
/// does: at every `From ` after an empty line.
const SERVERS: [(&str, Scheme, bool, &str); 4] = [
    ("popa3d", Scheme::Popa3d, false, "popa=Y"),
    ("solid-pop3d", Scheme::SolidPop3d, false, "soli=Y"),
    ("tpop3d", Scheme::Tpop3d, true, "popa=Y"),
    ("dovecot-pop3d-md5", Scheme::DovecotMd5, true, "dove=Y"),
];

/// The spools, without `grammar`, which has a test of its own.
const SPOOLS: [&str; 12] = [
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
];

/// Pairs of message numbers: popward's and the server's.
type Pairs = &'static [(usize, usize)];

/// Spools that a server splits differently: the server, the spool, the reason, and which of
/// popward's messages is which of the server's.
const SPLIT_DIFFERENTLY: [(&str, &str, &str, Pairs); 9] = [
    (
        "popa3d",
        "contentlength",
        "does not ask Content-Length",
        CONTENT_LENGTH,
    ),
    (
        "solid-pop3d",
        "contentlength",
        "does not ask Content-Length",
        CONTENT_LENGTH,
    ),
    (
        "tpop3d",
        "contentlength",
        "does not ask Content-Length",
        CONTENT_LENGTH,
    ),
    (
        "popa3d",
        "crlf",
        "CRLF is no empty line: one message",
        &[(1, 1)],
    ),
    (
        "tpop3d",
        "crlf",
        "CRLF is no empty line: one message",
        &[(1, 1)],
    ),
    (
        "popa3d",
        "fromlines",
        "wants no date in a From_ line",
        FROM_LINES,
    ),
    (
        "tpop3d",
        "fromlines",
        "wants no date in a From_ line",
        FROM_LINES,
    ),
    (
        "solid-pop3d",
        "fromlines",
        "wants a From_ line of 28 bytes, and nothing else",
        &[(1, 1), (2, 3), (3, 4), (4, 5)],
    ),
    (
        "solid-pop3d",
        "nofinalnl",
        "refuses a spool whose last line has no end",
        &[],
    ),
];

const CONTENT_LENGTH: Pairs = &[(1, 1), (2, 3), (3, 4), (4, 5)];
const FROM_LINES: Pairs = &[(1, 1), (2, 4), (3, 5), (4, 6)];

/// popward's UIDLs by `schemes`. If `hidden`, the pseudo message is left out.
fn ours(spool: &str, schemes: &[Scheme], hidden: bool) -> Vec<Option<Box<str>>> {
    named(vector(&format!("{spool}.mbox")), schemes, hidden)
}

fn named(spool: Vec<u8>, schemes: &[Scheme], hidden: bool) -> Vec<Option<Box<str>>> {
    let mut source = InMemory(&spool);
    let mut buffer = vec![0; BUFFER_MIN];
    let maildrop = scan(&mut source, spool.len() as u64, &mut buffer).unwrap();
    let mut names = names(&mut source, &maildrop, schemes, &mut buffer, 0).unwrap();
    if hidden && maildrop.is_hidden(0) {
        names.remove(0);
    }
    names
}

/// The UIDLs that the server listed.
fn theirs(server: &str, spool: &str) -> Vec<String> {
    let session = vector(&format!("{server}/{spool}.txt"));
    let listing = String::from_utf8(body(&session, "UIDL")).unwrap();
    (1..)
        .zip(listing.lines())
        .map(|(number, line)| {
            let uidl = line.strip_prefix(&format!("{number} "));
            uidl.unwrap_or_else(|| panic!("{server} {spool}: {line:?}"))
                .to_owned()
        })
        .collect()
}

/// Compares the messages of each pair of numbers.
fn compare(what: &str, ours: &[Option<Box<str>>], theirs: &[String], pairs: &[(usize, usize)]) {
    for (our, their) in pairs {
        let (name, expected) = (ours[our - 1].as_deref(), &theirs[their - 1]);
        assert_eq!(name, Some(expected.as_str()), "{what}, message {our}");
    }
}

#[test]
fn p5_uidls_equal_those_of_other_servers_byte_for_byte() {
    let mut compared = 0;
    for (server, scheme, hidden, _) in SERVERS {
        for spool in SPOOLS {
            let ours = ours(spool, &[scheme], hidden);
            let what = format!("{server}, {spool}");
            let other = SPLIT_DIFFERENTLY
                .iter()
                .find(|(s, m, ..)| (*s, *m) == (server, spool));
            let Some((_, _, why, pairs)) = other else {
                let theirs = theirs(server, spool);
                assert_eq!(ours.len(), theirs.len(), "{what}");
                let all: Vec<_> = (1..=ours.len()).map(|number| (number, number)).collect();
                compare(&what, &ours, &theirs, &all);
                compared += all.len();
                continue;
            };
            if pairs.is_empty() {
                let session = vector(&format!("{server}/{spool}.txt"));
                assert!(
                    !session.windows(6).any(|bytes| bytes == b"C: UID"),
                    "{what}: {why}"
                );
                continue;
            }
            let theirs = theirs(server, spool);
            assert_ne!(ours.len(), theirs.len(), "{what}: {why}");
            compare(&what, &ours, &theirs, pairs);
            compared += pairs.len();
        }
    }
    assert!(compared > 130, "{compared}");
}

/// The spool has every form of From_ line, and each server accepts other forms.
#[test]
fn p5_uidls_equal_those_of_other_servers_with_odd_from_lines() {
    let results = String::from_utf8(vector("grammar-results.txt")).unwrap();
    for (server, scheme, hidden, mark) in SERVERS {
        let (mut our, mut their, mut pairs) = (0, 0, Vec::new());
        for line in results.lines() {
            let we = line.contains("dove=Y") || line.contains("uw-i=Y");
            let they = line.contains(mark);
            our += usize::from(we);
            their += usize::from(they);
            if we && they {
                pairs.push((our, their));
            }
        }
        let (ours, theirs) = (
            ours("grammar", &[scheme], hidden),
            theirs(server, "grammar"),
        );
        assert_eq!((ours.len(), theirs.len()), (our, their), "{server}");
        assert!(pairs.len() >= 18, "{server}: {pairs:?}");
        compare(server, &ours, &theirs, &pairs);
    }
}

/// The servers that write their numbers into the spool when a session ends.
const BY_UID: [(&str, Scheme); 3] = [
    ("dovecot", Scheme::Dovecot),
    ("dovecot-pop3d-uw", Scheme::Uw),
    ("uw-ipop3d", Scheme::Uw),
];

/// After a session with the server, its spool tells what the server's UIDLs were.
#[test]
fn p5_uidls_of_servers_with_uids_stand_in_the_spool() {
    let mut compared = 0;
    for (server, scheme) in BY_UID {
        for spool in SPOOLS {
            let after = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../mbox/tests/vectors")
                .join(format!("{server}/{spool}.after.mbox"));
            if !after.exists() {
                // The server has not changed it.
                assert!(spool == "empty", "{server}, {spool}");
                continue;
            }
            let ours = named(std::fs::read(after).unwrap(), &[scheme], true);
            let theirs = theirs(server, spool);
            let what = format!("{server}, {spool}");
            let mut same = theirs.len();
            match (server, spool) {
                // UW shows no message with `X-Status: D`.
                ("uw-ipop3d", "imapbase") => assert_eq!((ours.len(), same), (6, 5)),
                // What popward takes for the second message has no X-UID: it is text of the first
                // one for UW.
                ("uw-ipop3d", "fromlines") => {
                    assert_eq!((ours.len(), same), (4, 3));
                    assert_eq!(ours[1..], [None, None, None]);
                    same = 1;
                }
                _ => assert_eq!(ours.len(), same, "{what}"),
            }
            let all: Vec<_> = (1..=same).map(|number| (number, number)).collect();
            compare(&what, &ours, &theirs, &all);
            compared += all.len();
        }
    }
    assert!(compared > 100, "{compared}");
}

/// Messages that have come since the last session have numbers of nobody.
#[test]
fn p5_numbers_that_the_old_server_would_not_believe_do_not_count() {
    let ours = |spool: &str| ours(spool, &[Scheme::Dovecot], true);
    // Of 7, 12, none, 99999, 9 and 40, the first two count. Dovecot numbers the others anew.
    let theirs = theirs("dovecot", "imapbase");
    let names = ours("imapbase");
    compare("imapbase", &names, &theirs, &[(1, 1), (2, 2)]);
    assert_eq!(names[2..], [None, None, None, None]);
    // The third message of the spool has no X-UID.
    let names = ours("pseudo");
    assert!(names[0].is_some() && names[1].is_some() && names[2].is_none());
    assert!(ours("plain").iter().all(Option::is_none));
}

/// Dovecot also gives values that are no UIDLs: blanks, nothing, 80 characters. Those messages get
/// another UIDL from popward.
#[test]
fn p5_x_uidls_are_kept_as_dovecot_keeps_them() {
    let theirs = theirs("dovecot-pop3d-reuse-xuidl", "xuidl");
    let illegal = [2, 3, 4];
    for scheme in [
        Scheme::Popa3d,
        Scheme::SolidPop3d,
        Scheme::Tpop3d,
        Scheme::DovecotMd5,
    ] {
        let names = ours("xuidl", &[Scheme::XUidl, scheme], true);
        let mut names: Vec<Box<str>> = names.into_iter().map(Option::unwrap).collect();
        assignment::unique(
            &mut names,
            &std::collections::BTreeSet::new(),
            std::collections::BTreeMap::new(),
        );
        for (index, name) in names.iter().enumerate() {
            assert_eq!(
                **name == *theirs[index],
                !illegal.contains(&index),
                "{index}: {name}"
            );
        }
    }
    let alone = ours("xuidl", &[Scheme::XUidl], true);
    let missing: Vec<_> = (0..alone.len())
        .filter(|index| alone[*index].is_none())
        .collect();
    assert_eq!(missing, illegal);
    assert_eq!(ours("plain", &[Scheme::XUidl], true), vec![None; 7]);
}
