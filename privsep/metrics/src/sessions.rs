//! The sessions that are open, as their records tell.

use crate::record::Record;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// Most sessions that are known by their ids. Others are not counted as open.
const SESSIONS_MAX: usize = 100_000;

/// Most sessions of which the login is known as well. A front that was taken over can invent sessions,
/// and the unit permits 64 MiB.
const LOGINS_MAX: usize = 20_000;

/// The longest text that is kept, in octets. A longer one is left out.
const TEXT_MAX: usize = 128;

/// The sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: HashSet<String>,
    /// By the ids of their sessions.
    logins: HashMap<String, Login>,
}

/// What the record of a login says.
#[derive(Debug, Serialize)]
struct Login {
    user: String,
    peer: String,
    method: String,
    tls: String,
    messages: Option<u64>,
    octets: Option<u64>,
}

impl Sessions {
    /// Takes the record of a login. Returns whether it is a new session.
    pub(crate) fn begin(&mut self, record: &Record<'_>) -> bool {
        let id = record.field("session");
        if self.open.len() >= SESSIONS_MAX || !self.open.insert(id.to_owned()) {
            return false;
        }
        if self.logins.len() < LOGINS_MAX {
            let login = Login {
                user: text(record, "user"),
                peer: text(record, "peer"),
                method: text(record, "method"),
                tls: text(record, "tls"),
                messages: record.number("messages"),
                octets: record.number("octets"),
            };
            self.logins.insert(id.to_owned(), login);
        }
        true
    }

    /// Forgets a session. Returns whether it was known.
    pub(crate) fn end(&mut self, id: &str) -> bool {
        self.logins.remove(id);
        self.open.remove(id)
    }

    /// Forgets all sessions.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The logins of the open sessions as JSON: an object, by the sessions' ids. `None`: it could not
    /// be written.
    pub(crate) fn page(&self) -> Option<String> {
        serde_json::to_string(&self.logins).ok()
    }
}

fn text(record: &Record<'_>, name: &str) -> String {
    let text = record.field(name);
    if text.len() > TEXT_MAX { "" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_logins_is_bounded() {
        let mut sessions = Sessions::default();
        let mut begun = 0;
        for number in 0..SESSIONS_MAX + 10 {
            let packet = format!("POPWARD_SESSION={number}\nPOPWARD_USER=alice\n");
            begun += usize::from(sessions.begin(&Record::read(packet.as_bytes()).unwrap()));
        }
        assert_eq!((begun, sessions.logins.len()), (SESSIONS_MAX, LOGINS_MAX));
        // A session that was known only by its id ends, too.
        assert!(sessions.end(&(SESSIONS_MAX - 1).to_string()));
        assert!(sessions.end("0") && !sessions.end("0"));
        assert_eq!(sessions.logins.len(), LOGINS_MAX - 1);
        sessions.clear();
        assert_eq!(sessions.page().as_deref(), Some("{}"));
    }
}
