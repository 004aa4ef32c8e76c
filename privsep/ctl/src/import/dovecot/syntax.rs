//! The output of `doveconf`: settings in sections. It has one setting, one beginning of a section or
//! one end in each line.

use crate::import::draft::Mistake;

/// The deepest section.
const DEPTH_MAX: usize = 16;

/// A setting with its value.
pub(super) struct Setting {
    /// The sections that it is in, the outermost first, such as `service pop3-login`.
    pub(super) sections: Vec<String>,
    /// Its name.
    pub(super) name: String,
    /// Its value without quotes. A comment that stands for a hidden value counts as none.
    pub(super) value: String,
    /// The line, with its sections, for comments.
    pub(super) line: String,
}

/// Parses the whole text.
pub(super) fn parse(text: &str) -> Result<Vec<Setting>, Mistake> {
    let (mut settings, mut sections) = (Vec::new(), Vec::<String>::new());
    let mut last = 0;
    for (index, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        last = number;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(head) = line.strip_suffix('{') {
            if sections.len() == DEPTH_MAX {
                return Err((
                    number,
                    format!("expected at most {DEPTH_MAX} sections in each other"),
                ));
            }
            sections.push(head.trim().to_owned());
        } else if line == "}" {
            let closed = sections.pop();
            closed.ok_or_else(|| (number, "expected no end: no section is open".to_owned()))?;
        } else {
            settings.push(setting(line, &sections).ok_or_else(|| {
                let expected = "expected `NAME = VALUE`, as doveconf -n prints it";
                (number, expected.to_owned())
            })?);
        }
    }
    match sections.pop() {
        None => Ok(settings),
        Some(open) => Err((last, format!("expected the end of the section `{open}`"))),
    }
}

fn setting(line: &str, sections: &[String]) -> Option<Setting> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_-/".contains(letter);
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let unquoted = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let value = match unquoted {
        Some(inside) => inside,
        None if value.starts_with('#') => "",
        None => value,
    };
    let path = [sections, &[line.to_owned()]].concat().join(" / ");
    Some(Setting {
        sections: sections.to_vec(),
        name: name.to_owned(),
        value: value.trim().to_owned(),
        line: path,
    })
}
