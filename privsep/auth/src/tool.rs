//! `popward secret` and `popward import-popauth`: the tools with which an operator makes password
//! files. `popward-auth account` tells popwardctl whose account a line of such a file is, and
//! `popward-auth names` whose lines there are.
//!
//! They are no part of the server. They run with their caller's rights, and no process of the
//! server starts them.

mod popauth;

use crate::account::NotGranted;
use crate::passwd_file;
use crate::stored::{HmacContexts, plain, scram};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use popward_proto::account::Account;
use popward_proto::auth::ScramHash;
use popward_proto::bounded::UserName;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Longest password, in bytes: what a client can send.
const PASSWORD_MAX: usize = 512;

/// Most rounds of PBKDF2. They take some seconds.
const ITERATIONS_MAX: u32 = 10_000_000;

const USAGE: &str = "usage: popward secret [--scheme SCHEME] [--iterations N] [--stand-in]\n\n\
    \x20 reads a password (from a terminal twice, unseen; else the first line of standard input), and prints what a password\n\
    \x20 file has between the first two colons of a line\n\
    \x20 --scheme      SCRAM-SHA-256 (the default), SCRAM-SHA-1, CRAM-MD5, ARGON2ID or PLAIN\n\
    \x20 --iterations  rounds for SCRAM (default 4096)\n\
    \x20 --stand-in    asks for no password: prints a whole line with the key for what names that are not in the file look like\n";

const POPAUTH_USAGE: &str = "usage: popward import-popauth [FILE]\n\n\
    \x20 FILE is what gdbm_dump or db_dump writes of Qpopper's database\n";

fn asks_for_help(words: &[String]) -> bool {
    words
        .iter()
        .any(|word| ["--help", "-h"].contains(&word.as_str()))
}

/// The options of `popward secret`.
#[derive(Debug, PartialEq, Eq)]
struct SecretOptions {
    scheme: Scheme,
    iterations: u32,
    stand_in: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Scram(ScramHash),
    CramMd5,
    Argon2id,
    Plain,
}

impl SecretOptions {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut wish = Self {
            scheme: Scheme::Scram(ScramHash::Sha256),
            iterations: scram::ITERATIONS,
            stand_in: false,
        };
        while let Some(word) = words.next() {
            let value = match word.as_str() {
                "--stand-in" => {
                    wish.stand_in = true;
                    continue;
                }
                "--scheme" | "--iterations" => words.next().unwrap_or_default(),
                _ => return Err(USAGE.to_owned()),
            };
            if word == "--scheme" {
                wish.scheme = match value.to_ascii_uppercase().as_str() {
                    "SCRAM-SHA-256" => Scheme::Scram(ScramHash::Sha256),
                    "SCRAM-SHA-1" => Scheme::Scram(ScramHash::Sha1),
                    "CRAM-MD5" => Scheme::CramMd5,
                    "ARGON2ID" => Scheme::Argon2id,
                    "PLAIN" => Scheme::Plain,
                    _ => return Err(USAGE.to_owned()),
                };
            } else {
                let rounds = value.parse().ok();
                // RFC 5802, section 5.1: at least 4096.
                let rounds = rounds.filter(|rounds| (4096..=ITERATIONS_MAX).contains(rounds));
                wish.iterations = rounds.ok_or("--iterations: expected 4096 to 10000000")?;
            }
        }
        if wish.stand_in && !matches!(wish.scheme, Scheme::Scram(_)) {
            return Err("--stand-in: expected a SCRAM scheme".to_owned());
        }
        Ok(wish)
    }

    /// The text that a password file stores for `password`.
    fn stored(&self, password: &[u8]) -> Result<Zeroizing<String>, String> {
        let text = match self.scheme {
            Scheme::Scram(hash) => {
                let parameters = scram::Parameters {
                    iterations: self.iterations,
                    salt: random::<{ scram::SALT }>()?.to_vec(),
                };
                let keys = scram::Keys::derive(hash, &scram::prepared(password), parameters);
                let name = match hash {
                    ScramHash::Sha1 => "SCRAM-SHA-1",
                    ScramHash::Sha256 => "SCRAM-SHA-256",
                };
                format!("{{{name}}}{}", *keys.to_text())
            }
            Scheme::CramMd5 => format!("{{CRAM-MD5}}{}", HmacContexts::of(password).to_text()),
            Scheme::Argon2id => {
                use argon2::password_hash::{PasswordHasher, SaltString};
                let salt =
                    SaltString::encode_b64(&random::<16>()?).map_err(|error| error.to_string())?;
                let hash = argon2::Argon2::default().hash_password(password, &salt);
                format!("{{ARGON2ID}}{}", hash.map_err(|error| error.to_string())?)
            }
            Scheme::Plain => return Ok(plain(password)?),
        };
        Ok(Zeroizing::new(text))
    }
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], String> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// `popward secret`.
pub(crate) fn secret(words: impl Iterator<Item = String>) -> ExitCode {
    let words: Vec<String> = words.collect();
    if asks_for_help(&words) {
        return finish(Ok(Zeroizing::new(USAGE.to_owned())));
    }
    let words = words.into_iter();
    finish(SecretOptions::parse(words).and_then(|wish| {
        if wish.stand_in {
            let password = Zeroizing::new(random::<32>()?);
            let stored = wish.stored(password.as_slice())?;
            return Ok(Zeroizing::new(format!(".stand-in:{}\n", *stored)));
        }
        let stored = wish.stored(&ask()?)?;
        Ok(Zeroizing::new(format!("{}\n", *stored)))
    }))
}

