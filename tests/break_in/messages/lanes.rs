//! The channels, and what is sent over each.

use super::arena::{Arena, Seat, Stage};
use super::attempt::Attempt;
use super::kinds::{self, Sample, all};
use super::points::*;
use super::protocol::{self, Protocol, answer};
use super::table::ANY_PHASE;
use popward_proto::auth::{AuthPhase, AuthToFront, FrontToAuth};
use popward_proto::auth_conversation::{AuthToConversation, ConversationPhase, ConversationToAuth};
use popward_proto::auth_handover::{AuthToSuccessor, HandoverPhase};
use popward_proto::auth_sessions::{AuthToSessions, SessionsToAuth};
use popward_proto::keys::{FrontToKeys, KeysPhase, KeysToFront};
use popward_proto::log::{NoMessage, Record};
use popward_proto::monitor_auth::{AuthToMonitor, MonitorToAuth};
use popward_proto::monitor_front::{FrontToMonitor, MonitorToFront};
use popward_proto::monitor_keys::{KeysToMonitor, MonitorToKeys};
use popward_proto::session::{ClientPhase, FrontToWorker, Request, WorkerPhase, WorkerToFront};
use popward_proto::sessions_front::SessionsToFront;
use popward_proto::sessions_worker::{JobPhase, SessionsToWorker, WorkerToSessions};
use popward_proto::setup_phase::SetupPhase::{self, Serving, Starting};
use popward_proto::supervisor_config::{ConfigToSupervisor, SupervisorToConfig};
use std::fs::File;
use std::os::fd::OwnedFd;

const SETUP: &[SetupPhase] = &[Starting, Serving];
const SERVING: &[SetupPhase] = &[Serving];

/// A channel, in the direction from a process that is taken over to its neighbour.
pub struct Lane {
    /// What the table calls it.
    pub name: &'static str,
    protocol: Protocol,
    answers: fn(&[u8]) -> String,
    /// The points at which the sender is taken over. At the first one everything is sent, and at the
    /// others the kinds of the protocol.
    stages: &'static [&'static str],
    seat: fn(&mut Arena, &str) -> Seat,
    /// The kind that is sent cut off, with wrong descriptors and in a flood.
    base: &'static str,
    /// How many processes may be lost until another server is started.
    losses: usize,
}

/// What was sent, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    pub stage: String,
    /// What it is one of.
    pub group: Option<&'static str>,
    pub what: String,
    pub result: String,
}

/// How many fronts a server has.
const FRONTS: usize = 8;
/// How many fronts a server may lose.
const MANY: usize = FRONTS - 3;
/// How many times auth or keys may die. Each time its parent waits longer.
const FEW: usize = 2;

const AT_FRONTS_AND_END: &[&str] = &[
    Stage::Idle.name(),
    Stage::Greeted.name(),
    Stage::Checking.name(),
    Stage::Session.name(),
    Stage::After.name(),
    ENDING,
];
const IDLE: &[&str] = &[Stage::Idle.name()];
const OF_SESSIONS: &[&str] = &[Stage::Session.name(), LOCKS];
const OF_REQUESTS: &[&str] = &[Stage::Session.name(), LOCKS, UPDATE];
const OF_ANSWERS: &[&str] = &[ASKED, Stage::Session.name(), LOCKS, UPDATE];
const OF_WORKERS: &[&str] = &[Stage::Session.name(), LOCKS, EARLY, UPDATE, ENDING];
const OF_PARTS: &[&str] = &[Stage::Idle.name(), EARLY, ENDING];
const OF_KEYS: &[&str] = &[HANDSHAKE, Stage::Idle.name()];
const IDLE_AND_END: &[&str] = &[Stage::Idle.name(), ENDING];
const RELOAD: &[&str] = &["at a reload"];
const HANDOVER: &[&str] = &[REMEMBERED, HAPPENING];
const CHECKING: &[&str] = &[Stage::Checking.name()];

