//! A bad configuration names file and line, says what was expected, and nothing starts.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, install, root, spool, until, user};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Runs `popward --check` on `text`, asserts that it fails, and returns what it says.
fn refused(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    install(&directory.path().join("libexec"));
    let file = directory.path().join("popward.toml");
    let text = text.replace("@", directory.path().to_str().unwrap());
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let output = Command::new(directory.path().join("libexec/popward"))
        .args(["--check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_bad_configuration_names_file_line_and_what_was_expected() {
    let table = [
        ("nonsense", 1, "expected"),
        ("[server]\nlibexec = 7\n", 2, "expected a text in quotes"),
        ("[server]\nfrobnicate = true\n", 2, "frobnicate"),
        (
            "[server]\nlibexec = \"@/libexec\"\n[[listen]]\naddress = \"nowhere\"\n",
            4,
            "expected",
        ),
        ("[spool]\npath = \"relative/{user}\"\n", 2, "expected"),
        (
            "[spool]\nlocks = [\"dotlock\", \"wishful\"]\n",
            2,
            "expected",
        ),
        (
            "[auth]\nsource = \"rot13\"\n",
            2,
            "expected \"passwd-file\", \"pam\" or \"checkpassword\"",
        ),
        ("[log]\nlevel = \"loud\"\n", 2, "expected"),
    ];
    let accounts = host::accounts();
    for (text, line, expected) in table {
        let auth = if text.contains("[auth]") {
            ""
        } else {
            "[auth]\npasswd_file = \"@/popward.toml\"\n"
        };
        let error = refused(&format!("{text}{accounts}{auth}"));
        assert!(
            error.contains(&format!("popward.toml:{line}")),
            "{text:?}: {error}"
        );
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn an_executable_that_others_can_write_is_not_started() {
    if !root() {
        host::skipped("executables are checked under root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let libexec = directory.path().join("libexec");
    install(&libexec);
    // A copy, because all hosts share the original by hard links.
    let worker = libexec.join("popward-worker");
    std::fs::remove_file(&worker).unwrap();
    std::fs::write(&worker, "").unwrap();
    std::fs::set_permissions(&worker, PermissionsExt::from_mode(0o757)).unwrap();
    let file = directory.path().join("popward.toml");
    let text = format!(
        "[server]\nlibexec = \"{}\"\n{}[auth]\npasswd_file = \"{}\"\n",
        libexec.display(),
        host::accounts(),
        file.display()
    );
    std::fs::write(&file, text).unwrap();
    let output = Command::new(libexec.join("popward"))
        .args(["--check", "--config"])
        .arg(&file)
        .output();
    let output = output.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && error.contains("popward-worker"),
        "{error}"
    );
}

#[test]
fn a_good_configuration_is_checked_without_starting_anything() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let output = Command::new(host.at("libexec/popward"))
        .args(["--check", "--config"])
        .arg(host.at("popward.toml"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_configuration_that_auth_cannot_use_changes_nothing() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let good = std::fs::read_to_string(host.at("popward.toml")).unwrap();
    let announced = || {
        host.connect_any()
            .multi("CAPA")
            .contains("\nLOGIN-DELAY 3600\n")
    };
    let reload = |changes: &str| {
        let text = good.replace("[auth]\n", &format!("[auth]\n{changes}\n"));
        std::fs::write(host.at("popward.toml"), text).unwrap();
        host.signal(nix::sys::signal::Signal::SIGHUP);
    };
    // The monitor does not read the list. Only auth sees what is in it.
    let list = host.at("deny");
    std::fs::write(&list, "../alice\n").unwrap();
    std::fs::set_permissions(&list, PermissionsExt::from_mode(0o644)).unwrap();
    reload(&format!(
        "login_delay = \"3600s\"\ndeny_file = \"{}\"",
        list.display()
    ));
    let error = host.logged("configuration not reloaded");
    assert!(error.contains("line 1: expected a name"), "{error}");
    assert!(!announced(), "what is announced is what is kept");
    reload("login_delay = \"3600s\"");
    host.logged("configuration reloaded");
    until("it is announced", announced);
    host.login("alice");
    let mut again = host.connect_any();
    assert!(again.ask("USER alice").starts_with("+OK"));
    assert!(again.ask("PASS alice").starts_with("-ERR [LOGIN-DELAY]"));
    assert!(!host.log().contains("broke the rules"));
}

#[test]
fn a_reload_names_the_settings_that_need_a_restart() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let good = std::fs::read_to_string(host.at("popward.toml")).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = free.local_addr().unwrap().port();
    drop(free);
    let mut reloads = 0;
    let mut reload = |text: &str| {
        std::fs::write(host.at("popward.toml"), text).unwrap();
        host.signal(nix::sys::signal::Signal::SIGHUP);
        reloads += 1;
        host.logged_times("configuration reloaded", reloads);
    };
    let said = || host.log().matches("are read at the start only").count();
    let plain = format!("127.0.0.1:{}\"\n", host.plain);
    let elsewhere = format!("127.0.0.1:{other}\"\n");
    for (times, was, is) in [
        (1, "/state\"\n", "/other\"\n"),
        (2, plain.as_str(), elsewhere.as_str()),
    ] {
        let text = good.replace(was, is);
        assert_ne!(text, good);
        reload(&text);
        assert_eq!(said(), times, "{}", host.log());
        host.login("alice").ask("QUIT");
    }
    assert!(!host.at("other").exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", other)).is_err());
    reload(&good);
    assert_eq!(said(), 2, "what is as it was needs no restart");
}

#[test]
fn a_reload_changes_the_number_of_fronts_and_their_user() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let good = std::fs::read_to_string(host.at("popward.toml")).unwrap();
    let mut text = good.replace("[server]\n", "[server]\nfronts = 2\n");
    if root() {
        text = text.replace("front = 64301\n", "front = 64304\n");
    }
    std::fs::write(host.at("popward.toml"), text).unwrap();
    let first = host.children("popward-front");
    host.signal(nix::sys::signal::Signal::SIGHUP);
    host.logged("configuration reloaded");
    until("two other fronts are left", || {
        let now = host.children("popward-front");
        now.len() == 2 && now.iter().all(|front| !first.contains(front))
    });
    for front in host.children("popward-front").iter().filter(|_| root()) {
        let status = std::fs::read_to_string(format!("/proc/{front}/status")).unwrap();
        assert!(status.contains("\nUid:\t64304\t"), "{status}");
    }
    host.login("alice").ask("QUIT");
    assert!(!host.log().contains("are read at the start only"));
}

/// The kernel reports which process opens each file of the configuration.
#[test]
fn p1_supervisor_and_monitor_open_none_of_the_configurations_files() {
    use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
    let mut host = Host::start(&[user("alice", 64401, &spool(1))]);
    let flags = InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_NONBLOCK;
    let Ok(openings) = Fanotify::init(flags, EventFFlags::O_RDONLY) else {
        return host::skipped("openings of files are told to root with CAP_SYS_ADMIN");
    };
    std::fs::copy(host.at("cert.pem"), host.at("ca.pem")).unwrap();
    let text = std::fs::read_to_string(host.at("popward.toml")).unwrap();
    let more = format!("[tls]\nclient_ca = \"{}\"\n", host.at("ca.pem").display());
    std::fs::write(host.at("popward.toml"), text + &more).unwrap();
    let files = ["popward.toml", "cert.pem", "key.pem", "ca.pem", "users"];
    for file in files {
        let path = host.at(file);
        let mark = MarkFlags::FAN_MARK_ADD;
        let here = nix::fcntl::AT_FDCWD;
        let marked = openings.mark(mark, MaskFlags::FAN_OPEN, here, Some(&path));
        marked.unwrap();
    }
    // The file, and the process that opened it.
    let opened = || -> Vec<(String, i32)> {
        let events = openings.read_events().unwrap_or_default();
        let events = events.iter().map(|event| {
            let link = format!("/proc/self/fd/{}", event.fd().unwrap().as_raw_fd());
            let path = std::fs::read_link(link).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            (name.to_owned(), event.pid())
        });
        events.collect()
    };
    assert_eq!(host.stop(), Some(0));
    for reload in [false, true] {
        opened();
        if reload {
            host.signal(nix::sys::signal::Signal::SIGHUP);
            host.logged("configuration reloaded");
            drop(host.login("alice"));
        } else {
            host.start_again();
        }
        let opened = opened();
        for file in files {
            let by: Vec<i32> = opened
                .iter()
                .filter(|(name, _)| name == file)
                .map(|(_, pid)| *pid)
                .collect();
            for root in [host.pid(), host.monitor(), host.sessions()] {
                assert!(!by.contains(&root), "{file}, reload: {reload}");
            }
            // Auth reads this one, at a login.
            let expected = reload || file != "users";
            assert!(!expected || !by.is_empty(), "{file} is watched");
        }
    }
}

/// Changes the file of a running host and runs `--check`. Returns the exit status and the text on
/// standard error.
fn check(host: &Host, was: &str, is: &str) -> (Option<i32>, String) {
    let file = host.at("popward.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let text = good.replace(was, is);
    assert!(was == is || text != good, "{was}");
    std::fs::write(&file, text).unwrap();
    let output = Command::new(host.at("libexec/popward"))
        .args(["--check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    std::fs::write(&file, good).unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Another process of `nobody` could trace the process that looks up names, which runs as `nobody`,
/// before that process forbids it.
#[test]
fn executables_that_everybody_can_read_are_warned_of() {
    if !root() {
        return host::skipped("executables are checked under root");
    }
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    assert_eq!(checked(&host), (Some(0), String::new()));
    for name in ["popward-config", "popward-worker"] {
        // A copy, because all hosts share the original by hard links.
        let (path, copy) = (host.at("libexec").join(name), host.at("copy"));
        std::fs::copy(&path, &copy).unwrap();
        mode(&copy, 0o755);
        std::fs::rename(&copy, &path).unwrap();
        let (status, said) = checked(&host);
        let expected = "server.libexec: everybody can read these executables: chmod 0711 ";
        assert!(
            said.contains(expected) && said.contains(path.to_str().unwrap()),
            "{said}"
        );
        assert_eq!(status, Some(0), "the server starts all the same");
        mode(&path, 0o711);
        assert_eq!(checked(&host), (Some(0), String::new()));
    }
}

/// Opening a FIFO waits for a writer. After 30 s there was an error without a file's name.
#[test]
fn a_key_or_a_chain_that_is_a_fifo_is_refused_and_named() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    for name in ["key.pem", "cert.pem"] {
        let (path, kept) = (host.at(name), host.at("kept"));
        std::fs::rename(&path, &kept).unwrap();
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let (status, said) = checked(&host);
        let expected = format!("expected a regular file: {}", path.display());
        assert!(said.contains(&expected), "{said}");
        assert_eq!(status, Some(78));
        std::fs::rename(&kept, &path).unwrap();
    }
}

/// A name in a file of auth's could move the cursor of the operator's terminal.
#[test]
fn what_auth_says_is_escaped_for_the_terminal() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let users = std::fs::read_to_string(host.at("users")).unwrap();
    let other = host.at("users\u{1b}[31m");
    std::fs::write(&other, users + "bob:{WISHFUL}x:::::\n").unwrap();
    host::for_auth(&other);
    let (status, said) = check(&host, "/users\"", "/users\\u001b[31m\"");
    assert!(said.contains("users\\u{1b}[31m:2: expected"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
    assert_eq!(status, Some(0));
}

/// Runs `--check` on the file as it is.
fn checked(host: &Host) -> (Option<i32>, String) {
    check(host, "", "")
}

fn mode(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_missing_file_is_said_to_be_missing_with_its_path() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let (status, said) = check(&host, "/users\"", "/no-users\"");
    let expected = format!(
        "auth.passwd_file: expected a file: {}: No such file or directory",
        host.at("no-users").display()
    );
    assert!(said.contains(&expected), "{said}");
    assert_eq!(status, Some(78));
    let (_, said) = check(&host, "passwd_file = \"", "passwd_file = \"relative");
    assert!(
        said.contains("expected the absolute path of a file, not relative/"),
        "{said}"
    );
}

#[test]
fn a_key_that_everybody_can_read_is_refused_and_a_password_file_warned_of() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    assert_eq!(checked(&host), (Some(0), String::new()));
    mode(&host.at("key.pem"), 0o644);
    let (status, said) = checked(&host);
    let expected = "key.pem: expected a file that is not open to everybody, not one of mode 0644";
    assert!(
        said.contains("popward.toml:") && said.contains(expected),
        "{said}"
    );
    assert_eq!(status, Some(78));
    host.signal(nix::sys::signal::Signal::SIGHUP);
    assert!(host.logged("configuration not reloaded").contains(expected));
    // A group that may read the file is permitted.
    mode(&host.at("key.pem"), 0o640);
    mode(&host.at("users"), 0o644);
    let (status, said) = checked(&host);
    let expected = "users has mode 0644: everybody can read the hashes, chmod 0640";
    assert!(
        said.contains("warning: ") && said.contains(expected),
        "{said}"
    );
    assert_eq!(status, Some(0));
    host.signal(nix::sys::signal::Signal::SIGHUP);
    assert!(host.logged("configuration warning").contains(expected));
    host.logged("configuration reloaded");
}

#[test]
fn a_bad_line_of_the_password_file_is_named_by_its_number() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let users = std::fs::read_to_string(host.at("users")).unwrap();
    let lines = "# comment\n\nbob:{WISHFUL}x:::::\ncarol:{PLAIN}c:many:1::/:\n/:{PLAIN}x::::::\n";
    std::fs::write(host.at("users"), users + lines).unwrap();
    let (status, said) = checked(&host);
    for line in [4, 5, 6] {
        let place = format!("{}:{line}: expected", host.at("users").display());
        assert!(said.contains(&place), "{place}: {said}");
    }
    assert!(
        !said.contains("users:1: ") && !said.contains("users:3: "),
        "{said}"
    );
    assert_eq!(status, Some(0), "the others can log in");
    host.signal(nix::sys::signal::Signal::SIGHUP);
    host.logged_times("a line of the password file lets nobody in", 3);
    std::fs::write(host.at("users"), "x:y:z\n".repeat(12)).unwrap();
    let (_, said) = checked(&host);
    assert!(
        said.contains("more lines of the password file let nobody in: 2"),
        "{said}"
    );
}

#[test]
fn a_password_file_that_auth_cannot_read_is_found() {
    if !root() {
        return host::skipped("files of other users: it takes root");
    }
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    std::os::unix::fs::chown(host.at("users"), Some(0), Some(0)).unwrap();
    let (status, said) = checked(&host);
    assert!(said.contains("as auth's user: Permission denied"), "{said}");
    assert_eq!(status, Some(78));
}

#[test]
fn a_spool_directory_that_is_not_there_is_warned_of() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let (status, said) = check(&host, "/mail/{user}", "/maill/{user}");
    let expected = format!("spool.path: {}: No such file", host.at("maill").display());
    assert!(
        said.contains("warning: ") && said.contains(&expected),
        "{said}"
    );
    assert_eq!(status, Some(0), "it may be mounted later");
}

#[test]
fn help_is_no_error() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    for words in [
        &["--help"][..],
        &["secret", "--help"],
        &["spool", "--help"],
        &["import-popauth", "--help"],
        &["reload", "--help"],
    ] {
        let output = Command::new(host.at("libexec/popward"))
            .args(words)
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{words:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("usage: popward"), "{words:?}: {text}");
        assert!(output.stderr.is_empty(), "{words:?}");
    }
}

/// Runs a command of popward on the host's configuration. Returns what it prints.
fn printed(host: &Host, words: &[&str]) -> String {
    let output = Command::new(host.at("libexec/popward"))
        .args(words)
        .arg("--config")
        .arg(host.at("popward.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn popward_config_prints_a_configuration_that_the_server_can_use() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let all = printed(&host, &["config"]);
    let changed = printed(&host, &["config", "-n"]);
    assert!(all.contains("\nfailure_delay = \""), "{all}");
    assert!(all.contains("\nsession = \"4h\"\n"), "{all}");
    assert!(!changed.contains("session = "), "{changed}");
    assert!(all.contains("\nunauthenticated = "), "{all}");
    assert!(!changed.contains("unauthenticated = "), "{changed}");
    assert!(changed.contains("[[certificate]]\n"), "{changed}");
    for (reloads, text) in [&all, &changed].into_iter().enumerate() {
        std::fs::write(host.at("popward.toml"), text).unwrap();
        assert_eq!(printed(&host, &["config"]), all);
        host.signal(nix::sys::signal::Signal::SIGHUP);
        host.logged_times("configuration reloaded", reloads + 1);
        host.login("alice").ask("QUIT");
    }
    assert_eq!(printed(&host, &["config", "-n"]), changed);
    assert!(!host.log().contains("are read at the start only"));
}

#[test]
fn popward_config_names_mistakes_as_a_check_does() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let file = host.at("popward.toml");
    std::fs::write(&file, "[limits]\nidle = 10\n").unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new(host.at("libexec/popward"));
        let output = command.args(words).arg(&file).output().unwrap();
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let (status, said) = run(&["config", "--config"]);
    assert!(
        said.contains("popward.toml:2: limits.idle: expected a time"),
        "{said}"
    );
    assert_eq!((status, said), run(&["--check", "--config"]));
    assert_eq!(status, Some(78));
    let (status, said) = run(&["config", "-m"]);
    assert!(
        said.contains("\"-m\": no such option\nusage: popward config"),
        "{said}"
    );
    assert_eq!(status, Some(1));
    assert!(!said.contains("\u{1b}"));
}

#[test]
fn files_in_the_directory_beside_the_configuration_count() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let directory = host.at("popward.toml.d");
    std::fs::create_dir(&directory).unwrap();
    mode(&directory, 0o755);
    let write = |name: &str, text: &str| {
        std::fs::write(directory.join(name), text).unwrap();
        mode(&directory.join(name), 0o644);
    };
    write("delay.toml", "[auth]\nlogin_delay = \"1h\"\n");
    assert!(printed(&host, &["config", "-n"]).contains("\nlogin_delay = \"1h\"\n"));
    host.signal(nix::sys::signal::Signal::SIGHUP);
    host.logged("configuration reloaded");
    let capabilities = host.connect_any().multi("CAPA");
    assert!(
        capabilities.contains("\nLOGIN-DELAY 3600\n"),
        "{capabilities}"
    );
    write("other.toml", "\nauth.login_delay = \"2h\"\n");
    let (first, second) = (directory.join("delay.toml"), directory.join("other.toml"));
    let twice = format!(
        "{}:2: auth.login_delay: expected it in one file, but {}:2 has it too",
        second.display(),
        first.display()
    );
    let (status, said) = checked(&host);
    assert!(said.contains(&twice), "{said}");
    assert_eq!(status, Some(78));
    host.signal(nix::sys::signal::Signal::SIGHUP);
    let error = host.logged("configuration not reloaded");
    assert!(error.contains(&twice), "{error}");
    std::fs::remove_file(second).unwrap();
    let mut host = host;
    host.stop();
    host.start_again();
    let capabilities = host.connect_any().multi("CAPA");
    assert!(
        capabilities.contains("\nLOGIN-DELAY 3600\n"),
        "{capabilities}"
    );
}

#[test]
fn a_check_tells_what_the_host_gives() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let text = printed(&host, &["--check"]);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("this host gives:"));
    let (spools, state) = (host.at("mail"), host.at("state"));
    for expected in [
        "  kernel: ".to_owned()
            + std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap()
                .trim(),
        "  Landlock: version ".to_owned(),
        "  security modules: ".to_owned(),
        "  domain of popward-config: ".to_owned(),
        format!("  spools: {} on ", spools.display()),
        format!("  journals: {} on ", state.display()),
    ] {
        let line = lines.next().unwrap();
        assert!(line.starts_with(&expected), "{expected}: {text}");
    }
    assert!(text.contains("; locks dotlock, fcntl, flock\n"), "{text}");
    assert!(
        text.contains("; room for ") && text.contains(" MiB in "),
        "{text}"
    );
    assert_eq!(lines.next(), None);
}

#[test]
fn a_check_warns_of_an_address_that_another_program_has() {
    let mut host = Host::start(&[user("alice", 64401, &spool(1))]);
    assert_eq!(
        checked(&host),
        (Some(0), String::new()),
        "the server has it"
    );
    let output = Command::new(host.at("libexec/popward"))
        .args(["--check", "--config"])
        .arg(host.at("libexec/../popward.toml"))
        .output()
        .unwrap();
    assert_eq!(output.stderr, b"", "the server has it, by another path");
    host.stop();
    assert_eq!(checked(&host), (Some(0), String::new()), "it is free");
    let other = std::net::TcpListener::bind(("127.0.0.1", host.plain)).unwrap();
    let warning = format!(
        "popward: warning: listen.address: 127.0.0.1:{}: another program listens there, so a start would fail\n",
        host.plain
    );
    assert_eq!(checked(&host), (Some(0), warning));
    drop(other);
}

/// Before, the check took Ctrl-C for the end of a server in its start and exited with 0, or waited
/// for the end of its time. The tool at its end inherited the blocked signals.
#[test]
fn ctrl_c_ends_a_check() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let config = host.at("libexec/popward-config");
    let script = |text: String| {
        std::fs::remove_file(&config).unwrap();
        std::fs::write(&config, text).unwrap();
        mode(&config, 0o755);
    };
    let real = host.at("libexec/popward-config-real");
    std::fs::rename(&config, &real).unwrap();
    std::fs::write(&config, "").unwrap();
    let (said, real) = (host.at("said"), real.display().to_string());
    let path = said.display();
    script(format!(
        "#!/bin/sh\n[ \"$1\" = host ] || exec {real} \"$@\"\ngrep SigBlk /proc/self/status >{path}\n"
    ));
    assert_eq!(checked(&host), (Some(0), String::new()));
    let blocked = std::fs::read_to_string(&said).unwrap();
    assert_eq!(blocked.trim(), "SigBlk:\t0000000000000000");
    // It says nothing until the check has ended.
    std::fs::remove_file(&said).unwrap();
    script(format!(
        "#!/bin/sh\necho >{path}\nexec cat <&3 >/dev/null\n"
    ));
    let mut check = Command::new(host.at("libexec/popward"))
        .args(["--check", "--config"])
        .arg(host.at("popward.toml"))
        .spawn()
        .unwrap();
    until("popward-config runs", || said.exists());
    let id = nix::unistd::Pid::from_raw(check.id().try_into().unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).unwrap();
    let status = check.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(2)
    );
}
