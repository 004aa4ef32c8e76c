//! popward under a service manager, and the files of `packaging/` for it.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_ok, install, root, skipped, spool, spool_of, user};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const ALL: [&str; 4] = [
    "popward-front",
    "popward-auth",
    "popward-keys",
    "popward-worker",
];

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(name)
}

/// As systemd does without `KillMode=mixed`, and as `killall` does.
#[test]
fn p3_a_signal_to_all_processes_ends_no_session_and_no_update() {
    let mut host = Host::start(&[user("alice", 64401, &spool(3))]);
    let mut alice = host.login("alice");
    assert_ok(&alice.ask("DELE 1"));
    let children: Vec<i32> = ALL.iter().flat_map(|name| host.children(name)).collect();
    assert_eq!(children.len(), 4);
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        for child in &children {
            kill(Pid::from_raw(*child), signal).unwrap();
        }
    }
    host.signal(Signal::SIGTERM);
    host.logged("ending: no new connections");
    assert_ok(&alice.ask("STAT"));
    assert_ok(&alice.ask("QUIT"));
    assert_eq!(host.stop(), Some(0));
    assert_eq!(host.bytes("alice"), spool_of([2, 3]));
    assert!(!host.log().contains("process died"), "{}", host.log());
}

/// At the end of the server auth ends too. A front once logged `auth's channel ended` then, if it
/// saw auth's end before the monitor's message.
#[test]
fn the_end_of_the_server_logs_no_warning_and_no_error() {
    let fronts = [(
        "shutdown_grace = \"5s\"\n",
        "shutdown_grace = \"5s\"\nfronts = 4\n",
    )];
    for _ in 0..5 {
        let mut host = Host::with(&[user("alice", 64401, &spool(1))], "", &fronts);
        let mut alice = host.login("alice");
        assert_ok(&alice.ask("QUIT"));
        assert_eq!(host.stop(), Some(0));
        let log = host.log();
        let end = log.split_once("ending: no new connections").unwrap().1;
        for level in ["] warning ", "] error "] {
            assert!(!end.contains(level), "{end}");
        }
    }
}

/// The mask of the signals that a process blocks, from /proc.
fn blocked(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("SigBlk:"));
    u64::from_str_radix(line.unwrap().split_whitespace().nth(1).unwrap(), 16).unwrap()
}

