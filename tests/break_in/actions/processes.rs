//! Programs, other processes, and the rights of this one.

use super::super::scene::Scene;
use super::*;

/// New processes, other programs, and new code in this one.
pub(super) fn programs(scene: &Scene) -> Vec<Action> {
    let memory = call(libc::SYS_memfd_create, &[text("probe"), NULL]);
    let execute = flags(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC);
    let private = flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let nowhere = Number(-1);
    let run = |at: Argument| [at, NULL, NULL];
    vec![
        Action::new("starts a process", libc::SYS_clone, &[flags(libc::SIGCHLD)]),
        Action::new("starts a process with vfork", libc::SYS_vfork, &[]),
        Action::new(
            "starts a process with clone3",
            libc::SYS_clone3,
            &[bytes(&[0; 64]), Number(64)],
        ),
        Action::new("runs a program", libc::SYS_execve, &run(text("/bin/true"))),
        Action::new(
            "runs popward-worker",
            libc::SYS_execve,
            &run(path(scene.at("libexec/popward-worker"))),
        ),
        Action::new(
            "runs a program from memory",
            libc::SYS_execveat,
            &[
                Returned(0),
                text(""),
                NULL,
                NULL,
                flags(libc::AT_EMPTY_PATH),
            ],
        )
        .after(&[memory])
        .late(&[Errno::ENOEXEC]),
        Action::new(
            "makes a file in memory",
            libc::SYS_memfd_create,
            &[text("probe"), NULL],
        ),
        Action::new(
            "maps executable memory",
            libc::SYS_mmap,
            &[NULL, Number(4096), execute.clone(), private, nowhere, NULL],
        ),
        Action::new(
            "makes its stack executable",
            libc::SYS_mprotect,
            &[Stack, Number(4096), execute],
        ),
        Action::new(
            "makes a call of the x32 mode",
            libc::SYS_getpid | 0x4000_0000,
            &[],
        )
        .by_host(ByHost::WithoutFilter),
    ]
}

/// Other processes.
pub(super) fn neighbours(scene: &Scene) -> Vec<Action> {
    let mut all = Vec::new();
    let part = || bytes(&[0_u64.to_ne_bytes(), 8_u64.to_ne_bytes()].concat());
    let mut against = |name: &str, number, make: &dyn Fn(Argument) -> Vec<Argument>| {
        for (whom, pid) in &scene.neighbours {
            let action = Action::new(name, number, &make(Number((*pid).into())));
            all.push(action.against(whom));
        }
    };
    let seize = Number(libc::PTRACE_SEIZE.into());
    against("traces", libc::SYS_ptrace, &|pid| {
        vec![seize.clone(), pid, NULL, NULL]
    });
    // The kernel looks at the rights before it looks at these addresses.
    let parts = |pid| vec![pid, part(), Number(1), part(), Number(1), NULL];
    against("reads the memory of", libc::SYS_process_vm_readv, &parts);
    against("writes the memory of", libc::SYS_process_vm_writev, &parts);
    against("signals", libc::SYS_kill, &|pid| {
        vec![pid, Number(HARMLESS)]
    });
    against("signals a thread of", libc::SYS_tgkill, &|pid| {
        vec![pid.clone(), pid, Number(HARMLESS)]
    });
    against("reads the limits of", libc::SYS_prlimit64, &|pid| {
        vec![pid, NULL, NULL, NULL]
    });
    // The nice value that the process has, so nothing changes.
    against("slows down", libc::SYS_setpriority, &|pid| {
        let Number(number) = pid else { unreachable!() };
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
        let nice = fields.split(' ').nth(16).and_then(|nice| nice.parse().ok());
        vec![NULL, pid, Number(nice.unwrap_or(0))]
    });
    for action in &mut all {
        match &*action.name {
            "traces" => action.traces = true,
            "reads the memory of" | "writes the memory of" => {
                action.traces = true;
                action.late = &[Errno::EFAULT];
            }
            "signals" | "signals a thread of" => action.landlock = 6,
            _ => {}
        }
    }
    for (whom, pid) in &scene.neighbours {
        let memory = opens("opens the memory of", format!("/proc/{pid}/mem"), READ);
        let pidfd = [call(libc::SYS_pidfd_open, &[Number((*pid).into()), NULL])];
        let take = [Returned(0), NULL, NULL];
        let take = Action::new("takes a descriptor of", libc::SYS_pidfd_getfd, &take);
        let signal = [Returned(0), Number(HARMLESS), NULL, NULL];
        let signal = Action::new("signals by a pidfd", libc::SYS_pidfd_send_signal, &signal);
        all.extend([
            memory.against(whom).traces(),
            take.after(&pidfd).against(whom).traces(),
            signal.after(&pidfd).against(whom).landlock(6),
        ]);
    }
    all
}

