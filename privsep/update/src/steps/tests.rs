//! An update can stop at any step, with or without mail that arrives meanwhile. The next opening
//! finishes it, and the spool is what a simple model says. If anything does not fit, nothing is
//! touched. Pieces are small here, so that an update takes many.

use super::*;
use crate::commit::Commit;
use crate::journal::RESERVE;
use crate::recovery;
use crate::testing::{Desk, message};
use popward_mbox::message::Maildrop;
use popward_mbox::scan::BUFFER_MIN;
use popward_mbox::testing::{InMemory, scan};
use proptest::prelude::*;
use std::io;
use std::path::{Path, PathBuf};

fn recovered(desk: &Desk) -> Result<bool, UpdateError> {
    recovery::recover(Sizes::SMALL, &mut desk.lock(), &desk.state(), || {})
}

/// Runs `plan`, which was made for the spool `read`. Returns whether a journal stood when the
/// client was answered.
fn updated(desk: &Desk, plan: &Plan, read: &[u8]) -> Result<bool, UpdateError> {
    let state = desk.state();
    let commit = Commit {
        spool: &mut desk.lock(),
        state: Some(&state),
        plan,
        seen: desk.seen(read.len() as u64),
        pins: None,
    };
    let mut stood = false;
    let put_away = commit.run(Sizes::SMALL, || (), || stood = desk.journal().exists())?;
    put_away.unwrap();
    Ok(stood)
}

fn scanned(spool: &[u8]) -> Maildrop {
    let length = spool.len() as u64;
    scan(&mut InMemory(spool), length, &mut vec![0; BUFFER_MIN]).unwrap()
}

fn planned(spool: &[u8], deleted: &[bool]) -> Plan {
    Plan::new(&scanned(spool), deleted).unwrap()
}

fn no_journal(desk: &Desk) -> bool {
    !desk.journal().exists()
}

/// A spool and which of its messages are deleted: at least one, and never the last one.
#[derive(Debug, Clone)]
struct Case {
    parts: Vec<Vec<u8>>,
    deleted: Vec<bool>,
}

impl Case {
    fn old(&self) -> Vec<u8> {
        self.parts.concat()
    }

    fn kept(&self) -> Vec<u8> {
        let kept = self.parts.iter().zip(&self.deleted);
        kept.filter(|(_, gone)| !**gone)
            .flat_map(|(part, _)| part.clone())
            .collect()
    }
}

fn case() -> impl Strategy<Value = Case> {
    let length = prop_oneof![4 => 0usize..3000, 1 => 3000..30_000_usize];
    let messages = proptest::collection::vec((length, any::<bool>()), 2..14);
    (messages, any::<prop::sample::Index>()).prop_map(|(messages, first)| {
        let parts = messages.iter().enumerate();
        let parts = parts
            .map(|(number, (length, _))| message(number, *length))
            .collect();
        let mut deleted: Vec<bool> = messages.iter().map(|(_, gone)| *gone).collect();
        let last = deleted.len() - 1;
        deleted[first.index(last)] = true;
        deleted[last] = false;
        Case { parts, deleted }
    })
}

/// How a process can end in the middle of a step.
#[derive(Debug, Clone, Copy)]
enum Crash {
    /// This many 255ths of the piece were in their place.
    Moved(u8),
    /// The next step's slot was half written, and its head was torn.
    Torn(u8),
    /// The power was cut during the cut. The rest of the cut's block is cleared, and the spool has
    /// its old length.
    Cleared,
    /// Everything was done, except that the journal still stands.
    Done,
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![
        2 => any::<u8>().prop_map(Crash::Moved),
        1 => Just(Crash::Moved(255)),
        2 => any::<u8>().prop_map(Crash::Torn),
        1 => Just(Crash::Cleared),
        1 => Just(Crash::Done),
    ]
}

