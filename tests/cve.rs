//! What broke other POP3 servers, tried on this one. docs/cve.md has a row for each, which names
//! the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    reason = "a test may fail"
)]

mod host;
#[path = "cve/local.rs"]
mod local;
#[path = "cve/mail.rs"]
mod mail;
#[path = "cve/network.rs"]
mod network;
#[path = "cve/process.rs"]
mod process;

/// The last cell of each row names files, and tests or sections in them.
#[test]
fn every_row_of_cve_md_names_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/cve.md")).unwrap();
    let mut checked = 0;
    for line in text.lines().filter(|line| {
        line.starts_with("| ") && !line.starts_with("| what") && !line.starts_with("| ---")
    }) {
        let cell = line.trim_end_matches('|').rsplit('|').next().unwrap();
        let words: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!words.is_empty() || cell.contains("above"), "{line}");
        let (files, names): (Vec<&str>, Vec<&str>) =
            words.iter().partition(|word| word.contains('/'));
        let mut texts = String::new();
        for file in &files {
            let path = root.join(file);
            assert!(path.exists(), "{file}: {line}");
            if path.is_file() {
                texts += &std::fs::read_to_string(path).unwrap();
            }
        }
        // "as above" refers to the row before.
        for name in names
            .iter()
            .filter(|name| name.contains('_') && !cell.contains("as above"))
        {
            assert!(texts.contains(&format!("fn {name}(")), "{name}: {line}");
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}
