//! popward-reload: makes the running server read its configuration again, waits for the outcome,
//! and prints it.
//!
//! It runs as the user that calls it. systemd calls it by the unit's `ExecReload=`; an operator
//! calls `popward reload`, which becomes this executable. The monitor writes a file with its
//! process id and its last outcome. popward-reload finds the server by this file, and sends SIGHUP
//! to that process.

#![forbid(unsafe_code)]

mod outcome;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outcome::{Outcome, State};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: popward reload [--pid PID] [--wait SECONDS]\n\
    \n  --pid PID      the server's process (default $MAINPID, or the one that the file names)\
    \n  --wait SECONDS how long to wait for the outcome (default 60)\
    \n\nThe outcome is read from the file \"reload\" in $RUNTIME_DIRECTORY (default /run/popward).\n";

/// How long to wait before the file is read again.
const STEP: Duration = Duration::from_millis(20);

/// How many steps one after the other the file may be missing. The server removes the file at its
/// end, and when it cannot write an outcome.
const MISSING_STEPS: u32 = 50;

/// The exit status if the messages between the server's processes are not those of this version.
/// The processes of a reload could not work with those that run.
const OTHER_MESSAGES: u8 = 3;

/// The exit status is 0 if the new configuration is in use, and 1 or [`OTHER_MESSAGES`] otherwise.
fn main() -> ExitCode {
    let options = options(std::env::args().skip(1)).map_err(|why| (1, why));
    match options.and_then(|options| options.map_or(Ok(USAGE.to_owned()), run)) {
        Ok(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err((status, why)) => {
            let _ = writeln!(std::io::stderr(), "popward-reload: {why}");
            ExitCode::from(status)
        }
    }
}

#[derive(Clone, Copy)]
struct Options {
    pid: Option<u32>,
    wait: Duration,
}

/// Parses the options. `None`: the caller wants the usage text.
fn options(mut words: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let pid = std::env::var("MAINPID")
        .ok()
        .and_then(|pid| pid.parse().ok());
    let mut options = Options {
        pid,
        wait: Duration::from_secs(60),
    };
    while let Some(word) = words.next() {
        let mut number = || {
            let number = words.next().and_then(|word| word.parse().ok());
            number.ok_or_else(|| format!("{word}: expected a number"))
        };
        match word.as_str() {
            "--pid" => options.pid = Some(number()?),
            "--wait" => options.wait = Duration::from_secs(number()?.into()),
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("{other:?}: no such option\n{USAGE}")),
        }
    }
    Ok(Some(options))
}

/// Reloads the server. An error has the exit status.
fn run(options: Options) -> Result<String, (u8, String)> {
    let file = Outcome::file();
    let before = Outcome::read(&file);
    let differs = |before: &Outcome| before.version != popward_proto::VERSION;
    if Outcome::is_foreign(&file) || before.as_ref().is_ok_and(differs) {
        let why = "the running popward has other messages between its processes: restart popward";
        return Err((OTHER_MESSAGES, why.to_owned()));
    }
    let before = before.map_err(|error| {
        let why = "Is popward running, and was it started with $RUNTIME_DIRECTORY?";
        (1, format!("{error}. {why}"))
    })?;
    reload(options, &file, &before).map_err(|why| (1, why))
}

fn reload(options: Options, file: &Path, before: &Outcome) -> Result<String, String> {
    let pid = options.pid.unwrap_or(before.pid);
    if pid != before.pid {
        let (file, other) = (file.display(), before.pid);
        return Err(format!(
            "{file} is of process {other}, not of process {pid}"
        ));
    }
    if !is_popward(pid) {
        return Err(format!("process {pid} is not popward: it has ended"));
    }
    let number = i32::try_from(pid).map_err(|_| format!("{pid}: no process id"))?;
    kill(Pid::from_raw(number), Signal::SIGHUP)
        .map_err(|errno| format!("process {pid}: {errno}"))?;
    let until = Instant::now() + options.wait;
    let mut missing = 0;
    while Instant::now() < until {
        std::thread::sleep(STEP);
        match Outcome::read(file) {
            // Only a reload that began after the signal counts, because an earlier one may have
            // read an older configuration.
            Ok(now) if now.pid == pid && now.number > before.number => match now.state {
                State::UnderWay => {}
                State::Done => return Ok(now.text + "\n"),
                State::Failed => return Err(now.text),
            },
            Ok(_) => missing = 0,
            Err(error) if missing == MISSING_STEPS => {
                return Err(format!(
                    "{error}. The server could not write its outcome; the reload may have taken place: see the log"
                ));
            }
            Err(_) => missing += 1,
        }
        if !is_popward(pid) {
            return Err(format!("process {pid} ended before it reloaded"));
        }
    }
    let seconds = options.wait.as_secs();
    Err(format!(
        "no outcome after {seconds} s; the reload may still take place: see the log"
    ))
}

/// Whether the process `pid` is a monitor, by the name that the kernel has for it. When the monitor
/// has ended, another process can get its id.
fn is_popward(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .is_ok_and(|name| name.trim_end() == "popward")
}
