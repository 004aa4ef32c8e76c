//! Whose mail there may be: the names of all accounts, as far as the configured source tells.

use crate::configuration::Configuration;
use crate::executable;
use popward_proto::bounded::UserName;
use popward_proto::monitor_auth::AccountSource;
use popward_proto::pattern::Part;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::Command;

/// The names of all accounts, in order: those of the password file, or the system's users whose ids
/// may log in. A directory service may not list its users. So the names of the files in a spool
/// directory that all users share count too, if the system knows such a user.
///
/// # Errors
///
/// The source cannot be read.
pub(crate) fn all(configuration: &Configuration) -> Result<Vec<UserName>, String> {
    if let AccountSource::PasswdFile { path } = &configuration.auth.source {
        return in_file(path.as_path());
    }
    let may = &configuration.auth.admission;
    let mut names: BTreeSet<String> = of_system(may.first_uid, may.last_uid)?
        .into_iter()
        .collect();
    if let Some(directory) = shared(configuration) {
        names.extend(spools(directory).map_err(|error| format!("{directory}: {error}"))?);
    }
    let names = names.into_iter();
    Ok(names
        .filter_map(|name| UserName::try_from(name).ok())
        .collect())
}

/// Asks popward-auth, which is the one reader of the file, for the names in it.
fn in_file(path: &Path) -> Result<Vec<UserName>, String> {
    const EXECUTABLE: &str = "popward-auth";
    let mut command = Command::new(executable::beside(EXECUTABLE).map_err(|e| e.to_string())?);
    let lines = lines(command.arg("names").arg(path), EXECUTABLE)?;
    let mut seen = BTreeSet::new();
    let mut names: Vec<UserName> = lines
        .into_iter()
        .filter_map(|name| UserName::try_from(name).ok())
        .collect();
    // Of two lines with one name the first counts.
    names.retain(|name| seen.insert(name.as_str().to_owned()));
    Ok(names)
}

/// The names of the system's users with ids in this range.
fn of_system(first_uid: u32, last_uid: u32) -> Result<Vec<String>, String> {
    let lines = lines(Command::new("getent").arg("passwd"), "getent")?;
    let name = |line: &String| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid: u32 = fields.nth(1)?.parse().ok()?;
        (uid != 0 && (first_uid..=last_uid).contains(&uid)).then(|| name.to_owned())
    };
    Ok(lines.iter().filter_map(name).collect())
}

/// The directory of all spools, if every user's spool lies in one directory and has the user's name.
fn shared(configuration: &Configuration) -> Option<&str> {
    let pattern = &configuration.settings.everybody.spool.pattern;
    match pattern.parts() {
        [Part::Literal(_), Part::User] => pattern.base(),
        _ => None,
    }
}

/// The names of users with a spool in this directory.
fn spools(directory: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let known = || matches!(nix::unistd::User::from_name(&name), Ok(Some(_)));
        if entry.file_type().is_ok_and(|kind| kind.is_file()) && known() {
            names.push(name);
        }
    }
    Ok(names)
}

/// The lines that a program prints.
fn lines(command: &mut Command, name: &str) -> Result<Vec<String>, String> {
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(if said.is_empty() {
            format!("{name}: {}", output.status)
        } else {
            said
        });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}
