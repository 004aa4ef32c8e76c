//! The files of a crate do not use each other in a circle.
//!
//! A file uses another one
//!
//! - if it names an item of it, in `use` or in a path such as `super::Item`;
//! - if one of its types calls a method on itself that the other file adds to the type.
//!
//! An item that a file only re-exports belongs to the file that defines it. So a parent module may
//! declare its children and re-export their items. It may not use its children if they use what it
//! defines. Tests do not count.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[test]
fn no_files_use_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for source in sources(root) {
        let name = source.strip_prefix(root).unwrap().display().to_string();
        for circle in Files::read(&source).circles() {
            found.insert((name.clone(), circle));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_circle_is_found() {
    let files = |texts: &[(&str, &str)]| {
        let texts = texts
            .iter()
            .map(|(file, text)| (PathBuf::from(file), (*text).to_owned()));
        Files::new(texts.collect()).circles()
    };
    // The parent defines what the child uses, and uses the child.
    let parent = "mod child;\nuse child::Child;\npub struct Item;";
    let child = "use super::Item;\npub struct Child;";
    let circle = files(&[("lib.rs", parent), ("child.rs", child)]);
    assert_eq!(circle, [["child.rs", "lib.rs"]]);
    // The same without `use`, in code.
    let parent = "mod child;\nfn f() -> u8 { child::g() }\npub struct Item;";
    let circle = files(&[("lib.rs", parent), ("child.rs", child)]);
    assert_eq!(circle, [["child.rs", "lib.rs"]]);
    // The same by a method that the child adds to the parent's type.
    let parent = "mod child;\npub struct Item;\nimpl Item { fn f(&self) { self.g(); } }";
    let child = "use super::Item;\nimpl Item { pub fn g(&self) {} }";
    let circle = files(&[("lib.rs", parent), ("child.rs", child)]);
    assert_eq!(circle, [["child.rs", "lib.rs"]]);
    // The parent only declares its children and passes their items on.
    let parent = "mod child;\nmod other;\npub use other::Item;\npub use child::Child;";
    let child = "use super::Item;\npub struct Child;";
    let other = "pub struct Item;";
    let circle = files(&[("lib.rs", parent), ("child.rs", child), ("other.rs", other)]);
    assert!(circle.is_empty());
    // Three files, through a re-export and through a module's name.
    let other = "use crate::third;\npub struct Item;\nfn f() { third::f() }";
    let third = "use crate::Child;\npub fn f() {}";
    let parent = "mod child;\nmod other;\nmod third;\npub use other::Item;\npub use child::Child;";
    let circle = files(&[
        ("lib.rs", parent),
        ("child.rs", child),
        ("other.rs", other),
        ("third.rs", third),
    ]);
    assert_eq!(circle, [["child.rs", "other.rs", "third.rs"]]);
}

/// The files of `proto` that the supervisor uses. It keeps the monitors' part of a configuration as
/// bytes, so the settings of the other processes are not among them.
const OF_THE_SUPERVISOR: [&str; 15] = [
    "account.rs",
    "bounded.rs",
    "codec.rs",
    "lib.rs",
    "servers/listen.rs",
    "log.rs",
    "log/receiver.rs",
    "servers/log_line.rs",
    "servers/log_line/escape.rs",
    "permit.rs",
    "servers/setup_phase.rs",
    "servers/supervisor_config.rs",
    "servers/supervisor_log.rs",
    "servers/supervisor_monitor.rs",
    "servers/supervisor_sessions.rs",
];

#[test]
fn p1_the_supervisor_decodes_no_settings_of_other_processes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("privsep");
    let proto = Files::read(&root.join("proto/src"));
    let named = ["supervisor/src", "parent/src", "sys/src/channel.rs"]
        .into_iter()
        .flat_map(|source| texts(&root.join(source)))
        .flat_map(|(_, text)| outside(&text, "popward_proto"));
    let file = |path: Vec<String>| proto.definer(&path).or_else(|| proto.of(&path));
    let mut next: Vec<usize> = named.filter_map(file).collect();
    let (edges, mut seen) = (proto.edges(), BTreeSet::from_iter(next.clone()));
    while let Some(at) = next.pop() {
        next.extend(edges[at].iter().filter(|to| seen.insert(**to)));
    }
    let seen: BTreeSet<&str> = seen.iter().map(|at| &*proto.0[*at].name).collect();
    assert_eq!(seen, BTreeSet::from(OF_THE_SUPERVISOR));
}

/// The paths in a file that begin with another crate, without that crate's name.
fn outside(text: &str, other: &str) -> Vec<Vec<String>> {
    let words = words(without_tests(text));
    let starts = (0..words.len()).filter(|at| words[*at] == other);
    let paths = starts.flat_map(|start| {
        let part = &words[start..];
        let in_use = start > 0 && words[start - 1] == "use";
        let ends = |word: &String| word == ";" || !in_use && word != "::" && !is_name(word);
        let end = part.iter().position(ends).unwrap_or(part.len());
        leaves(&part[..end], Vec::new())
    });
    paths.map(|(path, _)| path[1..].to_vec()).collect()
}

/// The source folders of all packages of the workspace.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut sources = vec![root.join("src")];
    for entry in std::fs::read_dir(root.join("privsep")).unwrap() {
        let source = entry.unwrap().path().join("src");
        if source.is_dir() {
            sources.push(source);
        }
    }
    assert!(sources.len() > 10, "{sources:?}");
    sources.sort();
    sources
}

