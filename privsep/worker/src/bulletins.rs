//! Bulletins: an operator's messages for everybody, shown behind the spool's and never written into it.
//!
//! Their directory is the operator's, and a worker can only read it. A bulletin is read when a session opens, to know how long
//! it is, and again whenever it is sent: one that has changed or gone meanwhile is refused, and the session goes on.

use crate::index::INDEX;
use crate::state::State;
use popward_mbox::bulletins::{Gone, PREFIX, first, is_name, sort};
use popward_mbox::message::Message;
use popward_mbox::scan::{BUFFER_MIN, scan};
use popward_mbox::source::InMemory;
use popward_proto::monitor_worker::{self as proto, Job};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

/// What is kept of them in the state directory.
pub const KEPT: &str = "bulletins";
/// What that will be when an update is done, whoever does it ([`crate::state::LEFT`]).
pub const NEXT: &str = "bulletins.new";
/// What is being written.
const DRAFT: &str = "bulletins.draft";

/// Most files of the directory that are looked at.
const FILES_MAX: usize = 4096;
/// Most bytes of one.
const BULLETIN_MAX: u64 = 1 << 20;
/// Most bytes of all that are shown to one user.
const ALL_MAX: usize = 8 << 20;
/// Most bytes of what is kept.
const KEPT_MAX: u64 = 1 << 20;

/// One that is shown.
pub struct Bulletin {
    /// As in a spool of its own; its name is its UIDL.
    pub message: Message,
    /// Whether it is marked as deleted.
    pub deleted: bool,
    file: Box<str>,
    digest: blake3::Hash,
}

/// Those of one session. The default are none.
#[derive(Default)]
pub struct Bulletins {
    /// In the order in which they are shown.
    pub list: Vec<Bulletin>,
    places: Option<Places>,
    /// Those that are not shown.
    gone: Gone,
    /// Whether nothing of this user's is kept yet.
    new: bool,
    /// Whether what is to be kept lies beside what is.
    prepared: bool,
}

struct Places {
    directory: State,
    state: State,
}

impl Bulletins {
    /// Reads those that the job's user is to be shown. `report` is told what was passed over, and why.
    pub fn open(job: &Job, report: &dyn Fn(&str, &dyn std::fmt::Display)) -> Self {
        let (Some(settings), Some(state)) = (&job.bulletins, &job.state_directory) else {
            return Self::default();
        };
        let places = Places {
            directory: State::new(settings.directory.as_path()),
            state: State::new(state.as_path()),
        };
        let mut names = match names(settings) {
            Ok(names) => names,
            // Without a list of them it is not known which are still there: nothing may be forgotten.
            Err(error) => {
                report(".", &error);
                return Self::default();
            }
        };
        let there: BTreeSet<Box<str>> = names.iter().cloned().collect();
        let beyond = sort(&mut names);
        if beyond > 0 {
            report(
                ".",
                &format_args!("{beyond} too many: the oldest are not shown"),
            );
        }
        let kept = match load(&places.state) {
            Ok(kept) => kept,
            // What cannot be read now is not lost: to a new user all would be shown again, and then it would be.
            Err(error) if error.raw_os_error().is_some() => {
                report(KEPT, &error);
                return Self::default();
            }
            Err(error) => {
                report(KEPT, &error);
                None
            }
        };
        let new = kept.is_none();
        let since = settings.days.and_then(|days| {
            let days = Duration::from_secs(u64::from(days) * 86_400);
            SystemTime::now().checked_sub(days)
        });
        let old = |name: &str| since.is_some_and(|since| places.directory.is_older(name, since));
        let mut gone = kept.unwrap_or_else(|| {
            let mut gone = first(&names, settings.keep.into(), old);
            let shown: BTreeSet<&Box<str>> = names.iter().collect();
            let older = there.iter().filter(|name| !shown.contains(name));
            gone.0.extend(older.cloned());
            gone
        });
        gone.0.retain(|name| there.contains(name));
        let (mut list, mut left) = (Vec::new(), ALL_MAX);
        for name in names.into_iter().rev() {
            if gone.0.contains(&name) {
                continue;
            }
            match places
                .read(&name)
                .and_then(|bytes| Bulletin::new(&name, &bytes, &mut left))
            {
                Ok(bulletin) => list.push(bulletin),
                Err(error) => report(&name, &error),
            }
        }
        list.reverse();
        Self {
            list,
            places: Some(places),
            gone,
            new,
            prepared: false,
        }
    }

    /// All of a bulletin's bytes. `None`: they are not what they were.
    pub fn bytes(&self, at: usize) -> Option<Vec<u8>> {
        let bulletin = self.list.get(at)?;
        let bytes = self.places.as_ref()?.read(&bulletin.file).ok()?;
        (blake3::hash(&bytes) == bulletin.digest).then_some(bytes)
    }

