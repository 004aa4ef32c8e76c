//! Crashes: at each step of an update, with and without mail that came in between, what is left is finished at the next
//! opening, and the spool is what a simple model says. Doubts touch nothing.

use super::*;
use crate::tests::{Desk, message};
use popward_mbox::scan::{BUFFER_MIN, scan};
use popward_mbox::source::InMemory;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn recovered(desk: &Desk) -> Result<bool, UpdateError> {
    recover(&mut desk.lock(), &desk.state())
}

/// What a crash can leave.
#[derive(Debug, Clone, Copy)]
enum Crash {
    /// A draft of a journal, cut anywhere.
    Draft(usize),
    /// The journal, and so many of the kept bytes moved.
    Moved(usize),
    /// The journal, and all done.
    Truncated,
}

/// A spool and which of its messages are deleted, at least one.
fn case() -> impl Strategy<Value = (Vec<(usize, bool)>, usize)> {
    let messages = proptest::collection::vec((0usize..3000, any::<bool>()), 1..12);
    (messages, any::<usize>()).prop_map(|(mut messages, place)| {
        let place = place % messages.len();
        messages[place].1 = true;
        (messages, place)
    })
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![
        (0usize..30_000).prop_map(Crash::Draft),
        (0usize..30_000).prop_map(Crash::Moved),
        Just(Crash::Truncated),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn p3_a_crash_at_any_step_loses_nothing((messages, _) in case(), crash in crash(), later in 0usize..4000) {
        let parts: Vec<_> = messages.iter().enumerate().map(|(n, (length, _))| message(n, *length)).collect();
        let old = parts.concat();
        let kept: Vec<u8> = parts.iter().zip(&messages).filter(|(_, (_, gone))| !gone).flat_map(|(part, _)| part.clone()).collect();
        let deleted: Vec<bool> = messages.iter().map(|(_, gone)| *gone).collect();
        let maildrop = scan(&mut InMemory(&old), old.len() as u64, &mut vec![0; BUFFER_MIN]).unwrap();
        let plan = Plan::new(&maildrop, &deleted).unwrap();
        let desk = Desk::new(&old);
        let head = write(&desk.state(), &mut desk.lock(), plan.first_change, old.len() as u64, &plan.kept, None).unwrap();
        let first = usize::try_from(plan.first_change).unwrap();
        let mut expected = kept.clone();
        let mut now = old.clone();
        match crash {
            Crash::Draft(length) => {
                let journal = std::fs::read(desk.journal()).unwrap();
                std::fs::write(desk.state().path(DRAFT), &journal[..length.min(journal.len())]).unwrap();
                std::fs::remove_file(desk.journal()).unwrap();
                expected.clone_from(&old);
            }
            Crash::Moved(count) => {
                let count = count.min(kept.len() - first);
                now[first..first + count].copy_from_slice(&kept[first..first + count]);
            }
            Crash::Truncated => now.clone_from(&kept),
        }
        prop_assert_eq!(head.final_length(), kept.len() as u64);
        // Another program's delivery, after the machine came up again and before anybody looked.
        if later > 0 {
            let mail = message(99, later);
            now.extend_from_slice(&mail);
            expected.extend_from_slice(&mail);
        }
        desk.put(&now);
        let finished = recovered(&desk).unwrap();
        prop_assert_eq!(finished, !matches!(crash, Crash::Draft(_)));
        prop_assert!(desk.bytes() == expected);
        prop_assert!(!desk.journal().exists() && !desk.state().path(DRAFT).exists());
        prop_assert!(!recovered(&desk).unwrap(), "it is done once");
    }

    #[test]
    fn p3_an_update_leaves_what_was_kept_on_the_same_inode((messages, _) in case()) {
        use std::os::unix::fs::MetadataExt;
        let parts: Vec<_> = messages.iter().enumerate().map(|(n, (length, _))| message(n, *length)).collect();
        let old = parts.concat();
        let deleted: Vec<bool> = messages.iter().map(|(_, gone)| *gone).collect();
        let maildrop = scan(&mut InMemory(&old), old.len() as u64, &mut vec![0; BUFFER_MIN]).unwrap();
        let plan = Plan::new(&maildrop, &deleted).unwrap();
        let desk = Desk::new(&old);
        let inode = std::fs::metadata(desk.spool()).unwrap().ino();
        update(&mut desk.lock(), Some(&desk.state()), &plan, old.len() as u64).unwrap();
        let kept: Vec<u8> = parts.iter().zip(&messages).filter(|(_, (_, gone))| !gone).flat_map(|(part, _)| part.clone()).collect();
        prop_assert!(desk.bytes() == kept);
        prop_assert_eq!(std::fs::metadata(desk.spool()).unwrap().ino(), inode);
        prop_assert!(!desk.journal().exists());
    }
}

/// A spool with a journal that stands, and nothing moved.
fn standing() -> (Desk, Vec<u8>) {
    let old: Vec<u8> = (0..4).flat_map(|n| message(n, 500)).collect();
    let desk = Desk::new(&old);
    let maildrop = scan(
        &mut InMemory(&old),
        old.len() as u64,
        &mut vec![0; BUFFER_MIN],
    )
    .unwrap();
    let plan = Plan::new(&maildrop, &[false, true, false, false]).unwrap();
    write(
        &desk.state(),
        &mut desk.lock(),
        plan.first_change,
        old.len() as u64,
        &plan.kept,
        None,
    )
    .unwrap();
    (desk, old)
}

fn doubted(desk: &Desk) {
    let before = desk.bytes();
    assert!(recovered(desk).is_err());
    assert_eq!(desk.bytes(), before, "touched");
    assert!(desk.journal().exists(), "the journal is kept");
}

#[test]
fn p3_a_journal_of_another_inode_touches_nothing() {
    let (desk, old) = standing();
    std::fs::write(desk.spool().with_extension("other"), &old).unwrap();
    std::fs::rename(desk.spool().with_extension("other"), desk.spool()).unwrap();
    doubted(&desk);
}

#[test]
fn p3_a_spool_that_another_program_rewrote_is_not_touched() {
    let (desk, old) = standing();
    let mut changed = old.clone();
    let last = changed.len() - 10;
    changed[last] = b'y';
    desk.put(&changed);
    doubted(&desk);
    desk.put(&old[..old.len() - 700]);
    doubted(&desk);
}

#[test]
fn p3_any_flipped_bit_of_a_journal_is_noticed() {
    let (desk, _) = standing();
    let journal = std::fs::read(desk.journal()).unwrap();
    for place in (0..journal.len()).step_by(7) {
        let mut damaged = journal.clone();
        damaged[place] ^= 1 << (place % 8);
        std::fs::write(desk.journal(), damaged).unwrap();
        doubted(&desk);
    }
    std::fs::write(desk.journal(), &journal[..journal.len() - 1]).unwrap();
    doubted(&desk);
    std::fs::write(desk.journal(), b"").unwrap();
    doubted(&desk);
}

#[test]
fn mail_that_came_since_the_spool_was_read_stops_an_update() {
    let old: Vec<u8> = (0..4).flat_map(|n| message(n, 500)).collect();
    let desk = Desk::new(&old);
    let maildrop = scan(
        &mut InMemory(&old),
        old.len() as u64,
        &mut vec![0; BUFFER_MIN],
    )
    .unwrap();
    let plan = Plan::new(&maildrop, &[true, false, false, false]).unwrap();
    // By a program that asked for no lock.
    let mut now = old.clone();
    now.extend(message(9, 10));
    desk.put(&now);
    let length = old.len() as u64;
    let result = update(&mut desk.lock(), Some(&desk.state()), &plan, length);
    assert!(matches!(result, Err(UpdateError::Changed)));
    assert_eq!(desk.bytes(), now);
}

#[test]
fn a_full_disk_stops_an_update_before_the_spool_is_touched() {
    if !nix::unistd::geteuid().is_root() {
        let why = b"skipped: a full disk: only root can mount one\n";
        return io::stderr().write_all(why).unwrap();
    }
    let old: Vec<u8> = (0..4).flat_map(|n| message(n, 50_000)).collect();
    let desk = Desk::new(&old);
    let maildrop = scan(
        &mut InMemory(&old),
        old.len() as u64,
        &mut vec![0; BUFFER_MIN],
    )
    .unwrap();
    let plan = Plan::new(&maildrop, &[true, false, false, false]).unwrap();
    let full = SmallDisk::at(&desk.directory.path().join("state"));
    let length = old.len() as u64;
    let result = update(&mut desk.lock(), Some(&desk.state()), &plan, length);
    assert!(matches!(result, Err(UpdateError::System(_))), "{result:?}");
    assert_eq!(desk.bytes(), old);
    assert!(!desk.journal().exists() && !desk.state().path(DRAFT).exists());
    // What is deleted up to the end needs no journal.
    let plan = Plan::new(&maildrop, &[false, false, true, true]).unwrap();
    update(&mut desk.lock(), Some(&desk.state()), &plan, length).unwrap();
    assert_eq!(desk.bytes(), old[..old.len() / 2]);
    drop(full);
}

/// 64 KiB of file system, which go when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: &Path) -> Self {
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some("size=64k")).unwrap();
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.0);
    }
}

