//! popward-auth: checks credentials. It tells sessions which session belongs to which account,
//! and the front which login failed.
//!
//! It runs as an unprivileged user of its own, never as root. It reads the password file. It starts
//! no process. For each login by PAM, by a program, by token or by certificate it asks the monitor
//! for a process, and holds a conversation with it (see `conversations`).

mod account;
mod check;
mod confinement;
mod conversations;
mod crypt;
mod hashing;
mod login;
mod passwd_file;
mod policy;
mod scram_exchange;
mod service;
mod stored;
mod syscalls;
mod tool;
mod trusted_file;
mod verdict;

use popward_sys::seccomp::denials;
use popward_sys::server::{self, Root};
use service::Auth;
use std::error::Error;
use std::process::ExitCode;

/// Most open descriptors: one for each front and for each conversation, and a few more.
const FILES: u64 = 4096;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => serve(),
        // No part of the server: the commands `popward secret` and `popward import-popauth`, and
        // what popwardctl asks.
        Some("secret") => tool::secret(std::env::args().skip(2)),
        Some("import-popauth") => tool::import_popauth(std::env::args().skip(2)),
        Some("account") => tool::account(std::env::args().skip(2)),
        Some("names") => tool::names(std::env::args().skip(2)),
        Some(_) => ExitCode::FAILURE,
    }
}

/// Runs auth itself.
fn serve() -> ExitCode {
    let Some((control, log)) = server::start(confine) else {
        return ExitCode::FAILURE;
    };
    let mut auth = match Auth::new(control, log) {
        Ok(auth) => auth,
        Err((log, error)) => {
            log.error(None, "cannot begin", &[("error", &error)]);
            return ExitCode::FAILURE;
        }
    };
    let result = auth.serve();
    server::exit_code(result, auth.log())
}

fn confine() -> Result<(), Box<dyn Error>> {
    server::drop_privileges(FILES, Root::Host)?;
    // The settings decide whether auth needs NSS. Nobody knows which calls NSS's modules make. So
    // until then, auth has only a list of calls that fail. The rest is in `confinement`.
    Ok(denials::install(denials::OF_OTHERS)?)
}
