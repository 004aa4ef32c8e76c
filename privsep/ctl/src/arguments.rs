//! The command line.

use crate::{index_check, listing, look, old_server};
use lexopt::prelude::{Long, Short, Value};
use lexopt::{Arg, Parser, ValueExt};
use popward_proto::bounded::UserName;
use popward_proto::sessions_worker::Scheme;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const USAGE: &str = "usage: popwardctl COMMAND [OPTION...]\
    \n\
    \n  status [--json]                      show the running server: its processes and its counts\
    \n  sessions [--json]                    show who has a maildrop open\
    \n  top                                  show both, anew every two seconds\
    \n  kick SESSION | kick --user NAME      end a session, or all sessions of a user\
    \n  user NAME [--json] [--config FILE]   show one account end to end, and what a login would do\
    \n  adopt --user NAME... | --all [OPTION...]\
    \n                                       give users' mail the UIDLs of the server before\
    \n  index check|rebuild NAME...|--all [OPTION...]\
    \n                                       compare indexes with spools, or write them anew\
    \n  recover NAME... | --all [OPTION...]  finish updates that a crash broke off\
    \n  import-config --from SERVER FILE     make popward.toml of another server's configuration:\
    \n                                       dovecot (the output of doveconf -nP), or qpopper\
    \n  spool FILE [OPTION...]               show the messages of a file: see popward-spool(8)\
    \n  secret [OPTION...]                   make a line for a password file: see popward-secret(8)\
    \n\
    \n  --config FILE  the configuration (default /etc/popward/popward.toml)\
    \n  --from SERVER  the server that has been there before. For adopt: SCHEME[,SCHEME...] in place of\
    \n                 adopt.from\
    \n  --json         print JSON instead of text\
    \n  --help         print this text\
    \n  --version      print the version\
    \n\
    \n  Options of adopt:\
    \n  --user NAME    this user, or these\
    \n  --all          all users that the source of accounts tells\
    \n  --dry-run      write nothing, and say what would be\
    \n  --jobs N       so many users at once (default 4)\
    \n  --verify HOST:PORT\
    \n                 adopt a user only if the old server there gives the same UIDLs\
    \n  --passwords FILE\
    \n                 lines of USER:PASSWORD for --verify (default: standard input)\
    \n  --master SUFFIX\
    \n                 log in there as USER followed by SUFFIX, with the password of SUFFIX\n";

/// The configuration that is read by default.
const CONFIG: &str = "/etc/popward/popward.toml";

/// What the caller wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print a text.
    Print(String),
    /// Be the process that looks at a user's files: see [`look`].
    Look,
    /// Become `popward`, with these words.
    Popward(Vec<OsString>),
    /// `status`.
    Status {
        /// Whether to print JSON.
        json: bool,
    },
    /// `sessions`.
    Sessions {
        /// Whether to print JSON.
        json: bool,
    },
    /// `kick`.
    Kick(Kick),
    /// `top`.
    Top,
    /// `user`.
    User(User),
    /// Be the process that lists a user's messages: see [`listing`].
    List,
    /// Be the process that asks the old server: see [`old_server`].
    AskOldServer,
    /// `adopt`.
    Adopt(Adopt),
    /// Be the process that compares a user's index with the spool: see [`index_check`].
    CheckIndex,
    /// Be the process that removes a user's index.
    RemoveIndex,
    /// `index` and `recover`.
    Upkeep(Upkeep),
    /// `import-config`.
    ImportConfig(ImportConfig),
}

/// Whose mail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// That of all accounts.
    All,
    /// That of these, of at least one.
    These(Vec<UserName>),
}

/// The options of `popwardctl adopt`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Adopt {
    /// Whose mail.
    pub(crate) whom: Whom,
    /// The servers before. If there is none, `adopt.from` counts.
    pub(crate) from: Vec<Scheme>,
    /// Most users at once.
    pub(crate) jobs: usize,
    /// Whether nothing is written.
    pub(crate) dry_run: bool,
    /// The old server, as HOST:PORT.
    pub(crate) verify: Option<String>,
    /// The file with the passwords there. `-` is standard input.
    pub(crate) passwords: PathBuf,
    /// What follows each user's name in a login of a master user.
    pub(crate) master: Option<String>,
    /// The configuration.
    pub(crate) config: PathBuf,
    /// Whether to print JSON.
    pub(crate) json: bool,
}

