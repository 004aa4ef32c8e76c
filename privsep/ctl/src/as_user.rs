//! Has a process answer a question as a user, so that root never reads what a user can write.
//!
//! It is another popwardctl. Both talk JSON over a pair of sockets.

use crate::executable;
use crate::facts::Question;
use nix::unistd::geteuid;
use popward_sys::inherited;
use popward_sys::spawn::ChildIdentity;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

/// How long the process may take. A large spool on a slow disk takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Most bytes of a question.
const QUESTION_MAX: u64 = 64 << 10;

/// Asks a process that runs as the owner of `place`. `argument` says which process. Its answer has
/// at most `most` bytes.
///
/// # Errors
///
/// Why there is no answer, for the operator.
pub(crate) fn ask<A: DeserializeOwned>(
    argument: &str,
    place: &Question,
    question: &impl Serialize,
    most: u64,
) -> Result<A, String> {
    let own = geteuid();
    if !own.is_root() && own.as_raw() != place.uid {
        return Err("only root can look at another user's mail".to_owned());
    }
    let identity = own
        .is_root()
        .then(|| executable::as_user(place.uid, place.gid, place.groups.clone()));
    ask_process(argument, identity.as_ref(), &[], question, most)
}

/// Asks a process with this identity and these further sockets.
///
/// # Errors
///
/// As [`ask`].
pub(crate) fn ask_process<A: DeserializeOwned>(
    argument: &str,
    identity: Option<&ChildIdentity>,
    more: &[BorrowedFd<'_>],
    question: &impl Serialize,
    most: u64,
) -> Result<A, String> {
    let failed = |error: &dyn std::fmt::Display| format!("the process that looks: {error}");
    let executable = executable::beside("popwardctl").map_err(|error| failed(&error))?;
    let (mut ours, theirs) = UnixStream::pair().map_err(|error| failed(&error))?;
    let words = ["popwardctl", argument];
    let sockets = [&[theirs.as_fd()], more].concat();
    let child = executable::start(&executable, &words, identity, &sockets);
    let child = child.map_err(|errno| failed(&errno))?;
    drop(theirs);
    let answer = exchange(&mut ours, question, most);
    // It has answered, or it is not waited for any more.
    let ended = child.end(true);
    let answer = answer.map_err(|error| failed(&error))?;
    ended.map_err(|errno| failed(&errno))?;
    answer.map_err(|why| failed(&why))
}

fn exchange<A: DeserializeOwned>(
    stream: &mut UnixStream,
    question: &impl Serialize,
    most: u64,
) -> io::Result<Result<A, String>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&serde_json::to_vec(question)?)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.take(most).read_to_end(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::other("it ended without an answer"));
    }
    Ok(serde_json::from_slice(&answer)?)
}

/// Is the process that answers one question by `look`.
pub(crate) fn main<Q: DeserializeOwned, A: Serialize>(
    look: impl FnOnce(&Q) -> Result<A, Box<dyn Error>>,
) -> ExitCode {
    let answered = inherited::take::<1>()
        .map_err(io::Error::from)
        .and_then(|[socket]| answer(socket, look));
    ExitCode::from(u8::from(answered.is_err()))
}

/// Reads a question from `socket` and answers it by `look`.
///
/// # Errors
///
/// The other end has gone, or speaks another version.
pub(crate) fn answer<Q: DeserializeOwned, A: Serialize>(
    socket: OwnedFd,
    look: impl FnOnce(&Q) -> Result<A, Box<dyn Error>>,
) -> io::Result<()> {
    let mut stream = UnixStream::from(socket);
    let mut question = Vec::new();
    (&stream).take(QUESTION_MAX).read_to_end(&mut question)?;
    let question: Q = serde_json::from_slice(&question)?;
    let answer: Result<A, String> = look(&question).map_err(|error| error.to_string());
    stream.write_all(&serde_json::to_vec(&answer)?)
}
