//! One attempt: sends something to a neighbour, and finds out what came of it.

use super::super::host::{is_dead, resident, spool, spool_of, until};
use super::arena::{ALICE, Arena, Seat, role};
use super::channels::{Taken, links};
use super::kinds::{ELSEWHERE, VICTIM};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long another user may have to wait for a login, and everything else until it is as before.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much a neighbour's memory may grow, in KiB.
const GROWTH: u64 = 4096;

/// The most lines of the log about an attempt. More are worth a word.
const LINES: usize = 20;

/// Most descriptors that a process has for another one.
const DESCRIPTORS: usize = 4;

/// Lines about the sender's own session, about what follows from the end of a process, and those
/// that come once a minute.
const EXPECTED: &[&str] = &[
    "",
    "login",
    "login failed",
    "opened",
    "end",
    "updated",
    "cannot check",
    "maildrop not opened",
    "process died",
    "the private keys can go to swap",
    "TLS handshake failed",
    "certificate",
];

/// What the neighbour says by itself, because other processes were started.
const NEWS: &[&str] = &["Front", "Auth", "Keys", "Settings"];

/// What keys says of another key than the one in use, and what comes of it.
const OTHER_FILES: &str = "cannot use what it was given";
const RELOADED: &str = "configuration reloaded";

/// The text of a parent about a child that it kills.
const KILLED: &str = "broke the rules of its channel: killed: ";

/// Processes that the rest of a server needs, so that nobody should wait for the next one.
const ENDS_OTHERS: &[&str] = &["auth", "keys"];

/// What is sent, and how its answers are read.
pub struct Attempt<'a> {
    pub packet: &'a [u8],
    pub times: usize,
    pub descriptors: &'a [OwnedFd],
    pub answers: fn(&[u8]) -> String,
    /// Whether an answer may take some time.
    pub waits: bool,
    /// Whether the neighbour takes it only once.
    pub once: bool,
}

