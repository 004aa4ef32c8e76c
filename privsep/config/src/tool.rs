//! What an operator sees of a configuration, as text: `popward config`, and the end of `popward
//! --check`. popward-config then runs with the rights of its caller, and gives up the same ones as
//! a reader for the supervisor.

use crate::config::{Config, DEFAULT};
use crate::confine::confine;
use crate::file::File;
use crate::host::Host;
use crate::load;
use crate::report;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use toml::{Table, Value};

/// `popward config`: prints the configuration in force, as TOML that popward reads again.
pub(crate) const CONFIG: &str = "config";

/// `popward --check` becomes this when nothing is wrong: it tells what this host gives.
pub(crate) const HOST: &str = "host";

const USAGE: &str = "usage: popward config [-n] [--config FILE]\n\
    \n  -n             print only what differs from the defaults\
    \n  --config FILE  the configuration (default /etc/popward/popward.toml)\n";

/// The exit status for a mistake in the configuration, as that of `popward --check`.
const BAD_CONFIGURATION: u8 = 78;

/// What the caller wants.
pub(crate) struct Options {
    path: PathBuf,
    only_changed: bool,
}

/// Parses the options. `None`: the caller wants the usage text.
fn options(mut words: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let (mut path, mut only_changed) = (PathBuf::from(DEFAULT), false);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-n" => only_changed = true,
            "--config" | "-c" => path = words.next().ok_or("--config: expected a file")?.into(),
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("{other:?}: no such option\n{USAGE}")),
        }
    }
    Ok(Some(Options { path, only_changed }))
}

/// Makes a text of a configuration.
type Text = fn(Config, &Options) -> Result<String, toml::ser::Error>;

/// Runs the tool: prints `text` of the configuration.
pub(crate) fn main(text: Text) -> ExitCode {
    let printed = match options(std::env::args().skip(2)) {
        Ok(None) => Ok(USAGE.to_owned()),
        Ok(Some(options)) => loaded(&options)
            .and_then(|config| text(config, &options).map_err(|error| (1, error.to_string()))),
        Err(why) => Err((1, why)),
    };
    match printed {
        Ok(text) if std::io::stdout().write_all(text.as_bytes()).is_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err((status, why)) => {
            complain(&why);
            ExitCode::from(status)
        }
    }
}

/// Reads the configuration. `Err`: the exit status, and why there is none.
fn loaded(options: &Options) -> Result<Config, (u8, String)> {
    let names = confine(true);
    let names = names.map_err(|error| (1, format!("popward-config is not confined: {error}")))?;
    let (config, _) = load::load(&options.path, &Host::this(names));
    config.map_err(|error| (BAD_CONFIGURATION, error.with_excerpts()))
}

fn complain(why: &str) {
    let _ = writeln!(std::io::stderr(), "popward: {why}");
}

/// Returns what this host gives. Warns of addresses that are taken.
pub(crate) fn of_host(config: &Config, options: &Options) -> String {
    for address in report::taken(config, &options.path) {
        let why = "another program listens there, so a start would fail";
        complain(&format!("warning: listen.address: {address}: {why}"));
    }
    report::host(config)
}

/// Tables without a key. They say nothing, so they are not printed.
const EMPTY: &str = "account = [{ adopt = {}, auth = {}, limits = {}, spool = {} }]";

/// One table of each kind that a file need not have, so that their defaults are known.
const OPTIONAL: &str = "[[listen]]\naddress = \"\"\n[[certificate]]\nchain = \"\"\nkey = \"\"\n[[account]]\n[auth.oauth2]\n";

/// Returns the keys with their values as TOML, or only those that differ from the defaults.
pub(crate) fn in_force(config: Config, options: &Options) -> Result<String, toml::ser::Error> {
    printed(*config.file, options.only_changed)
}

fn printed(mut file: File, only_changed: bool) -> Result<String, toml::ser::Error> {
    let defaults: Table = if only_changed {
        let defaults = toml::from_str(OPTIONAL).unwrap_or_else(|_| File::default());
        Table::try_from(defaults)?
    } else {
        file.settle();
        toml::from_str(EMPTY).unwrap_or_default()
    };
    let mut table = Table::try_from(file)?;
    take_out(&mut table, &defaults);
    toml::to_string(&table)
}

/// Takes the keys out of `table` that are as in `defaults`, and the tables that are empty then. If
/// a default is a list of tables, its first table has the defaults of each table of such a list.
fn take_out(table: &mut Table, defaults: &Table) {
    table.retain(|key, value| {
        let default = defaults.get(key);
        let list = default.and_then(Value::as_array);
        match (
            value,
            default,
            list.and_then(|list| list.first()?.as_table()),
        ) {
            (Value::Table(table), Some(Value::Table(defaults)), _) => {
                take_out(table, defaults);
                !table.is_empty()
            }
            (Value::Array(all), _, Some(defaults)) => {
                let tables = all.iter_mut().filter_map(Value::as_table_mut);
                tables.for_each(|table| take_out(table, defaults));
                !all.is_empty()
            }
            (value, default, _) => default != Some(value),
        }
    });
}

#[cfg(test)]
mod tests;
