//! Spools in home directories. A user can own such a directory, link it elsewhere or mount a file
//! system of their own there. So only processes of this user look into it.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, User, assert_ok, root, skipped, spool, until, user};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn two() -> [User; 2] {
    [
        user("alice", 64401, &spool(3)),
        user("bob", 64402, &spool(3)),
    ]
}

/// A host whose users have their spools at home, as `mbox`.
fn at_home(users: &[User]) -> Host {
    let host = Host::with(users, "", &[("path = \"", "path = \"{home}/mbox\" # \"")]);
    let mut table = std::fs::read_to_string(host.at("users")).unwrap();
    for user in users {
        let home = home(&host, user.name);
        std::fs::create_dir_all(&home).unwrap();
        std::fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).unwrap();
        let owner = std::fs::metadata(host.spool(user.name)).unwrap();
        chown(&home, Some(owner.uid()), Some(owner.gid())).unwrap();
        std::fs::rename(host.spool(user.name), home.join("mbox")).unwrap();
        let line = table
            .lines()
            .find(|line| line.starts_with(&format!("{}:", user.name)));
        let line = line.unwrap().to_owned();
        table = table.replace(&line, &line.replace("/nonexistent", home.to_str().unwrap()));
    }
    std::fs::write(host.at("users"), table).unwrap();
    host
}

fn home(host: &Host, user: &str) -> PathBuf {
    host.at(&format!("home-{user}"))
}

fn lock(host: &Host, user: &str) -> PathBuf {
    home(host, user).join("mbox.lock")
}

fn kill_worker(host: &Host) {
    let workers = host.children("popward-worker");
    assert_eq!(workers.len(), 1);
    kill(Pid::from_raw(workers[0]), Signal::SIGKILL).unwrap();
}

#[test]
fn p2_the_dotlock_of_a_killed_worker_is_removed_at_home_too() {
    let host = at_home(&two()[..1]);
    let _client = host.login("alice");
    assert!(lock(&host, "alice").exists());
    kill_worker(&host);
    until("the dotlock goes", || !lock(&host, "alice").exists());
    assert!(host.login("alice").ask("STAT").starts_with("+OK 3 "));
}

#[test]
fn p2_another_programs_dotlock_at_home_stays() {
    let host = at_home(&two()[..1]);
    let _client = host.login("alice");
    std::fs::remove_file(lock(&host, "alice")).unwrap();
    std::fs::write(lock(&host, "alice"), "1:elsewhere").unwrap();
    kill_worker(&host);
    host.logged("why=");
    until("no process is left", || {
        host.children("popward-worker").is_empty()
    });
    let text = std::fs::read_to_string(lock(&host, "alice")).unwrap();
    assert_eq!(text, "1:elsewhere");
}

/// A file system in the place of a directory, which answers nothing until this is dropped.
struct Hung {
    holder: Child,
    place: PathBuf,
}

impl Hung {
    /// `None`: this system mounts no such file system.
    fn over(place: &Path) -> Option<Self> {
        let script = "exec 9<>/dev/fuse && mount -i -t fuse \
                      -o fd=9,rootmode=40000,user_id=0,group_id=0,allow_other hung \"$0\" \
                      && echo mounted && cat";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(place);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut line = String::new();
        let mut from = BufReader::new(holder.stdout.take().unwrap());
        from.read_line(&mut line).unwrap();
        let place = place.to_owned();
        let hung = Self { holder, place };
        (line == "mounted\n").then_some(hung)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // The kernel ends what waits for the file system once nobody has its device open.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.place).status();
    }
}

#[test]
fn p1_a_home_that_hangs_delays_nobody_else() {
    if !root() {
        skipped("a file system that hangs");
        return;
    }
    let host = at_home(&two());
    let _client = host.login("alice");
    let Some(hung) = Hung::over(&home(&host, "alice")) else {
        skipped("a file system that hangs: FUSE cannot be mounted here");
        return;
    };
    kill_worker(&host);
    until("a process of alice's waits for her home", || {
        let ended = host.log().contains("process died process=worker");
        ended && host.children("popward-worker").len() == 1
    });
    // If the monitor waited for it, nobody could log in.
    let began = Instant::now();
    let mut bob = host.login("bob");
    assert_ok(&bob.ask("QUIT"));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(!lock(&host, "bob").exists());
    // The process gives up by itself.
    host.logged("of=SIGALRM");
    until("the process ends", || {
        host.children("popward-worker").is_empty()
    });
    drop(hung);
    assert!(lock(&host, "alice").exists());
    assert!(host.login("alice").ask("STAT").starts_with("+OK 3 "));
}