/// Begins the case's update and stops as `crash` says, after `steps` steps or at the end.
fn broken_off(desk: &Desk, case: &Case, steps: usize, crash: Crash) {
    let old = case.old();
    let mut spool = desk.lock();
    let plan = planned(&old, &case.deleted);
    let mut work = begin(
        &mut spool,
        &desk.state(),
        &plan,
        desk.seen(old.len() as u64),
        Sizes::SMALL,
        || (),
    )
    .unwrap();
    let steps = if matches!(crash, Crash::Done | Crash::Cleared) {
        usize::MAX
    } else {
        steps
    };
    for _ in 0..steps {
        if work.head.stage == Stage::Cut && !matches!(crash, Crash::Done) {
            if matches!(crash, Crash::Cleared) {
                let start = work.kept.final_length();
                let end = start.next_multiple_of(BLOCK_MIN).min(work.head.length);
                let zeros = vec![0; usize::try_from(end - start).unwrap()];
                spool.write_at(start, &zeros).unwrap();
            }
            return;
        }
        if work.step(&mut spool).unwrap() {
            return;
        }
    }
    match crash {
        Crash::Moved(share) => {
            work.head.piece = work.head.piece * u64::from(share) / 255;
            match work.head.stage {
                Stage::Direct => work.copy_from_spool(&mut spool).unwrap(),
                Stage::Slot => work.copy_from_slot(&mut spool).unwrap(),
                Stage::Cut => {}
            }
        }
        Crash::Torn(share) => {
            // Does what `step` does up to the head. Of the head, and of the other slot, only a part
            // is written.
            let before = work.head.clone();
            match before.stage {
                Stage::Direct => work.copy_from_spool(&mut spool).unwrap(),
                Stage::Slot => work.copy_from_slot(&mut spool).unwrap(),
                Stage::Cut => return,
            }
            work.head.at += work.head.piece;
            work.prepare(&mut spool).unwrap();
            let torn = 4 * usize::from(share);
            let head = work.head.encode();
            let at = work.head.block_at();
            work.journal.file.write_all_at(&head[..torn], at).unwrap();
        }
        Crash::Cleared | Crash::Done => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn p3_a_crash_at_any_step_loses_nothing(case in case(), steps in 0usize..12, crash in crash(), later in prop_oneof![Just(0), 1..9000_usize], again in 0usize..4, second in crash()) {
        let desk = Desk::in_memory(&case.old());
        broken_off(&desk, &case, steps, crash);
        prop_assert!(!no_journal(&desk));
        let mut expected = case.kept();
        // Another program delivers mail before the update is finished.
        if later > 0 {
            let mail = message(99, later);
            desk.append(&mail);
            expected.extend_from_slice(&mail);
        }
        // The process that finishes the update can be stopped as well.
        if again > 0 && !matches!(crash, Crash::Done | Crash::Cleared) {
            let mut spool = desk.lock();
            let journal = Journal::open(&desk.state()).unwrap().unwrap();
            let (head, kept) = journal.read().unwrap().unwrap();
            let mut work = Steps::new(journal, head, kept, Sizes::SMALL);
            for _ in 0..again {
                if work.head.stage == Stage::Cut && spool.identity().unwrap().length == work.head.length {
                    break;
                }
                prop_assert!(!work.step(&mut spool).unwrap());
            }
            if let (Crash::Moved(share), Stage::Slot) = (second, work.head.stage) {
                work.head.piece = work.head.piece * u64::from(share) / 255;
                work.copy_from_slot(&mut spool).unwrap();
            }
        }
        prop_assert!(recovered(&desk).unwrap());
        prop_assert!(desk.bytes() == expected);
        prop_assert!(no_journal(&desk));
        prop_assert!(!recovered(&desk).unwrap(), "it is done once");
    }

    #[test]
    fn p3_deleting_up_to_the_end_survives_a_crash_at_the_cut(lengths in prop::collection::vec(0usize..2000, 2..6), first in 0usize..6, crash in prop_oneof![Just(Crash::Moved(0)), Just(Crash::Cleared), Just(Crash::Done)], later in 0usize..3000, line in prop::sample::select(vec!["", "\n", "\r\n"])) {
        let parts: Vec<_> = lengths.iter().enumerate().map(|(n, length)| message(n, *length)).collect();
        let deleted: Vec<bool> = (0..parts.len()).map(|n| n >= first.min(parts.len() - 1)).collect();
        let case = Case { parts, deleted };
        let desk = Desk::in_memory(&case.old());
        broken_off(&desk, &case, 0, crash);
        let mut expected = case.kept();
        if later > 0 {
            // maildrop puts an empty line between two messages, but none before the first message.
            let mail = [line.as_bytes(), &message(99, later)].concat();
            let first = expected.is_empty() && !matches!(crash, Crash::Done);
            desk.append(&mail);
            expected.extend_from_slice(if first { &mail[line.len()..] } else { &mail });
        }
        prop_assert!(recovered(&desk).unwrap());
        prop_assert!(desk.bytes() == expected);
    }

    #[test]
    fn p3_an_update_leaves_what_was_kept_on_the_same_inode(case in case()) {
        use std::os::unix::fs::MetadataExt;
        let old = case.old();
        let desk = Desk::in_memory(&old);
        let inode = std::fs::metadata(desk.spool()).unwrap().ino();
        let (mut begun, mut stood) = (0, false);
        let state = desk.state();
        let commit = Commit {
            spool: &mut desk.lock(),
            state: Some(&state),
            plan: &planned(&old, &case.deleted),
            seen: desk.seen(old.len() as u64),
            pins: None,
        };
        commit.run(Sizes::SMALL, || begun += 1, || stood = !no_journal(&desk)).unwrap().unwrap();
        prop_assert_eq!(begun, 1);
        prop_assert!(stood, "until the client is answered");
        prop_assert!(desk.bytes() == case.kept());
        prop_assert_eq!(std::fs::metadata(desk.spool()).unwrap().ino(), inode);
        prop_assert!(no_journal(&desk));
        let reserve = std::fs::metadata(desk.state().path("reserve")).unwrap();
        prop_assert_eq!(reserve.len(), RESERVE);
    }
}

/// A spool of four messages. The second one, which is short, is deleted. The update stops after
/// `steps` steps.
fn standing(steps: usize) -> (Desk, Case) {
    let length = |n| if n == 1 { 500 } else { 3000 };
    let case = Case {
        parts: (0..4).map(|n| message(n, length(n))).collect(),
        deleted: vec![false, true, false, false],
    };
    let desk = Desk::new(&case.old());
    broken_off(&desk, &case, steps, Crash::Moved(0));
    (desk, case)
}

fn doubted(desk: &Desk) {
    let before = desk.bytes();
    assert!(recovered(desk).is_err());
    assert!(desk.bytes() == before, "touched");
    assert!(desk.journal().exists(), "the journal is kept");
}

#[test]
fn p3_a_journal_of_another_inode_touches_nothing() {
    let (desk, case) = standing(1);
    std::fs::write(desk.spool().with_extension("other"), case.old()).unwrap();
    std::fs::rename(desk.spool().with_extension("other"), desk.spool()).unwrap();
    doubted(&desk);
}

#[test]
fn p3_a_spool_that_another_program_rewrote_is_not_touched() {
    // Every second message is deleted, so that there are several kept ranges.
    let case = Case {
        parts: (0..8).map(|n| message(n, 3000)).collect(),
        deleted: (0..8).map(|n| n % 2 == 0).collect(),
    };
    let old = case.old();
    let desk = Desk::new(&old);
    broken_off(&desk, &case, 0, Crash::Moved(0));
    // A mail reader removed a message, or made a header longer.
    let part = case.parts[0].len();
    let shorter = [&old[..5 * part], &old[6 * part..]].concat();
    desk.put(&shorter);
    doubted(&desk);
    let longer = [&old[..6 * part], b"Status: RO\n", &old[6 * part..]].concat();
    desk.put(&longer);
    doubted(&desk);
    desk.put(&old);
    assert!(recovered(&desk).unwrap());
    assert!(desk.bytes() == case.kept());
}

/// With a single range, its first bytes may have moved already. Only the mark of its end shows the
/// edit.
#[test]
fn p3_a_spool_that_grew_by_an_edit_is_not_touched() {
    for steps in [0, 1, 2] {
        let (desk, _) = standing(steps);
        let now = desk.bytes();
        let place = now.len() - 1000;
        let longer = [&now[..place], b"Status: RO\n", &now[place..]].concat();
        desk.put(&longer);
        doubted(&desk);
    }
}

#[test]
fn p3_after_the_cut_only_mail_may_follow() {
    let (desk, case) = standing(usize::MAX);
    let kept = case.kept();
    desk.put(&[&kept[..], b"no mail\n"].concat());
    doubted(&desk);
    desk.put(&kept[..kept.len() - 1]);
    doubted(&desk);
    for mail in [
        message(9, 20),
        [b"\n".to_vec(), message(9, 20_000)].concat(),
    ] {
        let (desk, _) = standing(usize::MAX);
        let now = [kept.clone(), mail].concat();
        desk.put(&now);
        assert!(recovered(&desk).unwrap());
        assert!(desk.bytes() == now);
    }
}

#[test]
fn p3_a_damaged_journal_is_noticed_or_does_not_matter() {
    let (desk, case) = standing(1);
    let (old, journal) = (desk.bytes(), std::fs::read(desk.journal()).unwrap());
    let mut noticed = 0;
    for place in (0..journal.len()).step_by(37) {
        let mut damaged = journal.clone();
        damaged[place] ^= 1 << (place % 8);
        desk.put(&old);
        std::fs::write(desk.journal(), damaged).unwrap();
        if let Ok(done) = recovered(&desk) {
            // A head has a second copy, and some bytes of the journal are not used.
            assert!(done && desk.bytes() == case.kept());
        } else {
            noticed += 1;
            assert!(desk.bytes() == old && desk.journal().exists());
            std::fs::remove_file(desk.journal()).unwrap();
        }
    }
    assert!(noticed > 50, "{noticed}");
    desk.put(&old);
    for cut in [0, 100, 4096, 8192, 9000, journal.len() - 1] {
        std::fs::write(desk.journal(), &journal[..cut]).unwrap();
        doubted(&desk);
    }
    let mut both = journal.clone();
    both[..2048].fill(7);
    both[2048..4096].fill(8);
    std::fs::write(desk.journal(), both).unwrap();
    doubted(&desk);
}

#[test]
fn mail_that_came_since_the_spool_was_read_stops_an_update() {
    let old: Vec<u8> = (0..4).flat_map(|n| message(n, 500)).collect();
    let desk = Desk::new(&old);
    let plan = planned(&old, &[true, false, false, false]);
    // A program that takes no lock delivers.
    desk.append(&message(9, 10));
    let now = desk.bytes();
    let result = updated(&desk, &plan, &old);
    assert!(matches!(result, Err(UpdateError::Changed(_))));
    assert_eq!(desk.bytes(), now);
}

#[test]
fn p3_mail_that_comes_during_the_update_without_a_lock_is_kept() {
    for steps in 0..6 {
        let (desk, case) = standing(0);
        let mut spool = desk.lock();
        let journal = Journal::open(&desk.state()).unwrap().unwrap();
        let (head, kept) = journal.read().unwrap().unwrap();
        let mut work = Steps::new(journal, head, kept, Sizes::SMALL);
        for _ in 0..steps {
            assert!(!work.step(&mut spool).unwrap());
            if work.head.stage == Stage::Cut {
                break;
            }
        }
        let late = message(9, 2000);
        desk.append(&late);
        work.run(&mut spool).unwrap();
        work.journal.end();
        assert!(desk.bytes() == [case.kept(), late].concat());
    }
}

/// Each step must move more bytes than were deleted.
#[test]
fn p3_much_mail_that_comes_before_the_cut_takes_few_steps() {
    let case = Case {
        parts: vec![message(1, 10)],
        deleted: vec![true],
    };
    let desk = Desk::in_memory(&case.old());
    broken_off(&desk, &case, 0, Crash::Moved(0));
    let mail: Vec<u8> = (0..300).flat_map(|number| message(number, 1000)).collect();
    desk.append(&mail);
    assert!(recovered(&desk).unwrap());
    assert!(desk.bytes() == mail);
    let journal = std::fs::read(desk.state().path("reserve")).unwrap();
    let last = Head::newest(journal.first_chunk().unwrap()).unwrap();
    assert!(last.sequence < 200, "{} steps", last.sequence);
}

/// A file system of `bytes` bytes, which is unmounted when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: &Path, bytes: u64) -> Self {
        let flags = nix::mount::MsFlags::empty();
        let size = format!("size={bytes}");
        nix::mount::mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(&*size)).unwrap();
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

