//! The journal as a file. Its name is `reserve` while there is nothing to do, and `journal` while
//! an update is under way.
//!
//! The reserve is made at a user's first session. It has room for the smallest journal, so that a
//! user can delete mail on a full disk or at quota. If an update needs a larger journal, it
//! allocates the room before it begins. If the disk has no such room, the index is removed.
//!
//! The file is named `journal` from the moment before the first step until the last step is on
//! disk.

use crate::state::{INDEX, State};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use popward_mbox::journal::{BLOCK, HEADS, Head, Kept, slots_at};
use popward_proto::sessions_worker::JOURNAL;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The file's name while there is nothing to do.
const SPARE: &str = "reserve";

/// Bytes of the reserve: two blocks of heads, a block of kept ranges, a block of slots.
pub(crate) const RESERVE: u64 = 16 << 10;

/// Makes the reserve, if it is missing or too short and no journal stands.
pub fn keep_reserve(state: &State) -> io::Result<()> {
    let large = |file: &File| file.metadata().is_ok_and(|status| status.len() >= RESERVE);
    let spare = state.open(SPARE)?;
    if spare.is_some_and(|file| large(&file)) || state.open(JOURNAL)?.is_some() {
        return Ok(());
    }
    room(&state.open_to_write(SPARE)?, RESERVE)
}

/// An open journal.
pub(crate) struct Journal {
    state: State,
    pub file: File,
}

impl Journal {
    /// Makes a journal with room on the disk for `ranges` kept ranges and two slots. Returns it with
    /// the size of a slot.
    ///
    /// Each slot has `slot` bytes, or fewer if the disk has less room. `enough` says whether slots
    /// of a given size would do: if not, this fails with the disk's error.
    pub fn create(
        state: &State,
        ranges: u64,
        slot: u64,
        enough: impl Fn(u64) -> bool,
    ) -> io::Result<(Self, u64)> {
        let file = state.open_to_write(SPARE)?;
        // A worker that died may have renamed the journal to this name without syncing the
        // directory. If the old name came back after a power cut, a recovery would read what is
        // written next as its journal. So the directory is synced first.
        state.sync()?;
        let state = state.clone();
        let journal = Self { state, file };
        let mut slot = slot.next_multiple_of(BLOCK as u64);
        let slots = slots_at(ranges);
        // The size of a slot within the reserve alone, in bytes, for a disk with no other room.
        let spare = RESERVE.saturating_sub(slots) / 2;
        let mut refused = room(&journal.file, slots + 2 * slot);
        if refused.as_ref().is_err_and(is_full) {
            // The index can be made again by a scan. The journal needs its room more.
            journal.state.remove(INDEX)?;
            refused = room(&journal.file, slots + 2 * slot);
        }
        while refused.as_ref().is_err_and(is_full) && slot > spare {
            journal.give_up();
            slot = (slot / 2).max(spare) / 512 * 512;
            if !enough(slot) {
                break;
            }
            refused = room(&journal.file, slots + 2 * slot);
        }
        if refused.is_err() {
            journal.give_up();
        }
        refused.map(|()| (journal, slot))
    }

    /// Shrinks the file back to the size of the reserve. Only for a journal that does not stand.
    pub fn give_up(&self) {
        // A shorter file stays as it is, because `set_len` would make it longer without room on the
        // disk. If the call fails, the room stays taken until the next update.
        let length = self.file.metadata().map_or(0, |status| status.len());
        if length > RESERVE {
            let _ = self.file.set_len(RESERVE);
        }
    }

    /// Opens the journal that stands. `None`: no journal stands.
    pub fn open(state: &State) -> io::Result<Option<Self>> {
        // An NFS client may remember that the file did not exist, until it opens the directory
        // again.
        state.look_again()?;
        if state.open(JOURNAL)?.is_none() {
            return Ok(None);
        }
        let file = state.open_to_write(JOURNAL)?;
        let state = state.clone();
        Ok(Some(Self { state, file }))
    }

    /// Reads the newest head and the kept ranges. `None`: the journal is damaged.
    pub fn read(&self) -> io::Result<Option<(Head, Kept)>> {
        let mut blocks = [0; HEADS];
        let length = self.file.metadata()?.len();
        if length < HEADS as u64 {
            return Ok(None);
        }
        self.file.read_exact_at(&mut blocks, 0)?;
        let Some(head) = Head::newest(&blocks) else {
            return Ok(None);
        };
        let ranges = Kept::encoded_length(head.ranges);
        if length < slots_at(head.ranges) + 2 * head.slot {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(ranges).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, HEADS as u64)?;
        Ok(Kept::decode(&head, &bytes).map(|kept| (head, kept)))
    }

    /// Writes the first head into both blocks, and the kept ranges. When this returns, they and the
    /// first slot are on disk.
    pub fn write_first(&mut self, head: &Head, ranges: &[u8]) -> io::Result<()> {
        self.file.write_all_at(ranges, HEADS as u64)?;
        self.file.write_all_at(&head.encode().repeat(2), 0)?;
        self.file.sync_data()
    }

    /// Makes the journal stand: from now on, whoever opens the spool must finish this update.
    pub fn stand(&mut self) -> io::Result<()> {
        self.state.rename(SPARE, JOURNAL)?;
        let durable = self.state.sync();
        if durable.is_err() {
            // Nothing has been done yet. The update must not happen, so the journal must not stand.
            self.state.rename(JOURNAL, SPARE)?;
        }
        durable
    }

    /// Writes a head. It is on disk when this returns.
    pub fn write_head(&mut self, head: &Head) -> io::Result<()> {
        self.file.write_all_at(&head.encode(), head.block_at())?;
        self.file.sync_data()
    }

    /// Puts the journal away, because the update is done and on disk. If that fails, the next
    /// opening finds the journal and tries again.
    pub fn end(&self) {
        let away = self.state.rename(JOURNAL, SPARE);
        if away.and_then(|()| self.state.sync()).is_ok() {
            self.give_up();
        }
    }
}

/// Whether the disk is full, or the user's quota is used up.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Allocates room on the disk for the file's first `bytes` bytes.
fn room(file: &File, bytes: u64) -> io::Result<()> {
    let length = i64::try_from(bytes).map_err(io::Error::other)?;
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, length) {
            Err(Errno::EINTR) => {}
            // Some file systems, such as NFS, allocate room only by writing.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => break,
            result => return Ok(result?),
        }
    }
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
