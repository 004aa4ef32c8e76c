//! What a receiving end does with each kind of message, in each of its phases: the real channel over
//! a socket pair, in this process.

use super::channels::Taken;
use super::kinds::{Kinds, Sample, all};
use popward_proto::codec::encode;
use popward_proto::log::NoMessage;
use popward_proto::permit::{Message, Refused};
use popward_sys::channel::{Channel, ChannelError, PacketBuffer, nonblocking_pair};
use std::collections::BTreeMap;

/// What the neighbour may hear on a channel.
pub struct Protocol {
    /// One message of each of its kinds.
    pub samples: fn() -> Vec<Sample>,
    /// What becomes of messages of all other protocols: how many are refused in each phase, and
    /// which are read as which kind.
    pub others: Box<dyn Fn() -> BTreeMap<String, usize> + Send>,
}

/// The protocol of messages `M`, whose receiver has these phases.
pub fn of<M: Kinds>(phases: &'static [M::Phase]) -> Protocol
where
    M::Phase: Sync,
{
    Protocol {
        samples: M::samples,
        others: Box::new(|| others::<M>(phases)),
    }
}

/// The protocol of a channel over which nothing may come.
pub fn silent() -> Protocol {
    Protocol {
        samples: Vec::new,
        others: Box::new(BTreeMap::new),
    }
}

fn others<M: Kinds>(phases: &[M::Phase]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for mut other in all().into_iter().filter(|other| other.of != M::NAME) {
        set_version_1(&mut other.packet);
        let heard = phases
            .iter()
            .filter_map(|phase| hear::<M>(*phase, &other).ok());
        let heard = heard.map(|message| format!("read as {}", message.permit().kind));
        let result = heard.last().unwrap_or_else(|| "refused".into());
        *found.entry(result).or_default() += 1;
    }
    found
}

/// Replaces the version in a packet. It differs from build to build, and what the packet is read as
/// must not.
fn set_version_1(packet: &mut Vec<u8>) {
    let mut encoded = [0; 8];
    let length = encode(&popward_proto::VERSION, &mut encoded).unwrap();
    // The tag comes first.
    let version = &encoded[1..length];
    let mut places = packet.windows(version.len());
    if let Some(at) = places.position(|bytes| bytes == version) {
        packet.splice(at..at + version.len(), [1]);
    }
}

/// What a receiver in this phase makes of a packet.
fn hear<M: Message>(phase: M::Phase, sent: &Sample) -> Result<M, Refused> {
    let (ours, theirs) = nonblocking_pair().unwrap();
    let sender = Taken { end: ours, peer: 0 };
    let null = std::fs::File::open("/dev/null").unwrap();
    let files = vec![std::os::fd::AsFd::as_fd(&null); sent.descriptors];
    sender.send(&sent.packet, &files).unwrap();
    let mut receiver: Channel<NoMessage, M> = Channel::new(theirs, phase);
    match receiver.receive(&mut PacketBuffer::for_messages()) {
        Ok((message, _)) => Ok(message),
        Err(ChannelError::Refused(refused)) => Err(refused),
        Err(error) => panic!("{error}"),
    }
}

/// What an answer is, for the table.
pub fn answer<M: Message>(packet: &[u8]) -> String {
    let message = match packet {
        [0, encoded @ ..] => popward_proto::codec::decode::<M>(encoded).ok(),
        _ => None,
    };
    message
        .map_or("with data", |message| message.permit().kind)
        .to_owned()
}
