//! What `/proc` shows of each process during a session (promises P1 and P10): ids, groups,
//! capabilities, filters, root directory and descriptors.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{AUTH, FRONT, Host, KEYS, MAIL, assert_ok, root, skipped, spool, until, user};
use std::collections::BTreeMap;

/// The fields of `/proc/PID/status`.
fn status(pid: i32) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    text.lines()
        .filter_map(|line| line.split_once(":\t"))
        .map(|(name, value)| (name.to_owned(), value.trim().replace('\t', " ")))
        .collect()
}

/// What each open descriptor is: `socket`, `/dev/null`, a path.
fn descriptors(pid: i32) -> BTreeMap<i32, String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    entries
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let number = entry.file_name().to_str().unwrap().parse().unwrap();
            // The descriptor may have been closed since.
            let target = std::fs::read_link(entry.path()).ok()?;
            Some((number, target.display().to_string()))
        })
        .collect()
}

fn one(host: &Host, executable: &str) -> i32 {
    let found = host.children(executable);
    assert_eq!(found.len(), 1, "{executable}: {found:?}");
    found[0]
}

fn users() -> [host::User; 2] {
    [
        user("alice", 64401, &spool(3)),
        user("bob", 64402, &spool(3)),
    ]
}

#[test]
fn p1_p10_each_process_has_the_ids_and_rights_that_it_should() {
    let host = Host::start(&users());
    let _alice = host.login("alice");
    let none = "0000000000000000";
    let own = nix::unistd::geteuid().as_raw();
    let rows = [
        ("popward-front", FRONT, "2"),
        ("popward-auth", AUTH, "2"),
        ("popward-keys", KEYS, "2"),
        ("popward-worker", 64401, "2"),
        ("popward-log", 65534, "2"),
    ];
    for (executable, id, seccomp) in rows {
        let pid = one(&host, executable);
        let status = status(pid);
        let id = if root() { id } else { own };
        assert_eq!(
            status["Uid"],
            format!("{id} {id} {id} {id}"),
            "{executable}"
        );
        if root() {
            assert_eq!(
                status["Gid"],
                format!("{id} {id} {id} {id}"),
                "{executable}"
            );
            assert_eq!(status["Groups"], "", "{executable}");
        }
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status[set], none, "{executable} {set}");
        }
        assert_eq!(status["NoNewPrivs"], "1", "{executable}");
        assert_eq!(status["Seccomp"], seccomp, "{executable}");
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"));
        if root() {
            let limits = limits.unwrap();
            let core = limits
                .lines()
                .find(|line| line.starts_with("Max core"))
                .unwrap();
            assert_eq!(
                core.split_whitespace().nth(4),
                Some("0"),
                "{executable}: {core}"
            );
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
            assert!(environment.is_empty(), "{executable}: its environment");
        }
    }
    let (supervisor, monitor) = (status(host.pid()), status(host.monitor()));
    let sessions = status(host.sessions());
    if root() {
        let set = |capabilities: &[u32]| {
            let bits = capabilities.iter().map(|number| 1u64 << number);
            format!("{:016x}", bits.sum::<u64>())
        };
        // CAP_CHOWN 0, KILL 5, SETGID 6, SETUID 7, SYS_CHROOT 18.
        for name in ["CapPrm", "CapEff"] {
            assert_eq!(supervisor[name], set(&[5, 6, 7]), "supervisor {name}");
            assert_eq!(monitor[name], set(&[5, 6, 7, 18]), "monitor {name}");
            assert_eq!(sessions[name], set(&[0, 5, 6, 7]), "sessions {name}");
        }
        for process in [supervisor, monitor, sessions] {
            // What these start cannot have others than these.
            assert_eq!(process["CapBnd"], set(&[0, 5, 6, 7, 18]));
            assert_eq!(process["Groups"], "");
        }
    } else {
        assert_eq!(supervisor["CapEff"], none);
        assert_eq!(monitor["CapEff"], none);
        assert_eq!(sessions["CapEff"], none);
        assert!(host.log().contains("not root"), "{}", host.log());
        skipped("user ids, groups and capabilities of root's processes");
    }
}

#[test]
fn p1_front_and_keys_see_no_file_system() {
    if !root() {
        skipped("empty root directories");
        return;
    }
    let host = Host::start(&users());
    for executable in ["popward-front", "popward-keys"] {
        let seen = format!("/proc/{}/root/", one(&host, executable));
        let entries = std::fs::read_dir(&seen).unwrap().count();
        assert_eq!(entries, 0, "{executable}");
        assert_ne!(
            std::fs::read_link(seen.trim_end_matches('/'))
                .unwrap()
                .to_str(),
            Some("/")
        );
    }
}

