//! The SELinux policy of `packaging/selinux`: it compiles, each rule says which source needs it, and
//! what no domain may do is not permitted. It needs no machine with SELinux.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Says why a test is skipped. The test runner does not hold the line back.
fn skipped(why: &str) {
    let line = format!("skipped: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// A directory that goes away with this value.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn policy() -> String {
    std::fs::read_to_string(project("packaging/selinux/popward.te")).unwrap()
}

/// What declares or asks for names, and permits nothing.
const NO_RULES: &[&str] = &[
    "policy_module(",
    "gen_tunable(",
    "gen_require(",
    "define(",
    "attribute ",
    "type ",
    "role ",
    "typeattribute ",
    "ifdef(",
    "optional_policy(",
    "tunable_policy(",
];

/// The parts of the policy between empty lines and comments, each with the comment above it.
fn parts(text: &str) -> Vec<(String, Vec<&str>)> {
    let mut parts: Vec<(String, Vec<&str>)> = vec![Default::default()];
    let mut in_comment = false;
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix('#') {
            if !in_comment {
                parts.push((String::new(), Vec::new()));
            }
            parts.last_mut().unwrap().0.push_str(comment);
            in_comment = true;
        } else if line.is_empty() {
            parts.push((String::new(), Vec::new()));
            in_comment = false;
        } else {
            parts.last_mut().unwrap().1.push(line);
            in_comment = false;
        }
    }
    parts
}

#[test]
fn each_rule_of_selinux_has_a_comment() {
    let text = policy();
    for (comment, lines) in parts(&text) {
        let rules = lines
            .iter()
            .filter(|line| line.contains('(') || line.starts_with("allow "))
            .filter(|line| !NO_RULES.iter().any(|start| line.starts_with(start)));
        for rule in rules {
            assert!(!comment.trim().is_empty(), "no comment: {rule}");
        }
    }
}

#[test]
fn the_sources_that_rules_of_selinux_name_exist() {
    let text = policy();
    let is_path = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
    let mut named = 0;
    for word in text.split(|c| !is_path(c)) {
        if Path::new(word).extension().is_some_and(|ext| ext == "rs") {
            let below = if word.starts_with("src/") {
                ""
            } else {
                "privsep"
            };
            assert!(project(below).join(word).exists(), "{word}");
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn each_executable_has_a_label_of_selinux() {
    let labels = std::fs::read_to_string(project("packaging/selinux/popward.fc")).unwrap();
    let list = std::fs::read_to_string(project("packaging/executables")).unwrap();
    // A tool of users runs in the domain of its caller.
    for name in list
        .lines()
        .filter(|name| !["popward-spool", "popwardctl"].contains(name))
    {
        let path = format!("/usr/libexec/popward(-[^/]+)?/{name}\t");
        let label = format!(":{}_exec_t,", name.replace('-', "_"));
        let mut lines = labels.lines().filter(|line| line.starts_with(&path));
        assert!(lines.any(|line| line.contains(&label)), "{name}");
    }
}

#[test]
fn each_rule_of_selinux_that_no_test_uses_has_a_reason() {
    if !Path::new("/usr/share/selinux/devel/Makefile").exists() {
        return skipped("SELinux's unused rules: no selinux-policy-dev");
    }
    let look = project("tests/vm/policy/rules/selinux");
    let looked = Command::new(look).arg("list").output().unwrap();
    let said = String::from_utf8_lossy(&looked.stdout);
    assert!(looked.status.success(), "{said}");
}

/// Compiles the policy against the one of the virtual machine's guest, and asks the result.
#[test]
fn no_domain_of_selinux_may_do_what_a_break_in_would() {
    let image = Command::new(project("tests/vm/build-image"))
        .arg("--print-dir")
        .output();
    let image = image.map(|said| String::from_utf8(said.stdout).unwrap());
    if !image.is_ok_and(|image| Path::new(image.trim()).join("ok").exists()) {
        return skipped("SELinux's rules: tests/vm/build-image has made no image");
    }
    if !Path::new("/usr/bin/sesearch").exists() {
        return skipped("SELinux's rules: no setools");
    }
    let name = format!("popward-selinux-{}", std::process::id());
    let out = Directory(std::env::temp_dir().join(name));
    let compiled = Command::new(project("tests/vm/selinux-module"))
        .arg("--out")
        .arg(&out.0)
        .arg(project("packaging/selinux/popward.te"))
        .status();
    assert!(compiled.unwrap().success());
    let entries = std::fs::read_dir(&out.0).unwrap();
    let policy = entries
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_stem().is_some_and(|stem| stem == "policy"));
    let asked = Command::new(project("tests/selinux/rules.py"))
        .arg(policy.unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&asked.stdout);
    assert!(asked.status.success(), "{said}");
    assert!(said.lines().count() >= 14, "{said}");
}
