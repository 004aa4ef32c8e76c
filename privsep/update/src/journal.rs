//! The journal as a file: `reserve` while there is nothing to do, `journal` while there is.
//!
//! The reserve is made at a user's first session and has room for the smallest journal, so that deleting mail is possible
//! on a full disk and for a user at quota. What an update needs beyond that is there, as room on the disk, before it
//! begins; the index gives way if it must. The name `journal` stands from the first step's sync to the last one's.

use crate::state::{INDEX, State};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use popward_mbox::journal::{BLOCK, HEADS, Head, Kept, slots_at};
use popward_proto::monitor_worker::JOURNAL;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Its name while there is nothing to do.
const SPARE: &str = "reserve";

/// Bytes of the reserve: the heads, a block of kept ranges, a block of slots.
pub(crate) const RESERVE: u64 = 16 << 10;

/// Makes the reserve, if there is none.
pub fn keep_reserve(state: &State) -> io::Result<()> {
    let large = |file: &File| file.metadata().is_ok_and(|status| status.len() >= RESERVE);
    let spare = state.open(SPARE)?;
    if spare.is_some_and(|file| large(&file)) || state.open(JOURNAL)?.is_some() {
        return Ok(());
    }
    room(&state.open_to_write(SPARE)?, RESERVE)
}

/// A journal.
pub(crate) struct Journal {
    state: State,
    file: File,
    /// Bytes of each of its two slots.
    pub slot: u64,
}

impl Journal {
    /// Room for so many kept ranges, and for slots of `slot` bytes or less: as much as can be had, if that is `enough`.
    pub fn create(
        state: &State,
        ranges: u64,
        slot: u64,
        enough: impl Fn(u64) -> bool,
    ) -> io::Result<Self> {
        let file = state.open_to_write(SPARE)?;
        // A worker that died may have put this away without having that on disk: what is written next must not be found
        // under the other name.
        state.sync()?;
        let state = state.clone();
        let mut journal = Self {
            state,
            file,
            slot: slot.next_multiple_of(BLOCK as u64),
        };
        let slots = slots_at(ranges);
        // What is left of the reserve, when nothing else is to be had.
        let spare = RESERVE.saturating_sub(slots) / 2;
        let mut refused = room(&journal.file, slots + 2 * journal.slot);
        if is_full(&refused) {
            // The index can be made again, and its room is worth more now.
            journal.state.remove(INDEX)?;
            refused = room(&journal.file, slots + 2 * journal.slot);
        }
        while is_full(&refused) && journal.slot > spare {
            journal.give_up();
            journal.slot = (journal.slot / 2).max(spare) / 512 * 512;
            if !enough(journal.slot) {
                break;
            }
            refused = room(&journal.file, slots + 2 * journal.slot);
        }
        if refused.is_err() {
            journal.give_up();
        }
        refused.map(|()| journal)
    }

    /// Gives back what a journal took that does not stand.
    pub fn give_up(&self) {
        // Never longer than it is: that would be a length without room. Should it fail, the room is taken until the next
        // update.
        if self
            .file
            .metadata()
            .is_ok_and(|status| status.len() > RESERVE)
        {
            let _ = self.file.set_len(RESERVE);
        }
    }

    /// The journal that stands, if one does.
    pub fn open(state: &State) -> io::Result<Option<Self>> {
        // Over NFS a host may remember that there was none until it opens the directory again.
        state.look_again()?;
        if state.open(JOURNAL)?.is_none() {
            return Ok(None);
        }
        let file = state.open_to_write(JOURNAL)?;
        let state = state.clone();
        Ok(Some(Self {
            state,
            file,
            slot: 0,
        }))
    }

    /// What it says. `None`: it is damaged.
    pub fn read(&mut self) -> io::Result<Option<(Head, Kept)>> {
        let mut blocks = [0; HEADS];
        let length = self.file.metadata()?.len();
        if length < HEADS as u64 {
            return Ok(None);
        }
        self.read_at(0, &mut blocks)?;
        let Some(head) = Head::newest(&blocks) else {
            return Ok(None);
        };
        let ranges = Kept::encoded_length(head.ranges);
        if length < slots_at(head.ranges) + 2 * head.slot {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(ranges).unwrap_or(0)];
        self.read_at(HEADS as u64, &mut bytes)?;
        self.slot = head.slot;
        Ok(Kept::decode(&head, &bytes).map(|kept| (head, kept)))
    }

    /// Writes the first head, into both blocks, and the kept ranges; and has all of it on disk, with the slot.
    pub fn write_first(&mut self, head: &Head, ranges: &[u8]) -> io::Result<()> {
        self.write_at(HEADS as u64, ranges)?;
        self.write_at(0, &head.encode().repeat(2))?;
        self.sync()
    }

    /// From now on there is something to do.
    pub fn stand(&mut self) -> io::Result<()> {
        self.state.rename(SPARE, JOURNAL)?;
        let durable = self.state.sync();
        if durable.is_err() {
            // Nothing has been done yet, and then nothing must be.
            self.state.rename(JOURNAL, SPARE)?;
        }
        durable
    }

    /// Writes a head, and has it on disk.
    pub fn write_head(&mut self, head: &Head) -> io::Result<()> {
        self.write_at(head.block_at(), &head.encode())?;
        self.sync()
    }

    /// Everything is done and on disk. A journal that cannot be put away says so at the next opening.
    pub fn end(&self) {
        let away = self.state.rename(JOURNAL, SPARE);
        if away.and_then(|()| self.state.sync()).is_ok() {
            self.give_up();
        }
    }

    /// Reads into all of `into`.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    /// Writes all of `bytes`.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Has what was written on disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Whether the disk is full, or the user's part of it.
fn is_full(result: &io::Result<()>) -> bool {
    let errno = result.as_ref().err().and_then(io::Error::raw_os_error);
    let errno = errno.map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOSPC | Errno::EDQUOT))
}

/// Makes sure that the file's first `bytes` bytes have room on the disk.
fn room(file: &File, bytes: u64) -> io::Result<()> {
    let length = i64::try_from(bytes).map_err(io::Error::other)?;
    let allocated = loop {
        match fallocate(file, FallocateFlags::empty(), 0, length) {
            Err(Errno::EINTR) => {}
            result => break result,
        }
    };
    match allocated {
        // Some file systems, NFS among them, give room only to what is written.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
            let zeros = [0; BLOCK];
            let mut offset = file.metadata()?.len();
            while offset < bytes {
                let most = usize::try_from(bytes - offset).unwrap_or(zeros.len());
                let piece = &zeros[..most.min(zeros.len())];
                file.write_all_at(piece, offset)?;
                offset += piece.len() as u64;
            }
            Ok(())
        }
        result => result.map_err(io::Error::from),
    }
}
