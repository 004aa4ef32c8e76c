//! RETR and TOP, and the packets that are sent ahead of an expected RETR (see
//! `popward_proto::session`). These packets make RETR after RETR half as fast again (see
//! docs/performance.md).

use super::Session;
use crate::outgoing::Outgoing;
use crate::transport::Stop;
use popward_mbox::convert::Converter;
use popward_proto::session::{MessageNumber, WorkerToFront};
use popward_sys::channel::ChannelError;
use popward_update::error::UpdateError;

/// The most messages of which a packet goes ahead of the request.
const AHEAD: usize = 3;

impl Session {
    /// Checks that a message is where it was found, and puts its first bytes into the packet.
    /// Returns whether they are all of it.
    fn begin(
        &mut self,
        index: usize,
        converter: Converter,
    ) -> Result<(Outgoing, bool), UpdateError> {
        let known = self.is_proved(index);
        let message = self.maildrop.messages[index].clone();
        let spool = self.transport.spool()?;
        let mut outgoing = Outgoing::new(message, converter, self.naming.hide);
        if !known {
            outgoing.prove(spool, self.maildrop.length)?;
            self.proved[index] = true;
        }
        let last = outgoing.fill(spool, &mut self.packet)?;
        Ok((outgoing, last))
    }

    /// Answers with a message, as far as `converter` lets it through.
    pub(super) fn body(&mut self, index: usize, converter: Converter) -> Result<(), Stop> {
        let (outgoing, last) = self.begin(index, converter)?;
        let body = WorkerToFront::Body(self.maildrop.messages[index].octets);
        self.transport.send_data(Some(&body), &self.packet, last)?;
        self.rest(outgoing, last)
    }

    /// Sends the rest of a message. If `last`, everything has been sent already.
    fn rest(&mut self, mut outgoing: Outgoing, mut last: bool) -> Result<(), Stop> {
        while !last {
            last = outgoing.fill(self.transport.spool()?, &mut self.packet)?;
            self.transport.send_data(None, &self.packet, last)?;
        }
        if outgoing.differs() {
            self.distrust();
        }
        Ok(())
    }

    /// Answers RETR. The first packet may have gone ahead.
    pub(super) fn retrieve(&mut self, number: MessageNumber, index: usize) -> Result<(), Stop> {
        let in_order = number.0.get() == self.retrieved.map_or(0, |last| last.0.get()) + 1;
        match self.ahead.pop_front() {
            // The message was checked when its first packet went ahead. The client may have waited
            // long since then, so it is checked again.
            Some((_, Some(outgoing))) => {
                self.prove(index)?;
                self.rest(outgoing, false)?;
            }
            Some((_, None)) => {}
            None => self.body(index, Converter::whole())?,
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
    pub(super) fn look_ahead(&mut self) -> Result<bool, Stop> {
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
        let front = &self.transport.ends.front;
        match front.send_data(Some(&announced), &self.packet, last) {
            Ok(()) => {}
            // The packet could not be sent, which does no harm. If the front has gone, the next
            // wait reports it.
            Err(ChannelError::WouldBlock | ChannelError::Closed) => return Ok(false),
            Err(error) => return Err(Stop::Rules(error)),
        }
        if last && outgoing.differs() {
            self.distrust();
        }
        if last && self.ahead.len() + 1 < AHEAD {
            self.expected = number.0.checked_add(1).map(MessageNumber);
        }
        self.ahead.push_back((number, (!last).then_some(outgoing)));
        Ok(true)
    }
}
