//! Opening a spool by its index (promise P4): all of it is read that the index cannot be proved to know.

use crate::locks::LockedSpool;
use crate::read::Reading;
use crate::state::State;
use popward_mbox::index::{Identity, decode, encode, is_worth_it};
use popward_mbox::message::{Maildrop, Message};
use popward_mbox::scan::{BUFFER_MIN, MESSAGES_MAX, ScanError, begins_there, scan_on};
use popward_mbox::uidl::tell_apart;
use std::io::{self, Read, Write};
use std::time::Duration;

/// The index's name.
const INDEX: &str = "index";
/// The name of one that is being written.
const DRAFT: &str = "index.new";

/// Bytes of the spool read at once.
const PIECE: usize = 1 << 20;

/// How many messages of a spool that has grown are looked at, spread over it; the last ones are looked at besides.
const SAMPLE: usize = 32;

/// In the place of a stamp that did not yet prove anything when the index was written.
const UNSETTLED: i64 = i64::MIN;

/// How a maildrop came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By the index alone: the spool is as it was.
    Unchanged,
    /// By the index, and a scan of what was appended since.
    Grown,
    /// By a scan of the whole spool.
    Scanned,
}

impl std::fmt::Display for How {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Unchanged => "unchanged",
            Self::Grown => "grown",
            Self::Scanned => "scanned",
        })
    }
}

/// The maildrop of `spool`, and which spool that is.
pub fn open(
    spool: &mut LockedSpool,
    state: Option<&State>,
) -> Result<(Maildrop, Identity, How), ScanError<io::Error>> {
    let identity = spool.identity().map_err(ScanError::Source)?;
    // Whatever is wrong with an index, a scan does without.
    let (known, old) = match state.map(load) {
        Some(Ok(Some((known, old)))) => (Some(known), old),
        _ => (None, Maildrop::default()),
    };
    if known == Some(identity) {
        return Ok((old, identity, How::Unchanged));
    }
    let grown = known.is_some_and(|known| {
        known.inode == identity.inode && known.length < identity.length && known.ctime != UNSETTLED
    }) && still_holds(spool, &old, identity.length)?;
    let (begin, how) = if grown {
        (old.messages.clone(), How::Grown)
    } else {
        (Vec::new(), How::Scanned)
    };
    let room = usize::try_from(identity.length).unwrap_or(PIECE);
    let mut buffer = vec![0; room.clamp(BUFFER_MIN, PIECE)];
    let mut maildrop = scan_on(&mut Reading(spool), identity.length, &mut buffer, begin)?;
    tell_apart(&mut maildrop.messages, &old.messages);
    Ok((maildrop, identity, how))
}

/// Whether what was appended is all that has changed, as far as some of the messages show.
fn still_holds(
    spool: &mut LockedSpool,
    old: &Maildrop,
    length: u64,
) -> Result<bool, ScanError<io::Error>> {
    let count = old.messages.len();
    let spread = (0..SAMPLE).map(|part| part * count / SAMPLE);
    let last = count.saturating_sub(4)..count;
    for message in spread
        .chain(last)
        .filter_map(|index| old.messages.get(index))
    {
        if !is_there(spool, message, length)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether `message` is still where it was found, with its header.
pub fn is_there(
    spool: &mut LockedSpool,
    message: &Message,
    length: u64,
) -> Result<bool, ScanError<io::Error>> {
    begins_there(&mut Reading(spool), length, &mut [0; BUFFER_MIN], message)
}

fn load(state: &State) -> io::Result<Option<(Identity, Maildrop)>> {
    let Some(file) = state.open(INDEX)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    // A larger one is none, and must not fill the memory.
    file.take(64 * MESSAGES_MAX as u64 + 80)
        .read_to_end(&mut bytes)?;
    Ok(decode(&bytes))
}

/// Writes the index of `maildrop`, which `spool` was when it had this identity: if it is worth it. `wait`: until the
/// stamps prove something, for some milliseconds.
pub fn keep(
    spool: &mut LockedSpool,
    state: &State,
    mut identity: Identity,
    maildrop: &Maildrop,
    wait: bool,
) -> io::Result<()> {
    if !is_worth_it(maildrop) {
        return Ok(());
    }
    let tries = if wait { 10 } else { 0 };
    let mut settled = spool.is_settled(identity.ctime);
    for _ in 0..tries {
        if !settled {
            std::thread::sleep(Duration::from_millis(1));
            settled = spool.is_settled(identity.ctime);
        }
    }
    if !settled {
        identity.ctime = UNSETTLED;
    }
    let written = state
        .create(DRAFT)
        .and_then(|mut file| file.write_all(&encode(&identity, maildrop)))
        .and_then(|()| state.rename(DRAFT, INDEX));
    if written.is_err() {
        // Half an index takes room that its user may not have.
        let _ = state.remove(DRAFT);
    }
    written
}

#[cfg(test)]
mod tests;
