//! Whatever lies in the state directory and whatever was done to the spool: what is opened is what a scan finds, and
//! names stay with their messages.

use super::*;
use crate::tests::{Desk, Names, message};
use popward_mbox::pins::Pins;
use popward_mbox::plan::{Plan, left};
use popward_mbox::scan::scan;
use popward_mbox::source::InMemory;
use popward_mbox::uidl::{assign, name};
use popward_update::commit::Commit;
use popward_update::testing::commit;
use proptest::prelude::*;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

/// Enough of them for an index to be worth it.
const COUNT: usize = 160;

fn spool() -> Vec<u8> {
    (0..COUNT).flat_map(|n| message(n, 100)).collect()
}

fn found(desk: &Desk) -> Found {
    open(&mut desk.lock(), Some(&desk.state()), &mut desk.naming()).unwrap()
}

fn kept(desk: &Desk, seen: Seen, maildrop: &Maildrop) -> io::Result<()> {
    keep(&desk.state(), seen, &desk.naming().rules, maildrop)
}

/// A session's opening and end. The clock of the file system has moved on since the spool was changed.
fn session<R>(
    desk: &Desk,
    act: impl FnOnce(&mut LockedSpool, &Maildrop, &mut Naming) -> R,
) -> (How, R) {
    let state = desk.state();
    let mut spool = desk.lock_with(true);
    let mut naming = desk.naming();
    let found = open(&mut spool, Some(&state), &mut naming).unwrap();
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

/// Opens it until there is an index that proves it: on a slow machine a session does not wait until the clock has moved on.
fn settle(desk: &Desk) {
    let mut sessions = (0..20).map(|_| opened(desk));
    assert!(sessions.any(|how| how == How::Unchanged));
}

#[test]
fn p4_a_spool_that_is_as_it_was_is_not_read() {
    let desk = Desk::new(&spool());
    assert_eq!(opened(&desk), How::Scanned);
    settle(&desk);
    desk.append(&message(999, 50));
    assert_eq!(opened(&desk), How::Grown);
    settle(&desk);
}

#[test]
fn p4_what_the_index_alone_says_is_not_taken_for_read() {
    let desk = Desk::new(&spool());
    assert_eq!(found(&desk).read_from, 0);
    settle(&desk);
    assert_eq!(found(&desk).read_from, COUNT);
    // Where the last one ends is found out again.
    desk.append(&message(999, 50));
    assert_eq!(found(&desk).read_from, COUNT - 1);
}

#[test]
fn p4_a_stamp_that_is_too_young_proves_nothing() {
    for _ in 0..20 {
        let made = std::time::Instant::now();
        let desk = Desk::new(&spool());
        // Without a dotlock only a clock some seconds ahead shows that the stamp has settled.
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

/// A Content-Length that points behind the end of the spool: later mail can make it hold, and then it makes one message of
/// several that the index knows.
#[test]
fn p4_a_content_length_that_comes_to_hold_is_seen_in_a_spool_that_has_grown() {
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
        // Of one message there is no index.
        if count > COUNT {
            settle(&desk);
        }
    }
    assert_eq!(counts, [COUNT + 1, COUNT + 2, 1, 2]);
    assert_eq!(hows, [How::Grown, How::Grown, How::Scanned, How::Scanned]);
}

/// What is done to a spool without a new inode, or to an index.
type Change = (&'static str, How, fn(&Desk));

#[test]
fn p4_whatever_was_done_to_spool_or_index_is_noticed() {
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
        let bytes = desk.bytes();
        let length = bytes.len() as u64;
        let mut scanned = scan(&mut InMemory(&bytes), length, &mut vec![0; PIECE]).unwrap();
        let none = vec![false; scanned.messages.len()];
        assign(&mut scanned, &none, |_| None, &mut Pins::default());
        assert!(found.maildrop == scanned, "{what}");
    }
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

/// One thing that happens to a spool.
#[derive(Debug, Clone)]
enum Step {
    /// A session that deletes what is at these places.
    Session(Vec<usize>),
    /// A delivery of a message with this text; equal texts are equal messages.
    Delivery(u8),
    /// A shell reader gives the message at this place a Status.
    Status(usize),
    /// A shell reader deletes it.
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

/// A spool as its messages' bytes.
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

    /// A model that remembers which name each delivered message has had: by a number in its body, of which the names know
    /// nothing.
    #[test]
    fn p5_names_stay_whatever_happens(steps in prop::collection::vec(step(), 1..15)) {
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
                    // Only what has no equal: of equal ones nobody can say which is left.
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
            // Each message still has the name under which it was seen first.
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
