//! `popwardctl sessions` and `popwardctl kick`: who has a maildrop open.
//!
//! The kernel tells which workers there are, and what they have locked. popward-metrics tells who
//! their clients are, where it runs.

use crate::arguments::Kick;
use crate::holders::shown;
use crate::output::{FAILED, complain, note, print};
use crate::processes::{self, OpenFile, Process, WORKER};
use crate::report::since;
use crate::told;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Serialize;
use std::fmt::Write as _;
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a worker may take to end, in seconds.
const ENDS_S: i64 = 10;

/// An open session.
#[derive(Debug, Serialize)]
pub(crate) struct Session {
    /// Its user: by the login, or else by the user id.
    pub(crate) user: Option<String>,
    /// The client's address, where popward-metrics knows it. It also knows the next four.
    pub(crate) peer: Option<String>,
    method: Option<String>,
    tls: Option<String>,
    messages: Option<u64>,
    octets: Option<u64>,
    /// The spool that it has locked.
    spool: Option<String>,
    /// The kinds of its locks there that the kernel knows. A dotlock is a file, and is not shown.
    locks: Vec<&'static str>,
    /// Its worker, with the session's id in the log.
    #[serde(flatten)]
    pub(crate) worker: Process,
}

/// The open sessions, the oldest first. With them comes why their clients are not known.
///
/// # Errors
///
/// Why the workers cannot be seen.
pub(crate) fn all() -> Result<(Vec<Session>, Option<String>), String> {
    let (mut logins, why) = match told::sessions() {
        Ok(logins) => (logins, None),
        Err(why) => (std::collections::HashMap::new(), Some(why)),
    };
    let mut sessions: Vec<Session> = Vec::new();
    for worker in processes::all()? {
        let Some(id) = worker.session.clone().filter(|_| worker.name == WORKER) else {
            continue;
        };
        let login = logins.remove(&id);
        let (spool, locks) = locked(&processes::files(worker.pid));
        let text = |of: fn(&told::Login) -> &String| login.as_ref().map(|login| of(login).clone());
        sessions.push(Session {
            user: text(|login| &login.user).or_else(|| name_of(worker.uid)),
            peer: text(|login| &login.peer),
            method: text(|login| &login.method),
            tls: text(|login| &login.tls),
            messages: login.as_ref().and_then(|login| login.messages),
            octets: login.as_ref().and_then(|login| login.octets),
            spool,
            locks,
            worker,
        });
    }
    sessions.sort_by_key(|session| (session.worker.since, session.worker.pid));
    Ok((sessions, why))
}

/// The name of a user of the system.
fn name_of(uid: u32) -> Option<String> {
    let user = nix::unistd::User::from_uid(uid.into()).ok()?;
    user.map(|user| user.name)
}

/// The spool among a worker's files, and the kinds of its locks there. The kernel knows no dotlocks.
fn locked(files: &[OpenFile]) -> (Option<String>, Vec<&'static str>) {
    let spool = files.iter().find(|file| !file.locks.is_empty());
    let path = spool.map(|file| file.path.to_string_lossy().into_owned());
    let mut kinds = spool.map_or_else(Vec::new, |file| file.locks.clone());
    kinds.sort_unstable();
    kinds.dedup();
    (path, kinds)
}

/// `popwardctl sessions`.
pub(crate) fn main(json: bool) -> ExitCode {
    let (sessions, why) = match all() {
        Ok(found) => found,
        Err(why) => return complain(&why, FAILED),
    };
    if let Some(why) = why.filter(|_| !json && !sessions.is_empty()) {
        note(&format_args!("the clients are not known: {why}"));
    }
    if json {
        return match serde_json::to_string(&sessions) {
            Ok(text) => print(&(text + "\n")),
            Err(error) => complain(&error, FAILED),
        };
    }
    print(&table(&sessions, now()))
}

