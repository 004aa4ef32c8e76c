//! What other requests than RFC 1939's ask for: fields of headers (EUIDL, XTND XLST), messages whose header is ASCII (RFC 6856),
//! what was read before (LAST); and all requests about bulletins, whose numbers follow those of the spool's messages.

use super::{Ends, Session, Stop, Stream};
use popward_mbox::convert::Converter;
use popward_mbox::field::Field;
use popward_mbox::message::Message;
use popward_mbox::uidl;
use popward_proto::bounded::Text;
use popward_proto::codec::DATA_LIMIT;
use popward_proto::session::{
    Broken, FrontToWorker, Headers, MessageNumber, Refusal, WorkerToFront,
};
use std::io::Write;

/// How much of a field XTND XLST shows, in bytes: what a line of a message may have (RFC 5322, section 2.1.1).
const FIELD_MAX: usize = 998;

/// How much of From EUIDL shows, in bytes, as in Qpopper.
const FROM_MAX: usize = 128;

/// The longest line of these listings, in bytes.
const LINE_MAX: usize = 256 + FIELD_MAX;

/// Something with a number: its index in the spool, or among the bulletins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item {
    Mail(usize),
    Bulletin(usize),
}

/// A field of which listings show the value.
struct Wanted<'n> {
    name: &'n str,
    /// With its name before it.
    named: bool,
    most: usize,
    headers: Headers,
}

impl Wanted<'_> {
    fn from(headers: Headers) -> Self {
        Self {
            name: "From",
            named: false,
            most: FROM_MAX,
            headers,
        }
    }
}

impl Session {
    /// Answers a request of the kinds that this file is for. Returns whether it is one.
    pub(super) fn extended(&mut self, ends: &Ends, request: &FrontToWorker) -> Result<bool, Stop> {
        use FrontToWorker as F;
        let number = match request {
            F::List(Some(n)) | F::Uidl(Some(n)) | F::Retr(n) | F::Top(n, _) | F::Dele(n) => {
                if !matches!(self.item(place(*n)), Some(Item::Bulletin(_))) {
                    return Ok(false);
                }
                Some(*n)
            }
            F::RetrAscii(n) | F::TopAscii(n, _) => Some(*n),
            F::Euidl(number, _) | F::Xlst(_, number, _) => *number,
            F::Last => None,
            F::List(None) | F::Uidl(None) | F::Stat | F::Rset | F::Quit => return Ok(false),
        };
        let Some(number) = number else {
            self.of_all(ends, request)?;
            return Ok(true);
        };
        let refused = match self.item(place(number)) {
            None => Some(Refusal::NoSuchMessage),
            Some(item) if self.shown(item).is_none() => Some(Refusal::AlreadyDeleted),
            Some(item) => self.of_one(ends, request, number, item)?,
        };
        if let Some(refusal) = refused {
            ends.answer(self.spool.as_mut(), &WorkerToFront::Refused(refusal))?;
        }
        Ok(true)
    }

    fn of_all(&mut self, ends: &Ends, request: &FrontToWorker) -> Result<(), Stop> {
        let all = 0..self.count();
        match request {
            FrontToWorker::Euidl(_, headers) => self.list(ends, all, &Wanted::from(*headers)),
            FrontToWorker::Xlst(field, _, headers) => {
                self.list(ends, all, &xlst(field.as_str(), *headers))
            }
            _ => {
                let before = self.read_before(ends)?;
                let last = WorkerToFront::Last(self.last.max(before));
                ends.answer(self.spool.as_mut(), &last)
            }
        }
    }

