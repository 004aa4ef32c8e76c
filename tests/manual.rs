//! The man pages, the example configuration and the completions of the shells, against the code.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{built, skipped};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(project(name)).unwrap()
}

/// The fields of each struct of file.rs, with their types.
fn structs() -> BTreeMap<String, Vec<(String, String)>> {
    let mut all = BTreeMap::new();
    let (mut current, mut renamed) = (String::new(), None);
    for line in read("privsep/config/src/file.rs").lines() {
        let line = line.trim();
        let declared = ["pub(crate) struct ", "table! { "];
        if let Some(rest) = declared.iter().find_map(|start| line.strip_prefix(start)) {
            current = rest.split(' ').next().unwrap().to_owned();
            all.insert(current.clone(), Vec::new());
        } else if let Some((_, rest)) = line.split_once("rename = \"") {
            renamed = Some(rest.split('"').next().unwrap().to_owned());
        } else if let Some((name, kind)) = line.strip_suffix(',').and_then(|l| l.split_once(": ")) {
            let Some(fields) = all.get_mut(&current) else {
                continue;
            };
            let name = name.trim_start_matches("pub(crate) ").to_owned();
            let kind = kind.split(" = ").next().unwrap().to_owned();
            fields.push((renamed.take().unwrap_or(name), kind));
        }
    }
    all
}

/// The keys of a struct of file.rs, below `prefix`, without the removed ones.
fn keys_of(
    structs: &BTreeMap<String, Vec<(String, String)>>,
    name: &str,
    prefix: &str,
) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (field, kind) in &structs[name] {
        let wrappers = ["Option<", "Spanned<", "Vec<"];
        let mut inner = kind.as_str();
        while let Some(rest) = wrappers
            .iter()
            .find_map(|wrapper| inner.strip_prefix(wrapper))
        {
            inner = rest.strip_suffix('>').unwrap();
        }
        if structs.contains_key(inner) {
            keys.extend(keys_of(structs, inner, &format!("{prefix}{field}.")));
        } else if !inner.starts_with("Removed<") {
            keys.insert(format!("{prefix}{field}"));
        }
    }
    keys
}

fn keys() -> BTreeSet<String> {
    let keys = keys_of(&structs(), "File", "");
    // As many as there were when this test was written.
    assert!(keys.len() >= 85, "{keys:?}");
    keys
}

/// The entries of popward.toml(5): a key, and its lines.
fn entries() -> BTreeMap<String, Vec<String>> {
    let page = read("docs/man/popward.toml.5");
    let (_, rest) = page.split_once(".Sh KEYS\n").unwrap();
    let (reference, _) = rest.split_once(".Sh PLACEHOLDERS\n").unwrap();
    let mut entries: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = None;
    for line in reference.lines() {
        if let Some(key) = line.strip_prefix(".It Ic ") {
            assert!(
                entries.insert(key.to_owned(), Vec::new()).is_none(),
                "{key} twice"
            );
            current = Some(key.to_owned());
        } else if let Some(key) = &current {
            entries.get_mut(key).unwrap().push(line.to_owned());
        }
    }
    entries
}

/// A line of the example that sets a key.
struct Setting {
    key: String,
    value: String,
    /// The index of the line.
    line: usize,
    is_comment: bool,
}

/// The lines of the example that set keys, whether they are comments or not. A comment in words
/// begins with "# ".
fn settings(text: &str) -> Vec<Setting> {
    let mut table = String::new();
    let mut settings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let is_comment = line.starts_with('#');
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']).to_owned();
        } else if let (false, Some((key, value))) = (line.starts_with(' '), line.split_once(" = "))
        {
            let (key, value) = (format!("{table}.{key}"), value.to_owned());
            settings.push(Setting {
                key,
                value,
                line: index,
                is_comment,
            });
        }
    }
    settings
}

#[test]
fn each_key_has_an_entry_in_the_manual_and_no_other_has() {
    let entries = entries();
    assert_eq!(entries.keys().cloned().collect::<BTreeSet<_>>(), keys());
    for (key, lines) in entries {
        for part in ["Values:", "Default:"] {
            let has = lines.iter().filter(|line| line.starts_with(part)).count();
            assert_eq!(has, 1, "{key} {part}");
        }
    }
}

