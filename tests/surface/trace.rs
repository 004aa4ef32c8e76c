//! Watches all processes of a server from their first instruction on (ptrace(2)), and notes their
//! system calls, the files that they open and the capabilities that they use.

use super::filter::Filter;
use super::names::{self, CAPABILITIES};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, mkfifo};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What the processes of one executable have done.
#[derive(Debug, Default, Clone)]
pub struct Surface {
    /// The calls by phase: before it has a filter, behind its first one, behind its second one.
    pub calls: Vec<BTreeSet<String>>,
    /// The tables that it has installed, by phase.
    pub tables: BTreeMap<usize, BTreeSet<String>>,
    /// The files, each with what was done to it.
    pub files: BTreeSet<String>,
    /// The capabilities that it had once it was confined.
    pub held: BTreeSet<String>,
    /// The capabilities that its calls needed.
    pub used: BTreeSet<String>,
}

impl Surface {
    fn calls_of(&mut self, phase: usize) -> &mut BTreeSet<String> {
        let phases = self.calls.len().max(phase + 1);
        self.calls.resize_with(phases, BTreeSet::new);
        &mut self.calls[phase]
    }
}

/// The same of all executables.
pub type Surfaces = BTreeMap<String, Surface>;

/// Whether this process may trace others.
///
/// # Errors
///
/// The host forbids it.
pub fn is_possible() -> Result<(), Errno> {
    let mut idle = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(idle.id()).unwrap());
    let seized = ptrace::seize(pid, Options::empty());
    idle.kill().unwrap();
    idle.wait().unwrap();
    seized
}

/// Watches one server.
pub struct Watch {
    directory: tempfile::TempDir,
    watcher: Child,
}

/// Tells the process that watches in which directory it finds what it needs.
const WATCHER: &str = "POPWARD_SURFACE_WATCHER";

/// Tells its process id, and waits until it is watched.
const START: &str = "dir=$1; shift; echo $$ >\"$dir/pid\"; read go <\"$dir/go\"; exec \"$@\"";

impl Watch {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        mkfifo(&directory.path().join("go"), Mode::S_IRWXU).unwrap();
        // Another process watches. If a thread of this one did, this process could not wait for the
        // server's end: it would hear of each stop of the server, too.
        let mut watcher = Command::new(std::env::current_exe().unwrap());
        watcher.args(["--exact", "trace::this_process_watches_if_it_is_told_to"]);
        watcher.env(WATCHER, directory.path()).stdout(Stdio::null());
        let watcher = watcher.spawn().unwrap();
        Self { directory, watcher }
    }

    /// Kills a worker at its `number`th pwrite64(2) from now on.
    pub fn ambush(&self, number: u32) {
        fs::write(self.directory.path().join("ambush"), number.to_string()).unwrap();
    }

    /// The command that starts this executable.
    pub fn command(&self, executable: PathBuf) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", START, "sh"]).arg(self.directory.path());
        shell.arg(executable).current_dir("/");
        shell
    }

    /// What the processes have done. All of them have ended.
    pub fn finish(mut self) -> Surfaces {
        assert!(self.watcher.wait().unwrap().success());
        read(&fs::read_to_string(self.directory.path().join("found")).unwrap())
    }
}

#[test]
fn this_process_watches_if_it_is_told_to() {
    let Some(directory) = std::env::var_os(WATCHER) else {
        return;
    };
    let directory = PathBuf::from(directory);
    let tracer = Tracer {
        ambush: directory.join("ambush"),
        ..Tracer::default()
    };
    let found = write(&tracer.run(&directory));
    fs::write(directory.join("found"), found).unwrap();
}

/// Surfaces as text: in each line an executable, the kind of a row, a phase, and the row.
fn write(surfaces: &Surfaces) -> String {
    let mut lines = String::new();
    for (name, surface) in surfaces {
        let mut add = |kind: &str, phase: usize, rows: &BTreeSet<String>| {
            let row = |row: &String| format!("{name}\t{kind}\t{phase}\t{row}\n");
            lines.extend(rows.iter().map(row));
        };
        for (phase, calls) in surface.calls.iter().enumerate() {
            add("call", phase, calls);
        }
        for (phase, rows) in &surface.tables {
            add("table", *phase, rows);
        }
        add("file", 0, &surface.files);
        add("held", 0, &surface.held);
        add("used", 0, &surface.used);
    }
    lines
}

