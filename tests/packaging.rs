//! What `packaging/` installs, and that it is complete.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::built;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The name of a package's executable, as its Cargo.toml says it.
fn executable_of(manifest: &Path) -> String {
    let text = std::fs::read_to_string(manifest).unwrap();
    let section = ["[[bin]]", "[package]"]
        .into_iter()
        .find_map(|head| text.split_once(head));
    let name = section.unwrap().1.split_once("name = \"").unwrap().1;
    name.split('"').next().unwrap().to_owned()
}

#[test]
fn the_list_of_executables_is_complete() {
    let mut there = BTreeSet::from([executable_of(&project("Cargo.toml"))]);
    for entry in std::fs::read_dir(project("privsep")).unwrap() {
        let path = entry.unwrap().path();
        if path.join("src/main.rs").exists() {
            there.insert(executable_of(&path.join("Cargo.toml")));
        }
    }
    let list = std::fs::read_to_string(project("packaging/executables")).unwrap();
    assert_eq!(
        list.lines().map(str::to_owned).collect::<BTreeSet<_>>(),
        there
    );
}

/// The README's table names each executable, its picture each one of the server.
#[test]
fn the_readme_shows_each_executable() {
    let read = |name: &str| std::fs::read_to_string(project(name)).unwrap();
    let page = read("README.md");
    let picture = read("docs/pictures/processes.svg").replace("&#45;", "-");
    for name in read("packaging/executables").lines() {
        assert!(page.contains(&format!("\n| `{name}`")), "{name}");
        let outside = [
            "popward-metrics",
            "popward-reload",
            "popward-spool",
            "popwardctl",
        ];
        let is_outside = outside.contains(&name);
        let shown = picture.contains(&format!(">{name}</text>"));
        assert!(shown != is_outside, "{name}: shown in the picture: {shown}");
    }
}

