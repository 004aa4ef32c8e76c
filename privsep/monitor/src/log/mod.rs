//! Writes the log. The monitor gets records from all processes, escapes control characters in them,
//! and makes lines from them.

mod sinks;

use popward_proto::log::{Level, Record};
use popward_proto::monitor_config::LogSettings;
use std::fmt::{Display, Write as _};
use std::io::Write as _;

/// The process that a record comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// The name of its role.
    pub(crate) role: &'static str,
    /// Its process id.
    pub(crate) pid: u32,
}

/// The open log.
#[derive(Debug)]
pub(crate) struct Log {
    settings: LogSettings,
    sink: sinks::Sink,
}

impl Log {
    /// Opens the log. If the log's socket cannot be reached, each line tries again, and goes to
    /// standard error if that fails.
    pub(crate) fn open(settings: LogSettings) -> Self {
        Self {
            settings,
            sink: sinks::Sink::open(settings.to),
        }
    }

    /// Writes the record of another process.
    pub(crate) fn record(&mut self, origin: Origin, record: &Record) {
        if record.level > self.settings.level {
            return;
        }
        let mut fields: Vec<(String, String)> = Vec::new();
        if let Some(session) = record.session {
            fields.push(("session".into(), session.to_string()));
        }
        for (name, value) in record.fields.as_slice() {
            fields.push((field_name(name.as_str()), value.as_str().to_owned()));
        }
        let role = if record.qpopper { QPOPPER } else { origin.role };
        self.sink.write(
            Origin { role, ..origin },
            record.level,
            &escaped(record.text.as_str()),
            &fields,
        );
    }

    /// Writes the warnings of popward-config.
    pub(crate) fn warn_of_configuration(&mut self, warnings: &[String]) {
        for warning in warnings {
            let fields: &[(&str, &dyn Display)] = &[("text", warning)];
            self.write(Level::Warning, "configuration warning", fields);
        }
    }

    /// Writes a record of the monitor itself.
    pub(crate) fn write(&mut self, level: Level, text: &str, fields: &[(&str, &dyn Display)]) {
        if level > self.settings.level {
            return;
        }
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (field_name(name), value.to_string()))
            .collect();
        let origin = Origin {
            role: "monitor",
            pid: std::process::id(),
        };
        self.sink.write(origin, level, &escaped(text), &fields);
    }
}

/// Replaces every character of `name` that is not safe in all log formats by `_`. The name may come
/// from another process, so it may contain anything.
fn field_name(name: &str) -> String {
    let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect()
}

/// Escapes all characters of `text` that could begin a new line, move the cursor or hide text.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\\' {
            out.push_str("\\\\");
        } else if c.is_control() || is_format(c) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether `c` is an invisible character that reorders or hides text on a terminal.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Returns `name=value`. Quotes the value if a reader could take it for more than one value.
fn pair(name: &str, value: &str) -> String {
    let value = escaped(value);
    let plain = !value.is_empty() && !value.contains([' ', '"', '=', '\\']);
    if plain {
        format!("{name}={value}")
    } else {
        format!("{name}=\"{}\"", value.replace('"', "\\\""))
    }
}

/// The name in the lines for programs that read Qpopper's log, because these programs look for it.
const QPOPPER: &str = "qpopper";

/// Returns the record as one line: role, process id, text and fields. A line for readers of
/// Qpopper's log is the text alone.
fn line(origin: Origin, text: &str, fields: &[(String, String)]) -> String {
    if origin.role == QPOPPER {
        return text.to_owned();
    }
    let mut line = format!("{}[{}] {text}", origin.role, origin.pid);
    for (name, value) in fields {
        line.push(' ');
        line.push_str(&pair(name, value));
    }
    line
}

/// Returns the program's name and process id at the beginning of a line. For Qpopper's lines it is
/// the process id of the process that logs, otherwise that of the monitor.
fn tag(origin: Origin) -> String {
    if origin.role == QPOPPER {
        format!("{QPOPPER}[{}]", origin.pid)
    } else {
        format!("popward[{}]", std::process::id())
    }
}

/// Writes a text to standard output, such as the usage or the version.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes to standard error why there is no server, or a warning of `--check`.
pub(crate) fn complain(error: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "popward: {error}");
}

#[cfg(test)]
mod tests;
