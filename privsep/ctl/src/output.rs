//! What the caller sees: standard output, errors and the exit status.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// Exit status: the command could not do its work.
pub(crate) const FAILED: u8 = 1;
/// Exit status: the command line is wrong.
pub(crate) const USAGE: u8 = 2;

/// Writes to standard output. Returns the exit status.
pub(crate) fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(visible(text).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format_args!("standard output: {error}"), FAILED),
    }
}

/// Writes an error to standard error. Returns the exit status.
pub(crate) fn complain(error: &dyn Display, status: u8) -> ExitCode {
    note(error);
    ExitCode::from(status)
}

/// Writes a line to standard error.
pub(crate) fn note(text: &dyn Display) {
    // If standard error fails, nothing can be reported.
    let _ = writeln!(
        std::io::stderr(),
        "popwardctl: {}",
        visible(&text.to_string())
    );
}

/// The text with `?` in place of characters that would steer a terminal. Processes of users and
/// other servers have written parts of it.
fn visible(text: &str) -> String {
    text.replace(|c: char| c.is_control() && !"\n\t".contains(c), "?")
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_that_is_printed_steers_a_terminal() {
        let text = "a\tb\n\u{1b}[2J\r\u{7f}\u{9b}1m\u{e4}\n";
        assert_eq!(super::visible(text), "a\tb\n?[2J???1m\u{e4}\n");
    }
}
