//! The permit table's machinery, after OpenSSH's `mon_dispatch`: each message kind names the phases in which it
//! may come, how often, and with how many descriptors. The gate of a receiving end holds the phase and refuses
//! the rest. The tables themselves stand beside the enums, so that one screen shows who may ask what, when.

use serde::{Serialize, de::DeserializeOwned};

/// A message of one direction of one pair of processes.
pub trait Message: Serialize + DeserializeOwned {
    /// Largest encoded size in bytes, at most [`crate::codec::MESSAGE_LIMIT`] less the tag.
    const LIMIT: usize;
    /// The phases that the *receiver* of these messages goes through.
    type Phase: Copy + PartialEq + std::fmt::Debug + 'static;
    /// The phase in which data packets may come, if there is one.
    const DATA_PHASE: Option<Self::Phase> = None;
    /// Whether this kind announces a stream, and so comes with the stream's first data, as no other kind does.
    fn announces(&self) -> bool {
        false
    }
    /// This kind's row of the permit table.
    fn permit(&self) -> Permit<Self::Phase>;
}

/// How often a kind may come over one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Often {
    /// Once over the channel's life.
    Once,
    /// Any number of times while its phase lasts.
    Any,
}

/// A row of a permit table.
#[derive(Debug, Clone, Copy)]
pub struct Permit<P: 'static> {
    /// The kind's name, for logs; never a value that came with it.
    pub kind: &'static str,
    /// The receiver's phases in which it may come.
    pub phases: &'static [P],
    /// How often it may come.
    pub often: Often,
    /// How many descriptors it brings, exactly.
    pub descriptors: usize,
}

/// A row for a kind that may come any number of times, without descriptors.
pub const fn any<P>(kind: &'static str, phases: &'static [P]) -> Permit<P> {
    Permit {
        kind,
        phases,
        often: Often::Any,
        descriptors: 0,
    }
}

/// A row for a kind that may come once, without descriptors.
pub const fn once<P>(kind: &'static str, phases: &'static [P]) -> Permit<P> {
    Permit {
        often: Often::Once,
        ..any(kind, phases)
    }
}

impl<P> Permit<P> {
    /// The same row for a kind that brings `count` descriptors.
    #[must_use]
    pub const fn with_descriptors(self, count: usize) -> Self {
        Self {
            descriptors: count,
            ..self
        }
    }
}

/// Why a well-formed message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It may not come in the receiver's present phase.
    OutOfPhase(&'static str),
    /// It may come once, and came again.
    Again(&'static str),
    /// It brought another number of descriptors than its row says.
    Descriptors(&'static str),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutOfPhase(kind) => write!(out, "{kind} came out of phase"),
            Self::Again(kind) => write!(out, "{kind} came twice"),
            Self::Descriptors(kind) => {
                write!(out, "{kind} came with a wrong number of descriptors")
            }
        }
    }
}

impl std::error::Error for Refused {}

/// The receiving end's keeper of the phase. Every message passes it before anybody acts on it.
#[derive(Debug)]
pub struct Gate<M: Message> {
    phase: M::Phase,
    seen: Vec<&'static str>,
}

impl<M: Message> Gate<M> {
    /// A gate in its first phase.
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

    /// Goes on to `phase`. Only the receiver's own progress moves it, never a message by itself.
    pub fn enter(&mut self, phase: M::Phase) {
        self.phase = phase;
    }

    /// Checks that data packets may come now.
    pub fn admit_data(&self) -> Result<(), Refused> {
        if M::DATA_PHASE == Some(self.phase) {
            Ok(())
        } else {
            Err(Refused::OutOfPhase("data"))
        }
    }

    /// Checks a message that came with `descriptors` descriptors, and with a stream's first data or without, against its row.
    pub fn admit(
        &mut self,
        message: &M,
        descriptors: usize,
        with_data: bool,
    ) -> Result<(), Refused> {
        let permit = message.permit();
        if !permit.phases.contains(&self.phase) || message.announces() != with_data {
            return Err(Refused::OutOfPhase(permit.kind));
        }
        if descriptors != permit.descriptors {
            return Err(Refused::Descriptors(permit.kind));
        }
        if permit.often == Often::Once {
            if self.seen.contains(&permit.kind) {
                return Err(Refused::Again(permit.kind));
            }
            self.seen.push(permit.kind);
        }
        Ok(())
    }
}
