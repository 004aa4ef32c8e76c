//! What each process of a server really does (promises P1 and P10): its system calls, the files that
//! it opens, the capabilities that it has and uses. The test watches whole servers with ptrace(2).
//!
//! `surface/NAME.txt` has what is expected of the executable NAME. So a change of what a process
//! does, or may do, is a difference in these files. `surface/reasons.txt` says how to read them.
//! With `POPWARD_SURFACE=write` the test writes the files anew from what it has seen. Rows without a
//! reason get `?`, and somebody must write the reason.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

#[path = "surface/filter.rs"]
mod filter;
mod host;
#[path = "surface/names.rs"]
mod names;
#[path = "surface/page.rs"]
mod page;
#[path = "surface/scenarios.rs"]
mod scenarios;
#[path = "surface/trace.rs"]
mod trace;

use page::{Found, Page};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/surface");

/// The reasons of `reasons.txt`, each in a line `NAME: TEXT`.
fn reasons() -> BTreeSet<String> {
    let text = std::fs::read_to_string(Path::new(PAGES).join("reasons.txt")).unwrap();
    let (_, reasons) = text.split_once("\nReasons:\n").unwrap();
    let lines = reasons.lines().filter(|line| !line.starts_with(' '));
    let names = lines.filter_map(|line| Some(line.split_once(": ")?.0.to_owned()));
    names.collect()
}

/// The pages that there are.
fn pages() -> BTreeMap<String, Page> {
    let mut pages = BTreeMap::new();
    for entry in std::fs::read_dir(PAGES).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some(name) = name.strip_suffix(".txt").filter(|name| *name != "reasons") {
            let text = std::fs::read_to_string(&path).unwrap();
            pages.insert(name.to_owned(), Page::parse(&text));
        }
    }
    pages
}

#[test]
fn p1_p10_a_process_does_what_its_page_says_and_nothing_else() {
    if !host::root() {
        return host::skipped("watching processes of several users: it takes root");
    }
    if let Err(error) = trace::is_possible() {
        return host::skipped(&format!("watching processes: ptrace: {error}"));
    }
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for story in scenarios::all() {
        for (name, surface) in &story.surfaces {
            found
                .entry(name.clone())
                .or_default()
                .add(name, surface, &story.names);
        }
    }
    page::share(&mut found);
    let (reasons, mut pages) = (reasons(), pages());
    let mut wrong = Vec::new();
    for name in found.keys() {
        pages.entry(name.clone()).or_default();
    }
    let mut used = BTreeSet::new();
    for (name, page) in &mut pages {
        let differences = match found.get(name) {
            None if name == "popward-auth-pam" => continue,
            None => vec!["no such process has run".to_owned()],
            Some(found) => page.judge(found),
        };
        wrong.extend(
            differences
                .into_iter()
                .map(|what| format!("{name}: {what}")),
        );
        for (row, reason) in page.reasons() {
            if !reasons.contains(reason) {
                wrong.push(format!(
                    "{name}: {row}: no reason {reason:?} in reasons.txt"
                ));
            }
            used.insert(reason.to_owned());
        }
        if std::env::var("POPWARD_SURFACE").is_ok_and(|what| what == "write") {
            let path = Path::new(PAGES).join(format!("{name}.txt"));
            std::fs::write(path, page.text()).unwrap();
        }
    }
    let unused = reasons.difference(&used);
    wrong.extend(unused.map(|reason| format!("{reason}: no row has this reason")));
    let (count, wrong) = (wrong.len(), wrong.join("\n"));
    assert!(wrong.is_empty(), "{PAGES}: {count} differences:\n{wrong}");
}

#[test]
fn the_pages_say_what_they_are_read_as() {
    for (name, page) in pages() {
        let path = Path::new(PAGES).join(format!("{name}.txt"));
        assert_eq!(
            page.text(),
            std::fs::read_to_string(path).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_difference_is_found() {
    let text = "[calls behind filter 1]\npermitted here  used\nseldom  sometimes  machine\n\
        spare  not used  spare\n";
    let found = |rows: &[&str], seen: &[&str]| {
        let set = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect();
        Found(BTreeMap::from([(
            "calls behind filter 1".to_owned(),
            (Some(set(rows)), set(seen)),
        )]))
    };
    let table = ["permitted here", "seldom", "spare"];
    let judge = |found: &Found| Page::parse(text).judge(found).len();
    assert_eq!(judge(&found(&table, &["permitted here"])), 0);
    assert_eq!(judge(&found(&table, &["permitted here", "seldom"])), 0);
    assert_eq!(judge(&found(&table, &[])), 1, "a used call is not used");
    assert_eq!(
        judge(&found(&table, &["permitted here", "spare"])),
        1,
        "a spare call is used"
    );
    let more = ["permitted here", "seldom", "spare", "other"];
    assert_eq!(
        judge(&found(&more, &["permitted here"])),
        1,
        "a new row of the table"
    );
    assert_eq!(
        judge(&found(&table[..2], &["permitted here"])),
        1,
        "a row is gone"
    );
    let seen = ["permitted here", "other: not permitted"];
    assert_eq!(
        judge(&found(&table, &seen)),
        1,
        "a call that is not permitted"
    );
}
