//! The process that asks the old POP3 server for the UIDLs and sizes of one user's messages.
//!
//! What the old server says is untrusted. So this process runs as `nobody` and can open no file and
//! no socket. It has the connection that root has made, and answers with a bounded list.

use crate::as_user;
use crate::executable;
use crate::listing::Listed;
use nix::libc;
use popward_sys::capabilities::Capabilities;
use popward_sys::confine;
use popward_sys::inherited;
use popward_sys::landlock;
use popward_sys::seccomp::{self, RUNTIME, Rule, allow, allow_if};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

/// The argument that makes a popwardctl this process.
pub(crate) const ARGUMENT: &str = "ask-old-server";

/// The user and the group `nobody`.
const NOBODY: u32 = 65534;

/// How long the old server may take for the next bytes. It may read a large spool first.
const PATIENCE: Duration = Duration::from_secs(300);

/// Most bytes of a line. RFC 1939 has 512.
const LINE_MAX: u64 = 1024;

/// Most messages.
const MESSAGES_MAX: usize = 500_000;

/// Most bytes of an answer.
const ANSWER_MAX: u64 = 64 << 20;

/// The system calls that the conversation needs.
const CALLS: &[Rule] = &[
    // Reads what the old server says. With other flags, the call would read errors of the socket.
    allow_if(libc::SYS_recvfrom, 3, &[0]),
    // Sends commands. With other flags, the call would connect a socket to any address.
    allow_if(libc::SYS_sendto, 3, &[libc::MSG_NOSIGNAL as u64]),
    // Reads the question and writes the answer.
    allow(libc::SYS_read),
    allow(libc::SYS_write),
    // Closes the connection.
    allow(libc::SYS_close),
    // Debug builds check descriptors before they close them.
    allow_if(libc::SYS_fcntl, 1, &[libc::F_GETFD as u64]),
];

/// The address of the old server.
///
/// # Errors
///
/// There is none, or it is not of this host: passwords cross the network as they are.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = "expected HOST:PORT, such as 127.0.0.1:110";
    let found = text.to_socket_addrs();
    let mut found = found.map_err(|error| format!("--verify {text}: {expected} ({error})"))?;
    let first = found
        .next()
        .ok_or_else(|| format!("--verify {text}: {expected}"))?;
    if first.ip().is_loopback() {
        return Ok(first);
    }
    let why = "passwords would cross the network unencrypted; expected an address of this host. \
               A tunnel gives you one: ssh -N -L 1100:127.0.0.1:110 OLD-SERVER";
    Err(format!("--verify {text}: {why}"))
}

/// What to log in with.
#[derive(Serialize, Deserialize)]
struct Credentials {
    user: String,
    password: String,
}

/// Asks the old server for the messages of `user`.
///
/// # Errors
///
/// Why it has not told them, for the operator.
pub(crate) fn ask(server: SocketAddr, user: String, password: &str) -> Result<Vec<Listed>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{server}: {error}");
    let stream = TcpStream::connect_timeout(&server, PATIENCE).map_err(|error| failed(&error))?;
    let limited = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    limited.map_err(|error| failed(&error))?;
    let credentials = Credentials {
        user,
        password: password.to_owned(),
    };
    let nobody = executable::as_user(NOBODY, NOBODY, Vec::new());
    let identity = nix::unistd::geteuid().is_root().then_some(&nobody);
    let more = [stream.as_fd()];
    let told = as_user::ask_process(ARGUMENT, identity, &more, &credentials, ANSWER_MAX)?;
    let told: Result<Vec<Listed>, String> = told;
    told.map_err(|why| failed(&why))
}

/// Is the process that asks.
pub(crate) fn main() -> ExitCode {
    let answered =
        inherited::take::<2>()
            .map_err(io::Error::from)
            .and_then(|[question, server]| {
                let server = TcpStream::from(server);
                as_user::answer(question, |credentials| {
                    confine()?;
                    Ok(talk(&server, credentials).map_err(|error| error.to_string()))
                })
            });
    ExitCode::from(u8::from(answered.is_err()))
}

/// Gives up all but the two sockets.
fn confine() -> Result<(), Box<dyn Error>> {
    confine::harden(8)?;
    confine::drop_capabilities(Capabilities::NONE)?;
    landlock::restrict(&[])?;
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    let identity = confine::Identity {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        effective_gid: gid.as_raw(),
    };
    let own = if uid.as_raw() == NOBODY {
        Vec::new()
    } else {
        confine::groups()?
    };
    confine::prove(&identity, &own, Capabilities::NONE)?;
    Ok(seccomp::install(&[RUNTIME, CALLS])?)
}

/// One session: UIDL and LIST of all messages.
fn talk(server: impl Read + Write, credentials: &Credentials) -> Result<Vec<Listed>, Failure> {
    let mut session = Session(BufReader::new(server));
    session.answer("greeting")?;
    session.ask("USER", &credentials.user)?;
    session.ask("PASS", &credentials.password)?;
    let uidls = session.list("UIDL")?;
    let sizes = session.list("LIST")?;
    // The list is there. What the server says to this changes nothing.
    let _ = session.ask("QUIT", "");
    if uidls.len() != sizes.len() {
        return Err(Failure::Form("UIDL and LIST"));
    }
    let both = uidls.into_iter().zip(sizes);
    both.map(|(uidl, size)| {
        Ok(Listed {
            uidl: uidl.into(),
            octets: size.parse().map_err(|_| Failure::Form("LIST"))?,
        })
    })
    .collect()
}

