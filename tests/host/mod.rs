//! A throw-away mail host: popward's real executables, users with spools of their own, and a client
//! that sends exactly what a test wants. Dropping the host removes everything that it made.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::missing_panics_doc,
    reason = "each test uses a part; a test may fail"
)]

mod client;
pub mod wire;

pub use client::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The longest wait for anything before a test gives up. It only ends a hang.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The group of the spool directory, as `mail` is on Debian.
pub const MAIL: u32 = 64300;

/// The front's user id under root.
pub const FRONT: u32 = 64301;
/// Auth's user id under root.
pub const AUTH: u32 = 64302;
/// The user id of keys under root.
pub const KEYS: u32 = 64303;
/// The user id of programs and of the parsers of tokens and certificates under root.
pub const PROGRAM: u32 = 64306;
/// The user id of PAM under root.
pub const PAM: u32 = 64307;

/// The configuration's lines for these users. Without root there are none.
pub fn accounts() -> String {
    if !root() {
        return String::new();
    }
    format!(
        "[accounts]\nfront = {FRONT}\nauth = {AUTH}\nkeys = {KEYS}\nprogram = {PROGRAM}\npam = {PAM}\n"
    )
}

/// Whether this test runs as root. Otherwise all processes run as this user.
pub fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Prints that a test, or a part of one, was skipped. The test runner does not hold the line back.
pub fn skipped(why: &str) {
    let line = format!("skipped: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Whether mpop binds the mechanism `how` to the TLS channel. Newer versions do (1.4.21 does,
/// 1.4.18 does not). Over TLS they must name it with `-plus`. Without `-plus` they say to the
/// server that it has no channel binding, and a server that has one must refuse that (RFC 5802, 6).
pub fn mpop_binds(how: &str) -> bool {
    let version = Command::new("mpop").arg("--version").output();
    version.is_ok_and(|output| {
        let bound = format!("{how}-plus");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().any(|word| word == bound)
    })
}

/// Whether Dovecot is 2.4 or later. Its settings have other names than those of 2.3.
pub fn dovecot_has_new_settings() -> bool {
    let version = Command::new("dovecot").arg("--version").output();
    version.is_ok_and(|output| !output.stdout.starts_with(b"2.3"))
}

/// A user with a spool. The password is the name.
#[derive(Clone)]
pub struct User {
    pub name: &'static str,
    pub uid: u32,
    pub spool: Option<Vec<u8>>,
}

/// The user `name` with the spool `spool`. Under root the user has the id `uid`.
pub fn user(name: &'static str, uid: u32, spool: &[u8]) -> User {
    let own = nix::unistd::geteuid().as_raw();
    User {
        name,
        uid: if root() { uid } else { own },
        spool: Some(spool.to_vec()),
    }
}

/// A message as it lies in a spool, with its From_ line and the separator.
pub fn message(number: u32, body: &str) -> String {
    format!(
        "From sender{number}@example.org Mon Nov 23 10:00:{:02} 2026\nFrom: <sender{number}@example.org>\nMessage-ID: <{number}@example.org>\nSubject: message {number}\n\n{body}\n\n",
        number % 60
    )
}

/// Message `number` of [`spool`], with dots, a quoted From_ line and 8-bit text in it.
fn varied(number: u32) -> String {
    message(
        number,
        &format!("Body of {number}.\n.\n..dots\n>From me\nGrüße"),
    )
}

/// A spool of `count` messages.
pub fn spool(count: u32) -> Vec<u8> {
    spool_of(1..=count)
}

/// A spool of the messages with these numbers.
pub fn spool_of(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    numbers
        .into_iter()
        .map(varied)
        .collect::<String>()
        .into_bytes()
}

/// A spool of one message that is too large for any socket's buffers.
pub fn large_spool() -> Vec<u8> {
    let line = "A line of text that is sent and not read by the client.\n";
    message(1, &line.repeat(500_000)).into_bytes()
}

/// What RETR sends of message `number` of [`spool`], with LF line ends.
pub fn retrieved(number: u32) -> String {
    let message = varied(number);
    let start = message.find('\n').unwrap() + 1;
    message[start..message.len() - 1].to_owned()
}

#[derive(Default)]
struct Lines {
    lines: Mutex<Vec<String>>,
    more: Condvar,
    /// Whether the server has closed its end. There will be no more lines.
    ended: AtomicBool,
}

/// The mail host.
pub struct Host {
    pub directory: tempfile::TempDir,
    pub plain: u16,
    pub tls: u16,
    server: Child,
    log: Arc<Lines>,
    began: Instant,
}

/// A port that was free a moment ago. It lies below the ports that the kernel gives to connections,
/// because a client of another test could take one of those before the server does. Test processes
/// begin at different ports: by their ids, and by their process id namespaces, because namespaces
/// share ids and may share the network.
fn free_port() -> u16 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let namespace = std::fs::metadata("/proc/self/ns/pid").map_or(0, |file| file.ino());
    let first = u64::from(std::process::id()) * 100 + namespace * 7_050;
    let mut tried = (0..20_000).map(|_| {
        let next = first + NEXT.fetch_add(1, Ordering::SeqCst);
        12_000 + (next % 20_000) as u16
    });
    tried
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

/// Where the executables are: in `$POPWARD_EXECUTABLES`, or where cargo put the workspace's.
pub fn built() -> PathBuf {
    if let Some(given) = std::env::var_os("POPWARD_EXECUTABLES") {
        return given.into();
    }
    let own = std::env::current_exe().unwrap();
    let directory = own.parent().unwrap().parent().unwrap().to_owned();
    let monitor = directory.join("popward");
    assert!(monitor.exists(), "cargo build --workspace first");
    directory
}

/// Puts the executables where only their owner can read and write them, and all can execute them.
pub fn install(into: &Path) {
    std::fs::create_dir(into).unwrap();
    for name in include_str!("../../packaging/executables").lines() {
        let (from, to) = (built().join(name), into.join(name));
        if std::fs::hard_link(&from, &to).is_err() {
            // `cp` copies, not this process. A child that another thread starts meanwhile inherits
            // a file that is open for writing, and the kernel executes no file that is open for
            // writing.
            let copied = Command::new("cp").arg(&from).arg(&to).status().unwrap();
            assert!(copied.success());
        }
        std::fs::set_permissions(&to, PermissionsExt::from_mode(0o711)).unwrap();
    }
    std::fs::set_permissions(into, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Makes a directory of the host with this mode.
fn make(path: &Path, mode: u32) {
    std::fs::create_dir(path).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Makes a certificate for localhost and 127.0.0.1, and its key. `kind` is what `openssl req
/// -newkey` takes.
pub fn certificate(directory: &Path, kind: &[&str]) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext"])
        .args(["subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext"])
        .args(["basicConstraints=critical,CA:FALSE", "-newkey"])
        .args(kind)
        .arg("-keyout")
        .arg(directory.join("key.pem"))
        .arg("-out")
        .arg(directory.join("cert.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "openssl req");
}

/// The kind of key that a host has by default.
pub const P256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

impl Host {
    /// Starts a host with these users.
    pub fn start(users: &[User]) -> Self {
        Self::with(users, "", &[])
    }

    /// Starts a host. `more` is added to the configuration. Each of `changes` replaces its first
    /// text by its second one.
    pub fn with(users: &[User], more: &str, changes: &[(&str, &str)]) -> Self {
        Self::by(Command::new, users, more, changes)
    }

    /// As [`Host::with`], but `start` makes the server's command from the executable's path.
    pub fn by(
        start: impl Fn(PathBuf) -> Command,
        users: &[User],
        more: &str,
        changes: &[(&str, &str)],
    ) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("popward-test")
            .tempdir()
            .unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o711)).unwrap();
        install(&at("libexec"));
        make(&at("state"), 0o755);
        make(&at("run"), 0o755);
        make(&at("mail"), 0o755);
        if root() {
            chown(at("mail"), Some(0), Some(MAIL)).unwrap();
            std::fs::set_permissions(at("mail"), PermissionsExt::from_mode(0o2775)).unwrap();
        }
        certificate(directory.path(), P256);
        write_users(directory.path(), users);
        let (plain, tls) = (free_port(), free_port());
        let mut config = configuration(directory.path(), plain, tls, more);
        for (line, other) in changes {
            assert!(config.contains(line), "{line:?} in {config}");
            config = config.replace(line, other);
        }
        std::fs::write(at("popward.toml"), config).unwrap();
        let mode = PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(at("popward.toml"), mode).unwrap();
        let (server, log) = run(start(directory.path().join(SERVER)), directory.path());
        let host = Self {
            directory,
            plain,
            tls,
            server,
            log,
            began: Instant::now(),
        };
        host.logged("ready version=");
        host
    }

    /// Starts a host whose only user has the spool in the home directory, as `mbox`. Returns the
    /// spool's path, too.
    pub fn with_home(user: &User) -> (Self, PathBuf) {
        let changes = [("path = \"", "path = \"{home}/mbox\" # \"")];
        let host = Self::with(std::slice::from_ref(user), "", &changes);
        let home = host.at("home");
        make(&home, 0o700);
        let owner = std::fs::metadata(host.spool(user.name)).unwrap();
        chown(&home, Some(owner.uid()), Some(owner.gid())).unwrap();
        let mbox = home.join("mbox");
        std::fs::rename(host.spool(user.name), &mbox).unwrap();
        let users = std::fs::read_to_string(host.at("users")).unwrap();
        let users = users.replace("/nonexistent", home.to_str().unwrap());
        std::fs::write(host.at("users"), users).unwrap();
        (host, mbox)
    }

    /// The path of a file of the host.
    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The spool's path.
    pub fn spool(&self, user: &str) -> PathBuf {
        self.at("mail").join(user)
    }

    /// The spool's bytes.
    pub fn bytes(&self, user: &str) -> Vec<u8> {
        std::fs::read(self.spool(user)).unwrap()
    }

    /// The process id of the server's first process, the supervisor.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.server.id()).unwrap()
    }

    /// Signals the supervisor.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// The process ids of the server's processes that run this executable, the oldest first.
    pub fn children(&self, executable: &str) -> Vec<i32> {
        let below = descendants(self.pid()).into_iter();
        let runs = |pid: &i32| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
            name.is_ok_and(|name| name.split('\0').next() == Some(executable))
        };
        below.filter(runs).collect()
    }

    /// The process id of the monitor, if there is one.
    pub fn monitor(&self) -> i32 {
        self.only("popward-monitor")
    }

    /// The process id of the monitor's sessions, if there is one monitor.
    pub fn sessions(&self) -> i32 {
        self.only("popward-sessions")
    }

    fn only(&self, executable: &str) -> i32 {
        // A child has its parent's name until its exec.
        let mut found = Vec::new();
        until(&format!("there is one {executable}"), || {
            found = self.children(executable);
            found.len() == 1
        });
        found[0]
    }

    /// Waits for a log line with `text` in it, and returns the first one.
    pub fn logged(&self, text: &str) -> String {
        self.logged_times(text, 1)
    }

    /// Waits for the `times`th log line with `text` in it, and returns it.
    pub fn logged_times(&self, text: &str, times: usize) -> String {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            let mut found = lines.iter().filter(|line| line.contains(text));
            if let Some(line) = found.nth(times - 1) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.log.ended.load(Ordering::SeqCst) {
                // A panic with the lock held would keep `drop` from showing the log.
                drop(lines);
                panic!("{text:?} not logged");
            }
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// All log lines so far.
    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap().join("\n")
    }

    /// Asserts that the log has this line at most once a minute for each of `causes`, and at least
    /// once.
    #[track_caller]
    pub fn assert_rate_limited(&self, text: &str, causes: usize) {
        let times = self.log().matches(text).count();
        let minutes = usize::try_from(self.began.elapsed().as_secs() / 60).unwrap();
        let most = causes * (1 + minutes);
        assert!((causes..=most).contains(&times), "{times} times {text:?}");
    }

    /// A connection that has read popward's own greeting.
    pub fn connect(&self) -> Client {
        let mut client = Client::new(self.plain);
        assert_eq!(client.line(), "+OK popward ready");
        client
    }

    /// A connection that has read its greeting, whatever its text is.
    pub fn connect_any(&self) -> Client {
        let mut client = Client::new(self.plain);
        assert_ok(&client.line());
        client
    }

    /// A session of `user`.
    pub fn login(&self, user: &str) -> Client {
        let mut client = self.connect();
        assert_ok(&client.ask(&format!("USER {user}")));
        assert_ok(&client.ask(&format!("PASS {user}")));
        client
    }

    /// What PASS is answered in a login on a connection of its own.
    pub fn answer(&self, user: &str, secret: &str) -> String {
        let mut client = self.connect_any();
        assert_ok(&client.ask(&format!("USER {user}")));
        client.ask(&format!("PASS {secret}"))
    }

    /// Starts the server again, after it was killed and its children have ended.
    pub fn start_again(&mut self) {
        wait(&mut self.server);
        let own = self.at("libexec").into_os_string().into_string().unwrap();
        until("the children of the server that was killed end", || {
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            let mut executables =
                processes.filter_map(|entry| std::fs::read_link(entry.path().join("exe")).ok());
            !executables.any(|path| path.starts_with(&own))
        });
        (self.server, self.log) = run(Command::new(self.at(SERVER)), self.directory.path());
        self.logged("ready version=");
    }

    /// `popward reload` with these options.
    pub fn reload(&self, options: &[&str]) -> std::process::Output {
        let mut popward = Command::new(self.at(SERVER));
        popward.arg("reload").args(options);
        popward
            .env_remove("MAINPID")
            .env("RUNTIME_DIRECTORY", self.at("run"));
        popward.output().unwrap()
    }

    /// Ends the server in order and returns its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        wait(&mut self.server).code()
    }
}

