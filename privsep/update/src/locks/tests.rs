use super::{fit, try_lock};
use crate::error::{OpenError, UpdateError};
use crate::testing::{Desk, spawn};
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::stat::Mode;
use popward_proto::sessions_worker::{Job, Task};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

/// Tries to lock a desk's spool. Returns the error, and the numbers that sessions was told.
fn told(desk: &Desk) -> (Option<OpenError>, Vec<(u64, u64)>) {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let directory = open(desk.directory.path(), flags, Mode::empty()).unwrap();
    let mut told = Vec::new();
    let mut tell = |device, inode| told.push((device, inode));
    let error = try_lock(&desk.job(true), &directory, &mut tell).err();
    (error, told)
}

/// Locks a desk's spool that nobody else has. Returns the numbers that sessions was told.
fn free(desk: &Desk) -> Vec<(u64, u64)> {
    let (error, files) = told(desk);
    assert!(error.is_none(), "{error:?}");
    files
}

/// If sessions still knew the draft's inode, it would remove another program's dotlock that got
/// the same inode.
#[test]
fn p2_a_worker_that_gets_no_lock_leaves_the_monitor_no_dotlock_to_remove() {
    let desk = Desk::new(b"");
    let lock = desk.directory.path().join("alice.lock");
    std::fs::write(&lock, "1:elsewhere").unwrap();
    let (error, files) = told(&desk);
    assert!(matches!(error, Some(OpenError::Busy("the dotlock", _))));
    assert_eq!((files.len(), files[1]), (2, (0, 0)));
    std::fs::remove_file(&lock).unwrap();
    // The same holds if the worker got the dotlock, but not the locks on the file.
    let held = Flock::lock(File::open(desk.spool()).unwrap(), FlockArg::LockExclusive).unwrap();
    let (error, files) = told(&desk);
    assert!(matches!(error, Some(OpenError::Busy("the flock", _))));
    assert_eq!((files.len(), files[1]), (2, (0, 0)));
    assert!(!lock.exists());
    drop(held);
    let files = free(&desk);
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::metadata(&lock).unwrap().ino(), files[0].1);
}

/// Another program may have broken the lock and made its own.
#[test]
fn p2_only_the_file_that_a_worker_told_of_is_removed_for_it() {
    let desk = Desk::new(b"");
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let directory = open(desk.directory.path(), flags, Mode::empty()).unwrap();
    let names = [".alice.77.lock", "alice.lock"];
    let [draft, lock] = names.map(|name| desk.directory.path().join(name));
    std::fs::write(&draft, "77:here").unwrap();
    std::fs::hard_link(&draft, &lock).unwrap();
    let status = std::fs::metadata(&lock).unwrap();
    let (device, inode) = (status.dev(), status.ino());
    let free = |file| super::free(&desk.job(true), &directory, 77, file).unwrap();
    free((device, inode + 1));
    assert!(draft.exists() && lock.exists());
    free((device, inode));
    assert!(!draft.exists() && !lock.exists());
    free((device, inode));
}

/// mailutils writes a new file and renames it. That can happen between the worker's opening and its
/// check.
#[test]
fn p2_a_spool_that_is_replaced_while_it_is_opened_is_tried_again() {
    let desk = Desk::new(b"");
    let file = File::open(desk.spool()).unwrap();
    std::fs::remove_file(desk.spool()).unwrap();
    let found = fit(&file, &desk.job(false));
    assert!(matches!(found, Err(OpenError::Replaced)));
}

/// mailutils removes the spool under its dotlock before it puts the new spool there.
#[test]
fn p5_a_missing_spool_under_a_foreign_dotlock_is_not_an_empty_maildrop() {
    let desk = Desk::new(b"");
    std::fs::remove_file(desk.spool()).unwrap();
    let lock = desk.directory.path().join("alice.lock");
    std::fs::write(&lock, "1:elsewhere").unwrap();
    let (error, files) = told(&desk);
    assert!(matches!(error, Some(OpenError::Busy(..))) && files.is_empty());
    // An adoption must not take it for one either. Only an update that is finished needs no spool.
    let by = |task| {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let directory = open(desk.directory.path(), flags, Mode::empty()).unwrap();
        let job = Job {
            task,
            ..desk.job(true)
        };
        try_lock(&job, &directory, &mut |_, _| {})
    };
    assert!(matches!(by(Task::Adopt), Err(OpenError::Busy(..))));
    assert!(matches!(by(Task::Finish { dotlock: None }), Ok(None)));
    assert!(lock.exists());
    std::fs::remove_file(&lock).unwrap();
    free(&desk);
}

