//! popwardctl: the tool of an operator. It looks at the running server and at one account end to
//! end, and helps with a move from another server.
//!
//! It runs as the user that calls it, with no more rights, and is no part of the server. As root it
//! reads no file of a user itself: a second popwardctl does so as that user, and can only read
//! ([`look`], [`listing`]). What changes a user's files is an executable of the server, which runs as
//! the user, under the user's locks ([`task`]). What another server says is read by a process of
//! nobody's ([`old_server`]).

#![forbid(unsafe_code)]

mod account;
mod accounts;
mod adopt;
mod arguments;
mod as_user;
mod configuration;
mod executable;
mod facts;
mod holders;
mod import;
mod index_check;
mod interrupt;
mod listing;
mod look;
mod mailbox;
mod old_server;
mod outcome;
mod output;
mod passwords;
mod processes;
mod report;
mod sessions;
mod status;
mod task;
mod told;
mod top;
mod upkeep;
mod user;

use arguments::Command;
use output::{FAILED, USAGE, complain, print};
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match arguments::parse() {
        Ok(command) => command,
        Err(why) => return complain(&why, USAGE),
    };
    match command {
        Command::Print(text) => print(&text),
        Command::Look => look::main(),
        Command::List => listing::main(),
        Command::AskOldServer => old_server::main(),
        Command::CheckIndex => index_check::main_check(),
        Command::RemoveIndex => index_check::main_remove(),
        Command::Upkeep(options) => upkeep::main(&options),
        Command::Adopt(options) => adopt::main(&options),
        Command::Popward(words) => become_popward(words),
        Command::Status { json } => status::main(json),
        Command::Sessions { json } => sessions::main(json),
        Command::Kick(wanted) => sessions::kick(&wanted),
        Command::Top => top::main(),
        Command::User(options) => user::main(&options),
        Command::ImportConfig(options) => import::main(&options),
    }
}

/// Replaces this process by `popward`, which has these commands. A security module knows which
/// executable `popward` becomes for each of them.
fn become_popward(words: Vec<OsString>) -> ExitCode {
    use std::os::unix::process::CommandExt;
    let error = match executable::beside("popward") {
        Ok(path) => std::process::Command::new(path).args(words).exec(),
        Err(error) => error,
    };
    complain(&format_args!("popward: {error}"), FAILED)
}
