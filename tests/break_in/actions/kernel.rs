//! The kernel and the machine.

use super::super::scene::Scene;
use super::*;

/// The kernel and the machine.
pub(super) fn all(scene: &Scene) -> Vec<Action> {
    let root = || text("/");
    let nothing = || bytes(&[0; 128]);
    let own = [open("/proc/self/ns/uts", READ)];
    let space = |name, which: i32| Action::new(name, libc::SYS_unshare, &[flags(which)]);
    vec![
        space("makes a mount namespace", libc::CLONE_NEWNS),
        space("makes a network namespace", libc::CLONE_NEWNET),
        space("makes a user namespace", libc::CLONE_NEWUSER).by_host(ByHost::WithoutFilter),
        Action::new(
            "starts a process in a user namespace",
            libc::SYS_clone,
            &[flags(libc::CLONE_NEWUSER | libc::SIGCHLD)],
        )
        .by_host(ByHost::WithoutFilter),
        Action::new("enters a namespace", libc::SYS_setns, &[Returned(0), NULL]).after(&own),
        Action::new(
            "mounts",
            libc::SYS_mount,
            &[text("none"), root(), text("popward-none"), NULL, NULL],
        )
        .late(&[Errno::ENODEV]),
        Action::new(
            "unmounts",
            libc::SYS_umount2,
            &[root(), flags(libc::MNT_EXPIRE)],
        )
        .late(&[Errno::EINVAL]),
        Action::new(
            "opens a file system",
            libc::SYS_fsopen,
            &[text("tmpfs"), NULL],
        ),
        Action::new(
            "copies a tree of mounts",
            libc::SYS_open_tree,
            &[HERE, root(), Number(1)],
        ),
        Action::new(
            "changes the root of mounts",
            libc::SYS_pivot_root,
            &[root(), root()],
        )
        .late(&[Errno::EBUSY, Errno::EINVAL]),
        Action::new(
            "loads a BPF program",
            libc::SYS_bpf,
            &[Number(5), nothing(), Number(128)],
        )
        .by_host(ByHost::WithoutFilter),
        Action::new(
            "opens a performance counter",
            libc::SYS_perf_event_open,
            &[nothing(), NULL, Number(-1), Number(-1), NULL],
        )
        .by_host(ByHost::WithoutFilter),
        Action::new(
            "makes an io_uring",
            libc::SYS_io_uring_setup,
            &[Number(1), nothing()],
        )
        .by_host(ByHost::WithoutFilter),
        Action::new("handles page faults", libc::SYS_userfaultfd, &[NULL])
            .by_host(ByHost::WithoutFilter),
        Action::new(
            "watches files with inotify",
            libc::SYS_inotify_init1,
            &[NULL],
        ),
        Action::new(
            "watches files with fanotify",
            libc::SYS_fanotify_init,
            &[Number(4), NULL],
        ),
        Action::new(
            "looks at keyrings",
            libc::SYS_keyctl,
            &[NULL, Number(-3), NULL],
        )
        .by_host(ByHost::WithoutFilter),
        Action::new(
            "adds a key",
            libc::SYS_add_key,
            &[
                text("user"),
                text("popward-probe"),
                text("x"),
                Number(1),
                Number(-2),
            ],
        )
        .by_host(ByHost::WithoutFilter),
        Action::new(
            "asks for a key",
            libc::SYS_request_key,
            &[text("user"), text("popward-probe"), NULL, NULL],
        )
        .late(&[Errno::ENOKEY])
        .by_host(ByHost::WithoutFilter),
        Action::new(
            "loads a kernel module",
            libc::SYS_init_module,
            &[NULL, NULL, text("")],
        )
        .by_host(ByHost::WithoutFilter),
        Action::new(
            "loads another kernel",
            libc::SYS_kexec_load,
            &[NULL, NULL, NULL, NULL],
        )
        .by_host(ByHost::WithoutFilter),
        Action::new(
            "restarts the machine",
            libc::SYS_reboot,
            &[NULL, NULL, NULL, NULL],
        )
        .late(&[Errno::EINVAL]),
        Action::new(
            "swaps to a file",
            libc::SYS_swapon,
            &[path(scene.at("public/file")), NULL],
        )
        .late(&[Errno::EINVAL]),
        Action::new("sets the clock", libc::SYS_settimeofday, &[NULL, NULL]),
        Action::new(
            "sets the host's name",
            libc::SYS_sethostname,
            &[NULL, Number(65)],
        )
        .late(&[Errno::EINVAL]),
        Action::new(
            "reads the kernel's log",
            libc::SYS_syslog,
            &[Number(10), NULL, NULL],
        )
        .by_host(ByHost::WithoutFilter),
        Action::new("uses the machine's ports", libc::SYS_iopl, &[Number(3)])
            .by_host(ByHost::WithoutFilter),
        Action::new(
            "changes quotas",
            libc::SYS_quotactl,
            &[NULL, NULL, NULL, NULL],
        )
        .by_host(ByHost::WithoutFilter),
        Action::new(
            "accounts for processes",
            libc::SYS_acct,
            &[text("/popward-none")],
        )
        .late(&[Errno::ENOENT]),
    ]
}