/// Otherwise the update would change a file that nobody reads any more.
#[test]
fn p3_a_spool_that_is_replaced_during_a_session_is_not_written() {
    let desk = Desk::new(b"From a@b Mon Nov 23 00:00:00 2026\n\nold\n");
    let mut locked = desk.lock();
    locked.prove_place().unwrap();
    let new = desk.directory.path().join("new");
    std::fs::write(&new, b"").unwrap();
    std::fs::rename(&new, desk.spool()).unwrap();
    assert!(matches!(locked.prove_place(), Err(UpdateError::LockLost)));
    std::fs::remove_file(desk.spool()).unwrap();
    assert!(matches!(locked.prove_place(), Err(UpdateError::LockLost)));
}

/// Whether a worker that tried to lock left the dotlock of process `pid` in its place.
fn stands(desk: &Desk, pid: u32) -> bool {
    let lock = desk.directory.path().join("alice.lock");
    std::fs::write(&lock, format!("{pid}:{}", desk.job(true).host.as_str())).unwrap();
    let error = told(desk).0;
    assert!(matches!(error, None | Some(OpenError::Busy(..))));
    let _ = std::fs::remove_file(&lock);
    matches!(error, Some(OpenError::Busy("the dotlock", _)))
}

#[test]
fn p2_a_dotlock_is_stale_when_its_process_is_dead_even_if_not_waited_for() {
    let mut child = spawn(Command::new("cat").stdin(Stdio::piped()));
    let desk = Desk::new(b"");
    assert!(stands(&desk, child.id()), "it lives");
    drop(child.stdin.take());
    let status = format!("/proc/{}/stat", child.id());
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !std::fs::read_to_string(&status).unwrap().contains(") Z ") {
        assert!(std::time::Instant::now() < end);
        std::thread::yield_now();
    }
    assert!(!stands(&desk, child.id()), "nobody has waited for it");
    child.wait().unwrap();
    assert!(!stands(&desk, child.id()));
}

/// An earlier process made the lock. The process that has its id now began later.
#[test]
fn p2_a_dotlock_that_is_older_than_its_process_is_stale_if_nobody_has_the_fcntl_lock() {
    let desk = Desk::new(b"");
    let lock = desk.directory.path().join("alice.lock");
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let directory = open(desk.directory.path(), flags, Mode::empty()).unwrap();
    std::fs::write(&lock, "").unwrap();
    let status = nix::sys::stat::stat(&lock).unwrap();
    let own = super::stale::began(std::process::id().try_into().unwrap()).unwrap();
    // All of these times are cut to whole seconds.
    assert!(own > 0 && !super::stale::is_older(&directory, &status, own - 1));
    // As if the lock had been touched an hour earlier.
    let mut old = status;
    old.st_ctime -= 60 * 60;
    assert_eq!(
        super::stale::is_older(&directory, &old, own),
        !super::is_on_nfs(&directory)
    );
    assert!(!super::stale::is_older(&directory, &old, 0) || own < 60 * 60);
    // Process 1 began with the host, if this process can see it.
    assert!(super::stale::began(1).is_some_and(|began| began < own + 1));
}

/// Sessions may still be about to remove the dead worker's lock, by its inode.
#[test]
fn p2_a_lock_has_not_the_inode_of_the_stale_one_that_it_replaces() {
    let mut dead = spawn(&mut Command::new("true"));
    dead.wait().unwrap();
    let desk = Desk::new(b"");
    let lock = desk.directory.path().join("alice.lock");
    let text = format!("{}:{}", dead.id(), desk.job(true).host);
    std::fs::write(&lock, text).unwrap();
    let stale = std::fs::metadata(&lock).unwrap().ino();
    let files = free(&desk);
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::metadata(&lock).unwrap().ino(), files[0].1);
    assert_ne!(files[0].1, stale);
}