#[test]
fn each_key_is_in_the_example_with_a_comment_and_no_other_is() {
    let example = read("packaging/popward.toml");
    let lines: Vec<&str> = example.lines().collect();
    let settings = settings(&example);
    let found: BTreeSet<String> = settings.iter().map(|setting| setting.key.clone()).collect();
    assert_eq!(found, keys());
    let mut seen = BTreeSet::new();
    for setting in settings {
        // The second table of a kind needs no comments.
        if seen.insert(setting.key.clone()) {
            assert!(
                lines[setting.line - 1].starts_with("# "),
                "a comment above {}",
                setting.key
            );
        }
    }
}

/// What the example sets for a server of the host's own users.
const IN_FORCE: [&str; 7] = [
    "accounts.pam_group = \"shadow\"",
    "listen.address = \"[::]:110\"",
    "listen.address = \"[::]:995\"",
    "certificate.chain = \"/etc/popward/chain.pem\"",
    "certificate.key = \"/etc/popward/key.pem\"",
    "auth.source = \"pam\"",
    "log.to = \"journald\"",
];

#[test]
fn the_example_and_the_manual_have_the_same_defaults() {
    let entries = entries();
    let mut compared = 0;
    for setting in settings(&read("packaging/popward.toml")) {
        if !setting.is_comment {
            let line = format!("{} = {}", setting.key, setting.value);
            assert!(
                IN_FORCE.contains(&line.as_str()) || line == "listen.tls = true",
                "{line}"
            );
            continue;
        }
        let lines = &entries[&setting.key];
        let default = lines
            .iter()
            .position(|line| line.starts_with("Default:"))
            .unwrap();
        // Other defaults are words.
        if lines[default] != "Default:" {
            continue;
        }
        let Some(value) = lines[default + 1].strip_prefix(".Ql ") else {
            continue;
        };
        let value = value
            .strip_suffix(" .")
            .or_else(|| value.split_once(" : ").map(|(value, _)| value))
            .unwrap_or(value);
        let value = value.strip_suffix(" :").unwrap_or(value);
        let value = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .unwrap_or(value);
        // 10 "or one less than ...".
        let value = value
            .strip_suffix(" ,")
            .unwrap_or(value)
            .replace("\\(dq", "\"");
        if !setting.key.starts_with("account.") {
            assert_eq!(value, setting.value, "{}", setting.key);
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared}");
}

/// Keys whose default depends on the host, on other keys, or on the front.
const NO_FIXED_DEFAULT: [&str; 3] = ["server.host", "server.libexec", "pop3.implementation"];

#[test]
fn the_example_has_the_defaults_of_the_code() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    host::install(&at("libexec"));
    std::fs::write(at("users"), "").unwrap();
    let needed = format!(
        "[server]\nstate = \"{}\"\n{}[auth]\npasswd_file = \"{}\"\n",
        at("state").display(),
        host::accounts(),
        at("users").display()
    );
    std::fs::write(at("popward.toml"), &needed).unwrap();
    std::fs::set_permissions(at("popward.toml"), PermissionsExt::from_mode(0o644)).unwrap();
    let output = Command::new(at("libexec/popward"))
        .args(["config", "--config"])
        .arg(at("popward.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let printed = settings(&String::from_utf8(output.stdout).unwrap());
    let given: Vec<String> = settings(&needed).into_iter().map(|one| one.key).collect();
    let example = settings(&read("packaging/popward.toml"));
    let mut compared = 0;
    for setting in printed {
        // Empty lists of tables stand before all tables.
        let is_list = setting.key.starts_with('.');
        let key = setting.key.as_str();
        if is_list || given.contains(&setting.key) || NO_FIXED_DEFAULT.contains(&key) {
            continue;
        }
        let same = |other: &&Setting| other.key == setting.key;
        let value = match example.iter().find(same) {
            Some(other) if other.is_comment => other.value.clone(),
            // The example sets it. The manual has its default.
            Some(_) => {
                let lines = entries().remove(&setting.key).unwrap();
                let default = lines.iter().position(|line| line.starts_with("Default:"));
                let line = &lines[default.unwrap() + 1];
                assert!(line.contains(setting.value.trim_matches('"')), "{line}");
                continue;
            }
            None => panic!("{} is not in the example", setting.key),
        };
        assert_eq!(setting.value, value, "{}", setting.key);
        compared += 1;
    }
    assert!(compared > 50, "{compared}");
}

/// Keys whose example names a file that this host does not have, or that need another key.
const NEED_MORE: [&str; 10] = [
    "server.libexec",
    "tls.client_ca",
    "auth.allow_file",
    "auth.deny_file",
    "auth.oauth2.keys",
    "auth.oauth2.issuer",
    "auth.oauth2.audience",
    "auth.oauth2.user_claim",
    "auth.oauth2.scope",
    "auth.oauth2.program",
];

/// The example with one key after the other in force. Each passes the check, or the error names the
/// key.
#[test]
fn each_value_of_the_example_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap()
    };
    mode(directory.path(), 0o755);
    host::install(&at("libexec"));
    host::certificate(directory.path(), host::P256);
    std::fs::rename(at("cert.pem"), at("chain.pem")).unwrap();
    std::fs::write(at("users"), "").unwrap();
    std::fs::create_dir(at("lib")).unwrap();
    mode(&at("lib"), 0o755);
    let example = read("packaging/popward.toml");
    let mut all = settings(&example);
    all.retain(|setting| setting.is_comment);
    let ids = [
        ("accounts", "front", "64210"),
        ("accounts", "auth", "64211"),
        ("accounts", "keys", "64212"),
        ("accounts", "program", "64213"),
        ("accounts", "pam", "64214"),
    ];
    let table_of = |line: usize| {
        let above = example.lines().take(line).collect::<Vec<_>>();
        above
            .iter()
            .rposition(|line| line.trim_start_matches('#').starts_with('['))
            .unwrap()
    };
    for setting in &all {
        let head = table_of(setting.line);
        let mut text = String::new();
        for (index, line) in example.lines().enumerate() {
            let uncommented = line.strip_prefix('#').unwrap_or(line);
            text += match index {
                _ if index == setting.line || index == head => uncommented,
                _ => line,
            };
            text += "\n";
            if index == head
                && setting.key.starts_with("account.")
                && setting.key != "account.users"
            {
                text += "users = [\"alice\"]\n";
            }
            // It belongs to a path.
            if index == head && setting.key == "account.spool.group" {
                text += "spool.path = \"/var/mail/{user}\"\n";
            }
        }
        // This host has other users, and no PAM service of popward's.
        for (_, key, id) in ids {
            text = text.replace(
                &format!("\n{key} = \"_popward"),
                &format!("\n{key} = {id} # \"_popward"),
            );
            text = text.replace(
                &format!("\n#{key} = \"_popward"),
                &format!("\n{key} = {id} # \"_popward"),
            );
        }
        text = text.replace("\nsource = \"pam\"\n", "\n");
        let state = at("lib/popward");
        text = text.replace(
            "\n[server]\n",
            &format!("\n[server]\nstate = \"{}\"\n", state.display()),
        );
        if setting.key == "server.state" {
            let (before, after) = text.split_once("\nstate = \"/var/lib/popward\"\n").unwrap();
            text = format!("{before}\n{after}");
        }
        text = text.replace(
            "\"/etc/popward/",
            &format!("\"{}/", directory.path().display()),
        );
        // Its value stands for the one that is in force already.
        if !text.contains("\npasswd_file = ") {
            text = text.replace(
                "\n[auth]\n",
                &format!("\n[auth]\npasswd_file = \"{}\"\n", at("users").display()),
            );
        }
        std::fs::write(at("popward.toml"), &text).unwrap();
        mode(&at("popward.toml"), 0o644);
        let check = Command::new(at("libexec/popward"))
            .args(["--check", "--config"])
            .arg(at("popward.toml"))
            .output()
            .unwrap();
        let said = String::from_utf8(check.stderr).unwrap();
        if NEED_MORE.contains(&setting.key.as_str()) {
            let key = if setting.key.contains("oauth2") {
                "auth.oauth2"
            } else {
                &setting.key
            };
            assert!(
                said.contains(&format!("{key}: expected")) || said.contains(&format!("{key}.")),
                "{key}: {said}"
            );
        } else {
            assert!(check.status.success(), "{}: {said}", setting.key);
        }
    }
}

