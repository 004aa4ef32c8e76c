//! Answers a session's requests.

use super::Session;
use super::update::Done;
use crate::transport::Stop;
use popward_mbox::convert::Converter;
use popward_mbox::message::Message;
use popward_mbox::uidl;
use popward_proto::bounded::Text;
use popward_proto::session::{
    FrontToWorker, MessageNumber, OfAll, OfOne, WorkerPhase, WorkerToFront,
};
use popward_proto::stream::DATA_LIMIT;
use std::io::Write;

/// The longest line of a listing, in bytes: a number, a space, a UIDL and CRLF.
const LINE_MAX: usize = 20 + 1 + uidl::MAX + 2;

impl Session {
    /// Answers requests until QUIT or a stop. After QUIT, returns what was done.
    pub fn serve(&mut self) -> Result<Done, Stop> {
        loop {
            match self.request()? {
                FrontToWorker::Quit => {
                    self.transport.ends.front.enter(WorkerPhase::Update);
                    return self.update().map_err(Stop::NotUpdated);
                }
                request @ (FrontToWorker::Stat | FrontToWorker::Rset) => {
                    if request == FrontToWorker::Rset {
                        self.deleted.fill(false);
                    }
                    let totals = self.totals();
                    self.transport.answer(&WorkerToFront::Totals(totals))?;
                }
                FrontToWorker::OfAll(OfAll::Sizes) => self.listing(|message, out| {
                    // Writing to a vector cannot fail.
                    let _ = write!(out, "{}", message.octets);
                })?,
                FrontToWorker::OfAll(OfAll::UniqueIds) => self.listing(uidl::write)?,
                FrontToWorker::OfOne(number, what) => self.of_one(number, what)?,
            }
        }
    }

    /// Answers a request about one message.
    fn of_one(&mut self, number: MessageNumber, what: OfOne) -> Result<(), Stop> {
        let index = match self.find(number) {
            Ok(index) => index,
            Err(refusal) => return self.transport.answer(&WorkerToFront::Refused(refusal)),
        };
        let message = &self.maildrop.messages[index];
        let octets = message.octets;
        let answer = match what {
            OfOne::Size => WorkerToFront::Size(number, octets),
            OfOne::UniqueId => {
                let id = Text::truncated(&uidl::name(message));
                WorkerToFront::Unique(number, id)
            }
            OfOne::Whole => return self.retrieve(number, index),
            OfOne::Top(lines) => return self.body(index, Converter::top(lines)),
            OfOne::Delete => {
                self.deleted[index] = true;
                // A message that is checked now need not be checked at QUIT. If this check fails,
                // the check at QUIT reports it.
                let _ = self.prove(index);
                WorkerToFront::Deleted(number, octets)
            }
        };
        self.transport.answer(&answer)
    }

    /// The next request.
    fn request(&mut self) -> Result<FrontToWorker, Stop> {
        // A client can send requests without a pause, such as STAT, that do not read the spool. So
        // the dotlock is refreshed here, and not only by reads.
        if let Some(spool) = &mut self.transport.spool {
            spool.refresh()?;
        }
        let request = loop {
            if let Some(request) = self.transport.pending()? {
                break request;
            }
            if !self.look_ahead()? {
                self.transport.wait()?;
            }
        };
        self.expected = None;
        // The front follows the same rule: both drop the packets that went ahead of the requested
        // one.
        let retrieves = request.retrieves();
        let asked = self
            .ahead
            .iter()
            .position(|ahead| retrieves == Some(ahead.0));
        self.ahead.drain(..asked.unwrap_or(self.ahead.len()));
        if retrieves.is_none() {
            self.retrieved = None;
        }
        Ok(request)
    }

    /// Answers with a line for each message. `line` writes what follows the message's number.
    fn listing(&mut self, line: impl Fn(&Message, &mut Vec<u8>)) -> Result<(), Stop> {
        // The first packet announces the listing.
        let mut announced = Some(WorkerToFront::Listing(self.totals()));
        self.packet.clear();
        let all = self.maildrop.messages.iter().zip(&self.deleted);
        for (number, (message, deleted)) in (1_usize..).zip(all.skip(self.hidden)) {
            if *deleted {
                continue;
            }
            if self.packet.len() + LINE_MAX > DATA_LIMIT {
                let first = announced.take();
                self.transport
                    .send_data(first.as_ref(), &self.packet, false)?;
                self.packet.clear();
            }
            // Writing to a vector cannot fail.
            let _ = write!(self.packet, "{number} ");
            line(message, &mut self.packet);
            self.packet.extend_from_slice(b"\r\n");
        }
        self.transport
            .send_data(announced.as_ref(), &self.packet, true)
    }
}
