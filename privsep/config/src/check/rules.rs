//! What all checks share: a wrong value with its place, and the rules for names, ranges, times,
//! paths and groups.

use crate::file;
use crate::names::Names;
use crate::owner::Owners;
use crate::values::{Id, Time};
use popward_proto::bounded::AbsolutePath;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use toml::Spanned;

/// A wrong value: its offset in the file, in bytes, and the expected value in words for the
/// operator. The offset is 0 if a default is wrong.
pub(crate) struct Problem {
    pub(crate) offset: usize,
    pub(crate) expected: String,
}

pub(super) type Checked<T> = Result<T, Problem>;

pub(super) fn problem<T>(offset: usize, expected: impl Into<String>) -> Checked<T> {
    Err(Problem {
        offset,
        expected: expected.into(),
    })
}

/// Returns the value and its offset in the file. The offset of a default is 0.
pub(super) fn placed<T>(value: &Spanned<T>) -> (usize, &T) {
    (value.span().start, value.get_ref())
}

/// Returns the meaning of a value that has one of these names.
pub(super) fn one_of<T: Copy>(key: &str, value: &file::Placed, names: &[(&str, T)]) -> Checked<T> {
    let (offset, value) = placed(value);
    if let Some((_, meaning)) = names.iter().find(|(name, _)| value == name) {
        return Ok(*meaning);
    }
    let mut all = quoted(names);
    let last = all.pop().unwrap_or_default();
    problem(
        offset,
        format!("{key}: expected {} or {last}", all.join(", ")),
    )
}

/// Returns the meanings of at least one value. All of them have these names.
pub(super) fn some_of<T: Copy>(
    key: &str,
    values: &Spanned<Vec<String>>,
    names: &[(&str, T)],
) -> Checked<Vec<T>> {
    let (offset, values) = placed(values);
    let known = |value: &String| names.iter().find(|(name, _)| value == name);
    let all = values.iter().map(|value| Some(known(value)?.1));
    match all.collect::<Option<Vec<T>>>() {
        Some(all) if !all.is_empty() => Ok(all),
        _ => {
            let all = quoted(names).join(", ");
            problem(offset, format!("{key}: expected some of {all}"))
        }
    }
}

fn quoted<T>(names: &[(&str, T)]) -> Vec<String> {
    names.iter().map(|(name, _)| format!("{name:?}")).collect()
}

/// A day in seconds.
pub(super) const DAY: u64 = 86_400;

/// Checks that a value is in `range`, and returns it.
pub(super) fn within<T: Copy + Display + PartialOrd>(
    key: &str,
    value: &Spanned<T>,
    range: RangeInclusive<T>,
) -> Checked<T> {
    let (offset, value) = placed(value);
    if range.contains(value) {
        return Ok(*value);
    }
    let (least, most) = (range.start(), range.end());
    problem(offset, format!("{key}: expected {least} to {most}"))
}

/// Checks that a time is in the range of these seconds, which ends before 49 days. Returns it in
/// milliseconds.
pub(super) fn time(key: &str, value: &Spanned<Time>, range: RangeInclusive<u64>) -> Checked<u32> {
    let range = Time::s(*range.start())..=Time::s(*range.end());
    let time = within(key, value, range)?;
    Ok(u32::try_from(time.ms).unwrap_or(u32::MAX))
}

/// Does the same for a time that must have whole seconds. Returns it in seconds.
pub(super) fn seconds(
    key: &str,
    value: &Spanned<Time>,
    range: RangeInclusive<u64>,
) -> Checked<u32> {
    let ms = time(key, value, range)?;
    if ms % 1000 == 0 {
        return Ok(ms / 1000);
    }
    problem(value.span().start, format!("{key}: expected whole seconds"))
}

pub(super) fn absolute(key: &str, value: &file::Placed) -> Checked<AbsolutePath> {
    AbsolutePath::try_from(value.get_ref().clone()).or_else(|_| {
        let expected = format!("{key}: expected an absolute path without `..`");
        problem(value.span().start, expected)
    })
}

/// Checks that only `owners` can change what is at `path`.
pub(super) fn safe(key: &str, offset: usize, path: &Path, owners: &Owners) -> Checked<()> {
    owners
        .of(path)
        .or_else(|expected| problem(offset, format!("{key}: {expected}")))
}

/// Returns the id of the group that stands at `offset` in the file.
pub(super) fn group(key: &str, (offset, id): (usize, &Id), names: &Names) -> Checked<u32> {
    let name = match id {
        // A number need not have a group on this system.
        Id::Number(gid) => return Ok(*gid),
        Id::Name(name) => name,
    };
    let expected = match names.group(name) {
        Ok(Some(gid)) => return Ok(gid),
        Ok(None) => format!("expected a group of this system, not {name:?}"),
        Err(error) => format!("{name:?}: {error}"),
    };
    problem(offset, format!("{key}: {expected}"))
}
