//! popward-spool: shows what popward's mbox reader sees in a file, or why it refuses it.
//!
//! Runs as whoever calls it, with no more rights than that, and reads one file: it takes no locks and changes nothing. A
//! spool that is written to meanwhile may be shown as it never was. `popward spool` becomes this executable, so that the
//! monitor does not link a reader of strangers' mail.

#![forbid(unsafe_code)]

mod arguments;
mod listing;
mod report;

use arguments::{Arguments, Wish};
use std::io::Write;
use std::process::ExitCode;

/// The file was not read, or the report not written.
const REFUSED: u8 = 1;
/// The command line is no good.
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
            // Whoever named the file may not be who reads this.
            let file = arguments.file.to_string_lossy();
            complain(&format!("{}: {error}", file.escape_debug()), REFUSED)
        }
    }
}

/// How it ends when all was said that there is to say.
fn said(written: std::io::Result<()>) -> ExitCode {
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("standard output: {error}"), REFUSED),
    }
}

/// Says what went wrong.
fn complain(error: &str, status: u8) -> ExitCode {
    // Without standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "popward-spool: {error}");
    ExitCode::from(status)
}
