//! The programs that share spools with popward, as Debian ships them. And a model of one spool:
//! what these programs and popward's clients have done to it, and so what must be in it at any
//! time.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    reason = "a test may fail"
)]

pub mod agents;
pub mod model;
pub mod postfix;
pub mod readers;

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The group of Debian's spool directory.
pub const MAIL: u32 = 8;

/// Prints a line. The test runner does not hold it back.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Where a program is.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/lib/dovecot".into()])
        .map(|directory| directory.join(program))
        .find(|path| path.exists())
}

/// How a program ended.
pub struct Ended {
    /// The exit code. `None` if a signal ended it, also this test's own after too long a time.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    pub output: String,
    pub took: Duration,
}

/// Runs a program to its end. It has its own process group, which is killed if it takes longer than
/// `limit`.
pub fn run(command: &mut Command, input: &str, limit: Duration) -> Ended {
    let started = Instant::now();
    let output = tempfile::tempfile().unwrap();
    let mut child = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(output.try_clone().unwrap())
        .stderr(output.try_clone().unwrap())
        .spawn()
        .unwrap();
    // The input fits into a pipe. A program may end without reading it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > limit {
            kill_group(child.id());
            break child.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut bytes = vec![0; output.metadata().unwrap().len() as usize];
    std::os::unix::fs::FileExt::read_exact_at(&output, &mut bytes, 0).unwrap();
    Ended {
        code: status.code(),
        signal: status.signal(),
        output: String::from_utf8_lossy(&bytes).into_owned(),
        took: started.elapsed(),
    }
}

/// Kills a child of this process, and its children that stayed in its process group.
pub fn kill_group(leader: u32) {
    let group = nix::unistd::Pid::from_raw(leader.try_into().unwrap());
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
}

/// A program as a user of the host, without this process's environment. `group` lets it make
/// dotlocks.
pub fn as_user(program: &Path, user: &Account, group: u32, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .uid(user.uid)
        .gid(group)
        .current_dir(home)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", home)
        .env("USER", user.name)
        .env("LOGNAME", user.name)
        .env("TERM", "vt100");
    command
}

/// A user that every Debian has. The programs look their user up in the system's list.
#[derive(Clone, Copy)]
pub struct Account {
    pub name: &'static str,
    pub uid: u32,
    pub gid: u32,
}

/// The users whose spools are used. Postfix has two others: see there.
pub fn accounts() -> Vec<Account> {
    ["games", "lp", "proxy", "backup", "list", "irc"]
        .into_iter()
        .filter_map(|name| {
            let found = nix::unistd::User::from_name(name).unwrap()?;
            Some(Account {
                name,
                uid: found.uid.as_raw(),
                gid: found.gid.as_raw(),
            })
        })
        .collect()
}

/// Random numbers that a seed repeats (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn pause(&mut self, milliseconds: usize) {
        std::thread::sleep(Duration::from_millis(self.below(milliseconds) as u64));
    }
}
