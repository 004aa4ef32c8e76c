//! What a worker may do before it has its locks, and after (promises P1 and P10). The worker is the
//! real executable. It is stopped at a call and makes another one instead: what its filter and
//! Landlock say to that is what a worker that was taken over would hear.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

#[cfg(target_arch = "x86_64")]
mod harness;

/// System calls are exchanged in registers, and this knows only x86_64's.
#[cfg(not(target_arch = "x86_64"))]
#[test]
fn p10_a_worker_is_confined_before_it_tries_to_lock() {
    use std::io::Write;
    let why = b"skipped: foreign calls of a worker: only x86_64's registers are known\n";
    std::io::stderr().write_all(why).unwrap();
}

#[cfg(target_arch = "x86_64")]
mod foreign_calls {
    use super::harness::crash::traceable;
    use super::harness::trace::{Foreign, PAUSES, WAITS, foreign};
    use super::harness::worker::Worker;
    use super::harness::{Desk, NAME, say};
    use nix::errno::Errno;
    use nix::libc;
    use nix::sys::signal::Signal;
    use nix::sys::wait::WaitStatus;
    use popward_proto::sessions_worker::Task;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown};
    use std::path::PathBuf;

    /// Calls that no worker needs at any time.
    const NEVER: &[(&str, i64, [u64; 4])] = &[
        ("socket", libc::SYS_socket, [2, 1, 0, 0]),
        ("socketpair", libc::SYS_socketpair, [1, 1, 0, 0]),
        ("connect", libc::SYS_connect, [3, 0, 0, 0]),
        ("execve", libc::SYS_execve, [0, 0, 0, 0]),
        ("fork", libc::SYS_fork, [0, 0, 0, 0]),
        ("clone", libc::SYS_clone, [17, 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [0, 0, 0, 0]),
        (
            "unshare",
            libc::SYS_unshare,
            [libc::CLONE_NEWUSER as u64, 0, 0, 0],
        ),
        ("setns", libc::SYS_setns, [3, 0, 0, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0, 0]),
        ("ptrace", libc::SYS_ptrace, [0, 0, 0, 0]),
        (
            "process_vm_writev",
            libc::SYS_process_vm_writev,
            [1, 0, 0, 0],
        ),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, [3, 0, 0, 0]),
        ("mount", libc::SYS_mount, [0, 0, 0, 0]),
        ("keyctl", libc::SYS_keyctl, [0, 0, 0, 0]),
        ("bpf", libc::SYS_bpf, [0, 0, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [0, 0, 0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [0, 0, 0, 0]),
        ("setresuid", libc::SYS_setresuid, [0, 0, 0, 0]),
        ("chmod", libc::SYS_chmod, [0, 0, 0, 0]),
        ("symlink", libc::SYS_symlink, [0, 0, 0, 0]),
        ("mkdir", libc::SYS_mkdir, [0, 0, 0, 0]),
        ("kill with a signal", libc::SYS_kill, [1, 9, 0, 0]),
        ("prctl to be dumpable", libc::SYS_prctl, [4, 1, 0, 0]),
        ("seccomp with a listener", libc::SYS_seccomp, [1, 8, 0, 0]),
        (
            "mmap to execute",
            libc::SYS_mmap,
            [0, 4096, libc::PROT_EXEC as u64, 0x22],
        ),
    ];

    /// Calls that only locking needs, and the confinement behind it.
    const WHILE_LOCKING: &[(&str, i64, [u64; 4])] = &[
        ("linkat", libc::SYS_linkat, [0, 0, 0, 0]),
        ("flock", libc::SYS_flock, [63, 2, 0, 0]),
        (
            "fcntl lock",
            libc::SYS_fcntl,
            [63, libc::F_OFD_SETLK as u64, 0, 0],
        ),
        ("kill without a signal", libc::SYS_kill, [1, 0, 0, 0]),
        (
            "setresgid",
            libc::SYS_setresgid,
            [u64::MAX, u64::MAX, u64::MAX, 0],
        ),
        (
            "landlock_create_ruleset",
            libc::SYS_landlock_create_ruleset,
            [0, 0, 1, 0],
        ),
        ("seccomp", libc::SYS_seccomp, [1, 1, 0, 0]),
    ];

    /// A worker that waits for a lock that another host's program has. Its second value says which
    /// calls it makes meanwhile.
    fn waiting(desk: &Desk) -> (Worker, &'static [i64]) {
        let lock = desk.mail().join(format!("{NAME}.lock"));
        fs::write(&lock, "1:elsewhere").unwrap();
        chown(&lock, Some(desk.owner.uid), Some(desk.owner.gid)).unwrap();
        let worker = Worker::start(desk).unwrap();
        worker.give_patient_job(desk, 60_000);
        (worker, PAUSES)
    }

    /// A worker that has opened the maildrop and waits for a request.
    fn serving(desk: &Desk) -> (Worker, &'static [i64]) {
        let mut worker = Worker::start(desk).unwrap();
        worker.give_job(desk);
        assert_eq!(worker.answers(&[]).len(), 1);
        (worker, WAITS)
    }

    fn filters(worker: &Worker) -> (String, String) {
        let status = fs::read_to_string(format!("/proc/{}/status", worker.pid)).unwrap();
        let field = |name: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            value.unwrap().to_owned()
        };
        (field("Seccomp"), field("Seccomp_filters"))
    }

    /// Has a new worker make `call`, and expects its filter to kill it.
    fn assert_killed(
        start: fn(&Desk) -> (Worker, &'static [i64]),
        (name, call, arguments): (&str, i64, [u64; 4]),
    ) {
        let desk = Desk::new();
        let (mut worker, at) = start(&desk);
        let found = foreign(&mut worker, at, call, arguments, None);
        assert_eq!(found, Foreign::Died, "{name}");
        let status = worker.status();
        let by_filter = matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _));
        assert!(by_filter, "{name}: {status:?}");
    }

    /// What openat(2) with these flags says to a path.
    fn opened(worker: &mut Worker, at: &'static [i64], path: PathBuf, flags: i32) -> i64 {
        let arguments = [libc::AT_FDCWD as u64, 0, flags as u64, 0o600];
        match foreign(worker, at, libc::SYS_openat, arguments, Some(&path)) {
            Foreign::Returned(value) => value,
            Foreign::Died => panic!("{}: killed", path.display()),
        }
    }

    const DENIED: i64 = -(Errno::EACCES as i64);
    const READ: i32 = libc::O_RDONLY;
    const MAKE: i32 = libc::O_WRONLY | libc::O_CREAT;

    /// What a worker must and must not reach: a path, the flags, and whether a worker reaches it
    /// before it has its locks, and after.
    fn paths(desk: &Desk) -> Vec<(PathBuf, i32, [bool; 2])> {
        // Everybody may read and write these, so only Landlock forbids it.
        let everybodys = ["/etc/passwd", "/dev/null", "/tmp"];
        let mut paths: Vec<_> = everybodys
            .iter()
            .map(|path| (PathBuf::from(path), READ, [false, false]))
            .collect();
        paths.extend([
            (PathBuf::from("/dev/null"), libc::O_WRONLY, [false, false]),
            (
                PathBuf::from("/proc/self/comm"),
                libc::O_WRONLY,
                [false, false],
            ),
            (PathBuf::from("/proc"), READ, [false, false]),
            (PathBuf::from("/proc/locks"), READ, [true, false]),
            (PathBuf::from("/proc/1/stat"), READ, [true, false]),
            (desk.mail(), READ, [false, false]),
            (desk.spool(), libc::O_RDWR, [true, false]),
            (desk.mail().join(".draft"), MAKE, [true, false]),
            (desk.state().join("index.new"), MAKE, [true, true]),
            (desk.state(), READ, [true, true]),
        ]);
        paths
    }

    fn assert_reach(start: fn(&Desk) -> (Worker, &'static [i64]), phase: usize) {
        let desk = Desk::new();
        let (mut worker, at) = start(&desk);
        for (path, flags, reached) in paths(&desk) {
            let shown = format!("{} {flags:o}", path.display());
            let found = opened(&mut worker, at, path, flags);
            if reached[phase] {
                assert!(found >= 0, "{shown}: {found}");
            } else {
                assert_eq!(found, DENIED, "{shown}");
            }
        }
        worker.kill();
    }

    #[test]
    fn p10_a_worker_is_confined_before_it_tries_to_lock() {
        if !traceable() {
            return;
        }
        assert_reach(waiting, 0);
        for call in NEVER {
            assert_killed(waiting, *call);
        }
        let desk = Desk::new();
        let (mut worker, at) = waiting(&desk);
        for (name, call, arguments) in WHILE_LOCKING {
            let found = foreign(&mut worker, at, *call, *arguments, None);
            assert_ne!(found, Foreign::Died, "{name}");
        }
        assert_eq!(filters(&worker), ("2".to_owned(), "1".to_owned()));
        worker.kill();
    }

    /// The proof comes before the process touches a file, also if it only frees a lock.
    #[test]
    fn p10_a_process_with_a_group_that_its_job_does_not_name_touches_nothing() {
        if !traceable() {
            return;
        }
        let mut desk = Desk::new();
        let Some(identity) = &mut desk.owner.identity else {
            return say("skipped: groups: only root can give a process some");
        };
        identity.groups.push(OTHER_GROUP);
        let lock = desk.mail().join(format!("{NAME}.lock"));
        fs::write(&lock, "1:here").unwrap();
        chown(&lock, Some(desk.owner.uid), Some(desk.owner.gid)).unwrap();
        let status = lock.metadata().unwrap();
        let dotlock = (status.dev(), status.ino());
        let mut worker = Worker::start(&desk).unwrap();
        worker.give(&desk, Task::Free { pid: 1, dotlock }, 0);
        worker.run_out();
        let ended = worker.status();
        assert!(matches!(ended, WaitStatus::Exited(_, 1)), "{ended:?}");
        assert!(lock.exists());
    }

    /// A group that no job names.
    const OTHER_GROUP: u32 = 64_412;

    #[test]
    fn p10_a_worker_with_its_locks_has_given_up_what_locking_needs() {
        if !traceable() {
            return;
        }
        assert_reach(serving, 1);
        for call in NEVER.iter().chain(WHILE_LOCKING) {
            assert_killed(serving, *call);
        }
        let desk = Desk::new();
        let (mut worker, _) = serving(&desk);
        assert_eq!(filters(&worker), ("2".to_owned(), "2".to_owned()));
        worker.kill();
    }
}