    /// Marks none as deleted.
    pub fn reset(&mut self) {
        self.list
            .iter_mut()
            .for_each(|bulletin| bulletin.deleted = false);
    }

    /// Whether any is marked as deleted.
    pub fn any_deleted(&self) -> bool {
        self.list.iter().any(|bulletin| bulletin.deleted)
    }

    /// What is to be kept, if it differs from what is.
    fn next(&self) -> Option<(Gone, &State)> {
        let places = self.places.as_ref()?;
        if !self.new && !self.any_deleted() {
            return None;
        }
        let mut gone = self.gone.clone();
        // Another session, which no lock keeps away where there is no spool, may have noted some.
        if let Ok(Some(mut noted)) = load(&places.state) {
            noted
                .0
                .retain(|name| self.list.iter().any(|bulletin| bulletin.file == *name));
            gone.0.append(&mut noted.0);
        }
        let deleted = self.list.iter().filter(|bulletin| bulletin.deleted);
        gone.0.extend(deleted.map(|bulletin| bulletin.file.clone()));
        Some((gone, &places.state))
    }

    /// Before an update of the spool: has on disk what is to be kept, beside what is, so that whoever finishes the update
    /// finishes this. On a full disk the update goes first.
    pub fn prepare(&mut self) {
        let written = self.next().map(|(gone, state)| write(state, &gone, NEXT));
        self.prepared = matches!(written, Some(Ok(())));
        if let (false, Some(places)) = (self.prepared, &self.places) {
            // Whoever finishes this update must not find what another session did not come to.
            let _ = places.state.remove(NEXT);
        }
    }

    /// The spool's update is done, or there was none: keeps what is to be kept.
    pub fn put(&self) -> io::Result<()> {
        match self.next() {
            None => Ok(()),
            Some((_, state)) if self.prepared => state.finish(),
            Some((gone, state)) => {
                write(state, &gone, KEPT).or_else(|error| {
                    if !self.any_deleted() {
                        return Err(error);
                    }
                    // The index gives way.
                    state.remove(INDEX)?;
                    write(state, &gone, KEPT)
                })?;
                state.sync()
            }
        }
    }
}

impl Bulletin {
    fn new(name: &str, bytes: &[u8], left: &mut usize) -> io::Result<Self> {
        let other = |why: &str| Err(io::Error::other(why.to_owned()));
        let Some(rest) = left.checked_sub(bytes.len()) else {
            return other("too large beside the newer ones");
        };
        let found = scan(
            &mut InMemory(bytes),
            bytes.len() as u64,
            &mut [0; BUFFER_MIN],
        );
        let mut messages = found.map_or_else(|_| Vec::new(), |maildrop| maildrop.messages);
        let Some(mut message) = messages.pop().filter(|_| messages.is_empty()) else {
            return other("not one message with its From_ line");
        };
        *left = rest;
        message.name = Some(format!("{PREFIX}{name}").into());
        Ok(Self {
            message,
            deleted: false,
            file: name.into(),
            digest: blake3::hash(bytes),
        })
    }
}

impl Places {
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = self.directory.open(name)?;
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = Vec::new();
        file.take(BULLETIN_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BULLETIN_MAX {
            return Err(io::Error::other("larger than 1 MiB"));
        }
        Ok(bytes)
    }
}

fn names(settings: &proto::Bulletins) -> io::Result<Vec<Box<str>>> {
    let mut names = Vec::new();
    for (count, entry) in std::fs::read_dir(settings.directory.as_path())?.enumerate() {
        // Of a part of them it is not known which are the newest, nor which are gone.
        if count >= FILES_MAX {
            return Err(io::Error::other(format!("more than {FILES_MAX} files")));
        }
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|name| is_name(name)).map(Box::from));
    }
    Ok(names)
}

fn load(state: &State) -> io::Result<Option<Gone>> {
    let Some(file) = state.open(KEPT)? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    file.take(KEPT_MAX).read_to_end(&mut text)?;
    let bad = |line| io::Error::other(format!("line {line}: expected a bulletin's name"));
    Gone::decode(&text).map(Some).map_err(bad)
}

/// Under no other name than the draft's there ever is a part of it.
fn write(state: &State, gone: &Gone, name: &str) -> io::Result<()> {
    let mut file = state.create(DRAFT)?;
    let written = file
        .write_all(&gone.encode())
        .and_then(|()| file.sync_data())
        .and_then(|()| state.rename(DRAFT, name));
    if written.is_err() {
        let _ = state.remove(DRAFT);
    }
    written
}
