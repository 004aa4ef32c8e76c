//! The update, and its completion after a crash (promise P3).
//!
//! What is kept behind the first deleted message is in the journal, on disk, before a byte of the spool changes. A
//! journal that is found at the next opening is finished first. Any doubt touches nothing and keeps the journal.

use crate::locks::LockedSpool;
use crate::state::State;
use popward_mbox::index::Identity;
use popward_mbox::plan::Plan;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

const MAGIC: &[u8; 8] = b"popwardJ";
const PIECE: usize = 1 << 20;

/// The head of a journal: fixed-width, little-endian; its hash follows it, then the kept bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    inode: u64,
    old_length: u64,
    first_change: u64,
    tail: u64,
    /// Of the kept bytes.
    tail_hash: [u8; 32],
    /// Of the spool's bytes from its final length to its old one, which no step before the truncation changes.
    rest_hash: [u8; 32],
}

const HEAD: usize = 8 + 4 * 8 + 64;

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.inode, self.old_length, self.first_change, self.tail] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.tail_hash);
        bytes.extend_from_slice(&self.rest_hash);
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEAD + 32]) -> Option<Self> {
        let (head, hash) = bytes.split_at(HEAD);
        if blake3::hash(head).as_bytes() != hash || !head.starts_with(MAGIC) {
            return None;
        }
        let number = |place: usize| {
            let bytes = head.get(8 + place * 8..16 + place * 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let head = Self {
            inode: number(0)?,
            old_length: number(1)?,
            first_change: number(2)?,
            tail: number(3)?,
            tail_hash: head.get(40..72)?.try_into().ok()?,
            rest_hash: head.get(72..104)?.try_into().ok()?,
        };
        (head.first_change.checked_add(head.tail)? <= head.old_length).then_some(head)
    }

    fn final_length(&self) -> u64 {
        self.first_change + self.tail
    }
}

/// Why an update or a recovery did not happen.
#[derive(Debug)]
pub enum UpdateError {
    /// The spool is not what the plan or the journal was made for. Nothing was changed.
    Changed,
    /// The dotlock is not this session's any more. Nothing was changed.
    LockLost,
    /// There is no state directory to keep a journal in. Nothing was changed.
    NoState,
    /// Reading or writing failed. Nothing was changed.
    System(io::Error),
    /// Reading or writing failed when the journal stood already: the next opening finishes it.
    Unfinished(Box<UpdateError>),
}

impl std::fmt::Display for UpdateError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Changed => out.write_str("the spool is not what it was"),
            Self::LockLost => out.write_str("the dotlock was lost"),
            Self::Unfinished(error) => {
                write!(out, "{error}; the journal stands for the next opening")
            }
            Self::NoState => out.write_str("no state directory for the journal"),
            Self::System(error) => error.fmt(out),
        }
    }
}

impl From<io::Error> for UpdateError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// The journal's name, and that of one that is being written.
const JOURNAL: &str = "journal";
const DRAFT: &str = "journal.new";

/// Writes a journal of `ranges` of `spool`, and has it on disk under its name.
fn write(
    state: &State,
    spool: &mut LockedSpool,
    first_change: u64,
    old_length: u64,
    ranges: &[std::ops::Range<u64>],
    before: Option<&mut File>,
) -> Result<Head, UpdateError> {
    let written = write_draft(state, spool, first_change, old_length, ranges, before);
    if written.is_err() {
        // The draft means nothing: the next one is written over it.
        let _ = state.remove(DRAFT);
    }
    let head = written?;
    state.rename(DRAFT, JOURNAL)?;
    state.sync()?;
    Ok(head)
}

fn write_draft(
    state: &State,
    spool: &mut LockedSpool,
    first_change: u64,
    old_length: u64,
    ranges: &[std::ops::Range<u64>],
    before: Option<&mut File>,
) -> Result<Head, UpdateError> {
    let mut file = state.create(DRAFT)?;
    file.seek(SeekFrom::Start((HEAD + 32) as u64))?;
    let mut hash = blake3::Hasher::new();
    let mut tail = 0;
    let mut keep = |bytes: &[u8]| {
        hash.update(bytes);
        tail += bytes.len() as u64;
        file.write_all(bytes)
    };
    if let Some(before) = before {
        let mut piece = vec![0; PIECE];
        loop {
            let count = before.read(&mut piece)?;
            if count == 0 {
                break;
            }
            keep(&piece[..count])?;
        }
    }
    for range in ranges {
        each_piece(spool, range.clone(), |_, bytes| keep(bytes))?;
    }
    let mut head = Head {
        inode: spool.identity()?.inode,
        old_length,
        first_change,
        tail,
        tail_hash: *hash.finalize().as_bytes(),
        rest_hash: [0; 32],
    };
    head.rest_hash = hash_of(spool, head.final_length()..old_length)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&head.encode())?;
    file.sync_all()?;
    Ok(head)
}

