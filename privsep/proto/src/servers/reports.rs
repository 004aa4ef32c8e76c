//! When a worker's messages may come. Only sessions receives them, so no worker links this.

use crate::permit::{Message, Permit, any, once};
use crate::sessions_worker::{JobPhase, WorkerToSessions};

impl Message for WorkerToSessions {
    const LIMIT: usize = 32;
    type Phase = JobPhase;
    fn permit(&self) -> Permit<JobPhase> {
        match self {
            Self::Dotlock { .. } => any("Dotlock", &[JobPhase::Working]),
            Self::Updates => any("Updates", &[JobPhase::Working]),
            Self::Finished => once("Finished", &[JobPhase::Working]),
        }
    }
}
