//! Tests of headers as proxies send them, cut at every byte, and of bytes that are not a header.

use super::*;

fn from(source: &str, tls: bool) -> Origin {
    let source = source.parse().unwrap();
    Origin::Client { source, tls }
}

/// A header of version 2 with `rest` after its fixed part.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
}

const V4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 0, 110];

fn v6() -> Vec<u8> {
    let client: Ipv6Addr = "2001:db8::7".parse().unwrap();
    let server: Ipv6Addr = "2001:db8::1".parse().unwrap();
    [
        &client.octets()[..],
        &server.octets(),
        &[0x12, 0x34, 0, 110],
    ]
    .concat()
}

/// The vector that haproxy 2.6 adds with `send-proxy-v2-ssl-cn`. The TLS version is a vector inside
/// it.
fn ssl(flags: u8) -> Vec<u8> {
    [
        &[0x20, 0, 15, flags, 0, 0, 0, 1, 0x21, 0, 7][..],
        b"TLSv1.3",
    ]
    .concat()
}

/// Checks that the complete header gives this origin, whatever follows it, and that it is
/// incomplete at every earlier cut.
fn complete(header: &[u8], origin: Origin) {
    for cut in 0..header.len() {
        assert_eq!(parse(&header[..cut]), Ok(None), "{cut} of {header:?}");
    }
    let length = header.len();
    for rest in [&b""[..], b"\x16\x03\x01", b"PROXY UNKNOWN\r\n"] {
        let bytes = [header, rest].concat();
        assert_eq!(parse(&bytes), Ok(Some(Header { length, origin })));
    }
}

#[test]
fn version_1_is_read_in_every_cut() {
    let source = from("192.0.2.7:56324", false);
    complete(b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 110\r\n", source);
    complete(
        b"PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n",
        from("[2001:db8::7]:0", false),
    );
    // An IPv4 client in the form of an IPv6 address.
    complete(
        b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 56324 110\r\n",
        source,
    );
    complete(b"PROXY UNKNOWN\r\n", Origin::Proxy);
    let most = format!(
        "PROXY UNKNOWN {} {} 65535 65535\r\n",
        "f".repeat(39),
        "f".repeat(39)
    );
    assert_eq!(most.len(), V1_MAX);
    complete(most.as_bytes(), Origin::Proxy);
}

#[test]
fn version_2_is_read_in_every_cut() {
    complete(&v2(0x21, 0x11, V4), from("192.0.2.7:4660", false));
    complete(&v2(0x21, 0x21, &v6()), from("[2001:db8::7]:4660", false));
    complete(&v2(0x20, 0x00, b""), Origin::Proxy);
    // With LOCAL the addresses are ignored, and an unknown family too.
    complete(&v2(0x20, 0x11, V4), Origin::Proxy);
    complete(&v2(0x20, 0xff, b"anything"), Origin::Proxy);
    complete(&v2(0x21, 0x00, b"anything"), Origin::Proxy);
    complete(&v2(0x21, 0x31, &[b'/'; 216]), Origin::Proxy);
}

#[test]
fn a_proxy_that_names_itself_is_the_origin() {
    let (proxy, client) = (from("192.0.2.1:9", false), from("192.0.2.7:9", true));
    let address = "192.0.2.1".parse().unwrap();
    assert_eq!(proxy.said_by(address), Origin::Proxy);
    assert_eq!(client.said_by(address), client);
    assert_eq!(Origin::Proxy.said_by(address), Origin::Proxy);
}

#[test]
fn added_vectors_are_ignored_except_for_tls() {
    let with = |vectors: &[u8]| v2(0x21, 0x11, &[V4, vectors].concat());
    let noop = [4, 0, 2, 0, 0];
    complete(&with(&ssl(1)), from("192.0.2.7:4660", true));
    complete(&with(&ssl(6)), from("192.0.2.7:4660", false));
    complete(
        &with(&[&noop[..], &ssl(7), &noop].concat()),
        from("192.0.2.7:4660", true),
    );
    complete(&with(&noop), from("192.0.2.7:4660", false));
    let certificate = [&[0x28, 0x0f, 0x00][..], &[7; 0x0f00]].concat();
    complete(&with(&certificate), from("192.0.2.7:4660", false));
    // A TLS vector that is too short means nothing.
    complete(&with(&[0x20, 0, 1, 1]), from("192.0.2.7:4660", false));
}

#[test]
fn p8_other_bytes_than_a_header_are_refused_early_and_within_the_bound() {
    for (bytes, why) in [
        (&b"USER alice\r\n"[..], Malformed::NoHeader),
        (b"PR0", Malformed::NoHeader),
        (b"\r\n\r\nX", Malformed::NoHeader),
        (b"\x16\x03\x01", Malformed::NoHeader),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n", Malformed::Line),
        (b"PROXY UNKNOWN\rX", Malformed::Line),
        (
            b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n",
            Malformed::Protocol,
        ),
        (b"PROXY \r\n", Malformed::Protocol),
        (
            b"PROXY  TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
            Malformed::Protocol,
        ),
        (
            b"PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n",
            Malformed::Address,
        ),
        (
            b"PROXY TCP4 192.0.2.007 192.0.2.1 1 2\r\n",
            Malformed::Address,
        ),
        (
            b"PROXY TCP6 192.0.2.7 2001:db8::1 1 2\r\n",
            Malformed::Address,
        ),
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
            Malformed::Address,
        ),
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n",
            Malformed::Address,
        ),
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n",
            Malformed::Address,
        ),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n", Malformed::Address),
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n",
            Malformed::Address,
        ),
        (
            b"PROXY TCP4 192.0.2.7  192.0.2.1 1 2\r\n",
            Malformed::Address,
        ),
        (&v2(0x11, 0x11, V4), Malformed::Command),
        (&v2(0x22, 0x11, V4), Malformed::Command),
        (&v2(0x21, 0x12, V4), Malformed::Family),
        (&v2(0x21, 0x41, V4), Malformed::Family),
        (&v2(0x21, 0x11, &V4[..11]), Malformed::Parts),
        (&v2(0x21, 0x21, V4), Malformed::Parts),
        (&v2(0x21, 0x11, &[V4, &[4, 0]].concat()), Malformed::Parts),
        (
            &v2(0x21, 0x11, &[V4, &[4, 0, 9, 1]].concat()),
            Malformed::Parts,
        ),
        (
            &v2(0x21, 0x11, &vec![0; V2_MAX])[..FIXED],
            Malformed::TooLong,
        ),
    ] {
        assert_eq!(parse(bytes), Err(why), "{:?}", bytes.escape_ascii());
    }
    let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
    for length in 0..endless.len() {
        let expected = if length < V1_MAX {
            Ok(None)
        } else {
            Err(Malformed::Line)
        };
        assert_eq!(parse(&endless[..length]), expected, "{length}");
    }
}
