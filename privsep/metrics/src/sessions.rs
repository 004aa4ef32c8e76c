//! The sessions that are open, as their records tell.

use crate::record::Record;
use serde::Serialize;
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Most sessions that are known. Others are not counted as open.
const SESSIONS_MAX: usize = 100_000;

/// The longest text that is kept, in octets. A longer one is left out.
const TEXT_MAX: usize = 256;

/// The sessions by their ids.
#[derive(Debug, Default)]
pub(crate) struct Sessions(HashMap<String, Session>);

/// What the record of a login says.
#[derive(Debug, Serialize)]
struct Session {
    user: String,
    peer: String,
    method: String,
    tls: String,
    messages: Option<u64>,
    octets: Option<u64>,
    /// When it began, in seconds since 1970.
    since: u64,
}

impl Sessions {
    /// Takes the record of a login. Returns whether it is a new session.
    pub(crate) fn begin(&mut self, record: &Record<'_>) -> bool {
        let id = text(record, "session");
        if self.0.len() >= SESSIONS_MAX || self.0.contains_key(&id) {
            return false;
        }
        let session = Session {
            user: text(record, "user"),
            peer: text(record, "peer"),
            method: text(record, "method"),
            tls: text(record, "tls"),
            messages: record.number("messages"),
            octets: record.number("octets"),
            since: now(),
        };
        self.0.insert(id, session);
        true
    }

    /// Forgets a session. Returns whether it was known.
    pub(crate) fn end(&mut self, id: &str) -> bool {
        self.0.remove(id).is_some()
    }

    /// Forgets all sessions.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// All sessions as JSON: an object, by their ids. `None`: it could not be written.
    pub(crate) fn page(&self) -> Option<String> {
        serde_json::to_string(&self.0).ok()
    }
}

/// The time, in seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

fn text(record: &Record<'_>, name: &str) -> String {
    let text = record.field(name);
    if text.len() > TEXT_MAX { "" } else { text }.to_owned()
}
