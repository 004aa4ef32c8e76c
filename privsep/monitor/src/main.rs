//! popward, the monitor: binds the listening sockets, starts the other processes, and starts a
//! worker for each login that auth grants.
//!
//! The monitor runs as root. After the start it keeps these capabilities:
//!
//! - `CAP_SETUID` and `CAP_SETGID`, to start workers;
//! - `CAP_KILL`, to end them;
//! - `CAP_CHOWN`, to give new state directories to their users;
//! - `CAP_SYS_CHROOT`, so that a front or keys process that it starts again gets an empty root.
//!
//! The monitor parses nothing that comes from outside. It reads only bounded, typed messages from
//! its own children. popward-config reads the configuration for it. The monitor passes
//! certificates, keys and listening sockets on without reading from them. It makes state
//! directories, and it removes dotlocks with the rights of their owner.

#![forbid(unsafe_code)]

mod arguments;
mod children;
mod config;
mod dotlock;
mod events;
mod generation;
mod leftovers;
mod listeners;
mod log;
mod monitor;
mod notify;
mod outcome;
mod reader;
mod sessions;
mod setup;
mod spool;
mod state;
mod trial;

use reader::NotRead;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1).unwrap_or_default();
    let tool = TOOLS.iter().find(|(word, ..)| first == **word);
    if let Some((_, executable, skip)) = tool {
        let words = std::env::args_os().skip(*skip);
        return fail(&format_args!(
            "{executable}: {}",
            become_tool(executable, words)
        ));
    }
    let arguments = match arguments::Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments::Wish::Run(arguments)) => arguments,
        Ok(arguments::Wish::Print(text)) => {
            log::print(text);
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&error),
    };
    if !arguments.check {
        if let Err(errno) = events::block_signals() {
            return fail(&errno);
        }
    }
    let (config, warnings) = reader::first(&arguments.config);
    if arguments.check || config.is_err() {
        warn(&warnings);
    }
    let config = match config {
        Ok(config) if arguments.check => {
            return match trial::of_auth(&config) {
                Ok(warnings) => {
                    warn(&warnings);
                    ExitCode::SUCCESS
                }
                Err(why) => {
                    fail(&why);
                    ExitCode::from(BAD_CONFIGURATION)
                }
            };
        }
        Ok(config) => config,
        Err(NotRead::Refused(why)) => {
            fail(&why);
            return ExitCode::from(BAD_CONFIGURATION);
        }
        Err(NotRead::Failed(why)) => return fail(&why),
        Err(NotRead::Ended) => return ExitCode::SUCCESS,
    };
    match setup::start(config, &warnings).and_then(|mut monitor| monitor.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// The exit status for a mistake in the configuration (`EX_CONFIG` of sysexits.h). It tells the
/// service manager that another start would fail, too.
const BAD_CONFIGURATION: u8 = 78;

/// The commands of other executables: the command, its executable, and the index of the first
/// argument that the executable gets. They are other executables so that the monitor contains no
/// code that reads mail or hashes passwords.
const TOOLS: [(&str, &str, usize); 4] = [
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
        log::complain(&format_args!("warning: {warning}"));
    }
}

/// Prints why there is no server. It prints to standard error, because the log may not be open.
fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    log::complain(error);
    ExitCode::FAILURE
}
