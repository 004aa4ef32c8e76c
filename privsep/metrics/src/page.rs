//! Answers HTTP requests for the counts and the sessions, one connection after the other.
//!
//! A client has [`TIME`] for its request, and as much for each part of the answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// How long a client may take.
const TIME: Duration = Duration::from_secs(2);

/// Most octets of a request, and most header fields.
const REQUEST_MAX: usize = 8192;
const FIELDS_MAX: usize = 64;

/// How long to wait after a connection could not be accepted: there are no descriptors, for example.
const PAUSE: Duration = Duration::from_millis(100);

/// What a client can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// The counts, at `/metrics`.
    Counts,
    /// The open sessions, at `/sessions`. They name users and their addresses.
    Sessions,
}

/// Where clients connect to.
#[derive(Debug)]
pub(crate) enum Listener {
    /// Over TCP.
    Tcp(TcpListener),
    /// Over a local socket.
    Unix(UnixListener),
    /// Over a local socket for root, which has the sessions as well.
    Root(UnixListener),
}

impl Listener {
    /// Answers one client after the other with what `page` makes. `None` is a page that cannot be
    /// made.
    pub(crate) fn serve(&self, page: &impl Fn(Page) -> Option<String>) {
        let pages = match self {
            Self::Root(_) => &[Page::Counts, Page::Sessions][..],
            _ => &[Page::Counts],
        };
        loop {
            let accepted = match self {
                Self::Tcp(listener) => listener
                    .accept()
                    .map(|(client, _)| attend(client, pages, page)),
                Self::Unix(listener) | Self::Root(listener) => listener
                    .accept()
                    .map(|(client, _)| attend(client, pages, page)),
            };
            if accepted.is_err() {
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// A stream whose calls can be limited in time.
trait Stream: Read + Write {
    fn limit(&self, reading: Duration, writing: Duration) -> std::io::Result<()>;
}

impl Stream for TcpStream {
    fn limit(&self, reading: Duration, writing: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(reading))?;
        self.set_write_timeout(Some(writing))
    }
}

impl Stream for UnixStream {
    fn limit(&self, reading: Duration, writing: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(reading))?;
        self.set_write_timeout(Some(writing))
    }
}

/// Answers one request. An error ends the connection. Only the client sees it.
fn attend(mut client: impl Stream, pages: &[Page], page: &impl Fn(Page) -> Option<String>) {
    let _ = request(&mut client)
        .map(|request| answer(&request, pages, page))
        .and_then(|answer| client.write_all(answer.as_bytes()));
}

/// Reads up to the empty line behind the header. A body is not read.
fn request(client: &mut impl Stream) -> std::io::Result<Vec<u8>> {
    let until = Instant::now() + TIME;
    let (mut request, mut part) = (Vec::new(), [0; 1024]);
    while request.len() < REQUEST_MAX && !is_whole(&request) {
        let left = until.saturating_duration_since(Instant::now());
        // A limit of 0 would be none.
        client.limit(left.max(Duration::from_millis(1)), TIME)?;
        match client.read(&mut part) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => request.extend(part.iter().take(count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(request)
}

fn is_whole(request: &[u8]) -> bool {
    request.windows(4).any(|end| end == b"\r\n\r\n")
}

/// The answer to a request (RFC 9110).
fn answer(request: &[u8], pages: &[Page], page: &impl Fn(Page) -> Option<String>) -> String {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    let whole = parsed
        .parse(request)
        .is_ok_and(|status| status.is_complete());
    let path = parsed.path.and_then(|path| path.split('?').next());
    let wanted = match path {
        Some("/metrics") => Some((Page::Counts, OPEN_METRICS)),
        Some("/sessions") => Some((Page::Sessions, JSON)),
        _ => None,
    };
    let wanted = wanted.filter(|(wanted, _)| pages.contains(wanted));
    match (whole, parsed.method, wanted) {
        (false, ..) => text("400 Bad Request", "not a request\n", TEXT),
        (_, Some("GET"), Some((wanted, kind))) => match page(wanted) {
            Some(page) => text("200 OK", &page, kind),
            None => text("500 Internal Server Error", "it cannot be made\n", TEXT),
        },
        (_, Some("GET"), _) => text("404 Not Found", "the counts are at /metrics\n", TEXT),
        _ => text(
            "405 Method Not Allowed",
            "GET only\n",
            "text/plain\r\nAllow: GET",
        ),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// The text form of `OpenMetrics` 1.0.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn text(status: &str, body: &str, kind: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &[u8]) -> String {
        let answer = answer(request, &[Page::Counts], &|_| Some("counts\n".to_owned()));
        answer.split("\r\n").next().unwrap().to_owned()
    }

    #[test]
    fn only_a_get_of_the_counts_gets_them() {
        let request = b"GET /metrics?a=b HTTP/1.1\r\nHost: x\r\n\r\n";
        let answer = answer(request, &[Page::Counts], &|_| Some("counts\n".to_owned()));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\nContent-Length: 7\r\nConnection: close\r\n\r\ncounts\n"));
        for other in ["/", "/sessions"] {
            let request = format!("GET {other} HTTP/1.1\r\n\r\n");
            assert_eq!(status(request.as_bytes()), "HTTP/1.1 404 Not Found");
        }
        assert_eq!(
            status(b"POST /metrics HTTP/1.1\r\n\r\n"),
            "HTTP/1.1 405 Method Not Allowed"
        );
        for bad in [&b"GET /metrics HTTP/1.1\r\n"[..], b"\0\r\n\r\n", b""] {
            assert_eq!(status(bad), "HTTP/1.1 400 Bad Request");
        }
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
        assert_eq!(status(many.as_bytes()), "HTTP/1.1 400 Bad Request");
    }

    #[test]
    fn sessions_are_shown_where_only_root_can_ask() {
        let pages = [Page::Counts, Page::Sessions];
        let made = |page| Some(format!("{page:?}"));
        let answer = answer(b"GET /sessions HTTP/1.1\r\n\r\n", &pages, &made);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nSessions"), "{answer}");
    }

    #[test]
    fn a_client_that_sends_nothing_or_too_much_is_not_waited_for() {
        let (mut own, client) = UnixStream::pair().unwrap();
        own.write_all(&[b'a'; REQUEST_MAX]).unwrap();
        attend(client, &[], &|_| None);
        let mut said = String::new();
        own.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
        let (_own, client) = UnixStream::pair().unwrap();
        let began = Instant::now();
        attend(client, &[], &|_| None);
        assert!(began.elapsed() >= TIME);
    }
}