#[test]
fn a_checkpassword_program_hears_every_signal() {
    // dash 0.5.12 blocks signals itself while it starts a command, so the command says what it got.
    let program = "#!/bin/sh\ngrep ^SigBlk /proc/self/status >\"${0%/*}/heard/mask\"\nexit 1\n";
    let mut host = Host::start(&[user("alice", 64401, &spool(1))]);
    assert_eq!(host.stop(), Some(0));
    let (check, heard) = (host.at("check"), host.at("heard"));
    std::fs::write(&check, program).unwrap();
    std::fs::set_permissions(&check, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(&heard).unwrap();
    std::fs::set_permissions(&heard, PermissionsExt::from_mode(0o777)).unwrap();
    let config = std::fs::read_to_string(host.at("popward.toml")).unwrap();
    let source = format!(
        "[auth]\nsource = \"checkpassword\"\ncheckpassword = \"{}\"\n",
        check.display()
    );
    std::fs::write(host.at("popward.toml"), config.replace("[auth]\n", &source)).unwrap();
    host.start_again();
    assert_eq!(
        blocked(&host.children("popward-auth")[0].to_string()),
        0x4003
    );
    let mut client = host.connect();
    assert_ok(&client.ask("USER alice"));
    host::assert_err(&client.ask("PASS alice"));
    let mask = std::fs::read_to_string(heard.join("mask")).unwrap();
    assert_eq!(mask.trim(), "SigBlk:\t0000000000000000");
}

/// `systemctl reload` once sent SIGHUP and always succeeded.
#[test]
fn popward_reload_fails_if_the_old_configuration_stays() {
    let mut host = Host::start(&[user("alice", 64401, &spool(1))]);
    let file = host.at("popward.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let said = |output: &std::process::Output| {
        let both = [output.stdout.clone(), output.stderr.clone()].concat();
        String::from_utf8(both).unwrap()
    };
    let pid = host.pid().to_string();
    for options in [&[][..], &["--pid", &pid, "--wait", "30"]] {
        let reloaded = host.reload(options);
        let expected = format!("configuration of {} in use since 2", file.display());
        assert!(reloaded.status.success(), "{}", said(&reloaded));
        assert!(
            said(&reloaded).starts_with(&expected),
            "{}",
            said(&reloaded)
        );
    }
    let line = good.lines().count() + 1;
    let list = host.at("deny");
    std::fs::write(&list, "../alice\n").unwrap();
    std::fs::set_permissions(&list, PermissionsExt::from_mode(0o644)).unwrap();
    let deny = format!("[auth]\ndeny_file = {list:?}\n");
    // A mistake that the file's text shows, and one that only auth sees.
    for (text, why) in [
        (
            format!("{good}nonsense = [\n"),
            format!("popward.toml:{line}: "),
        ),
        (
            good.replace(
                "[auth]
", &deny,
            ),
            "line 1: expected a name".to_owned(),
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let failed = host.reload(&[]);
        let (code, said) = (failed.status.code(), said(&failed));
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.starts_with("popward-reload: reload failed: ") && said.contains(&why),
            "{said}"
        );
        assert!(
            said.contains("; the old configuration stays in use, since 2"),
            "{said}"
        );
        drop(host.login("alice"));
    }
    std::fs::write(&file, &good).unwrap();
    assert!(host.reload(&[]).status.success(), "the next one is read");
    let other = host.reload(&["--pid", "1"]);
    assert!(
        !other.status.success() && said(&other).contains("not of process 1"),
        "{}",
        said(&other)
    );
    // A stopped server still exists but reads no signal. The wait must end.
    host.signal(Signal::SIGSTOP);
    let silent = host.reload(&["--wait", "1"]);
    host.signal(Signal::SIGCONT);
    assert!(!silent.status.success() && said(&silent).contains("no outcome after 1 s"));
    assert_eq!(host.stop(), Some(0));
    let gone = host.reload(&[]);
    assert!(!gone.status.success() && said(&gone).contains("Is popward running"));
    // A server from before the version stood there wrote this. Its messages are other ones.
    std::fs::write(host.at("run/reload"), format!("{pid} 0 done in use\n")).unwrap();
    let older = host.reload(&[]);
    assert_eq!(older.status.code(), Some(3), "{}", said(&older));
    let line = format!("{pid} 0 {} done in use\n", popward_proto::VERSION);
    std::fs::write(host.at("run/reload"), line).unwrap();
    let gone = host.reload(&[]);
    assert!(!gone.status.success() && said(&gone).contains("is not popward: it has ended"));
}

/// `RestartPreventExitStatus=` needs this status: other failures may be over at the next try.
#[test]
fn a_bad_configuration_has_an_exit_status_of_its_own() {
    let mut host = Host::start(&[]);
    let file = host.at("popward.toml");
    assert_eq!(host.stop(), Some(0));
    let code = |options: &[&str]| {
        let mut popward = Command::new(host.at("libexec/popward"));
        popward.arg("--config").arg(&file).args(options);
        popward.output().unwrap().status.code()
    };
    assert_eq!(code(&["--check"]), Some(0));
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good}nonsense = [\n")).unwrap();
    assert_eq!((code(&[]), code(&["--check"])), (Some(78), Some(78)));
    // The configuration is right, but another process has the address.
    std::fs::write(&file, good).unwrap();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", host.plain)).unwrap();
    assert_eq!((code(&[]), code(&["--check"])), (Some(1), Some(0)));
}

#[test]
fn the_unit_file_has_the_lines_that_popward_needs() {
    let unit = std::fs::read_to_string(packaged("systemd/popward.service")).unwrap();
    for line in [
        "Type=notify",
        "KillMode=mixed",
        "ExecReload=/usr/libexec/popward/popward reload",
        "RuntimeDirectory=popward",
        "RestartPreventExitStatus=78",
        "StartLimitIntervalSec=0",
        "OOMPolicy=continue",
        "TasksMax=infinity",
        "RequiresMountsFor=/var/lib/popward /var/mail",
    ] {
        assert!(unit.lines().any(|other| other == line), "{line}");
    }
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        return skipped("systemd-analyze is not installed");
    }
    // The executable is not where a package puts it. Another program stands in for it.
    let directory = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    // The pages are not where man looks for them either.
    verify.args(["verify", "--man=no"]);
    for name in [
        "popward.service",
        "popward-pop3.socket",
        "popward-pop3s.socket",
    ] {
        let text = std::fs::read_to_string(packaged("systemd").join(name)).unwrap();
        let text = text.replace("/usr/libexec/popward/popward", "/bin/true");
        std::fs::write(directory.path().join(name), text).unwrap();
        verify.arg(directory.path().join(name));
    }
    let output = verify.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let of_ours = said.lines().any(|line| line.contains("popward"));
    assert!(output.status.success() && !of_ours, "{said}");
}

