//! The process that looks at a user's files: the spool, its dotlock and the state directory.
//!
//! It runs as the user, so that root never reads what a user can write. Before it reads a byte it
//! gives up all other files and every way to write one (Landlock). It takes no locks.

use crate::as_user;
use crate::facts::{
    Content, Dotlock, Facts, Index, Journal, Pins, Question, Spool, SpoolFile, State,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, major, minor};
use popward_mbox::header::Hidden;
use popward_mbox::index::{Identity, decode};
use popward_mbox::journal::{HEADS, Head};
use popward_mbox::message::Maildrop;
use popward_mbox::pins;
use popward_mbox::scan::{ScanError, scan_on};
use popward_mbox::source::Source;
use popward_sys::capabilities::Capabilities;
use popward_sys::confine;
use popward_sys::landlock::{self, READ_FILE, Rights};
use std::error::Error;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{SystemTime, UNIX_EPOCH};

/// The argument that makes a popwardctl this process.
pub(crate) const ARGUMENT: &str = "look-as-user";

/// Most bytes of an answer.
pub(crate) const ANSWER_MAX: u64 = 64 << 10;

/// How many bytes of the spool are in memory at once.
pub(crate) const BUFFER: usize = 1 << 20;
/// Most bytes of an index that are read. It has 64 bytes for each message.
pub(crate) const INDEX_MAX: u64 = 256 << 20;
/// Most bytes of pins that are read.
pub(crate) const PINS_MAX: u64 = 256 << 20;
/// Most bytes of a dotlock that are read: a process id and a host's name.
const DOTLOCK_MAX: u64 = 128;

/// Answers one question.
pub(crate) fn main() -> std::process::ExitCode {
    as_user::main(look)
}

/// What a confined process can reach: the spool's directory, if it can be opened, and the state
/// directory.
pub(crate) struct Reached {
    /// The spool's directory.
    pub(crate) spools: nix::Result<OwnedFd>,
    /// The state directory.
    pub(crate) state: Option<OwnedFd>,
}

/// Opens the directories, gives up everything else, and proves that. `rights` is what may be done
/// in the state directory.
///
/// # Errors
///
/// The state directory cannot be opened, or the process is not confined.
pub(crate) fn reach(question: &Question, rights: Rights) -> Result<Reached, Box<dyn Error>> {
    confine::harden(32)?;
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let spools = open(&question.spool_directory, directory, Mode::empty());
    let state = question.state_directory.as_ref();
    let state = state.map(|path| open(path, directory | OFlag::O_NOFOLLOW, Mode::empty()));
    let state = state.transpose()?;
    confine::drop_capabilities(Capabilities::NONE)?;
    let mut rules: Vec<_> = spools.iter().map(|fd| (fd.as_fd(), READ_FILE)).collect();
    rules.extend(state.iter().map(|fd| (fd.as_fd(), rights)));
    landlock::restrict(&rules)?;
    let identity = confine::Identity {
        uid: question.uid,
        gid: question.gid,
        effective_gid: question.gid,
    };
    confine::prove(&identity, &question.groups, Capabilities::NONE)?;
    Ok(Reached { spools, state })
}

/// Gives up everything else, and looks.
fn look(question: &Question) -> Result<Facts, Box<dyn Error>> {
    let Reached { spools, state } = reach(question, READ_FILE)?;
    let spools = match spools {
        Ok(spools) => spools,
        Err(errno) => {
            return Ok(Facts {
                spool: Spool::NoDirectory(errno.to_string()),
                dotlock: None,
                state: state.as_ref().map(|state| look_at_state(state, None)),
            });
        }
    };
    let (spool, now) = look_at_spool(&spools, question)?;
    Ok(Facts {
        spool,
        dotlock: look_at_dotlock(&spools, &question.spool_name),
        state: state.as_ref().map(|state| look_at_state(state, now)),
    })
}

