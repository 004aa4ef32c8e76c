//! The event loop: what the front waits for, and what it does with each event.

use super::state::{
    AUTH, Front, FrontError, FrontParts, LISTENERS, Listener, MONITOR, SESSIONS, WAKER,
};
use crate::handle;
use mio::Events;
use mio::event::Event;
use popward_proto::monitor_front::FrontToMonitor;
use popward_sys::channel::ChannelError;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

impl Front {
    /// Makes a front of its parts, and starts its threads. It accepts no connection before
    /// [`Front::run`].
    pub fn new(mut parts: FrontParts) -> Result<Self, FrontError> {
        let auth = parts.auth.take();
        let mut front = Self::assemble(parts)?;
        if let Some(auth) = auth {
            front.use_auth(auth);
        }
        Ok(front)
    }

    /// Tells the monitor that this process is confined and can serve.
    pub fn ready(&self) -> Result<(), ChannelError> {
        let version = popward_proto::VERSION;
        let monitor = &self.channels.monitor.channel;
        monitor.send(&FrontToMonitor::Ready { version })
    }

    /// Serves until the monitor's channel has ended.
    pub fn run(&mut self) -> Result<(), FrontError> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, self.longest_wait()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(FrontError::System("epoll_wait", error));
                }
                _ => {}
            }
            self.now = Instant::now();
            for event in &events {
                self.event(event);
            }
            if self.channels.monitor.gone {
                return Ok(());
            }
            self.next_turns();
            if self.accepting {
                (0..self.listeners.len()).for_each(|number| self.accept(number));
            }
            self.expire();
            self.slots.recycle();
            self.tell_expiry();
            self.finish_ending();
        }
    }

    /// How long the loop may wait for an event. `None`: without limit.
    fn longest_wait(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let ready = |listener: &&Listener| listener.ready && self.accepting;
        let listeners = self.listeners.iter().filter(ready);
        let soonest = listeners
            .map(|listener| listener.rests.unwrap_or(self.now))
            .chain(self.deadlines.next())
            .chain(self.drain.filter(|_| !self.slots.is_empty()))
            .chain(self.drain_strangers)
            .chain(self.tells_expiry)
            .min()?;
        Some(soonest.saturating_duration_since(Instant::now()))
    }

    fn event(&mut self, event: &Event) {
        match event.token() {
            WAKER => self.handshakes(),
            MONITOR => self.hear_monitor(),
            SESSIONS => self.hear_sessions(),
            AUTH => self.hear_auths(),
            token => match handle::slot_of(token) {
                None => {
                    if let Some(listener) = self.listeners.get_mut(token.0 - LISTENERS) {
                        listener.ready = true;
                    }
                }
                Some((slot, true)) => self.client_event(slot, event),
                Some((slot, false)) => {
                    let conn = self.slots.at(slot);
                    if let Some(worker) = conn.and_then(|conn| conn.worker.as_mut()) {
                        worker.readable = true;
                        worker.closed |= event.is_read_closed();
                    }
                    self.drive(slot);
                }
            },
        }
    }

    /// An event of a client's socket, or of a proxy's whose header is not complete.
    fn client_event(&mut self, slot: usize, event: &Event) {
        if let Some(proxy) = self.slots.proxy(slot) {
            proxy.readable |= event.is_readable() || event.is_read_closed();
            proxy.half_closed |= event.is_read_closed() || event.is_error();
            return self.read_header(slot);
        }
        let Some(conn) = self.slots.at(slot) else {
            return;
        };
        let client = &mut conn.client;
        client.readable |= event.is_readable() || event.is_read_closed();
        let freed = event.is_writable() && !client.writable;
        client.writable |= freed;
        client.half_closed |= event.is_read_closed();
        client.gone |= event.is_error() || event.is_write_closed();
        if freed {
            // There may be room for only a part of what waits. Nothing is added before it has gone.
            client.flush(self.now);
        }
        self.drive(slot);
    }

    /// Gives each connection that waits for another turn one turn.
    fn next_turns(&mut self) {
        for _ in 0..self.again.len() {
            let Some(handle) = self.again.pop_front() else {
                return;
            };
            if let Some(conn) = self.slots.get(handle) {
                conn.queued = false;
                self.drive(handle.slot);
            }
        }
    }

    /// Ends the connections whose time is over.
    fn expire(&mut self) {
        while let Some((at, handle)) = self.deadlines.due(self.now) {
            let now = self.now;
            let Some(conn) = self.slots.get(handle) else {
                self.header_is_late(handle);
                continue;
            };
            if conn.armed != Some(at) {
                continue;
            }
            conn.armed = None;
            let (at, why) = conn.deadline();
            if at > now {
                self.arm(handle.slot);
            } else {
                self.with(handle.slot, |conn, shared| conn.expire(why, shared));
            }
        }
    }
}
