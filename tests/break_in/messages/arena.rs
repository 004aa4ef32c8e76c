//! A server with a process that is taken over, and the users whom that must not disturb.

use super::super::conversations::{self, MECHANISMS};
use super::super::host::{Client, Host, assert_ok, descendants, spool, until, user};
use super::channels::{Taken, between, inode, is_stopped, links, stopped, take};
use super::kinds::{VICTIM, VICTIM_ID};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use popward_proto::account::{FrontId, SessionId};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The user of the sender's own sessions.
pub const ALICE: &str = "alice";
/// The user id of [`ALICE`].
pub const ALICE_ID: u32 = 64501;

/// Many attempts are failed logins.
const THROTTLE: &str = "source_failures = 0\naccount_failures = 0\n";

/// Where a client of a front is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Idle,
    Greeted,
    Checking,
    Session,
    After,
}

impl Stage {
    pub const ALL: [Self; 5] = [
        Self::Idle,
        Self::Greeted,
        Self::Checking,
        Self::Session,
        Self::After,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "without a client",
            Self::Greeted => "before a login",
            Self::Checking => "during a login",
            Self::Session => "in a session",
            Self::After => "after a session",
        }
    }
}

/// A client at a front.
pub struct Visit {
    pub front: i32,
    pub session: SessionId,
    pub client: Option<Client>,
}

/// The server.
pub struct Arena {
    pub host: Host,
    _programs: tempfile::TempDir,
    fronts: Vec<i32>,
    connections: BTreeMap<i32, u32>,
    /// The session that must not be disturbed.
    pub bob: Client,
    pub bobs: Visit,
    /// How many processes of the sender's or the neighbour's kind have been lost.
    pub losses: usize,
    /// Fronts that may wait for an answer, or have one that they have not read.
    pub used: Vec<i32>,
    /// Whether the server is ending.
    pub is_ending: bool,
}

/// Somebody who was taken over, and the neighbour that hears it.
pub struct Seat {
    /// The sender's executable.
    pub role: String,
    pub sender: i32,
    pub neighbour: i32,
    pub taken: Taken,
    /// The session and the front that messages are about.
    pub about: (SessionId, FrontId),
    pub clients: Vec<Client>,
    /// A session of another user at the neighbour, which is a front.
    pub guest: Option<Client>,
    /// A program that waits for the neighbour.
    pub program: Option<Child>,
    /// A process that is stopped, so that the server comes no further.
    pub stopped: Option<i32>,
    /// Whether the sender is killed afterwards. Otherwise it goes on by itself.
    pub is_killed: bool,
}

impl Seat {
    /// Ends the clients, and lets go on what was stopped for the sender's sake.
    pub fn leave(&mut self) {
        drop((std::mem::take(&mut self.clients), self.guest.take()));
        if let Some(mut program) = self.program.take() {
            let _ = program.kill();
            let _ = program.wait();
        }
        if let Some(pid) = self.stopped.take() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
        }
    }
}

impl Drop for Arena {
    /// Ends the sessions, so that the server ends at once.
    fn drop(&mut self) {
        let _ = self.bob.stream().write_all(b"QUIT\r\n");
        self.end_programs();
    }
}

impl Arena {
    pub fn start(fronts: usize) -> Self {
        let programs = tempfile::tempdir().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(programs.path(), mode).unwrap();
        let program = conversations::silent_program(programs.path());
        let users = [ALICE, "bob", "carol", "dave", VICTIM];
        let users = users.into_iter().zip(ALICE_ID..);
        let users: Vec<_> = users.map(|(name, id)| user(name, id, &spool(2))).collect();
        assert_eq!(users[4].uid, VICTIM_ID);
        let auth = format!(
            "[auth]\n{MECHANISMS}{THROTTLE}oauth2 = {{ program = \"{}\" }}\n",
            program.display()
        );
        let server = format!("[server]\nfronts = {fronts}\n");
        let changes = [
            ("[auth]\n", &*auth),
            ("[server]\n", &*server),
            ("lock_timeout = \"2s\"", "lock_timeout = \"50s\""),
            ("shutdown_grace = \"5s\"", "shutdown_grace = \"60s\""),
        ];
        let host = Host::with(&users, "", &changes);
        let fronts = host.children("popward-front");
        let mut arena = Self {
            connections: BTreeMap::new(),
            bob: host.login("bob"),
            bobs: Visit {
                front: 0,
                session: SessionId::new(FrontId(0), 0),
                client: None,
            },
            _programs: programs,
            fronts,
            host,
            losses: 0,
            used: Vec::new(),
            is_ending: false,
        };
        let front = arena.front_of(&arena.bob);
        let session = arena.count(front);
        arena.bobs = Visit {
            front,
            session,
            client: None,
        };
        arena
    }

