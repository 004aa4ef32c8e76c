//! Where the log goes. Records come from all processes; here control characters are escaped and lines are made.

mod sinks;

use popward_proto::log::{Level, Record};
use popward_proto::monitor_config::LogSettings;
use std::fmt::{Display, Write as _};
use std::io::Write as _;

/// The process that a record is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// Its role's name.
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
    /// Opens the log. A socket that cannot be reached now is tried again; until then lines go to standard error.
    pub(crate) fn open(settings: LogSettings) -> Self {
        Self {
            settings,
            sink: sinks::Sink::open(settings.to),
        }
    }

    /// Writes another process's record.
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

    /// Writes what popward-config warned of.
    pub(crate) fn warn_of_configuration(&mut self, warnings: &[String]) {
        for warning in warnings {
            let fields: &[(&str, &dyn Display)] = &[("text", warning)];
            self.write(Level::Warning, "configuration warning", fields);
        }
    }

    /// Writes a record of the monitor's own.
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

/// A name that is safe in every format: another process's may be anything.
fn field_name(name: &str) -> String {
    let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect()
}

/// The text with nothing in it that could begin a line, move a cursor or hide what stands there.
fn escaped(text: &str) -> String {
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

/// Invisible characters that reorder or hide text on a terminal.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `key=value`, quoted where a reader could take it for more.
fn pair(name: &str, value: &str) -> String {
    let value = escaped(value);
    let plain = !value.is_empty() && !value.contains([' ', '"', '=', '\\']);
    if plain {
        format!("{name}={value}")
    } else {
        format!("{name}=\"{}\"", value.replace('"', "\\\""))
    }
}

/// Who writes the lines that programs for Qpopper's log read: these look for its name.
const QPOPPER: &str = "qpopper";

/// The record on one line: process, session and particulars.
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

/// The name and process id that a line is written under.
fn tag(origin: Origin) -> String {
    if origin.role == QPOPPER {
        format!("{QPOPPER}[{}]", origin.pid)
    } else {
        format!("popward[{}]", std::process::id())
    }
}

/// Writes to standard output, for who asked for a text instead of a server.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Says on standard error why there is no server.
pub(crate) fn complain(error: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "popward: {error}");
}

#[cfg(test)]
mod tests;
