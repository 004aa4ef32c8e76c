//! What decides, besides the spool, how messages are named and shown: the pins in the user's state
//! directory (promise P5), and the names of the hidden header fields.

use popward_mbox::assignment;
use popward_mbox::header::Hidden;
use popward_mbox::index::Rules;
use popward_mbox::message::{Maildrop, Message};
use popward_mbox::pins::Pins;
use popward_proto::sessions_worker::Job;
use popward_update::pins_file;
use popward_update::state::State;
use std::io;

/// How messages of one maildrop are named.
pub struct Naming {
    pins: Pins,
    /// The header fields that clients are not shown.
    pub hide: Hidden,
    /// A hash of the pins and the hidden fields. An index with another hash is not used.
    pub rules: Rules,
}

impl Naming {
    /// Takes the hidden fields from the job and reads the user's pins.
    ///
    /// A file of pins in the wrong form is an error: without its pins, clients would fetch all of
    /// their mail again.
    pub fn new(job: &Job, state: Option<&State>) -> io::Result<Self> {
        let mut naming = Self {
            pins: Pins::default(),
            hide: Hidden::default(),
            rules: [0; 16],
        };
        for field in job.hide.as_slice() {
            if !naming.hide.add(field.as_str()) {
                return Err(io::Error::other("a header field that cannot be hidden"));
            }
        }
        naming.load(state)?;
        Ok(naming)
    }

    /// Reads the pins, if there is a state directory.
    pub fn load(&mut self, state: Option<&State>) -> io::Result<()> {
        let mut hash = blake3::Hasher::new();
        hash.update(format!("{:?}", self.hide).as_bytes());
        if let Some(state) = state {
            let (pins, text) = pins_file::load(state)?;
            self.pins = pins;
            hash.update(&text);
        }
        self.rules
            .copy_from_slice(&hash.finalize().as_bytes()[..16]);
        Ok(())
    }

    /// Gives each message of a maildrop that was read its UIDL. The first `before` messages have
    /// one already. A message that is among `known` keeps its UIDL.
    ///
    /// Returns an error if a UIDL could not be pinned. That UIDL then lasts only as long as the
    /// index.
    pub fn name(
        &mut self,
        state: Option<&State>,
        maildrop: &mut Maildrop,
        (before, known): (usize, &[Message]),
    ) -> Option<io::Error> {
        let mut named = vec![true; before];
        let messages = &mut maildrop.messages[before..];
        named.extend(assignment::carry_over(messages, known));
        let new = assignment::assign(maildrop, &named, &mut self.pins);
        match state {
            Some(state) if new => {
                let kept = pins_file::replace(state, &self.pins);
                kept.and_then(|()| self.load(Some(state))).err()
            }
            _ => None,
        }
    }

    /// The pins that hold once the messages that `deleted` marks are gone. `None`: the pins stay as
    /// they are.
    pub fn pins_left(&self, maildrop: &Maildrop, deleted: &[bool]) -> Option<Pins> {
        assignment::pins_left(&self.pins, maildrop, deleted)
    }
}
