//! The server whose processes are broken into, what they could damage, and other processes with the
//! same ids.

use super::conversations::{self, MECHANISMS};
use super::host::{Host, assert_ok, spool, until, user};
use super::inject::{Argument, Call, Double, Filter, Outcome};
use nix::libc;
use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The user whose worker is broken into.
pub const ALICE: u32 = 64431;

/// The server and its surroundings.
pub struct Scene {
    pub host: Host,
    /// A port where the server listens.
    pub port: u16,
    /// The user whose worker is broken into.
    pub user: u32,
    /// Other processes, by what the table calls them. The first one is of the same user.
    pub neighbours: Vec<(&'static str, i32)>,
    /// Where the programs are that the server asks.
    pub programs: tempfile::TempDir,
    kept: Vec<Kept>,
    _sockets: [UnixListener; 2],
}

/// A file that must look like this.
struct Kept {
    path: PathBuf,
    bytes: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
}

/// Files that must not be there.
const PROBES: &[&str] = &[
    "mail/probe",
    "state/probe",
    "state/carol/probe",
    "state/alice/probe",
    "public/probe",
];
const PROBE_OF_SYSTEM: &str = "/etc/popward-probe";

impl Scene {
    /// Starts the server.
    pub fn start() -> Self {
        let programs = tempfile::tempdir().unwrap();
        std::fs::set_permissions(programs.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let program = conversations::silent_program(programs.path());
        let users = ["alice", "bob", "carol", "dave", "erin"];
        let users = users.into_iter().zip(ALICE..);
        let users: Vec<_> = users.map(|(name, id)| user(name, id, &spool(2))).collect();
        let auth = format!(
            "[auth]\n{MECHANISMS}oauth2 = {{ program = \"{}\" }}\n",
            program.display()
        );
        let changes = [
            ("[auth]\n", &*auth),
            ("lock_timeout = \"2s\"", "lock_timeout = \"50s\""),
        ];
        let host = Host::with(&users, "[adopt]\nfrom = [\"popa3d\"]\n", &changes);
        // An executable that no test runs: others have the same files, and the kernel runs none that
        // is open for writing.
        let probe = host.at("libexec/probe");
        std::fs::copy(host.at("libexec/popward-reload"), &probe).unwrap();
        std::fs::set_permissions(&probe, PermissionsExt::from_mode(0o711)).unwrap();
        let public = host.at("public");
        std::fs::create_dir(&public).unwrap();
        std::fs::set_permissions(&public, PermissionsExt::from_mode(0o777)).unwrap();
        std::fs::write(public.join("file"), "anything").unwrap();
        std::fs::set_permissions(public.join("file"), PermissionsExt::from_mode(0o666)).unwrap();
        let by_path = UnixListener::bind(public.join("socket")).unwrap();
        std::fs::set_permissions(public.join("socket"), PermissionsExt::from_mode(0o777)).unwrap();
        let name = abstract_name(&host);
        let by_name = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let by_name = UnixListener::bind_addr(&by_name).unwrap();
        // A session makes its user's state directory.
        for (user, id) in [("alice", ALICE), ("carol", ALICE + 2), ("dave", ALICE + 3)] {
            assert_ok(&host.login(user).ask("QUIT"));
            let file = host.at("state").join(user).join("file");
            std::fs::write(&file, "anything").unwrap();
            chown(&file, Some(id), Some(id)).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        }
        until("their workers have ended", || {
            host.children("popward-worker").is_empty()
        });
        let files = [
            "mail/alice",
            "mail/carol",
            "state/alice/file",
            "state/carol/file",
            "public/file",
        ];
        Self {
            kept: files
                .iter()
                .map(|name| Kept::read(&host.at(name)))
                .collect(),
            port: host.plain,
            user: ALICE,
            neighbours: Vec::new(),
            programs,
            _sockets: [by_path, by_name],
            host,
        }
    }

    /// The path of a file of the host.
    pub fn at(&self, name: &str) -> PathBuf {
        self.host.at(name)
    }

    /// The name of a socket without a path that everybody may connect to.
    pub fn abstract_socket(&self) -> Vec<u8> {
        abstract_name(&self.host)
    }

    /// Undoes what an action has done.
    pub fn restore(&self) {
        for kept in &self.kept {
            kept.restore();
        }
        let probes = PROBES.iter().map(|name| self.at(name));
        for probe in probes.chain([PROBE_OF_SYSTEM.into()]) {
            if probe.symlink_metadata().is_ok() {
                let _ = std::fs::remove_file(&probe).or_else(|_| std::fs::remove_dir(&probe));
            }
        }
    }
}

fn abstract_name(host: &Host) -> Vec<u8> {
    format!("\0popward-probe-{}", host.pid()).into_bytes()
}

impl Kept {
    fn read(path: &Path) -> Self {
        let now = path.metadata().unwrap();
        Self {
            path: path.to_owned(),
            bytes: std::fs::read(path).unwrap(),
            mode: now.mode() & 0o7777,
            owner: (now.uid(), now.gid()),
        }
    }