/// All channels.
pub fn all_lanes() -> Vec<Lane> {
    let lane = |name, protocol, answers, stages, seat, base, losses| Lane {
        name,
        protocol,
        answers,
        stages,
        seat,
        base,
        losses,
    };
    vec![
        lane(
            "front to monitor",
            protocol::of::<FrontToMonitor>(SETUP),
            answer::<MonitorToFront>,
            OF_PARTS,
            |arena, at| front(arena, at, |it| it.host.monitor(), 0),
            "Drained",
            MANY,
        ),
        lane(
            "front to monitor, log",
            protocol::of::<Record>(SERVING),
            answer::<NoMessage>,
            IDLE,
            |arena, at| front(arena, at, |it| it.host.monitor(), 1),
            "Record",
            MANY,
        ),
        lane(
            "front to sessions",
            protocol::silent(),
            answer::<SessionsToFront>,
            IDLE,
            |arena, at| front(arena, at, |it| it.host.sessions(), 0),
            "",
            FEW,
        ),
        lane(
            "front to auth",
            protocol::of::<FrontToAuth>(&[AuthPhase::Serving, AuthPhase::Leaving]),
            answer::<AuthToFront>,
            AT_FRONTS_AND_END,
            |arena, at| front(arena, at, |it| it.one("popward-auth"), 0),
            "Cancel",
            MANY,
        ),
        lane(
            "front to keys",
            protocol::of::<FrontToKeys>(&[KeysPhase::Idle]),
            answer::<KeysToFront>,
            IDLE_AND_END,
            |arena, at| front(arena, at, |it| it.one("popward-keys"), 0),
            "Tickets",
            MANY,
        ),
        lane(
            "front to worker",
            protocol::of::<FrontToWorker>(&[
                WorkerPhase::Opening,
                WorkerPhase::Transaction,
                WorkerPhase::Update,
            ]),
            answer::<WorkerToFront>,
            OF_REQUESTS,
            front_to_worker,
            "Stat",
            MANY,
        ),
        lane(
            "auth to monitor",
            protocol::of::<AuthToMonitor>(SETUP),
            answer::<MonitorToAuth>,
            OF_PARTS,
            |arena, at| central(arena, at, "popward-auth", arena.host.monitor(), 0),
            "Converse (TokenProgram)",
            FEW,
        ),
        lane(
            "auth to monitor, log",
            protocol::of::<Record>(SERVING),
            answer::<NoMessage>,
            IDLE,
            |arena, at| central(arena, at, "popward-auth", arena.host.monitor(), 1),
            "Record",
            FEW,
        ),
        lane(
            "auth to sessions",
            protocol::of::<AuthToSessions>(SERVING),
            answer::<SessionsToAuth>,
            AT_FRONTS_AND_END,
            |arena, at| central(arena, at, "popward-auth", arena.host.sessions(), 0),
            "Granted",
            FEW,
        ),
        lane(
            "auth to front",
            protocol::of::<AuthToFront>(&[AuthPhase::Serving, AuthPhase::Leaving]),
            answer::<FrontToAuth>,
            AT_FRONTS_AND_END,
            |arena, at| to_front(arena, at, "popward-auth"),
            "Refused",
            MANY,
        ),
        lane(
            "auth to its successor",
            protocol::of::<AuthToSuccessor>(&[HandoverPhase::Remembered, HandoverPhase::Happening]),
            answer::<NoMessage>,
            HANDOVER,
            successor,
            "Names",
            FEW,
        ),
        lane(
            "config to supervisor",
            protocol::of::<ConfigToSupervisor>(SETUP),
            answer::<SupervisorToConfig>,
            RELOAD,
            |arena, _| config(arena),
            "Warning",
            MANY,
        ),
        lane(
            "auth to auth-program",
            protocol::of::<AuthToConversation>(&[ConversationPhase::Conversation]),
            answer::<ConversationToAuth>,
            CHECKING,
            |arena, _| {
                let (client, pid) = conversation(arena);
                let mut seat = arena.seat(arena.one("popward-auth"), pid, 0);
                seat.clients.extend(client);
                seat
            },
            "TokenProgram",
            MANY,
        ),
        lane(
            "auth-program to auth",
            protocol::of::<ConversationToAuth>(&[ConversationPhase::Conversation]),
            answer::<AuthToConversation>,
            CHECKING,
            |arena, _| {
                let (client, pid) = conversation(arena);
                let mut seat = arena.seat(pid, arena.one("popward-auth"), 0);
                seat.clients.extend(client);
                seat
            },
            "Refused",
            MANY,
        ),
        lane(
            "keys to monitor",
            protocol::of::<KeysToMonitor>(SETUP),
            answer::<MonitorToKeys>,
            OF_PARTS,
            |arena, at| central(arena, at, "popward-keys", arena.host.monitor(), 0),
            "BrokeRules",
            FEW,
        ),
        lane(
            "keys to monitor, log",
            protocol::of::<Record>(SERVING),
            answer::<NoMessage>,
            IDLE,
            |arena, at| central(arena, at, "popward-keys", arena.host.monitor(), 1),
            "Record",
            FEW,
        ),
        lane(
            "keys to front",
            protocol::of::<KeysToFront>(&[KeysPhase::Idle, KeysPhase::Waiting]),
            answer::<FrontToKeys>,
            OF_KEYS,
            |arena, at| to_front(arena, at, "popward-keys"),
            "Refused",
            FEW,
        ),
        lane(
            "worker to front",
            protocol::of::<WorkerToFront>(CLIENT),
            answer::<FrontToWorker>,
            OF_ANSWERS,
            worker_to_front,
            "Totals",
            MANY,
        ),
        lane(
            "worker to sessions",
            protocol::of::<WorkerToSessions>(&[JobPhase::Given, JobPhase::Working]),
            answer::<SessionsToWorker>,
            OF_WORKERS,
            |arena, at| worker(arena, at, 0),
            "Dotlock",
            MANY,
        ),
        lane(
            "worker to sessions, log",
            protocol::of::<Record>(SERVING),
            answer::<NoMessage>,
            OF_SESSIONS,
            |arena, at| worker(arena, at, 1),
            "Record",
            MANY,
        ),
        lane(
            "log to supervisor",
            protocol::silent(),
            answer::<NoMessage>,
            IDLE,
            |arena, _| arena.seat(arena.one("popward-log"), arena.host.pid(), 0),
            "",
            FEW,
        ),
        lane(
            "log to supervisor, lines",
            protocol::silent(),
            answer::<NoMessage>,
            IDLE,
            |arena, _| arena.seat(arena.one("popward-log"), arena.host.pid(), 1),
            "",
            FEW,
        ),
        lane(
            "log to monitor, lines",
            protocol::silent(),
            answer::<NoMessage>,
            IDLE,
            |arena, _| arena.seat(arena.one("popward-log"), arena.host.monitor(), 0),
            "",
            FEW,
        ),
        lane(
            "log to sessions, lines",
            protocol::silent(),
            answer::<NoMessage>,
            IDLE,
            |arena, _| arena.seat(arena.one("popward-log"), arena.host.sessions(), 0),
            "",
            FEW,
        ),
    ]
}

