//! Many clients at once (promise P8): idle clients, slow clients, clients that guess. Logins go on
//! as without them, and memory stays within docs/limits.md. The load is small by default.
//! `POPWARD_LOADS=large` makes it as large as a mail host's morning, and prints figures.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Client, Host, PATIENCE, User, assert_ok, pss, skipped, spool, until, user};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One load at a time, because each wants the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn large() -> bool {
    std::env::var("POPWARD_LOADS").is_ok_and(|size| size == "large")
}

/// Prints a figure, if figures are asked for.
fn say(text: &str) {
    if large() {
        let line = format!("{text}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

/// How many clients log in at once.
const AT_ONCE: usize = 64;
const ROUNDS: usize = 10;

fn host(keys: &str) -> Host {
    // This process and the front have a descriptor for each client.
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = hard.max(40_000);
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    }
    let name = |number: usize| &*Box::leak(format!("user{number}").into_boxed_str());
    let users: Vec<User> = (0..AT_ONCE)
        .map(|number| {
            user(
                name(number),
                64500 + u32::try_from(number).unwrap(),
                &spool(10),
            )
        })
        .collect();
    // A front holds half as many connections as it may open files.
    let fronts = if large() && wanted.min(limit()) < 28_200 {
        2
    } else {
        1
    };
    let fronts = format!("shutdown_grace = \"5s\"\nfronts = {fronts}\n");
    let keys = format!("connections = 14000\nconnections_per_address = 14000\n{keys}");
    let changes = [("shutdown_grace = \"5s\"\n", fronts.as_str())];
    let host = Host::with(&users, &format!("[limits]\n{keys}\n"), &changes);
    // A user's first login makes the state directory. That happens only once.
    logins(&host, 1);
    host
}

/// All users log in at once, `rounds` times. Each login must succeed. Returns the median from
/// connect to PASS's answer.
fn logins(host: &Host, rounds: usize) -> Duration {
    let barrier = Barrier::new(AT_ONCE);
    let times = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..AT_ONCE {
            let (barrier, times) = (&barrier, &times);
            scope.spawn(move || {
                for _ in 0..rounds {
                    barrier.wait();
                    let start = Instant::now();
                    let mut client = Client::new(host.plain);
                    assert_ok(&client.line());
                    assert_ok(&client.ask(&format!("USER user{number}")));
                    assert_ok(&client.ask(&format!("PASS user{number}")));
                    times.lock().unwrap().push(start.elapsed());
                    assert_ok(&client.ask("QUIT"));
                }
            });
        }
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    assert_eq!(times.len(), AT_ONCE * rounds);
    times[times.len() / 2]
}

/// The limit on open files that children inherit.
fn limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).unwrap().1
}

/// The proportional set size of all processes that run this executable, in KiB.
fn pss_of(host: &Host, executable: &str) -> u64 {
    host.children(executable).into_iter().map(pss).sum()
}

/// How many pairs of medians are taken before they count as apart.
const TRIES: usize = 10;

/// Compares the median under a load with one without. `pair` takes both, one right after the other.
/// Other work on this machine may disturb only one of them, so both are taken again while they
/// differ. The slack is for a small load, where a median is a few milliseconds.
fn assert_within(what: &str, mut pair: impl FnMut() -> (Duration, Duration)) {
    let mut apart = Vec::new();
    while apart.len() < TRIES {
        let (quiet, loaded) = pair();
        say(&format!(
            "{what}: {AT_ONCE} logins at once, median {quiet:?} quiet, {loaded:?} loaded"
        ));
        if loaded < quiet * 3 + Duration::from_millis(20) {
            return;
        }
        apart.push((quiet, loaded));
    }
    panic!("{what}: quiet and loaded {apart:?}");
}

#[test]
fn p8_idle_connections_do_not_slow_logins_down() {
    let _turn = turn();
    if !host::root() {
        return skipped("many users are root's to have");
    }
    let many = if large() { 10_000 } else { 1000 };
    let host = host("login = \"600s\"");
    assert_within("idle", || {
        let quiet = logins(&host, ROUNDS);
        let before = pss_of(&host, "popward-front");
        let idle: Vec<Client> = (0..many).map(|_| host.connect()).collect();
        let each = pss_of(&host, "popward-front").saturating_sub(before) as f64 / many as f64;
        let loaded = logins(&host, ROUNDS);
        say(&format!(
            "{many} idle connections: {each:.1} KiB each in the front"
        ));
        assert!(each < 5.0, "{each} KiB for each idle connection");
        for mut client in idle {
            assert_ok(&client.ask("CAPA"));
        }
        (quiet, loaded)
    });
}

#[test]
fn p8_slow_clients_do_not_slow_logins_down_and_end_in_time() {
    let _turn = turn();
    if !host::root() {
        return skipped("many users are root's to have");
    }
    let (many, mut login) = if large() { (5000, 30) } else { (500, 5) };
    assert_within("slow", || {
        loop {
            if let Some(pair) = slow(many, login) {
                return pair;
            }
            // This machine is too slow for that limit.
            login *= 2;
            assert!(login < 500, "the logins never end before the slow clients");
        }
    });
}