/// Opens the spool to read it. `Ok(Err)`: there is none that a worker would take.
pub(crate) fn open_spool(
    directory: &OwnedFd,
    question: &Question,
) -> io::Result<Result<(File, Metadata), Spool>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let name = question.spool_name.as_str();
    // The time of the last reading tells other programs whether there is new mail, so it stays.
    let opened = openat(directory, name, flags | OFlag::O_NOATIME, Mode::empty());
    let unfit = |why: &str| Ok(Err(Spool::Unfit(why.to_owned())));
    let file = match opened {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT) => return Ok(Err(Spool::Missing)),
        Err(Errno::ELOOP) => return unfit("the spool is a symbolic link"),
        Err(Errno::EPERM) => return unfit("the spool belongs to somebody else"),
        Err(Errno::ENXIO) => return unfit("the spool is not a regular file"),
        Err(errno) => return Ok(Err(Spool::Unreadable(errno.to_string()))),
    };
    let status = file.metadata()?;
    if status.is_dir() {
        return unfit("the spool is a directory (a Maildir?), not an mbox file");
    }
    if !status.is_file() {
        return unfit("the spool is not a regular file");
    }
    if status.uid() != question.uid {
        return unfit("the spool belongs to somebody else");
    }
    match status.nlink() {
        1 => Ok(Ok((file, status))),
        0 => unfit("another program removes or replaces the spool"),
        _ => unfit("the spool has more than one link"),
    }
}

/// Looks at the spool. Returns the numbers by which an index knows it, if it is there.
fn look_at_spool(
    directory: &OwnedFd,
    question: &Question,
) -> io::Result<(Spool, Option<Identity>)> {
    let (file, status) = match open_spool(directory, question)? {
        Ok(opened) => opened,
        Err(none) => return Ok((none, None)),
    };
    let device = status.dev();
    let (major, minor) = (major(device), minor(device));
    let spool = SpoolFile {
        bytes: status.len(),
        uid: status.uid(),
        mode: status.mode() & 0o7777,
        changed_s_ago: age(status.mtime()),
        lock_id: format!("{major:02x}:{minor:02x}:{}", status.ino()),
        content: content(file, status.len(), &question.hide),
    };
    Ok((Spool::There(spool), Some(identity(&status))))
}

/// Seconds since `time`, in seconds since 1970.
fn age(time: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    now.saturating_sub(u64::try_from(time).unwrap_or(0))
}

pub(crate) fn identity(status: &Metadata) -> Identity {
    let nanos = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
    Identity {
        inode: status.ino(),
        length: status.len(),
        mtime: nanos(status.mtime(), status.mtime_nsec()),
        ctime: nanos(status.ctime(), status.ctime_nsec()),
    }
}

/// A spool that this process has not locked.
pub(crate) struct Unlocked(pub(crate) File);