const CLIENT: &[ClientPhase] = &[
    ClientPhase::Opening,
    ClientPhase::Idle,
    ClientPhase::Streaming,
    ClientPhase::Asked(Request::Totals),
    ClientPhase::Asked(Request::Listing),
    ClientPhase::Asked(Request::Size),
    ClientPhase::Asked(Request::Unique),
    ClientPhase::Asked(Request::Body),
    ClientPhase::Asked(Request::Delete),
    ClientPhase::Asked(Request::Quit),
];

/// Packets that are no message of any protocol, made from `whole`.
fn forms(whole: &[u8]) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let random = |seed: u64, length: usize| {
        let next = |word: &u64| Some(word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        let words = std::iter::successors(Some(seed), next).skip(1).take(length);
        let bytes = words.map(|word| (word >> 56) as u8).collect::<Vec<u8>>();
        [vec![0], bytes].concat()
    };
    vec![
        (EMPTY, "", Vec::new()),
        (WRONG, "only a tag", vec![0]),
        (WRONG, "a byte behind the message", [whole, &[0]].concat()),
        (WRONG, "17 KiB", vec![0; 17 << 10]),
        (WRONG, "90 KiB", vec![0; 90 << 10]),
        (WRONG, "20 random bytes", random(1, 20)),
        (WRONG, "500 random bytes", random(2, 500)),
        (WRONG, "15,000 random bytes", random(3, 15_000)),
        (DATA, "data", vec![1, b'x']),
        (DATA, "the last data", vec![2, b'x']),
        (DATA, "data with a message", vec![3, 1, 0, b'x']),
        (DATA, "all data with a cut message", vec![4, 200, 0]),
        (DATA, "an unknown tag", vec![9, 0]),
    ]
}

