//! The PROXY protocol's header (haproxy's `proxy-protocol.txt`, sections 2.1 and 2.2): bytes in, whose connection it is
//! out. No I/O, no state and no memory: it is given all that has come so far, each time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, with its CRLF (section 2.1).
pub const V1_MAX: usize = 107;

/// Longest header of version 2 that is taken, in bytes: what stands before the addresses, the addresses, and what a proxy
/// adds. The protocol's own bound is 65,551; the largest that proxies send is a client's certificate, of 1 to 2 KiB.
pub const V2_MAX: usize = 4096;

/// Longest header that is taken, in bytes.
pub const MAX: usize = V2_MAX;

/// With what version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What stands before the addresses of version 2.
const FIXED: usize = 16;

/// Whose connection it is, as the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The proxy's own, as its checks are (LOCAL), or one of which it does not know whose (UNKNOWN, UNSPEC, UNIX).
    Proxy,
    /// A client's.
    Client {
        /// Its address.
        source: SocketAddr,
        /// Whether it came to the proxy over TLS, as the proxy says (`PP2_CLIENT_SSL`, section 2.2.6).
        tls: bool,
    },
}

impl Origin {
    /// The same, as said by the proxy of this address: one that names itself speaks for itself. The checks of haproxy 2.6
    /// with `send-proxy` do (section 2.1 asks for it).
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
    /// How many bytes it has: what follows is the client's.
    pub length: usize,
    /// Whose connection it is.
    pub origin: Origin,
}

/// Why this is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It begins as neither version does.
    NoHeader,
    /// Version 1's line is longer than it may be, or does not end with CRLF.
    Line,
    /// Neither TCP4 nor TCP6 nor UNKNOWN.
    Protocol,
    /// An address or a port is none, or not of the family that was announced.
    Address,
    /// Another version than 2, or another command than LOCAL and PROXY.
    Command,
    /// An address family or a transport that does not exist, or datagrams.
    Family,
    /// Version 2 announces more than is taken.
    TooLong,
    /// Version 2's parts do not fit into the length that it announces.
    Parts,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::NoHeader => "it does not begin with a PROXY header",
            Self::Line => "the line of the PROXY header does not end where it should",
            Self::Protocol => "the PROXY header is neither for TCP4 nor TCP6 nor UNKNOWN",
            Self::Address => "an address of the PROXY header is none",
            Self::Command => "the PROXY header's version or command is unknown",
            Self::Family => "the PROXY header's family or transport is unknown",
            Self::TooLong => "the PROXY header is too long",
            Self::Parts => "the PROXY header's parts do not fit into it",
        })
    }
}

/// Reads the header with which `bytes` begin; `None`: it is not complete. Bytes that cannot become one are refused as soon
/// as that is seen.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => version_1(bytes),
        Some(_) => version_2(bytes),
    }
}

/// Whether `bytes` begin with `whole`; `None`: they may yet.
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

/// What stands between `PROXY ` and CRLF.
fn line(line: &[u8]) -> Result<Origin, Malformed> {
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Protocol)?;
    let mut words = line.split(' ');
    let parse = match words.next() {
        // What may follow is to be ignored.
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

/// Decimal, without a sign and without leading zeros.
fn port(word: &str) -> Option<u16> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (word.len() == 1 || !word.starts_with('0'));
    word.parse().ok().filter(|_| plain)
}

/// An IPv4 address that is written as an IPv6 one is an IPv4 address to everybody from here on.
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
        // LOCAL: whatever else there is, is to be passed over.
        Origin::Proxy
    } else {
        addresses(family, rest)?
    };
    let length = FIXED + length;
    Ok(Some(Header { length, origin }))
}

/// The addresses of version 2, and what follows them.
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
        // Nobody knows (UNSPEC), or a client of the proxy's own host (UNIX).
        0x00 | 0x01 | 0x10 | 0x20 | 0x30 | 0x31 => Ok(Origin::Proxy),
        // What came in datagrams does not come here.
        _ => Err(Malformed::Family),
    }
}

/// Whether one of the vectors (section 2.2: type, length, value) says that the client came over TLS.
fn over_tls(mut vectors: &[u8]) -> Result<bool, Malformed> {
    const SSL: u8 = 0x20;
    const CLIENT_SSL: u8 = 0x01;
    let mut tls = false;
    while let Some((kind, rest)) = vectors.split_first() {
        let (length, rest) = rest.split_at_checked(2).ok_or(Malformed::Parts)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed::Parts)?;
        if *kind == SSL {
            // A byte of flags and 32 bits on the client's certificate; which TLS, is not our business.
            tls |= value.len() >= 5 && value[0] & CLIENT_SSL != 0;
        }
        vectors = rest;
    }
    Ok(tls)
}

#[cfg(test)]
mod tests;
