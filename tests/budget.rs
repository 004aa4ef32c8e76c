//! The sizes of the parts that an auditor reads, and the crates that each executable links.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

/// Most lines of code that a worker links.
const WORKER_LINES_MAX: usize = 5300;
/// Most crates that a worker links, without those that only run in the compiler.
const WORKER_CRATES_MAX: usize = 20;

/// Lines of code below `path`, without tests, comments and empty lines.
fn lines(path: &str) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    count(&root.join(path))
}

fn count(path: &Path) -> usize {
    if path.is_dir() {
        let entries = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        return entries.map(|entry| count(&entry)).sum();
    }
    if path.extension().is_none_or(|e| e != "rs")
        || (path.ends_with("tests.rs") || path.ends_with("model.rs"))
    {
        return 0;
    }
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    code.lines().filter(is_code).count()
}

fn all(paths: &[&str]) -> usize {
    paths.iter().map(|path| lines(path)).sum()
}

/// Lines of code of this workspace's crates that `package` links. Modules that need a feature in
/// `off` do not count.
fn linked_lines(package: &str, off: &[&str]) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = tree(package).into_iter();
    let own = crates.filter_map(|name| Some(name.strip_prefix("popward-")?.to_owned()));
    own.map(|name| linked_in(&root.join("privsep").join(name).join("src"), off))
        .sum()
}

fn linked_in(path: &Path, off: &[&str]) -> usize {
    let mut lines = 0;
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        lines += if path.is_dir() {
            linked_in(&path, off)
        } else {
            count(&path)
        };
    }
    // The parent of a module names the feature that the module needs.
    let directory = path.file_name().unwrap().to_str().unwrap();
    let parents = [
        path.join("lib.rs"),
        path.join("main.rs"),
        path.with_file_name(format!("{directory}.rs")),
    ];
    for parent in parents {
        let text = std::fs::read_to_string(parent).unwrap_or_default();
        let mut gated = false;
        for line in text.lines() {
            let name = line.trim_start_matches("pub(crate) ");
            let name = name.trim_start_matches("pub ").strip_prefix("mod ");
            if let (true, Some(name)) = (gated, name.and_then(|name| name.strip_suffix(';'))) {
                lines -= count(&path.join(format!("{name}.rs")));
                let below = path.join(name);
                lines -= if below.is_dir() { count(&below) } else { 0 };
            }
            let feature = |name: &&str| line.contains(&format!("feature = \"{name}\""));
            gated = line.starts_with("#[cfg(") && off.iter().any(feature);
        }
    }
    lines
}

/// Prints a line that the test runner does not hold back.
fn say(text: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
}

#[test]
fn the_worker_is_read_in_an_afternoon() {
    let worker = linked_lines("popward-worker", &["server", "testing"]);
    say(&format!("popward-worker: {worker} lines of code\n"));
    assert!(worker > 1000, "{worker} lines: not counted");
    assert!(worker <= WORKER_LINES_MAX, "the worker has {worker} lines");
}

/// The page for auditors lists each file of the write path with its lines of code.
#[test]
fn the_audit_page_lists_the_write_path() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/audit.md")).unwrap();
    let mut listed = std::collections::BTreeMap::new();
    for line in page
        .lines()
        .filter(|line| line.starts_with("| `update/src/"))
    {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (file, lines) = (cells.next().unwrap(), cells.next().unwrap());
        if let Ok(lines) = lines.parse::<usize>() {
            listed.insert(file.trim_matches('`').to_owned(), lines);
        }
    }
    let mut there = std::collections::BTreeMap::new();
    let mut directories = vec![root.join("privsep/update/src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if !path.ends_with("tests.rs") && !path.ends_with("testing.rs") {
                let name = path.strip_prefix(root.join("privsep")).unwrap();
                there.insert(name.to_str().unwrap().to_owned(), count(&path));
            }
        }
    }
    assert_eq!(listed, there);
    let sum: usize = there.values().sum();
    assert!(page.contains(&format!("| all of it | {sum} |")), "{sum}");
}

/// What each of root's processes links of the workspace, and what of it no other process has.
#[test]
fn roots_processes_do_not_grow() {
    // What these processes have in common counts as the own code of each that links it.
    for (name, own_max, all_max, unused) in ROOTS {
        let package = match *name {
            "supervisor" => "popward".to_owned(),
            name => format!("popward-{name}"),
        };
        let tree = tree(&package);
        let mut own = lines(&format!("privsep/{name}/src"));
        for common in ["parent", "records"] {
            if tree.contains(&format!("popward-{common}")) {
                own += lines(&format!("privsep/{common}/src"));
            }
        }
        let shared = all(&["privsep/proto/src", "privsep/sys/src"]);
        let left_out = || OF_OTHERS.iter().chain(*unused).map(Path::new);
        for path in left_out() {
            let times = left_out().filter(|other| path.starts_with(other)).count();
            assert_eq!(times, 1, "{} is left out twice", path.display());
        }
        let whole = own + shared - all(&OF_OTHERS) - all(unused);
        say(&format!(
            "{name}: {own} lines of code of its own, {whole} in all\n"
        ));
        assert!(own > 1000 && whole > own + 1000, "not counted");
        assert!(own <= *own_max, "{name}: {own} lines of its own");
        assert!(whole <= *all_max, "{name}: {whole} lines in all");
    }
}

