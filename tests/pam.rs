//! PAM, with a service of this test's own. Its module runs a script. The account is one of the
//! system.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_ok, skipped, spool, until, user};
use std::os::unix::fs::PermissionsExt;
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

/// How many PAM conversations run.
fn conversations(host: &Host) -> usize {
    let auth = host.children("popward-auth")[0];
    let children = std::fs::read_to_string(format!("/proc/{auth}/task/{auth}/children")).unwrap();
    children.split_whitespace().count()
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
    let left = || {
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes
            .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
            .any(|line| line == b"sleep\x00617\x00")
    };
    until("nothing is left behind", || !left());
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

/// pam_unix can read `/etc/shadow` only as root. With an unprivileged auth every password would be
/// wrong. Debian's packaged service uses pam_unix by `@include`.
#[test]
fn pam_unix_without_root_is_refused_with_the_line_that_asks_it() {
    if !host::root() {
        return skipped("a PAM service: it takes root");
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
        said.contains(&expected) && said.contains("set accounts.auth = 0"),
        "{said}"
    );
    assert_eq!(status, Some(78));
    host.signal(nix::sys::signal::Signal::SIGHUP);
    assert!(
        host.logged("configuration not reloaded")
            .contains(&expected)
    );
    drop(host.login("alice"));
    let as_root = with_pam.replace(&format!("auth = {}\n", host::AUTH), "auth = 0\n");
    std::fs::write(host.at("popward.toml"), as_root).unwrap();
    assert_eq!(checked(&host), (Some(0), String::new()));
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