fn only_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        let why = b"skipped: a full disk: only root can mount one\n";
        io::Write::write_all(&mut io::stderr(), why).unwrap();
    }
    root
}

#[test]
fn p3_on_a_full_disk_the_reserve_is_enough_and_the_index_gives_way() {
    if !only_root() {
        return;
    }
    let case = Case {
        parts: (0..40).map(|n| message(n, 2500)).collect(),
        deleted: (0..40).map(|n| n % 7 == 0).collect(),
    };
    let old = case.old();
    for index in [false, true] {
        let desk = Desk::new(&old);
        let disk = SmallDisk::at(&desk.directory.path().join("state"), 128 << 10);
        crate::keep_reserve(&desk.state()).unwrap();
        if index {
            std::fs::write(desk.state().path(crate::state::INDEX), vec![1; 32 << 10]).unwrap();
        }
        let filler = std::fs::write(desk.state().path("filler"), vec![1; 1 << 20]);
        assert!(filler.is_err(), "the disk is full");
        let plan = planned(&old, &case.deleted);
        let seen = desk.seen(old.len() as u64);
        let mut spool = desk.lock();
        let mut steps = begin(&mut spool, &desk.state(), &plan, seen, Sizes::SMALL, || ()).unwrap();
        let slot = if index { 4 << 10 } else { 2 << 10 };
        assert!(steps.head.slot == slot, "{}", steps.head.slot);
        steps.run(&mut spool).unwrap();
        steps.journal.end();
        assert!(desk.bytes() == case.kept());
        drop(disk);
    }
}