impl Attempt<'_> {
    /// Makes the attempt. Returns what came of it, for the table.
    pub fn make(&self, arena: &mut Arena, mut seat: Seat) -> String {
        let log_before = arena.host.log().lines().count();
        let before = arena.processes().into_iter().map(|pid| (pid, role(pid)));
        let before: BTreeMap<i32, String> = before.collect();
        let open_before = links(seat.neighbour).len();
        let memory_before = resident(seat.neighbour);
        let own = links(i32::try_from(std::process::id()).unwrap());
        let sent = self.descriptors.iter();
        let sent: Vec<&String> = sent.map(|file| &own[&file.as_raw_fd()]).collect();
        let mut words = BTreeSet::new();
        let is_closed = self.send(&seat.taken);
        if let Some(worker) = seat.stopped.take_if(|pid| *pid == seat.neighbour) {
            let _ = kill(Pid::from_raw(worker), Signal::SIGCONT);
            until("the update is over", || is_dead(worker));
            if arena.host.bytes(ALICE) != spool_of([2]) {
                words.insert("the update is another one".to_owned());
            }
        }
        if arena.settle(seat.neighbour) {
            words.insert("spins".to_owned());
        }
        let closed = self.hear(arena, &seat, &before, is_closed, &mut words);
        let unread = !closed && words.is_empty() && seat.taken.is_unread();
        if !is_dead(seat.neighbour) && resident(seat.neighbour) > memory_before + GROWTH {
            words.insert("its memory grows".into());
        }
        if let Some(guest) = &mut seat.guest {
            let _ = guest.stream().write_all(b"NOOP\r\n");
            if !guest.line().starts_with("+OK") {
                words.insert("ends another user's session there".into());
            }
        }
        // From now on the sender goes on by itself.
        let killed = is_dead(seat.sender);
        let nothing = std::fs::File::open("/dev/null").unwrap();
        drop(std::mem::replace(&mut seat.taken.end, nothing.into()));
        if !seat.is_killed {
            let _ = kill(Pid::from_raw(seat.sender), Signal::SIGCONT);
        }
        arena.settle(seat.neighbour);
        let said = news(&arena.log(), log_before, &mut BTreeSet::new());
        let is_unusable = said.iter().any(|line| line.contains(OTHER_FILES));
        // Auth was given nothing that is read again.
        if is_unusable && !arena.is_ending && seat.role != "auth" {
            return self.reloaded(arena, seat);
        }
        let gone = before.iter().filter(|(pid, _)| **pid != seat.sender);
        let gone = gone.filter(|(pid, role)| is_dead(**pid) && is_of_server(role));
        words.extend(gone.map(|(_, role)| format!("ends {role}")));
        let cut = closed && !is_dead(seat.neighbour);
        let is_lost = cut || is_dead(seat.sender) || is_dead(seat.neighbour);
        arena.losses += usize::from(is_lost);
        if self.once && seat.role != "front" && seat.role != "worker" {
            arena.losses = usize::MAX;
        }
        if arena.is_ending || seat.is_killed && ENDS_OTHERS.contains(&&*seat.role) {
            arena.losses = usize::MAX;
        }
        words.extend(match (killed, closed, unread) {
            (true, ..) => Some("killed".to_owned()),
            (_, true, _) => Some("closes the channel".to_owned()),
            (.., true) => Some("reads nothing".to_owned()),
            _ => None,
        });
        seat.leave();
        // The clients' end comes before the sender's, also on a busy machine.
        arena.settle(seat.neighbour);
        let is_lost = cut || self.once || seat.is_killed || seat.role == "worker";
        arena.clean_up(&seat, is_lost);
        others(arena, &mut words);
        until_or("closes what was sent", &mut words, || {
            let all = arena.processes().into_iter();
            let others = all.filter(|pid| *pid != seat.sender);
            let mut links_of = others.flat_map(|pid| links(pid).into_values());
            !links_of.any(|link| sent.contains(&&link))
        });
        until_or("closes what it has opened", &mut words, || {
            let new = arena.processes().into_iter();
            let new = new.filter(|pid| !before.contains_key(pid) && is_of_server(&role(*pid)));
            links(seat.neighbour).len() <= open_before + DESCRIPTORS * new.count()
        });
        // A line about what has just happened may still be on its way.
        arena.settle(seat.neighbour);
        let log = arena.log();
        let news = news(&log, log_before, &mut words);
        // A busy neighbour reads it later than this has looked.
        let is_refused = log
            .lines()
            .skip(log_before)
            .any(|line| line.contains(KILLED));
        if is_refused && words.remove("reads nothing") {
            words.insert("killed".into());
        }
        if words.is_empty() {
            words.insert("nothing".into());
        }
        // How far that worker comes before it sees that no client is there depends on the machine.
        if words.contains("starts the victim's worker") {
            words.remove("answers NotOpened");
        }
        let words = words.into_iter().collect::<Vec<_>>().join(", ");
        [vec![words], news].concat().join("; ")
    }

    /// The monitor has asked for another configuration. Its processes follow, and this server is of
    /// no use for other attempts.
    fn reloaded(&self, arena: &mut Arena, mut seat: Seat) -> String {
        arena.host.logged(RELOADED);
        let mut words = BTreeSet::from(["the configuration is read again".to_owned()]);
        seat.leave();
        arena.clean_up(&seat, seat.is_killed);
        others(arena, &mut words);
        arena.losses = usize::MAX;
        words.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Sends everything. Returns whether the channel is closed.
    fn send(&self, taken: &Taken) -> bool {
        let files: Vec<BorrowedFd<'_>> = self.descriptors.iter().map(AsFd::as_fd).collect();
        for _ in 0..self.times {
            let until = Instant::now() + Duration::from_millis(300);
            loop {
                match taken.send(self.packet, &files) {
                    Ok(()) => break,
                    Err(Errno::EAGAIN) if Instant::now() < until => {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Err(Errno::EAGAIN) => return false,
                    Err(Errno::EPIPE | Errno::ECONNRESET) => return true,
                    Err(errno) => panic!("{errno}"),
                }
            }
        }
        false
    }

    /// Hears what the neighbour answers. Returns whether the channel is closed.
    fn hear(
        &self,
        arena: &Arena,
        seat: &Seat,
        before: &BTreeMap<i32, String>,
        is_closed: bool,
        words: &mut BTreeSet<String>,
    ) -> bool {
        let until = Instant::now() + PATIENCE;
        let mut closed = is_closed;
        loop {
            let heard = words.len();
            while let Some(reply) = seat.taken.receive() {
                closed |= reply.is_empty();
                if reply.is_empty() {
                    break;
                }
                let answer = (self.answers)(&reply);
                if !NEWS.contains(&&*answer) {
                    words.insert(format!("answers {answer}"));
                }
            }
            let conversations = arena.conversations();
            let starts = conversations.iter().any(|pid| !before.contains_key(pid));
            if starts {
                words.insert("starts a conversation".into());
            }
            let is_over = closed || words.len() > heard || is_dead(seat.sender);
            if is_over || !self.waits || Instant::now() > until {
                return closed;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether a process is one of the server's own, and not a program that it asks.
fn is_of_server(role: &str) -> bool {
    !["", "sleep", "silent"].contains(&role)
}

/// Other users are served, and what is theirs is as it was.
fn others(arena: &mut Arena, words: &mut BTreeSet<String>) {
    let began = Instant::now();
    arena.bob.send(b"STAT\r\n");
    if !arena.bob.line().starts_with("+OK 2 ") {
        words.insert("ends bob's session".into());
    }
    // A server that ends takes no new client.
    let mut served = arena.is_ending;
    while !served && began.elapsed() < PATIENCE {
        let (mut client, ..) = arena.connect();
        client.ask("USER carol");
        served = client.ask("PASS carol").starts_with("+OK");
        served = served && client.ask("QUIT").starts_with("+OK");
        if !served {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    if !served {
        words.insert("nobody can log in".into());
    }
    for name in ["bob", "carol", "dave", VICTIM] {
        if arena.host.bytes(name) != spool(2) {
            words.insert(format!("changes the spool of {name}"));
        }
    }
    let locked = || {
        let names = std::fs::read_dir(arena.host.at("mail")).unwrap().flatten();
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".lock")).collect()
    };
    until_or("frees the locks", words, || {
        let locked: Vec<String> = locked();
        locked == ["bob.lock"]
    });
    let state = arena.host.at("state").join(VICTIM);
    if state.exists() {
        words.insert("makes the victim's state".into());
        std::fs::remove_dir_all(&state).unwrap();
    }
}

/// The lines of the log after the first `from` ones, without those of other users' logins.
fn news(log: &str, from: usize, words: &mut BTreeSet<String>) -> Vec<String> {
    let mut news = Vec::new();
    let mut count = 0;
    // popward[1] LEVEL ROLE[1] TEXT
    for line in log.lines().skip(from) {
        let mut parts = line.splitn(4, ' ').skip(2);
        let (Some(who), Some(text)) = (parts.next(), parts.next()) else {
            continue;
        };
        let who = who.split('[').next().unwrap_or_default();
        let said = text.split(' ').take_while(|word| !word.contains('='));
        let mut said = said.collect::<Vec<_>>().join(" ");
        let names = text.contains(&format!("user={VICTIM}")) || text.contains(ELSEWHERE);
        if who == "worker" && text.contains(&format!("user={VICTIM}")) && !text.contains("attack") {
            words.insert("starts the victim's worker".into());
            continue;
        }
        if names && said != "cannot check" {
            words.insert(format!("a line of {who} names the victim"));
        } else if EXPECTED.contains(&&*said) {
            continue;
        }
        count += 1;
        if let Some((_, error)) = text.split_once("error=") {
            // A value with spaces is in quotes.
            let value = error.strip_prefix('"').map(|value| value.split('"').next());
            let value = value.unwrap_or_else(|| error.split(' ').next());
            let error = why(value.unwrap_or_default());
            if error == CLOSED {
                continue;
            }
            said = format!("{said}: {error}");
        }
        let said = format!("{who}: {}", said.trim_start_matches(KILLED));
        if !news.contains(&said) {
            news.push(said);
        }
    }
    if count > LINES {
        words.insert("the log grows".into());
    }
    news.sort();
    news
}

/// The error of a channel whose other end is closed: the neighbour of one that has ended.
const CLOSED: &str = "the other end is closed";

/// The ends of errors about packets that are no message.
const NO_MESSAGE: &[&str] = &[
    "is no message of this direction",
    "has bytes behind its message",
    "is longer than any may be",
    "is larger than its limit",
    "has an unknown tag",
    "is shorter than it says",
];

/// Why a packet was refused, without its kind.
fn why(error: &str) -> &str {
    use popward_proto::permit::{AGAIN, DESCRIPTORS, OUT_OF_PHASE};
    let mut known = [AGAIN, DESCRIPTORS, OUT_OF_PHASE].into_iter();
    let form = NO_MESSAGE.iter().any(|end| error.ends_with(end));
    let found = known.find(|known| error.ends_with(known));
    found.or(form.then_some("is no message")).unwrap_or(error)
}

/// Waits until `done` is true. Otherwise this never happened, and that is worth a word.
fn until_or(what: &str, words: &mut BTreeSet<String>, done: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > until {
            words.insert(format!("never {what}"));
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