#[test]
fn each_process_has_only_the_descriptors_that_it_was_given() {
    if !root() {
        skipped("descriptors of processes that are not dumpable");
        return;
    }
    let host = Host::start(&users());
    let mut alice = host.login("alice");
    let _bob = host.login("bob");
    let spools = host.at("mail");
    let workers = host.children("popward-worker");
    assert_eq!(workers.len(), 2);
    let mut owners = Vec::new();
    for pid in workers {
        let open = descriptors(pid);
        let uid = &status(pid)["Uid"][..5];
        let name = if uid == "64401" { "alice" } else { "bob" };
        owners.push(name);
        for standard in 0..3 {
            assert_eq!(open[&standard], "/dev/null");
        }
        let sockets = open.values().filter(|to| to.starts_with("socket:")).count();
        assert_eq!(sockets, 3, "monitor, log, session: {open:?}");
        let own = spools.join(name).display().to_string();
        for (number, target) in &open {
            let fine = *number < 6
                || *target == own
                || *target == spools.display().to_string()
                || target.contains(&format!("{name}.lock"))
                || target.contains(&format!("/mail/.{name}"))
                || target.contains("(deleted)") && target.contains(name)
                || target.contains(&format!("state/{name}"));
            assert!(fine, "{name}'s worker has {number}: {target}");
        }
        assert!(open.values().any(|target| *target == own));
    }
    owners.sort_unstable();
    assert_eq!(owners, ["alice", "bob"]);
    // Two processes share a socket only while the monitor hands it on. The monitor then closes its
    // copy.
    let front = descriptors(one(&host, "popward-front"));
    for (number, target) in &front {
        let kind = target.starts_with("socket:")
            || target.starts_with("anon_inode:")
            || *target == "/dev/null";
        assert!(kind, "the front has {number}: {target}");
    }
    // The monitor may not have closed it yet.
    until("no two processes share a socket", || {
        shared(&host).is_empty()
    });
    assert_ok(&alice.ask("NOOP"));
}

/// Sockets that two processes have. Listening sockets do not count, because the supervisor keeps
/// them for the next monitor, and the monitor for the next front.
fn shared(host: &Host) -> Vec<String> {
    let pair = [host.pid(), host.monitor(), one(host, "popward-front")];
    let others = [
        "popward-sessions",
        "popward-auth",
        "popward-keys",
        "popward-log",
    ];
    let others = others.map(|name| one(host, name));
    let workers = host.children("popward-worker");
    // All of a test's processes may have one standard error.
    let stderr = descriptors(host.pid()).remove(&2);
    let mut seen = BTreeMap::new();
    let mut shared = Vec::new();
    for pid in pair.into_iter().chain(others).chain(workers) {
        let open = descriptors(pid).into_values();
        for target in open.filter(|to| to.starts_with("socket:") && Some(to) != stderr.as_ref()) {
            if let Some(other) = seen.insert(target.clone(), pid) {
                let handed_on = pair.contains(&other) && pair.contains(&pid) && pid != other;
                if !(handed_on && is_listening(&target)) {
                    shared.push(format!("{target} in {other} and {pid}"));
                }
            }
        }
    }
    shared
}

/// Whether `socket:[inode]` is a TCP socket that listens.
fn is_listening(target: &str) -> bool {
    let inode = target.trim_start_matches("socket:[").trim_end_matches(']');
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(3) == Some(&"0A") && fields.get(9) == Some(&inode)
    })
}

#[test]
fn p2_the_spool_directorys_group_is_given_up_before_a_byte_is_read() {
    if !root() {
        skipped("another group for dotlocks");
        return;
    }
    let host = Host::start(&users());
    let _alice = host.login("alice");
    let worker = one(&host, "popward-worker");
    assert!(host.at("mail/alice.lock").exists());
    let status = status(worker);
    let mail = MAIL.to_string();
    assert!(!status["Gid"].contains(&mail) && !status["Groups"].contains(&mail));
}

/// How many filters of system calls a process has, those of its parent among them.
fn filters(pid: i32) -> u32 {
    status(pid)["Seccomp_filters"].parse().unwrap()
}

