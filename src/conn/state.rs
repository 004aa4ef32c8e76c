//! The data of a connection, and what all connections share.

use super::offer;
use super::worker_channel::WorkerChannel;
use crate::auth_channels::AuthChannels;
use crate::client::Client;
use crate::end_reason::EndReason;
use crate::handle::Handle;
use crate::limits::{Admission, Party};
use crate::pop3::{Identity, Offer, Policy, Pop3};
use crate::proxy::Peer;
use crate::report;
use mio::Registry;
use popward_proto::account::SessionId;
use popward_proto::monitor_front::FrontSettings;
use popward_sys::channel::PacketBuffer;
use popward_sys::log::Log;
use std::rc::Rc;
use std::time::Instant;
use zeroize::Zeroizing;

/// Most bytes of commands that are read at once. A connection that waits for an answer keeps at
/// most this many.
pub(crate) const READ_MAX: usize = 4096;

/// Most steps that a connection takes before another connection has its turn.
pub(super) const STEPS_MAX: u32 = 64;

/// The reply to a client that is refused or has to yield, if TLS has not begun.
pub(crate) const FULL: &[u8] = b"-ERR [SYS/TEMP] Too many connections, try again later\r\n";

/// What all connections share. The event loop lends it to one connection at a time.
pub(crate) struct Shared<'a> {
    /// The time.
    pub(crate) now: Instant,
    /// The channels to auths.
    pub(crate) auths: &'a AuthChannels,
    /// Registers sockets with the event loop.
    pub(crate) registry: &'a Registry,
    /// Room for a packet.
    pub(crate) packet: &'a mut PacketBuffer,
    /// Room for commands.
    pub(crate) read: &'a mut [u8],
    /// The counts of open connections.
    pub(crate) admission: &'a mut Admission,
    /// The log.
    pub(crate) log: &'a Log,
}

/// What the event loop has to do with a connection next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing. The connection waits for an event.
    Waits,
    /// Let it go on after the other connections had their turn.
    Again,
    /// Remove it. It has ended.
    Over,
}

/// A connection that ends: only its last bytes are still to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// Why it ends.
    pub(super) why: EndReason,
    /// `None`: bytes are still to be sent. Otherwise all are sent, and the client may close its
    /// side until this time.
    pub(super) lingers: Option<Instant>,
}

/// A connection.
pub(crate) struct Conn {
    /// Its place in the table of connections.
    pub(crate) handle: Handle,
    /// The name by which the other processes know it.
    pub(crate) id: SessionId,
    /// The client's address, and its proxy.
    pub(crate) peer: Peer,
    /// The party for which it is counted.
    pub(crate) party: Party,
    /// The client's stream.
    pub(crate) client: Client,
    /// The protocol's state.
    pub(crate) pop3: Pop3,
    /// The channel to its worker.
    pub(crate) worker: Option<WorkerChannel>,
    /// Whether it waits in line for another turn.
    pub(crate) queued: bool,
    /// When the event loop next checks its time limits.
    pub(crate) armed: Option<Instant>,
    /// The configuration.
    pub(super) settings: Rc<FrontSettings>,
    /// Whether STLS can be offered.
    pub(super) stls: bool,
    /// Since when it waits for what [`Pop3::waiting`] says. Each command of the client sets it
    /// anew.
    pub(super) since: Instant,
    /// Sessions' message that the worker has ended. `true`: another worker finished its update.
    pub(super) ended: Option<bool>,
    /// Commands that were read and not yet processed. They may hold a password.
    pub(super) input: Input,
    /// The number of the auth that works on a login of this connection.
    pub(super) at_auth: Option<u32>,
    /// Set when the connection begins to end.
    pub(super) ending: Option<Ending>,
    /// When it was accepted. Behind a proxy: when its PROXY header was complete.
    pub(crate) accepted: Instant,
    /// When its session began. Not used before a login.
    pub(super) session_began: Instant,
    /// Until when another session of the same user waits for the locks of this one.
    pub(super) newcomer: Option<Instant>,
    /// Since when a line of the client is incomplete.
    pub(super) line: Option<Instant>,
    /// Since when the client keeps a reply waiting, and how many octets it had acknowledged then.
    pub(super) slow: Option<(Instant, u64)>,
}

/// Commands that were read at once, and how many of their bytes are processed.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) used: usize,
}

impl Input {
    /// The bytes that are not processed yet.
    pub(super) fn left(&self) -> &[u8] {
        &self.bytes[self.used..]
    }
}

/// The result of a step of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Something was done.
    Went,
    /// Nothing can be done before the next event.
    Stuck,
    /// TLS begins. The next step is the handshake's.
    Handshake,
    /// The connection has ended.
    Over(EndReason),
}

impl Conn {
    /// A connection that was just accepted. `stls`: the front has a certificate for STLS.
    pub(crate) fn new(
        (handle, id): (Handle, SessionId),
        (peer, party): (Peer, Party),
        client: Client,
        stls: bool,
        settings: &Rc<FrontSettings>,
        identity: Identity,
        now: Instant,
    ) -> Self {
        let policy = Policy {
            bad_commands: settings.limits.bad_commands,
            failed_logins: settings.limits.failed_logins,
        };
        let offer = offer::offer(&client, &peer, stls, settings);
        let forwards = peer.may_forward(settings);
        Self {
            handle,
            id,
            peer,
            party,
            client,
            pop3: Pop3::new(policy, offer, identity, forwards).configured(settings),
            worker: None,
            queued: false,
            armed: None,
            settings: Rc::clone(settings),
            stls,
            since: now,
            ended: None,
            input: Input::default(),
            at_auth: None,
            ending: None,
            accepted: now,
            session_began: now,
            newcomer: None,
            line: None,
            slow: None,
        }
    }

    /// The facts about this connection that log lines show.
    pub(crate) fn subject(&self) -> report::Subject<'_> {
        report::Subject {
            id: self.id,
            peer: &self.peer,
            party: self.party,
            client: &self.client,
            pop3: &self.pop3,
            logs_as_qpopper: self.settings.pop3.qpopper_log,
        }
    }

    /// What the client may use now.
    pub(super) fn offer(&self) -> Offer {
        offer::offer(&self.client, &self.peer, self.stls, &self.settings)
    }
}
