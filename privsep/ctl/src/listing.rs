//! The process that lists a spool's messages as popward shows them, or would show them after an
//! adoption: with their UIDLs and sizes. It runs as the user, takes no locks and writes nothing.

use crate::as_user;
use crate::facts::{Question, Spool};
use crate::look::{self, Reached, Unlocked, open_spool};
use popward_mbox::assignment;
use popward_mbox::message::Maildrop;
use popward_mbox::pins::Pins;
use popward_mbox::uidl;
use popward_proto::sessions_worker::Scheme;
use popward_sys::landlock::READ_FILE;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::process::ExitCode;

/// The argument that makes a popwardctl this process.
pub(crate) const ARGUMENT: &str = "list-as-user";

/// Most bytes of an answer: about half a million messages.
const ANSWER_MAX: u64 = 64 << 20;

/// What to list.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    place: Question,
    /// The names of the schemes of the server before. Pins come before them.
    schemes: Vec<String>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Its UIDL.
    pub(crate) uidl: Box<str>,
    /// Its size.
    pub(crate) octets: u64,
}

/// The messages that a client sees.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Listing {
    /// There is no spool.
    NoSpool,
    /// popward would not open it, for this reason.
    Refused(String),
    /// It has these.
    Messages {
        /// In their order.
        listed: Vec<Listed>,
        /// How many of the UIDLs are not popward's own.
        kept: usize,
    },
}

/// Has the messages of a mailbox listed.
///
/// # Errors
///
/// Why they could not be, for the operator.
pub(crate) fn of(place: Question, schemes: &[Scheme]) -> Result<Listing, String> {
    let schemes = schemes.iter().map(ToString::to_string).collect();
    let request = Request { place, schemes };
    as_user::ask(ARGUMENT, &request.place, &request, ANSWER_MAX)
}

/// Answers one question.
pub(crate) fn main() -> ExitCode {
    as_user::main(list)
}

fn list(request: &Request) -> Result<Listing, Box<dyn Error>> {
    let schemes: Vec<Scheme> = request
        .schemes
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()?;
    let Reached { spools, state } = look::reach(&request.place, READ_FILE)?;
    let spools = match spools {
        Ok(spools) => spools,
        Err(errno) => return Ok(Listing::Refused(format!("the spool's directory: {errno}"))),
    };
    let (file, status) = match open_spool(&spools, &request.place)? {
        Ok(opened) => opened,
        Err(Spool::Missing) => return Ok(Listing::NoSpool),
        Err(Spool::Unfit(why) | Spool::Unreadable(why)) => return Ok(Listing::Refused(why)),
        Err(_) => return Err("no spool".into()),
    };
    let mut pins = match state {
        Some(state) => look::pins(&state)?,
        None => Pins::default(),
    };
    let (mut spool, mut buffer) = (Unlocked(file), vec![0; look::BUFFER]);
    let scanned = look::scan(&mut spool, status.len(), &request.place.hide, &mut buffer);
    let mut maildrop = match scanned {
        Ok(maildrop) => maildrop,
        Err(error) => return Ok(Listing::Refused(error.to_string())),
    };
    popward_schemes::name_messages(&mut spool, &mut maildrop, &schemes, &mut buffer)
        .map_err(|error| error.to_string())?;
    let unnamed = vec![false; maildrop.messages.len()];
    assignment::assign(&mut maildrop, &unnamed, &mut pins);
    Ok(shown(&maildrop))
}

fn shown(maildrop: &Maildrop) -> Listing {
    let messages = &maildrop.messages[usize::from(maildrop.is_hidden(0))..];
    let listed = messages.iter().map(|message| Listed {
        uidl: uidl::name(message),
        octets: message.octets,
    });
    Listing::Messages {
        listed: listed.collect(),
        kept: messages.iter().filter(|one| one.name.is_some()).count(),
    }
}
