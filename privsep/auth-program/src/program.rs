//! An operator's programs: one checks passwords (qmail's checkpassword interface), another one
//! checks tokens.

use popward_conversation::account::{answer, of_system};
use popward_proto::account::Account;
use popward_proto::auth_conversation::ConversationToAuth;
use popward_proto::bounded::{AbsolutePath, List, Text, UserName};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// The argument with which a checkpassword program starts this executable (see [`reply`]).
pub(crate) const REPLY: &str = "checkpassword-reply";

/// Longest answer of a program, in bytes.
const ANSWER_MAX: u64 = 4096;

/// Moves the pipes to the descriptors that checkpassword uses: the question to 3, and the answer to
/// 4 as Dovecot does.
const SHELL: &str = r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

fn refused(why: &str) -> ConversationToAuth {
    ConversationToAuth::Refused(Text::truncated(why))
}

fn failed(why: &str) -> ConversationToAuth {
    ConversationToAuth::Failed(Text::truncated(why))
}

/// Asks `program` whether `secret` is `user`'s.
pub(crate) fn checkpassword(
    program: &AbsolutePath,
    user: &UserName,
    secret: &[u8],
    peer: IpAddr,
) -> ConversationToAuth {
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => return failed(&format!("own executable: {error}")),
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut question = Zeroizing::new(Vec::with_capacity(1024));
    for part in [
        user.as_str().as_bytes(),
        secret,
        now.as_secs().to_string().as_bytes(),
    ] {
        question.extend_from_slice(part);
        question.push(0);
    }
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", SHELL, "sh"])
        .arg(program.as_path())
        .arg(own)
        .arg(REPLY);
    match ask(shell, &question, peer) {
        Err(why) => failed(&format!("{program}: {why}")),
        Ok((answer, status)) => match (status.code(), Reply::parse(&answer)) {
            (Some(0), Some(reply)) => reply.answer(),
            (Some(0), None) => failed(&format!("{program}: it did not start what it was given")),
            (Some(1), _) => refused(&format!("{program}: exit status 1")),
            _ => failed(&format!("{program}: {status}")),
        },
    }
}

/// Asks `program` which user `token` belongs to.
pub(crate) fn token(program: &AbsolutePath, token: &[u8], peer: IpAddr) -> ConversationToAuth {
    match ask(Command::new(program.as_path()), token, peer) {
        Err(why) => failed(&format!("{program}: {why}")),
        Ok((answer, status)) => match status.code() {
            Some(0) => {
                let name = String::from_utf8(answer).ok();
                let name =
                    name.and_then(|name| UserName::try_from(name.trim_end().to_owned()).ok());
                name.map_or_else(
                    || failed(&format!("{program}: expected one user's name")),
                    ConversationToAuth::Identified,
                )
            }
            Some(1) => refused(&format!("{program}: exit status 1")),
            _ => failed(&format!("{program}: {status}")),
        },
    }
}

/// Runs a program with `question` on its standard input. Returns its output (at most [`ANSWER_MAX`]
/// bytes) and its exit status.
fn ask(
    mut command: Command,
    question: &[u8],
    peer: IpAddr,
) -> std::io::Result<(Vec<u8>, ExitStatus)> {
    let mut child = command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("PROTO", "TCP")
        .env("SERVICE", "pop3")
        .env("TCPREMOTEIP", peer.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // The question fits into the pipe, so this does not block. A failed write is no error: a
        // program may answer without reading.
        let _ = input.write_all(question);
    }
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(ANSWER_MAX).read_to_end(&mut answer)?;
    }
    Ok((answer, child.wait()?))
}

/// The environment that the program has set: name, home, user id and group id. Each ends with NUL.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    user: String,
    home: String,
    ids: Option<(u32, u32)>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\0')?;
        let fields: Vec<&str> = text.split('\0').collect();
        let &[user, home, uid, gid] = fields.as_slice() else {
            return None;
        };
        let ids = match (uid, gid) {
            ("", "") => None,
            (uid, gid) => Some((uid.parse().ok()?, gid.parse().ok()?)),
        };
        Some(Self {
            user: user.to_owned(),
            home: home.to_owned(),
            ids,
        })
    }

    /// The account with the program's ids. If it gives no ids, the system user of this name.
    fn answer(self) -> ConversationToAuth {
        let Ok(name) = UserName::try_from(self.user) else {
            return failed("USER: no account name");
        };
        let home = AbsolutePath::try_from(self.home).ok();
        let account = match self.ids {
            Some((uid, gid)) => Ok(Account {
                name,
                uid,
                gid,
                groups: List::default(),
                home: None,
                spool: None,
            }),
            None => of_system(name.as_str()),
        };
        let account = account.map(|account| Account {
            home: home.or(account.home),
            ..account
        });
        answer(account)
    }
}