/// docs/operation.md shows what of it is in force.
#[test]
fn the_packaged_configuration_passes_the_check() {
    let text = std::fs::read_to_string(packaged("popward.toml")).unwrap();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operation.md");
    let document = std::fs::read_to_string(document).unwrap();
    for line in text
        .lines()
        .filter(|line| line.contains(" = ") && !line.starts_with('#'))
    {
        let line = format!("\n    {line}\n");
        assert!(document.contains(&line), "{line} in docs/operation.md");
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    install(&at("libexec"));
    host::certificate(directory.path(), host::P256);
    std::fs::rename(at("cert.pem"), at("chain.pem")).unwrap();
    std::fs::write(at("users"), "").unwrap();
    std::fs::create_dir(at("lib")).unwrap();
    let text = text
        .replace("/etc/popward", directory.path().to_str().unwrap())
        // This host has no PAM service of popward's.
        .replace("\nsource = \"pam\"\n", "\n")
        .replace("\n#passwd_file = ", "\npasswd_file = ");
    let users = host::accounts().replacen("[accounts]\n", "", 1);
    let text = text.replace("\n[accounts]\n", "\n[accounts]\n{accounts}");
    let text = text.replace("{accounts}", &users);
    // This machine may have no /var/lib that belongs to root.
    let state = format!("\nstate = \"{}\"\n", at("lib/popward").display());
    let text = text.replace("\n#state = \"/var/lib/popward\"\n", &state);
    std::fs::write(at("popward.toml"), &text).unwrap();
    for name in ["popward.toml", "users", "lib"] {
        std::fs::set_permissions(at(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    // Started by a link, as from a directory of PATH. popward finds the other executables where the
    // link leads.
    symlink(at("libexec/popward"), at("popward")).unwrap();
    let check = || {
        let mut popward = Command::new(at("popward"));
        popward
            .args(["--check", "--config"])
            .arg(at("popward.toml"));
        let output = popward.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        output.status.success().then_some(()).ok_or(said)
    };
    assert_eq!(check(), Ok(()));
    let start = text.find("\n[[certificate]]").unwrap();
    let end = text.find("\n[tls]").unwrap();
    let without = format!("{}{}", &text[..start], &text[end..]);
    std::fs::write(at("popward.toml"), without).unwrap();
    let said = check().unwrap_err();
    let line = text[..text.find("\naddress = \"[::]:995\"").unwrap()]
        .lines()
        .count()
        + 1;
    let expected = format!("popward.toml:{line}: listen.tls: expected a [[certificate]] beside it");
    assert!(said.contains(&expected), "{said}");
}

/// `popward reload` waited 60 s for an outcome that the server could not write.
#[test]
fn an_outcome_that_cannot_be_written_ends_the_wait_for_it() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    host::until("the outcome of the start is written", || {
        std::fs::read_to_string(host.at("run/reload")).is_ok_and(|text| text.contains(" done "))
    });
    // As on a full disk, the draft of the file cannot be written.
    std::fs::create_dir(host.at("run/reload.new")).unwrap();
    let began = std::time::Instant::now();
    let output = host.reload(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("could not write its outcome"), "{said}");
    assert!(began.elapsed().as_secs() < 50);
    host.logged("outcome not written for popward reload");
    std::fs::remove_dir(host.at("run/reload.new")).unwrap();
}

/// Auth asked for 4,096 open files, and ended where a service manager permits fewer.
#[test]
fn a_hard_limit_of_few_open_files_does_not_prevent_the_start() {
    let limited = |path: std::path::PathBuf| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 1024; exec \"$0\" \"$@\""]);
        command.arg(path);
        command
    };
    let host = Host::by(limited, &[user("alice", 64401, &spool(1))], "", &[]);
    let auth = host.children("popward-auth")[0];
    let limits = std::fs::read_to_string(format!("/proc/{auth}/limits")).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<&str> = files.unwrap().split_whitespace().collect();
    assert_eq!(words[3..5], ["1024", "1024"]);
}

