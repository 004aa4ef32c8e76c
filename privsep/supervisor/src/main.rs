//! popward, the supervisor: binds the listening sockets, and starts one popward-monitor for each
//! configuration.
//!
//! The supervisor is the first process. Its process id stays the same over reloads. It speaks with
//! the service manager, has popward-config read the configuration, has popward-log write the log,
//! and decides which monitor's fronts accept. It serves no client, and starts no process for one.
//!
//! It runs as root. After the start it keeps these capabilities:
//!
//! - `CAP_SETUID` and `CAP_SETGID`, to start popward-log as nobody;
//! - `CAP_KILL`, to end it.
//!
//! The supervisor parses nothing that comes from outside. It reads only bounded, typed messages
//! from its own children, and opens none of the files that the configuration names.

#![forbid(unsafe_code)]

mod arguments;
mod check;
mod claims;
mod config;
mod life;
mod listeners;
mod log_process;
mod monitors;
mod notify;
mod outcome;
mod reader;
mod reload;
mod setup;
mod supervisor;

use popward_parent::process::Starter;
use reader::NotRead;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1).unwrap_or_default();
    if let Some((_, executable, skip)) = TOOLS.iter().find(|(word, ..)| first == **word) {
        let words = std::env::args_os().skip(*skip);
        let error = become_tool(executable, words);
        return complain(FAILED, &format_args!("{executable}: {error}"));
    }
    let arguments = match arguments::Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments::Wish::Run(arguments)) => arguments,
        Ok(arguments::Wish::Print(text)) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => return complain(FAILED, &error),
    };
    if let Err(error) = setup::leave_starter() {
        return complain(FAILED, &error);
    }
    let held = setup::hold_signals(arguments.check).map_err(|errno| errno.to_string());
    let prepared =
        held.and_then(|(ending, signals)| Ok((ending, Starter::new(&signals)?, signals)));
    let (ending, mut starter, signals) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => return complain(FAILED, &why),
    };
    let (config, warnings) = reader::first(&mut starter, &arguments.config, &ending);
    if arguments.check || config.is_err() {
        warn(&warnings);
    }
    let config = match config {
        Ok(config) => config,
        Err(NotRead::Refused(why)) => return complain(BAD_CONFIGURATION, &why),
        Err(NotRead::Failed(why)) => return complain(FAILED, &why),
        Err(NotRead::Ended) => return ExitCode::SUCCESS,
    };
    if arguments.check {
        return match check::check(&mut starter, config.into()) {
            Ok(warnings) => {
                warn(&warnings);
                let words = ["host".into(), "--config".into(), arguments.config.into()];
                complain(FAILED, &become_tool(reader::EXECUTABLE, words.into_iter()))
            }
            Err(why) => complain(BAD_CONFIGURATION, &why),
        };
    }
    let started = setup::start((arguments.config, config), starter, signals, &warnings);
    match started.and_then(|mut supervisor| supervisor.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => complain(FAILED, &why),
    }
}

/// The exit status for any other error.
const FAILED: u8 = 1;

/// The exit status for a mistake in the configuration (`EX_CONFIG` of sysexits.h). It tells the
/// service manager that another start would fail, too.
const BAD_CONFIGURATION: u8 = 78;

/// The commands of other executables: the command, its executable, and the index of the first
/// argument that the executable gets. They are other executables so that the supervisor contains no
/// code that reads mail or hashes passwords.
const TOOLS: [(&str, &str, usize); 5] = [
    ("config", "popward-config", 1),
    ("reload", "popward-reload", 2),
    ("spool", "popward-spool", 2),
    ("secret", "popward-auth", 1),
    ("import-popauth", "popward-auth", 1),
];

/// Replaces this process by another executable, with the rights of the caller. It returns only an
/// error: why that failed.
fn become_tool(
    executable: &str,
    words: impl Iterator<Item = std::ffi::OsString>,
) -> std::io::Error {
    match std::env::current_exe() {
        Ok(own) => Command::new(own.with_file_name(executable))
            .args(words)
            .exec(),
        Err(error) => error,
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        complain(FAILED, &format_args!("warning: {warning}"));
    }
}

/// Prints why there is no server. It prints to standard error, because the log may not be open.
fn complain(status: u8, error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "popward: {error}");
    ExitCode::from(status)
}
