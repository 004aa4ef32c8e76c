//! Parses the server's command line: `popward [--config FILE] [--check]`. `main.rs` handles the
//! other commands before that.

use std::path::PathBuf;

/// The arguments of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The configuration file.
    pub(crate) config: PathBuf,
    /// Whether to check the configuration without starting the server.
    pub(crate) check: bool,
}

/// What the caller wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The server, or a check of its configuration.
    Run(Arguments),
    /// A text: the usage or the version.
    Print(&'static str),
}

const USAGE: &str = "usage: popward [--config FILE] [--check]\
    \n       popward config [-n] [--config FILE]\
    \n       popward reload [--pid PID] [--wait SECONDS]\
    \n       popward spool FILE [--uidl SCHEME[,SCHEME...]] [--json]\
    \n       popward secret [--scheme SCHEME] [--iterations N] [--stand-in]\
    \n       popward import-popauth [FILE]\n\
    \n  --config FILE  the configuration (default /etc/popward/popward.toml)\
    \n  --check        check the configuration, start nothing\
    \n  --version      print the version\
    \n  config         print the configuration in force, defaults included\
    \n  reload         have the running server read its configuration again, and say what came of it\
    \n  spool          show what popward reads in FILE; see popward spool --help\
    \n  secret         read a password, print what a password file stores of it\
    \n  import-popauth turn a dump of Qpopper's popauth database into lines of a password file\n";

const VERSION: &str = concat!("popward ", env!("CARGO_PKG_VERSION"), "\n");

impl Arguments {
    /// Parses `words`, the arguments after the program's name.
    ///
    /// # Errors
    ///
    /// The text for the operator names an unknown option, or the option without its file.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Wish, String> {
        let mut arguments = Self {
            config: PathBuf::from("/etc/popward/popward.toml"),
            check: false,
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--config" | "-c" => {
                    arguments.config = words.next().ok_or("--config: expected a file")?.into();
                }
                "--check" => arguments.check = true,
                "--help" | "-h" => return Ok(Wish::Print(USAGE)),
                "--version" => return Ok(Wish::Print(VERSION)),
                other => return Err(format!("{other:?}: no such option\n{USAGE}")),
            }
        }
        Ok(Wish::Run(arguments))
    }
}
