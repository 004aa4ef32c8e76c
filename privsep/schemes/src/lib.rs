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
use uid::First;

/// The most bytes that are read at once. They are few, because only the start of each message is
/// needed.
const READ: usize = 64 * 1024;

/// How another server makes UIDLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// The value of the X-UIDL header. Qpopper writes it. mailutils writes it from its second
    /// session with a message on. Not every message has one.
    XUidl,
    /// popa3d 1.0.3: half of an MD5 of the header lines that a delivery writes.
    Popa3d,
    /// solid-pop3d 0.15: an MD5 of Received, Date, Message-Id and Subject.
    SolidPop3d,
    /// tpop3d: an MD5 of the first 512 bytes.
    Tpop3d,
    /// Dovecot 2 with `pop3_uidl_format = %m`: an MD5 of the values of the fields that a delivery
    /// writes.
    DovecotMd5,
    /// Dovecot 2 by default, `%08Xu%08Xv`: UID and UIDVALIDITY, as they stand in the spool. Not
    /// every message has them.
    Dovecot,
    /// UW ipop3d, and Dovecot with `%08Xv%08Xu`: the same, UIDVALIDITY first.
    Uw,
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Self; 7] = [
        Self::XUidl,
        Self::Popa3d,
        Self::SolidPop3d,
        Self::Tpop3d,
        Self::DovecotMd5,
        Self::Dovecot,
        Self::Uw,
    ];

    /// The scheme's name, as the configuration has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::XUidl => "x-uidl",
            Self::Popa3d => "popa3d",
            Self::SolidPop3d => "solid-pop3d",
            Self::Tpop3d => "tpop3d",
            Self::DovecotMd5 => "dovecot-md5",
            Self::Dovecot => "dovecot",
            Self::Uw => "uw",
        }
    }

    /// Whether it names every message.
    fn names_all(self) -> bool {
        !matches!(self, Self::XUidl | Self::Dovecot | Self::Uw)
    }

    /// What reads a header for this scheme. `None`: tpop3d reads no header, and what Dovecot and UW
    /// call a message depends on the messages before it ([`uid`]).
    fn header(self) -> Option<Box<dyn Header>> {
        match self {
            Self::XUidl => Some(Box::<x_uidl::XUidl>::default()),
            Self::Popa3d => Some(Box::<popa3d::Popa3d>::default()),
            Self::SolidPop3d => Some(Box::<solid_pop3d::SolidPop3d>::default()),
            Self::Tpop3d | Self::Dovecot | Self::Uw => None,
            Self::DovecotMd5 => Some(Box::<dovecot::DovecotMd5>::default()),
        }
    }
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

/// No scheme has this name.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownScheme;

impl std::fmt::Display for UnknownScheme {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "expected one of {}",
            Scheme::ALL.map(Scheme::as_str).join(", ")
        )
    }
}

impl std::error::Error for UnknownScheme {}

impl std::str::FromStr for Scheme {
    type Err = UnknownScheme;

    fn from_str(name: &str) -> Result<Self, UnknownScheme> {
        let mut all = Self::ALL.into_iter();
        all.find(|scheme| scheme.as_str() == name)
            .ok_or(UnknownScheme)
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
    let certain = schemes.iter().position(|scheme| scheme.names_all());
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
    let mut headers: Vec<_> = schemes.iter().filter_map(|s| s.header()).collect();
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
