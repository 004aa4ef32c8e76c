//! The links of all pages lead somewhere, and the page for incidents names only lines that exist.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages that belong to the project.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut directories = vec![root().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !path.is_symlink() && !name.starts_with('.') && name != "target" {
                directories.push(path);
            } else if name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// A page without its blocks of code.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced && !line.starts_with("    ") {
            prose += line;
            prose.push('\n');
        }
    }
    prose
}

/// A page without what stands between backticks.
fn without_code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .filter(|(at, _)| at % 2 == 0)
        .map(|(_, part)| part)
        .collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        title
            .chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn each_link_leads_to_a_file_and_to_a_heading_of_it() {
    let (mut links, mut wrong) = (0, Vec::new());
    for page in pages() {
        let text = prose(&std::fs::read_to_string(&page).unwrap());
        for link in without_code(&text).split("](").skip(1) {
            let link = link.split([')', ' ']).next().unwrap();
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.contains(':') {
                continue;
            }
            links += 1;
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let there = match std::fs::read_to_string(&target) {
                Ok(text) => anchor.is_empty() || anchors(&prose(&text)).contains(anchor),
                Err(_) => target.exists() && anchor.is_empty(),
            };
            // The book has the man pages as chapters, by other names. Its list alone has links to them.
            let is_manual = file.contains("man/") && !page.ends_with("docs/SUMMARY.md");
            if !there || is_manual {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(links > 100, "{links}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The words between backticks on the page for incidents that are no command are log lines, parts
/// of them, or names. `docs/log.md` has all that consist of several words.
#[test]
fn incidents_name_only_lines_that_the_log_has() {
    const COMMANDS: [&str; 12] = [
        "ps ",
        "ls ",
        "df ",
        "head ",
        "find ",
        "grep ",
        "cp ",
        "journalctl ",
        "systemctl ",
        "dotlockfile ",
        "date ",
        "openssl ",
    ];
    let page = std::fs::read_to_string(root().join("docs/incidents.md")).unwrap();
    let log = std::fs::read_to_string(root().join("docs/log.md")).unwrap();
    let text = prose(&page).replace("``", "");
    let spans = text.split('`').skip(1).step_by(2);
    let lines = spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "));
    let is_line = |span: &String| {
        span.contains(' ')
            && !span.starts_with("popward ")
            && !span.starts_with("popwardctl ")
            && !COMMANDS.iter().any(|command| span.starts_with(command))
    };
    let lines: Vec<String> = lines.filter(is_line).collect();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        let parts = line.split([':', ';']).next().unwrap();
        let words = parts.replace("1.42", "ID").replace("-ERR ", "");
        assert!(log.contains(&words), "{line:?} in docs/log.md");
    }
}

/// The book's table of contents has each page for its readers once.
#[test]
fn the_book_has_each_page_once() {
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let links = summary
        .split("](")
        .skip(1)
        .map(|link| link.split(')').next().unwrap());
    let mut listed: Vec<PathBuf> = links
        .map(|link| root().join("docs").join(link).canonicalize().unwrap())
        .collect();
    listed.sort();
    let mut there: Vec<PathBuf> = pages()
        .iter()
        .map(|page| page.canonicalize().unwrap())
        .collect();
    for entry in std::fs::read_dir(root().join("docs/man")).unwrap() {
        there.push(entry.unwrap().path().canonicalize().unwrap());
    }
    // The table itself, and what stands beside inputs of tests.
    there.retain(|page| !page.ends_with("docs/SUMMARY.md"));
    there.retain(|page| !page.ends_with("tests/conformance/README.md"));
    there.retain(|page| !page.to_str().unwrap().contains("/vectors/"));
    there.sort();
    assert_eq!(listed, there);
}