/// `popward import-popauth`.
pub(crate) fn import_popauth(words: impl Iterator<Item = String>) -> ExitCode {
    let words: Vec<String> = words.collect();
    if asks_for_help(&words) {
        return finish(Ok(Zeroizing::new(POPAUTH_USAGE.to_owned())));
    }
    let mut words = words.into_iter();
    let mut dump = Zeroizing::new(Vec::new());
    let read = match (words.next().as_deref(), words.next()) {
        (None | Some("-"), None) => std::io::stdin().read_to_end(&mut dump),
        (Some(path), None) if !path.starts_with('-') => {
            std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut dump))
        }
        _ => return finish(Err(POPAUTH_USAGE.to_owned())),
    };
    finish(match read {
        Err(error) => Err(error.to_string()),
        Ok(_) => popauth::lines(&dump).map(|(lines, left_out)| {
            for user in left_out {
                complain(&format!(
                    "{user}: no APOP password, or a name that none can have"
                ));
            }
            lines
        }),
    })
}

fn finish(made: Result<Zeroizing<String>, String>) -> ExitCode {
    match made {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn complain(error: &str) {
    // If standard error is closed, there is no place left for an error.
    let _ = writeln!(std::io::stderr(), "popward: {}", error.trim_end());
}

/// Reads the password. At a terminal it asks twice, without echo.
fn ask() -> Result<Zeroizing<Vec<u8>>, String> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return line();
    }
    let shown = tcgetattr(&input).map_err(|errno| errno.to_string())?;
    let mut unseen = shown.clone();
    unseen.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&input, SetArg::TCSAFLUSH, &unseen).map_err(|errno| errno.to_string())?;
    let asked = prompt("Password: ").and_then(|first| Ok((first, prompt("Again: ")?)));
    // The echo comes back after an error too.
    let _ = tcsetattr(&input, SetArg::TCSAFLUSH, &shown);
    match asked? {
        (first, second) if first == second => Ok(first),
        _ => Err("the two are not the same".to_owned()),
    }
}

fn prompt(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let _ = std::io::stderr().write_all(text.as_bytes());
    let line = line();
    let _ = std::io::stderr().write_all(b"\n");
    line
}

/// `popward-auth account FILE NAME`: prints the account that a password file has for a name, without
/// its password, one value in each line.
pub(crate) fn account(words: impl Iterator<Item = String>) -> ExitCode {
    let words: Vec<String> = words.collect();
    let [file, name] = &words[..] else {
        return ExitCode::FAILURE;
    };
    let found = UserName::try_from(name.clone())
        .map_err(|error| error.to_string())
        .and_then(|user| of_file(Path::new(file), &user))
        .map(|account| shown(&account));
    match found {
        Ok(text) if std::io::stdout().write_all(text.as_bytes()).is_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{file}: {name}: {why}");
            ExitCode::FAILURE
        }
    }
}