    fn restore(&self) {
        let path = &self.path;
        let now = path.symlink_metadata().ok();
        let length = now.as_ref().map(|now| now.len());
        if length != Some(self.bytes.len() as u64) {
            std::fs::write(path, &self.bytes).unwrap();
        }
        let same = |now: std::fs::Metadata| {
            (now.mode() & 0o7777, (now.uid(), now.gid())) == (self.mode, self.owner)
        };
        if !now.is_some_and(same) {
            chown(path, Some(self.owner.0), Some(self.owner.1)).unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(self.mode)).unwrap();
        }
    }
}

/// A process that does nothing. Dropping it ends it.
pub struct Idle(Child);

impl Idle {
    /// As root, with all of root's capabilities.
    pub fn of_root() -> Self {
        Self::run(&mut Command::new("sleep"))
    }

    /// As the user of the process `pid`. Others of this user may trace it.
    pub fn of_user_of(pid: i32) -> Self {
        Self::of_user(status(pid)["Uid"][0])
    }

    /// As the user `uid`, with the group of the same number.
    pub fn of_user(uid: u32) -> Self {
        Self::run(Command::new("sleep").uid(uid).gid(uid))
    }

    fn run(command: &mut Command) -> Self {
        let command = command.arg("1000").current_dir("/");
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The numbers in the fields of `/proc/PID/status` that have some: decimal ones of ids, and
/// hexadecimal ones of capabilities as halves, the lower one first.
fn status(pid: i32) -> BTreeMap<String, Vec<u32>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(":\t"));
    let numbers = fields.map(|(name, value)| {
        let numbers = if name.starts_with("Cap") {
            let set = u64::from_str_radix(value, 16).unwrap();
            vec![(set & 0xffff_ffff) as u32, (set >> 32) as u32]
        } else {
            value
                .split_whitespace()
                .map_while(|word| word.parse().ok())
                .collect()
        };
        (name.to_owned(), numbers)
    });
    numbers.collect()
}

/// Whether this process has the capabilities that the server needs, and those for tracing its
/// processes without their filters: CHOWN, KILL, SETGID, SETUID, SYS_CHROOT, SYS_PTRACE, SYS_ADMIN.
pub fn has_capabilities() -> bool {
    let own = i32::try_from(std::process::id()).unwrap();
    let needed = [0, 5, 6, 7, 18, 19, 21].map(|number: u32| 1 << number);
    let held = status(own)["CapEff"][0];
    needed.iter().all(|one: &u32| held & one != 0)
}

/// Whether a process has a system call filter.
pub fn is_filtered(pid: i32) -> bool {
    status(pid)["Seccomp"] == [2]
}

/// Whether a process sleeps, and does not run or wait for a message.
pub fn sleeps(pid: i32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.starts_with(&format!("{} ", libc::SYS_clock_nanosleep))
}

/// A process with the ids, groups, capabilities and root directory of the process `pid`, and without
/// a filter, Landlock or `no_new_privs`.
pub fn twin(pid: i32) -> Double {
    let status = status(pid);
    let idle = Idle::of_root();
    let twin = Double::of(idle.pid()).unwrap();
    let number = |number: u32| Argument::Number(number.into());
    let words =
        |words: &[u32]| Argument::Bytes(words.iter().flat_map(|word| word.to_ne_bytes()).collect());
    let do_it = |number, arguments: &[Argument]| {
        let call = Call {
            number,
            arguments: arguments.to_vec(),
        };
        let outcome = twin.attempt_here(Filter::Suspended, &[], &call);
        assert_eq!(outcome, Outcome::Done, "{call:?}");
    };
    let (uid, gid, groups) = (&status["Uid"], &status["Gid"], &status["Groups"]);
    let sets = ["CapEff", "CapPrm", "CapInh"].map(|name| &status[name]);
    let sets: Vec<u32> = [0, 1]
        .iter()
        .flat_map(|half| sets.map(|set| set[*half]))
        .collect();
    let root = Argument::Bytes(format!("/proc/{pid}/root\0").into_bytes());
    let no_core = words(&[0; 4]);
    do_it(
        libc::SYS_prlimit64,
        &[number(0), number(libc::RLIMIT_CORE), no_core, number(0)],
    );
    do_it(libc::SYS_chroot, &[root]);
    do_it(
        libc::SYS_prctl,
        &[number(libc::PR_SET_KEEPCAPS as u32), number(1)],
    );
    do_it(
        libc::SYS_setgroups,
        &[number(groups.len() as u32), words(groups)],
    );
    do_it(
        libc::SYS_setresgid,
        &[number(gid[0]), number(gid[1]), number(gid[2])],
    );
    do_it(
        libc::SYS_setresuid,
        &[number(uid[0]), number(uid[1]), number(uid[2])],
    );
    do_it(libc::SYS_capset, &[words(&[0x2008_0522, 0]), words(&sets)]);
    do_it(
        libc::SYS_prctl,
        &[number(libc::PR_SET_DUMPABLE as u32), number(0)],
    );
    twin
}