/// Keys died at the start, with a reason that named neither the setting nor what to do.
#[test]
fn a_start_with_no_new_privs_says_what_forbids_it() {
    if !root() {
        return skipped("a start as root with no_new_privs");
    }
    let mut host = Host::start(&[user("alice", 64401, &spool(1))]);
    assert_eq!(host.stop(), Some(0));
    let mut command = Command::new("setpriv");
    command
        .arg("--no-new-privs")
        .arg(host.at("libexec/popward"));
    let output = command
        .arg("--config")
        .arg(host.at("popward.toml"))
        .output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("remove NoNewPrivileges= of systemd or no-new-privileges"),
        "{said}"
    );
}

/// Runs `popward --check`. Returns its exit status and what it says.
fn check(host: &Host) -> (Option<i32>, String) {
    let mut command = Command::new(host.at("libexec/popward"));
    command
        .args(["--check", "--config"])
        .arg(host.at("popward.toml"));
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Leaves descriptors unread in sockets, as another program of the same user may.
fn unread_descriptors(count: usize) -> Vec<std::os::unix::net::UnixDatagram> {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let null = std::fs::File::open("/dev/null").unwrap();
    let mut kept = Vec::new();
    while kept.len() / 2 * 100 < count {
        let (own, other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let (own_end, files) = (own.as_raw_fd(), [null.as_raw_fd(); 100]);
        let (byte, flags) = ([std::io::IoSlice::new(b"x")], MsgFlags::empty());
        let rights = [ControlMessage::ScmRights(&files)];
        sendmsg::<()>(own_end, &byte, &rights, flags, None).unwrap();
        kept.extend([own, other]);
    }
    kept
}

/// The kernel counts the descriptors that all processes of a user have sent and nobody has read, and
/// compares with the sender's limit on open files. popward-config has no capability that would spare
/// it. Before, its limit was 128, and it ended without a reason.
#[test]
fn descriptors_that_other_programs_leave_unread_keep_no_configuration_from_being_read() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let unread = unread_descriptors(600);
    assert_eq!(check(&host), (Some(0), String::new()));
    // With a limit that is too small, the reason is said. The shell has fewer files open.
    let limited = Command::new("sh")
        .args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\""])
        .arg(host.at("libexec/popward"))
        .args(["--check", "--config"])
        .arg(host.at("popward.toml"))
        .output()
        .unwrap();
    assert_eq!(limited.status.code(), Some(1));
    let said = String::from_utf8(limited.stderr).unwrap();
    let reason =
        "popward: warning: popward-config cannot pass on open files: other programs of root's";
    assert!(said.starts_with(reason), "{said}");
    drop(unread);
    assert_eq!(check(&host), (Some(0), String::new()));
}
