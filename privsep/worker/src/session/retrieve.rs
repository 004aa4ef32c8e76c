//! RETR and TOP, and what is sent ahead of a RETR that is expected (see `popward_proto::session`).

use super::Session;
use crate::outgoing::Outgoing;
use crate::transport::{Stop, send};
use popward_mbox::convert::Converter;
use popward_proto::session::{Broken, MessageNumber, WorkerToFront};
use popward_sys::channel::ChannelError;
use popward_update::start::Ends;

/// Most messages of which something goes ahead of their requests.
const AHEAD: usize = 3;

impl Session {
    /// Makes sure that a message is where it was, and puts its first bytes into the packet. Says whether they are all.
    fn begin(&mut self, index: usize, converter: Converter) -> Result<(Outgoing, bool), Broken> {
        let message = self.maildrop.messages[index].clone();
        let spool = self.spool.as_mut().ok_or(Broken::System)?;
        let piece = std::mem::take(&mut self.piece);
        let mut outgoing = Outgoing::new(message, converter, self.naming.hide, piece);
        if !(self.proved[index] && self.seen.is_some_and(|seen| seen.holds(spool))) {
            outgoing.prove(spool, self.maildrop.length)?;
            self.proved[index] = true;
        }
        self.packet.clear();
        let last = outgoing.fill(spool, &mut self.packet)?;
        Ok((outgoing, last))
    }

    /// Answers TOP.
    pub(super) fn top(&mut self, ends: &Ends, index: usize, lines: u32) -> Result<(), Stop> {
        self.body(ends, index, Converter::top(lines))
    }

    /// Answers with a message.
    pub(super) fn body(
        &mut self,
        ends: &Ends,
        index: usize,
        converter: Converter,
    ) -> Result<(), Stop> {
        let (outgoing, last) = self.begin(index, converter).map_err(Stop::Broken)?;
        let body = WorkerToFront::Body(self.maildrop.messages[index].octets);
        let packet = &self.packet;
        send(ends, self.spool.as_mut(), |front| {
            front.send_data(Some(&body), packet, last)
        })?;
        self.rest(ends, outgoing, last)
    }

    /// Sends what is left of a message, all of it being sent if `last`.
    fn rest(&mut self, ends: &Ends, mut outgoing: Outgoing, mut last: bool) -> Result<(), Stop> {
        while !last {
            let Some(spool) = &mut self.spool else {
                return Err(Stop::Broken(Broken::System));
            };
            self.packet.clear();
            let filled = outgoing.fill(spool, &mut self.packet);
            last = filled.map_err(Stop::Broken)?;
            let packet = &self.packet;
            send(ends, Some(&mut *spool), |front| {
                front.send_data(None, packet, last)
            })?;
        }
        self.done(outgoing);
        Ok(())
    }

    /// All of a message has been sent.
    fn done(&mut self, outgoing: Outgoing) {
        if outgoing.differs() {
            self.distrust();
        }
        self.piece = outgoing.into_room();
    }

    /// RETR. Its first packet may have gone ahead.
    pub(super) fn retrieve(
        &mut self,
        ends: &Ends,
        number: MessageNumber,
        index: usize,
    ) -> Result<(), Stop> {
        let in_order = number.0.get() == self.retrieved.map_or(0, |last| last.0.get()) + 1;
        match self.ahead.pop_front() {
            // It was looked at when its beginning went ahead, and the client may have thought for long.
            Some((_, Some(outgoing))) => {
                self.prove(index).map_err(Stop::Broken)?;
                self.rest(ends, outgoing, false)?;
            }
            Some((_, None)) => {}
            None => self.body(ends, index, Converter::whole())?,
        }
        self.retrieved = Some(number);
        let (furthest, left) = match self.ahead.back() {
            Some((furthest, left)) => (*furthest, left.is_some()),
            None => (number, false),
        };
        // The rest of a message comes before the next one.
        let next = furthest.0.checked_add(1).map(MessageNumber);
        self.expected = next.filter(|_| in_order && !left);
        Ok(())
    }

    /// While the client takes what it asked for, sends the beginning of what it will ask for next, if it has been retrieving
    /// one message after the other: one packet, and only if the socket has room. Returns whether it did. See
    /// `popward_proto::session`.
    pub(super) fn look_ahead(&mut self, ends: &Ends) -> Result<bool, Stop> {
        let Some(number) = self.expected.take() else {
            return Ok(false);
        };
        let Ok(index) = self.find(number) else {
            return Ok(false);
        };
        // Should something be wrong with it, the answer to its request will say so.
        let Ok((outgoing, last)) = self.begin(index, Converter::whole()) else {
            return Ok(false);
        };
        let announced = WorkerToFront::Ahead(number, self.maildrop.messages[index].octets);
        match ends.front.send_data(Some(&announced), &self.packet, last) {
            Ok(()) => {}
            // It was of no use. If the front has gone, the next wait says so.
            Err(ChannelError::WouldBlock | ChannelError::Closed) => return Ok(false),
            Err(error) => return Err(Stop::Rules(error)),
        }
        let left = if last {
            self.done(outgoing);
            None
        } else {
            Some(outgoing)
        };
        if last && self.ahead.len() + 1 < AHEAD {
            self.expected = number.0.checked_add(1).map(MessageNumber);
        }
        self.ahead.push_back((number, left));
        Ok(true)
    }
}
