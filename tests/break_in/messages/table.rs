//! The table of messages. `messages.txt` says how to read it.

use super::lanes::Tried;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A row: what was sent at which points, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub points: String,
    pub what: String,
    pub result: String,
    /// Why the result gives the attacker nothing. Names a line at the beginning of the table.
    pub reason: String,
}

/// The table.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// The text before the first section.
    pub head: String,
    /// The rows of each channel.
    pub sections: Vec<(String, Vec<Row>)>,
}

/// The point of what the receiving code alone was given.
pub const ANY_PHASE: &str = "in any phase";

/// Results that need no reason: the neighbour has refused it, or has not even read it.
const REFUSALS: &[&str] = &[
    "refused",
    "read as",
    "killed",
    "closes the channel",
    "reads nothing",
    "ends worker",
    "ends auth-program",
];

impl Table {
    /// Reads the table.
    pub fn parse(text: &str) -> Self {
        let mut sections: Vec<(String, Vec<Row>)> = Vec::new();
        let mut head = String::new();
        for line in text.lines() {
            let name = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'));
            match (name, sections.last_mut()) {
                (Some(name), _) => sections.push((name.to_owned(), Vec::new())),
                (None, None) => head += &format!("{line}\n"),
                (None, Some((_, rows))) => rows.extend(Row::parse(line)),
            }
        }
        Self { head, sections }
    }

    /// The rows of a channel.
    pub fn section(&self, name: &str) -> &[Row] {
        let mut sections = self.sections.iter();
        let found = sections.find(|(other, _)| other == name);
        found.map_or(&[], |(_, rows)| rows)
    }

    /// The names of the reasons at the beginning.
    pub fn reasons(&self) -> Vec<&str> {
        let (_, reasons) = self.head.split_once("Reasons:\n").unwrap_or_default();
        let named = reasons.lines().filter_map(|line| line.split_once(": "));
        named.map(|(name, _)| name).collect()
    }

    /// The table as it is written.
    pub fn text(&self) -> String {
        let mut text = self.head.clone();
        for (place, (name, rows)) in self.sections.iter().enumerate() {
            let before = if place == 0 { "" } else { "\n" };
            let _ = writeln!(text, "{before}[{name}]");
            let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).len()).max();
            let points = width(|row| &row.points).unwrap_or(0);
            let what = width(|row| &row.what).unwrap_or(0).min(60);
            for row in rows {
                let Row { result, reason, .. } = row;
                let line = format!(
                    "{:points$}  {:what$}  {result}  {reason}",
                    row.points, row.what
                );
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
        text
    }
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line
            .split("  ")
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let mut next = || parts.next().map(str::to_owned);
        Some(Self {
            points: next()?,
            what: next()?,
            result: next()?,
            reason: next().unwrap_or_default(),
        })
    }

    /// Whether the neighbour did something with what was sent.
    pub fn is_heard(&self) -> bool {
        let words = self.result.split(';').next().unwrap_or_default();
        let is_refusal = |word: &str| REFUSALS.iter().any(|start| word.starts_with(start));
        !words.split(", ").all(is_refusal)
    }
}

/// One row for what has the same result: first what was sent at a point, then the points.
pub fn rows(tried: &[Tried]) -> Vec<Row> {
    let mut points: Vec<&str> = Vec::new();
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in tried {
        if !points.contains(&&*one.stage) {
            points.push(&one.stage);
        }
        if let Some(group) = one.group {
            let names = groups.entry(group).or_default();
            names.push(&one.what);
        }
    }
    let mut merged: Vec<(String, String, Vec<&str>, Option<&str>)> = Vec::new();
    for one in tried {
        let same = |row: &&mut (String, String, Vec<&str>, Option<&str>)| {
            row.0 == one.stage
                && row.1 == one.result
                && row.3 == one.group
                && !one.what.starts_with("2,000")
        };
        match merged.iter_mut().find(same) {
            Some(row) if row.2.contains(&&*one.what) => {}
            Some(row) => row.2.push(&one.what),
            None => merged.push((
                one.stage.clone(),
                one.result.clone(),
                vec![&one.what],
                one.group,
            )),
        }
    }
    let mut found: Vec<(Vec<String>, String, String)> = Vec::new();
    for (point, result, names, group) in merged {
        let what = match group {
            Some(group) if groups[group] == [""] => group.to_owned(),
            Some(group) if groups[group].len() == names.len() => {
                format!("{group} ({})", names.len())
            }
            Some(group) => format!("{group}: {}", names.join(", ")),
            None => names.join(", "),
        };
        match found
            .iter_mut()
            .find(|row| (&row.1, &row.2) == (&what, &result))
        {
            Some(row) => row.0.push(point),
            None => found.push((vec![point], what, result)),
        }
    }
    points.retain(|point| *point != ANY_PHASE);
    let everywhere = |own: &[String]| own.len() > 1 && own.len() == points.len();
    let row = |(own, what, result): (Vec<String>, _, _)| Row {
        points: match everywhere(&own) {
            true => "at each point".to_owned(),
            false => own.join(", "),
        },
        what,
        result,
        reason: String::new(),
    };
    found.into_iter().map(row).collect()
}
