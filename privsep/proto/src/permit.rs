//! Permit tables, after OpenSSH's `mon_dispatch`. A row says in which phases a kind of message may
//! come, how often, and with how many descriptors.
//!
//! Each receiving end has a gate. It holds the phase and refuses every message that its row does
//! not permit. The tables stand beside the enums of the messages.

use serde::{Serialize, de::DeserializeOwned};

/// A message of one direction of one pair of processes. Its receiver needs this. A sender needs
/// only its encoding.
pub trait Message: Serialize + DeserializeOwned {
    /// Largest encoded size in bytes, at most [`crate::codec::MESSAGE_LIMIT`] less the tag.
    const LIMIT: usize;
    /// The phases of the *receiver* of these messages.
    type Phase: Copy + PartialEq + std::fmt::Debug + 'static;
    /// The phase in which data packets may come. `None`: never.
    const DATA_PHASE: Option<Self::Phase> = None;
    /// Whether this kind announces a stream. Such a message comes with the stream's first data. No
    /// other kind comes with data.
    fn announces(&self) -> bool {
        false
    }
    /// This kind's row of the permit table.
    fn permit(&self) -> Permit<Self::Phase>;
}

/// A row of a permit table.
#[derive(Debug, Clone, Copy)]
pub struct Permit<P: 'static> {
    /// The kind's name, for the log. It is never a value from the message.
    pub kind: &'static str,
    /// The receiver's phases in which the message may come.
    pub phases: &'static [P],
    /// Whether it may come only once over the channel's life.
    pub once: bool,
    /// The exact number of descriptors.
    pub descriptors: usize,
}

/// A row for a kind that may come any number of times, without descriptors.
pub const fn any<P>(kind: &'static str, phases: &'static [P]) -> Permit<P> {
    Permit {
        kind,
        phases,
        once: false,
        descriptors: 0,
    }
}

/// A row for a kind that may come once, without descriptors.
pub const fn once<P>(kind: &'static str, phases: &'static [P]) -> Permit<P> {
    Permit {
        once: true,
        ..any(kind, phases)
    }
}

/// Why a packet was refused: what it was, and what is wrong with it. Neither is a value from the
/// packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The message's kind, or another word for what came.
    pub kind: &'static str,
    /// What is wrong with it, as the rest of a sentence.
    pub why: &'static str,
}

/// It may not come in the receiver's phase.
pub const OUT_OF_PHASE: &str = "came out of phase";
/// It may come once, and came again.
pub const AGAIN: &str = "came twice";
/// It came with another number of descriptors than its row says.
pub const DESCRIPTORS: &str = "came with a wrong number of descriptors";

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}", self.kind, self.why)
    }
}

/// The gate of a receiving end: it holds the phase. The end acts on no message that has not passed
/// it.
#[derive(Debug)]
pub struct Gate<M: Message> {
    phase: M::Phase,
    seen: Vec<&'static str>,
}

impl<M: Message> Gate<M> {
    /// A gate in `phase`. No message has passed it.
    pub fn new(phase: M::Phase) -> Self {
        Self {
            phase,
            seen: Vec::new(),
        }
    }

    /// The present phase.
    pub fn phase(&self) -> M::Phase {
        self.phase
    }

    /// Sets the phase. Only the receiver does this, as it makes progress. A message alone never
    /// changes the phase.
    pub fn enter(&mut self, phase: M::Phase) {
        self.phase = phase;
    }

    /// Checks a message against its row. It came with `descriptors` descriptors. `with_data` says
    /// whether it came with a stream's first data.
    pub fn admit(
        &mut self,
        message: &M,
        descriptors: usize,
        with_data: bool,
    ) -> Result<(), Refused> {
        let permit = message.permit();
        let kind = permit.kind;
        let refuse = |why| Err(Refused { kind, why });
        if !permit.phases.contains(&self.phase) || message.announces() != with_data {
            return refuse(OUT_OF_PHASE);
        }
        if descriptors != permit.descriptors {
            return refuse(DESCRIPTORS);
        }
        if permit.once {
            if self.seen.contains(&kind) {
                return refuse(AGAIN);
            }
            self.seen.push(kind);
        }
        Ok(())
    }
}
