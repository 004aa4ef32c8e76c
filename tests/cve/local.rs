//! Local users want other users' files. They own their spool, their home and their state directory.

use super::host::{Host, assert_ok, message, root, skipped, spool, until, user};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

fn two() -> Host {
    Host::start(&[
        user("alice", 64401, &spool(2)),
        user("bob", 64402, &spool(3)),
    ])
}

/// A file of root's that nobody else may read.
fn secret(host: &Host) -> std::path::PathBuf {
    let path = host.at("secret");
    fs::write(&path, message(1, "a secret")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    path
}

/// A user can replace the own spool by a link to another user's file or to root's, by a directory,
/// or by a pipe that nobody writes to.
#[test]
fn a_spool_that_is_not_the_users_own_file_is_refused_and_unchanged() {
    if !root() {
        return skipped("other users' files");
    }
    let host = two();
    let own = host.spool("alice");
    let secret = secret(&host);
    let owned = |path: &Path| {
        let _ = nix::unistd::chown(path, Some(64401.into()), Some(64401.into()));
    };
    let another = host.at("another");
    fs::write(&another, spool(1)).unwrap();
    owned(&another);
    let makes: [(&str, &dyn Fn()); 7] = [
        ("a link to a file of hers", &|| {
            symlink(&another, &own).unwrap();
        }),
        ("a link to bob's", &|| {
            symlink(host.spool("bob"), &own).unwrap()
        }),
        ("a link to root's", &|| symlink(&secret, &own).unwrap()),
        ("a second name of bob's", &|| {
            fs::hard_link(host.spool("bob"), &own).unwrap()
        }),
        ("a file of bob's", &|| {
            fs::write(&own, spool(1)).unwrap();
            chown(&own, Some(64402), Some(64402)).unwrap();
        }),
        ("a directory", &|| {
            fs::create_dir(&own).unwrap();
            owned(&own);
        }),
        ("a pipe", &|| {
            nix::unistd::mkfifo(&own, nix::sys::stat::Mode::S_IRWXU).unwrap();
            owned(&own);
        }),
    ];
    for (what, make) in makes {
        let _ = fs::remove_file(&own).or_else(|_| fs::remove_dir(&own));
        make();
        let answer = host.answer("alice", "alice");
        assert!(answer.starts_with("-ERR [SYS/"), "{what}: {answer}");
    }
    assert_eq!(host.bytes("bob"), spool(3));
    assert_eq!(fs::read(secret).unwrap(), message(1, "a secret").as_bytes());
    // A second name for the own spool. Somebody could keep deleted mail by it.
    fs::remove_file(&own).unwrap();
    fs::write(&own, spool(2)).unwrap();
    owned(&own);
    fs::hard_link(&own, host.at("mail/other-name")).unwrap();
    assert!(host.answer("alice", "alice").starts_with("-ERR [SYS/PERM]"));
    assert_eq!(fs::read(&own).unwrap(), spool(2));
}

/// Dovecot with `mail_extra_groups`, and Qpopper, followed a link in the place of the dotlock or of
/// a temporary file. They did so with rights that the link's maker did not have.
#[test]
fn a_link_in_the_dotlocks_place_is_not_followed() {
    let host = two();
    let (victim, nothing) = (secret(&host), host.at("nothing"));
    for target in [&victim, &nothing] {
        for name in ["alice.lock", ".alice.pop", ".alice.cache"] {
            symlink(target, host.at("mail").join(name)).unwrap();
        }
        let answer = host.answer("alice", "alice");
        assert!(answer.starts_with("-ERR [IN-USE]"), "{answer}");
        assert!(!nothing.exists(), "made through the link");
        assert_eq!(
            fs::read(&victim).unwrap(),
            message(1, "a secret").as_bytes()
        );
        for name in ["alice.lock", ".alice.pop", ".alice.cache"] {
            let link = host.at("mail").join(name);
            assert!(link.is_symlink(), "{name} is as it was");
            fs::remove_file(link).unwrap();
        }
    }
    assert_ok(&host.login("alice").ask("QUIT"));
}

/// Somebody else made something at the state directory's place first.
#[test]
fn a_state_directory_that_is_not_the_users_own_is_refused() {
    if !root() {
        return skipped("other users' files");
    }
    let host = two();
    let state = host.at("state/alice");
    let elsewhere = host.at("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    chown(&elsewhere, Some(64401), Some(64401)).unwrap();
    let makes: [(&str, &dyn Fn()); 4] = [
        ("a link to a directory of hers", &|| {
            symlink(&elsewhere, &state).unwrap()
        }),
        ("a directory of bob's", &|| {
            fs::create_dir(&state).unwrap();
            chown(&state, Some(64402), Some(64402)).unwrap();
        }),
        ("one that others can write", &|| {
            fs::create_dir(&state).unwrap();
            chown(&state, Some(64401), Some(64401)).unwrap();
            fs::set_permissions(&state, PermissionsExt::from_mode(0o777)).unwrap();
        }),
        ("a file", &|| fs::write(&state, b"").unwrap()),
    ];
    for (what, make) in makes {
        make();
        let answer = host.answer("alice", "alice");
        assert!(answer.starts_with("-ERR [SYS/"), "{what}: {answer}");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "{what}");
        let _ = fs::remove_file(&state).or_else(|_| fs::remove_dir(&state));
    }
    assert_eq!(host.bytes("alice"), spool(2));
    assert_ok(&host.login("alice").ask("QUIT"));
}

/// Qpopper read users' option files as root. It opened or wrote what they named, and a long value
/// overflowed a buffer.
#[test]
fn files_of_users_are_not_read_as_configuration() {
    let host = two();
    let home = host.at("home");
    fs::create_dir(&home).unwrap();
    let traced = host.at("traced");
    let options = format!(
        "set tracefile = {}\nset bulldir = {}\nset server-mode\n",
        traced.display(),
        "b".repeat(5000)
    );
    let accounts = fs::read_to_string(host.at("users")).unwrap();
    fs::write(
        host.at("users"),
        accounts.replace("/nonexistent", home.to_str().unwrap()),
    )
    .unwrap();
    for name in [
        ".qpopper-options",
        ".popbull",
        ".popward",
        ".popward.toml",
        ".pop3rc",
    ] {
        // A pipe: whoever opens it to read waits for ever.
        nix::unistd::mkfifo(&home.join(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    fs::write(host.at("mail/.alice.qpopper-options"), &options).unwrap();
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("QUIT"));
    assert!(!traced.exists());
    assert_eq!(
        fs::read_to_string(host.at("mail/.alice.qpopper-options")).unwrap(),
        options
    );
}

/// Qpopper made files under whatever umask it was started with.
#[test]
fn new_files_are_accessible_to_their_owner_alone() {
    let mut host = two();
    // Started again, under a umask that takes no permission away.
    host.stop();
    // A process inherits its umask, so a shell sets it.
    let server = std::process::Command::new("/bin/sh")
        .args(["-c", "umask 0; exec \"$0\" --config \"$1\""])
        .arg(host.at("libexec/popward"))
        .arg(host.at("popward.toml"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Server(server);
    until("it listens", || {
        std::net::TcpStream::connect(("127.0.0.1", host.plain)).is_ok()
    });
    let mut client = host.login("alice");
    let modes = |directory: &Path| -> Vec<(String, u32)> {
        let entries = fs::read_dir(directory).unwrap().flatten();
        let mode = |entry: fs::DirEntry| {
            let status = fs::symlink_metadata(entry.path()).unwrap();
            (
                entry.file_name().into_string().unwrap(),
                status.mode() & 0o7777,
            )
        };
        entries.map(mode).collect()
    };
    assert_ok(&client.ask("DELE 1"));
    let locked = modes(&host.at("mail"));
    assert!(
        locked
            .iter()
            .any(|(name, mode)| name == "alice.lock" && mode & 0o022 == 0),
        "{locked:?}"
    );
    assert_ok(&client.ask("QUIT"));
    assert_eq!(
        fs::metadata(host.at("state/alice")).unwrap().mode() & 0o7777,
        0o700
    );
    let made = modes(&host.at("state/alice"));
    assert!(
        !made.is_empty() && made.iter().all(|(_, mode)| mode & 0o077 == 0),
        "{made:?}"
    );
    assert_eq!(
        fs::metadata(host.spool("alice")).unwrap().mode() & 0o7777,
        0o600
    );
    server.end();
}

/// A server that a test started by itself. Dropping it ends the server.
struct Server(std::process::Child);

impl Server {
    fn end(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.0.try_wait().ok().flatten().is_none() {
            self.end();
        }
    }
}