#[test]
fn p2_what_is_no_file_in_the_state_directory_is_an_error_and_no_wait() {
    let old: Vec<u8> = (0..4).flat_map(|n| message(n, 500)).collect();
    let desk = Desk::new(&old);
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&desk.journal(), mode).unwrap();
    assert!(matches!(recovered(&desk), Err(UpdateError::System(_))));
    std::fs::remove_file(desk.journal()).unwrap();
    std::os::unix::fs::symlink("elsewhere", desk.journal()).unwrap();
    assert!(matches!(recovered(&desk), Err(UpdateError::System(_))));
    std::fs::remove_file(desk.journal()).unwrap();
    let maildrop = scan(
        &mut InMemory(&old),
        old.len() as u64,
        &mut vec![0; BUFFER_MIN],
    )
    .unwrap();
    let plan = Plan::new(&maildrop, &[true, false, false, false]).unwrap();
    nix::unistd::mkfifo(&desk.state().path(DRAFT), mode).unwrap();
    let length = old.len() as u64;
    let result = update(&mut desk.lock(), Some(&desk.state()), &plan, length);
    assert!(matches!(result, Err(UpdateError::System(_))), "{result:?}");
    assert_eq!(desk.bytes(), old);
}

#[test]
fn p3_mail_that_comes_during_the_update_without_a_lock_is_kept() {
    let (desk, old) = standing();
    let mut locked = desk.lock();
    let bytes = std::fs::read(desk.journal()).unwrap();
    let head = Head::decode(bytes[..HEAD + 32].try_into().unwrap()).unwrap();
    let late = message(9, 10);
    let mut now = old.clone();
    now.extend_from_slice(&late);
    desk.put(&now);
    assert!(matches!(
        redo(&mut locked, &desk.state(), &head),
        Err(UpdateError::Changed)
    ));
    drop(locked);
    assert!(recovered(&desk).unwrap());
    let mut expected = old[..old.len() / 4].to_vec();
    expected.extend_from_slice(&old[old.len() / 2..]);
    expected.extend_from_slice(&late);
    assert_eq!(desk.bytes(), expected);
}
