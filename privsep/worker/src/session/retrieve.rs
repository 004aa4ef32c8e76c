//! RETR and TOP, and the packets that are sent ahead of an expected RETR (see
//! `popward_proto::session`).

use super::Session;
use crate::outgoing::Outgoing;
use crate::transport::{Stop, send};
use popward_mbox::convert::Converter;
use popward_proto::session::{Broken, MessageNumber, WorkerToFront};
use popward_sys::channel::ChannelError;
use popward_update::start::Ends;

/// The most messages of which a packet goes ahead of the request.
const AHEAD: usize = 3;

impl Session {
    /// Checks that a message is where it was found, and puts its first bytes into the packet.
    /// Returns whether they are all of it.
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

    /// Answers with a message, as far as `converter` lets it through.
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

    /// Sends the rest of a message. If `last`, everything has been sent already.
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

    /// Ends a message that has been sent whole.
    fn done(&mut self, outgoing: Outgoing) {
        if outgoing.differs() {
            self.distrust();
        }
        self.piece = outgoing.into_room();
    }

    /// Answers RETR. The first packet may have gone ahead.
    pub(super) fn retrieve(
        &mut self,
        ends: &Ends,
        number: MessageNumber,
        index: usize,
    ) -> Result<(), Stop> {
        let in_order = number.0.get() == self.retrieved.map_or(0, |last| last.0.get()) + 1;
        match self.ahead.pop_front() {
            // The message was checked when its first packet went ahead. The client may have waited
            // long since then, so it is checked again.
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
        // A message is sent to its end before the next one begins.
        let next = furthest.0.checked_add(1).map(MessageNumber);
        self.expected = next.filter(|_| in_order && !left);
        Ok(())
    }

    /// Sends one packet ahead: the beginning of the message that the client will probably ask for
    /// next. This happens only if the client retrieves one message after another and the socket has
    /// room. Returns whether a packet was sent. See `popward_proto::session`.
    pub(super) fn look_ahead(&mut self, ends: &Ends) -> Result<bool, Stop> {
        let Some(number) = self.expected.take() else {
            return Ok(false);
        };
        let Ok(index) = self.find(number) else {
            return Ok(false);
        };
        // If the message is not as expected, the answer to its request will say so.
        let Ok((outgoing, last)) = self.begin(index, Converter::whole()) else {
            return Ok(false);
        };
        let announced = WorkerToFront::Ahead(number, self.maildrop.messages[index].octets);
        match ends.front.send_data(Some(&announced), &self.packet, last) {
            Ok(()) => {}
            // The packet could not be sent, which does no harm. If the front has gone, the next
            // wait reports it.
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
