//! Opens a spool with the help of its index (promise P4). Every part that the index does not prove
//! is read.

use crate::naming::Naming;
use popward_mbox::index::{Identity, Rules, decode, encode, is_worth_it, most_bytes};
use popward_mbox::message::Maildrop;
use popward_mbox::scan::{BUFFER_MIN, ScanError, begins_there, scan_on};
use popward_mbox::source::Source;
use popward_mbox::window::Window;
use popward_update::error::UpdateError;
use popward_update::locks::LockedSpool;
use popward_update::state::{INDEX, State};
use std::io::{self, Read, Write};
use std::time::Duration;

/// The name of an index that is being written.
const DRAFT: &str = "index.new";

/// Bytes of the spool read at once. The worker looks at its front before each read.
const PIECE: usize = if cfg!(test) { 8 << 10 } else { 1 << 20 };

/// A size in bytes. The allocator returns blocks of at least this size to the system at once. It
/// keeps smaller blocks as long as the session lasts.
const GIVEN_BACK: usize = if cfg!(test) { PIECE } else { 256 << 10 };

/// A spool of fewer bytes is always read, because reading it is cheaper than proving an index.
const SMALL: u64 = if cfg!(test) { 1 } else { 200 << 10 };

/// How many messages of a spool that has grown are looked at, evenly spread over the spool. Its
/// last four messages are looked at too.
const SAMPLE: usize = 32;

/// Stands for a `ctime` that did not prove anything when the index was written.
const UNSETTLED: i64 = i64::MIN;

/// How a worker learned what is in a maildrop. The log has these names in small letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By the index alone, because the spool has not changed.
    Unchanged,
    /// By the index, and by a scan of what it leaves out: of what was appended since, or of what
    /// an earlier scan did not come to.
    Grown,
    /// By a scan of the whole spool.
    Scanned,
}

/// A spool as it was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The spool's numbers at that time.
    pub identity: Identity,
    /// Whether every later change of the spool changes these numbers.
    pub settled: bool,
}

impl Seen {
    fn now(spool: &mut LockedSpool) -> io::Result<Self> {
        let identity = spool.identity()?;
        // Reading a small spool again costs less than this check.
        let settled = identity.length >= SMALL && spool.is_settled(identity.ctime);
        Ok(Self { identity, settled })
    }

    /// After this worker changed the spool: waits up to about 10 ms until the file system's clock
    /// has moved on.
    pub fn soon(spool: &mut LockedSpool) -> io::Result<Self> {
        let mut seen = Self::now(spool)?;
        for _ in 0..10 {
            if seen.settled || seen.identity.length < SMALL {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            seen = Self::now(spool)?;
        }
        Ok(seen)
    }

    /// Whether the spool has provably not changed.
    pub fn holds(&self, spool: &LockedSpool) -> bool {
        self.settled && spool.identity().is_ok_and(|now| now == self.identity)
    }
}

/// What opening found.
pub struct Found {
    /// The messages with their UIDLs.
    pub maildrop: Maildrop,
    /// The spool's numbers before it was read.
    pub seen: Seen,
    /// The index of the first message that was read from the spool. The messages before it are
    /// known from the index alone, so each must be checked in the spool before it is used.
    pub read_from: usize,
    /// How the worker learned the messages.
    pub how: How,
    /// Why a UIDL could not be pinned, if one could not. The session goes on without the pin.
    pub unpinned: Option<io::Error>,
}

/// The spool while it is scanned, which can take minutes. No more is read once the session is over.
struct Watched<'a> {
    spool: &'a mut LockedSpool,
    is_over: &'a dyn Fn() -> bool,
}

impl Source for Watched<'_> {
    type Error = UpdateError;

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, UpdateError> {
        if (self.is_over)() {
            let text = format!("the client has gone, and {offset} bytes were read");
            return Err(io::Error::other(text).into());
        }
        self.spool.read_at(offset, into)
    }
}