/// Such a process reads what other programs wrote: dotlocks and names of processes. What its filter
/// and Landlock forbid is tested in `privsep/worker/tests/confinement.rs`.
#[test]
fn p10_a_process_that_waits_for_a_lock_is_confined() {
    let patient = [("lock_timeout = \"2s\"", "lock_timeout = \"30s\"")];
    let adopts = "[adopt]\nfrom = [\"popa3d\"]\n";
    for (executable, more) in [("popward-worker", ""), ("popward-adopt", adopts)] {
        let host = Host::with(&users(), more, &patient);
        let lock = host.at("mail/alice.lock");
        std::fs::write(&lock, "1:elsewhere").unwrap();
        let mut client = host.connect();
        assert_ok(&client.ask("USER alice"));
        client.send(b"PASS alice\r\n");
        let of_parent = filters(host.sessions());
        until("it has a filter of its own", || {
            let found = host.children(executable);
            found
                .first()
                .is_some_and(|pid| filters(*pid) == of_parent + 1)
        });
        std::fs::remove_file(&lock).unwrap();
        assert_ok(&client.line());
        assert_eq!(filters(one(&host, "popward-worker")), of_parent + 2);
    }
}

/// What whoever starts the server has open, and lets it dump.
const STARTER: &str = r#"exec 9</etc/passwd; ulimit -c unlimited; exec "$0" "$@""#;

#[test]
fn p1_roots_processes_keep_nothing_of_their_starter_and_make_no_foreign_call() {
    if !root() {
        skipped("filters and memory of root's processes");
        return;
    }
    let start = |path: std::path::PathBuf| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", STARTER]).arg(path);
        shell
    };
    let host = Host::by(start, &users(), "", &[]);
    for pid in [host.pid(), host.monitor(), host.sessions()] {
        let open = descriptors(pid);
        assert!(!open.values().any(|to| to == "/etc/passwd"), "{open:?}");
        assert_eq!(status(pid)["Seccomp"], "2");
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let mut lines = limits.lines();
        let core = lines.find(|line| line.starts_with("Max core")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    }
    let keys = one(&host, "popward-keys");
    let limits = std::fs::read_to_string(format!("/proc/{keys}/limits")).unwrap();
    let mut lines = limits.lines();
    let locked = lines.find(|line| line.starts_with("Max locked")).unwrap();
    let locked = locked.split_whitespace().nth(3).unwrap().parse::<u64>();
    if locked.is_ok_and(|bytes| bytes < 64 << 20) {
        skipped("locked memory: root cannot raise the limit here");
        host.logged("the private keys can go to swap");
    } else {
        assert_ne!(
            status(keys)["VmLck"],
            "0 kB",
            "the memory with private keys"
        );
    }
}

/// Duplicates the descriptors of a process, shuts its listening sockets down, and makes them block.
const DAMAGE: &str = r#"
import ctypes, os, socket, sys
PIDFD_GETFD = 438
pidfd = os.pidfd_open(int(sys.argv[1]))
damaged = 0
for number in range(3, 64):
    own = ctypes.CDLL(None).syscall(PIDFD_GETFD, pidfd, number, 0)
    if own < 0:
        continue
    try:
        socket_ = socket.socket(fileno=own)
        if not socket_.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            continue
    except OSError:
        continue
    socket_.setblocking(True)
    socket_.shutdown(socket.SHUT_RDWR)
    damaged += 1
print(damaged)
"#;

/// All fronts share the listening sockets. A front's filter forbids it to damage one. Here root
/// does it, as a front without its filter could.
#[test]
fn p1_a_new_front_accepts_whatever_happened_to_the_listening_sockets() {
    if !root() {
        skipped("taking another process's descriptors");
        return;
    }
    let host = Host::start(&users());
    let front = one(&host, "popward-front");
    let mut python = std::process::Command::new("python3");
    python.args(["-c", DAMAGE, &front.to_string()]);
    let output = python.output().unwrap();
    assert_eq!(output.stdout, b"2\n", "{output:?}");
    host.logged("accept error=");
    // A front that finds a listening socket broken tries again twice a second. It must not write a
    // line each time. That there is no line needs some time.
    std::thread::sleep(std::time::Duration::from_secs(2));
    host.assert_rate_limited("accept error=", 2);
    let front = nix::unistd::Pid::from_raw(front);
    nix::sys::signal::kill(front, nix::sys::signal::Signal::SIGKILL).unwrap();
    until("another front accepts", || {
        std::net::TcpStream::connect(("127.0.0.1", host.plain)).is_ok()
    });
    assert_ok(&host.login("alice").ask("NOOP"));
}