/// What to do with users' files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// `index check`.
    IndexCheck,
    /// `index rebuild`.
    IndexRebuild,
    /// `recover`.
    Recover,
}

/// The options of `popwardctl index` and `popwardctl recover`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upkeep {
    /// What to do.
    pub(crate) work: Work,
    /// Whose files.
    pub(crate) whom: Whom,
    /// The configuration.
    pub(crate) config: PathBuf,
    /// Whether to print JSON.
    pub(crate) json: bool,
}

/// Most users at once.
const JOBS_MAX: usize = 256;

/// Which sessions `popwardctl kick` ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kick {
    /// The one with this id in the log.
    Session(String),
    /// All of this user.
    User(UserName),
}

/// A server that popward replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// Dovecot 2.3 or 2.4.
    Dovecot,
    /// Qpopper 4.
    Qpopper,
}

impl Server {
    /// The server's name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Dovecot => "Dovecot",
            Self::Qpopper => "Qpopper",
        }
    }
}

/// The options of `popwardctl import-config`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImportConfig {
    /// Whose configuration it is.
    pub(crate) from: Server,
    /// The file. `-` is standard input.
    pub(crate) file: PathBuf,
}

/// The options of `popwardctl user`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Whose account.
    pub(crate) name: UserName,
    /// The configuration.
    pub(crate) config: PathBuf,
    /// Whether to print JSON.
    pub(crate) json: bool,
}

/// Parses this process's command line. `Err` says what was expected.
pub(crate) fn parse() -> Result<Command, String> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    of_words(words)
}

fn of_words(words: Vec<OsString>) -> Result<Command, String> {
    // These parse their own options.
    let first = words.first().and_then(|word| word.to_str()).unwrap_or("");
    match first {
        "spool" | "secret" => return Ok(Command::Popward(words)),
        look::ARGUMENT => return Ok(Command::Look),
        listing::ARGUMENT => return Ok(Command::List),
        index_check::CHECK => return Ok(Command::CheckIndex),
        index_check::REMOVE => return Ok(Command::RemoveIndex),
        old_server::ARGUMENT => return Ok(Command::AskOldServer),
        _ => {}
    }
    let mut parser = Parser::from_args(words);
    command(&mut parser).map_err(|error| error.to_string())
}

fn command(parser: &mut Parser) -> Result<Command, lexopt::Error> {
    match parser.next()? {
        Some(Value(word)) => match word.to_str() {
            Some("user") => user(parser),
            Some("adopt") => adopt(parser),
            Some("index") => match parser.next()? {
                Some(Value(word)) => match word.to_str() {
                    Some("check") => upkeep(parser, Work::IndexCheck),
                    Some("rebuild") => upkeep(parser, Work::IndexRebuild),
                    _ => Err(format!("index {word:?}: check or rebuild").into()),
                },
                Some(option) => common(&option).ok_or_else(|| option.unexpected()),
                None => Err("index: expected check or rebuild".into()),
            },
            Some("recover") => upkeep(parser, Work::Recover),
            Some("import-config") => import_config(parser),
            Some("status") => plain(parser, |json| Command::Status { json }),
            Some("sessions") => plain(parser, |json| Command::Sessions { json }),
            Some("kick") => kick(parser),
            Some("top") => match parser.next()? {
                None => Ok(Command::Top),
                Some(option) => common(&option).ok_or_else(|| option.unexpected()),
            },
            Some("help") => Ok(help()),
            _ => Err(format!("{word:?}: no such command\n{USAGE}").into()),
        },
        Some(option) => common(&option).ok_or_else(|| option.unexpected()),
        None => Err(format!("expected a command\n{USAGE}").into()),
    }
}

fn help() -> Command {
    Command::Print(USAGE.to_owned())
}

/// The options of every command.
fn common(option: &Arg<'_>) -> Option<Command> {
    match option {
        Long("help") | Short('h') => Some(help()),
        Long("version") => {
            let version = concat!("popwardctl ", env!("CARGO_PKG_VERSION"), "\n");
            Some(Command::Print(version.to_owned()))
        }
        _ => None,
    }
}

