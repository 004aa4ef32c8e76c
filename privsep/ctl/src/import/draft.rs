//! A popward.toml that is being made.

use std::fmt::Write;

/// The tables of popward.toml, in the order of the result.
const TABLES: [&str; 9] = [
    "accounts", "tls", "auth", "limits", "spool", "adopt", "pop3", "proxy", "log",
];

/// The number of a line with a mistake, and what was expected.
pub(crate) type Mistake = (usize, String);

/// A file that is being made.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    keys: Vec<Key>,
    listen: Vec<(String, bool, bool)>,
    chain: Option<(String, String)>,
    key: Option<(String, String)>,
    /// What must be looked at before the first start.
    to_do: Vec<String>,
    same: Vec<(String, String)>,
    left_out: Vec<(String, String)>,
}

/// A key of popward.toml with its value, and the option that it takes the place of.
#[derive(Debug)]
struct Key {
    table: &'static str,
    name: &'static str,
    value: String,
    because: String,
}

impl Draft {
    /// Sets a key. `value` is TOML. Of two options for one key the last counts, as in the files that
    /// are read.
    pub(crate) fn set(&mut self, key: (&'static str, &'static str), value: String, option: &str) {
        let (table, name) = key;
        let mut because = shown(option);
        let is_it = |set: &Key| (set.table, set.name) == key;
        if let Some(at) = self.keys.iter().position(is_it) {
            let earlier = self.keys.remove(at);
            because = format!("{}\n{because}", earlier.because);
        }
        self.keys.push(Key {
            table,
            name,
            value,
            because,
        });
    }

    /// Whether a key is set.
    pub(crate) fn has(&self, key: (&str, &str)) -> bool {
        self.keys.iter().any(|set| (set.table, set.name) == key)
    }

    /// Adds an address at which popward listens.
    pub(crate) fn listen(&mut self, address: String, tls: bool, proxy: bool) {
        self.listen.push((address, tls, proxy));
    }

    /// Names the chain of the certificate.
    pub(crate) fn chain(&mut self, path: &str, option: &str) {
        self.chain = Some((path.to_owned(), shown(option)));
    }

    /// Names the key of the certificate.
    pub(crate) fn key(&mut self, path: &str, option: &str) {
        self.key = Some((path.to_owned(), shown(option)));
    }

    /// Whether TLS is possible.
    pub(crate) fn has_certificate(&self) -> bool {
        self.chain.is_some() && self.key.is_some()
    }

    /// Says what must be done before the first start.
    pub(crate) fn remind(&mut self, what: impl Into<String>) {
        self.to_do.push(what.into());
    }

    /// Notes an option that popward needs no line for.
    pub(crate) fn same(&mut self, option: &str, why: impl Into<String>) {
        self.same.push((shown(option), why.into()));
    }

    /// Notes an option that has no equal.
    pub(crate) fn left_out(&mut self, option: &str, why: impl Into<String>) {
        self.left_out.push((shown(option), why.into()));
    }

    /// The file.
    pub(crate) fn text(&self, server: &str) -> String {
        let mut text = format!(
            "# Made by popwardctl import-config from the configuration of {server}. A comment above a line is\n# the option whose place the line takes.\n"
        );
        if !self.to_do.is_empty() {
            text += "#\n# Before the first start:\n";
            for what in &self.to_do {
                text += &wrapped("# - ", "#   ", what);
            }
        }
        for (address, tls, proxy) in &self.listen {
            let _ = write!(text, "\n[[listen]]\naddress = {}\n", quoted(address));
            text += if *tls { "tls = true\n" } else { "" };
            text += if *proxy { "proxy = \"always\"\n" } else { "" };
        }
        self.certificate(&mut text);
        for table in TABLES {
            let mut keys = self.keys.iter().filter(|key| key.table == table).peekable();
            if keys.peek().is_some() {
                let _ = write!(text, "\n[{table}]\n");
            }
            for key in keys {
                for line in key.because.lines() {
                    let _ = writeln!(text, "# {line}");
                }
                let _ = writeln!(text, "{} = {}", key.name, key.value);
            }
        }
        for (head, all) in [
            ("popward needs no line for these:", &self.same),
            ("These have no equal in popward:", &self.left_out),
        ] {
            if !all.is_empty() {
                let _ = write!(text, "\n# {head}\n");
            }
            for (option, why) in all {
                let _ = writeln!(text, "#\n#   {option}");
                text += &wrapped("# ", "# ", why);
            }
        }
        text
    }

    fn certificate(&self, text: &mut String) {
        let halves = [("chain", &self.chain), ("key", &self.key)];
        // One without the other is no certificate.
        let comment = if self.has_certificate() { "" } else { "#" };
        if halves.iter().any(|(_, half)| half.is_some()) {
            let _ = write!(text, "\n{comment}[[certificate]]\n");
        }
        for (name, half) in halves {
            if let Some((path, option)) = half {
                let _ = write!(text, "# {option}\n{comment}{name} = {}\n", quoted(path));
            }
        }
    }
}

/// A text as TOML. The escapes of JSON are TOML's too.
pub(crate) fn quoted(text: &str) -> String {
    let text: String = text.chars().map(visible).collect();
    serde_json::Value::String(text).to_string()
}

/// A list of texts as TOML.
pub(crate) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(quoted).collect();
    format!("[{}]", quoted.join(", "))
}

/// An option as a comment may show it. A value that may be a secret is left out.
fn shown(option: &str) -> String {
    const SECRETS: [&str; 5] = ["password", "passphrase", "secret", "api_key", "nonce"];
    let option: String = option.chars().map(visible).collect();
    let (name, value) = option.split_once('=').unwrap_or((&option, ""));
    let lower = name.to_ascii_lowercase();
    // Qpopper's options about passwords hold none.
    let harmless = lower.contains("clear-text-password") || lower.contains("password-expired");
    let is_secret = !harmless && SECRETS.iter().any(|word| lower.contains(word));
    if is_secret && !value.trim().is_empty() {
        return format!("{name}= (not shown)");
    }
    option
}

fn visible(letter: char) -> char {
    if letter.is_control() { '?' } else { letter }
}

/// A text in lines of at most 100 columns.
fn wrapped(first: &str, further: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut is_begun = false;
    for word in text.split_whitespace() {
        if is_begun && line.chars().count() + 1 + word.chars().count() > 100 {
            lines += &line;
            lines.push('\n');
            further.clone_into(&mut line);
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line += word;
        is_begun = true;
    }
    lines + &line + "\n"
}
