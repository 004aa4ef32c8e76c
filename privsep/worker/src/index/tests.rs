//! The state directory may hold anything, and the spool may change in any way. Opening always finds
//! what a scan finds, and each message keeps its UIDL.

use super::*;
use crate::tests::{Desk, Names, message};
use popward_mbox::assignment::assign;
use popward_mbox::pins::Pins;
use popward_mbox::plan::{Plan, left};
use popward_mbox::testing::{InMemory, scan};

use popward_mbox::uidl::name;
use popward_update::commit::Commit;
use popward_update::testing::commit;
use proptest::prelude::*;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

/// Enough messages for an index to be written.
const COUNT: usize = 160;

fn spool() -> Vec<u8> {
    (0..COUNT).flat_map(|n| message(n, 100)).collect()
}

fn found(desk: &Desk) -> Found {
    let state = desk.state();
    open(&mut desk.lock(), Some(&state), &mut desk.naming(), &|| {
        false
    })
    .unwrap()
}

fn kept(desk: &Desk, seen: Seen, maildrop: &Maildrop) -> io::Result<()> {
    keep(&desk.state(), seen, &desk.naming().rules, maildrop)
}

/// Opens a session, calls `act` and ends the session. The file system's clock has moved on since
/// the spool was changed.
fn session<R>(
    desk: &Desk,
    act: impl FnOnce(&mut LockedSpool, &Maildrop, &mut Naming) -> R,
) -> (How, R) {
    let state = desk.state();
    let mut spool = desk.lock_with(true);
    let mut naming = desk.naming();
    let found = open(&mut spool, Some(&state), &mut naming, &|| false).unwrap();
    let (maildrop, how) = (found.maildrop, found.how);
    if how != How::Unchanged {
        kept(desk, Seen::soon(&mut spool).unwrap(), &maildrop).unwrap();
    }
    let bytes = desk.bytes();
    let mut scanned = scan(
        &mut InMemory(&bytes),
        bytes.len() as u64,
        &mut vec![0; PIECE],
    )
    .unwrap();
    assert_eq!(scanned.messages.len(), maildrop.messages.len());
    for (scanned, opened) in scanned.messages.iter_mut().zip(&maildrop.messages) {
        scanned.name.clone_from(&opened.name);
    }
    assert!(scanned == maildrop);
    let result = act(&mut spool, &maildrop, &mut naming);
    std::fs::remove_file(desk.spool().with_extension("lock")).unwrap();
    (how, result)
}

fn opened(desk: &Desk) -> How {
    session(desk, |_, _, _| ()).0
}

/// Opens the spool until its index proves it. One session may not be enough on a slow machine,
/// because a session waits only a few milliseconds for the clock to move on.
fn settle(desk: &Desk) {
    let mut sessions = (0..20).map(|_| opened(desk));
    assert!(sessions.any(|how| how == How::Unchanged));
}

#[test]
fn p4_an_unchanged_spool_is_not_read() {
    let desk = Desk::new(&spool());
    assert_eq!(opened(&desk), How::Scanned);
    settle(&desk);
    desk.append(&message(999, 50));
    assert_eq!(opened(&desk), How::Grown);
    settle(&desk);
}

#[test]
fn p4_messages_known_from_the_index_alone_do_not_count_as_read() {
    let desk = Desk::new(&spool());
    assert_eq!(found(&desk).read_from, 0);
    settle(&desk);
    assert_eq!(found(&desk).read_from, COUNT);
    // What was appended decides where the last message ends, so that message is read again.
    desk.append(&message(999, 50));
    assert_eq!(found(&desk).read_from, COUNT - 1);
}

#[test]
fn p4_a_stamp_that_is_too_young_proves_nothing() {
    for _ in 0..20 {
        let made = std::time::Instant::now();
        let desk = Desk::new(&spool());
        // Without a dotlock, the host's clock must be some seconds ahead of a stamp before the
        // stamp proves anything.
        let how = [(); 2].map(|()| {
            let found = found(&desk);
            kept(&desk, found.seen, &found.maildrop).unwrap();
            found.how
        });
        if made.elapsed().as_secs() < 2 {
            return assert_eq!(how, [How::Scanned; 2]);
        }
    }
    panic!("it has never been young");
}

