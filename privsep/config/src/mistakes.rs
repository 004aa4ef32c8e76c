//! Finds all mistakes of a file, not the first one alone, and words them for the operator.
//!
//! The parser and the checks stop at the first mistake. So the statement with the mistake is taken
//! out, and the rest is read again, until it has no more mistakes.

use crate::removed::REMOVED;
use crate::sources::{Failure, Sources};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Most mistakes of a file that are shown.
pub(crate) const MISTAKES_MAX: usize = 20;

/// A mistake in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The bytes of the text that the mistake is in. Empty at 0: a default is wrong.
    pub(crate) place: Range<usize>,
    /// What was expected, in words for the operator.
    pub(crate) expected: String,
}

/// Reads the text of `sources` by `read`. Returns the result, or the mistakes in the order of the
/// files.
pub(crate) fn all<T>(
    sources: &Sources,
    mut read: impl FnMut(&str) -> Result<T, Failure>,
) -> Result<T, Vec<Mistake>> {
    let text = sources.text();
    let mut rest = text.to_owned();
    let mut mistakes: Vec<Mistake> = Vec::new();
    while mistakes.len() < MISTAKES_MAX {
        let failure = match read(&rest) {
            Ok(whole) if mistakes.is_empty() => return Ok(whole),
            Ok(_) => break,
            Err(failure) => failure,
        };
        let is_first = mistakes.is_empty();
        let statement = match &failure {
            Failure::Form(_, place) => place
                .as_ref()
                .and_then(|place| Statement::at(sources, &rest, place.start)),
            Failure::Value(0, _) => None,
            Failure::Value(offset, _) => Statement::at(sources, &rest, *offset),
        };
        // A default, or a table without some of its statements, may be wrong only because of what
        // was taken out.
        let is_new = |statement: &Statement| {
            statement.key.is_some()
                || text.get(statement.place.clone()) == rest.get(statement.place.clone())
        };
        if is_first || statement.as_ref().is_some_and(is_new) {
            mistakes.push(mistake(failure, statement.as_ref()));
        }
        let Some(statement) = statement else {
            break;
        };
        rest = statement.rest;
    }
    mistakes.sort_by_key(|mistake| mistake.place.start);
    Err(mistakes)
}

fn mistake(failure: Failure, statement: Option<&Statement>) -> Mistake {
    match failure {
        Failure::Form(error, place) => {
            let place = place.unwrap_or(0..0);
            let words = in_words(error.message());
            // The other messages name the key.
            let expected = match statement.and_then(|statement| statement.key.as_ref()) {
                Some(key) if words.starts_with("expected ") => format!("{key}: {words}"),
                _ => words,
            };
            Mistake { place, expected }
        }
        Failure::Value(offset, expected) => {
            let end = statement
                .filter(|statement| statement.key.is_some())
                .map_or(offset, |statement| statement.place.end);
            Mistake {
                place: offset..end.max(offset),
                expected,
            }
        }
    }
}

/// A statement of the file, or a whole table.
struct Statement {
    /// The key with its tables, such as `limits.login`. `None`: a whole table.
    key: Option<String>,
    /// Its bytes in the file.
    place: Range<usize>,
    /// The file with spaces in the statement's place.
    rest: String,
}

impl Statement {
    /// Returns the statement at an offset of `text`. `None`: there is none, or the rest would not
    /// be TOML.
    fn at(sources: &Sources, text: &str, offset: usize) -> Option<Self> {
        let part = &sources.part(text, offset);
        let document = DeTable::parse(part).ok()?;
        let mut found = Vec::new();
        look(document.get_ref(), "", offset, &mut found);
        let key = found.last().map(|(key, _)| key.clone());
        // The innermost comes last. Without a key of an inline table, the rest is often no TOML.
        for (_, place) in found.into_iter().rev() {
            let start = start_of_line(part, place.start);
            if let Some(rest) = without(sources, text, start..place.end) {
                return Some(Self { key, place, rest });
            }
        }
        let place = whole_table(part, offset)?;
        let rest = without(sources, text, place.clone())?;
        Some(Self {
            key: None,
            place,
            rest,
        })
    }
}