/// Writes the password file and the spools of these users.
fn write_users(directory: &Path, users: &[User]) {
    let mut lines = String::new();
    for user in users {
        let gid = if root() {
            user.uid
        } else {
            nix::unistd::getegid().as_raw()
        };
        lines += &format!(
            "{0}:{{PLAIN}}{0}:{1}:{gid}::/nonexistent\n",
            user.name, user.uid
        );
        if let Some(bytes) = &user.spool {
            let path = directory.join("mail").join(user.name);
            std::fs::write(&path, bytes).unwrap();
            chown(&path, Some(user.uid), Some(gid)).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        }
    }
    let file = directory.join("users");
    std::fs::write(&file, lines).unwrap();
    for_auth(&file);
}

/// Gives a file the mode and the group with which auth can read it, and nobody but its owner write
/// it.
pub fn for_auth(file: &Path) {
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o640)).unwrap();
    if root() {
        chown(file, Some(0), Some(AUTH)).unwrap();
    }
}

/// The configuration of a host with these ports. `more` comes at its end.
fn configuration(directory: &Path, plain: u16, tls: u16, more: &str) -> String {
    let accounts = accounts();
    let group = if root() {
        format!("group = {MAIL}\n")
    } else {
        String::new()
    };
    let base = directory.display();
    let config = format!(
        "[server]\nlibexec = \"{base}/libexec\"\nstate = \"{base}/state\"\nshutdown_grace = \"5s\"\n{accounts}\n\
         [[listen]]\naddress = \"127.0.0.1:{plain}\"\n[[listen]]\naddress = \"127.0.0.1:{tls}\"\ntls = true\n\
         [[certificate]]\nchain = \"{base}/cert.pem\"\nkey = \"{base}/key.pem\"\n\
         [auth]\npasswd_file = \"{base}/users\"\nfailure_delay = \"200ms\"\nfirst_uid = 1\n\
         [spool]\npath = \"{base}/mail/{{user}}\"\n{group}lock_timeout = \"2s\"\n{more}"
    );
    if root() {
        return config;
    }
    let uid = nix::unistd::geteuid();
    let own = format!("first_uid = {uid}\nlast_uid = {uid}\n");
    config.replace("first_uid = 1\n", &own)
}