/// Opens `spool`: loads the index, proves it as far as possible, and reads the rest. `naming` gives
/// each message its UIDL.
///
/// If `is_over` says that nobody waits for the session any more, this fails, and writes an index of
/// the messages that were read. The next session goes on from there.
pub fn open(
    spool: &mut LockedSpool,
    state: Option<&State>,
    naming: &mut Naming,
    is_over: &dyn Fn() -> bool,
) -> Result<Found, ScanError<UpdateError>> {
    let failed = |error: io::Error| ScanError::Source(error.into());
    let seen = Seen::now(spool).map_err(failed)?;
    let (identity, begun) = (seen.identity, begun(&naming.rules));
    // If anything is wrong with the index, a scan does without it.
    let index = state.and_then(|state| load(state, identity.length).ok()?);
    let (known, named, mut maildrop) = match index {
        Some((known, rules, old)) if rules == naming.rules => (Some(known), true, old),
        Some((known, rules, old)) if rules == begun => (Some(known), false, old),
        _ => (None, false, Maildrop::default()),
    };
    if named && known == Some(identity) {
        return Ok(Found {
            read_from: maildrop.messages.len(),
            maildrop,
            seen,
            how: How::Unchanged,
            unpinned: None,
        });
    }
    let grown = known.is_some_and(|known| {
        known.inode == identity.inode
            && known.length < identity.length
            && known.ctime != UNSETTLED
            // With new bytes, a Content-Length that pointed behind the end may hold now. Then the
            // old last messages are one message. An equal time shows that there are no new bytes.
            && (identity.length < maildrop.claims.ahead || known.ctime == identity.ctime)
    }) && still_holds(spool, &maildrop, identity.length)?;
    let (others, how) = if grown {
        let last = maildrop.messages.last().cloned();
        (last.into_iter().collect(), How::Grown)
    } else {
        (std::mem::take(&mut maildrop).messages, How::Scanned)
    };
    let read_from = maildrop.messages.len().saturating_sub(1);
    let mut buffer = buffer_for(identity.length);
    let known_to = maildrop.length;
    let mut watched = Watched { spool, is_over };
    let (source, length, hide) = (&mut watched, identity.length, naming.hide);
    if let Err(error) = scan_on(source, length, &mut buffer, hide, &mut maildrop) {
        if let (Some(state), true) = (state, is_over() && maildrop.length > known_to) {
            let length = maildrop.length;
            let identity = Identity { length, ..identity };
            let seen = Seen { identity, ..seen };
            keep(state, seen, &begun, &maildrop).map_err(failed)?;
        }
        return Err(error);
    }
    let known = if named {
        (read_from, &others[..])
    } else {
        (0, &[][..])
    };
    let unpinned = naming.name(state, &mut maildrop, known);
    Ok(Found {
        maildrop,
        seen,
        read_from,
        how,
        unpinned,
    })
}

/// The rules of an index whose scan was broken off. It ends within the spool, and its messages have
/// no UIDLs yet.
fn begun(rules: &Rules) -> Rules {
    rules.map(|byte| !byte)
}

/// A buffer for a scan of `length` bytes.
fn buffer_for(length: u64) -> Vec<u8> {
    let room = usize::try_from(length).unwrap_or(PIECE);
    vec![0; room.clamp(GIVEN_BACK, PIECE)]
}

/// Checks some of the messages: whether nothing changed, except that something was appended.
fn still_holds(
    spool: &mut LockedSpool,
    old: &Maildrop,
    length: u64,
) -> Result<bool, ScanError<UpdateError>> {
    let count = old.messages.len();
    let spread = (0..SAMPLE).map(|part| part * count / SAMPLE);
    let last = count.saturating_sub(4)..count;
    let mut buffer = [0; BUFFER_MIN];
    let mut window = Window::new(spool, length, &mut buffer);
    // Each of them must still be at its place, with the same header.
    for index in spread.chain(last).filter(|index| *index < count) {
        if !begins_there(&mut window, &old.messages[index])? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn load(state: &State, length: u64) -> io::Result<Option<(Identity, Rules, Maildrop)>> {
    let Some(file) = state.open(INDEX)? else {
        return Ok(None);
    };
    let most = most_bytes(length);
    let index_length = file.metadata()?.len().min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(index_length).unwrap_or(0));
    file.take(most).read_to_end(&mut bytes)?;
    Ok(decode(&bytes).filter(|(known, ..)| known.length <= length))
}

/// Writes the index of `maildrop`, as it was in the spool `seen`. A maildrop that is cheap to read
/// gets no index.
pub fn keep(state: &State, seen: Seen, rules: &Rules, maildrop: &Maildrop) -> io::Result<()> {
    if !is_worth_it(maildrop) {
        return Ok(());
    }
    let mut identity = seen.identity;
    if !seen.settled {
        identity.ctime = UNSETTLED;
    }
    let written = state
        .create(DRAFT)
        .and_then(|mut file| file.write_all(&encode(&identity, rules, maildrop)))
        // If a new file replaces another one by its name, ext4 writes it to the disk at once. The
        // index can be lost without harm, so the old one is removed first, and no session waits for
        // that.
        .and_then(|()| state.remove(INDEX))
        .and_then(|()| state.rename(DRAFT, INDEX));
    if written.is_err() {
        // Half an index would take room that the user may not have.
        let _ = state.remove(DRAFT);
    }
    written
}

#[cfg(test)]
mod tests;