fn read(text: &str) -> Surfaces {
    let mut surfaces = Surfaces::new();
    for line in text.lines() {
        let mut fields = line.splitn(4, '\t');
        let mut next = || fields.next().unwrap().to_owned();
        let (name, kind, phase, row) = (next(), next(), next().parse().unwrap(), next());
        let surface = surfaces.entry(name).or_default();
        let rows = match kind.as_str() {
            "call" => surface.calls_of(phase),
            "table" => surface.tables.entry(phase).or_default(),
            "file" => &mut surface.files,
            "held" => &mut surface.held,
            _ => &mut surface.used,
        };
        rows.insert(row);
    }
    surfaces
}

/// A process.
#[derive(Debug, Clone, Default)]
struct Process {
    /// The executable's name. Empty for a program that is not of the server.
    name: String,
    /// How many filters it has installed since its exec.
    phase: usize,
    tables: Vec<Option<Filter>>,
    /// Whether it is a copy that has made no exec.
    forked: bool,
}

/// A thread.
#[derive(Debug, Default)]
struct Thread {
    process: i32,
    /// The call that it is in.
    inside: Option<Call>,
    /// Whether its first stop has come.
    known: bool,
}

#[derive(Debug, Clone)]
struct Call {
    number: i64,
    arguments: [u64; 6],
    /// The paths that it names.
    paths: Vec<PathBuf>,
    /// The program of a filter that it installs.
    program: Option<Vec<u8>>,
    /// The capability that it needs. The thread has it.
    capability: Option<&'static str>,
}

#[derive(Default)]
struct Tracer {
    processes: BTreeMap<i32, Process>,
    threads: BTreeMap<i32, Thread>,
    surfaces: Surfaces,
    /// The file that says which worker is killed.
    ambush: PathBuf,
}

