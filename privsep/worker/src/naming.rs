//! What decides beside the spool how messages are shown: the configured schemes for UIDLs and the pins in the user's state
//! directory (promise P5), and the header fields that are hidden.

use popward_mbox::header::Hidden;
use popward_mbox::index::Rules;
use popward_mbox::message::{Maildrop, Message};
use popward_mbox::pins::Pins;
use popward_mbox::scan::ScanError;
use popward_mbox::scheme::{self, Scheme};
use popward_mbox::uidl;
use popward_proto::monitor_worker::{self as proto, Job};
use popward_update::locks::LockedSpool;
use popward_update::pins_file;
use popward_update::read::Reading;
use popward_update::state::State;
use std::io;

/// How messages of one maildrop are named.
pub struct Naming {
    schemes: Vec<Scheme>,
    pins: Pins,
    /// What clients are not shown.
    pub hide: Hidden,
    /// Of all that.
    pub rules: Rules,
}

impl Naming {
    /// By the schemes of the job and the user's pins. A file of pins that is none is an error: without it clients would
    /// fetch all of their mail again.
    pub fn new(job: &Job, state: Option<&State>) -> io::Result<Self> {
        let schemes = job.uidl.as_slice().iter().map(|scheme| match scheme {
            proto::Scheme::XUidl => Scheme::XUidl,
            proto::Scheme::Popa3d => Scheme::Popa3d,
            proto::Scheme::SolidPop3d => Scheme::SolidPop3d,
            proto::Scheme::Tpop3d => Scheme::Tpop3d,
            proto::Scheme::DovecotMd5 => Scheme::DovecotMd5,
        });
        let mut naming = Self {
            schemes: schemes.collect(),
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
        for scheme in &self.schemes {
            hash.update(scheme.as_str().as_bytes());
            hash.update(b",");
        }
        hash.update(format!("{:?}", self.hide).as_bytes());
        if let Some(state) = state {
            let (pins, version) = pins_file::load(state)?;
            self.pins = pins;
            hash.update(&version);
        }
        self.rules
            .copy_from_slice(&hash.finalize().as_bytes()[..16]);
        Ok(())
    }

    /// Names the messages of a maildrop that was read, but for so many that have their names; those of the others that are in
    /// `known` keep theirs. Returns why a name could not be pinned: then it lasts as long as the index does.
    pub fn name(
        &mut self,
        spool: &mut LockedSpool,
        state: Option<&State>,
        maildrop: &mut Maildrop,
        (before, known): (usize, &[Message]),
        buffer: &mut [u8],
    ) -> Result<Option<io::Error>, ScanError<io::Error>> {
        let mut named = vec![true; before];
        named.extend(uidl::carry_over(&mut maildrop.messages[before..], known));
        let first = named.iter().position(|named| !named);
        let (Some(first), reading) = (first, &mut Reading(spool)) else {
            return Ok(None);
        };
        let others = scheme::names(reading, maildrop, &self.schemes, buffer, first)?;
        let base = |index: usize| others.get(index - first).cloned().flatten();
        let new = uidl::assign(maildrop, &named, base, &mut self.pins);
        Ok(match state {
            Some(state) if new => {
                let kept = pins_file::replace(state, &self.pins);
                kept.and_then(|()| self.load(Some(state))).err()
            }
            _ => None,
        })
    }

    /// The pins that hold once the messages that `deleted` marks are gone. `None`: those of now.
    pub fn pins_left(&self, maildrop: &Maildrop, deleted: &[bool]) -> Option<Pins> {
        uidl::pins_left(&self.pins, maildrop, deleted)
    }
}
