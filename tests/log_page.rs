//! docs/log.md has every line that a process can write.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

use std::path::{Path, PathBuf};

/// All source files below `path`, without tests.
fn sources(path: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() && name != "tests" {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs"
        {
            into.push(path);
        }
    }
}

/// How a call that writes a line begins in the source: the monitor's own, and every process's.
const CALLS: [&str; 5] = [
    "log.write(",
    "log.error(",
    "log.warning(",
    "log.notice(",
    "log.info(",
];

/// The texts of a file's lines. A text is in the call, or in the variable before it. A literal
/// right behind an opening bracket is a field's name.
fn texts(code: &str) -> Vec<String> {
    let literal = |text: &str| {
        let start = text.find('"')? + 1;
        let end = text[start..].find('"')? + start;
        (!text[..start - 1].ends_with('(')).then(|| text[start..end].to_owned())
    };
    let mut texts = Vec::new();
    for call in CALLS {
        for (at, _) in code.match_indices(call) {
            let rest = &code[at + call.len()..];
            let statement = &rest[..rest.find(';').unwrap_or(rest.len())];
            let before = code[..at].rfind("lettext=").map(|start| &code[start..at]);
            texts.extend(literal(statement).or_else(|| before.and_then(literal)));
        }
    }
    // Two lines of the front are constants, because the front counts them by their names.
    for (at, name) in code
        .match_indices("constREFUSED:&str=")
        .chain(code.match_indices("constYIELDED:&str="))
    {
        texts.extend(literal(&code[at + name.len()..]));
    }
    texts
}

/// Code without spaces and line ends between its words. Texts keep theirs.
fn packed(code: &str) -> String {
    let mut quoted = false;
    let mut packed = String::new();
    for line in code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
    {
        // Quotes that begin no text.
        for c in line.replace(r#"'"'"#, "").replace(r#"\""#, "").chars() {
            quoted ^= c == '"';
            if quoted || !c.is_whitespace() {
                packed.push(c);
            }
        }
    }
    packed
}

#[test]
fn every_log_line_is_in_log_md() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/log.md")).unwrap();
    let mut files = Vec::new();
    for part in ["src", "privsep"] {
        sources(&root.join(part), &mut files);
    }
    let mut all = Vec::new();
    for file in &files {
        let code = std::fs::read_to_string(file).unwrap();
        let code = code.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        all.extend(texts(&packed(code)));
    }
    // About as many as there were when this test was written.
    assert!(all.len() > 60, "{all:?}");
    for text in &all {
        assert!(
            page.contains(&format!("`{text}`")),
            "{text:?} in docs/log.md"
        );
    }
}
