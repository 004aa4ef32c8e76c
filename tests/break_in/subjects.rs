//! The processes that are broken into, and how each is held at its work meanwhile.

use super::actions::{self, Action};
use super::catch::{Moment, catch};
use super::conversations::{self, PamHost};
use super::host::{Client, Host, assert_ok, until};
use super::inject::{Double, Filter, Outcome};
use super::scene::{self, ALICE, Idle, Scene};
use nix::unistd::Pid;

/// A process that is broken into.
pub struct Subject {
    /// What the table calls it.
    pub name: &'static str,
    pub has_filter: bool,
    /// A copy of it.
    pub double: Double,
    /// A process with the same ids. See [`scene::twin`].
    pub twin: Double,
    /// Another process of the same user.
    pub fellow: Idle,
}

impl Subject {
    pub fn new(name: &'static str, pid: i32) -> Self {
        Self::with(name, pid, Double::of(pid).unwrap())
    }

    /// The same for a process that this thread has stopped.
    pub fn stopped(name: &'static str, pid: Pid) -> Self {
        Self::with(name, pid.as_raw(), Double::of_stopped(pid).unwrap())
    }

    fn with(name: &'static str, pid: i32, double: Double) -> Self {
        Self {
            name,
            has_filter: scene::is_filtered(pid),
            double,
            twin: scene::twin(pid),
            fellow: Idle::of_user_of(pid),
        }
    }
}

/// What a user has done to their own worker, and what came of each action.
pub struct Attack {
    /// What the table calls it.
    pub name: &'static str,
    pub outcomes: Vec<(Action, Outcome)>,
}

impl Attack {
    /// The user `uid` attacks the process `pid`.
    fn on(name: &'static str, pid: i32, uid: u32) -> Self {
        let shell = Idle::of_user(uid);
        let shell = Double::of(shell.pid()).unwrap();
        let attempt = |action: Action| {
            let outcome = shell.attempt(Filter::On, &action.before, &action.call);
            (action, outcome)
        };
        let outcomes = actions::against_worker(pid).into_iter().map(attempt);
        Self {
            name,
            outcomes: outcomes.collect(),
        }
    }
}

/// A neighbour that nobody breaks into, because it is like the worker.
const OTHER: &str = "another user's worker";

/// What [`PamHost`] has.
const OF_PAM: &[&str] = &["auth-pam", "auth-proof"];

/// All of them.
pub struct Subjects {
    pub all: Vec<Subject>,
    pub attacks: Vec<Attack>,
    /// The processes that live as long as the server, or as the sessions of `clients`.
    pub lasting: Vec<(&'static str, i32)>,
    /// Those that this system lacks.
    pub missing: &'static [&'static str],
    _clients: Vec<Client>,
    _pam: Option<PamHost>,
}

/// Begins a login of `name`, without a look at the answer to PASS.
fn begin_login(host: &Host, name: &str) -> Client {
    let mut client = host.connect();
    assert_ok(&client.ask(&format!("USER {name}")));
    client.send(format!("PASS {name}\r\n").as_bytes());
    client
}

impl Subjects {
    /// The subjects of this host.
    pub fn of(scene: &Scene) -> Self {
        let host = &scene.host;
        let sessions = host.sessions();
        let mut lasting = vec![
            ("supervisor", host.pid()),
            ("monitor", host.monitor()),
            ("sessions", sessions),
        ];
        for name in ["log", "front", "auth", "keys"] {
            lasting.push((name, one(host, &format!("popward-{name}"), &[])));
        }
        let mut clients = vec![host.login("bob")];
        let other = one(host, "popward-worker", &[]);
        lasting.push((OTHER, other));
        let (alice, mut attacks) = attack_a_new_worker(host, sessions);
        clients.push(alice);
        let worker = one(host, "popward-worker", &[other]);
        lasting.push(("worker", worker));
        // Dave's worker waits for this lock.
        std::fs::write(host.at("mail/dave.lock"), "").unwrap();
        clients.push(begin_login(host, "dave"));
        let waiting = one(host, "popward-worker", &[worker, other]);
        until("the worker waits for its locks", || scene::sleeps(waiting));
        let name = "the user's shell, against a worker before its locks";
        attacks.push(Attack::on(name, waiting, ALICE + 3));
        // It does not wait for ever.
        let waiting = Subject::new("worker before its locks", waiting);
        attacks.push(Attack::on(
            "the user's shell, against a worker",
            worker,
            ALICE,
        ));
        let (client, program) = conversations::of_program(host);
        clients.push(client);
        let mut held = vec![("auth-program", program)];
        let pam = PamHost::start(scene.programs.path());
        held.extend(pam.as_ref().map(|pam| ("auth-pam", pam.held())));
        // A copy has the name of its original. So nobody looks for these by name from now on.
        let copied = |(name, pid): &(&'static str, i32)| Subject::new(name, *pid);
        let own = lasting.iter().filter(|(name, _)| *name != OTHER);
        let mut all: Vec<_> = own.map(copied).collect();
        all.push(waiting);
        all.extend(held.iter().map(copied));
        let adopt = || begin_login(host, "erin");
        let (client, adopt) = caught("adopt", sessions, ("popward-adopt", 2), adopt);
        clients.push(client);
        all.push(adopt);
        if let Some(pam) = &pam {
            let token = || conversations::begin_token(&pam.host, "games");
            let monitor = pam.host.monitor();
            let (client, proof) = caught("auth-proof", monitor, ("popward-auth-proof", 1), token);
            clients.push(client);
            all.push(proof);
        }
        Self {
            all,
            attacks,
            lasting,
            missing: if pam.is_some() { &[] } else { OF_PAM },
            _clients: clients,
            _pam: pam,
        }
    }
}

/// Logs alice in, and attacks her worker as soon as it has her ids.
fn attack_a_new_worker(host: &Host, sessions: i32) -> (Client, Vec<Attack>) {
    let moments = [Moment::Identity, Moment::Exec];
    let (mut client, mut attacks) = (None, Vec::new());
    let login = || client = Some(begin_login(host, "alice"));
    let attack = |moment, pid: Pid| {
        let name = match moment {
            Moment::Identity => "the user's shell, against a worker before its exec",
            _ => "the user's shell, against a worker at its exec",
        };
        attacks.push(Attack::on(name, pid.as_raw(), ALICE));
    };
    catch(sessions, "popward-worker", &moments, login, attack).unwrap();
    let mut client = client.unwrap();
    assert_ok(&client.line());
    (client, attacks)
}

/// A process of this executable, as soon as it has the last of its `filters`. `begin` is what makes
/// the monitor start it.
fn caught(
    name: &'static str,
    monitor: i32,
    (executable, filters): (&str, usize),
    begin: impl FnOnce() -> Client,
) -> (Client, Subject) {
    let (mut client, mut subject) = (None, None);
    let begin = || client = Some(begin());
    let mut left = filters;
    let look = |_, pid| {
        left -= 1;
        if left == 0 {
            subject = Some(Subject::stopped(name, pid));
        }
    };
    catch(
        monitor,
        executable,
        &vec![Moment::Filter; filters],
        begin,
        look,
    )
    .unwrap();
    (client.unwrap(), subject.unwrap())
}

/// The process of this executable that is not one of `known`.
pub fn one(host: &Host, executable: &str, known: &[i32]) -> i32 {
    let mut found = Vec::new();
    until(executable, || {
        found = host.children(executable);
        found.retain(|pid| !known.contains(pid));
        found.len() == 1
    });
    found[0]
}