/// A command that has no option but `--json`.
fn plain(parser: &mut Parser, command: fn(bool) -> Command) -> Result<Command, lexopt::Error> {
    let mut json = false;
    while let Some(option) = parser.next()? {
        match option {
            Long("json") => json = true,
            option => return common(&option).ok_or_else(|| option.unexpected()),
        }
    }
    Ok(command(json))
}

fn kick(parser: &mut Parser) -> Result<Command, lexopt::Error> {
    let mut wanted = None;
    while let Some(option) = parser.next()? {
        match option {
            Long("user") if wanted.is_none() => {
                wanted = Some(Kick::User(account(parser.value()?)?));
            }
            Value(word) if wanted.is_none() => wanted = Some(Kick::Session(word.string()?)),
            option => return common(&option).ok_or_else(|| option.unexpected()),
        }
    }
    let wanted = wanted.ok_or("expected the id of a session, or --user NAME")?;
    Ok(Command::Kick(wanted))
}

fn user(parser: &mut Parser) -> Result<Command, lexopt::Error> {
    let (mut name, mut config, mut json) = (None, PathBuf::from(CONFIG), false);
    while let Some(option) = parser.next()? {
        match option {
            Long("config") | Short('c') => config = parser.value()?.into(),
            Long("json") => json = true,
            Value(word) if name.is_none() => name = Some(account(word)?),
            option => return common(&option).ok_or_else(|| option.unexpected()),
        }
    }
    let name = name.ok_or("expected the name of an account")?;
    Ok(Command::User(User { name, config, json }))
}

fn adopt(parser: &mut Parser) -> Result<Command, lexopt::Error> {
    let (mut users, mut all) = (Vec::new(), false);
    let mut adopt = Adopt {
        whom: Whom::All,
        from: Vec::new(),
        jobs: 4,
        dry_run: false,
        verify: None,
        passwords: PathBuf::from("-"),
        master: None,
        config: PathBuf::from(CONFIG),
        json: false,
    };
    while let Some(option) = parser.next()? {
        match option {
            Long("user") => users.push(account(parser.value()?)?),
            Long("all") => all = true,
            Long("from") => {
                let word = parser.value()?.string()?;
                let schemes = word.split(',').map(str::parse);
                let schemes = schemes.collect::<Result<_, _>>();
                adopt.from = schemes.map_err(|error| format!("--from {word}: {error}"))?;
            }
            Long("jobs") => {
                let jobs = parser.value()?.parse().ok();
                let jobs = jobs.filter(|jobs| (1..=JOBS_MAX).contains(jobs));
                adopt.jobs = jobs.ok_or_else(|| format!("--jobs: expected 1 to {JOBS_MAX}"))?;
            }
            Long("dry-run") => adopt.dry_run = true,
            Long("verify") => adopt.verify = Some(parser.value()?.string()?),
            Long("passwords") => adopt.passwords = parser.value()?.into(),
            Long("master") => adopt.master = Some(parser.value()?.string()?),
            Long("config") | Short('c') => adopt.config = parser.value()?.into(),
            Long("json") => adopt.json = true,
            option => return common(&option).ok_or_else(|| option.unexpected()),
        }
    }
    if all != users.is_empty() {
        return Err("expected --user NAME, or --all".into());
    }
    if !users.is_empty() {
        adopt.whom = Whom::These(users);
    }
    let for_verify = adopt.master.is_some() || adopt.passwords != Path::new("-");
    if adopt.verify.is_none() && for_verify {
        return Err("--passwords and --master are for --verify HOST:PORT".into());
    }
    let no_name = |suffix: &String| suffix.is_empty() || suffix.contains([':', '\r', '\n']);
    if adopt.master.as_ref().is_some_and(no_name) {
        return Err("--master: expected what follows the user's name, such as *admin".into());
    }
    Ok(Command::Adopt(adopt))
}

fn upkeep(parser: &mut Parser, work: Work) -> Result<Command, lexopt::Error> {
    let (mut users, mut all) = (Vec::new(), false);
    let (mut config, mut json) = (PathBuf::from(CONFIG), false);
    while let Some(option) = parser.next()? {
        match option {
            Long("all") => all = true,
            Long("config") | Short('c') => config = parser.value()?.into(),
            Long("json") => json = true,
            Value(word) => users.push(account(word)?),
            option => return common(&option).ok_or_else(|| option.unexpected()),
        }
    }
    let whom = match (all, users.is_empty()) {
        (true, true) => Whom::All,
        (false, false) => Whom::These(users),
        _ => return Err("expected names of accounts, or --all".into()),
    };
    Ok(Command::Upkeep(Upkeep {
        work,
        whom,
        config,
        json,
    }))
}

