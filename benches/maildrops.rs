//! What a client waits for at a large maildrop: opening it, retrieving all of it, deleting from it.
//! And logins of many clients at once. One gigabyte of mail, from the page cache, over loopback.
//!
//!     ./build && POPWARD_EXECUTABLES=$PWD/target/release cargo bench --bench maildrops
//!
//! Run it alone: figures differ by half on a machine that does other work.

#![allow(
    clippy::unwrap_used,
    clippy::pedantic,
    reason = "a bench may fail, and rounds"
)]

#[path = "../tests/host/mod.rs"]
mod host;
mod measure;

use host::{Host, assert_ok, spool, user};
use measure::{median, processor, say, tls};
use memchr::memmem::Finder;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How many messages the large maildrop has, and the middle one, a tenth of it.
const LARGE: usize = 27_754;
const MIDDLE: usize = LARGE / 10;
/// How often a short measurement is repeated.
const ROUNDS: usize = 7;
/// How many clients log in at once, how often each does, and as how many users.
const CLIENTS: usize = 16;
const LOGINS: usize = 125;
const USERS: usize = 200;

fn main() {
    // `cargo test --benches` runs this as well. It then measures nothing.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if !host::root() {
        return host::skipped("sessions of many users are root's to measure");
    }
    let mut users = vec![
        user("large", 69_000, &mail(LARGE)),
        user("middle", 69_001, &mail(MIDDLE)),
    ];
    for (uid, number) in (70_000..).zip(0..USERS) {
        let name = Box::leak(format!("user{number}").into_boxed_str());
        users.push(user(name, uid, &spool(10)));
    }
    let many = "[limits]\nconnections_per_address = 10000\n[spool]";
    let changes = [
        ("first_uid = 1\n", "first_uid = 1\nlast_uid = 90000\n"),
        ("[spool]", many),
    ];
    let host = Host::with(&users, "", &changes);
    opens(&host);
    retrievals(&host);
    logins(&host);
    deletions(&host);
}