/// Of `proto` and `sys`: what none of root's processes uses. A message is counted even if only a
/// part of it is used.
const OF_OTHERS: [&str; 23] = [
    // What only their children do.
    "privsep/sys/src/channel/messages.rs",
    "privsep/sys/src/channel/server/streams.rs",
    "privsep/sys/src/confine",
    "privsep/sys/src/servers/facts.rs",
    "privsep/sys/src/flock.rs",
    "privsep/sys/src/servers/guard.rs",
    "privsep/sys/src/landlock",
    "privsep/sys/src/landlock.rs",
    "privsep/sys/src/log",
    "privsep/sys/src/log.rs",
    "privsep/sys/src/servers/server.rs",
    "privsep/sys/src/servers/socket.rs",
    "privsep/sys/src/servers/whole_file.rs",
    // What others say to each other.
    "privsep/proto/src/servers/auth.rs",
    "privsep/proto/src/servers/auth_conversation.rs",
    "privsep/proto/src/servers/auth_handover.rs",
    "privsep/proto/src/servers/config_names.rs",
    "privsep/proto/src/servers/keys.rs",
    "privsep/proto/src/servers/scheme.rs",
    "privsep/proto/src/servers/secret.rs",
    "privsep/proto/src/session",
    "privsep/proto/src/session.rs",
    "privsep/proto/src/stream.rs",
];

/// Each of root's processes: its directory, its most lines of its own and in all, and what else it
/// does not use.
const ROOTS: &[(&str, usize, usize, &[&str])] = &[
    (
        "supervisor",
        SUPERVISOR_OWN,
        SUPERVISOR_ALL,
        &[
            "privsep/sys/src/dotlock.rs",
            "privsep/sys/src/inherited.rs",
            "privsep/sys/src/servers/log_rate_limit.rs",
            "privsep/sys/src/seccomp/runtime.rs",
            // What the supervisor passes on undecoded. `tests/structure.rs` has the other list:
            // what it uses.
            "privsep/proto/src/account",
            "privsep/proto/src/servers/account_selector.rs",
            "privsep/proto/src/servers/auth_sessions.rs",
            "privsep/proto/src/servers/config_monitor.rs",
            "privsep/proto/src/servers/config_sessions.rs",
            "privsep/proto/src/servers/monitor_auth.rs",
            "privsep/proto/src/servers/monitor_front.rs",
            "privsep/proto/src/servers/monitor_keys.rs",
            "privsep/proto/src/servers/monitor_sessions.rs",
            "privsep/proto/src/servers/reports.rs",
            "privsep/proto/src/sessions_worker.rs",
            "privsep/proto/src/servers/network",
            "privsep/proto/src/servers/network.rs",
            "privsep/proto/src/servers/pattern.rs",
            "privsep/proto/src/servers/proxies.rs",
            "privsep/proto/src/servers/settings",
            "privsep/proto/src/servers/sessions_front.rs",
            "privsep/proto/src/servers/settings.rs",
            "privsep/sys/src/servers/spawn/pace.rs",
        ],
    ),
    (
        "monitor",
        MONITOR_OWN,
        MONITOR_ALL,
        &[
            "privsep/sys/src/servers/locked_memory.rs",
            "privsep/sys/src/seccomp",
            "privsep/sys/src/seccomp.rs",
            "privsep/sys/src/servers/systemd.rs",
            "privsep/proto/src/servers/log_line",
            "privsep/proto/src/servers/supervisor_config.rs",
            "privsep/proto/src/servers/supervisor_log.rs",
            // How networks are written, and who is in one.
            "privsep/proto/src/servers/network",
            // What is about users.
            "privsep/sys/src/dotlock.rs",
            "privsep/proto/src/servers/auth_sessions.rs",
            "privsep/proto/src/servers/config_sessions.rs",
            "privsep/proto/src/servers/pattern.rs",
            "privsep/proto/src/servers/sessions_front.rs",
            "privsep/proto/src/sessions_worker.rs",
            "privsep/proto/src/servers/settings",
            "privsep/proto/src/servers/settings.rs",
            "privsep/proto/src/servers/supervisor_sessions.rs",
        ],
    ),
    (
        "sessions",
        SESSIONS_OWN,
        SESSIONS_ALL,
        &[
            "privsep/sys/src/servers/front_sockets.rs",
            "privsep/sys/src/servers/locked_memory.rs",
            "privsep/sys/src/seccomp",
            "privsep/sys/src/seccomp.rs",
            "privsep/sys/src/servers/systemd.rs",
            "privsep/proto/src/servers/log_line",
            // What is about the processes of a configuration.
            "privsep/proto/src/servers/config_monitor.rs",
            "privsep/proto/src/servers/listen.rs",
            "privsep/proto/src/servers/monitor_auth.rs",
            "privsep/proto/src/servers/monitor_front.rs",
            "privsep/proto/src/servers/monitor_keys.rs",
            "privsep/proto/src/servers/network",
            "privsep/proto/src/servers/network.rs",
            "privsep/proto/src/servers/proxies.rs",
            "privsep/proto/src/servers/supervisor_config.rs",
            "privsep/proto/src/servers/supervisor_log.rs",
            "privsep/proto/src/servers/supervisor_monitor.rs",
        ],
    ),
];

