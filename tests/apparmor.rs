//! `packaging/apparmor` has a profile for each executable, and each rule has its reason.
//! `tests/vm/scenario apparmor` tests what the profiles do.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use std::path::{Path, PathBuf};
use std::process::Command;

fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The executables that a profile confines. popwardctl has its caller's rights, and whatever it
/// starts has a profile of its own.
fn executables() -> Vec<String> {
    let list = read(&project("packaging/executables"));
    let confined = list.lines().filter(|name| *name != "popwardctl");
    confined.map(str::to_owned).collect()
}

/// The files of a directory below `packaging/apparmor`, without directories.
fn files(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project("packaging/apparmor").join(directory)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

#[test]
fn each_executable_has_a_profile_that_its_path_attaches() {
    let profiles = files("").into_iter();
    let names = profiles.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    let mut names: Vec<_> = names.filter(|name| name != "README.md").collect();
    names.sort();
    assert_eq!(names, executables());
    for name in names {
        let text = read(&project("packaging/apparmor").join(&name));
        let head = format!("\nprofile {name} @{{popward_libexec}}/{name} {{\n");
        assert!(text.contains(&head), "{name}");
        let local = format!("\n  include if exists <local/{name}>\n}}\n");
        assert!(text.ends_with(&local), "{name}");
        // Such a profile denies nothing, or lets its process out.
        for rule in text.lines().filter(|line| !line.trim().starts_with('#')) {
            let is_loose = |word| rule.contains(word);
            assert!(
                !["flags=", "ux", "Ux"].iter().any(is_loose),
                "{name}: {rule}"
            );
        }
    }
}

/// A rule stands in a paragraph that begins with a comment. Only what every profile has needs none.
#[test]
fn each_rule_has_a_comment_and_each_file_that_a_comment_names_exists() {
    let all = [files(""), files("abstractions"), files("tunables")].concat();
    let mut named = 0;
    for path in all.iter().filter(|path| !path.ends_with("README.md")) {
        let text = read(path);
        let body = text.split_once(" {\n").map_or(&*text, |(_, body)| body);
        for paragraph in body.split("\n\n") {
            let rules: Vec<&str> = paragraph.lines().map(str::trim).collect();
            let is_common = |rule: &&str| {
                rule.starts_with("include ") || rule.ends_with(" mr,") || ["}", ""].contains(rule)
            };
            let first = rules.iter().find(|rule| !rule.is_empty()).unwrap_or(&"");
            let explained = first.starts_with('#') || rules.iter().all(is_common);
            assert!(explained, "{}: {paragraph}", path.display());
        }
        for word in text.split([' ', '\n', ',', '(', ')', ':']) {
            let word = word.trim_end_matches('.');
            if word.ends_with(".rs") && word.contains('/') {
                assert!(project(word).exists(), "{}: {word}", path.display());
                named += 1;
            }
        }
    }
    assert!(named > 40, "{named}");
}

#[test]
fn each_right_that_no_test_uses_has_a_reason() {
    let look = project("tests/vm/policy/rules/apparmor");
    let looked = Command::new(look).arg("list").output().unwrap();
    let said = String::from_utf8_lossy(&looked.stdout);
    assert!(looked.status.success(), "{said}");
}

#[test]
fn the_profiles_compile() {
    let parser = ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"];
    let Some(parser) = parser.iter().find(|path| Path::new(path).exists()) else {
        return host::skipped("apparmor_parser is not installed");
    };
    for name in executables() {
        let output = Command::new(parser)
            .args(["--skip-kernel-load", "--skip-cache", "--skip-read-cache"])
            .arg("--Include")
            .arg(project("packaging/apparmor"))
            .arg(project("packaging/apparmor").join(&name))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
    }
}
