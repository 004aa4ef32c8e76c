//! Breaks into each process of a running server and tries what must not be possible (promises P1
//! and P10). The test traces a process and makes system calls in a copy of it, so its filter,
//! Landlock, ids, capabilities and root directory judge these calls.
//!
//! `break_in/table.txt` has the expected result of each action in each process, and the reason for
//! each that is possible. With `POPWARD_BREAK_IN_TABLE=write` the test writes that file anew from
//! what it has seen, for a review of the difference.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

#[path = "break_in/actions/mod.rs"]
mod actions;
#[path = "break_in/catch.rs"]
mod catch;
#[path = "break_in/conversations.rs"]
mod conversations;
mod host;
#[path = "break_in/inject.rs"]
mod inject;
#[path = "break_in/scene.rs"]
mod scene;
#[path = "break_in/subjects.rs"]
mod subjects;
#[path = "break_in/table.rs"]
mod table;

use actions::{Action, ByHost};
use host::{root, skipped};
use inject::{Double, Filter, Outcome};
use scene::{Idle, Scene};
use std::collections::BTreeSet;
use std::path::Path;
use subjects::{Subject, Subjects};
use table::{HOST, KILLED, POSSIBLE, Results, Row, Table};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/break_in/table.txt");

#[test]
fn p1_p10_a_process_can_do_what_the_table_says_and_nothing_else() {
    if !root() || !scene::has_capabilities() {
        return skipped("breaking into processes: it takes root with its capabilities");
    }
    if let Err(errno) = Double::of(Idle::of_root().pid()) {
        return skipped(&format!("breaking into processes: ptrace: {errno}"));
    }
    let kernel = Kernel::here();
    let mut scene = Scene::start();
    let expected = Table::parse(&std::fs::read_to_string(TABLE).unwrap());
    let reasons = expected.reasons();
    let mut wrong = Vec::new();
    let mut sections = Vec::new();
    let mut subjects = Subjects::of(&scene);
    let found = try_all(&mut scene, &mut subjects);
    for (name, attempts) in found {
        let rows = judge(name, attempts, expected.section(name), &kernel, &mut wrong);
        let possible = rows.iter().filter(|row| row.is_possible());
        let unexplained = possible.filter(|row| !reasons.contains(&&*row.reason));
        let says = |row: &Row| format!("{name}: {}: possible without a reason", row.name());
        wrong.extend(unexplained.map(says));
        sections.push((name.to_owned(), rows));
    }
    for (name, rows) in &expected.sections {
        if subjects.missing.contains(&&**name) {
            sections.push((name.clone(), rows.clone()));
        } else if sections.iter().all(|(found, _)| found != name) {
            wrong.push(format!("{name}: nobody has broken into this"));
        }
    }
    let rows = || sections.iter().flat_map(|(_, rows)| rows);
    let unused = reasons
        .iter()
        .filter(|reason| rows().all(|row| row.reason != **reason));
    wrong.extend(unused.map(|reason| format!("{reason}: no row has this reason")));
    if std::env::var("POPWARD_BREAK_IN_TABLE").is_ok_and(|what| what == "write") {
        let head = expected.head.clone();
        std::fs::write(TABLE, Table { head, sections }.text()).unwrap();
    }
    let (count, wrong) = (wrong.len(), wrong.join("\n"));
    assert!(wrong.is_empty(), "{TABLE}: {count} differences:\n{wrong}");
}

