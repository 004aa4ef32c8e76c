//! The table: what came of each action in each process.
//!
//! `table.txt` says how to read it. A section begins with the process's name in brackets. A row has
//! the action, three results and a reason, with two spaces or more between them.

use super::inject::Outcome;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What is written where settings of the host decide.
pub const HOST: &str = "host";
/// An action has succeeded.
pub const POSSIBLE: &str = "possible";
/// A filter has ended the process.
pub const KILLED: &str = "killed";

/// In the place of the processes that an action is against.
pub const OTHERS: &str = "others";

/// The results of an action: as the process is, without its filter, and with its ids alone.
pub type Results = [String; 3];

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub action: String,
    /// The processes that it is against, or [`OTHERS`]: all that no row before names. Empty for an
    /// action that is against no process.
    pub whom: Vec<String>,
    pub results: Results,
    /// Why the action may be possible. Names a line at the beginning of the table.
    pub reason: String,
}

/// The table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The text before the first section.
    pub head: String,
    /// The rows of each process.
    pub sections: Vec<(String, Vec<Row>)>,
}

/// What the table calls an outcome. `late` are errors that only those get who have the right.
pub fn word(outcome: Outcome, late: &[Errno]) -> String {
    match outcome {
        Outcome::Done => POSSIBLE.to_owned(),
        Outcome::Failed(errno) if late.contains(&errno) => POSSIBLE.to_owned(),
        Outcome::Failed(errno) => format!("{errno:?}"),
        Outcome::Died(Signal::SIGSYS) => KILLED.to_owned(),
        Outcome::Died(signal) => signal.to_string(),
    }
}

impl Table {
    /// Reads the table.
    pub fn parse(text: &str) -> Self {
        let mut table = Self::default();
        for line in text.lines() {
            let name = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'));
            match (name, table.sections.last_mut()) {
                (Some(name), _) => table.sections.push((name.to_owned(), Vec::new())),
                (None, None) => table.head += &format!("{line}\n"),
                (None, Some((_, rows))) if !line.is_empty() => rows.push(Row::parse(line)),
                _ => {}
            }
        }
        table
    }

    /// The rows of a process.
    pub fn section(&self, name: &str) -> &[Row] {
        let mut found = self.sections.iter().filter(|(section, _)| section == name);
        found.next().map_or(&[], |(_, rows)| rows)
    }

    /// The reasons that the head explains, each in a line `NAME: TEXT`.
    pub fn reasons(&self) -> Vec<&str> {
        let (_, reasons) = self.head.split_once("\nReasons:\n").unwrap_or_default();
        let lines = reasons.lines().filter(|line| !line.starts_with(' '));
        lines
            .filter_map(|line| Some(line.split_once(": ")?.0))
            .collect()
    }

    /// The table as text.
    pub fn text(&self) -> String {
        let mut text = self.head.trim_end().to_owned();
        for (name, rows) in &self.sections {
            let _ = write!(text, "\n\n[{name}]");
            // What is possible comes first.
            let (possible, denied): (Vec<_>, Vec<_>) =
                rows.iter().partition(|row| row.is_possible());
            for rows in [possible, denied] {
                for row in rows {
                    let [is, unfiltered, ids] = &row.results;
                    let (action, reason) = (row.name(), &row.reason);
                    let line = format!("{action:60}  {is:8}  {unfiltered:8}  {ids:8}  {reason}");
                    let _ = write!(text, "\n{}", line.trim_end());
                }
                text.push('\n');
            }
            text.truncate(text.trim_end().len());
        }
        text + "\n"
    }
}

impl Row {
    fn parse(line: &str) -> Self {
        let mut words = line
            .split("  ")
            .map(str::trim)
            .filter(|word| !word.is_empty());
        let mut next = || words.next().unwrap_or_default().to_owned();
        let name = next();
        let whom = name.split_once(" (");
        let (action, whom) = whom.unwrap_or((&name, ""));
        let whom = whom.trim_end_matches(')').split(", ");
        Self {
            action: action.to_owned(),
            whom: whom
                .filter(|whom| !whom.is_empty())
                .map(str::to_owned)
                .collect(),
            results: [next(), next(), next()],
            reason: next(),
        }
    }

    /// What the table calls it.
    pub fn name(&self) -> String {
        if self.whom.is_empty() {
            return self.action.clone();
        }
        format!("{} ({})", self.action, self.whom.join(", "))
    }

    /// Whether the process can do this, or can on some hosts.
    pub fn is_possible(&self) -> bool {
        [POSSIBLE, HOST].contains(&&*self.results[0])
    }
}

/// The place of the row for an action against `whom`.
pub fn find(rows: &[Row], action: &str, whom: Option<&str>) -> Option<usize> {
    let same = |row: &Row| row.action == action && row.whom.is_empty() == whom.is_none();
    let names = |row: &Row, name: &str| row.whom.iter().any(|own| own == name);
    let place = |name| rows.iter().position(|row| same(row) && names(row, name));
    match whom {
        None => rows.iter().position(same),
        Some(whom) => place(whom).or_else(|| place(OTHERS)),
    }
}

/// Makes one row of the rows that differ only in the process that they are against. Those of which
/// there are most become [`OTHERS`].
pub fn merge(rows: Vec<Row>) -> Vec<Row> {
    let mut merged: Vec<Row> = Vec::new();
    for row in rows {
        let key = |row: &Row| (row.action.clone(), row.results.clone(), row.reason.clone());
        match merged.iter_mut().find(|other| key(other) == key(&row)) {
            Some(other) => other.whom.extend(row.whom),
            None => merged.push(row),
        }
    }
    let mut largest: BTreeMap<String, usize> = BTreeMap::new();
    for (at, row) in merged.iter().enumerate() {
        let other = largest.entry(row.action.clone()).or_insert(at);
        if row.whom.len() > merged[*other].whom.len() {
            *other = at;
        }
    }
    for at in largest.into_values() {
        if !merged[at].whom.is_empty() {
            merged[at].whom = vec![OTHERS.to_owned()];
        }
    }
    merged
}