/// A module's path in its crate. The crate's root has none.
type Module = Vec<String>;

/// One file of a crate.
struct File {
    name: String,
    module: Module,
    /// The paths in it: of `use` and in code, each as its parts.
    paths: Vec<Vec<String>>,
    /// What its names stand for: those that `use` brings in and the modules that it declares.
    names: BTreeMap<String, Vec<String>>,
    /// What others may take from here although another file defines it.
    passed_on: BTreeMap<String, Vec<String>>,
    /// Modules of which it passes on all.
    passes_all_of: Vec<Vec<String>>,
    /// The types and functions that it defines.
    defines: BTreeSet<String>,
    /// The methods that it gives to types: the type's name and the method's.
    methods: BTreeSet<(String, String)>,
    /// The methods that these types call on themselves.
    calls: BTreeSet<(String, String)>,
}

/// The files below a folder with their texts, without tests. Or one file.
fn texts(source: &Path) -> Vec<(PathBuf, String)> {
    let (mut texts, mut left) = (Vec::new(), vec![source.to_owned()]);
    while let Some(path) = left.pop() {
        let test = path.ends_with("tests") || path.ends_with("tests.rs");
        if test {
            continue;
        } else if path.is_dir() {
            let entries = std::fs::read_dir(path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            texts.push((path.strip_prefix(source).unwrap().to_owned(), text));
        }
    }
    texts
}

/// The files of one crate.
struct Files(Vec<File>);

impl Files {
    fn read(source: &Path) -> Self {
        Self::new(texts(source))
    }

    fn new(texts: Vec<(PathBuf, String)>) -> Self {
        let modules: BTreeSet<Module> = texts.iter().map(|(path, _)| module_of(path)).collect();
        let files = texts
            .iter()
            .map(|(path, text)| File::new(path, text, &modules));
        Self(files.collect())
    }

    fn of(&self, module: &[String]) -> Option<usize> {
        self.0.iter().position(|file| file.module == module)
    }

    /// The file that defines what `path` names. `path` begins at the crate's root.
    fn definer(&self, path: &[String]) -> Option<usize> {
        let depth = (0..=path.len())
            .rev()
            .find(|depth| self.of(&path[..*depth]).is_some())?;
        let file = self.of(&path[..depth])?;
        // A module's name alone: the paths that begin with it say what is used.
        let item = path.get(depth)?;
        if self.0[file].defines.contains(item) {
            return Some(file);
        }
        if let Some(at) = self.0[file].passed_on.get(item) {
            return self.definer(&[at, &path[depth + 1..]].concat());
        }
        let all = self.0[file].passes_all_of.iter();
        let passed = all
            .filter_map(|at| self.definer(&[at, &path[depth..]].concat()))
            .find(|at| *at != file);
        Some(passed.unwrap_or(file))
    }

    /// For each file the files that it uses.
    fn edges(&self) -> Vec<BTreeSet<usize>> {
        let mut edges: Vec<BTreeSet<usize>> = Vec::new();
        for file in &self.0 {
            let used = file.paths.iter().filter_map(|path| self.definer(path));
            edges.push(used.collect());
        }
        // The methods of one type can stand in several files.
        for (at, file) in self.0.iter().enumerate() {
            for (other, caller) in self.0.iter().enumerate() {
                let called = caller.calls.difference(&caller.methods);
                if called.into_iter().any(|call| file.methods.contains(call)) {
                    edges[other].insert(at);
                }
            }
        }
        for (at, edges) in edges.iter_mut().enumerate() {
            edges.remove(&at);
        }
        edges
    }

    /// The sets of files that reach each other, each sorted.
    fn circles(&self) -> Vec<Vec<String>> {
        let edges = self.edges();
        let reach = |from: usize| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
            while let Some(at) = next.pop() {
                next.extend(edges[at].iter().filter(|to| seen.insert(**to)));
            }
            seen
        };
        let reached: Vec<BTreeSet<usize>> = (0..edges.len()).map(reach).collect();
        let mut circles = BTreeSet::new();
        for at in 0..edges.len() {
            let others = (0..edges.len())
                .filter(|to| reached[at].contains(to) && reached[*to].contains(&at));
            let mut names: Vec<String> = others.map(|to| self.0[to].name.clone()).collect();
            names.sort();
            if names.len() > 1 {
                circles.insert(names);
            }
        }
        circles.into_iter().collect()
    }
}