/// A checkpassword program starts this executable once the password is right. It then writes its
/// environment to descriptor 4.
pub(crate) fn reply() -> ExitCode {
    let mut bytes = Vec::new();
    for name in ["USER", "HOME", "userdb_uid", "userdb_gid"] {
        let value = std::env::var_os(name).unwrap_or_default().into_vec();
        bytes.extend_from_slice(&value);
        bytes.push(0);
    }
    let answer = OpenOptions::new().write(true).open("/proc/self/fd/4");
    match answer.and_then(|mut answer| answer.write_all(&bytes)) {
        Ok(()) => ExitCode::SUCCESS,
        // In checkpassword's interface, 111 means a temporary failure.
        Err(_) => ExitCode::from(111),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    /// A program. Its file goes when the value is dropped.
    fn script(text: &str) -> (tempfile::TempPath, AbsolutePath) {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        // Another process writes the file. If this process did, a child that another test forks at
        // the same time would keep it open for writing, and it could not be started (ETXTBSY).
        let mut written = Command::new("install")
            .args(["-m", "700", "/dev/stdin"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("#!/bin/sh\n{text}\n");
        written
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        assert!(written.wait().unwrap().success());
        let absolute = AbsolutePath::try_from(path.to_str().unwrap().to_owned()).unwrap();
        (path, absolute)
    }

    fn peer() -> IpAddr {
        "192.0.2.7".parse().unwrap()
    }

    fn told(answer: ConversationToAuth) -> String {
        match answer {
            ConversationToAuth::Granted(account) => {
                let home = account.home.map(String::from).unwrap_or_default();
                format!("{} {}:{} {home}", account.name, account.uid, account.gid)
            }
            ConversationToAuth::Identified(name) => format!("named {name}"),
            ConversationToAuth::Refused(why) => {
                format!("refused {}", why.as_str().rsplit(": ").next().unwrap())
            }
            ConversationToAuth::Failed(why) => {
                format!("failed {}", why.as_str().split_once(": ").unwrap().1)
            }
        }
    }

    /// Runs a checkpassword script. The script writes the answer itself, because the executable
    /// that it would start is the test's own.
    fn checked(text: &str) -> String {
        let (_file, program) = script(text);
        let user = UserName::try_from("alice".to_owned()).unwrap();
        told(checkpassword(&program, &user, b"pass word", peer()))
    }

    #[test]
    fn a_checkpassword_program_gets_its_question_and_its_answer_counts() {
        let asked = "asked=$(tr '\\0' '\\n' <&3 | head -n 2 | tr '\\n' '/')\n\
                     [ \"$asked $TCPREMOTEIP $2\" = \"alice/pass word/ 192.0.2.7 checkpassword-reply\" ] || exit 1\n";
        assert_eq!(
            checked(&format!("{asked}printf 'al\\0/home/al\\0007\\0008\\0' >&4")),
            "al 7:8 /home/al"
        );
        assert_eq!(
            checked(&format!(
                "{asked}printf 'nobody-of-that-name\\0\\0\\0\\0' >&4"
            )),
            "refused no such user of this system"
        );
    }

    #[test]
    fn a_wrong_answer_of_a_program_grants_nothing() {
        for (text, answer) in [
            ("exit 1", "refused exit status 1"),
            (
                "printf 'al\\0/\\0007\\0008\\0' >&4; exit 1",
                "refused exit status 1",
            ),
            ("exit 111", "failed exit status: 111"),
            ("exit 0", "failed it did not start what it was given"),
            (
                "printf 'al\\0/\\0007\\0' >&4",
                "failed it did not start what it was given",
            ),
            (
                "printf 'al\\0/\\000x\\0008\\0' >&4",
                "failed it did not start what it was given",
            ),
            (
                "printf 'a/l\\0/\\0007\\0008\\0' >&4",
                "failed no account name",
            ),
            ("kill -9 $$", "failed signal: 9 (SIGKILL)"),
        ] {
            assert_eq!(checked(text), answer, "{text}");
        }
        let none = AbsolutePath::try_from("/nonexistent/program".to_owned()).unwrap();
        let user = UserName::try_from("alice".to_owned()).unwrap();
        assert!(
            told(checkpassword(&none, &user, b"x", peer())).starts_with("failed exit status: 127")
        );
    }

    #[test]
    fn a_token_program_reads_the_token_and_names_the_user() {
        let asked = "[ \"$(cat) $TCPREMOTEIP\" = \"tok.en 192.0.2.7\" ] || exit 1\n";
        for (text, answer) in [
            ("echo alice@example.org", "named alice@example.org"),
            ("exit 1", "refused exit status 1"),
            ("exit 2", "failed exit status: 2"),
            ("echo", "failed expected one user's name"),
            ("echo alice bob", "failed expected one user's name"),
            ("printf 'alice\\nbob\\n'", "failed expected one user's name"),
        ] {
            let (_file, program) = script(&format!("{asked}{text}"));
            assert_eq!(told(token(&program, b"tok.en", peer())), answer, "{text}");
        }
        let (_file, program) = script(&format!("{asked}echo alice"));
        assert_eq!(
            told(token(&program, b"other", peer())),
            "refused exit status 1"
        );
    }
}
