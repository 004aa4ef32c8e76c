//! The channels to auths. A reload starts another auth. The auth before it finishes the logins that it has begun.

use popward_proto::auth::{AuthToFront, FrontToAuth};
use popward_sys::channel::Channel;

/// The channel to an auth, and which one it is.
#[derive(Debug)]
pub(crate) struct Link {
    /// Counted from 1.
    pub(crate) number: u32,
    /// The channel.
    pub(crate) channel: Channel<FrontToAuth, AuthToFront>,
}

/// The channels to auths. New logins go to the last one. Each login that has begun stays with its auth.
#[derive(Debug, Default)]
pub(crate) struct Auths {
    links: Vec<Link>,
    count: u32,
}

impl Auths {
    /// The one that is asked about new logins, while there is one.
    pub(crate) fn current(&self) -> Option<&Link> {
        self.links.last().filter(|link| link.number == self.count)
    }

    /// The one with this number, while it is there.
    pub(crate) fn numbered(&self, number: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.number == number)
    }

    /// The same, to hear it.
    pub(crate) fn numbered_mut(&mut self, number: u32) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.number == number)
    }

    /// Whether this is the number of the last one that came.
    pub(crate) fn is_current(&self, number: u32) -> bool {
        self.count == number
    }

    /// The numbers of all.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.links.iter().map(|link| link.number).collect()
    }

    /// Asks about new logins over this channel from now on.
    pub(crate) fn add(&mut self, channel: Channel<FrontToAuth, AuthToFront>) {
        self.count += 1;
        let number = self.count;
        self.links.push(Link { number, channel });
    }

    /// This one has gone.
    pub(crate) fn remove(&mut self, number: u32) {
        self.links.retain(|link| link.number != number);
    }
}