#[test]
fn p3_a_full_disk_without_a_reserve_stops_an_update_before_the_spool_is_touched() {
    if !only_root() {
        return;
    }
    let old: Vec<u8> = (0..4).flat_map(|n| message(n, 5000)).collect();
    let desk = Desk::new(&old);
    let disk = SmallDisk::at(&desk.directory.path().join("state"), 64 << 10);
    let filler = std::fs::write(desk.state().path("filler"), vec![1; 1 << 20]);
    assert!(filler.is_err(), "the disk is full");
    let plan = planned(&old, &[true, false, false, false]);
    let result = updated(&desk, &plan, &old);
    assert!(matches!(result, Err(UpdateError::System(_))));
    assert!(desk.bytes() == old && no_journal(&desk));
    // A cut at the start of a block is one change to the disk.
    let plan = planned(&old, &[true; 4]);
    assert!(!updated(&desk, &plan, &old).unwrap(), "without a journal");
    assert!(desk.bytes().is_empty());
    drop(disk);
}

#[test]
fn p2_a_pipe_or_link_in_the_state_directory_is_an_error_and_does_not_block() {
    let old: Vec<u8> = (0..4).flat_map(|n| message(n, 500)).collect();
    let desk = Desk::new(&old);
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&desk.journal(), mode).unwrap();
    assert!(matches!(recovered(&desk), Err(UpdateError::System(_))));
    std::fs::remove_file(desk.journal()).unwrap();
    std::os::unix::fs::symlink("elsewhere", desk.journal()).unwrap();
    assert!(matches!(recovered(&desk), Err(UpdateError::System(_))));
    std::fs::remove_file(desk.journal()).unwrap();
    let plan = planned(&old, &[true, false, false, false]);
    nix::unistd::mkfifo(&desk.state().path("reserve"), mode).unwrap();
    let result = updated(&desk, &plan, &old);
    assert!(matches!(result, Err(UpdateError::System(_))));
    assert_eq!(desk.bytes(), old);
}