/// So many messages of 10 to 50 KB, and every 800th of 5 MB. Lines have about 70 bytes.
fn mail(count: usize) -> Vec<u8> {
    let mut spool = String::new();
    for number in 0..count {
        let length = if number % 800 == 799 {
            5_000_000
        } else {
            10_000 + number * 7919 % 40_000
        };
        let end = spool.len() + length;
        let date = format!(
            "Mon Nov 23 10:{:02}:{:02} 2026",
            number / 60 % 60,
            number % 60
        );
        let _ = writeln!(spool, "From sender{number}@example.org {date}");
        for hop in 0..5 {
            let _ = writeln!(
                spool,
                "Received: from relay{hop}.example.org (relay{hop}.example.org [192.0.2.{hop}])\n\tby mx.example.net with ESMTPS id {number:08x}{hop};\n\t{date}"
            );
        }
        let _ = writeln!(
            spool,
            "Message-ID: <{number}@example.org>\nSubject: message {number}\n"
        );
        while spool.len() < end {
            let _ = writeln!(spool, "{:x>70}", spool.len());
        }
        spool.push('\n');
    }
    spool.into_bytes()
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A client that reads as fast as it can.
struct Fast {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    /// The part of the buffer that was read from the socket and not yet taken.
    here: std::ops::Range<usize>,
}

impl Fast {
    fn login(host: &Host, name: &str, secure: bool) -> Self {
        let stream: Box<dyn Stream> = if secure {
            Box::new(tls(host))
        } else {
            let socket = TcpStream::connect(("127.0.0.1", host.plain)).unwrap();
            socket.set_nodelay(true).unwrap();
            Box::new(socket)
        };
        let mut client = Self::over(stream);
        client.take(b"\r\n");
        client.ask(&format!("USER {name}"));
        client.ask(&format!("PASS {name}"));
        client
    }

    fn over(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            buffer: vec![0; 256 << 10],
            here: 0..0,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// Takes all bytes up to the end of `end`. Returns how many these were.
    fn take(&mut self, end: &[u8]) -> usize {
        let finder = Finder::new(end);
        let mut taken = 0;
        loop {
            let here = &self.buffer[self.here.clone()];
            if let Some(at) = finder.find(here) {
                self.here.start += at + end.len();
                return taken + at + end.len();
            }
            // The buffer may hold only the beginning of `end`.
            let kept = here.len().min(end.len() - 1);
            taken += here.len() - kept;
            self.buffer
                .copy_within(self.here.end - kept..self.here.end, 0);
            let count = self.stream.read(&mut self.buffer[kept..]).unwrap();
            assert!(count > 0, "the server ended the connection");
            self.here = 0..kept + count;
        }
    }

    /// Sends a command and takes the line of its reply.
    fn ask(&mut self, command: &str) {
        self.send(format!("{command}\r\n").as_bytes());
        self.hear();
    }

    fn hear(&mut self) {
        while self.here.is_empty() {
            let count = self.stream.read(&mut self.buffer).unwrap();
            self.here = 0..count;
        }
        assert_eq!(self.buffer[self.here.start], b'+');
        self.take(b"\r\n");
    }

    fn quit(mut self) -> Duration {
        let start = Instant::now();
        self.ask("QUIT");
        start.elapsed()
    }
}

/// Waits until the file system's clock has moved on. The spool's stamp then proves something to the
/// next session.
fn rest() {
    std::thread::sleep(Duration::from_millis(50));
}

/// USER, PASS, STAT, UIDL, QUIT.
fn open(host: &Host) -> Duration {
    let start = Instant::now();
    let mut client = Fast::login(host, "large", false);
    client.ask("STAT");
    client.ask("UIDL");
    client.take(b"\r\n.\r\n");
    client.quit();
    start.elapsed()
}

fn opens(host: &Host) {
    rest();
    open(host);
    let rounds = |mut before: Box<dyn FnMut(usize) + '_>| {
        let times = (0..ROUNDS).map(|round| {
            before(round);
            open(host)
        });
        median(times.collect())
    };
    say("1 GB: USER, PASS, STAT, UIDL, QUIT (medians)");
    say(&format!(
        "  nothing changed        {:8.1} ms",
        rounds(Box::new(|_| {}))
    ));
    let appended = rounds(Box::new(|round| {
        let path = host.spool("large");
        let mut spool = std::fs::File::options().append(true).open(path).unwrap();
        for number in 0..10 {
            let text = host::message(u32::try_from(round * 10 + number).unwrap(), "new");
            spool.write_all(text.as_bytes()).unwrap();
        }
        rest();
    }));
    say(&format!("  10 messages arrived    {appended:8.1} ms"));
    let index = host.at("state/large/index");
    let unknown = rounds(Box::new(|_| std::fs::remove_file(&index).unwrap()));
    say(&format!("  no index               {unknown:8.1} ms"));
}

/// What any server could reach here, one command after the other. This one has every answer ready,
/// as long as an average message, and only writes it.
fn floor() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let line = [b'x'; 70];
    let body = line.iter().chain(b"\r\n").copied().cycle().take(36_000);
    let answer: Vec<u8> = [&b"+OK\r\n"[..], &body.collect::<Vec<u8>>(), b"\r\n.\r\n"].concat();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut command = [0; 64];
        while stream.read(&mut command).unwrap() > 0 {
            stream.write_all(&answer).unwrap();
        }
    });
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut client = Fast::over(Box::new(socket));
    let (start, mut octets) = (Instant::now(), 0);
    for number in 1..=LARGE {
        client.send(format!("RETR {number}\r\n").as_bytes());
        client.hear();
        octets += client.take(b"\r\n.\r\n");
    }
    let rate = octets as f64 / 1e6 / start.elapsed().as_secs_f64();
    say(&format!("  a server that only writes: {rate:5.0} MB/s"));
    drop(client);
    server.join().unwrap();
}

