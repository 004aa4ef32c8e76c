//! Hostile clients (promise P8): slow at every point, many, greedy, or dead. They keep nobody else
//! from anything.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;
mod network;

use host::{Client, Host, PATIENCE, assert_ok, large_spool, message, resident, spool, until, user};
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn host(limits: &str) -> Host {
    let users = [
        user("alice", 64401, &spool(3)),
        user("bob", 64402, &large_spool()),
        user("carol", 64403, &spool(1)),
    ];
    Host::with(&users, &format!("[limits]\n{limits}\n"), &[])
}

const FULL: &str = "-ERR [SYS/TEMP] Too many connections, try again later";

/// Sends an octet ten times a second until the server ends the connection. Returns how long that
/// took.
fn drip(stream: &TcpStream, octets: &[u8]) -> Duration {
    let start = Instant::now();
    let mut stream = stream;
    for octet in octets.iter().cycle() {
        let sent = stream.write_all(&[*octet]);
        if sent.is_err() || start.elapsed() > PATIENCE {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    start.elapsed()
}

#[test]
fn p8_an_octet_now_and_then_does_not_extend_the_login_limit() {
    let host = host("login = \"1s\"");
    let plain = Client::new(host.plain);
    assert!(drip(plain.stream(), b"USER alice") < PATIENCE / 2);
    // The record of a handshake whose end does not come.
    let tls = Client::new(host.tls);
    let hello = [
        &b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"[..],
        &[7; 32],
    ]
    .concat();
    assert!(drip(tls.stream(), &hello) < PATIENCE / 2);
    host.logged_times("why=\"no login in time\"", 2);
}

#[test]
fn p8_a_command_that_is_not_complete_in_time_ends_its_session_and_no_other() {
    let host = host("line = \"4s\"");
    let mut alice = host.login("alice");
    let mut carol = host.login("carol");
    let slow = std::thread::spawn(move || drip(alice.stream(), b"N").max(drained(&mut alice)));
    // Each write ends one command and begins the next one, so no line takes long.
    carol.send(b"NO");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(12) {
        carol.send(b"OP\r\nNO");
        assert_ok(&carol.line());
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(slow.join().unwrap() < PATIENCE / 2);
    host.logged("why=\"command not complete in time\"");
    carol.send(b"OP\r\n");
    assert_ok(&carol.line());
    assert_ok(&carol.ask("QUIT"));
}

fn drained(client: &mut Client) -> Duration {
    client.until_end();
    Duration::ZERO
}

/// A client with a small receive buffer.
fn narrow(port: u16) -> Client {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};
    use std::os::fd::AsRawFd;
    let flags = SockFlag::SOCK_CLOEXEC;
    let own = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    setsockopt(&own, sockopt::RcvBuf, &4096).unwrap();
    let server = SockaddrIn::from(std::net::SocketAddrV4::new([127, 0, 0, 1].into(), port));
    connect(own.as_raw_fd(), &server).unwrap();
    Client::over(TcpStream::from(own))
}

/// Bob's client. It has read the first line of a reply to RETR.
fn retrieving(host: &Host) -> Client {
    let mut bob = narrow(host.plain);
    for command in ["", "USER bob\r\n", "PASS bob\r\n", "RETR 1\r\n"] {
        bob.send(command.as_bytes());
        assert_ok(&bob.line());
    }
    bob
}

/// Reads `octets` every tenth of a second for `time`. Returns whether the server ended the
/// connection.
fn sip(client: &Client, octets: usize, time: Duration) -> bool {
    let (mut buffer, start) = (vec![0; octets], Instant::now());
    while start.elapsed() < time {
        if client.stream().read_exact(&mut buffer).is_err() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

#[test]
fn p8_a_client_that_reads_too_slowly_loses_its_session_and_locks() {
    let host = host("stall = \"5s\"\nrate = \"20000B\"");
    let bob = retrieving(&host);
    let locked = || host.at("mail/bob.lock").exists();
    assert!(locked());
    // 2,000 octets a second: a tenth of the required rate, and never five seconds without an octet.
    let (freed, is_freed) = std::sync::mpsc::channel();
    let reads = std::thread::spawn(move || {
        while is_freed.try_recv().is_err() && !sip(&bob, 200, Duration::from_millis(1)) {}
        // The kernel may have minutes of such reading in the socket's buffer.
        sip(&bob, 100_000, PATIENCE)
    });
    host.logged("why=\"client took too little\"");
    until("the spool is free", || !locked());
    // The thread has ended if the connection is reset.
    let _ = freed.send(());
    assert!(reads.join().unwrap());
    assert_eq!(host.bytes("bob"), large_spool());
}

#[test]
fn p8_a_pipelined_command_does_not_save_a_slow_reader() {
    let host = host("stall = \"5s\"\nrate = \"20000B\"");
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-quiet", "-connect"]);
    openssl.arg(format!("127.0.0.1:{}", host.tls));
    let piped = openssl.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.stderr(Stdio::null()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    for command in ["", "USER bob\r\n", "PASS bob\r\n", "RETR 1\r\nNOOP\r\n"] {
        let input = child.stdin.as_mut().unwrap();
        input.write_all(command.as_bytes()).unwrap();
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_ok(&line);
    }
    let reads = std::thread::spawn(move || {
        while said.read_exact(&mut [0; 200]).is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    host.logged("why=\"client took too little\"");
    child.kill().unwrap();
    child.wait().unwrap();
    reads.join().unwrap();
}

#[test]
fn a_client_that_reads_slowly_but_fast_enough_may_go_on() {
    let host = host("stall = \"2s\"\nrate = \"20000B\"");
    let bob = retrieving(&host);
    // Ten times the required rate, for several times the limit.
    assert!(!sip(&bob, 20_000, Duration::from_secs(9)), "{}", host.log());
}

/// A socket's buffer has the whole reply long before the client has read it.
#[test]
fn a_client_that_still_reads_a_reply_is_not_idle() {
    let mail = message(
        1,
        &"A line of sixty octets and not one more, but for its ends.\n".repeat(15_000),
    );
    let users = [user("dave", 64404, mail.as_bytes())];
    let host = Host::with(&users, "[limits]\nidle = \"3s\"\nrate = \"1000B\"\n", &[]);
    let mut dave = host.login("dave");
    dave.send(b"RETR 1\r\n");
    assert_ok(&dave.line());
    assert!(
        !sip(&dave, 15_000, Duration::from_secs(5)),
        "{}",
        host.log()
    );
    dave.rest();
    assert_ok(&dave.ask("NOOP"));
}

#[test]
fn p8_when_sessions_take_all_places_newcomers_are_refused() {
    let host = host("connections = 3");
    let mut sessions = ["alice", "bob", "carol"].map(|user| host.login(user));
    for _ in 0..20 {
        assert_eq!(Client::new(host.plain).until_end(), format!("{FULL}\r\n"));
    }
    let mut alert = Vec::new();
    let mut tls = Client::new(host.tls).stream().try_clone().unwrap();
    tls.read_to_end(&mut alert).unwrap();
    assert_eq!(alert, b"\x15\x03\x03\x00\x02\x02\x50");
    for session in &mut sessions {
        assert_ok(&session.ask("NOOP"));
    }
    host.logged("connection refused peer=127.0.0.1 why=\"too many connections\" times=1");
    let [alice, ..] = &mut sessions;
    assert_ok(&alice.ask("QUIT"));
    until("there is room again", || {
        Client::new(host.plain).line().starts_with("+OK")
    });
    host.assert_rate_limited("connection refused", 1);
}

#[test]
fn p8_strangers_yield_to_newcomers_and_sessions_do_not() {
    let host = host("unauthenticated = 1");
    let mut alice = host.login("alice");
    let mut stranger = host.connect();
    // Nobody yields in the first second. A login that was let in is not held up.
    until("somebody yields", || {
        Client::new(host.plain).line().starts_with("+OK")
    });
    assert_eq!(stranger.line(), FULL);
    until("and again", || {
        let mut carol = Client::new(host.plain);
        carol.line().starts_with("+OK") && {
            carol.ask("USER carol");
            assert_ok(&carol.ask("PASS carol"));
            true
        }
    });
    assert_ok(&alice.ask("NOOP"));
    host.logged("a connection was ended to make room why=\"too many connections before login\"");
    host.assert_rate_limited("to make room why", 1);
}

#[test]
fn p8_a_users_sessions_are_limited() {
    let host = host("sessions_per_user = 2");
    let mut first = host.login("alice");
    let mut second = host.connect();
    assert_ok(&second.ask("USER alice"));
    second.send(b"PASS alice\r\n");
    until("it waits for the lock", || {
        host.children("popward-worker").len() == 2
    });
    let mut third = host.connect();
    assert_ok(&third.ask("USER alice"));
    assert!(third.ask("PASS alice").starts_with("-ERR [IN-USE]"));
    host.logged("as many sessions as a user may have");
    assert!(host.children("popward-worker").len() <= 2);
    host.login("carol");
    assert!(second.line().starts_with("-ERR [IN-USE]"));
    assert_ok(&first.ask("QUIT"));
    host.login("alice");
}

/// Sends `bytes` again and again until the server takes no more. Reads nothing.
fn gush(stream: &TcpStream, bytes: &[u8]) {
    let mut stream = stream;
    stream.set_nonblocking(true).unwrap();
    let start = Instant::now();
    loop {
        match stream.write(bytes) {
            Ok(_) => assert!(start.elapsed() < PATIENCE, "it takes all"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return,
        }
    }
}

/// The most that a connection before its login may take of the front in KiB, as docs/limits.md
/// says.
const BEFORE_LOGIN: u64 = 32;

#[test]
fn p8_a_strangers_memory_is_bounded_whatever_it_sends_and_does_not_read() {
    let host = host("connections_per_address = 2000\nlogin = \"10m\"");
    let front = host.children("popward-front")[0];
    let many = 300;
    // Some connections beforehand, because what the first ones cost stays.
    for client in (0..20).map(|_| narrow(host.plain)).collect::<Vec<_>>() {
        gush(client.stream(), &b"CAPA\n".repeat(2000));
    }
    until("they are gone", || {
        Client::new(host.plain).line().starts_with("+OK")
    });
    let before = resident(front);
    let clients: Vec<Client> = (0..many).map(|_| narrow(host.plain)).collect();
    for client in &clients {
        gush(client.stream(), &b"CAPA\n".repeat(2000));
    }
    let plain = resident(front).saturating_sub(before);
    assert!(
        plain / many < BEFORE_LOGIN,
        "{plain} KiB for {many} that do not read"
    );
    drop(clients);
    // As much of a handshake as the front takes, without its end. A handshake message of 64 KiB may
    // come in several records.
    let before = resident(front);
    let record =
        |begin: &[u8]| [b"\x16\x03\x01\x27\x10", begin, &[7; 10_000][begin.len()..]].concat();
    let hello = [
        record(b"\x01\x00\xff\xff\x03\x03"),
        record(b""),
        record(b""),
    ]
    .concat();
    let clients: Vec<Client> = (0..many).map(|_| Client::new(host.tls)).collect();
    for client in &clients {
        client.stream().write_all(&hello[..20_000]).unwrap();
    }
    let mut last = Client::new(host.plain);
    assert_ok(&last.line());
    let tls = resident(front).saturating_sub(before);
    assert!(tls / many < BEFORE_LOGIN, "{tls} KiB for {many} handshakes");
    let mut client = Client::new(host.tls);
    client.stream().write_all(&hello).unwrap();
    let start = Instant::now();
    assert_eq!(client.until_end(), "");
    assert!(start.elapsed() < PATIENCE / 2, "more of it is not kept");
}

#[test]
fn p2_a_peer_that_has_vanished_holds_no_lock() {
    p2_a_vanished_peer(2, |_| {});
}

#[test]
fn p2_a_reload_changes_how_long_a_vanished_peer_may_hold_locks() {
    p2_a_vanished_peer(3600, |host| {
        let file = host.at("popward.toml");
        let old = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, old.replace("stall = \"3600s\"", "stall = \"2s\"")).unwrap();
        host.signal(nix::sys::signal::Signal::SIGHUP);
        host.logged("configuration reloaded");
    });
}

/// On the way of an Ethernet a socket's buffer is smaller than a piece of a reply. The socket then
/// takes the rest of a piece bit by bit.
#[test]
fn p8_the_front_keeps_one_piece_of_a_reply_that_is_read_bit_by_bit() {
    let users = [user("bob", 64402, &large_spool())];
    let Some(network) = network::Network::new() else {
        return;
    };
    let (server, client) = (network.machine(1), network.machine(2));
    // The buffer as it is on a slow or long line. Here the kernel would enlarge it.
    let buffer = "echo 4096 16384 49152 >/proc/sys/net/ipv4/tcp_wmem";
    assert!(
        server
            .command("sh")
            .args(["-c", buffer])
            .status()
            .unwrap()
            .success()
    );
    let everywhere = ("address = \"127.0.0.1:", "address = \"0.0.0.0:");
    let plaintext = "plaintext = \"always\"\n[spool]";
    let changes = [everywhere, ("[spool]", plaintext)];
    let host = Host::by(|path| server.command(path), &users, "", &changes);
    let front = host.children("popward-front")[0];
    let script = "import socket, ssl, sys, time\n\
        to = socket.socket()\n\
        to.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)\n\
        to.connect((sys.argv[1], int(sys.argv[2])))\n\
        if sys.argv[3] == 'tls':\n\
        \x20   context = ssl.create_default_context()\n\
        \x20   context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n\
        \x20   to = context.wrap_socket(to)\n\
        to.recv(100)\n\
        for line in b'USER bob', b'PASS bob':\n\
        \x20   to.sendall(line + b'\\r\\n')\n\
        \x20   to.recv(100)\n\
        print('in', flush=True)\n\
        sys.stdin.readline()\n\
        to.sendall(b'RETR 1\\r\\n')\n\
        taken = 0\n\
        while taken < 8000000:\n\
        \x20   taken += len(to.recv(8192))\n\
        \x20   time.sleep(0.0003)\n\
        print('taken', flush=True)\n\
        sys.stdin.readline()\n";
    for (port, how) in [(host.plain, "plain"), (host.tls, "tls")] {
        let mut python = client.command("python3");
        python.args(["-c", script, &server.address, &port.to_string(), how]);
        let piped = python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "in");
        let before = resident(front);
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        assert_eq!(said.next().unwrap().unwrap(), "taken");
        let more = resident(front).saturating_sub(before);
        assert!(more < 512, "{how}: {more} KiB more of the front");
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

/// A client whose host answers nothing any more. `limits.stall` is `stall` at the start. It must be
/// two seconds after `before`.
fn p2_a_vanished_peer(stall: u32, before: impl Fn(&Host)) {
    let users = [user("alice", 64401, &spool(3))];
    let Some(network) = network::Network::new() else {
        return;
    };
    let (server, client) = (network.machine(1), network.machine(2));
    let everywhere = ("address = \"127.0.0.1:", "address = \"0.0.0.0:");
    let limits = format!("plaintext = \"always\"\n[limits]\nstall = \"{stall}s\"\n[spool]");
    let changes = [everywhere, ("[spool]", limits.as_str())];
    let host = Host::by(|path| server.command(path), &users, "", &changes);
    before(&host);
    let script = "import poplib, sys\n\
        pop = poplib.POP3(sys.argv[1], int(sys.argv[2]))\n\
        pop.user('alice'), pop.pass_('alice')\n\
        print('in', flush=True)\n\
        sys.stdin.readline()\n\
        pop.sock.sendall(b'UIDL\\r\\n')\n\
        sys.stdin.readline()\n";
    let mut python = client.command("python3");
    python.args(["-c", script, &server.address, &host.plain.to_string()]);
    let mut child = python
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "in\n");
    let locked = || host.at("mail/alice.lock").exists();
    assert!(locked());
    server.loses(&client);
    // The command still arrives, and nobody acknowledges the reply.
    child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    // The kernel ends the connection, long before the idle limit.
    host.logged("why=\"connection failed\"");
    until("the spool is free", || !locked());
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(host.bytes("alice"), spool(3));
}
