//! Parses the PROXY protocol's header (haproxy's `proxy-protocol.txt`, sections 2.1 and 2.2). The
//! header says whose connection it is. No I/O and no state: each call gets all bytes that have come
//! so far.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, with its CRLF (section 2.1).
pub const V1_MAX: usize = 107;

/// Longest header of version 2 that is accepted, in bytes: the fixed part, the addresses, and what
/// a proxy adds. The protocol permits 65,551 bytes. The largest addition in use is a client's
/// certificate, of 1 to 2 KiB.
pub const V2_MAX: usize = 4096;

/// Longest header of either version that is accepted, in bytes.
pub const MAX: usize = V2_MAX;

/// The first bytes of a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Length of the part before the addresses of version 2, in bytes.
const FIXED: usize = 16;

/// The origin of a connection, as the header gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The proxy itself: its own connection, such as a health check (LOCAL), or one whose client it
    /// does not know (UNKNOWN, UNSPEC, UNIX).
    Proxy,
    /// A client.
    Client {
        /// The client's address.
        source: SocketAddr,
        /// Whether the client came to the proxy over TLS, as the proxy says (`PP2_CLIENT_SSL`,
        /// section 2.2.6).
        tls: bool,
    },
}

impl Origin {
    /// Corrects the origin for a proxy of this address. If the header names the proxy itself as the
    /// client, the connection is the proxy's own. Health checks of haproxy 2.6 with `send-proxy`
    /// send such headers (section 2.1 asks for it).
    #[must_use]
    pub fn said_by(self, proxy: IpAddr) -> Self {
        match self {
            Self::Client { source, .. } if source.ip() == proxy => Self::Proxy,
            origin => origin,
        }
    }
}

/// A complete header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The header's length in bytes. The client's bytes follow.
    pub length: usize,
    /// The connection's origin.
    pub origin: Origin,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The first bytes fit neither version.
    NoHeader,
    /// Version 1: the line is too long, or does not end with CRLF.
    Line,
    /// Version 1: the protocol is not TCP4, TCP6 or UNKNOWN.
    Protocol,
    /// Version 1: an address or a port is not valid, or not of the protocol's family.
    Address,
    /// Version 2: the version is not 2, or the command is not LOCAL or PROXY.
    Command,
    /// Version 2: the address family or the transport is unknown, or for datagrams.
    Family,
    /// Version 2: the header is longer than [`V2_MAX`].
    TooLong,
    /// Version 2: the parts do not fit into the announced length.
    Parts,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::NoHeader => "the connection does not begin with a PROXY header",
            Self::Line => "the PROXY header is too long, or does not end with CRLF",
            Self::Protocol => "the protocol in the PROXY header is not TCP4, TCP6 or UNKNOWN",
            Self::Address => "an address or a port in the PROXY header is not valid",
            Self::Command => "the version or the command of the PROXY header is unknown",
            Self::Family => "the address family or the transport in the PROXY header is unknown",
            Self::TooLong => "the PROXY header is too long",
            Self::Parts => "the parts of the PROXY header are longer than the header",
        })
    }
}

/// Parses the header at the start of `bytes`. `None`: it is not complete. Bytes that cannot become
/// a header are refused as early as possible.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => version_1(bytes),
        Some(_) => version_2(bytes),
    }
}

/// Whether `bytes` begin with `whole`. `None`: they are too short to know.
fn begins(bytes: &[u8], whole: &[u8]) -> Option<bool> {
    let common = bytes.len().min(whole.len());
    if bytes[..common] != whole[..common] {
        return Some(false);
    }
    (common == whole.len()).then_some(true)
}

fn version_1(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    match begins(bytes, b"PROXY ") {
        Some(true) => {}
        Some(false) => return Err(Malformed::NoHeader),
        None => return Ok(None),
    }
    let within = &bytes[..bytes.len().min(V1_MAX)];
    let Some(end) = memchr::memchr2(b'\r', b'\n', within) else {
        return if within.len() < V1_MAX {
            Ok(None)
        } else {
            Err(Malformed::Line)
        };
    };
    match begins(&within[end..], b"\r\n") {
        Some(true) => {}
        None if end + 1 < V1_MAX => return Ok(None),
        _ => return Err(Malformed::Line),
    }
    let origin = line(&within[b"PROXY ".len()..end])?;
    let length = end + 2;
    Ok(Some(Header { length, origin }))
}

