//! Whose mail it is: an account, as the configured source has it.

use crate::configuration::Configuration;
use crate::executable;
use popward_conversation::account::{NoAccount, of_system};
use popward_proto::account::Account;
use popward_proto::bounded::{AbsolutePath, List, UserName};
use popward_proto::monitor_auth::AccountSource;
use std::path::Path;
use std::process::Command;

/// Where an account comes from, for the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The password file, and the system for what the file leaves out.
    PasswordFile,
    /// The system.
    System,
    /// The system. The checkpassword program may say something else at a login.
    SystemOrProgram,
}

impl Source {
    /// The source in words.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::PasswordFile => "password file",
            Self::System => "system",
            Self::SystemOrProgram => "system; the checkpassword program may say otherwise",
        }
    }
}

/// The account `name`, and where it comes from.
///
/// # Errors
///
/// Why there is no such account, for the operator.
pub(crate) fn of(
    name: &UserName,
    configuration: &Configuration,
) -> Result<(Account, Source), String> {
    let system = || match of_system(name.as_str()) {
        Ok(account) => Ok(account),
        Err(NoAccount::Refused(why) | NoAccount::Failed(why)) => Err(format!("{name}: {why}")),
    };
    match &configuration.auth.source {
        AccountSource::PasswdFile { path } => {
            Ok((in_file(path.as_path(), name)?, Source::PasswordFile))
        }
        AccountSource::Pam { .. } => Ok((system()?, Source::System)),
        AccountSource::Checkpassword { .. } => Ok((system()?, Source::SystemOrProgram)),
    }
}

/// Asks popward-auth for a line of the password file, without the password in it. popward-auth is
/// the one reader of that file.
fn in_file(path: &Path, name: &UserName) -> Result<Account, String> {
    const EXECUTABLE: &str = "popward-auth";
    let failed = |error: std::io::Error| format!("{EXECUTABLE}: {error}");
    let output = Command::new(executable::beside(EXECUTABLE).map_err(failed)?)
        .arg("account")
        .arg(path)
        .arg(name.as_str())
        .output()
        .map_err(failed)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text, name).ok_or_else(|| format!("{EXECUTABLE}: an answer of another version"))
}

/// Parses lines such as `uid 1000`.
fn parse(text: &str, name: &UserName) -> Option<Account> {
    let (mut uid, mut gid, mut groups) = (None, None, Vec::new());
    let (mut home, mut spool) = (None, None);
    for line in text.lines() {
        let (word, value) = line.split_once(' ')?;
        let number = || value.parse::<u32>().ok();
        let path = || AbsolutePath::try_from(value.to_owned()).ok();
        match word {
            "uid" => uid = Some(number()?),
            "gid" => gid = Some(number()?),
            "group" => groups.push(number()?),
            "home" => home = Some(path()?),
            "spool" => spool = Some(path()?),
            _ => return None,
        }
    }
    Some(Account {
        name: name.clone(),
        uid: uid?,
        gid: gid?,
        groups: List::try_from(groups).ok()?,
        home,
        spool,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_account_or_nothing() {
        let name = UserName::try_from("alice".to_owned()).unwrap();
        let text = "uid 1000\ngid 1001\ngroup 8\nhome /home/alice\nspool /m/a\n";
        let account = parse(text, &name).unwrap();
        assert_eq!((account.uid, account.gid), (1000, 1001));
        assert_eq!(account.groups.as_slice(), [8]);
        assert_eq!(account.spool.unwrap().as_path(), Path::new("/m/a"));
        assert!(parse("uid 1\ngid 2\n", &name).unwrap().home.is_none());
        for text in ["", "uid 1\n", "uid x\ngid 1\n", "uid 1\ngid 1\nfrob 1\n"] {
            assert!(parse(text, &name).is_none(), "{text}");
        }
    }
}