const SUPERVISOR_OWN: usize = 1999;
const SUPERVISOR_ALL: usize = 3775;
const MONITOR_OWN: usize = 1969;
const MONITOR_ALL: usize = 3941;
const SESSIONS_OWN: usize = 1976;
const SESSIONS_ALL: usize = 3781;

/// popward-config grows with the number of settings.
#[test]
fn the_configurations_reader_is_bounded() {
    let own = lines("privsep/config/src");
    assert!(own <= 3044, "popward-config has {own} lines");
}

/// The crates that a package links, by name.
fn tree(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "-e",
            "normal,no-proc-macro",
            "--prefix",
            "none",
            "-p",
            package,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<String> = text
        .lines()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn p1_each_executable_links_only_what_it_is_for() {
    let none_of = [
        (
            "popward-worker",
            &[
                "rustls",
                "mio",
                "toml",
                "argon2",
                "aws-lc-rs",
                "ring",
                "popward-front",
                "popward-schemes",
                "md5",
            ][..],
        ),
        (
            "popward-adopt",
            &[
                "rustls",
                "mio",
                "toml",
                "argon2",
                "popward-front",
                "popward-worker",
            ],
        ),
        (
            "popward-monitor",
            &[
                "toml",
                "rustls",
                "mio",
                "argon2",
                "aws-lc-rs",
                "popward-mbox",
                "popward-front",
            ],
        ),
        (
            "popward-sessions",
            &[
                "toml",
                "rustls",
                "mio",
                "argon2",
                "aws-lc-rs",
                "popward-mbox",
                "popward-front",
                "popward-update",
            ],
        ),
        (
            "popward-log",
            &[
                "toml",
                "rustls",
                "mio",
                "argon2",
                "popward-mbox",
                "popward-front",
                "popward-parent",
            ],
        ),
        (
            "popward",
            &[
                "toml",
                "rustls",
                "mio",
                "argon2",
                "aws-lc-rs",
                "popward-mbox",
                "popward-front",
                "popward-records",
            ],
        ),
        (
            "popward-config",
            &[
                "mio",
                "argon2",
                "popward-mbox",
                "popward-front",
                "popward-worker",
            ],
        ),
        (
            "popward-front",
            &["toml", "argon2", "popward-mbox", "popward-worker", "blake3"],
        ),
        (
            "popward-auth",
            &[
                "rustls",
                "rustls-webpki",
                "aws-lc-rs",
                "serde_json",
                "x509-cert",
                "mio",
                "toml",
                "popward-mbox",
                "popward-front",
            ],
        ),
        (
            "popward-auth-pam",
            &[
                "rustls-webpki",
                "aws-lc-rs",
                "serde_json",
                "argon2",
                "toml",
                "popward-auth",
            ],
        ),
        (
            "popward-auth-program",
            &[
                "rustls-webpki",
                "aws-lc-rs",
                "serde_json",
                "argon2",
                "toml",
                "popward-auth",
            ],
        ),
        (
            "popward-auth-proof",
            &["rustls", "argon2", "toml", "popward-auth"],
        ),
        (
            "popward-keys",
            &["mio", "toml", "argon2", "popward-mbox", "popward-front"],
        ),
        (
            "popward-spool",
            &[
                "rustls",
                "mio",
                "toml",
                "argon2",
                "popward-sys",
                "popward-worker",
                "popward-front",
            ],
        ),
        (
            "popwardctl",
            // mio comes with its terminal.
            &[
                "rustls",
                "toml",
                "argon2",
                "popward-update",
                "popward-worker",
                "popward-front",
            ],
        ),
        (
            "popward-metrics",
            &[
                "rustls",
                "mio",
                "toml",
                "argon2",
                "popward-mbox",
                "popward-parent",
                "popward-front",
            ],
        ),
        ("popward-reload", &["rustls", "mio", "toml", "popward-sys"]),
    ];
    for (package, banned) in none_of {
        let tree = tree(package);
        for name in banned {
            assert!(
                !tree.contains(&(*name).to_owned()),
                "{package} links {name}"
            );
        }
        // Each package must link this one. Otherwise the list of crates would be wrong.
        // popward-spool sends no messages, so it does not link popward-proto.
        let counted = match package {
            "popward-spool" => "popward-mbox",
            _ => "popward-proto",
        };
        assert!(tree.contains(&counted.to_owned()), "{package}");
    }
    let crates = tree("popward-worker");
    say(&format!("popward-worker: {} crates\n", crates.len()));
    assert!(crates.len() <= WORKER_CRATES_MAX, "{crates:?}");
}