/// The module that a file is.
fn module_of(path: &Path) -> Module {
    let mut module: Module = path
        .with_extension("")
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    let last = module.last().unwrap().as_str();
    if last == "mod" || module.len() == 1 && matches!(last, "lib" | "main") {
        module.pop();
    }
    module
}

impl File {
    fn new(path: &Path, text: &str, modules: &BTreeSet<Module>) -> Self {
        let module = module_of(path);
        let words = words(without_tests(text));
        let mut file = Self {
            name: path.display().to_string(),
            module,
            paths: Vec::new(),
            names: BTreeMap::new(),
            passed_on: BTreeMap::new(),
            passes_all_of: Vec::new(),
            defines: BTreeSet::new(),
            methods: BTreeSet::new(),
            calls: BTreeSet::new(),
        };
        for pair in words.windows(2) {
            let name = pair[1].clone();
            if let "struct" | "enum" | "fn" | "const" | "static" | "trait" | "type" = &*pair[0] {
                file.defines.insert(name.clone());
            }
            if pair[0] == "mod" {
                let at = [&file.module[..], std::slice::from_ref(&name)].concat();
                if modules.contains(&at) {
                    file.names.insert(name, at);
                }
            }
        }
        file.imports(&words);
        file.inline(&words);
        file.methods(&words);
        file
    }

