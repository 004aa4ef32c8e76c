//! The channels to auths. A reload starts another auth. The auth before it finishes the logins that
//! it has begun.

use popward_proto::auth::{AuthToFront, FrontToAuth};
use popward_sys::channel::Channel;

/// The channel to one auth.
#[derive(Debug)]
pub(crate) struct AuthChannel {
    /// The auth's number, counted from 1.
    pub(crate) number: u32,
    /// The channel.
    pub(crate) channel: Channel<FrontToAuth, AuthToFront>,
}

/// The channels to auths. New logins go to the newest one. A login stays with the auth at which it
/// began.
#[derive(Debug, Default)]
pub(crate) struct AuthChannels {
    channels: Vec<AuthChannel>,
    count: u32,
}

impl AuthChannels {
    /// The newest auth, which checks new logins. `None`: it has gone.
    pub(crate) fn current(&self) -> Option<&AuthChannel> {
        let newest = self.channels.last();
        newest.filter(|channel| channel.number == self.count)
    }

    /// The auth with this number. `None`: it has gone.
    pub(crate) fn numbered(&self, number: u32) -> Option<&AuthChannel> {
        let mut channels = self.channels.iter();
        channels.find(|channel| channel.number == number)
    }

    /// The auth with this number, to receive from it. `None`: it has gone.
    pub(crate) fn numbered_mut(&mut self, number: u32) -> Option<&mut AuthChannel> {
        let mut channels = self.channels.iter_mut();
        channels.find(|channel| channel.number == number)
    }

    /// Whether this is the number of the newest auth.
    pub(crate) fn is_current(&self, number: u32) -> bool {
        self.count == number
    }

    /// The numbers of all auths.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.channels.iter().map(|channel| channel.number).collect()
    }

    /// Adds the channel to a new auth. New logins go to it from now on.
    pub(crate) fn add(&mut self, channel: Channel<FrontToAuth, AuthToFront>) {
        self.count += 1;
        let number = self.count;
        self.channels.push(AuthChannel { number, channel });
    }

    /// Removes the channel to an auth that has gone.
    pub(crate) fn remove(&mut self, number: u32) {
        self.channels.retain(|channel| channel.number != number);
    }
}
