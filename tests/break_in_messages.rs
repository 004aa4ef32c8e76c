//! Takes over each process of a running server and sends everything that a message can be to each of
//! its neighbours (promises P1 and P10).
//!
//! The test stops a process, takes its end of a channel, and speaks there in its name. Then it looks
//! at what the neighbour does, whether other users are served, and whether what was sent stays open
//! somewhere.
//!
//! `break_in/messages.txt` has the expected results. With `POPWARD_BREAK_IN_TABLE=write` the test
//! writes that file anew from what it has seen, for a review of the difference.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

#[allow(dead_code, reason = "the other test of break-ins uses the rest")]
#[path = "break_in/conversations.rs"]
mod conversations;
mod host;
#[path = "break_in/messages/mod.rs"]
mod messages;

use host::{root, skipped};
use messages::table::{Row, Table, rows};
use messages::{Lane, Tried, all_lanes, sockets};
use std::sync::Mutex;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/break_in/messages.txt");

/// The variable with the name of the only channel to try.
const CHANNEL: &str = "POPWARD_BREAK_IN_CHANNEL";

/// How many servers run at once. Most of the time they wait.
const AT_ONCE: usize = 8;

#[test]
fn p1_p10_messages_of_a_process_that_was_taken_over_do_what_the_table_says() {
    if !root() {
        return skipped("messages of processes that were taken over: it takes root");
    }
    if let Err(errno) = sockets() {
        return skipped(&format!("messages of processes: sock_diag: {errno}"));
    }
    let text = std::fs::read_to_string(TABLE).unwrap_or_default();
    let expected = Table::parse(&text);
    let mut wrong = Vec::new();
    let mut sections = Vec::new();
    for (name, tried) in try_all() {
        let mut rows = rows(&tried);
        compare(name, &mut rows, expected.section(name), &mut wrong);
        sections.push((name.to_owned(), rows));
    }
    let reasons = expected.reasons();
    for (name, rows) in &sections {
        let heard = rows.iter().filter(|row| row.is_heard());
        let unexplained = heard.filter(|row| !reasons.contains(&&*row.reason));
        wrong.extend(
            unexplained.map(|row| format!("{name}: {}: no reason for: {}", row.what, row.result)),
        );
    }
    let all = || sections.iter().flat_map(|(_, rows)| rows);
    let unused = reasons
        .iter()
        .filter(|reason| all().all(|row| row.reason != **reason));
    let whole = std::env::var_os(CHANNEL).is_none();
    let unused = unused.filter(|_| whole);
    wrong.extend(unused.map(|reason| format!("{reason}: no row has this reason")));
    if std::env::var("POPWARD_BREAK_IN_TABLE").is_ok_and(|what| what == "write" && whole) {
        let head = expected.head.clone();
        std::fs::write(TABLE, Table { head, sections }.text()).unwrap();
    }
    let (count, wrong) = (wrong.len(), wrong.join("\n"));
    assert!(wrong.is_empty(), "{TABLE}: {count} differences:\n{wrong}");
}

/// Adds to `wrong` in which rows something else is expected. Puts the reasons into the rows.
fn compare(name: &str, found: &mut [Row], expected: &[Row], wrong: &mut Vec<String>) {
    for row in found.iter_mut() {
        let key = |row: &Row| (row.points.clone(), row.what.clone(), row.result.clone());
        let about = |other: &&Row| other.what == row.what && other.result == row.result;
        match expected.iter().find(|other| key(other) == key(row)) {
            Some(same) => row.reason.clone_from(&same.reason),
            None => {
                let near = expected.iter().find(about);
                row.reason = near.map_or(String::new(), |near| near.reason.clone());
                wrong.push(format!(
                    "{name}: {}: {}: {}",
                    row.points, row.what, row.result
                ));
            }
        }
    }
    let gone = expected.iter().filter(|row| {
        found.iter().all(|other| {
            (&other.points, &other.what, &other.result) != (&row.points, &row.what, &row.result)
        })
    });
    wrong.extend(
        gone.map(|row| format!("{name}: {}: {}: not {}", row.points, row.what, row.result)),
    );
}

/// Tries all channels, in the order of the table.
fn try_all() -> Vec<(&'static str, Vec<Tried>)> {
    let wanted = std::env::var(CHANNEL).ok();
    let mut lanes = all_lanes();
    lanes.retain(|lane| wanted.as_ref().is_none_or(|wanted| wanted == lane.name));
    let names: Vec<&str> = lanes.iter().map(|lane| lane.name).collect();
    let (left, found) = (Mutex::new(lanes), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(lane) = left.lock().unwrap().pop() else {
                return;
            };
            let tried = Lane::run(&lane);
            found.lock().unwrap().push((lane.name, tried));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(name, _)| names.iter().position(|other| other == name));
    found
}

#[test]
fn the_table_says_what_it_is_read_as() {
    let text = std::fs::read_to_string(TABLE).unwrap();
    assert_eq!(Table::parse(&text).text(), text);
}
