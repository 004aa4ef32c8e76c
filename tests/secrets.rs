//! After a login no password and no hash is left in auth's memory.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_err, assert_ok, root, skipped, spool, user};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long auth may take after its answer to wipe what it used.
const WIPED: Duration = Duration::from_secs(2);

/// The readable and writable parts of a process's memory, with their names.
fn writable(pid: i32) -> Vec<(u64, u64, String)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let parts = maps.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next()?, fields.next()?);
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let name = fields.nth(3).unwrap_or("no name").to_owned();
        rights
            .starts_with("rw")
            .then_some((number(start)?, number(end)?, name))
    });
    parts.collect()
}

/// The names of the parts of a process's memory in which each of `texts` stands.
fn found(pid: i32, texts: &[String]) -> Vec<(String, String)> {
    const CHUNK: usize = 1 << 20;
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let longest = texts.iter().map(String::len).max().unwrap();
    let mut found = Vec::new();
    let mut bytes = vec![0; CHUNK + longest];
    for (start, end, name) in writable(pid) {
        for at in (start..end).step_by(CHUNK) {
            let length = bytes.len().min((end - at) as usize);
            // A part that is gone, or that has no memory behind it.
            let Ok(read) = memory.read_at(&mut bytes[..length], at) else {
                continue;
            };
            for text in texts {
                if memchr::memmem::find(&bytes[..read], text.as_bytes()).is_some() {
                    found.push((text.clone(), name.clone()));
                }
            }
        }
    }
    found
}

/// The hash that a line of the password file has for this password.
fn argon2(host: &Host, password: &str) -> String {
    let command = format!(
        "printf %s {password} | {} secret --scheme ARGON2ID",
        host.at("libexec/popward").display()
    );
    let made = Command::new("sh").args(["-c", &command]).output().unwrap();
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// The last characters of a hash. No other text of the process has them.
fn end(hash: &str) -> String {
    hash[hash.len() - 24..].to_owned()
}

#[test]
fn p1_auth_keeps_no_password_and_no_hash_after_a_login() {
    if !root() {
        return skipped("the memory of other processes is shown to root");
    }
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let auth = host.children("popward-auth")[0];
    if File::open(format!("/proc/{auth}/mem")).is_err() {
        return skipped("the memory of other processes is shown with CAP_SYS_PTRACE");
    }
    let crypt = "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.";
    let digest = "{SSHA512}R5SXJYOzIzdgnnGLGOJGID6slvd/S2XMb9gkrjCmhVYh1QlgaQgpY8pLUEpJhgzsa1mHjOyIEVF6HFfmGYUj8TEyMzQ=";
    let argon2 = argon2(&host, "argon2-password-of-bob");
    let ids = "64401:64401::/nonexistent";
    let lines = format!(
        "alice:{{PLAIN}}plain-password-of-alice:{ids}\nbob:{argon2}:{ids}\ncarol:{crypt}:{ids}\ndave:{digest}:{ids}\n"
    );
    fs::write(host.at("users"), lines).unwrap();
    assert_ok(&host.answer("alice", "plain-password-of-alice"));
    host.answer("bob", "argon2-password-of-bob");
    for name in ["alice", "bob", "carol", "dave", "nobody"] {
        assert_err(&host.answer(name, "wrong-password-of-somebody"));
    }
    let secrets = [
        "plain-password-of-alice",
        "argon2-password-of-bob",
        "wrong-password-of-somebody",
    ];
    let mut secrets = secrets.map(str::to_owned).to_vec();
    secrets.extend([&argon2, crypt, digest].map(|hash: &str| end(hash)));
    // The search finds what is there: names are no secrets, and the log has them.
    assert!(!found(auth, &["nobody".to_owned()]).is_empty());
    let until = Instant::now() + WIPED;
    loop {
        let left = found(auth, &secrets);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "left in auth's memory: {left:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