/// The medians without and with `many` slow clients. Each of these clients must have ended after
/// `login` seconds. `None` if the logins took longer than that.
fn slow(many: usize, login: u64) -> Option<(Duration, Duration)> {
    let host = host(&format!("login = \"{login}s\""));
    let quiet = logins(&host, ROUNDS);
    let before = pss_of(&host, "popward-front");
    let start = Instant::now();
    let mut slow: Vec<TcpStream> = (0..many)
        .map(|number| {
            let port = if number % 2 == 0 {
                host.plain
            } else {
                host.tls
            };
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let opened = start.elapsed();
    let limit = opened + Duration::from_secs(login) + PATIENCE;
    std::thread::scope(|scope| {
        let dripping = scope.spawn(|| {
            // Each client sends an octet a second, of a command or of a handshake. The test also
            // looks whether the connection still lives.
            let hello = [
                &b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"[..],
                &[7; 500],
            ]
            .concat();
            let mut hello = hello.iter().cycle();
            while !slow.is_empty() && start.elapsed() < limit {
                let next = *hello.next().unwrap();
                slow.retain_mut(|stream| {
                    let mut octet = [0; 64];
                    let ended = match stream.read(&mut octet) {
                        Ok(0) => true,
                        Ok(_) => false,
                        Err(error) => error.kind() != ErrorKind::WouldBlock,
                    };
                    !ended && stream.write_all(&[next]).is_ok()
                });
                std::thread::sleep(Duration::from_secs(1));
            }
            (slow.len(), start.elapsed())
        });
        let loaded = logins(&host, ROUNDS);
        let held = pss_of(&host, "popward-front").saturating_sub(before) as f64 / many as f64;
        let all_the_while = start.elapsed() < Duration::from_secs(login);
        let (left, after) = dripping.join().unwrap();
        say(&format!(
            "{many} slow clients: {held:.1} KiB each in the front, ended within {after:?}; opening took {opened:?}"
        ));
        assert!(held < 32.0, "{held} KiB for each slow client");
        assert_eq!(left, 0, "slow clients live on");
        all_the_while.then_some((quiet, loaded))
    })
}

#[test]
fn p9_a_flood_of_wrong_passwords_does_not_slow_logins_down() {
    let _turn = turn();
    if !host::root() {
        return skipped("many users are root's to have");
    }
    let proxy = "[proxy]\nnetworks = [\"127.0.0.2\"]\nplaintext = [\"127.0.0.2\"]\n";
    let host = host(&format!("failed_logins = 3\n{proxy}"));
    assert_within("guessing", || {
        let quiet = logins(&host, ROUNDS);
        (quiet, flooded(&host))
    });
    let address: SocketAddr = ([127, 0, 0, 1], host.plain).into();
    assert!(TcpStream::connect(address).is_ok());
}

/// The median while many clients guess.
fn flooded(host: &Host) -> Duration {
    let (guessers, seconds): (u64, u64) = if large() { (256, 20) } else { (64, 3) };
    let memory = || ["popward-front", "popward-auth"].map(|name| pss_of(host, name));
    let before = memory();
    let (over, guesses) = (AtomicBool::new(false), AtomicU64::new(0));
    // The threads must also end if this test fails meanwhile.
    let end = Instant::now() + 5 * PATIENCE;
    let (loaded, after) = std::thread::scope(|scope| {
        for number in 0..guessers {
            let (over, guesses) = (&over, &guesses);
            scope.spawn(move || {
                let mut count = 0u32;
                while !over.load(Ordering::SeqCst) && Instant::now() < end {
                    count += 1;
                    // Each guess comes from a new address and names a new user.
                    let header = format!("PROXY TCP4 10.{}.{}.{} 192.0.2.1 1 110\r\n", number % 256, count / 256 % 256, count % 256);
                    let script = format!("{header}USER nobody{count}\r\nPASS wrong\r\nUSER nobody\r\nPASS wrong\r\nQUIT\r\n");
                    let mut guesser = Client::from("127.0.0.2", host.plain);
                    guesser.send(script.as_bytes());
                    let heard = guesser.until_end();
                    let refused = heard.matches("-ERR [AUTH]").count();
                    guesses.fetch_add(refused as u64, Ordering::SeqCst);
                }
            });
        }
        until("they guess", || guesses.load(Ordering::SeqCst) > 0);
        let start = Instant::now();
        let loaded = logins(host, ROUNDS);
        until("the time is up, and they have guessed", || {
            start.elapsed() > Duration::from_secs(seconds)
                && guesses.load(Ordering::SeqCst) > guessers
        });
        let after = memory();
        over.store(true, Ordering::SeqCst);
        (loaded, after)
    });
    let grown = [0, 1].map(|process: usize| after[process].saturating_sub(before[process]));
    let guesses = guesses.into_inner();
    say(&format!(
        "{guessers} guessers, {guesses} wrong passwords: front grew by {} KiB, auth by {} KiB",
        grown[0], grown[1]
    ));
    assert!(grown[0] < 8192 && grown[1] < 16_384, "{grown:?} KiB");
    loaded
}