/// What a user can try against the process `pid`, a worker of theirs.
pub fn against_worker(pid: i32) -> Vec<Action> {
    let open = |name: &str, file: &str, how| opens(name, format!("/proc/{pid}/{file}"), how);
    let pid = || Number(pid.into());
    let part = || bytes(&[0_u64.to_ne_bytes(), 8_u64.to_ne_bytes()].concat());
    let parts = [pid(), part(), Number(1), part(), Number(1), NULL];
    let pidfd = [call(libc::SYS_pidfd_open, &[pid(), NULL])];
    let take = [Returned(0), Number(3), NULL];
    let seize = Number(libc::PTRACE_SEIZE.into());
    let read = Action::new("reads its memory", libc::SYS_process_vm_readv, &parts);
    let write = Action::new("writes its memory", libc::SYS_process_vm_writev, &parts);
    let kcmp = [pid(), pid(), NULL, NULL, NULL];
    let same = bytes(&[0; 16]);
    vec![
        Action::new("traces it", libc::SYS_ptrace, &[seize, pid(), NULL, NULL]),
        read.late(&[Errno::EFAULT]),
        write.late(&[Errno::EFAULT]),
        open("opens its memory to write", "mem", libc::O_RDWR),
        open("opens its list of descriptors", "fd", READ),
        open("opens its environment", "environ", READ),
        open("opens its root directory", "root", READ),
        open("opens its list of memory", "maps", READ),
        Action::new("takes a descriptor of it", libc::SYS_pidfd_getfd, &take).after(&pidfd),
        Action::new("compares its descriptors", libc::SYS_kcmp, &kcmp),
        Action::new("signals it", libc::SYS_kill, &[pid(), Number(HARMLESS)]),
        Action::new(
            "lowers its limits",
            libc::SYS_prlimit64,
            &[pid(), Number(libc::RLIMIT_CORE.into()), same, NULL],
        ),
    ]
}

/// Ids, capabilities, limits and the like.
pub(super) fn rights(scene: &Scene) -> Vec<Action> {
    let root = || Number(0);
    let user = || Number(scene.user.into());
    let capabilities = || bytes(&[0xff; 24]);
    let header = bytes(&[0x2008_0522_u32.to_ne_bytes(), [0; 4]].concat());
    let more = 1_u64.to_ne_bytes();
    let more = bytes(&[more, more].concat());
    let prctl = |name, option: i32, second| {
        Action::new(
            name,
            libc::SYS_prctl,
            &[flags(option), Number(second), NULL, NULL, NULL],
        )
    };
    vec![
        Action::new(
            "becomes root",
            libc::SYS_setresuid,
            &[root(), root(), root()],
        ),
        Action::new("becomes root with setuid", libc::SYS_setuid, &[root()]),
        Action::new(
            "becomes the user",
            libc::SYS_setresuid,
            &[user(), user(), user()],
        ),
        Action::new("takes root's group", libc::SYS_setgid, &[root()]),
        Action::new(
            "takes the spool directory's group",
            libc::SYS_setresgid,
            &[Number(-1), Number(crate::host::MAIL.into()), Number(-1)],
        ),
        Action::new("changes its groups", libc::SYS_setgroups, &[NULL, NULL]),
        Action::new(
            "gives itself capabilities",
            libc::SYS_capset,
            &[header, capabilities()],
        ),
        Action::new("changes its root directory", libc::SYS_chroot, &[text("/")]),
        prctl("lets others trace it", libc::PR_SET_DUMPABLE, 1),
        prctl("lets one process trace it", libc::PR_SET_PTRACER, 1).by_host(ByHost::Always),
        prctl(
            "keeps capabilities past a change of ids",
            libc::PR_SET_KEEPCAPS,
            1,
        ),
        Action::new(
            "raises its limit on core dumps",
            libc::SYS_prlimit64,
            &[NULL, Number(libc::RLIMIT_CORE.into()), more, NULL],
        ),
        Action::new(
            "changes its personality",
            libc::SYS_personality,
            &[Number(libc::ADDR_NO_RANDOMIZE.into())],
        ),
    ]
}