fn install(into: &Path, system: &str) {
    let mut install = Command::new(project("packaging/install"));
    install
        .arg("--destdir")
        .arg(into)
        .arg("--executables")
        .arg(built());
    let output = install.args(["--system", system]).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_installation_has_what_a_system_needs_and_replaces_nothing_in_etc() {
    for (system, pam, zsh) in [
        ("debian", "@include common-auth", "vendor-completions"),
        ("fedora", "password-auth", "site-functions"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mode = |name: &str| at(name).metadata().unwrap().permissions().mode() & 0o7777;
        install(directory.path(), system);
        for name in std::fs::read_to_string(project("packaging/executables"))
            .unwrap()
            .lines()
        {
            assert_eq!(
                mode(&format!("usr/libexec/popward/{name}")),
                0o711,
                "{name}"
            );
        }
        for name in ["popward", "popwardctl"] {
            let link = at("usr/sbin").join(name);
            let version = Command::new(&link).arg("--version").output().unwrap();
            assert!(version.status.success() && link.is_symlink(), "{name}");
        }
        for unit in [
            "popward.service",
            "popward-pop3.socket",
            "popward-pop3s.socket",
        ] {
            let path = at("usr/lib/systemd/system").join(unit);
            let text = std::fs::read_to_string(path).unwrap();
            assert!(text.contains("\nDocumentation=man:popward(8)"), "{unit}");
        }
        for name in [
            "usr/lib/sysusers.d/popward.conf",
            "usr/lib/tmpfiles.d/popward.conf",
        ] {
            assert_eq!(mode(name), 0o644);
        }
        for page in std::fs::read_dir(project("docs/man")).unwrap() {
            let name = page.unwrap().file_name().into_string().unwrap();
            let section = name.rsplit('.').next().unwrap();
            assert_eq!(mode(&format!("usr/share/man/man{section}/{name}")), 0o644);
        }
        for name in ["popward", "popwardctl"] {
            let bash = format!("usr/share/bash-completion/completions/{name}");
            assert_eq!(mode(&bash), 0o644);
            assert_eq!(mode(&format!("usr/share/zsh/{zsh}/_{name}")), 0o644);
        }
        let service = std::fs::read_to_string(at("etc/pam.d/popward")).unwrap();
        assert!(service.contains(pam), "{service}");
        // Fedora has SELinux.
        for name in ["popward-worker", "abstractions/popward", "tunables/popward"] {
            let profile = at("etc/apparmor.d").join(name);
            assert_eq!(profile.exists(), system == "debian", "{name}");
        }
        let kept = [
            "etc/popward/popward.toml",
            "etc/pam.d/popward",
            "etc/fail2ban/filter.d/popward.conf",
        ];
        for name in kept {
            std::fs::write(at(name), "the administrator's\n").unwrap();
        }
        install(directory.path(), system);
        for name in kept {
            assert_eq!(
                std::fs::read_to_string(at(name)).unwrap(),
                "the administrator's\n"
            );
        }
    }
}

/// A line of standard error as syslog has it: with a time and a host, and without the level.
fn as_syslog(line: &str, time: &str) -> String {
    let (process, rest) = line.split_once(' ').unwrap();
    let (_, rest) = rest.split_once(' ').unwrap();
    format!("{time} mail {process}: {rest}")
}

/// logcheck reports the lines that no rule matches (`grep -E -v -f`).
#[test]
fn logchecks_rules_match_the_lines_of_ordinary_sessions_and_no_warning() {
    let mut host = host::Host::start(&[host::user("alice", 64401, &host::spool(3))]);
    let mut client = host.login("alice");
    client.ask("DELE 1");
    host::assert_ok(&client.ask("QUIT"));
    let mut odd = host.connect();
    odd.ask("USER quoted\" why=x");
    assert!(odd.ask("PASS wrong").starts_with("-ERR"));
    drop(odd);
    host::until("the end is logged", || {
        host.log().matches("] end ").count() + host.log().matches(" end session=").count() >= 2
    });
    host.signal(nix::sys::signal::Signal::SIGHUP);
    host.logged("configuration reloaded");
    host.stop();
    let rules = directory_with_rules();
    let (mut ignored, mut reported) = (0, 0);
    for line in host.log().lines() {
        let level = line.split(' ').nth(1).unwrap();
        let news = ["warning", "error"].contains(&level) || line.contains(" refused ");
        for time in ["Nov 23 10:00:01", "2026-11-23T10:00:01.123456+01:00"] {
            let syslog = as_syslog(line, time);
            let matched = grep(&rules.path().join("popward"), &syslog);
            assert_eq!(matched, !news, "{syslog}");
        }
        if news {
            reported += 1;
        } else {
            ignored += 1;
        }
    }
    assert!(
        ignored >= 8 && reported >= 2,
        "{ignored} {reported}: {}",
        host.log()
    );
}

/// logcheck leaves comments out.
fn directory_with_rules() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(project("packaging/logcheck")).unwrap();
    let rules: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(!rules.is_empty());
    std::fs::write(directory.path().join("popward"), rules.join("\n") + "\n").unwrap();
    directory
}

fn grep(rules: &Path, line: &str) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("line");
    std::fs::write(&path, format!("{line}\n")).unwrap();
    let output = Command::new("grep")
        .args(["-E", "-q", "-f"])
        .arg(rules)
        .arg(&path)
        .status()
        .unwrap();
    output.success()
}

#[test]
fn the_packages_have_the_version_of_the_workspace() {
    let read = |name: &str| std::fs::read_to_string(project(name)).unwrap();
    let version = format!("\"{}\"", env!("CARGO_PKG_VERSION"));
    let workspace = read("Cargo.toml");
    assert!(workspace.contains(&format!("[workspace.package]\nversion = {version}\n")));
    let version = version.trim_matches('"');
    assert!(read("packaging/debian/changelog").starts_with(&format!("popward ({version}-")));
    let spec = read("packaging/fedora/popward.spec");
    assert!(spec.contains(&format!("\nVersion:        {version}\n")));
    assert!(spec.contains(&format!(" - {version}-1\n")));
}
