//! The processes that compare a user's index with the spool, and that remove an index. They run as
//! the user. The first one takes no locks and writes nothing.

use crate::as_user;
use crate::facts::{Question, Spool};
use crate::look::{self, Reached, Unlocked, identity, open_spool};
use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};
use popward_mbox::assignment;
use popward_mbox::header::Hidden;
use popward_mbox::index::{Identity, Rules, decode};
use popward_mbox::message::{Maildrop, Message};
use popward_mbox::pins::Pins;
use popward_sys::landlock::{READ_FILE, REGULAR_FILES};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// The argument that makes a popwardctl the process that compares.
pub(crate) const CHECK: &str = "check-index-as-user";
/// The argument that makes a popwardctl the process that removes.
pub(crate) const REMOVE: &str = "remove-index-as-user";

/// What an index says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Checked {
    /// There is no spool.
    NoSpool,
    /// popward would not open the spool, for this reason.
    Refused(String),
    /// The spool changed while it was read.
    Changing,
    /// There is no index.
    None,
    /// No session uses it, for this reason. The next one makes it anew.
    Unused(String),
    /// It describes the spool as it was. This many messages are not as it says, and sessions look at
    /// each message before they use it.
    Earlier { messages: usize, differ: usize },
    /// It describes the spool as it is. This many messages are not as it says, the first with this
    /// number.
    Current {
        messages: usize,
        differ: usize,
        first: Option<usize>,
    },
}

/// Has a mailbox's index compared.
///
/// # Errors
///
/// Why it could not be, for the operator.
pub(crate) fn check(place: &Question) -> Result<Checked, String> {
    as_user::ask(CHECK, place, place, look::ANSWER_MAX)
}

/// Has a mailbox's index removed. The caller has a process that holds the locks.
///
/// # Errors
///
/// Why it could not be, for the operator.
pub(crate) fn remove(place: &Question) -> Result<(), String> {
    as_user::ask(REMOVE, place, place, look::ANSWER_MAX)
}

/// Is the process that compares.
pub(crate) fn main_check() -> ExitCode {
    as_user::main(compare)
}