/// The time, in seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// The sessions as a table for a terminal.
pub(crate) fn table(sessions: &[Session], now: u64) -> String {
    if sessions.is_empty() {
        return "no session\n".to_owned();
    }
    let head = [
        "SESSION", "USER", "FROM", "BEGAN", "TLS", "MESSAGES", "LOCKS", "PROCESS",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(sessions.iter().map(|session| row(session, now)));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn row(session: &Session, now: u64) -> [String; 8] {
    let text = |value: &Option<String>| value.as_deref().map_or("?".to_owned(), shown);
    let tls = session
        .tls
        .as_deref()
        .map(|tls| tls.split('/').next().unwrap_or(tls));
    let locks = match &session.locks[..] {
        [] => "none".to_owned(),
        kinds => kinds.join("+"),
    };
    [
        text(&session.worker.session),
        text(&session.user),
        text(&session.peer),
        format!("{} ago", since(now.saturating_sub(session.worker.since))),
        tls.map_or("?".to_owned(), shown),
        session
            .messages
            .map_or("?".to_owned(), |count| count.to_string()),
        locks,
        session.worker.pid.to_string(),
    ]
}

/// `popwardctl kick`.
pub(crate) fn kick(wanted: &Kick) -> ExitCode {
    let sessions = match all() {
        Ok((sessions, _)) => sessions,
        Err(why) => return complain(&why, FAILED),
    };
    let chosen = sessions.iter().filter(|session| match wanted {
        Kick::Session(id) => session.worker.session.as_ref() == Some(id),
        Kick::User(name) => session.user.as_deref() == Some(name.as_str()),
    });
    let (mut said, mut failed) = (String::new(), false);
    for session in chosen {
        let of = session.user.as_deref().map_or("?".to_owned(), shown);
        let id = session
            .worker
            .session
            .as_deref()
            .map_or("?".to_owned(), shown);
        match end(&session.worker) {
            // Writing to a string cannot fail.
            Ok(()) => drop(writeln!(said, "ended: session {id} of {of}")),
            Err(why) => {
                complain(&format_args!("session {id} of {of}: {why}"), FAILED);
                failed = true;
            }
        }
    }
    if said.is_empty() && !failed {
        return complain(&"there is no such session", FAILED);
    }
    let printed = print(&said);
    if failed {
        ExitCode::from(FAILED)
    } else {
        printed
    }
}

/// Ends a worker. It ignores SIGTERM, because a stop of the service lets sessions go on. If it is in
/// an update, another worker finishes it (promise P3).
fn end(worker: &Process) -> Result<(), String> {
    let pid = Pid::from_raw(worker.pid).ok_or("no process id")?;
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        // It has ended by itself.
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    // The id may belong to another process since the list was made. From here on it cannot.
    let is_still =
        |process: &Process| process.pid == worker.pid && process.session == worker.session;
    if !processes::all()?.iter().any(is_still) {
        return Ok(());
    }
    pidfd_send_signal(&pidfd, Signal::KILL).map_err(|error| error.to_string())?;
    let limit = Timespec {
        tv_sec: ENDS_S,
        tv_nsec: 0,
    };
    let mut ends = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    match poll(&mut ends, Some(&limit)) {
        Ok(0) => Err(format!("its worker has not ended within {ENDS_S} s")),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, locks: &[&'static str]) -> OpenFile {
        OpenFile {
            path: path.into(),
            locks: locks.to_vec(),
        }
    }

    fn session(user: &str) -> Session {
        Session {
            user: Some(user.to_owned()),
            peer: None,
            method: None,
            tls: Some("TLSv1_3/TLS13_AES_256_GCM_SHA384".to_owned()),
            messages: Some(3),
            octets: None,
            spool: None,
            locks: vec!["fcntl", "flock"],
            worker: Process {
                pid: 7,
                parent: 1,
                name: WORKER.to_owned(),
                uid: 1,
                since: 1000,
                processor_ms: 1,
                resident_kib: 1,
                session: Some("1.42".to_owned()),
                replaced: false,
            },
        }
    }

    #[test]
    fn the_spool_is_the_file_with_locks() {
        let files = [
            file("/var/lib/popward/alice", &[]),
            file("/var/mail/alice", &["flock", "fcntl", "fcntl"]),
        ];
        let expected = (Some("/var/mail/alice".to_owned()), vec!["fcntl", "flock"]);
        assert_eq!(locked(&files), expected);
        assert_eq!(locked(&files[..1]), (None, vec![]));
    }

    #[test]
    fn a_table_shows_no_control_characters() {
        let text = table(&[session("a\u{1b}[1mb"), session("alice")], 1090);
        let expected = "SESSION  USER    FROM  BEGAN     TLS      MESSAGES  LOCKS        PROCESS\n\
             1.42     a?[1mb  ?     90 s ago  TLSv1_3  3         fcntl+flock  7\n\
             1.42     alice   ?     90 s ago  TLSv1_3  3         fcntl+flock  7\n";
        assert_eq!(text, expected);
        assert_eq!(table(&[], 0), "no session\n");
    }
}
