use super::{LockError, fit, try_lock};
use crate::tests::Desk;
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::stat::Mode;
use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// Tries to lock a desk's spool; what the monitor is told on the way.
fn told(desk: &Desk) -> (Option<LockError>, Vec<(u64, u64)>) {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let directory = open(desk.directory.path(), flags, Mode::empty()).unwrap();
    let mut told = Vec::new();
    let mut tell = |device, inode| told.push((device, inode));
    let error = try_lock(&desk.job(true), &directory, &mut tell).err();
    (error, told)
}

/// Its inode is free then, and the next who makes a dotlock may get it: the monitor would remove that one.
#[test]
fn p2_a_worker_that_gets_no_lock_leaves_the_monitor_no_dotlock_to_remove() {
    let desk = Desk::new(b"");
    let lock = desk.directory.path().join("alice.lock");
    std::fs::write(&lock, "1:elsewhere").unwrap();
    let (error, files) = told(&desk);
    assert!(matches!(error, Some(LockError::Busy("the dotlock"))));
    assert_eq!((files.len(), files[1]), (2, (0, 0)));
    std::fs::remove_file(&lock).unwrap();
    // And where it had the dotlock, but not the locks on the file.
    let held = Flock::lock(File::open(desk.spool()).unwrap(), FlockArg::LockExclusive).unwrap();
    let (error, files) = told(&desk);
    assert!(matches!(error, Some(LockError::Busy("the flock"))));
    assert_eq!((files.len(), files[1]), (2, (0, 0)));
    assert!(!lock.exists());
    drop(held);
    let (error, files) = told(&desk);
    assert!(error.is_none());
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::metadata(&lock).unwrap().ino(), files[0].1);
}

/// mailutils writes a new file and renames it, perhaps between our opening and our looking.
#[test]
fn p2_a_spool_that_is_replaced_while_it_is_opened_is_tried_again() {
    let desk = Desk::new(b"");
    let file = File::open(desk.spool()).unwrap();
    std::fs::remove_file(desk.spool()).unwrap();
    let found = fit(&file, &desk.job(false));
    assert!(matches!(found, Err(LockError::Busy("the spool's path"))));
}

/// mailutils, with its dotlock, takes the spool away before the new one is there.
#[test]
fn p5_a_spool_that_is_away_while_somebody_has_its_dotlock_is_not_an_empty_maildrop() {
    let desk = Desk::new(b"");
    std::fs::remove_file(desk.spool()).unwrap();
    let lock = desk.directory.path().join("alice.lock");
    std::fs::write(&lock, "1:elsewhere").unwrap();
    let (error, files) = told(&desk);
    assert!(matches!(error, Some(LockError::Busy(_))) && files.is_empty());
    assert!(lock.exists());
    std::fs::remove_file(&lock).unwrap();
    assert!(told(&desk).0.is_none());
}
