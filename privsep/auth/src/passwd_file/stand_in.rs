//! Chooses the lines that stand in for a name without a password of its own (P9).
//!
//! Hashes differ in cost. A name that is not in the file must cost what some user of the file
//! costs, and the same at each try. So each name has stand-ins of its own:
//!
//! - A keyed hash of the name and of a line gives the line's score. The usable lines with the
//!   highest scores stand in for the name.
//! - The choice is even: each usable line stands in for as many unknown names as every other.
//! - The choice stays while the file changes. If a line is added to n others, one name in n gets
//!   other stand-ins. An index into the list of lines would give them to all names, and users would
//!   be those whose cost stays.

use crate::stored::{Stored, scram};
use popward_proto::bounded::UserName;
use std::hash::{DefaultHasher, Hasher};

/// How many lines stand in for a name. The second and later ones count if this host cannot make the
/// hash of those before. If it can make none of them, the name has a cost that no user has: even
/// with every third line of that kind, that is one name in 6,561.
const STAND_INS: usize = 8;

/// Gives each line its score for one name.
#[derive(Debug, Clone)]
pub(super) struct Scores(DefaultHasher);

/// How high a line stands for the name.
pub(super) type Score = u64;

impl Scores {
    /// The scores for `user`. Without `key`, nobody can compute them.
    pub(super) fn new(key: &[u8; 32], user: &UserName) -> Self {
        // SipHash with a secret text before each line's name. The text is made by HMAC, once for
        // each look-up. One SipHash for each line costs less than reading the line does.
        let mut hasher = DefaultHasher::new();
        hasher.write(&scram::keyed(key, b"stand-in ", user.as_str()));
        Self(hasher)
    }

    /// The score of the line of the user `name`.
    pub(super) fn of(&self, name: &[u8]) -> Score {
        let mut hasher = self.0.clone();
        hasher.write(name);
        hasher.finish()
    }
}

/// The lines with the highest scores so far, the highest first.
#[derive(Debug, Default)]
pub(super) struct Best(Vec<(Score, Stored)>);

impl Best {
    /// Offers a line with this score. `parse` is called only if the score is high enough. It
    /// returns `None` for a line that cannot stand in.
    pub(super) fn offer(&mut self, score: Score, parse: impl FnOnce() -> Option<Stored>) {
        let place = self.0.partition_point(|(other, _)| *other >= score);
        if place == STAND_INS {
            return;
        }
        if let Some(stored) = parse() {
            self.0.truncate(STAND_INS - 1);
            self.0.insert(place, (score, stored));
        }
    }

    /// What these lines store, the line with the highest score first.
    pub(super) fn into_stored(self) -> Vec<Stored> {
        self.0.into_iter().map(|(_, stored)| stored).collect()
    }
}