/// The page of each command, and where the options of the command stand in the completions.
const COMMANDS: [(&str, &[&str]); 6] = [
    ("popward.8", &[]),
    ("popward-config.8", &["config"]),
    ("popward-reload.8", &["reload"]),
    ("popward-spool.8", &["spool"]),
    ("popward-secret.8", &["secret"]),
    ("popward-import-popauth.8", &["import-popauth"]),
];

/// The options that a command's `--help` shows in the lines that explain them, and in its synopsis.
fn options(command: &[&str]) -> BTreeSet<String> {
    let output = Command::new(built().join("popward"))
        .args(command)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}");
    let help = String::from_utf8(output.stdout).unwrap();
    let mut lines = help.lines();
    let own = |line: &&str| {
        !command.is_empty()
            || !line.trim_start().starts_with("popward ")
            || line.contains("[--config")
    };
    let text: Vec<&str> = lines.by_ref().filter(own).collect();
    let words = text.iter().flat_map(|line| line.split([' ', '[', ']']));
    words
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_option_is_in_the_manual_and_in_the_completions() {
    let (bash, zsh) = (
        read("packaging/completion.bash"),
        read("packaging/completion.zsh"),
    );
    for (page, command) in COMMANDS {
        let text = read(&format!("docs/man/{page}"));
        let options = options(command);
        assert!(!options.is_empty() || page.contains("popauth"), "{page}");
        for option in options {
            let in_page = format!("Fl \\-{}", option.trim_start_matches("--"));
            assert!(text.contains(&in_page), "{option} in {page}");
            assert!(bash.contains(&option), "{option} in the completion of bash");
            assert!(zsh.contains(&option), "{option} in the completion of zsh");
        }
    }
}