/// Where the server's executable is in a host's directory.
const SERVER: &str = "libexec/popward";

fn run(mut command: Command, directory: &Path) -> (Child, Arc<Lines>) {
    let mut server = command
        .arg("--config")
        .arg(directory.join("popward.toml"))
        .env("RUNTIME_DIRECTORY", directory.join("run"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Arc::new(Lines::default());
    let (lines, from) = (Arc::clone(&log), server.stderr.take().unwrap());
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            lines.lines.lock().unwrap().push(line);
            lines.more.notify_all();
        }
        let last = lines.lines.lock().unwrap();
        lines.ended.store(true, Ordering::SeqCst);
        drop(last);
        lines.more.notify_all();
    });
    (server, log)
}

/// The children of a process, and theirs. One that ends meanwhile may be missing.
pub fn descendants(pid: i32) -> Vec<i32> {
    let list = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(list).unwrap_or_default();
    let children = list.split_whitespace().filter_map(|pid| pid.parse().ok());
    let with_theirs = |child| [vec![child], descendants(child)].concat();
    children.flat_map(with_theirs).collect()
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < until, "the server does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- log\n{}\n---", self.log());
        }
        if self.server.try_wait().ok().flatten().is_none() {
            self.signal(Signal::SIGTERM);
            let until = Instant::now() + Duration::from_secs(15);
            while self.server.try_wait().ok().flatten().is_none() {
                if Instant::now() >= until {
                    let _ = self.server.kill();
                    let _ = self.server.wait();
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Whether a process has ended, reaped or not.
pub fn is_dead(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    state.map_or(true, |state| state.contains(") Z "))
}

/// Kills the workers, the monitor and the supervisor, and waits until they are dead.
pub fn crash(host: &Host) {
    // Those that are stopped cannot see that others end.
    let parents = [host.sessions(), host.monitor(), host.pid()];
    for parent in parents {
        kill(Pid::from_raw(parent), Signal::SIGSTOP).unwrap();
    }
    let mut pids = host.children("popward-worker");
    pids.extend(parents);
    for pid in &pids {
        // A worker may have ended already.
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    until("they are dead", || pids.iter().all(|pid| is_dead(*pid)));
}

/// Waits until `done` is true. Looks every 5 ms.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `done` is true. Looks without a pause, for what lasts only some milliseconds.
pub fn at_once(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::yield_now();
    }
}

/// A process's resident memory in KiB. It fails if the process has ended.
pub fn resident(pid: i32) -> u64 {
    kibibytes(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// A process's proportional set size in KiB. It fails if the process has ended.
pub fn pss(pid: i32) -> u64 {
    kibibytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn kibibytes(file: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A file's length. The last step of an update changes a spool's.
pub fn length(path: &Path) -> usize {
    usize::try_from(std::fs::metadata(path).unwrap().len()).unwrap()
}

/// Asserts that a reply is positive.
#[track_caller]
pub fn assert_ok(reply: &str) {
    assert!(reply.starts_with("+OK"), "{reply:?}");
}

/// Asserts that a reply is negative.
#[track_caller]
pub fn assert_err(reply: &str) {
    assert!(reply.starts_with("-ERR"), "{reply:?}");
}
