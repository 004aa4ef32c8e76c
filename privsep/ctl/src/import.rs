//! `popwardctl import-config`: makes popward.toml of another server's configuration. Each option of
//! the other server is in the result: above the line that takes its place, or in a comment that says
//! why there is no such line.

mod dovecot;
mod draft;
mod qpopper;

use crate::arguments::{ImportConfig, Server};
use crate::output::{FAILED, complain, print};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

/// Most bytes of a configuration.
const MOST: u64 = 1 << 20;

/// Runs the command.
pub(crate) fn main(options: &ImportConfig) -> ExitCode {
    let file = options.file.display();
    let text = match read(&options.file) {
        Ok(text) => text,
        Err(error) => return complain(&format_args!("{file}: {error}"), FAILED),
    };
    let draft = match options.from {
        Server::Dovecot => dovecot::import(&text),
        Server::Qpopper => qpopper::import(&text),
    };
    match draft {
        Ok(draft) => print(&draft.text(options.from.as_str())),
        Err((line, why)) => complain(&format_args!("{file}:{line}: {why}"), FAILED),
    }
}

/// Reads the file, or standard input for `-`.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MOST + 1).read_to_string(&mut text)
    } else {
        File::open(path)?.take(MOST + 1).read_to_string(&mut text)
    }?;
    if read as u64 > MOST {
        return Err(io::Error::other(format!("more than {MOST} bytes")));
    }
    Ok(text)
}
