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

const USAGE: &str = include_str!("usage.txt");

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