    /// The front that has accepted a client.
    fn front_of(&self, client: &Client) -> i32 {
        let port = client.stream().local_addr().unwrap().port();
        let ends = format!(":{:04X} 0100007F:{port:04X} ", self.host.plain);
        let mut found = None;
        until("a front has the client", || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let line = table.lines().find(|line| line.contains(&ends));
            let own = line.and_then(|line| line.split_whitespace().nth(9)?.parse::<u32>().ok());
            let mut fronts = self.host.children("popward-front").into_iter();
            found = own.and_then(|own| fronts.find(|pid| has_socket(*pid, own)));
            found.is_some() || own.is_none()
        });
        found.unwrap_or(0)
    }

    /// The session of the next connection that this front accepts.
    fn count(&mut self, front: i32) -> SessionId {
        let count = self.connections.entry(front).or_default();
        *count += 1;
        self.session_of(front, self.connections[&front])
    }

    fn session_of(&self, front: i32, count: u32) -> SessionId {
        let place = self.fronts.iter().position(|pid| *pid == front);
        // A front that was started later has a number that no test needs.
        let number = place.map_or(0xffe, |place| place as u32 + 1);
        SessionId::new(FrontId(number), count)
    }

    /// The number of a front that was there at the start.
    pub fn number_of(&self, front: i32) -> FrontId {
        self.session_of(front, 1).front()
    }

    /// A connection, at which front, and its session.
    pub fn connect(&mut self) -> (Client, i32, SessionId) {
        let client = self.host.connect();
        let front = self.front_of(&client);
        let session = self.count(front);
        (client, front, session)
    }

    /// The fronts of the start that live and have no session of bob.
    pub fn idle_fronts(&self) -> Vec<i32> {
        let mut living = self.host.children("popward-front");
        living.retain(|pid| self.fronts.contains(pid) && *pid != self.bobs.front);
        living.retain(|pid| !self.used.contains(pid));
        living
    }

    fn idle_front(&self) -> i32 {
        self.idle_fronts()[0]
    }

    /// A client of alice at this stage, at a front without a session of bob.
    pub fn visit(&mut self, stage: Stage) -> Visit {
        if stage == Stage::Idle {
            let front = self.idle_front();
            let session = self.session_of(front, 9_999);
            return Visit {
                front,
                session,
                client: None,
            };
        }
        let front = self.idle_front();
        let (mut client, session) = self.connect_to(front);
        match stage {
            Stage::Idle | Stage::Greeted => {}
            Stage::Checking => self.begin_token(&mut client),
            Stage::Session | Stage::After => log_in(&mut client, ALICE),
        }
        if stage == Stage::After {
            assert_ok(&client.ask("QUIT"));
            self.until_free();
        }
        Visit {
            front,
            session,
            client: Some(client),
        }
    }

    /// A connection at this front, and its session.
    fn connect_to(&mut self, wanted: i32) -> (Client, SessionId) {
        let (client, front, session) = self.alone(wanted, Self::connect);
        assert_eq!(front, wanted);
        (client, session)
    }

    /// Does something while all fronts but this one are stopped.
    fn alone<R>(&mut self, wanted: i32, what: impl FnOnce(&mut Self) -> R) -> R {
        let mut others = self.host.children("popward-front");
        others.retain(|pid| *pid != wanted);
        for pid in &others {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGSTOP);
        }
        others.iter().for_each(|pid| stopped(*pid));
        let result = what(self);
        for pid in &others {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGCONT);
        }
        result
    }

    /// A client with TLS at this front. Returns once the front has done what `until` waits for.
    pub fn tls_client(&mut self, wanted: i32, until: impl FnOnce(&mut Child)) -> Child {
        self.count(wanted);
        let at = format!("127.0.0.1:{}", self.host.tls);
        self.alone(wanted, |_| {
            let mut program = Command::new("openssl");
            program.args(["s_client", "-quiet", "-connect", &at]);
            program.stdin(Stdio::piped());
            program.stdout(Stdio::piped()).stderr(Stdio::null());
            let mut program = program.spawn().unwrap();
            until(&mut program);
            program
        })
    }

    /// Waits until a process of this executable is started, and returns it. The process is stopped
    /// before its program begins. `starts` makes the server start it.
    pub fn held(&self, executable: &str, starts: impl FnOnce()) -> i32 {
        let place = self.host.at("libexec");
        let (path, real) = (place.join(executable), place.join("real"));
        let script = place.join("script");
        std::fs::write(&script, "#!/bin/sh\nkill -STOP $$\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        std::fs::rename(&path, &real).unwrap();
        std::fs::rename(&script, &path).unwrap();
        starts();
        let ending = format!("/{executable}");
        let mut found = None;
        until("a process waits for its program", || {
            found = self.processes().into_iter().find(|pid| {
                let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
                let words = words.unwrap_or_default();
                words
                    .split('\0')
                    .nth(1)
                    .is_some_and(|word| word.ends_with(&ending))
                    && is_stopped(*pid)
            });
            found.is_some()
        });
        std::fs::rename(&real, &path).unwrap();
        found.unwrap()
    }

    /// The server begins to end. Only fronts with sessions are left.
    pub fn begin_to_end(&mut self) {
        self.host.signal(Signal::SIGTERM);
        self.host.logged("ending: no new connections");
        until("the other fronts have ended", || {
            self.host.children("popward-front").len() == 2
        });
        self.is_ending = true;
    }

    /// Begins a login of alice that lasts, and waits until a program is asked.
    pub fn begin_token(&self, client: &mut Client) {
        client.send(conversations::token(ALICE).as_bytes());
        until("the program is asked", || !self.conversations().is_empty());
    }

    /// The processes that hold conversations with a program. Each has a guard for its parent, which
    /// runs the same executable, and has started the program.
    pub fn conversations(&self) -> Vec<i32> {
        let all = self.host.children("popward-auth-program");
        let held = all.iter().flat_map(|guard| descendants(*guard));
        held.filter(|pid| all.contains(pid) && !descendants(*pid).is_empty())
            .collect()
    }

    /// Ends the programs that are asked, so that their conversations end. Ends the sender, if it is
    /// a worker or has lost its channel.
    pub fn clean_up(&self, seat: &Seat, is_lost: bool) {
        self.end_programs();
        if is_lost {
            let _ = kill(Pid::from_raw(seat.sender), Signal::SIGKILL);
        }
        let _ = std::fs::remove_file(self.host.at("mail/alice.lock"));
    }

    fn end_programs(&self) {
        for held in self.conversations() {
            for pid in descendants(held) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    /// Waits until alice has no worker and no login.
    pub fn until_free(&self) {
        let others = || self.host.children("popward-worker").len() > 1;
        until("the worker has ended", || !others());
        until("no login is under way", || {
            self.host.children("popward-auth-program").is_empty()
        });
    }

    /// Alice's worker.
    pub fn worker(&self) -> i32 {
        let uid = format!("Uid:\t{ALICE_ID}\t");
        let is_hers = |pid: &i32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
            status.is_ok_and(|status| status.contains(&uid))
        };
        let mut found = None;
        until("alice has a worker", || {
            found = self
                .host
                .children("popward-worker")
                .into_iter()
                .find(is_hers);
            found.is_some()
        });
        found.unwrap()
    }

    /// Stops a process and takes its end of its channel number `place` to `neighbour`.
    pub fn seat(&self, sender: i32, neighbour: i32, place: usize) -> Seat {
        let mut ends = Vec::new();
        until("the channel is there", || {
            ends = between(sender, neighbour);
            ends.len() > place
        });
        let role = role(sender);
        self.settle(neighbour);
        kill(Pid::from_raw(sender), Signal::SIGSTOP).unwrap();
        stopped(sender);
        Seat {
            role,
            sender,
            neighbour,
            taken: take(sender, ends[place]),
            about: (self.bobs.session, self.bobs.session.front()),
            clients: Vec::new(),
            guest: None,
            program: None,
            stopped: None,
            is_killed: false,
        }
    }

    /// The log, without the directory that this server has for itself.
    pub fn log(&self) -> String {
        let directory = self.host.at("").display().to_string();
        self.host.log().replace(&directory, "")
    }

    /// A session of dave at this front.
    pub fn guest(&mut self, wanted: i32) -> Client {
        let (mut client, _) = self.connect_to(wanted);
        log_in(&mut client, "dave");
        client
    }

    /// The only process of this executable.
    pub fn one(&self, executable: &str) -> i32 {
        let mut found = Vec::new();
        until(executable, || {
            found = self.host.children(executable);
            found.len() == 1
        });
        found[0]
    }

    pub fn processes(&self) -> Vec<i32> {
        let mut all = descendants(self.host.pid());
        all.push(self.host.pid());
        all
    }

    /// Waits until each process of the server waits for something. Returns whether the process
    /// `neighbour` does not.
    pub fn settle(&self, neighbour: i32) -> bool {
        let began = ticks(neighbour);
        let mut quiet = 0;
        while quiet < 3 {
            std::thread::sleep(Duration::from_millis(1));
            let all = self.processes();
            quiet = if all.iter().all(|pid| is_idle(*pid)) {
                quiet + 1
            } else {
                0
            };
            if ticks(neighbour).saturating_sub(began) > 200 {
                return true;
            }
        }
        false
    }
}

/// Whether a process has this socket.
fn has_socket(pid: i32, wanted: u32) -> bool {
    links(pid).values().any(|link| inode(link) == Some(wanted))
}

/// Logs a user in.
pub fn log_in(client: &mut Client, name: &str) {
    assert_ok(&client.ask(&format!("USER {name}")));
    assert_ok(&client.ask(&format!("PASS {name}")));
}

/// What a process is called in the table.
pub fn role(pid: i32) -> String {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let name = line.split('\0').next().unwrap_or_default();
    let name = if name == "/bin/sh" { "silent" } else { name };
    name.trim_start_matches("popward-").to_owned()
}

/// Whether all threads of a process wait or are stopped.
pub fn is_idle(pid: i32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let mut tasks = tasks.into_iter().flatten().flatten();
    tasks.all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
        !matches!(state, Some(b'R' | b'D'))
    })
}

/// How much time of the processor a process has had, in hundredths of a second.
fn ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return 0;
    };
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |place: usize| fields[place].parse::<u64>().unwrap_or(0);
    number(11) + number(12)
}
