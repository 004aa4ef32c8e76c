//! What decides beside the spool how messages are shown: the configured schemes for UIDLs and the pins in the user's state
//! directory (promise P5), and the header fields that are hidden.

use crate::locks::LockedSpool;
use crate::read::Reading;
use crate::state::State;
use popward_mbox::header::Hidden;
use popward_mbox::index::Rules;
use popward_mbox::message::{Maildrop, Message};
use popward_mbox::pins::Pins;
use popward_mbox::scan::ScanError;
use popward_mbox::scheme::{self, Scheme};
use popward_mbox::uidl;
use popward_proto::monitor_worker::{self as proto, Job};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;

/// The pins' name.
pub const PINS: &str = "pins";
/// The name of what they will be when an update is done.
pub const NEXT: &str = "pins.new";

/// The largest file of pins, in bytes: those of some half a million messages.
const PINS_MAX: u64 = 64 << 20;

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

    fn load(&mut self, state: Option<&State>) -> io::Result<()> {
        let file = state.map(|state| state.open(PINS)).transpose()?.flatten();
        let mut hash = blake3::Hasher::new();
        for scheme in &self.schemes {
            hash.update(scheme.as_str().as_bytes());
            hash.update(b",");
        }
        hash.update(format!("{:?}", self.hide).as_bytes());
        if let Some(file) = file {
            let status = file.metadata()?;
            // They are replaced, not written over: so another file, or another time, is all that there can be.
            let stamps = [
                status.mtime(),
                status.mtime_nsec(),
                status.ctime(),
                status.ctime_nsec(),
            ];
            let stamps = stamps.into_iter().flat_map(i64::to_le_bytes);
            let identity = [status.ino(), status.len()];
            let identity = identity.into_iter().flat_map(u64::to_le_bytes);
            hash.update(&identity.chain(stamps).collect::<Vec<_>>());
            if status.len() > PINS_MAX {
                return Err(io::Error::other(format!("{PINS}: more than 64 MiB")));
            }
            let mut text = Vec::new();
            file.take(PINS_MAX).read_to_end(&mut text)?;
            let bad = |line| io::Error::other(format!("{PINS}:{line}: expected `KEY UIDL`"));
            self.pins = Pins::decode(&text).map_err(bad)?;
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
                let kept = write(state, &self.pins);
                kept.and_then(|()| self.put(state)).err()
            }
            _ => None,
        })
    }

    /// Has the pins of what an update will leave on disk, beside those of now, if they differ. On a full disk deleting goes
    /// before pinning.
    pub fn prepare(&self, state: &State, maildrop: &Maildrop, deleted: &[bool]) {
        let _ = match uidl::pins_left(&self.pins, maildrop, deleted) {
            Some(pins) => write(state, &pins),
            // An update that has not been may have left some.
            None => state.remove(NEXT),
        };
    }

    /// The update is done: its pins hold.
    pub fn put(&mut self, state: &State) -> io::Result<()> {
        state.finish()?;
        self.load(Some(state))
    }
}

/// Has these pins on disk, beside those of now.
fn write(state: &State, pins: &Pins) -> io::Result<()> {
    let mut file = state.create(NEXT)?;
    let written = file
        .write_all(&pins.encode())
        .and_then(|()| file.sync_data());
    if written.is_err() {
        // Half of them would take room that their user may not have.
        let _ = state.remove(NEXT);
    }
    written
}