impl Tracer {
    /// Runs until the server has ended.
    fn run(mut self, directory: &Path) -> Surfaces {
        let first = loop {
            let text = fs::read_to_string(directory.join("pid")).unwrap_or_default();
            if let Some(pid) = text.strip_suffix('\n') {
                break Pid::from_raw(pid.parse().unwrap());
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        let options = Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACESYSGOOD;
        // To open it for both does not wait for the shell, which this process has to let go on.
        let mut go = File::options()
            .read(true)
            .write(true)
            .open(directory.join("go"))
            .unwrap();
        ptrace::seize(first, options).unwrap();
        ptrace::interrupt(first).unwrap();
        let mut begun = false;
        loop {
            match waitpid(None, Some(WaitPidFlag::__WALL)) {
                // Nothing is left.
                Err(Errno::ECHILD) => return self.surfaces,
                Err(Errno::EINTR) => {}
                Err(error) => panic!("{error}"),
                Ok(status) => self.stopped(&status),
            }
            if !begun {
                go.write_all(b"\n").unwrap();
                begun = true;
            }
        }
    }

    fn stopped(&mut self, status: &WaitStatus) {
        let pid = status.pid().unwrap();
        let mut signal = None;
        match status {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                if let Some(thread) = self.threads.remove(&pid.as_raw()) {
                    if thread.process == pid.as_raw() {
                        self.processes.remove(&thread.process);
                    }
                }
                return;
            }
            WaitStatus::PtraceSyscall(_) => self.at_call(pid),
            WaitStatus::Stopped(_, other) => signal = Some(*other),
            _ => self.meet(pid.as_raw()),
        }
        // It may have been killed.
        let _ = ptrace::syscall(pid, signal);
    }

    /// A thread is seen for the first time.
    fn meet(&mut self, tid: i32) {
        if self.threads.contains_key(&tid) {
            return;
        }
        let status = fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
        let field = |name: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            value.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        let (process, parent) = (field("Tgid"), field("PPid"));
        let thread = Thread {
            process,
            ..Thread::default()
        };
        self.threads.insert(tid, thread);
        if !self.processes.contains_key(&process) {
            let mut copy = self.processes.get(&parent).cloned().unwrap_or_default();
            copy.forked = true;
            self.processes.insert(process, copy);
        }
    }

    /// A thread is at the beginning or at the end of a call.
    fn at_call(&mut self, pid: Pid) {
        let tid = pid.as_raw();
        self.meet(tid);
        let Ok(registers) = ptrace::getregs(pid) else {
            return;
        };
        let result = registers.rax as i64;
        let thread = self.threads.get_mut(&tid).unwrap();
        let process = thread.process;
        if let Some(call) = thread.inside.take() {
            self.ended(tid, process, call, result);
            return;
        }
        // A new thread comes out of the call that made it.
        let begins = thread.known || result == -i64::from(libc::ENOSYS);
        thread.known = true;
        if begins {
            let registers = [
                registers.rdi,
                registers.rsi,
                registers.rdx,
                registers.r10,
                registers.r8,
                registers.r9,
                registers.orig_rax,
            ];
            self.begins(tid, process, registers);
        }
    }

    fn begins(&mut self, tid: i32, process: i32, registers: [u64; 7]) {
        let [arguments @ .., number] = registers;
        let number = number as i64;
        let call = Call {
            number,
            arguments,
            paths: paths(tid, number, arguments),
            program: (number == libc::SYS_seccomp).then(|| program(tid, arguments[2])),
            capability: needed(tid, process, number, arguments)
                .filter(|needed| capabilities(tid).contains(needed)),
        };
        self.threads.get_mut(&tid).unwrap().inside = Some(call);
        let process_now = &self.processes[&process];
        if process_now.name.is_empty() {
            return;
        }
        let name = names::call(number);
        let surface = self.surfaces.entry(process_now.name.clone()).or_default();
        let phase = process_now.phase;
        let table = process_now.tables.last().and_then(Option::as_ref);
        let row = table.map_or_else(
            || name.clone(),
            |table| {
                let row = table.permits(number, arguments);
                row.unwrap_or_else(|| format!("{name}: not permitted"))
            },
        );
        surface.calls_of(phase).insert(row);
        if process_now.name == "popward-worker" && number == libc::SYS_pwrite64 {
            self.spring(Pid::from_raw(process));
        }
    }

    /// Kills the worker at its call, if it is the one that was chosen.
    fn spring(&self, worker: Pid) {
        let Ok(left) = fs::read_to_string(&self.ambush) else {
            return;
        };
        match left.parse::<u32>().unwrap() {
            1 => {
                fs::remove_file(&self.ambush).unwrap();
                kill(worker, Signal::SIGKILL).unwrap();
            }
            left => fs::write(&self.ambush, (left - 1).to_string()).unwrap(),
        }
    }

    fn ended(&mut self, tid: i32, number: i32, call: Call, result: i64) {
        if result < 0 {
            return;
        }
        if call.number == libc::SYS_execve {
            let executable = fs::read_link(format!("/proc/{tid}/exe")).unwrap_or_default();
            let name = executable.file_name().unwrap_or_default().to_string_lossy();
            let of_server = name.starts_with("popward");
            let name = if of_server {
                name.into_owned()
            } else {
                String::new()
            };
            let process = Process {
                name,
                ..Process::default()
            };
            self.processes.insert(number, process);
            return;
        }
        let process = self.processes.get_mut(&number).unwrap();
        if process.name.is_empty() {
            return;
        }
        let surface = self.surfaces.entry(process.name.clone()).or_default();
        if let Some(program) = call.program {
            process.phase += 1;
            let before = process.tables.last().and_then(Option::as_ref);
            let table = Filter::of(&program, before);
            if let Some(table) = &table {
                let rows = surface.tables.entry(process.phase).or_default();
                rows.extend(table.rows());
            }
            process.tables.push(table);
        }
        surface
            .files
            .extend(done(tid, call.number, call.arguments, &call.paths, result));
        if call.number == libc::SYS_capset && !process.forked {
            surface.held = capabilities(tid).into_iter().map(str::to_owned).collect();
        }
        if let Some(capability) = call.capability {
            let how = format!("{capability} by {}", names::call(call.number));
            surface.used.insert(how);
        }
    }
}

/// Which arguments of a call are paths, each with the argument that names its directory.
fn places(number: i64) -> &'static [(Option<usize>, usize)] {
    match number {
        libc::SYS_mkdir | libc::SYS_rmdir | libc::SYS_unlink | libc::SYS_chroot => &[(None, 0)],
        libc::SYS_creat | libc::SYS_chown | libc::SYS_chmod => &[(None, 0)],
        libc::SYS_rename | libc::SYS_link => &[(None, 0), (None, 1)],
        libc::SYS_mkdirat | libc::SYS_unlinkat | libc::SYS_fchownat => &[(Some(0), 1)],
        libc::SYS_renameat | libc::SYS_renameat2 | libc::SYS_linkat => {
            &[(Some(0), 1), (Some(2), 3)]
        }
        _ => &[],
    }
}

/// The paths that a call names.
fn paths(tid: i32, number: i64, arguments: [u64; 6]) -> Vec<PathBuf> {
    let path = |(directory, at): &(Option<usize>, usize)| {
        let text = memory(tid, arguments[*at], 4096);
        let end = text
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(text.len());
        let text = String::from_utf8_lossy(&text[..end]).into_owned();
        let base = match directory.map(|at| arguments[at] as i32) {
            None | Some(libc::AT_FDCWD) => format!("/proc/{tid}/cwd"),
            Some(directory) => format!("/proc/{tid}/fd/{directory}"),
        };
        fs::read_link(base).unwrap_or_default().join(text)
    };
    places(number).iter().map(path).collect()
}