#[test]
fn each_word_and_option_of_popwardctl_is_in_the_manual_and_in_the_completions() {
    let output = Command::new(built().join("popwardctl"))
        .arg("--help")
        .output();
    let help = String::from_utf8(output.unwrap().stdout).unwrap();
    let page = read("docs/man/popwardctl.8");
    let (bash, zsh) = (
        read("packaging/popwardctl.bash"),
        read("packaging/popwardctl.zsh"),
    );
    let options = help.split([' ', '[', ']', '\n', '=', '|']);
    let options: BTreeSet<&str> = options.filter(|word| word.starts_with("--")).collect();
    let synopsis = help.lines().skip_while(|line| !line.is_empty()).skip(1);
    let synopsis = synopsis.take_while(|line| !line.is_empty());
    let commands: Vec<&str> = synopsis
        .filter_map(|line| line.strip_prefix("  "))
        .collect();
    assert!(options.len() >= 4 && commands.len() >= 3, "{help}");
    for option in options {
        let in_page = format!("Fl \\-{}", option.trim_start_matches("--"));
        assert!(page.contains(&in_page), "{option} in popwardctl.8");
        assert!(bash.contains(option), "{option} in the completion of bash");
        assert!(zsh.contains(option), "{option} in the completion of zsh");
    }
    for command in commands {
        let command = command.split(' ').next().unwrap();
        if command.is_empty() {
            continue;
        }
        assert!(
            page.contains(&format!(".Cm {command}\n")),
            "{command} in popwardctl.8"
        );
        assert!(
            bash.contains(&format!("\n                {command}:*)")),
            "{command}: bash"
        );
        assert!(
            zsh.contains(&format!("\n        {command})\n")),
            "{command}: zsh"
        );
    }
}

#[test]
fn the_pages_render_without_warnings() {
    let pages = std::fs::read_dir(project("docs/man")).unwrap();
    let pages: Vec<PathBuf> = pages.map(|entry| entry.unwrap().path()).collect();
    assert!(pages.len() >= 7);
    if Command::new("mandoc").arg("-h").output().is_err() {
        return skipped("mandoc is not installed");
    }
    for page in pages {
        let output = Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning"])
            .arg(&page)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
    }
}

/// As bash calls it.
#[test]
fn bash_completes_commands_options_and_schemes() {
    let complete = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let script = format!(
            "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD={}; _popward; echo \"${{COMPREPLY[@]}}\"",
            words.len() - 1
        );
        let output = Command::new("bash")
            .args(["-euc", &script])
            .arg(project("packaging/completion.bash"))
            .args(words)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    };
    assert_eq!(complete("popward re"), "reload");
    assert_eq!(complete("popward --ch"), "--check");
    assert_eq!(complete("popward spool /etc/passwd --u"), "--uidl");
    assert_eq!(
        complete("popward spool /etc/passwd --uidl so"),
        "solid-pop3d"
    );
    assert_eq!(complete("popward secret --scheme P"), "PLAIN");
    assert_eq!(complete("popward --config /etc/host.con"), "/etc/host.conf");
}
