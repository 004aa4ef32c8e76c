//! Parses XCLIENT, which Dovecot's proxies send before they log in for a client: `XCLIENT ADDR=ip
//! PORT=n SESSION=id TTL=n FORWARD=base64`. Later versions may add arguments. No I/O, no state.

use popward_proto::bounded::Text;
use std::net::{IpAddr, SocketAddr};

/// Longest `SESSION`, in bytes. Dovecot's values have 16 to 24.
pub const SESSION_MAX: usize = 64;

/// What a proxy says about its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// The client's address.
    pub source: SocketAddr,
    /// The proxy's name for the session, for the log: printable ASCII without spaces.
    pub session: Option<Text<SESSION_MAX>>,
}

/// Parses the arguments. `None`: they are not valid. Each may come once. `ADDR` and `PORT` are
/// required. Arguments other than the five above are ignored.
pub fn parse(arguments: &[u8]) -> Option<Forwarded> {
    let text = std::str::from_utf8(arguments).ok()?;
    let [mut address, mut port, mut session, mut ttl, mut forward] = [None; 5];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let (key, value) = word.split_once('=')?;
        let place = match key.to_ascii_uppercase().as_str() {
            "ADDR" => &mut address,
            "PORT" => &mut port,
            "SESSION" => &mut session,
            "TTL" => &mut ttl,
            "FORWARD" => &mut forward,
            _ => continue,
        };
        if value.is_empty() || place.replace(value).is_some() {
            return None;
        }
    }
    // `TTL` is the number of proxies that may still follow. 0 means that proxies forward in a
    // circle.
    if ttl.is_some_and(|ttl| number(ttl).is_none_or(|ttl| ttl == 0)) {
        return None;
    }
    // `FORWARD` is data between proxies. A server does not use it, but it must be base64.
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    if !forward.unwrap_or_default().bytes().all(base64) {
        return None;
    }
    let address: IpAddr = address?.parse().ok()?;
    let session = match session {
        Some(id) if !id.bytes().all(|byte| byte.is_ascii_graphic()) => return None,
        Some(id) => Some(Text::try_from(id.to_owned()).ok()?),
        None => None,
    };
    Some(Forwarded {
        source: SocketAddr::new(address.to_canonical(), number(port?)?),
        session,
    })
}

/// Parses a number of decimal digits only.
fn number(digits: &str) -> Option<u16> {
    let decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| decimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dovecots_arguments_are_parsed() {
        let line = b"ADDR=192.0.2.7 PORT=4660 SESSION=6fL2EPUKYu5/AAAB TTL=5 FORWARD=eD0xCXk9Mg==";
        let said = parse(line).unwrap();
        assert_eq!(said.source, "192.0.2.7:4660".parse().unwrap());
        assert_eq!(said.session.unwrap().as_str(), "6fL2EPUKYu5/AAAB");
        let said = parse(b"addr=2001:db8::7  port=0 ").unwrap();
        assert_eq!(said.source, "[2001:db8::7]:0".parse().unwrap());
        // Arguments of later versions or of other proxies. Only the address and the port have an
        // effect.
        let said = parse(b"ADDR=192.0.2.7 PORT=1 DESTADDR=192.0.2.1 DESTNAME= LOGIN=root").unwrap();
        assert_eq!(said.source, "192.0.2.7:1".parse().unwrap());
        let mapped = parse(b"ADDR=::ffff:192.0.2.7 PORT=1").unwrap();
        assert_eq!(mapped.source, "192.0.2.7:1".parse().unwrap());
    }

    #[test]
    fn invalid_arguments_are_refused() {
        let long = format!(
            "ADDR=192.0.2.7 PORT=1 SESSION={}",
            "s".repeat(SESSION_MAX + 1)
        );
        for line in [
            "",
            "ADDR=192.0.2.7",
            "PORT=1",
            "ADDR=192.0.2.7 PORT=65536",
            "ADDR=192.0.2.7 PORT=+1",
            "ADDR=client.example.org PORT=1",
            "ADDR=192.0.2.7 PORT=1 PORT=2",
            "ADDR=192.0.2.7 PORT=1 TTL=0",
            "ADDR=192.0.2.7 PORT=1 TTL=x",
            "ADDR=192.0.2.7 PORT=1 SESSION=",
            "ADDR=192.0.2.7 PORT=1 SESSION=a\tb",
            "ADDR=192.0.2.7 PORT=1 FORWARD=a-b",
            "ADDR=192.0.2.7 PORT=1 TTL",
            &long,
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line:?}");
        }
    }
}