fn retrievals(host: &Host) {
    say("1 GB: RETR of everything, one client");
    for _ in 0..3 {
        floor();
    }
    for secure in [false, true] {
        for at_once in [1, 32] {
            for _ in 0..3 {
                retrieve(host, secure, at_once);
            }
        }
    }
}

/// RETR of every message. `at_once` commands are sent before the first one is answered.
fn retrieve(host: &Host, secure: bool, at_once: usize) {
    let mut client = Fast::login(host, "large", secure);
    let before = processor(host);
    let (start, mut octets) = (Instant::now(), 0);
    for first in (1..=LARGE).step_by(at_once) {
        let numbers = first..(first + at_once).min(LARGE + 1);
        let commands: String = numbers.clone().map(|n| format!("RETR {n}\r\n")).collect();
        client.send(commands.as_bytes());
        for _ in numbers {
            client.hear();
            octets += client.take(b"\r\n.\r\n");
        }
    }
    let took = start.elapsed().as_secs_f64();
    client.quit();
    // The worker's processor time counts only once the worker has been reaped.
    let spent: f64 = processor(host)
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .sum();
    let gigabytes = octets as f64 / 1e9;
    say(&format!(
        "  {:5} {at_once:2} at once: {:5.0} MB/s, {:.2} s of processor time a GB",
        if secure { "TLS" } else { "plain" },
        gigabytes * 1e3 / took,
        spent / 1e3 / gigabytes,
    ));
}

fn logins(host: &Host) {
    let login = |number: usize| Fast::login(host, &format!("user{}", number % USERS), false);
    // A user's first login makes the state directory. That happens only once.
    for number in 0..USERS {
        login(number).quit();
    }
    let before = processor(host);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                for round in 0..LOGINS {
                    // No two clients are the same user at the same time.
                    let mut client = login(client + CLIENTS * (round % (USERS / CLIENTS)));
                    client.ask("STAT");
                    client.quit();
                }
            });
        }
    });
    let (took, all) = (start.elapsed().as_secs_f64(), (CLIENTS * LOGINS) as f64);
    let spent: f64 = processor(host)
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .sum();
    say(&format!(
        "{CLIENTS} clients at once: {:.0} logins a second, {:.2} ms of processor time each",
        all / took,
        spent / all
    ));
}

/// How long QUIT takes after these messages of a user's were deleted.
fn quit(host: &Host, name: &str, numbers: impl Iterator<Item = usize>) -> Duration {
    rest();
    let mut client = Fast::login(host, name, false);
    for number in numbers {
        client.ask(&format!("DELE {number}"));
    }
    // Writes everything out first, so that QUIT does not wait for earlier writes.
    nix::unistd::sync();
    client.quit()
}

fn deletions(host: &Host) {
    let count = |name: &str| {
        let mut client = host.login(name);
        let reply = client.ask("STAT");
        assert_ok(&client.ask("QUIT"));
        reply.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
    };
    say("QUIT (medians)");
    let middle = host.bytes("middle");
    let put_back = || {
        let spool = std::fs::File::options()
            .write(true)
            .open(host.spool("middle"));
        spool.unwrap().write_all(&middle).unwrap();
        nix::unistd::sync();
        rest();
        // This session leaves an index.
        host.login("middle").ask("QUIT");
    };
    let even = (0..3).map(|_| {
        put_back();
        quit(host, "middle", (2..=MIDDLE).step_by(2))
    });
    let even = median(even.collect());
    say(&format!("  every second of 100 MB {even:8.1} ms"));
    let all = (0..3).map(|_| {
        put_back();
        quit(host, "middle", 1..=MIDDLE)
    });
    let all = median(all.collect());
    say(&format!("  all of 100 MB          {all:8.1} ms"));
    let last = (0..ROUNDS).map(|_| {
        let last = count("large");
        quit(host, "large", last..=last)
    });
    let last = median(last.collect());
    say(&format!("  the last of 1 GB       {last:8.1} ms"));
    let first = (0..3).map(|_| quit(host, "large", 1..=1));
    let first = median(first.collect());
    say(&format!("  the first of 1 GB      {first:8.1} ms"));
}