/// What a call that has succeeded did to files.
fn done(
    tid: i32,
    number: i64,
    arguments: [u64; 6],
    paths: &[PathBuf],
    result: i64,
) -> Option<String> {
    let flags = match number {
        libc::SYS_open => arguments[1] as i32,
        libc::SYS_openat => arguments[2] as i32,
        _ if paths.is_empty() => return None,
        _ => {
            let paths: Vec<_> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            return Some(format!("{} {}", names::call(number), paths.join(" ")));
        }
    };
    let path = fs::read_link(format!("/proc/{tid}/fd/{result}")).ok()?;
    let how = match flags & libc::O_ACCMODE {
        _ if flags & libc::O_PATH != 0 => "names",
        libc::O_RDONLY => "reads",
        libc::O_WRONLY => "writes",
        _ => "reads and writes",
    };
    Some(format!("{how} {}", path.display()))
}

/// The capability that a call needs, if it needs one.
fn needed(tid: i32, process: i32, number: i64, arguments: [u64; 6]) -> Option<&'static str> {
    let of_other = |pid: i32| pid != process && owner(pid) != owner(tid);
    match number {
        libc::SYS_setuid | libc::SYS_setresuid => Some("SETUID"),
        libc::SYS_setgid | libc::SYS_setresgid | libc::SYS_setgroups => Some("SETGID"),
        libc::SYS_chroot => Some("SYS_CHROOT"),
        libc::SYS_chown | libc::SYS_fchown | libc::SYS_fchownat => Some("CHOWN"),
        libc::SYS_kill if of_other(arguments[0] as i32) => Some("KILL"),
        libc::SYS_pidfd_send_signal if of_other(behind(tid, arguments[0])) => Some("KILL"),
        libc::SYS_prctl if arguments[0] == libc::PR_CAPBSET_DROP as u64 => Some("SETPCAP"),
        libc::SYS_seccomp if !no_new_privs(tid) => Some("SYS_ADMIN"),
        _ => None,
    }
}

/// The process of a descriptor that pidfd_open(2) gave.
fn behind(tid: i32, descriptor: u64) -> i32 {
    let text = fs::read_to_string(format!("/proc/{tid}/fdinfo/{descriptor}")).unwrap_or_default();
    let mut lines = text.lines();
    let pid = lines.find_map(|line| line.strip_prefix("Pid:"));
    pid.and_then(|pid| pid.trim().parse().ok()).unwrap_or(0)
}

fn field(pid: i32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    value.unwrap_or_default().to_owned()
}

fn owner(pid: i32) -> String {
    field(pid, "Uid")
}

fn no_new_privs(pid: i32) -> bool {
    field(pid, "NoNewPrivs") == "1"
}

/// The capabilities that a thread has, as far as they have names here.
fn capabilities(tid: i32) -> Vec<&'static str> {
    let set = u64::from_str_radix(&field(tid, "CapEff"), 16).unwrap_or(0);
    let held = CAPABILITIES
        .iter()
        .filter(|(number, _)| set & (1 << number) != 0);
    held.map(|(_, name)| *name).collect()
}

/// Up to `length` bytes of a thread's memory.
fn memory(tid: i32, at: u64, length: usize) -> Vec<u8> {
    let Ok(file) = File::open(format!("/proc/{tid}/mem")) else {
        return Vec::new();
    };
    let mut bytes = vec![0; length];
    let mut got = 0;
    // A path may lie at the end of the memory.
    while got < length {
        let room = (length - got).min(4096 - ((at as usize + got) % 4096));
        match file.read_at(&mut bytes[got..got + room], at + got as u64) {
            Ok(read) if read > 0 => got += read,
            _ => break,
        }
    }
    bytes.truncate(got);
    bytes
}

/// The program of a filter (`struct sock_fprog`).
fn program(tid: i32, at: u64) -> Vec<u8> {
    let head = memory(tid, at, 16);
    let count = head
        .get(..2)
        .map_or(0, |two| u16::from_ne_bytes([two[0], two[1]]));
    let pointer = head
        .get(8..16)
        .map_or(0, |all| u64::from_ne_bytes(all.try_into().unwrap()));
    memory(tid, pointer, usize::from(count) * 8)
}
