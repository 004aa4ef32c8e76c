//! popward-auth: checks credentials. It tells the monitor which session belongs to which account,
//! and the front which login failed.
//!
//! It runs as an unprivileged user of its own, or as root if PAM's modules need that. It has no
//! capabilities in either case. It reads the password file. For each login by PAM, by a program, by
//! token or by certificate it starts a child (see `conversation_child`).

mod account;
mod check;
mod conversation_child;
mod conversation_pool;
mod crypt;
mod hashing;
mod login;
mod passwd_file;
mod policy;
mod scram_exchange;
mod service;
mod stored;
mod tool;
mod trusted_file;
mod verdict;

use conversation_child::Mode;
use conversation_child::program::REPLY;
use popward_sys::seccomp::denials;
use popward_sys::server::{self, Root};
use service::Auth;
use std::error::Error;
use std::process::ExitCode;

/// Most open descriptors: one for each front, two for each conversation, and a few more.
const FILES: u64 = 4096;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => serve(),
        Some("pam") => conversation_child::main(Mode::Pam),
        Some("program") => conversation_child::main(Mode::Program),
        Some("proof") => conversation_child::main(Mode::Proof),
        Some(REPLY) => conversation_child::program::reply(),
        // No part of the server: the commands `popward secret` and `popward import-popauth`.
        Some("secret") => tool::secret(std::env::args().skip(2)),
        Some("import-popauth") => tool::import_popauth(std::env::args().skip(2)),
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
    // Processes that a PAM module or a program leaves behind become children of auth, which ends
    // them.
    server::adopt_orphans()?;
    server::drop_privileges(FILES, Root::Host)?;
    // Nobody knows which calls modules and programs make. So auth and its children have a list of
    // calls that fail.
    Ok(denials::install(denials::OF_OTHERS)?)
}
