//! popward, the monitor: binds, starts the others, turns auth's grants into workers.
//!
//! Runs as root; after the start it keeps `CAP_SETUID`, `CAP_SETGID` (to make workers), `CAP_KILL` (to end them),
//! `CAP_CHOWN` (for new state directories) and `CAP_SYS_CHROOT` (so that a front or keys that is started again has
//! an empty root). Of what comes from outside it parses nothing: bounded, typed messages from its own children only.
//! popward-config reads the configuration for it. It hands on certificates, keys and listening sockets unread, makes
//! state directories, and removes dotlocks with the rights of their owner.

#![forbid(unsafe_code)]

mod arguments;
mod children;
mod config;
mod dotlock;
mod events;
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
    };
    match setup::start(config, &warnings).and_then(|mut monitor| monitor.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// The exit status where the configuration has a mistake (`EX_CONFIG` of sysexits.h): to start again is of no use.
const BAD_CONFIGURATION: u8 = 78;

/// The commands that are for other executables, and from which argument on those get them: this one links no reader of
/// mail, and no hash function.
const TOOLS: [(&str, &str, usize); 4] = [
    ("reload", "popward-reload", 2),
    ("spool", "popward-spool", 2),
    ("secret", "popward-auth", 1),
    ("import-popauth", "popward-auth", 1),
];

/// Becomes another executable, with its caller's rights. Returns why not.
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

/// Says why there is no server. The log is not open yet, or is what failed.
fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    log::complain(error);
    ExitCode::FAILURE
}