/// A Content-Length points behind the end of the spool. Later mail can make it hold. Then several
/// messages that the index knows become one message.
#[test]
fn p4_a_grown_spool_in_which_a_content_length_begins_to_hold_is_scanned() {
    let mail = message(999, 50);
    let others = (1..COUNT).map(|n| message(n, 100)).collect::<Vec<_>>();
    let body = others.concat().len() + 3 * mail.len();
    let header = format!(
        "From a@b Mon Nov 23 10:00:00 2026\nContent-Length: {}\n\n",
        body - 1
    );
    let desk = Desk::new(&[header.into_bytes(), others.concat()].concat());
    settle(&desk);
    let (mut hows, mut counts) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        desk.append(&mail);
        let (how, count) = session(&desk, |_, maildrop, _| maildrop.messages.len());
        hows.push(how);
        counts.push(count);
        // A single message gets no index.
        if count > COUNT {
            settle(&desk);
        }
    }
    assert_eq!(counts, [COUNT + 1, COUNT + 2, 1, 2]);
    assert_eq!(hows, [How::Grown, How::Grown, How::Scanned, How::Scanned]);
}

/// A change to a spool that keeps its inode, or a change to an index.
type Change = (&'static str, How, fn(&Desk));

#[test]
fn p4_any_change_to_spool_or_index_is_noticed() {
    let changes: [Change; 12] = [
        ("a body edited in place", How::Scanned, |desk| {
            let mut bytes = desk.bytes();
            let place = bytes.len() / 2;
            bytes[place] = if bytes[place] == b'\n' { b' ' } else { b'\n' };
            desk.put(&bytes);
        }),
        (
            "the same, and the old time set again",
            How::Scanned,
            |desk| {
                let before = std::fs::metadata(desk.spool()).unwrap();
                let mut bytes = desk.bytes();
                bytes.swap(50, 60);
                desk.put(&bytes);
                let file = std::fs::File::options()
                    .write(true)
                    .open(desk.spool())
                    .unwrap();
                file.set_modified(before.modified().unwrap()).unwrap();
            },
        ),
        ("cut", How::Scanned, |desk| {
            let bytes = desk.bytes();
            desk.put(&bytes[..bytes.len() / 2]);
        }),
        ("replaced by another file", How::Scanned, |desk| {
            let bytes = desk.bytes();
            let other = desk.spool().with_extension("new");
            std::fs::write(&other, bytes).unwrap();
            std::fs::rename(other, desk.spool()).unwrap();
        }),
        ("a message taken out and one added", How::Scanned, |desk| {
            let bytes = desk.bytes();
            let one = message(0, 100).len();
            let mut now = bytes[one..].to_vec();
            now.extend(message(1000, 500));
            desk.put(&now);
        }),
        (
            "a header edited in place and mail added",
            How::Scanned,
            |desk| {
                let mut bytes = desk.bytes();
                let place = bytes.len() - 120;
                bytes[place - 10..place].copy_from_slice(b"From: abc\n");
                bytes.extend(message(1000, 500));
                desk.put(&bytes);
            },
        ),
        ("mail added", How::Grown, |desk| {
            desk.append(&message(7, 5));
        }),
        ("mail added that looks cut off", How::Grown, |desk| {
            desk.append(b"From nobody\nand no empty line");
        }),
        ("no index", How::Scanned, |desk| {
            desk.state().remove(INDEX).unwrap();
        }),
        ("a bit of the index flipped", How::Scanned, |desk| {
            let path = desk.state().path(INDEX);
            let mut index = std::fs::read(&path).unwrap();
            let place = index.len() / 3;
            index[place] ^= 4;
            std::fs::write(path, index).unwrap();
        }),
        ("the index of another spool", How::Scanned, |desk| {
            let other = Desk::new(&spool()[message(0, 100).len()..]);
            settle(&other);
            let index = other.state().path(INDEX);
            std::fs::copy(index, desk.state().path(INDEX)).unwrap();
        }),
        ("a directory in its place", How::Scanned, |desk| {
            desk.state().remove(INDEX).unwrap();
            std::fs::create_dir(desk.state().path(INDEX)).unwrap();
        }),
    ];
    for (what, how, change) in changes {
        let desk = Desk::new(&spool());
        assert_eq!(opened(&desk), How::Scanned);
        settle(&desk);
        change(&desk);
        let found = found(&desk);
        assert_eq!(found.how, how, "{what}");
        assert!(found.maildrop == scanned(&desk), "{what}");
    }
}

/// A session whose front goes away before the scan's read with this number. `None`: the spool was
/// not read whole.
fn left_at(desk: &Desk, reads: usize) -> Option<Found> {
    let left = std::cell::Cell::new(reads);
    let is_over = || left.replace(left.get().saturating_sub(1)) == 0;
    let mut spool = desk.lock_with(true);
    let found = open(
        &mut spool,
        Some(&desk.state()),
        &mut desk.naming(),
        &is_over,
    );
    std::fs::remove_file(desk.spool().with_extension("lock")).unwrap();
    match found {
        Ok(found) => Some(found),
        Err(ScanError::Source(error)) => {
            assert!(
                error.to_string().starts_with("the client has gone"),
                "{error}"
            );
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Sessions whose fronts go away, until one has read the rest of the spool before that. There are
/// more than two if the file system's clock stands still, because a young stamp proves nothing.
fn found_at_last(desk: &Desk, reads: usize) -> (usize, Found) {
    let found = |session| left_at(desk, reads).map(|found| (session, found));
    (1..100).find_map(found).expect("it never opens")
}

/// So few reads that a session does not come to the end of [`long_spool`], and so many that an
/// index of what they found is worth it.
const READS: usize = 12;

/// More than a scan of [`READS`] reads comes to. Some messages are equal, and lie on both sides of
/// the place where the scan ends.
fn long_spool() -> Vec<u8> {
    (0..1000).flat_map(|n| message(n % 700, 200)).collect()
}

/// What a full scan finds without an index.
fn scanned(desk: &Desk) -> Maildrop {
    let bytes = desk.bytes();
    let length = bytes.len() as u64;
    let mut scanned = scan(&mut InMemory(&bytes), length, &mut vec![0; PIECE]).unwrap();
    let none = vec![false; scanned.messages.len()];
    assign(&mut scanned, &none, &mut Pins::default());
    scanned
}

#[test]
fn p4_p5_p6_a_session_goes_on_where_the_front_left_the_one_before() {
    let desk = Desk::new(&long_spool());
    let modified = || std::fs::metadata(desk.spool()).unwrap().modified().unwrap();
    let before = modified();
    assert!(left_at(&desk, READS).is_none());
    assert!(
        !desk.state().path("pins").exists(),
        "no client has heard a UIDL"
    );
    let (_, found) = found_at_last(&desk, READS);
    assert_eq!(found.how, How::Grown);
    assert!(found.maildrop == scanned(&desk));
    assert!(
        (100..1000).contains(&found.read_from),
        "{}",
        found.read_from
    );
    assert!(desk.bytes() == long_spool() && modified() == before);
    // A session that sees nothing new leaves what is there.
    assert!(left_at(&desk, 0).is_none());
    assert_eq!(found_at_last(&desk, READS).1.how, How::Grown);
}

/// The UIDLs of the messages that were read are not known from the index.
#[test]
fn p5_a_mail_reader_edits_a_spool_whose_scan_was_broken_off() {
    let desk = Desk::new(&long_spool());
    let names = |maildrop: &Maildrop| maildrop.messages.iter().map(name).collect::<Vec<_>>();
    // The equal messages are pinned now.
    let first = names(&found(&desk).maildrop);
    found_at_last(&desk, READS);
    let mut bytes = desk.bytes();
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes.splice(line..line, *b"Status: RO\n");
    desk.put(&bytes);
    let now = found(&desk);
    assert_eq!(now.how, How::Scanned);
    assert_eq!(names(&now.maildrop), first);
}

/// A Content-Length points near the end of the spool and does not hold. It could hold if mail came,
/// but no mail has come.
#[test]
fn p4_a_content_length_does_not_make_a_session_begin_anew() {
    let rest = long_spool();
    let header = format!(
        "From a@b Mon Nov 23 10:00:00 2026\nContent-Length: {}\n\n",
        rest.len() - 10
    );
    let desk = Desk::new(&[header.as_bytes(), &rest].concat());
    let (_, found) = found_at_last(&desk, READS);
    assert_eq!(found.how, How::Grown);
    assert!(found.maildrop == scanned(&desk));
}

#[test]
fn an_index_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let desk = Desk::new(&spool());
    let state = State::new(&desk.directory.path().join("nowhere"));
    let Found { maildrop, seen, .. } = found(&desk);
    assert!(keep(&state, seen, &[0; 16], &maildrop).is_err());
    let state = desk.state();
    std::fs::create_dir(state.path(INDEX)).unwrap();
    assert!(keep(&state, seen, &[0; 16], &maildrop).is_err());
    assert!(!state.path(DRAFT).exists());
}

#[test]
fn a_small_spool_gets_no_index() {
    let desk = Desk::new(&message(1, 1000));
    assert_eq!(opened(&desk), How::Scanned);
    assert!(!desk.state().path(INDEX).exists());
}

#[test]
fn p6_opening_leaves_the_spool_and_its_times_alone() {
    let desk = Desk::new(&spool());
    let stamps = || {
        let status = std::fs::metadata(desk.spool()).unwrap();
        (
            status.mtime_nsec(),
            status.ctime_nsec(),
            status.atime_nsec(),
            status.len(),
        )
    };
    let before = stamps();
    for _ in 0..3 {
        let found = found(&desk);
        kept(&desk, found.seen, &found.maildrop).unwrap();
    }
    assert_eq!(stamps(), before);
}

/// One event in the life of a spool.
#[derive(Debug, Clone)]
enum Step {
    /// A session that deletes the messages at these places.
    Session(Vec<usize>),
    /// A delivery of a message with this text. Two deliveries with the same text are equal
    /// messages.
    Delivery(u8),
    /// A mail reader gives the message at this place a Status.
    Status(usize),
    /// A mail reader deletes the message at this place.
    Taken(usize),
    /// The index is lost or damaged.
    Damage(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(any::<usize>(), 0..4).prop_map(Step::Session),
        3 => (0..4u8).prop_map(Step::Delivery),
        1 => any::<usize>().prop_map(Step::Status),
        1 => any::<usize>().prop_map(Step::Taken),
        1 => any::<u8>().prop_map(Step::Damage),
    ]
}

/// Splits a spool into its messages' bytes.
fn parts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let length = bytes.len() as u64;
    let maildrop = scan(&mut InMemory(bytes), length, &mut vec![0; PIECE]).unwrap();
    let at = |offset: u64| usize::try_from(offset).unwrap();
    (0..maildrop.messages.len())
        .map(|index| {
            let start = at(maildrop.messages[index].from_line);
            bytes[start..at(maildrop.segment_end(index))].to_vec()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The model remembers which UIDL each message had first. It knows a message by a number in its
    /// body, on which no UIDL depends.
    #[test]
    fn p5_uidls_stay_whatever_happens(steps in prop::collection::vec(step(), 1..15)) {
        let desk = Desk::in_memory(&spool());
        let mut names: HashMap<Vec<u8>, Box<str>> = HashMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Delivery(text) => {
                    let mail = format!("From a@b Mon Nov 23 10:00:00 2026\nSubject: equal {text}\n\nbody {number}\n\n");
                    desk.append(mail.as_bytes());
                }
                Step::Status(place) => {
                    let mut parts = parts(&desk.bytes());
                    let place = place % parts.len().max(1);
                    if let Some(part) = parts.get_mut(place) {
                        let line = part.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                        part.splice(line..line, *b"Status: RO\n");
                    }
                    desk.put(&parts.concat());
                }
                Step::Taken(place) => {
                    // Only a message without an equal is deleted: of two equal ones, no program can
                    // tell which is left.
                    let mut parts = parts(&desk.bytes());
                    let place = place % parts.len().max(1);
                    if parts.get(place).is_some_and(|part| !part.windows(5).any(|text| text == b"equal")) {
                        parts.remove(place);
                    }
                    desk.put(&parts.concat());
                }
                Step::Damage(way) => {
                    let path = desk.state().path(INDEX);
                    if way % 2 == 0 {
                        desk.state().remove(INDEX).unwrap();
                    } else if let Ok(mut index) = std::fs::read(&path) {
                        let place = usize::from(way) * 7 % index.len();
                        index[place] ^= 1;
                        std::fs::write(path, index).unwrap();
                    }
                }
                Step::Session(places) => {
                    let state = desk.state();
                    session(&desk, |spool, maildrop, naming| {
                        let mut deleted = vec![false; maildrop.messages.len()];
                        for place in &places {
                            if let Some(count) = place.checked_rem(deleted.len()) {
                                deleted[count] = true;
                            }
                        }
                        if let Some(plan) = Plan::new(maildrop, &deleted) {
                            let seen = desk.seen(maildrop.length);
                            let pins = naming.pins_left(maildrop, &deleted);
                            let whole = Commit {
                                spool,
                                state: Some(&state),
                                plan: &plan,
                                seen,
                                pins: pins.as_ref(),
                            };
                            commit(whole).unwrap().unwrap();
                            naming.load(Some(&state)).unwrap();
                            let left = left(maildrop, &deleted);
                            kept(&desk, Seen::soon(spool).unwrap(), &left).unwrap();
                        }
                    });
                }
            }
            // Each message must still have the UIDL that it had first.
            let bodies = parts(&desk.bytes());
            let (_, now) = session(&desk, |_, maildrop, _| maildrop.messages.iter().map(name).collect::<Vec<_>>());
            let unique: std::collections::HashSet<_> = now.iter().collect();
            prop_assert_eq!(unique.len(), now.len());
            for (body, name) in bodies.into_iter().zip(now) {
                let body = body.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"Status")).collect::<Vec<_>>().concat();
                let first = names.entry(body).or_insert_with(|| name.clone());
                prop_assert_eq!(first, &name);
            }
        }
    }
}
