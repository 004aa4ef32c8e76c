//! popward-auth: checks credentials, tells a front who was refused and the monitor who was granted.
//!
//! Runs as its own unprivileged user, or as root where PAM's modules need that, and without capabilities either way. It
//! reads the password file, or has PAM asked by a child of its own for each login (the argument `pam`).

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
use popward_sys::channel::ChannelError;
use popward_sys::confine::{self, Identity, NotConfined};
use popward_sys::inherited;
use popward_sys::log::Log;
use service::Auth;
use std::process::ExitCode;

/// Descriptors: a channel a front, two a conversation, and a few of its own.
const FILES: u64 = 4096;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => serve(),
        Some("pam") => conversation_child::main(Mode::Pam),
        Some("program") => conversation_child::main(Mode::Program),
        Some("proof") => conversation_child::main(Mode::Proof),
        Some(REPLY) => conversation_child::program::reply(),
        // No part of the server: `popward secret` and `popward import-popauth` become these.
        Some("secret") => tool::secret(std::env::args().skip(2)),
        Some("import-popauth") => tool::import_popauth(std::env::args().skip(2)),
        Some(_) => ExitCode::FAILURE,
    }
}

/// The whole life of auth itself.
fn serve() -> ExitCode {
    let Ok([control, log]) = inherited::take::<2>() else {
        return ExitCode::FAILURE;
    };
    let Ok(log) = Log::new(log) else {
        return ExitCode::FAILURE;
    };
    if let Err(error) = confine() {
        log.error(None, "not confined", &[("error", &error)]);
        return ExitCode::FAILURE;
    }
    let mut auth = match Auth::new(control, log) {
        Ok(auth) => auth,
        Err((log, error)) => {
            log.error(None, "cannot begin", &[("error", &error)]);
            return ExitCode::FAILURE;
        }
    };
    match auth.serve() {
        Ok(()) | Err(ChannelError::Closed) => ExitCode::SUCCESS,
        Err(error) => {
            auth.log()
                .error(None, "the monitor broke the rules", &[("error", &error)]);
            ExitCode::FAILURE
        }
    }
}

fn confine() -> Result<(), NotConfined> {
    confine::server::adopt_orphans()?;
    confine::harden(FILES)?;
    confine::drop_capabilities(&[])?;
    let identity = Identity::current().ok_or(NotConfined::Unproven("between two users"))?;
    confine::prove(&identity, &confine::groups()?, &[])
}