/// Parses the text between `PROXY ` and CRLF.
fn line(line: &[u8]) -> Result<Origin, Malformed> {
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Protocol)?;
    let mut words = line.split(' ');
    let parse = match words.next() {
        // The rest must be ignored (section 2.1).
        Some("UNKNOWN") => return Ok(Origin::Proxy),
        Some("TCP4") => |word: &str| word.parse().ok().map(IpAddr::V4),
        Some("TCP6") => |word: &str| word.parse().ok().map(IpAddr::V6),
        _ => return Err(Malformed::Protocol),
    };
    let mut address = || words.next().and_then(parse).ok_or(Malformed::Address);
    let (source, _destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port).ok_or(Malformed::Address);
    let (source_port, _destination_port) = (port()?, port()?);
    if words.next().is_some() {
        return Err(Malformed::Address);
    }
    Ok(client(source, source_port, false))
}

/// Parses a decimal port without sign and leading zeros.
fn port(word: &str) -> Option<u16> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (word.len() == 1 || !word.starts_with('0'));
    word.parse().ok().filter(|_| plain)
}

/// Makes a client's origin. An IPv4-mapped IPv6 address becomes its IPv4 address. Otherwise the
/// same client would have two addresses in limits and in the log.
fn client(address: IpAddr, port: u16, tls: bool) -> Origin {
    let source = SocketAddr::new(address.to_canonical(), port);
    Origin::Client { source, tls }
}

fn version_2(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    match begins(bytes, SIGNATURE) {
        Some(true) => {}
        Some(false) => return Err(Malformed::NoHeader),
        None => return Ok(None),
    }
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else {
        return Ok(None);
    };
    let (command, family) = (fixed[12], fixed[13]);
    if !matches!(command, 0x20 | 0x21) {
        return Err(Malformed::Command);
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED + length > V2_MAX {
        return Err(Malformed::TooLong);
    }
    let Some(rest) = rest.get(..length) else {
        return Ok(None);
    };
    let origin = if command == 0x20 {
        // With LOCAL the addresses must be ignored (section 2.2).
        Origin::Proxy
    } else {
        addresses(family, rest)?
    };
    let length = FIXED + length;
    Ok(Some(Header { length, origin }))
}

/// Parses the addresses of version 2 and the vectors after them.
fn addresses(family: u8, rest: &[u8]) -> Result<Origin, Malformed> {
    match family {
        0x11 => {
            let (block, vectors) = rest.split_at_checked(12).ok_or(Malformed::Parts)?;
            let address = Ipv4Addr::new(block[0], block[1], block[2], block[3]);
            let port = u16::from_be_bytes([block[8], block[9]]);
            Ok(client(address.into(), port, over_tls(vectors)?))
        }
        0x21 => {
            let (block, vectors) = rest.split_at_checked(36).ok_or(Malformed::Parts)?;
            let mut octets = [0; 16];
            octets.copy_from_slice(&block[..16]);
            let port = u16::from_be_bytes([block[32], block[33]]);
            Ok(client(
                Ipv6Addr::from(octets).into(),
                port,
                over_tls(vectors)?,
            ))
        }
        // UNSPEC: the proxy does not know the client. UNIX: a client on the proxy's own host.
        0x00 | 0x01 | 0x10 | 0x20 | 0x30 | 0x31 => Ok(Origin::Proxy),
        // Datagrams: a POP3 client cannot use them.
        _ => Err(Malformed::Family),
    }
}

/// Whether a vector (section 2.2: type, length, value) says that the client came over TLS.
fn over_tls(mut vectors: &[u8]) -> Result<bool, Malformed> {
    const SSL: u8 = 0x20;
    const CLIENT_SSL: u8 = 0x01;
    let mut tls = false;
    while let Some((kind, rest)) = vectors.split_first() {
        let (length, rest) = rest.split_at_checked(2).ok_or(Malformed::Parts)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed::Parts)?;
        if *kind == SSL {
            // The value has one byte of flags and 32 bits about the client's certificate. The TLS
            // version, which may follow, is not used.
            tls |= value.len() >= 5 && value[0] & CLIENT_SSL != 0;
        }
        vectors = rest;
    }
    Ok(tls)
}

#[cfg(test)]
mod tests;