/// `popward-auth names FILE`: prints the name in each line of a password file with which a user can
/// log in.
pub(crate) fn names(words: impl Iterator<Item = String>) -> ExitCode {
    let words: Vec<String> = words.collect();
    let [file] = &words[..] else {
        return ExitCode::FAILURE;
    };
    match passwd_file::names(Path::new(file)) {
        Ok(names) if std::io::stdout().write_all(names.as_bytes()).is_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{file}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn of_file(file: &Path, user: &UserName) -> Result<Account, String> {
    // The key decides who stands in for a missing user. Nothing is checked here.
    let entry = passwd_file::find(file, user, None, &[0; 32])?.entry;
    let account = entry
        .map_err(NotGranted::from)
        .and_then(|entry| entry.account(user));
    account.map_err(|why| match why {
        NotGranted::Refused(why) | NotGranted::Unusable(why) | NotGranted::Failed(why) => why,
    })
}

/// The lines that popwardctl reads.
fn shown(account: &Account) -> String {
    let ids = [("uid", account.uid), ("gid", account.gid)];
    let groups = account.groups.as_slice().iter().map(|gid| ("group", *gid));
    let ids = ids.into_iter().chain(groups);
    let mut lines: Vec<String> = ids.map(|(word, id)| format!("{word} {id}\n")).collect();
    for (word, path) in [("home", &account.home), ("spool", &account.spool)] {
        lines.extend(path.iter().map(|path| format!("{word} {path}\n")));
    }
    lines.concat()
}

fn line() -> Result<Zeroizing<Vec<u8>>, String> {
    let mut line = Zeroizing::new(Vec::with_capacity(PASSWORD_MAX + 2));
    let input = std::io::stdin().lock();
    let mut bounded = input.take(PASSWORD_MAX as u64 + 2);
    bounded
        .read_until(b'\n', &mut line)
        .map_err(|error| error.to_string())?;
    while line
        .last()
        .is_some_and(|byte| [b'\n', b'\r'].contains(byte))
    {
        line.pop();
    }
    if line.is_empty() || line.len() > PASSWORD_MAX || line.contains(&0) {
        return Err("expected a password of 1 to 512 bytes".to_owned());
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::Stored;

    fn wish(words: &str) -> Result<SecretOptions, String> {
        SecretOptions::parse(words.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_server_verifies_what_the_tool_makes() {
        for scheme in [
            "SCRAM-SHA-256",
            "scram-sha-1",
            "CRAM-MD5",
            "ARGON2ID",
            "PLAIN",
        ] {
            let wish = wish(&format!("--scheme {scheme}")).unwrap();
            for password in ["secret", "a:b", "\u{ad}s", "  "] {
                let text = wish.stored(password.as_bytes()).unwrap();
                assert!(!text.contains("a:b"), "{}", *text);
                let stored = Stored::parse(text.as_bytes()).unwrap();
                assert!(
                    stored.is_usable() && stored.verify(password.as_bytes()) == Some(true),
                    "{scheme} {password}"
                );
                assert_eq!(stored.verify(b"other"), Some(false), "{scheme}");
            }
        }
        let more = wish("--iterations 5000").unwrap().stored(b"x").unwrap();
        assert!(more.starts_with("{SCRAM-SHA-256}5000,"));
        assert_ne!(
            more,
            wish("--iterations 5000").unwrap().stored(b"x").unwrap(),
            "a salt of its own"
        );
    }

    #[test]
    fn a_bad_command_line_makes_nothing() {
        for words in [
            "--scheme ROT13",
            "--scheme",
            "--iterations 1",
            "--iterations x",
            "--frob",
            "--stand-in --scheme PLAIN",
        ] {
            assert!(wish(words).is_err(), "{words}");
        }
        assert!(wish("--stand-in").unwrap().stand_in);
    }
}