/// What came of each action in a process, or against one.
type Attempts = (&'static str, Vec<(Results, Action)>);

/// Tries all actions in all processes.
fn try_all(scene: &mut Scene, subjects: &mut Subjects) -> Vec<Attempts> {
    let mut found: Vec<Attempts> = Vec::new();
    for subject in &subjects.all {
        let fellow = ("a process of its user", subject.fellow.pid());
        let others = subjects.lasting.iter().copied();
        let others = others.filter(|(name, _)| *name != subject.name);
        scene.neighbours = [fellow, ("init", 1)].into_iter().chain(others).collect();
        let actions = actions::all(scene).into_iter();
        let attempts = actions.map(|action| (attempt(subject, scene, &action), action));
        found.push((subject.name, attempts.collect()));
    }
    for attack in std::mem::take(&mut subjects.attacks) {
        let word = |(action, outcome): (Action, Outcome)| {
            let nothing = || "-".to_owned();
            let result = table::word(outcome, action.late);
            ([result, nothing(), nothing()], action)
        };
        found.push((attack.name, attack.outcomes.into_iter().map(word).collect()));
    }
    found
}

/// What a kernel has or lacks, as far as results depend on it.
struct Kernel {
    /// The version of Landlock.
    landlock: u32,
    /// Whether it forbids to trace processes of the same user (Yama).
    forbids_to_trace: bool,
}

impl Kernel {
    fn here() -> Self {
        let idle = Idle::of_root();
        let double = Double::of(idle.pid()).unwrap();
        let version = double.make(nix::libc::SYS_landlock_create_ruleset, [0, 0, 1, 0, 0, 0]);
        let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
        Self {
            landlock: u32::try_from(version.unwrap_or(0)).unwrap(),
            forbids_to_trace: yama.is_ok_and(|scope| scope.trim() != "0"),
        }
    }
}

/// Adds to `wrong` in which attempts the section `name` of the table expects something else. Returns
/// the rows as they should be.
fn judge(
    name: &str,
    attempts: Vec<(Results, Action)>,
    expected: &[Row],
    kernel: &Kernel,
    wrong: &mut Vec<String>,
) -> Vec<Row> {
    let mut seen = Vec::new();
    let mut tried = BTreeSet::new();
    for (results, action) in attempts {
        let place = table::find(expected, &action.name, action.whom.as_deref());
        let row = place.map(|place| &expected[place]);
        tried.extend(place);
        let mut found = Row {
            whom: action.whom.iter().cloned().collect(),
            action: action.name.clone(),
            reason: String::new(),
            results,
        };
        let who = format!("{name}: {}", found.name());
        if let Some(row) = row {
            let how = ["as it is", "without its filter", "with its ids alone"];
            for (at, how) in how.into_iter().enumerate() {
                let (result, listed) = (&mut found.results[at], &row.results[at]);
                if agree(result, listed, at, &action, kernel) {
                    // What this kernel cannot show stays as it is in the table.
                    result.clone_from(listed);
                } else {
                    wrong.push(format!("{who}: {result} {how}, and {listed} in the table"));
                }
            }
            if found.is_possible() {
                found.reason.clone_from(&row.reason);
            }
        } else {
            let results = found.results.join(", ");
            wrong.push(format!("{who}: {results}, and it is not in the table"));
        }
        seen.push(found);
    }
    let rows = expected.iter().enumerate();
    let gone = rows.filter(|(place, _)| !tried.contains(place));
    wrong.extend(gone.map(|(_, row)| format!("{name}: {}: not tried", row.name())));
    table::merge(seen)
}

/// What comes of an action.
fn attempt(subject: &Subject, scene: &Scene, action: &Action) -> Results {
    let attempt = |double: &Double, filter| {
        let outcome = double.attempt(filter, &action.before, &action.call);
        scene.restore();
        outcome
    };
    let outcomes = [
        attempt(&subject.double, Filter::On),
        attempt(&subject.double, Filter::Suspended),
        attempt(&subject.twin, Filter::On),
    ];
    let mut words = outcomes.map(|outcome| table::word(outcome, action.late));
    if action.by_host != ByHost::No {
        words[1] = HOST.to_owned();
        words[2] = HOST.to_owned();
        let decided = subject.has_filter && action.by_host == ByHost::WithoutFilter;
        if !decided && !matches!(outcomes[0], Outcome::Died(_)) {
            words[0] = HOST.to_owned();
        }
    }
    words
}

/// Whether the result number `at` is the one in the table, as far as this kernel can give that.
fn agree(found: &str, listed: &str, at: usize, action: &Action, kernel: &Kernel) -> bool {
    let lacks_landlock = action.landlock > kernel.landlock && at < 2;
    // Some kernels do not have each call and each kind of socket.
    let lacks_call = found == "ENOSYS" && (at > 0 || listed == POSSIBLE);
    let lacks_socket = found == "EAFNOSUPPORT";
    let forbids = kernel.forbids_to_trace && action.traces;
    let is_strict = forbids && listed == POSSIBLE && ["EPERM", "EACCES"].contains(&found);
    let excused = lacks_landlock || lacks_call || lacks_socket || is_strict;
    found == listed || excused && listed != KILLED
}

#[test]
fn the_table_says_what_it_is_read_as() {
    let text = std::fs::read_to_string(Path::new(TABLE)).unwrap();
    assert_eq!(Table::parse(&text).text(), text);
}