    fn of_one(
        &mut self,
        ends: &Ends,
        request: &FrontToWorker,
        number: MessageNumber,
        item: Item,
    ) -> Result<Option<Refusal>, Stop> {
        use FrontToWorker as F;
        let Some(message) = self.shown(item).cloned() else {
            return Ok(Some(Refusal::NoSuchMessage));
        };
        let id = Text::truncated(&uidl::name(&message));
        let answer = match request {
            F::Retr(_) | F::RetrAscii(_) => {
                let ascii = matches!(request, F::RetrAscii(_));
                let refused = self.send(ends, item, Converter::whole(), ascii)?;
                if refused.is_none() {
                    self.last = self.last.max(number.0.get());
                }
                return Ok(refused);
            }
            F::Top(_, lines) => return self.send(ends, item, Converter::top(*lines), false),
            F::TopAscii(_, lines) => return self.send(ends, item, Converter::top(*lines), true),
            F::Xlst(field, _, headers) => {
                let place = place(number);
                self.list(ends, place..place + 1, &xlst(field.as_str(), *headers))?;
                return Ok(None);
            }
            F::Euidl(_, headers) => {
                let from = self
                    .field(item, &Wanted::from(*headers))?
                    .unwrap_or_default();
                let from = Text::truncated(&String::from_utf8_lossy(&from));
                WorkerToFront::Extended(number, id, message.octets, from)
            }
            F::Uidl(_) => WorkerToFront::Unique(number, id),
            F::Dele(_) => {
                if let Item::Bulletin(at) = item {
                    self.bulletins.list[at].deleted = true;
                }
                WorkerToFront::Deleted(number, message.octets)
            }
            _ => WorkerToFront::Size(number, message.octets),
        };
        ends.answer(self.spool.as_mut(), &answer)?;
        Ok(None)
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> usize {
        self.visible.len() + self.bulletins.list.len()
    }

    /// What has this place, a number less 1.
    pub(super) fn item(&self, place: usize) -> Option<Item> {
        if let Some(index) = self.visible.get(place) {
            return Some(Item::Mail(*index));
        }
        let at = place - self.visible.len();
        (at < self.bulletins.list.len()).then_some(Item::Bulletin(at))
    }

    /// What it is, unless it is marked as deleted.
    pub(super) fn shown(&self, item: Item) -> Option<&Message> {
        match item {
            Item::Mail(index) => {
                let message = self.maildrop.messages.get(index);
                message.filter(|_| !self.deleted[index])
            }
            Item::Bulletin(at) => {
                let bulletin = self.bulletins.list.get(at);
                bulletin.filter(|b| !b.deleted).map(|b| &b.message)
            }
        }
    }

    /// Sends a message: if `ascii`, only one whose header is.
    fn send(
        &mut self,
        ends: &Ends,
        item: Item,
        mut converter: Converter,
        ascii: bool,
    ) -> Result<Option<Refusal>, Stop> {
        if ascii {
            let mut other = false;
            self.header(item, |piece| {
                other |= !piece.is_ascii();
                other
            })?;
            if other {
                return Ok(Some(Refusal::NotAscii));
            }
        }
        let at = match item {
            Item::Mail(index) => return self.body(ends, index, converter).map(|()| None),
            Item::Bulletin(at) => at,
        };
        let Some(bytes) = self.bulletins.bytes(at) else {
            return Ok(Some(Refusal::Withdrawn));
        };
        let message = &self.bulletins.list[at].message;
        let mut rest = part(&bytes, message.header, message.end);
        let mut stream = Stream::of(WorkerToFront::Body(message.octets));
        while !rest.is_empty() && !converter.is_done() {
            stream.make_room(DATA_LIMIT / 2, ends, self.spool.as_mut())?;
            rest = converter.convert(rest, &mut stream.packet, DATA_LIMIT - 2);
        }
        converter.finish(&mut stream.packet);
        stream.send(ends, self.spool.as_mut(), true)?;
        Ok(None)
    }

    /// Gives `take` the header in pieces, until it has enough. Of a bulletin that is no more what it was there is none.
    fn header(&mut self, item: Item, mut take: impl FnMut(&[u8]) -> bool) -> Result<(), Stop> {
        let index = match item {
            Item::Mail(index) => index,
            Item::Bulletin(at) => {
                if let Some(bytes) = self.bulletins.bytes(at) {
                    let message = &self.bulletins.list[at].message;
                    take(part(&bytes, message.header, message.body));
                }
                return Ok(());
            }
        };
        self.prove(index).map_err(Stop::Broken)?;
        let message = &self.maildrop.messages[index];
        let Some(spool) = &mut self.spool else {
            return Err(Stop::Broken(Broken::System));
        };
        let mut offset = message.header;
        while offset < message.body {
            let left = usize::try_from(message.body - offset).unwrap_or(usize::MAX);
            self.piece.resize(left.min(DATA_LIMIT), 0);
            let count = spool
                .read_at(offset, &mut self.piece)
                .map_err(|_| Stop::Broken(Broken::System))?;
            if count < self.piece.len() {
                return Err(Stop::Broken(Broken::SpoolChanged));
            }
            if take(&self.piece) {
                break;
            }
            offset += count as u64;
        }
        Ok(())
    }

    /// The value of a field, if the header has it and shows it.
    fn field(&mut self, item: Item, wanted: &Wanted<'_>) -> Result<Option<Vec<u8>>, Stop> {
        if self.naming.hide.has(wanted.name) {
            return Ok(None);
        }
        let ascii = wanted.headers == Headers::Ascii;
        let mut field = Field::new(wanted.name.as_bytes(), wanted.most, ascii);
        self.header(item, |piece| field.pass(piece))?;
        Ok(if wanted.named {
            field.line()
        } else {
            field.value()
        })
    }

    /// A line for each of these places: as XTND XLST has it, which leaves out messages without the field, or else as EUIDL.
    fn list(
        &mut self,
        ends: &Ends,
        places: std::ops::Range<usize>,
        wanted: &Wanted<'_>,
    ) -> Result<(), Stop> {
        let mut stream = Stream::of(WorkerToFront::Listing(self.totals()));
        for place in places {
            ends.somebody_waits(place)?;
            let Some(item) = self.item(place).filter(|item| self.shown(*item).is_some()) else {
                continue;
            };
            let value = self.field(item, wanted)?;
            stream.make_room(LINE_MAX, ends, self.spool.as_mut())?;
            let Some(message) = self
                .shown(item)
                .filter(|_| !wanted.named || value.is_some())
            else {
                continue;
            };
            let packet = &mut stream.packet;
            // Writing to a vector cannot fail.
            let _ = write!(packet, "{} ", place + 1);
            if !wanted.named {
                uidl::write(message, packet);
                let _ = write!(packet, " {} ", message.octets);
            }
            packet.extend_from_slice(&value.unwrap_or_default());
            packet.extend_from_slice(b"\r\n");
        }
        stream.send(ends, self.spool.as_mut(), true)
    }

    /// The highest number of a message that some reader has marked as read. Looked for at the first LAST only: it reads headers.
    fn read_before(&mut self, ends: &Ends) -> Result<u32, Stop> {
        if let Some(before) = self.before {
            return Ok(before);
        }
        let mut before = 0;
        for place in (0..self.visible.len()).rev() {
            ends.somebody_waits(place)?;
            let mut status = Field::new(b"Status", 16, false);
            let item = Item::Mail(self.visible[place]);
            self.header(item, |piece| status.pass(piece))?;
            if status.value().is_some_and(|status| status.contains(&b'R')) {
                before = u32::try_from(place + 1).unwrap_or(u32::MAX);
                break;
            }
        }
        self.before = Some(before);
        Ok(before)
    }
}

fn xlst(name: &str, headers: Headers) -> Wanted<'_> {
    Wanted {
        name,
        named: true,
        most: FIELD_MAX,
        headers,
    }
}

/// A message's number less 1.
fn place(number: MessageNumber) -> usize {
    usize::try_from(number.0.get() - 1).unwrap_or(usize::MAX)
}

/// A part of what lies in memory.
fn part(bytes: &[u8], from: u64, to: u64) -> &[u8] {
    let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
    bytes.get(at(from)..at(to)).unwrap_or_default()
}
