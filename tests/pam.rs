//! PAM, with a service of this test's own. Its module runs a script. The account is one of the
//! system.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{AUTH, Host, PAM, PROGRAM, assert_ok, skipped, spool, until, user};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

/// The id of `games`, a user of every Debian system. `auth.first_uid` is 1 here, so `games` may log
/// in.
const GAMES: u32 = 5;

/// The service's file. Dropping it removes the file.
struct Service(PathBuf);

impl Service {
    fn new(name: &str, auth: &str, account: &str) -> Self {
        let path = PathBuf::from("/etc/pam.d").join(name);
        std::fs::write(
            &path,
            format!(
                "auth [success=done default=ignore] {auth}\nauth required pam_deny.so\naccount required {account}\n"
            ),
        )
        .unwrap();
        Self(path)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A host whose auth uses the service `name`. The service's script accepts the password `right`
/// after `seconds`.
fn host(
    name: &str,
    account: &str,
    seconds: &str,
    auth: &str,
) -> Option<(Service, Host, tempfile::TempDir)> {
    let modules = ["/lib", "/usr/lib", "/usr/lib64"].iter().any(|root| {
        let machine =
            PathBuf::from(root).join(format!("{}-linux-gnu/security", std::env::consts::ARCH));
        machine.join("pam_exec.so").exists()
            || PathBuf::from(root).join("security/pam_exec.so").exists()
    });
    if !host::root() || !modules {
        skipped("a PAM service: it takes root and libpam-modules");
        return None;
    }
    let scripts = tempfile::tempdir().unwrap();
    std::fs::set_permissions(scripts.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let script = scripts.path().join("check");
    let text = format!(
        "#!/bin/sh\nread -r secret\nsleep {seconds}\n[ \"$PAM_RHOST $PAM_SERVICE $secret\" = \"127.0.0.1 {name} right\" ]\n"
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let service = Service::new(
        name,
        &format!("pam_exec.so expose_authtok quiet {}", script.display()),
        account,
    );
    let users = [user("games", GAMES, &spool(2))];
    let changes = [(
        "[auth]\n",
        format!("[auth]\nsource = \"pam\"\npam_service = \"{name}\"\n{auth}\n"),
    )];
    let changes: Vec<_> = changes
        .iter()
        .map(|(from, to)| (*from, to.as_str()))
        .collect();
    Some((service, Host::with(&users, "", &changes), scripts))
}

#[test]
fn pam_lets_in_a_user_of_the_system() {
    let Some((_service, host, _scripts)) = host("popward-test-a", "pam_permit.so", "0", "") else {
        return;
    };
    assert_ok(&host.answer("games", "right"));
    let wrong = host.answer("games", "wrong");
    assert!(wrong.starts_with("-ERR [AUTH]"), "{wrong}");
    assert_eq!(host.answer("nobody-of-that-name", "right"), wrong, "P9");
    assert_eq!(host.answer("root", "right"), wrong, "root never logs in");
    assert!(!host.log().contains("right"), "a secret in the log");
    until("no conversation is left", || conversations(&host) == 0);
}

/// The guards of PAM conversations. The monitor has started them.
fn guards(host: &Host) -> Vec<i32> {
    // Between its clone and its exec, a child of the monitor has the monitor's name.
    let monitors = host.children("popward-monitor");
    let all = host.children("popward-auth-pam").into_iter();
    all.filter(|pid| parent(*pid).is_some_and(|parent| monitors.contains(&parent)))
        .collect()
}

fn parent(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("PPid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// How many PAM conversations run.
fn conversations(host: &Host) -> usize {
    guards(host).len()
}

/// Whether a process has this command line.
fn runs(words: &[&str]) -> bool {
    let line = words.iter().flat_map(|word| [word.as_bytes(), b"\0"]);
    let line = line.collect::<Vec<_>>().concat();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|found| found == line)
}

#[test]
fn pams_account_phase_can_refuse_a_login() {
    let Some((_service, host, _scripts)) = host("popward-test-b", "pam_deny.so", "0", "") else {
        return;
    };
    assert!(host.answer("games", "right").starts_with("-ERR [AUTH]"));
    assert!(host.logged("refused").contains("account:"));
}

#[test]
fn stuck_conversations_are_bounded_in_number_and_time() {
    let auth = "conversation_limit = \"3s\"\nconversations = 2";
    let Some((_service, host, _scripts)) = host("popward-test-c", "pam_permit.so", "617", auth)
    else {
        return;
    };
    let mut stuck: Vec<_> = (0..2)
        .map(|_| {
            let mut client = host.connect();
            assert_ok(&client.ask("USER games"));
            client.send(b"PASS right\r\n");
            client
        })
        .collect();
    until("both are held", || conversations(&host) == 2);
    let third = host.answer("games", "right");
    assert!(third.starts_with("-ERR [SYS/TEMP]"), "{third}");
    for client in &mut stuck {
        let late = client.line();
        assert!(late.starts_with("-ERR [SYS/TEMP]"), "{late}");
    }
    host.logged("took too long");
    until("their processes are gone", || conversations(&host) == 0);
    // The script's own child counts as well. It left the conversation's process group.
    until("nothing is left behind", || !runs(&["sleep", "617"]));
}

#[test]
fn the_account_phase_takes_over_the_place_of_the_token_program() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "#!/bin/sh\necho games\n").unwrap();
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o755)).unwrap();
    let auth = format!(
        "conversations = 1\nmechanisms = [\"xoauth2\"]\noauth2 = {{ program = \"{}\" }}",
        token.display()
    );
    let Some((_service, host, _scripts)) = host("popward-test-d", "pam_permit.so", "0", &auth)
    else {
        return;
    };
    // The base64 text is `user=games^Aauth=Bearer t^A^A`.
    let command = "AUTH XOAUTH2 dXNlcj1nYW1lcwFhdXRoPUJlYXJlciB0AQE=";
    for _ in 0..10 {
        let mut client = host.connect();
        assert_ok(&client.ask(command));
        assert_ok(&client.ask("QUIT"));
    }
}

/// Runs `popward --check` on the host's configuration.
fn checked(host: &Host) -> (Option<i32>, String) {
    let output = std::process::Command::new(host.at("libexec/popward"))
        .args(["--check", "--config"])
        .arg(host.at("popward.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

/// pam_unix reads `/etc/shadow`. If popward-auth-pam cannot, every password would be wrong. Debian's
/// packaged service uses pam_unix by `@include`.
#[test]
fn pam_unix_without_the_group_of_the_hashes_is_refused_with_the_line_that_asks_it() {
    if !host::root() {
        return skipped("a PAM service: it takes root");
    }
    let shadow = std::fs::metadata("/etc/shadow").unwrap();
    if shadow.mode() & 0o044 != 0o040 {
        return skipped("/etc/shadow that a group can read, as on Debian");
    }
    let common = Service::new("popward-test-common", "pam_unix.so nullok", "pam_permit.so");
    let service = Service(PathBuf::from("/etc/pam.d/popward-test-e"));
    std::fs::write(&service.0, "# as packaged\n@include popward-test-common\n").unwrap();
    let mut host = Host::start(&[user("alice", 64401, &spool(1))]);
    let good = std::fs::read_to_string(host.at("popward.toml")).unwrap();
    let pam = "[auth]\nsource = \"pam\"\npam_service = \"popward-test-e\"\n";
    let with_pam = good.replace("[auth]\n", pam);
    std::fs::write(host.at("popward.toml"), &with_pam).unwrap();
    let line = with_pam
        .lines()
        .position(|line| line.contains("pam_service"))
        .unwrap()
        + 1;
    let expected = format!(
        "popward.toml:{line}: auth.pam_service: {}:1: pam_unix cannot check other users' passwords",
        common.0.display()
    );
    let (status, said) = checked(&host);
    assert!(
        said.contains(&expected) && said.contains("set accounts.pam_group"),
        "{said}"
    );
    assert_eq!(status, Some(78));
    host.signal(Signal::SIGHUP);
    assert!(
        host.logged("configuration not reloaded")
            .contains(&expected)
    );
    drop(host.login("alice"));
    // The group, or the owner of the file.
    let own = format!("pam = {PAM}\n");
    let group = format!("{own}pam_group = {}\n", shadow.gid());
    for other in [group, "pam = 0\n".to_owned()] {
        std::fs::write(host.at("popward.toml"), with_pam.replace(&own, &other)).unwrap();
        assert_eq!(checked(&host), (Some(0), String::new()), "{other}");
    }
    // A start says the same.
    std::fs::write(host.at("popward.toml"), &with_pam).unwrap();
    assert_eq!(host.stop(), Some(0));
    let output = std::process::Command::new(host.at("libexec/popward"))
        .arg("--config")
        .arg(host.at("popward.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&expected), "{said}");
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn p1_nothing_but_pam_can_run_as_root_and_users_are_not_shared() {
    if !host::root() {
        return skipped("users of several ids: it takes root");
    }
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let good = std::fs::read_to_string(host.at("popward.toml")).unwrap();
    for (from, to, expected) in [
        (
            format!("auth = {AUTH}\n"),
            "auth = 0\n".to_owned(),
            "accounts.auth: expected another user than root",
        ),
        (
            format!("program = {PROGRAM}\n"),
            "program = 0\n".to_owned(),
            "expected another user than root",
        ),
        (
            format!("program = {PROGRAM}\n"),
            format!("program = {AUTH}\n"),
            "accounts: expected different users",
        ),
    ] {
        assert!(good.contains(&from));
        std::fs::write(host.at("popward.toml"), good.replace(&from, &to)).unwrap();
        let (status, said) = checked(&host);
        assert!(said.contains(expected), "{said}");
        assert_eq!(status, Some(78));
    }
}

/// A field of `/proc/PID/status`.
fn field(pid: i32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words: Vec<&str> = line
        .unwrap()
        .trim_start_matches(':')
        .split_whitespace()
        .collect();
    words.join(" ")
}

/// With PAM, auth was root. Its child could then write every file of root's.
#[test]
fn p1_with_pam_auth_is_not_root_and_pam_writes_no_file_of_the_system() {
    let group = std::fs::metadata("/etc/shadow").unwrap().gid();
    for (own, uid) in [
        (format!("pam = {PAM}\npam_group = {group}\n"), PAM),
        ("pam = 0\n".to_owned(), 0),
    ] {
        let tried = format!("popward-test-f{uid}");
        let name = tried.as_str();
        // The script says what it could write, and lets nobody in.
        let Some((_service, mut host, scripts)) = host(name, "pam_permit.so", "0", "") else {
            return;
        };
        assert_eq!(host.stop(), Some(0));
        let text = std::fs::read_to_string(host.at("popward.toml")).unwrap();
        let changed = text.replace(&format!("pam = {PAM}\n"), &own);
        std::fs::write(host.at("popward.toml"), changed).unwrap();
        let said = tempfile::Builder::new()
            .prefix("popward-pam")
            .tempdir_in("/tmp")
            .unwrap();
        std::fs::set_permissions(said.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let shared = tempfile::Builder::new().tempdir_in("/var/lib").unwrap();
        std::fs::set_permissions(shared.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let (said_at, shared_at) = (said.path().display(), shared.path().display());
        let text = format!(
            "#!/bin/sh\nread -r secret\nexec 2>/dev/null\n\
             {{ id -u; id -G; grep ^Cap.*[1-9a-f]$ /proc/self/status | grep -v ^CapBnd\n\
             for file in /etc/passwd /etc/shadow {shared_at}/new; do (: >>$file) && echo wrote $file; done\n\
             for file in /etc/shadow; do (: <$file) && echo read $file; done\n\
             (: >/dev/zero) && echo wrote zero; echo end; }} >{said_at}/said\nsleep 619\n"
        );
        std::fs::write(scripts.path().join("check"), text).unwrap();
        host.start_again();
        let mut client = host.connect();
        assert_ok(&client.ask("USER games"));
        client.send(b"PASS right\r\n");
        until("the script waits", || runs(&["sleep", "619"]));
        let found = std::fs::read_to_string(said.path().join("said")).unwrap();
        let groups = if uid == 0 {
            "0".to_owned()
        } else {
            format!("{uid} {group}")
        };
        let expected = format!("{uid}\n{groups}\nread /etc/shadow\nend\n");
        assert_eq!(found, expected);
        let auth = host.children("popward-auth")[0];
        let ids = format!("{AUTH} {AUTH} {AUTH} {AUTH}");
        assert_eq!(field(auth, "Uid"), ids);
        assert_eq!(field(auth, "Gid"), ids);
        assert_eq!(field(auth, "Groups"), "");
        for guard in guards(&host) {
            assert_eq!(field(guard, "Uid"), format!("{uid} {uid} {uid} {uid}"));
            assert_eq!(field(guard, "CapEff"), "0000000000000000");
            assert_eq!(field(guard, "NoNewPrivs"), "1");
        }
        // At the server's end nothing is left.
        assert_eq!(host.stop(), Some(0));
        until("nothing is left behind", || !runs(&["sleep", "619"]));
    }
}

/// A module that crashes takes its own login along, and nothing else.
#[test]
fn a_conversation_that_dies_fails_its_login_and_no_other() {
    let Some((_service, host, scripts)) = host("popward-test-g", "pam_permit.so", "0", "") else {
        return;
    };
    let script = scripts.path().join("check");
    let good = std::fs::read_to_string(&script).unwrap();
    // The shell's parent is the process that runs the module. Its parent is the guard.
    let killed = "#!/bin/sh\nread -r secret\nkill -KILL $PPID\nsleep 621\n";
    std::fs::write(&script, killed).unwrap();
    let answer = host.answer("games", "right");
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    let said = host.logged("cannot check");
    assert!(said.contains("the process died: SIGKILL"), "{said}");
    until("nothing is left behind", || !runs(&["sleep", "621"]));
    // The guard dies.
    let killed = "#!/bin/sh\nread -r secret\nguard=$(sed -n 's/^PPid:.//p' /proc/$PPID/status)\nkill -KILL $guard\nsleep 3\n";
    std::fs::write(&script, killed).unwrap();
    let answer = host.answer("games", "right");
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    host.logged("process died process=auth-pam");
    std::fs::write(&script, good).unwrap();
    assert_ok(&host.answer("games", "right"));
    let auths = host.children("popward-auth");
    assert_eq!(auths.len(), 1);
    until("no conversation is left", || conversations(&host) == 0);
}

/// Auth holds the other end of each conversation.
#[test]
fn conversations_end_with_auth_and_at_a_reload_they_go_on() {
    let Some((_service, host, _scripts)) = host("popward-test-h", "pam_permit.so", "4", "") else {
        return;
    };
    let mut client = host.connect();
    assert_ok(&client.ask("USER games"));
    client.send(b"PASS right\r\n");
    until("it is held", || runs(&["sleep", "4"]));
    host.signal(Signal::SIGHUP);
    host.logged("configuration reloaded");
    assert_ok(&client.line());
    assert_ok(&client.ask("QUIT"));
    let mut client = host.connect();
    assert_ok(&client.ask("USER games"));
    client.send(b"PASS right\r\n");
    until("it is held", || runs(&["sleep", "4"]));
    for auth in host.children("popward-auth") {
        kill(Pid::from_raw(auth), Signal::SIGKILL).unwrap();
    }
    until("nothing is left behind", || !runs(&["sleep", "4"]));
    until("no conversation is left", || {
        host.children("popward-auth-pam").is_empty()
    });
}

/// What a program or a module starts may outlive it, and may ignore every signal that can be
/// ignored.
#[test]
fn what_a_module_leaves_behind_ends_although_the_login_succeeds() {
    let Some((_service, host, scripts)) = host("popward-test-i", "pam_permit.so", "0", "") else {
        return;
    };
    let script = scripts.path().join("check");
    let left = "#!/bin/sh\nread -r secret\n(trap '' TERM HUP; setsid sleep 623 &) </dev/null >/dev/null 2>&1\n[ \"$secret\" = right ]\n";
    std::fs::write(&script, left).unwrap();
    assert_ok(&host.answer("games", "right"));
    until("nothing is left behind", || !runs(&["sleep", "623"]));
    until("no conversation is left", || conversations(&host) == 0);
}

#[test]
fn a_service_that_is_not_there_is_refused() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let good = std::fs::read_to_string(host.at("popward.toml")).unwrap();
    let pam = "[auth]\nsource = \"pam\"\npam_service = \"popward-none\"\n";
    std::fs::write(host.at("popward.toml"), good.replace("[auth]\n", pam)).unwrap();
    let (status, said) = checked(&host);
    let expected = "auth.pam_service: /etc/pam.d/popward-none: no such file";
    assert!(said.contains(expected), "{said}");
    assert_eq!(status, Some(78));
}
