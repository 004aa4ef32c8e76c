//! popward-spool: shows which messages popward's mbox reader sees in a file, or why it refuses the
//! file.
//!
//! It runs as the user who calls it, with no more rights, and reads one file. It takes no locks and
//! changes nothing. If another program writes the spool meanwhile, the listing may show a state
//! that never existed. `popward spool` executes this program, so that the monitor does not link a
//! reader of strangers' mail.

#![forbid(unsafe_code)]

mod arguments;
mod listing;
mod report;

use arguments::{Arguments, Wish};
use std::io::Write;
use std::process::ExitCode;

/// Exit status: the file was not read, or the report was not written.
const REFUSED: u8 = 1;
/// Exit status: the command line is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(Wish::Show(arguments)) => arguments,
        Ok(Wish::Print(text)) => return said(std::io::stdout().write_all(text.as_bytes())),
        Err(error) => return complain(&error, USAGE),
    };
    let out = std::io::BufWriter::new(std::io::stdout().lock());
    match listing::read(&arguments.file, &arguments.uidl) {
        Ok(entries) if arguments.json => said(report::json(out, &entries)),
        Ok(entries) => said(report::text(out, &entries)),
        Err(error) if arguments.json => {
            said(report::json_error(out, &error.to_string()));
            ExitCode::from(REFUSED)
        }
        Err(error) => {
            // The reader of this message may not be the one who named the file.
            let file = arguments.file.to_string_lossy();
            complain(&format!("{}: {error}", file.escape_debug()), REFUSED)
        }
    }
}

/// The exit status after everything was written.
fn said(written: std::io::Result<()>) -> ExitCode {
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("standard output: {error}"), REFUSED),
    }
}

/// Writes an error to standard error. Returns the exit status.
fn complain(error: &str, status: u8) -> ExitCode {
    // If standard error fails, the error cannot be reported.
    let _ = writeln!(std::io::stderr(), "popward-spool: {error}");
    ExitCode::from(status)
}