fn import_config(parser: &mut Parser) -> Result<Command, lexopt::Error> {
    let (mut from, mut file) = (None, None);
    while let Some(option) = parser.next()? {
        match option {
            Long("from") => {
                let word = parser.value()?;
                from = Some(match word.to_str() {
                    Some("dovecot") => Server::Dovecot,
                    Some("qpopper") => Server::Qpopper,
                    _ => return Err(format!("--from {word:?}: dovecot or qpopper").into()),
                });
            }
            Value(word) if file.is_none() => file = Some(PathBuf::from(word)),
            option => return common(&option).ok_or_else(|| option.unexpected()),
        }
    }
    let from = from.ok_or("expected --from dovecot or --from qpopper")?;
    let file = file.ok_or("expected a file, or - for standard input")?;
    Ok(Command::ImportConfig(ImportConfig { from, file }))
}

/// The name of an account.
fn account(word: OsString) -> Result<UserName, lexopt::Error> {
    let name = UserName::try_from(word.string()?);
    name.map_err(|error| format!("the name of an account: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        of_words(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn options_may_stand_before_and_behind_the_name() {
        let user = |line| match parsed(line) {
            Ok(Command::User(user)) => user,
            other => panic!("{line}: {other:?}"),
        };
        let expected = user("user alice --json --config /x");
        assert_eq!(expected.name.as_str(), "alice");
        assert_eq!(expected, user("user --json -c /x alice"));
        assert_eq!(expected, user("user --config=/x --json -- alice"));
        assert!(!user("user alice").json);
    }

    #[test]
    fn adopt_takes_users_or_all_of_them() {
        let adopt = |line| match parsed(line) {
            Ok(Command::Adopt(adopt)) => adopt,
            other => panic!("{line}: {other:?}"),
        };
        let all = adopt("adopt --all --jobs 8 --dry-run --from x-uidl,popa3d");
        assert_eq!((all.whom, all.jobs, all.dry_run), (Whom::All, 8, true));
        assert_eq!(all.from, [Scheme::XUidl, Scheme::Popa3d]);
        let two = adopt("adopt --user alice --user bob --verify [::1]:110 --master *admin");
        assert!(matches!(two.whom, Whom::These(users) if users.len() == 2));
        assert_eq!(two.master.as_deref(), Some("*admin"));
        assert_eq!(two.passwords, Path::new("-"));
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        for (line, part) in [
            ("", "expected a command"),
            ("frob", "no such command"),
            ("user", "expected the name of an account"),
            ("user alice bob", "bob"),
            ("user a/b", "the name of an account"),
            ("user alice --frob", "--frob"),
            ("import-config x", "--from"),
            ("import-config --from cyrus x", "dovecot or qpopper"),
            ("import-config --from dovecot", "expected a file"),
            ("user alice --json=x", "json"),
            ("user --config", "--config"),
            ("kick", "expected the id of a session"),
            ("kick 1.2 1.3", "1.3"),
            ("kick --user a/b", "the name of an account"),
            ("kick 1.2 --user alice", "--user"),
            ("status all", "all"),
            ("sessions --frob", "--frob"),
            ("top --json", "--json"),
            ("index", "check or rebuild"),
            ("index frob", "check or rebuild"),
            ("index check", "expected names of accounts, or --all"),
            (
                "recover --all alice",
                "expected names of accounts, or --all",
            ),
            ("recover alice --jobs 2", "--jobs"),
            ("adopt", "expected --user NAME, or --all"),
            ("adopt --all --user alice", "expected --user NAME, or --all"),
            ("adopt alice", "alice"),
            ("adopt --all --jobs 0", "--jobs"),
            ("adopt --all --from qmail", "expected one of x-uidl"),
            ("adopt --all --passwords /x", "--verify"),
            ("adopt --all --verify h:1 --master a:b", "--master"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