/// Gives the spool's bytes in `range` to `act`, in pieces.
fn each_piece(
    spool: &mut LockedSpool,
    range: std::ops::Range<u64>,
    mut act: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<(), UpdateError> {
    let mut piece = vec![0; PIECE];
    let mut offset = range.start;
    while offset < range.end {
        let most = usize::try_from(range.end - offset)
            .unwrap_or(PIECE)
            .min(PIECE);
        if spool.read_at(offset, &mut piece[..most])? < most {
            return Err(UpdateError::Changed);
        }
        act(offset, &piece[..most])?;
        offset += most as u64;
    }
    Ok(())
}

fn hash_of(spool: &mut LockedSpool, range: std::ops::Range<u64>) -> Result<[u8; 32], UpdateError> {
    let mut hash = blake3::Hasher::new();
    each_piece(spool, range, |_, bytes| {
        hash.update(bytes);
        Ok(())
    })?;
    Ok(*hash.finalize().as_bytes())
}

/// Does what `plan` says to a spool that was read with `length` bytes.
pub fn update(
    spool: &mut LockedSpool,
    state: Option<&State>,
    plan: &Plan,
    length: u64,
) -> Result<(), UpdateError> {
    if spool.identity()?.length != length {
        return Err(UpdateError::Changed);
    }
    if plan.kept.is_empty() {
        return Ok(spool.truncate(plan.final_length)?);
    }
    let state = state.ok_or(UpdateError::NoState)?;
    let head = write(state, spool, plan.first_change, length, &plan.kept, None)?;
    redo(spool, state, &head).map_err(|error| UpdateError::Unfinished(Box::new(error)))
}

/// Moves the journal's bytes to their place, cuts the spool, and takes the journal away: each on disk before the next.
fn redo(spool: &mut LockedSpool, state: &State, head: &Head) -> Result<(), UpdateError> {
    let mut file = state.open(JOURNAL)?.ok_or(UpdateError::Changed)?;
    file.seek(SeekFrom::Start((HEAD + 32) as u64))?;
    let mut piece = vec![0; PIECE];
    let mut offset = head.first_change;
    while offset < head.final_length() {
        let most = usize::try_from(head.final_length() - offset)
            .unwrap_or(PIECE)
            .min(PIECE);
        file.read_exact(&mut piece[..most])?;
        spool.write_at(offset, &piece[..most])?;
        offset += most as u64;
    }
    spool.sync()?;
    // What a program added that asked for no lock must not be cut off: the next opening tells it apart.
    if spool.identity()?.length != head.old_length {
        return Err(UpdateError::Changed);
    }
    spool.truncate(head.final_length())?;
    state.remove(JOURNAL)?;
    Ok(state.sync()?)
}

/// Finishes the update of a journal that is found. Returns whether there was one.
pub fn recover(spool: &mut LockedSpool, state: &State) -> Result<bool, UpdateError> {
    state.remove(DRAFT)?;
    let Some(mut file) = state.open(JOURNAL)? else {
        return Ok(false);
    };
    let mut bytes = [0; HEAD + 32];
    file.read_exact(&mut bytes)?;
    let head = Head::decode(&bytes).ok_or(UpdateError::Changed)?;
    let mut hash = blake3::Hasher::new();
    io::copy(&mut file, &mut hash)?;
    let Identity { inode, length, .. } = spool.identity()?;
    if *hash.finalize().as_bytes() != head.tail_hash || inode != head.inode {
        return Err(UpdateError::Changed);
    }
    // Not yet cut: the bytes behind the final length are the old ones. What lies behind them came since.
    if length >= head.old_length
        && hash_of(spool, head.final_length()..head.old_length)? == head.rest_hash
    {
        let head = if length > head.old_length {
            file.seek(SeekFrom::Start((HEAD + 32) as u64))?;
            let appended = head.old_length..length;
            write(
                state,
                spool,
                head.first_change,
                length,
                &[appended],
                Some(&mut file),
            )?
        } else {
            head
        };
        redo(spool, state, &head).map_err(|error| UpdateError::Unfinished(Box::new(error)))?;
        return Ok(true);
    }
    // Cut, and the kept bytes are in their place: only the journal was left. What came since follows them.
    if length >= head.final_length()
        && hash_of(spool, head.first_change..head.final_length())? == head.tail_hash
    {
        state.remove(JOURNAL)?;
        state.sync()?;
        return Ok(true);
    }
    Err(UpdateError::Changed)
}

#[cfg(test)]
mod tests;