/// Why there is no list.
#[derive(Debug)]
enum Failure {
    Io(io::Error),
    /// The server refuses this command, with this text.
    Refused(&'static str, String),
    /// The answer to this has another form than POP3's.
    Form(&'static str),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(out),
            Self::Refused(command, text) => write!(out, "{command} is refused: {text}"),
            Self::Form(command) => write!(out, "{command}: no answer of a POP3 server"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Session<T>(BufReader<T>);

impl<T: Read + Write> Session<T> {
    /// Reads a line, without its end.
    fn line(&mut self, command: &'static str) -> Result<String, Failure> {
        let mut line = Vec::new();
        (&mut self.0).take(LINE_MAX).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(Failure::Form(command));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).map_err(|_| Failure::Form(command))
    }

    fn answer(&mut self, command: &'static str) -> Result<(), Failure> {
        let line = self.line(command)?;
        if line.starts_with("+OK") {
            return Ok(());
        }
        let text = line.strip_prefix("-ERR").ok_or(Failure::Form(command))?;
        let shown = text.trim().chars().filter(|c| !c.is_control()).take(200);
        Err(Failure::Refused(command, shown.collect()))
    }

    fn ask(&mut self, command: &'static str, argument: &str) -> Result<(), Failure> {
        let space = if argument.is_empty() { "" } else { " " };
        let line = format!("{command}{space}{argument}\r\n");
        self.0.get_mut().write_all(line.as_bytes())?;
        self.answer(command)
    }

    /// What the server lists of messages 1, 2 and so on.
    fn list(&mut self, command: &'static str) -> Result<Vec<String>, Failure> {
        self.ask(command, "")?;
        let mut values = Vec::new();
        loop {
            let line = self.line(command)?;
            if line == "." {
                return Ok(values);
            }
            let mut words = line.split_whitespace();
            let number: Option<usize> = words.next().and_then(|word| word.parse().ok());
            let value = words.next().filter(|value| value.len() <= 128);
            let (Some(number), Some(value)) = (number, value) else {
                return Err(Failure::Form(command));
            };
            values.push(value.to_owned());
            if values.len() != number || number > MESSAGES_MAX {
                return Err(Failure::Form(command));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A server that says this, whatever it is asked.
    struct Says(Cursor<Vec<u8>>);

    impl Read for Says {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0.read(into)
        }
    }

    impl Write for Says {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told(text: &str) -> Result<Vec<(String, u64)>, String> {
        let credentials = Credentials {
            user: "alice".to_owned(),
            password: "secret".to_owned(),
        };
        let server = Says(Cursor::new(text.replace('\n', "\r\n").into_bytes()));
        let listed = talk(server, &credentials).map_err(|failure| failure.to_string())?;
        let pair = |one: Listed| (one.uidl.to_string(), one.octets);
        Ok(listed.into_iter().map(pair).collect())
    }

    const LOGIN: &str = "+OK\n+OK\n+OK\n";

    #[test]
    fn messages_have_uidls_and_sizes() {
        let all = told(&format!(
            "{LOGIN}+OK\n1 a\n2 b\n.\n+OK\n1 10\n2 20 x\n.\n+OK\n"
        ));
        let expected = vec![("a".to_owned(), 10), ("b".to_owned(), 20)];
        assert_eq!(all, Ok(expected.clone()));
        // Without an answer to QUIT.
        assert_eq!(
            told(&format!("{LOGIN}+OK\n1 a\n2 b\n.\n+OK\n1 10\n2 20\n.\n")),
            Ok(expected)
        );
        assert_eq!(told(&format!("{LOGIN}+OK\n.\n+OK\n.\n")), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_pop3_or_says_no_is_an_error() {
        for (text, part) in [
            ("", "greeting"),
            ("* OK IMAP4\n", "greeting"),
            (
                "+OK\n+OK\n-ERR [AUTH] wrong \u{7}\n",
                "PASS is refused: [AUTH] wrong",
            ),
            ("+OK\n+OK\n+OK\n-ERR what?\n", "UIDL is refused"),
            ("+OK\n+OK\n+OK\n+OK\n2 a\n.\n", "UIDL"),
            ("+OK\n+OK\n+OK\n+OK\n1\n.\n", "UIDL"),
            ("+OK\n+OK\n+OK\n+OK\n1 a\n.\n+OK\n.\n", "UIDL and LIST"),
            ("+OK\n+OK\n+OK\n+OK\n1 a\n.\n+OK\n1 x\n.\n", "LIST"),
        ] {
            let why = told(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
        let long = format!("{LOGIN}+OK\n1 {}\n.\n", "x".repeat(5000));
        assert!(told(&long).is_err());
    }

    #[test]
    fn passwords_go_to_this_host_only() {
        assert!(address("127.0.0.1:110").is_ok());
        assert!(address("[::1]:110").is_ok());
        assert!(address("192.0.2.1:110").unwrap_err().contains("tunnel"));
        assert!(address("127.0.0.1").unwrap_err().contains("HOST:PORT"));
    }
}