impl Source for Unlocked {
    type Error = io::Error;

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match self.0.read_at(&mut into[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Reads all messages of a spool that nobody has locked.
///
/// # Errors
///
/// Reading failed, or it is no spool.
pub(crate) fn scan(
    spool: &mut Unlocked,
    length: u64,
    hide: &[String],
    buffer: &mut [u8],
) -> Result<Maildrop, ScanError<io::Error>> {
    let mut hidden = Hidden::default();
    for name in hide {
        hidden.add(name);
    }
    let mut maildrop = Maildrop::default();
    scan_on(spool, length, buffer, hidden, &mut maildrop)?;
    Ok(maildrop)
}

fn content(file: File, length: u64, hide: &[String]) -> Content {
    match scan(&mut Unlocked(file), length, hide, &mut vec![0; BUFFER]) {
        Ok(maildrop) => {
            let seen = &maildrop.messages[usize::from(maildrop.is_hidden(0))..];
            Content::Mail {
                messages: seen.len(),
                octets: seen.iter().map(|message| message.octets).sum(),
            }
        }
        Err(ScanError::Source(error)) => Content::NotRead(error.to_string()),
        Err(error) => Content::Refused(error.to_string()),
    }
}

/// Opens a regular file. `None`: there is none. Whoever owns the directory can put anything there.
fn file(directory: &OwnedFd, name: &str) -> io::Result<Option<(File, Metadata)>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let status = file.metadata()?;
    if !status.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(Some((file, status)))
}

fn look_at_dotlock(directory: &OwnedFd, spool: &str) -> Option<Dotlock> {
    let (text, status) = match file(directory, &format!("{spool}.lock")) {
        Ok(found) => {
            let (file, status) = found?;
            let mut text = Vec::new();
            // What has been read before an error is enough.
            let _ = file.take(DOTLOCK_MAX).read_to_end(&mut text);
            (String::from_utf8_lossy(&text).into_owned(), status)
        }
        // It cannot be read, but it is a lock.
        Err(_) => {
            return Some(Dotlock {
                text: String::new(),
                uid: u32::MAX,
                touched_s_ago: 0,
            });
        }
    };
    Some(Dotlock {
        text,
        uid: status.uid(),
        touched_s_ago: age(status.mtime()),
    })
}

fn look_at_state(directory: &OwnedFd, spool: Option<Identity>) -> State {
    State {
        index: match look_at_index(directory, spool) {
            Ok(index) => index,
            Err(error) => Index::Unusable(error.to_string()),
        },
        pins: match look_at_pins(directory) {
            Ok(pins) => pins,
            Err(error) => Pins::Unusable(error.to_string()),
        },
        journal: match look_at_journal(directory, spool) {
            Ok(journal) => journal,
            Err(error) => Journal::Unusable(error.to_string()),
        },
    }
}

/// All of a file in the state directory, if it has at most `most` bytes.
pub(crate) fn whole(directory: &OwnedFd, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
    let Some((file, status)) = file(directory, name)? else {
        return Ok(None);
    };
    if status.len() > most {
        return Err(io::Error::other(format!("more than {most} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn look_at_index(directory: &OwnedFd, spool: Option<Identity>) -> io::Result<Index> {
    let Some(bytes) = whole(directory, "index", INDEX_MAX)? else {
        return Ok(Index::None);
    };
    let Some((identity, _, maildrop)) = decode(&bytes) else {
        return Ok(Index::Unusable("damaged, or of another version".to_owned()));
    };
    let messages = maildrop.messages.len() - usize::from(maildrop.is_hidden(0));
    Ok(match spool {
        Some(spool) if spool == identity => Index::Current { messages },
        Some(spool) if spool.inode == identity.inode => Index::Earlier { messages },
        _ => Index::OfAnotherFile,
    })
}

fn look_at_pins(directory: &OwnedFd) -> io::Result<Pins> {
    let Some(bytes) = whole(directory, "pins", PINS_MAX)? else {
        return Ok(Pins::None);
    };
    Ok(match pins::Pins::decode(&bytes) {
        // The first line names the format, and nothing is behind the last line's end.
        Ok(_) => Pins::Count(bytes.split(|byte| *byte == b'\n').count() - 2),
        Err(line) => Pins::Unusable(format!("line {line}: expected `KEY UIDL`")),
    })
}

fn look_at_journal(directory: &OwnedFd, spool: Option<Identity>) -> io::Result<Journal> {
    let Some((file, _)) = file(directory, popward_proto::sessions_worker::JOURNAL)? else {
        return Ok(Journal::None);
    };
    let mut heads = [0; HEADS];
    file.read_exact_at(&mut heads, 0)?;
    Ok(match (Head::newest(&heads), spool) {
        (None, _) => Journal::Unusable("damaged".to_owned()),
        (Some(head), Some(spool)) if head.inode == spool.inode => Journal::Unfinished,
        _ => Journal::OfAnotherFile,
    })
}

/// The pins in a state directory. If there is no file, there are none.
///
/// # Errors
///
/// The file cannot be read, or has a wrong line.
pub(crate) fn pins(directory: &OwnedFd) -> io::Result<pins::Pins> {
    let bytes = whole(directory, "pins", PINS_MAX)?;
    let bytes = bytes.map_or_else(
        || Ok(pins::Pins::default()),
        |bytes| pins::Pins::decode(&bytes),
    );
    bytes.map_err(|line| io::Error::other(format!("pins:{line}: expected `KEY UIDL`")))
}