/// Adds the statements that contain `offset`, the outermost first: keys with the tables in
/// `prefix`, and places from the key to the value's end.
fn look(table: &DeTable<'_>, prefix: &str, offset: usize, found: &mut Vec<(String, Range<usize>)>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        let place = key.span().start..value.span().end;
        if place.contains(&offset) {
            found.push((name.clone(), place));
        }
        let inner = format!("{name}.");
        match value.get_ref() {
            DeValue::Table(table) => look(table, &inner, offset, found),
            DeValue::Array(values) => {
                for table in values.iter().filter_map(as_table) {
                    look(table, &inner, offset, found);
                }
            }
            _ => {}
        }
    }
}

fn as_table<'a, 'text>(value: &'a Spanned<DeValue<'text>>) -> Option<&'a DeTable<'text>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// Returns the offset of the line's start, if nothing but a dotted key is between it and `offset`.
fn start_of_line(text: &str, offset: usize) -> usize {
    let start = text
        .get(..offset)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |end| end + 1);
    let key = |c: char| c.is_ascii_alphanumeric() || "_-. \t\"'".contains(c);
    match text.get(start..offset) {
        Some(between) if between.chars().all(key) => start,
        _ => offset,
    }
}

/// Returns the place of the table with its header at `offset`, up to the next header.
fn whole_table(text: &str, offset: usize) -> Option<Range<usize>> {
    let before = text.get(..offset)?;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let from = text.get(start..)?;
    if !from.starts_with('[') {
        return None;
    }
    let end = from
        .find("\n[")
        .map_or(text.len(), |length| start + length + 1);
    Some(start..end)
}

/// Returns the text with spaces in this place, so that all offsets and lines stay. `None`: that
/// changes nothing, or is no TOML.
fn without(sources: &Sources, text: &str, place: Range<usize>) -> Option<String> {
    let taken = text.get(place.clone())?;
    let spaces: String = taken
        .bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect();
    if taken == spaces {
        return None;
    }
    let rest = [text.get(..place.start)?, &spaces, text.get(place.end..)?].concat();
    DeTable::parse(&sources.part(&rest, place.start)).ok()?;
    Some(rest)
}

/// Rewrites the parser's messages, which name Rust's types, for an operator.
fn in_words(message: &str) -> String {
    let message = message.trim();
    if let Some(rest) = message.strip_prefix("unknown field `") {
        return unknown(rest);
    }
    if let Some(rest) = message.strip_prefix("missing field `") {
        return format!(
            "expected the key {} in this table",
            rest.trim_end_matches('`')
        );
    }
    let wrong = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = wrong.and_then(|wrong| wrong.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    // "string", "integer" and the like stand before the value.
    let value = found
        .split_once(' ')
        .map_or(found, |(_, value)| value.trim_matches('`'));
    let expected = match expected {
        "a string" => "a text in quotes",
        "a boolean" => "true or false",
        "u16" => "a number from 0 to 65535",
        "u32" => "a number from 0 to 4294967295",
        "a nonzero u32" => "a number from 1 to 4294967295",
        "a sequence" if found.starts_with("string ") => {
            return format!("expected a list, such as [{value}]");
        }
        "a sequence" => "a list",
        struct_or_map if struct_or_map.starts_with("struct ") || struct_or_map == "a map" => {
            "a table"
        }
        other => other,
    };
    format!("expected {expected}, not {value}")
}

/// Words the error about an unknown key. `rest` is its name, and behind it the names of all keys,
/// each in backquotes.
fn unknown(rest: &str) -> String {
    let mut words = rest.split('`').step_by(2);
    let name = words.next().unwrap_or("");
    let known: Vec<&str> = words
        .filter(|known| !known.is_empty() && !REMOVED.contains(known))
        .collect();
    let near = |known: &&&str| strsim::damerau_levenshtein(name, known) <= 1 + name.len() / 4;
    let nearest = known
        .iter()
        .filter(near)
        .min_by_key(|known| strsim::damerau_levenshtein(name, known));
    let question = nearest.map_or(String::new(), |near| format!(", did you mean {near}?"));
    let all = known.join(", ");
    format!("unknown key {name}{question}; the keys here are {all}")
}

#[cfg(test)]
mod tests;
