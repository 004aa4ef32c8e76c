//! The form of a line: role, process id, text and fields. Nothing in a record can change this form.

use popward_proto::log_line::escaped;

/// The process that a line names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// The name of its role, or [`QPOPPER`].
    pub(crate) role: &'static str,
    /// Its process id.
    pub(crate) pid: u32,
}

/// Replaces every character of `name` that is not safe in all log formats by `_`. The name may come
/// from another process, so it may contain anything.
pub(crate) fn field_name(name: &str) -> String {
    let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect()
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
pub(crate) const QPOPPER: &str = "qpopper";

/// Returns the record as one line: role, process id, text and fields. A line for readers of
/// Qpopper's log is the text alone.
pub(crate) fn line(origin: Origin, text: &str, fields: &[(String, String)]) -> String {
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
/// the process id of the process that logs, otherwise that of the server.
pub(crate) fn tag(origin: Origin, server: u32) -> String {
    if origin.role == QPOPPER {
        format!("{QPOPPER}[{}]", origin.pid)
    } else {
        format!("popward[{server}]")
    }
}

#[cfg(test)]
mod tests;
