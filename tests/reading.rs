//! popward-config and the monitor while the configuration is read: signals, delays and deaths.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, at_once, spool, until, user};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::fs;
use std::process::{Child, Command, Stdio};

fn host() -> Host {
    Host::start(&[user("alice", 64401, &spool(1))])
}

fn signal(pid: i32, signal: Signal) {
    // It may have ended.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// The children of the process `pid`.
fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = list.split_whitespace();
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

/// The child of `pid` that runs popward-config, with these words behind the executable's name.
fn reader(pid: i32, words: &str) -> Option<i32> {
    let command = format!("popward-config\0{words}");
    let runs = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == command)
    };
    children(pid).into_iter().find(runs)
}

/// The process's state: `T` is stopped, `Z` is dead and not waited for. `None`: it is gone.
fn state(pid: i32) -> Option<char> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    line.rsplit_once(") ")?.1.chars().next()
}

/// Stops the process `pid`. Returns false if it has ended before.
fn stop(pid: i32) -> bool {
    signal(pid, Signal::SIGSTOP);
    let mut is_stopped = false;
    until("it has stopped or ended", || {
        is_stopped = state(pid) == Some('T');
        is_stopped || matches!(state(pid), None | Some('Z'))
    });
    is_stopped
}

/// Begins a reload, and stops its popward-config before it has ended. Returns its process id.
fn stopped_reader(host: &Host) -> i32 {
    for _ in 0..100 {
        host.signal(Signal::SIGHUP);
        let mut found = None;
        at_once("popward-config runs", || {
            found = reader(host.pid(), "");
            found.is_some()
        });
        if stop(found.unwrap()) {
            return found.unwrap();
        }
        until("it is over", || reader(host.pid(), "").is_none());
    }
    panic!("popward-config always ends too early");
}

/// The monitor read 64 messages at a turn, 64 more after the death, and dropped the others. Here
/// are 64 tables, and a warning for each.
#[test]
fn a_reload_with_many_messages_succeeds_when_the_monitor_is_late() {
    let host = host();
    let mut text = fs::read_to_string(host.at("popward.toml")).unwrap();
    for number in 0..64 {
        write!(
            text,
            "\n[[account]]\nusers = [\"u{number}\"]\nspool.path = \"/nonexistent/{{user}}\"\n"
        )
        .unwrap();
    }
    fs::write(host.at("popward.toml"), text).unwrap();
    let reader = stopped_reader(&host);
    host.signal(Signal::SIGSTOP);
    until("the monitor has stopped", || state(host.pid()) == Some('T'));
    signal(reader, Signal::SIGCONT);
    until("popward-config has said everything", || {
        state(reader) == Some('Z')
    });
    host.signal(Signal::SIGCONT);
    until("the reload is over", || {
        let log = host.log();
        assert!(!log.contains("configuration not reloaded"), "{log}");
        log.contains("configuration reloaded")
    });
}

/// Starts the server again, with its log in the file `said`.
fn start(host: &mut Host) -> Child {
    host.stop();
    let server = Command::new(host.at("libexec/popward"))
        .arg("--config")
        .arg(host.at("popward.toml"))
        .stdin(Stdio::null())
        .stderr(fs::File::create(host.at("said")).unwrap())
        .spawn()
        .unwrap();
    let pid = i32::try_from(server.id()).unwrap();
    at_once("popward-config runs", || reader(pid, "").is_some());
    server
}

/// The monitor did not hold signals back while popward-config read.
#[test]
fn sighup_during_the_start_does_not_end_it() {
    let mut host = host();
    let mut server = start(&mut host);
    let pid = i32::try_from(server.id()).unwrap();
    signal(pid, Signal::SIGHUP);
    until("it is ready and has reloaded", || {
        let said = fs::read_to_string(host.at("said")).unwrap();
        let ended = server.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}: {said}");
        said.contains("ready version=") && said.contains("configuration reloaded")
    });
    signal(pid, Signal::SIGTERM);
    assert!(server.wait().unwrap().success());
}

#[test]
fn sigterm_during_the_start_ends_it_at_once() {
    let mut host = host();
    let mut server = start(&mut host);
    let pid = i32::try_from(server.id()).unwrap();
    // It would wait 30 s for popward-config.
    let began = std::time::Instant::now();
    assert!(stop(reader(pid, "").unwrap()));
    signal(pid, Signal::SIGTERM);
    assert!(server.wait().unwrap().success());
    assert!(began.elapsed().as_secs() < 20);
    assert_eq!(fs::read_to_string(host.at("said")).unwrap(), "");
}

/// NSS can hang. popward-config waited for it for ever, as root.
#[test]
fn popward_config_and_its_process_for_names_do_not_outlive_the_monitor() {
    let mut host = host();
    let mut text = fs::read_to_string(host.at("popward.toml")).unwrap();
    text += "\n[[account]]\ngroups = [\"root\"]\nauth.login_delay = \"1s\"\n";
    fs::write(host.at("popward.toml"), text).unwrap();
    let config = stopped_reader(&host);
    // It goes on until it has the process for names, and then waits for the group's id.
    let mut names = None;
    signal(config, Signal::SIGCONT);
    at_once("the process for names runs", || {
        names = reader(config, "names\0");
        names.is_some() || state(config).is_none()
    });
    let names = names.unwrap();
    assert!(stop(names));
    host.signal(Signal::SIGKILL);
    until("popward-config has ended", || {
        matches!(state(config), None | Some('Z'))
    });
    // It may have been stopped before it asked the kernel to end it with popward-config.
    signal(names, Signal::SIGCONT);
    until("the process for names has ended", || {
        matches!(state(names), None | Some('Z'))
    });
    host.start_again();
}

/// A reload that the end of the server breaks off is no error.
#[test]
fn sigterm_during_a_reload_logs_no_death() {
    let mut host = host();
    stopped_reader(&host);
    assert_eq!(host.stop(), Some(0));
    let log = host.log();
    assert!(!log.contains("process died"), "{log}");
}
