//! Reads a spool: opens the file, finds its messages, numbers them and names them.

use crate::arguments::Namer;
use nix::fcntl::OFlag;
use popward_mbox::assignment;
use popward_mbox::header::{Hidden, REWRITTEN};
use popward_mbox::message::Maildrop;
use popward_mbox::pins::Pins;
use popward_mbox::scan::{ScanError, scan_on};
use popward_mbox::source::Source;
use popward_mbox::uidl;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// How many bytes of the file are in memory at once.
const BUFFER: usize = 1 << 20;

/// A message, as the listing shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number in POP3. `None`: it is hidden.
    pub(crate) number: Option<u64>,
    /// Where its From_ line begins, in bytes.
    pub(crate) offset: u64,
    /// The octets that RETR sends, before dot-stuffing.
    pub(crate) octets: u64,
    /// Its UIDL.
    pub(crate) uidl: Box<str>,
    /// The digest of the From_ line and of the header lines that no mail reader changes.
    pub(crate) key: [u8; 16],
}

/// Why the spool cannot be shown.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The file cannot be opened.
    Open(io::Error),
    /// The file is a directory, a FIFO or a device, for example.
    NotRegular,
    /// The file cannot be read, or is no mbox.
    Scan(ScanError<io::Error>),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(error) => write!(out, "cannot be opened: {error}"),
            Self::NotRegular => out.write_str("not a regular file"),
            Self::Scan(error) => error.fmt(out),
        }
    }
}

/// Reads the spool `path` and names its messages.
pub(crate) fn read(path: &Path, namers: &[Namer]) -> Result<Vec<Entry>, Refused> {
    let (mut spool, length) = open(path)?;
    let mut buffer = vec![0; BUFFER];
    let (hide, mut maildrop) = (hidden_by_default(), Maildrop::default());
    scan_on(&mut spool, length, &mut buffer, hide, &mut maildrop).map_err(Refused::Scan)?;
    // popward itself names every message, so the schemes after it are never used.
    let others = namers.iter().map_while(|namer| match namer {
        Namer::Native => None,
        Namer::Other(scheme) => Some(*scheme),
    });
    let others: Vec<_> = others.collect();
    popward_schemes::name_messages(&mut spool, &mut maildrop, &others, &mut buffer)
        .map_err(Refused::Scan)?;
    let none = vec![false; maildrop.messages.len()];
    assignment::assign(&mut maildrop, &none, &mut Pins::default());
    let hidden = usize::from(maildrop.is_hidden(0));
    let messages = maildrop.messages.iter().enumerate();
    Ok(messages
        .map(|(index, message)| Entry {
            number: (index + 1)
                .checked_sub(hidden)
                .filter(|n| *n > 0)
                .map(|n| n as u64),
            offset: message.from_line,
            octets: message.octets,
            uidl: uidl::name(message),
            key: message.digest,
        })
        .collect())
}

/// The header fields that popward hides if nothing else is configured.
fn hidden_by_default() -> Hidden {
    let mut hidden = Hidden::default();
    for name in REWRITTEN.iter().filter(|name| **name != "Lines") {
        hidden.add(name);
    }
    hidden
}

/// A spool that this process has not locked.
struct Unlocked(File);

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

/// Opens the spool. Returns it with its length in bytes. The flags keep a FIFO without a writer
/// from blocking this process, and a terminal from becoming its controlling terminal.
fn open(path: &Path) -> Result<(Unlocked, u64), Refused> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut how = OpenOptions::new();
    how.read(true).custom_flags(flags.bits());
    let file = how.open(path).map_err(Refused::Open)?;
    let metadata = file.metadata().map_err(Refused::Open)?;
    if !metadata.is_file() {
        return Err(Refused::NotRegular);
    }
    Ok((Unlocked(file), metadata.len()))
}
