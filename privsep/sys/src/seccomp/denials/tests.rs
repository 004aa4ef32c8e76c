//! The list cannot be taken back. So the test runs in a process of its own: this test binary,
//! started again.

use super::*;
use std::process::Command;

const CHILD: &str = "POPWARD_DENIALS_CHILD";

/// Makes a system call with numbers as arguments, and returns its error.
fn call(number: i64, arguments: [usize; 4]) -> Result<i64, Errno> {
    let [a, b, c, d] = arguments;
    // SAFETY: every call below gets null pointers, or numbers. The kernel refuses null pointers.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d) })
}

const NAMES: usize = libc::CLONE_NEWUTS as usize;

/// Calls that succeed for root, or fail with another error, if they are not on the list.
fn denied() {
    let signal = libc::SIGCHLD as usize;
    let calls: &[(&str, i64, [usize; 4])] = &[
        (
            "ptrace",
            libc::SYS_ptrace,
            [libc::PTRACE_TRACEME as usize, 0, 0, 0],
        ),
        ("unshare", libc::SYS_unshare, [NAMES, 0, 0, 0]),
        ("clone", libc::SYS_clone, [NAMES | signal, 0, 0, 0]),
        ("setns", libc::SYS_setns, [0, 0, 0, 0]),
        ("mount", libc::SYS_mount, [0, 0, 0, 0]),
        ("open_tree", libc::SYS_open_tree, [0, 0, 0, 0]),
        ("bpf", libc::SYS_bpf, [0, 0, 0, 0]),
        (
            "userfaultfd",
            libc::SYS_userfaultfd,
            [libc::O_CLOEXEC as usize, 0, 0, 0],
        ),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0, 0]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, [0, 0, 0, 0]),
        ("finit_module", libc::SYS_finit_module, [0, 0, 0, 0]),
        ("add_key", libc::SYS_add_key, [0, 0, 0, 0]),
        // KEYCTL_GET_KEYRING_ID of the session keyring.
        ("keyctl", libc::SYS_keyctl, [0, usize::MAX - 2, 0, 0]),
    ];
    for (name, number, arguments) in calls {
        assert_eq!(call(*number, *arguments), Err(Errno::EPERM), "{name}");
    }
    assert_eq!(call(libc::SYS_clone3, [0; 4]), Err(Errno::ENOSYS), "clone3");
}

/// Other calls are not touched, and programs and threads can be started.
fn permitted() {
    assert!(Command::new("/bin/true").status().unwrap().success());
    std::thread::spawn(|| {}).join().unwrap();
    let join = [keyring::JOIN_SESSION_KEYRING as usize, 0, 0, 0];
    let joined = call(libc::SYS_keyctl, join);
    // A container may forbid it too. Then the call above says the same.
    assert!(matches!(joined, Ok(_) | Err(Errno::ENOSYS)), "{joined:?}");
    let named = [keyring::JOIN_SESSION_KEYRING as usize, 8, 0, 0];
    assert_eq!(call(libc::SYS_keyctl, named), Err(Errno::EPERM), "a name");
}

#[test]
fn a_process_and_its_children_can_make_none_of_the_calls() {
    if std::env::var_os(CHILD).is_none() {
        let name = "seccomp::denials::tests::a_process_and_its_children_can_make_none_of_the_calls";
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
        let output = command.env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    nix::sys::prctl::set_no_new_privs().unwrap();
    install(OF_PARENTS).unwrap();
    denied();
    permitted();
    // A second list takes away what the first one left.
    install(OF_OTHERS).unwrap();
    let join = [keyring::JOIN_SESSION_KEYRING as usize, 0, 0, 0];
    assert_eq!(call(libc::SYS_keyctl, join), Err(Errno::EPERM));
    let program = Command::new("/bin/true").status().unwrap();
    assert!(program.success());
}