    /// Makes a path begin at the crate's root. `None`: it names nothing of this crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.module.clone(),
            "super" => self.module[..self.module.len().checked_sub(1)?].to_vec(),
            name => self.names.get(name)?.clone(),
        };
        while let Some(("super", below)) = rest
            .split_first()
            .map(|(first, below)| (first.as_str(), below))
        {
            at.pop()?;
            rest = below;
        }
        at.extend_from_slice(rest);
        Some(at)
    }

    /// Reads the `use` lines.
    fn imports(&mut self, words: &[String]) {
        for start in (0..words.len()).filter(|at| words[*at] == "use") {
            let end = start + words[start..].iter().position(|word| word == ";").unwrap();
            let public = start > 0 && (words[start - 1] == "pub" || words[start - 1] == ")");
            for (path, name) in leaves(&words[start + 1..end], Vec::new()) {
                let Some(path) = self.absolute(&path) else {
                    continue;
                };
                if public && name == "*" {
                    self.passes_all_of.push(path);
                } else if public {
                    self.passed_on.insert(name.clone(), path.clone());
                    self.names.insert(name, path);
                } else {
                    self.paths.push(path.clone());
                    self.names.insert(name, path);
                }
            }
        }
    }

    /// Reads the paths in the code.
    fn inline(&mut self, words: &[String]) {
        let mut at = 0;
        while at < words.len() {
            if words[at] == "use" {
                at += words[at..].iter().position(|word| word == ";").unwrap();
            }
            let mut path = vec![words[at].clone()];
            while words.get(at + 1).is_some_and(|word| word == "::")
                && words.get(at + 2).is_some_and(|word| is_name(word))
            {
                path.push(words[at + 2].clone());
                at += 2;
            }
            if path.len() > 1 {
                self.paths.extend(self.absolute(&path));
            }
            at += 1;
        }
    }

    /// Reads the methods of each type, and which of them the type calls on itself.
    fn methods(&mut self, words: &[String]) {
        let mut at = 0;
        while let Some(found) = words[at..].iter().position(|word| word == "impl") {
            at += found + 1;
            let head = words[at..].split(|word| word == "{").next().unwrap();
            let (Some(name), Some(open)) = (head.first(), words.get(at + head.len())) else {
                continue;
            };
            if !is_name(name) || head.iter().any(|word| word == "for") {
                continue;
            }
            let (mut depth, body) = (0, &words[at + head.len()..]);
            assert_eq!(open, "{");
            for part in body.windows(4) {
                match [&*part[0], &*part[1], &*part[3]] {
                    ["{", ..] => depth += 1,
                    ["}", ..] => depth -= 1,
                    ["fn", method, _] if depth == 1 => {
                        self.methods.insert((name.clone(), method.to_owned()));
                    }
                    ["self", ".", "("] | ["Self" | "self", "::", _] => {
                        self.calls.insert((name.clone(), part[2].clone()));
                    }
                    [own, "::", _] if own == name => {
                        self.calls.insert((name.clone(), part[2].clone()));
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
    }
}

/// The text up to its tests.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap()
}

fn is_name(word: &str) -> bool {
    let first = word.chars().next();
    first.is_some_and(|first| first.is_alphabetic() || first == '_')
}

/// The words and signs of code, without comments and texts.
fn words(code: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphabetic() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())
        } else if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            continue;
        } else if first == '"' {
            rest = &rest[text_end(rest)..];
            continue;
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            rest = &rest[3..];
            continue;
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            words.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    words
}

/// Where a text in quotes ends.
fn text_end(code: &str) -> usize {
    let mut escaped = false;
    for (at, character) in code.char_indices().skip(1) {
        match character {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return at + 1,
            _ => escaped = false,
        }
    }
    code.len()
}

/// The paths of a `use`, each with the name that it brings in.
fn leaves(words: &[String], before: Vec<String>) -> Vec<(Vec<String>, String)> {
    let mut path = before;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        match word.as_str() {
            "::" => {}
            "{" => {
                let (mut found, mut depth, mut start) = (Vec::new(), 0, at + 1);
                for (end, word) in words.iter().enumerate().skip(at) {
                    depth += i32::from(word == "{") - i32::from(word == "}");
                    let ends = depth == 0 || depth == 1 && word == ",";
                    if ends && end > start {
                        found.extend(leaves(&words[start..end], path.clone()));
                    }
                    if ends {
                        start = end + 1;
                    }
                    if depth == 0 {
                        break;
                    }
                }
                return found;
            }
            "as" => return vec![(path, words[at + 1].clone())],
            "self" if !path.is_empty() => {}
            "*" => return vec![(path, "*".to_owned())],
            name => path.push(name.to_owned()),
        }
        at += 1;
    }
    let name = path.last().cloned().unwrap_or_default();
    vec![(path, name)]
}