/// Descriptors that no message brings. The last one is the sender's own end.
fn descriptors(directory: &std::path::Path) -> Vec<(&'static str, OwnedFd)> {
    let file = directory.join("file");
    std::fs::write(&file, "anything").unwrap();
    let (pipe, _) = nix::unistd::pipe().unwrap();
    let (socket, _) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let open = |path: &std::path::Path| OwnedFd::from(File::open(path).unwrap());
    vec![
        ("a file", open(&file)),
        ("a directory", open(directory)),
        ("a pipe", pipe),
        ("a socket of another kind", socket.into()),
        ("/dev/zero", open("/dev/zero".as_ref())),
    ]
}

const OTHERS: &str = "a message about another front's session";
const EMPTY: &str = "an empty packet";
const WRONG: &str = "wrong bytes";
const DATA: &str = "a packet of a stream";
const DESCRIPTORS: &str = "a message with a wrong descriptor";

impl Lane {
    /// Sends everything.
    pub fn run(&self) -> Vec<Tried> {
        let mut found = Vec::new();
        // This thread may have tried another channel before. What a message is read as depends on
        // the session in it.
        kinds::set_about_nobody();
        for (result, count) in (self.protocol.others)() {
            found.push(Tried {
                stage: ANY_PHASE.into(),
                group: None,
                what: format!("a kind of another protocol ({count})"),
                result,
            });
        }
        let mut runner = Runner {
            lane: self,
            arena: Arena::start(FRONTS),
            found,
        };
        for at in self.stages {
            for number in 0..(self.protocol.samples)().len() {
                runner.own(at, number);
            }
        }
        // A front names its own sessions. What if it names one of another front?
        if self.name == "front to auth" {
            let samples = (self.protocol.samples)();
            for number in (0..samples.len()).filter(|place| samples[*place].label != "Last") {
                runner.other(self.stages[0], number);
            }
        }
        runner.rest(self.stages[0]);
        runner.found
    }

    fn is_brief(&self) -> bool {
        self.losses == FEW
    }

    fn base(&self) -> Sample {
        let own = (self.protocol.samples)().into_iter();
        let any = all().into_iter().find(|sample| sample.label == "Record");
        own.chain(any)
            .find(|sample| self.base.is_empty() || sample.label == self.base)
            .unwrap()
    }
}

struct Runner<'l> {
    lane: &'l Lane,
    arena: Arena,
    found: Vec<Tried>,
}

