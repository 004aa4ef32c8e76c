//! UIDLs as other servers made them. With them, a client that leaves its mail on the server does
//! not fetch all of it again after a migration.
//!
//! Tests compare each scheme with its server's answers (`tests/schemes.rs`). If a server splits a
//! spool into other messages than [`popward_mbox::scan`] does, these messages had other UIDLs
//! there, because a UIDL depends on the message's own bytes.
//!
//! A header may be one line without an end, so headers are read in pieces. A scheme stores only a
//! digest, or 70 bytes of a value.

#![forbid(unsafe_code)]

mod dovecot;
mod header;
mod popa3d;
mod solid_pop3d;
mod tpop3d;
mod uid;
mod x_uidl;

use header::{Header, read};
use popward_mbox::message::Maildrop;
use popward_mbox::scan::ScanError;
use popward_mbox::source::Source;
use popward_mbox::window::Window;
use popward_proto::sessions_worker::Scheme;
use uid::First;

/// The most bytes that are read at once. They are few, because only the start of each message is
/// needed.
const READ: usize = 64 * 1024;

/// Whether a scheme names every message.
fn names_all(scheme: Scheme) -> bool {
    !matches!(scheme, Scheme::XUidl | Scheme::Dovecot | Scheme::Uw)
}

/// What reads a header for a scheme. `None`: tpop3d reads no header, and what Dovecot and UW call a
/// message depends on the messages before it ([`uid`]).
fn header(scheme: Scheme) -> Option<Box<dyn Header>> {
    match scheme {
        Scheme::XUidl => Some(Box::<x_uidl::XUidl>::default()),
        Scheme::Popa3d => Some(Box::<popa3d::Popa3d>::default()),
        Scheme::SolidPop3d => Some(Box::<solid_pop3d::SolidPop3d>::default()),
        Scheme::Tpop3d | Scheme::Dovecot | Scheme::Uw => None,
        Scheme::DovecotMd5 => Some(Box::<dovecot::DovecotMd5>::default()),
    }
}

/// The UIDLs of the messages from index `from` on, each by the first of `schemes` that has one. A
/// UIDL has 1 to 70 bytes from 0x21 to 0x7E (RFC 1939, section 7). `None`: no scheme has one. Equal
/// UIDLs stay equal: see [`popward_mbox::assignment::unique`].
///
/// `buffer` is as for [`popward_mbox::scan::scan`]. Each message's header is read at most once, and
/// once more for each of [`Scheme::Dovecot`] and [`Scheme::Uw`].
/// [`Scheme::Popa3d`] reads on until an empty line that ends with LF alone. Without such a line, it
/// reads the whole message.
pub fn names<S: Source>(
    source: &mut S,
    maildrop: &Maildrop,
    schemes: &[Scheme],
    buffer: &mut [u8],
    from: usize,
) -> Result<Vec<Option<Box<str>>>, ScanError<S::Error>> {
    // The schemes after the first one that names every message are never used.
    let certain = schemes.iter().position(|scheme| names_all(*scheme));
    let schemes = &schemes[..certain.map_or(schemes.len(), |last| last + 1)];
    let room = buffer.len().min(READ);
    let mut by_uid = Vec::new();
    for (scheme, first) in [(Scheme::Dovecot, First::Uid), (Scheme::Uw, First::Validity)] {
        if schemes.contains(&scheme) {
            let mut window = Window::new(source, maildrop.length, &mut buffer[..room]);
            by_uid.push((scheme, uid::names(&mut window, maildrop, first)?));
        }
    }
    let mut window = Window::new(source, maildrop.length, &mut buffer[..room]);
    (from..maildrop.messages.len())
        .map(|index| name(&mut window, maildrop, schemes, &mut by_uid, index))
        .collect()
}

/// The UIDLs of all messages by a scheme.
type Names = (Scheme, Vec<Option<Box<str>>>);

/// Gives each message the UIDL that [`names`] finds for it. Equal UIDLs stay equal, until
/// [`popward_mbox::assignment::assign`] makes them different.
pub fn name_messages<S: Source>(
    source: &mut S,
    maildrop: &mut Maildrop,
    schemes: &[Scheme],
    buffer: &mut [u8],
) -> Result<(), ScanError<S::Error>> {
    // The pseudo message has no UIDL.
    let first = usize::from(maildrop.is_hidden(0));
    let names = names(source, maildrop, schemes, buffer, first)?;
    for (message, name) in maildrop.messages[first..].iter_mut().zip(names) {
        message.name = name;
    }
    Ok(())
}

/// The UIDL of one message.
fn name<S: Source>(
    window: &mut Window<'_, S>,
    maildrop: &Maildrop,
    schemes: &[Scheme],
    by_uid: &mut [Names],
    index: usize,
) -> Result<Option<Box<str>>, ScanError<S::Error>> {
    let message = &maildrop.messages[index];
    // tpop3d is the last scheme that is used, because it names every message.
    let last = if schemes.contains(&Scheme::Tpop3d) {
        Some(tpop3d::name(window.at(message.from_line, tpop3d::LOOK)?))
    } else {
        None
    };
    let mut headers: Vec<_> = schemes
        .iter()
        .filter_map(|scheme| header(*scheme))
        .collect();
    let mut reading: Vec<&mut dyn Header> = Vec::new();
    for header in &mut headers {
        reading.push(header.as_mut());
    }
    let end = maildrop.segment_end(index);
    read(window, message.header, end, &mut reading)?;
    // In the order of the schemes.
    let mut headers = headers.into_iter();
    let mut found = schemes.iter().filter_map(|scheme| {
        let by_uid = by_uid.iter_mut().find(|(of, _)| of == scheme);
        match by_uid {
            Some((_, names)) => names.get_mut(index)?.take(),
            None if *scheme == Scheme::Tpop3d => None,
            None => headers.next()?.name(),
        }
    });
    Ok(found.next().or(last))
}

#[cfg(test)]
mod tests;