/// Is the process that removes.
pub(crate) fn main_remove() -> ExitCode {
    as_user::main(|place: &Question| {
        let Reached { state, .. } = look::reach(place, REGULAR_FILES)?;
        let state = state.ok_or("no state directory")?;
        match unlinkat(&state, "index", UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    })
}

fn compare(place: &Question) -> Result<Checked, Box<dyn Error>> {
    let Reached { spools, state } = look::reach(place, READ_FILE)?;
    let spools = match spools {
        Ok(spools) => spools,
        Err(errno) => return Ok(Checked::Refused(format!("the spool's directory: {errno}"))),
    };
    let (file, before) = match open_spool(&spools, place)? {
        Ok(opened) => opened,
        Err(Spool::Missing) => return Ok(Checked::NoSpool),
        Err(Spool::Unfit(why) | Spool::Unreadable(why)) => return Ok(Checked::Refused(why)),
        Err(_) => return Err("no spool".into()),
    };
    let Some(state) = state else {
        return Ok(Checked::None);
    };
    let Some(bytes) = look::whole(&state, "index", look::INDEX_MAX)? else {
        return Ok(Checked::None);
    };
    let Some((known, known_rules, old)) = decode(&bytes) else {
        return Ok(Checked::Unused("damaged, or of another version".to_owned()));
    };
    let (own_rules, pins) = naming(&state, &place.hide)?;
    let named = known_rules == own_rules;
    if !named && known_rules != own_rules.map(|byte| !byte) {
        let why = "of other pins or hidden fields";
        return Ok(Checked::Unused(why.to_owned()));
    }
    let now = identity(&before);
    if now.inode != known.inode {
        return Ok(Checked::Unused("of another file".to_owned()));
    }
    let (mut spool, mut buffer) = (Unlocked(file), vec![0; look::BUFFER]);
    let scanned = look::scan(&mut spool, now.length, &place.hide, &mut buffer);
    let after = identity(&spool.0.metadata()?);
    if after != now {
        return Ok(Checked::Changing);
    }
    let mut fresh = match scanned {
        Ok(maildrop) => maildrop,
        Err(error) => return Ok(Checked::Refused(error.to_string())),
    };
    name(&mut fresh, pins);
    Ok(verdict(&known, &now, named, &old, &fresh))
}

/// The rules of the user's index now, and the pins.
fn naming(state: &OwnedFd, hide: &[String]) -> Result<(Rules, Pins), Box<dyn Error>> {
    let text = look::whole(state, "pins", look::PINS_MAX)?.unwrap_or_default();
    let mut hidden = Hidden::default();
    for field in hide {
        hidden.add(field);
    }
    Ok((rules(hidden, &text), look::pins(state)?))
}

/// The rules of these hidden fields and this text of pins. A worker makes them in the same way
/// (`privsep/worker/src/naming.rs`).
fn rules(hidden: Hidden, pins: &[u8]) -> Rules {
    let mut hash = blake3::Hasher::new();
    hash.update(format!("{hidden:?}").as_bytes()).update(pins);
    let hash = hash.finalize();
    std::array::from_fn(|at| hash.as_bytes()[at])
}

fn name(maildrop: &mut Maildrop, mut pins: Pins) {
    let unnamed = vec![false; maildrop.messages.len()];
    assignment::assign(maildrop, &unnamed, &mut pins);
}

/// Compares what an index says with what was read. `named`: the index has the messages' UIDLs.
fn verdict(
    known: &Identity,
    now: &Identity,
    named: bool,
    old: &Maildrop,
    fresh: &Maildrop,
) -> Checked {
    let same = |one: &Message, other: &Message| {
        let unnamed = |message: &Message| Message {
            name: None,
            ..message.clone()
        };
        if named {
            one == other
        } else {
            unnamed(one) == unnamed(other)
        }
    };
    let hidden = usize::from(old.is_hidden(0));
    let pairs = old.messages.iter().enumerate();
    let differs = |(index, message): &(usize, &Message)| {
        !fresh
            .messages
            .get(*index)
            .is_some_and(|other| same(message, other))
    };
    let messages = old.messages.len() - hidden;
    if named && known == now {
        let wrong: Vec<usize> = pairs.filter(differs).map(|(index, _)| index).collect();
        let more = fresh.messages.len().saturating_sub(old.messages.len());
        let first = wrong.first().copied();
        let first = first.or((more > 0).then_some(old.messages.len()));
        return Checked::Current {
            messages,
            differ: wrong.len() + more,
            first: first.map(|index| index + 1 - hidden.min(index)),
        };
    }
    // What came after the last message may be a part of it, and so it is read again.
    let whole = old.messages.len().saturating_sub(1);
    Checked::Earlier {
        messages,
        differ: pairs.take(whole).filter(differs).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Identity = Identity {
        inode: 1,
        length: 60,
        mtime: 2,
        ctime: 3,
    };

    fn message(number: u64) -> Message {
        Message {
            from_line: 20 * number,
            header: 20 * number + 5,
            body: 20 * number + 9,
            end: 20 * number + 19,
            octets: 16,
            digest: [u8::try_from(number).unwrap(); 16],
            name: None,
            pseudo: false,
        }
    }

    fn maildrop(count: u64) -> Maildrop {
        Maildrop {
            messages: (0..count).map(message).collect(),
            length: 20 * count,
            ..Maildrop::default()
        }
    }

    fn current(differ: usize, first: Option<usize>, messages: usize) -> Checked {
        Checked::Current {
            messages,
            differ,
            first,
        }
    }

    #[test]
    fn an_index_of_the_spool_as_it_is_must_agree_in_all() {
        let verdict = |old: &Maildrop| verdict(&NOW, &NOW, true, old, &maildrop(3));
        assert_eq!(verdict(&maildrop(3)), current(0, None, 3));
        let mut old = maildrop(3);
        old.messages[1].octets += 1;
        assert_eq!(verdict(&old), current(1, Some(2), 3));
        let mut old = maildrop(3);
        old.messages[2].name = Some("other".into());
        assert_eq!(verdict(&old), current(1, Some(3), 3));
        assert_eq!(verdict(&maildrop(2)), current(1, Some(3), 2));
        assert_eq!(verdict(&maildrop(4)), current(1, Some(4), 4));
        // Clients do not see c-client's message.
        let mut old = maildrop(3);
        old.messages[0].pseudo = true;
        old.messages[1].octets += 1;
        assert_eq!(verdict(&old), current(2, Some(1), 2));
    }

    #[test]
    fn an_earlier_index_says_nothing_of_its_last_message() {
        let then = Identity { length: 40, ..NOW };
        let mut old = maildrop(2);
        old.messages[1].end -= 3;
        let earlier = |differ| Checked::Earlier {
            messages: 2,
            differ,
        };
        assert_eq!(verdict(&then, &NOW, true, &old, &maildrop(3)), earlier(0));
        old.messages[0].name = Some("no name yet".into());
        assert_eq!(verdict(&then, &NOW, true, &old, &maildrop(3)), earlier(1));
        // A scan that was broken off has given no names.
        assert_eq!(verdict(&then, &NOW, false, &old, &maildrop(3)), earlier(0));
    }
}