impl Runner<'_> {
    /// Brings a process to the point.
    fn seat(&mut self, at: &str) -> Seat {
        let is_lost = self.arena.losses > self.lane.losses;
        if is_lost || self.arena.idle_fronts().is_empty() {
            self.arena = Arena::start(FRONTS);
        }
        let seat = (self.lane.seat)(&mut self.arena, at);
        kinds::set_about(seat.about.0, seat.about.1);
        seat
    }

    /// Makes an attempt.
    fn attempt(&mut self, seat: Seat, at: &str, group: Option<&'static str>, sent: Sent) {
        let (what, packet, times, files, once) = sent;
        let attempt = Attempt {
            packet: &packet,
            times,
            descriptors: &files,
            answers: self.lane.answers,
            waits: what.starts_with("Check ("),
            once,
        };
        let result = attempt.make(&mut self.arena, seat);
        if self.arena.losses <= self.lane.losses {
            self.arena.until_free();
        }
        self.found.push(Tried {
            stage: at.into(),
            group,
            what,
            result,
        });
    }

    /// The message number `number` of the protocol.
    fn own(&mut self, at: &str, number: usize) {
        let seat = self.seat(at);
        let sample = (self.lane.protocol.samples)()[number].clone();
        let directory = tempfile::tempdir().unwrap();
        let files = descriptors(directory.path())
            .into_iter()
            .map(|(_, file)| file);
        let files = files.take(sample.descriptors).collect();
        let sent = (sample.label, sample.packet, 1, files, sample.once);
        self.attempt(seat, at, None, sent);
    }

    /// The message number `number` of the protocol, about bob's session at another front.
    fn other(&mut self, at: &str, number: usize) {
        let seat = self.seat(at);
        let bobs = self.arena.bobs.session;
        kinds::set_about(bobs, bobs.front());
        let sample = (self.lane.protocol.samples)()[number].clone();
        let sent = (sample.label, sample.packet, 1, Vec::new(), sample.once);
        self.attempt(seat, at, Some(OTHERS), sent);
    }

    /// What is no message, wrong descriptors, and a flood.
    fn rest(&mut self, at: &str) {
        let lane = self.lane;
        let is_wanted = |place: usize| !lane.is_brief() || BRIEF.contains(&place);
        for number in (0..forms(&[]).len()).filter(|place| is_wanted(*place)) {
            let seat = self.seat(at);
            let (group, name, packet) = forms(&lane.base().packet)[number].clone();
            let sent = (name.to_owned(), packet, 1, Vec::new(), false);
            self.attempt(seat, at, Some(group), sent);
        }
        let directory = tempfile::tempdir().unwrap();
        let kinds = descriptors(directory.path()).len();
        let own = kinds + 1;
        for number in (0..=own).filter(|place| !lane.is_brief() || *place >= kinds) {
            let seat = self.seat(at);
            let mut files = descriptors(directory.path());
            let (what, files) = if number < kinds {
                let (name, file) = files.swap_remove(number);
                (name, vec![file])
            } else if number < own {
                let copies = (0..20).map(|_| files[0].1.try_clone().unwrap());
                ("20 files", copies.collect())
            } else {
                ("its own end", vec![seat.taken.end.try_clone().unwrap()])
            };
            let sent = (what.to_owned(), lane.base().packet, 1, files, false);
            self.attempt(seat, at, Some(DESCRIPTORS), sent);
        }
        let seat = self.seat(at);
        let base = lane.base();
        let what = format!("2,000 times {}", base.label);
        // At the sender's end its parent says how many records it has left out.
        let once = base.once || base.label == "Record";
        self.attempt(seat, at, None, (what, base.packet, 2000, Vec::new(), once));
    }
}

/// What it is, the packet, how often, with which descriptors, and whether it may come only once.
type Sent = (String, Vec<u8>, usize, Vec<OwnedFd>, bool);

/// Which of [`forms`] are sent where each attempt costs a process that is slow to come back, or where
/// nothing is read.
const BRIEF: &[usize] = &[0, 1, 2, 4, 6, 8];
