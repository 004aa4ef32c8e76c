//! supervisor ↔ config: which file to read, and what comes of it.
//!
//! popward-config sends the supervisor's own part of a configuration as one message. The monitors'
//! part comes as encoded messages ([`crate::config_monitor`]), which the supervisor keeps and
//! passes on. The supervisor does not decode them, so the types of the other processes' settings
//! are no part of what a popward-config that was taken over can attack.

use crate::bounded::{AbsolutePath, Bytes, List, Text};
use crate::codec::{MESSAGE_LIMIT, OVERSIZED, encode};
use crate::listen::{LISTENERS_MAX, Listen};
use crate::permit::{Message, Permit, Refused, any, once};
use crate::setup_phase::SetupPhase;
use crate::supervisor_log::Destination;
use crate::supervisor_monitor::CommonSettings;
use serde::ser::SerializeTuple;
use serde::{Deserialize, Serialize, Serializer};

/// Most warnings about one configuration.
pub const WARNINGS_MAX: usize = 64;

/// Most bytes of a message for monitors. The messages to the supervisor carry them, with a kind, a
/// length and a number.
pub const PART_MAX: usize = MESSAGE_LIMIT - 16;

/// Most messages for monitors.
pub const PARTS_MAX: usize = 66_000;

/// Most bytes of all messages for monitors.
pub const PARTS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most descriptors of a message for monitors.
const FILES_MAX: usize = 2;

/// What is said to the operator, for each mistake: file, line, what was found, what was expected.
pub type Finding = Text<8192>;

/// What the supervisor tells popward-config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorToConfig {
    /// The first message and the only one: read this file.
    Read {
        /// [`crate::VERSION`].
        version: u32,
        /// The file, as the operator named it. A relative path is one from the working directory.
        path: Text<4096>,
        /// Whether to show the lines with the mistakes, for a terminal.
        excerpts: bool,
    },
}

/// What popward-config tells the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigToSupervisor {
    /// The configuration can be used, and the operator should see this.
    Warning(Finding),
    /// Why the configuration cannot be used. Nothing comes after it.
    Refused(Finding),
    /// The supervisor's own part.
    Settings(Box<SupervisorSettings>),
    /// A message for monitors.
    Part {
        /// The message.
        encoded: Encoded,
        /// The number of its descriptors, at most two.
        files: u8,
    },
    /// A message for the sessions of monitors.
    SessionsPart(Encoded),
    /// Everything was said.
    End,
}

/// The part of a configuration that the supervisor uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorSettings {
    /// What the monitors use, too.
    pub common: CommonSettings,
    /// Where users' state directories are. A reload does not change it.
    pub state: AbsolutePath,
    /// Where to listen.
    pub listen: List<Listen, LISTENERS_MAX>,
    /// Where the log goes.
    pub log: Destination,
    /// `limits.connections`. The supervisor tells the next configuration's monitors.
    pub connections: u32,
    /// Whether there is a certificate.
    pub certificate: bool,
}

/// An encoded message for monitors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoded(pub Bytes<PART_MAX>);

/// Encodes a message as the supervisor passes it on.
///
/// # Errors
///
/// The message is larger than its limit.
pub fn encoded<M: Message + Serialize>(message: &M) -> Result<Encoded, Refused> {
    let mut packet = [0; MESSAGE_LIMIT];
    let length = encode(message, &mut packet)?;
    // The first byte is the tag of a packet.
    let bytes = packet[1..length].to_vec();
    List::try_from(bytes).map(Encoded).map_err(|_| OVERSIZED)
}

/// The same message on its way to a monitor: its encoding is the message itself.
#[derive(Debug)]
pub struct PassedOn<'a>(pub &'a Encoded);

impl Serialize for PassedOn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0.0.as_slice();
        // A tuple has no length in front of its items.
        let mut tuple = serializer.serialize_tuple(bytes.len())?;
        for byte in bytes {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl Message for SupervisorToConfig {
    const LIMIT: usize = 4200;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        match self {
            Self::Read { .. } => once("Read", &[SetupPhase::Starting]),
        }
    }
}

/// The supervisor is in [`SetupPhase::Starting`] until the end of the configuration.
impl Message for ConfigToSupervisor {
    const LIMIT: usize = MESSAGE_LIMIT - 1;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::Starting;
        match self {
            Self::Warning(_) => any("Warning", &[Starting]),
            Self::Refused(_) => once("Refused", &[Starting]),
            Self::Settings(_) => once("Settings", &[Starting]),
            Self::Part { files, .. } => {
                any("Part", &[Starting]).with_descriptors(FILES_MAX.min((*files).into()))
            }
            Self::SessionsPart(_) => any("SessionsPart", &[Starting]),
            Self::End => once("End", &[Starting]),
        }
    }
}
