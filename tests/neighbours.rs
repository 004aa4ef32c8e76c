//! All programs that share spools with popward, at once, as on a mail host. Delivery agents
//! deliver, mail readers edit, POP3 clients look and delete, for thousands of rounds. No message is
//! lost, doubled or changed (promises P2, P3, P5).
//!
//! `$POPWARD_NEIGHBOURS_SECONDS` says for how long. `$POPWARD_SEED` repeats the random choices, but
//! not the scheduler's.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;
mod neighbourhood;

use host::{Client, Host, assert_ok, root, skipped, user};
use neighbourhood::agents::{Delivery, Post};
use neighbourhood::model::{Counts, Maildrop, State, parse, text};
use neighbourhood::readers::{self, Edit};
use neighbourhood::{Account, MAIL, Random, accounts, find, say};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

/// About how many messages a spool holds at most.
const FULL: usize = 30;
/// Readers delete nothing below this, so that popward has something to show.
const FEW: usize = 4;
/// How much longer it may take until every program has done its part.
const LATEST: Duration = Duration::from_secs(600);
/// How many deliver to one spool at once.
const DELIVERERS: usize = 3;

/// One user's spool, and all that is known of it.
struct Spool {
    account: Account,
    /// The agents that deliver to it.
    agents: Vec<&'static str>,
    model: Mutex<Maildrop>,
    /// Held by a program that rewrites the spool. Readers hold no lock between reading the spool
    /// and rewriting it, and most do not notice that another program has rewritten it in between:
    /// see docs/neighbours.md.
    rewriting: Mutex<()>,
    /// bsd-mailx takes the fcntl lock and then waits for the dotlock, as dovecot-lda does after
    /// reading. procmail and maildrop do it the other way round. None of them gives up soon.
    /// Whoever holds this alone does not meet those two.
    waiting: RwLock<()>,
    /// Held by a session on putmail's spool. See [`Spool::turn`].
    visiting: Mutex<()>,
    /// Who did what when, for whoever must find out why this test failed.
    history: Mutex<Vec<String>>,
}

/// The least time between two sessions on putmail's spool.
const GAP: Duration = Duration::from_millis(500);

impl Spool {
    /// Waits until a session may begin. putmail reads a dotlock, asks whether its process lives, and
    /// then removes whatever has the dotlock's name. If one session ends and the next begins in
    /// between, putmail removes the dotlock of the next.
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        let turn = self.agents.contains(&"putmail");
        let turn = turn.then(|| lock(&self.visiting))?;
        std::thread::sleep(GAP);
        Some(turn)
    }

    fn note(&self, what: &str) {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        lock(&self.history).push(format!("{:.3} {what}", now.as_secs_f64()));
    }

    /// The last notes.
    fn latest(&self) -> String {
        let history = lock(&self.history);
        let last = &history[history.len().saturating_sub(12)..];
        format!("{}:\n{}", self.account.name, last.join("\n"))
    }
}

/// The host, and everybody who works there.
struct Town {
    host: Host,
    post: Post,
    boxes: Vec<Spool>,
    counts: Mutex<Counts>,
    readers: Vec<&'static str>,
    next: AtomicU32,
    sessions: AtomicU32,
    deletions: AtomicU32,
    in_use: AtomicU32,
    crashes: AtomicU32,
    ended: AtomicBool,
    until: Instant,
    /// How often each agent must deliver and each reader delete.
    least: u32,
}

/// What a POP3 client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Visit {
    Look,
    /// Marks messages as deleted, and goes without QUIT.
    Break,
    Delete,
}

/// A host like Debian's: spools of `user:mail`, mode 0660, in a directory of `root:mail`, mode
/// 2775.
fn debian(accounts: &[Account]) -> Host {
    let users: Vec<host::User> = accounts
        .iter()
        .map(|account| user(account.name, account.uid, b""))
        .collect();
    let group = format!("group = {}\n", host::MAIL);
    let host = Host::with(&users, "", &[(&group, "group = \"mail\"\n")]);
    let mail = host.at("mail");
    chown(&mail, None, Some(MAIL)).unwrap();
    fs::set_permissions(&mail, PermissionsExt::from_mode(0o2775)).unwrap();
    for account in accounts {
        let spool = host.spool(account.name);
        chown(&spool, Some(account.uid), Some(MAIL)).unwrap();
        fs::set_permissions(&spool, PermissionsExt::from_mode(0o660)).unwrap();
    }
    host
}

/// A session, if the spool is free within `spool.lock_timeout`.
fn enter(host: &Host, user: &str) -> Option<Client> {
    let mut client = host.connect();
    assert_ok(&client.ask(&format!("USER {user}")));
    let answer = client.ask(&format!("PASS {user}"));
    if answer.starts_with("-ERR [IN-USE]") {
        return None;
    }
    assert_ok(&answer);
    Some(client)
}

/// The values in the lines of LIST or UIDL, in the order of the numbers.
fn listed(client: &mut Client, command: &str) -> Vec<String> {
    let lines = client.multi(command);
    let values = lines.lines().zip(1..).map(|(line, number)| {
        let (name, value) = line.split_once(' ').unwrap();
        assert_eq!(name, format!("{number}"));
        value.to_owned()
    });
    values.collect()
}

impl Town {
    /// Whether the time is over. On a slow machine the work goes on until everybody has done
    /// enough, within bounds.
    fn over(&self) -> bool {
        let late = Instant::now().checked_duration_since(self.until);
        self.ended.load(Ordering::SeqCst)
            || late.is_some_and(|late| late > LATEST || self.idle().is_empty())
    }

    /// Installed programs that have not done enough yet, and what they did.
    fn idle(&self) -> Vec<String> {
        let counts = lock(&self.counts);
        let count = |name: &str| counts.get(name).cloned().unwrap_or_default();
        let mut idle = Vec::new();
        for agent in &self.post.agents {
            if count(agent).delivered < self.least {
                idle.push(format!("{agent}: {:?}", count(agent)));
            }
        }
        for reader in &self.readers {
            if count(reader).deleted < self.least {
                idle.push(format!("{reader}: {:?}", count(reader)));
            }
        }
        if counts.values().all(|count| count.marked == 0) {
            idle.push("who marks".to_owned());
        }
        if self.deletions.load(Ordering::SeqCst) < self.least {
            idle.push("who deletes by POP3".to_owned());
        }
        idle
    }

    fn spool(&self, at: &Spool) -> String {
        String::from_utf8(self.host.bytes(at.account.name)).unwrap()
    }

    /// A POP3 session. It holds all locks, so nobody may write meanwhile, and the spool can be
    /// compared with the model. Returns `false` if another program had the spool.
    fn visit(&self, at: &Spool, random: &mut Random, visit: Visit) -> bool {
        let _turn = at.turn();
        let Some(mut client) = enter(&self.host, at.account.name) else {
            self.in_use.fetch_add(1, Ordering::SeqCst);
            return false;
        };
        at.note(&format!("pop {visit:?} in"));
        let (spool, ids) = {
            let mut model = lock(&at.model);
            let spool = self.spool(at);
            let ids = model.settle(&spool, &mut lock(&self.counts));
            (spool, ids)
        };
        let sizes = listed(&mut client, "LIST");
        let uidls = listed(&mut client, "UIDL");
        assert_eq!((sizes.len(), uidls.len()), (ids.len(), ids.len()));
        let mut model = lock(&at.model);
        for (number, (id, uidl)) in (1..).zip(ids.iter().zip(&uidls)) {
            let top = client.multi(&format!("TOP {number} 1"));
            assert!(top.contains(&format!("\n\nid n{id}x\n")), "{top}");
            model.uidl(*id, uidl);
        }
        drop(model);
        for _ in 0..ids.len().min(3) {
            let index = random.below(ids.len());
            let retrieved = client.multi(&format!("RETR {}", index + 1));
            let octets = retrieved.len() + retrieved.lines().count();
            assert_eq!(
                sizes[index],
                octets.to_string(),
                "octets of n{}x",
                ids[index]
            );
            lock(&at.model).retrieved(ids[index], &retrieved);
        }
        random.pause(150);
        let mut deleted = Vec::new();
        if visit != Visit::Look {
            let mut model = lock(&at.model);
            for (number, id) in (1..).zip(&ids) {
                if model.mail(*id).state == State::There && random.below(3) == 0 {
                    if visit == Visit::Delete {
                        model.mail(*id).state = State::Leaving;
                    }
                    deleted.push(*id);
                    assert_ok(&client.ask(&format!("DELE {number}")));
                }
            }
        }
        assert!(self.spool(at) == spool, "somebody wrote during a session");
        self.sessions.fetch_add(1, Ordering::SeqCst);
        at.note(&format!("pop {visit:?} out {deleted:?}"));
        if visit == Visit::Break {
            return true;
        }
        assert_ok(&client.ask("QUIT"));
        if visit == Visit::Delete {
            let mut model = lock(&at.model);
            for id in &deleted {
                model.mail(*id).state = State::Gone;
            }
            let count = u32::try_from(deleted.len()).unwrap();
            self.deletions.fetch_add(count, Ordering::SeqCst);
        }
        true
    }

    /// Delivers one message after the other, by one agent after the other.
    fn deliver(&self, at: &Spool, number: usize, mut random: Random) {
        let queue = format!("{}{number}", at.account.name);
        let mut turn = random.below(at.agents.len());
        while !self.over() {
            if lock(&at.model).live() >= FULL {
                random.pause(50);
                continue;
            }
            turn += 1;
            let agent = at.agents[turn % at.agents.len()];
            // dovecot-lda also writes X-UID headers into messages that are there, so it rewrites
            // the spool. Several putmails at once lose each other's messages.
            let alone = match agent {
                "dovecot-lda" | "putmail" => Some(&at.rewriting),
                "maildrop" => Some(&self.post.busy),
                _ => None,
            };
            let _alone = match alone.map(Mutex::try_lock) {
                Some(Err(TryLockError::WouldBlock)) => {
                    random.pause(50);
                    continue;
                }
                Some(Err(TryLockError::Poisoned(_))) => return,
                Some(Ok(guard)) => Some(guard),
                None => None,
            };
            let waits = matches!(agent, "procmail" | "maildrop");
            let waiting = waits.then(|| at.waiting.try_read());
            let alone = agent == "dovecot-lda";
            let _met = alone.then(|| at.waiting.write());
            if matches!(waiting, Some(Err(_))) {
                random.pause(50);
                continue;
            }
            let id = self.next.fetch_add(1, Ordering::SeqCst);
            let (header, body) = text(id, at.account.name, &mut random);
            let mail = format!("{}\n\n{body}", header.join("\n"));
            lock(&at.model).add(id, agent, (header, body));
            at.note(&format!("{agent} n{id}x"));
            let mut again = false;
            let mut tries = 0;
            let delivery = loop {
                let delivery = self.post.deliver(agent, &at.account, &queue, &mail, again);
                if !matches!(delivery, Delivery::Deferred(_)) {
                    break delivery;
                }
                lock(&self.counts).entry(agent).or_default().deferred += 1;
                self.clear(at);
                tries += 1;
                assert!(
                    tries < 100 && !self.ended.load(Ordering::SeqCst),
                    "{agent} does not deliver n{id}x\n{}",
                    self.post.exim_log(&queue)
                );
                again = true;
                random.pause(100);
            };
            at.note(&format!("{agent} n{id}x {delivery:?}"));
            if delivery == Delivery::Done {
                let mut model = lock(&at.model);
                model.delivered(id, &mut lock(&self.counts));
            }
        }
    }

    /// Reads and deletes, with one program after another, as the user does.
    fn edit(&self, at: &Spool, mut random: Random) {
        let readers = &self.readers;
        let mut turn = random.below(readers.len() + 3);
        while !self.over() {
            random.pause(100);
            let _rewriting = lock(&at.rewriting);
            turn += 1;
            let chosen = turn % (readers.len() + 3);
            if chosen == readers.len() && find("movemail").is_some() && random.below(6) == 0 {
                self.move_all(at);
                continue;
            }
            let Some(reader) = readers.get(chosen) else {
                self.visit(at, &mut random, Visit::Delete);
                continue;
            };
            let alone = *reader == "bsd-mailx";
            let _met = alone.then(|| at.waiting.write());
            let edit = if random.below(4) == 0 && readers::marks(reader) {
                Edit::Mark
            } else {
                Edit::Delete
            };
            let id = {
                let mut model = lock(&at.model);
                let there = model.those(State::There);
                if there.len() < FEW {
                    continue;
                }
                let id = there[random.below(there.len())];
                if edit == Edit::Delete {
                    model.mail(id).state = State::Leaving;
                }
                id
            };
            at.note(&format!("{reader} {edit:?} n{id}x"));
            let ended = readers::edit(reader, &self.post, &at.account, id, edit);
            at.note(&format!(
                "{reader} n{id}x {:?} {:?}: {}",
                ended.code, ended.took, ended.output
            ));
            if ended.code.is_none() {
                self.clear(at);
            }
            let mut model = lock(&at.model);
            match edit {
                Edit::Delete => model.mail(id).state = State::Asked(reader),
                Edit::Mark => model.mail(id).marked_by = Some(reader),
            }
        }
    }

    /// mailutils sometimes dies of its heap ("free(): invalid next size") and leaves an empty
    /// dotlock. An operator would have to remove it. So does this test, because postfix would wait
    /// for 500 s. A living program touches its dotlock before maildrop breaks it.
    fn clear(&self, at: &Spool) {
        let path = self.host.at(&format!("mail/{}.lock", at.account.name));
        let look = || {
            let found = fs::symlink_metadata(&path).ok()?;
            let identity = (found.ino(), found.ctime(), found.ctime_nsec());
            (found.len() == 0).then_some(identity)
        };
        let first = look();
        let until = Instant::now() + Duration::from_secs(60);
        while first.is_some() && look() == first {
            if Instant::now() >= until {
                at.note("a dead program's dotlock is removed");
                say(&at.latest());
                self.crashes.fetch_add(1, Ordering::SeqCst);
                return fs::remove_file(&path).unwrap();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn move_all(&self, at: &Spool) {
        lock(&at.model).moving = true;
        let file = self.post.home_of(&at.account).join("moved");
        let _ = fs::remove_file(&file);
        at.note("movemail");
        let ended = readers::move_all(&self.post, &at.account);
        at.note(&format!("movemail {:?}", ended.code));
        if ended.code.is_none() {
            self.clear(at);
        }
        let mut model = lock(&at.model);
        if let Ok(moved) = fs::read_to_string(&file) {
            model.moved(&moved, "movemail", &mut lock(&self.counts));
        }
        model.moving = false;
    }

    /// Another client of the same user, which deletes nothing.
    fn look(&self, at: &Spool, mut random: Random) {
        while !self.over() {
            random.pause(200);
            let visit = if random.below(4) == 0 {
                Visit::Break
            } else {
                Visit::Look
            };
            self.visit(at, &mut random, visit);
        }
    }

    /// Runs one part of the work. If the part fails, all others end too.
    fn work(&self, at: &Spool, part: impl FnOnce()) {
        struct End<'a>(&'a AtomicBool, &'a Spool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() && !self.0.swap(true, Ordering::SeqCst) {
                    let history = lock(&self.1.history).join("\n");
                    say(&format!("--- {}\n{history}\n---", self.1.account.name));
                }
            }
        }
        let _end = End(&self.ended, at);
        part();
        let late = Instant::now().saturating_duration_since(self.until);
        if late > Duration::from_secs(30) {
            say(&format!("somebody was {late:?} late, {}", at.latest()));
        }
    }

    /// Waits until all queues are empty, and then compares everything with the model once more.
    fn settle(&self, random: &mut Random) {
        for at in &self.boxes {
            let until = Instant::now() + Duration::from_secs(300);
            loop {
                while !self.visit(at, random, Visit::Look) {
                    assert!(Instant::now() < until, "the spool stays locked");
                    self.clear(at);
                    random.pause(500);
                }
                let model = lock(&at.model);
                let late = model.those(State::Sent);
                if late.is_empty() {
                    break;
                }
                assert!(Instant::now() < until, "not delivered: {late:?}");
                drop(model);
                random.pause(500);
            }
            let model = lock(&at.model);
            assert_eq!(parse(&self.spool(at)).len(), model.live());
            assert_eq!(model.those(State::There).len(), model.live());
        }
    }

    /// Prints what each program has done.
    fn report(&self) {
        let (mut delivered, mut edits) = (0, 0);
        for (name, count) in lock(&self.counts).iter() {
            say(&format!(
                "{name}: delivered {}, deferred {}, deleted {}, marked {}, refused {}",
                count.delivered, count.deferred, count.deleted, count.marked, count.refused
            ));
            delivered += count.delivered;
            edits += count.deleted + count.marked;
        }
        if let Some(postfix) = &self.post.postfix {
            say(&format!("postfix put {} off", postfix.deferred()));
        }
        say(&format!(
            "{delivered} delivered, {edits} edits, {} sessions, {} deleted by POP3, {} times in use, {} dotlocks of the dead",
            self.sessions.load(Ordering::SeqCst),
            self.deletions.load(Ordering::SeqCst),
            self.in_use.load(Ordering::SeqCst),
            self.crashes.load(Ordering::SeqCst)
        ));
    }
}

/// The lock, also if a part of the work failed while it held the lock. The first failure is the one
/// to report.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| text.parse().unwrap())
}

/// Shows what docs/neighbours.md says: who waits, who defers and who breaks locks. The sessions
/// last `$POPWARD_HOLD` seconds. A long session measures (`--nocapture` shows the figures). A short
/// one only shows that nobody writes during it.
#[test]
fn p2_no_neighbour_writes_during_a_session() {
    if !root() {
        return skipped("what real neighbours do while a session lasts: needs root");
    }
    let hold = Duration::from_secs(number("POPWARD_HOLD", 3));
    let accounts = accounts();
    let host = debian(&accounts);
    let post = Post::new(&host.at("post"), &host.at("mail"), &accounts, "5 mins");
    let mail = |id: u32, account: &Account| {
        let (header, body) = text(id, account.name, &mut Random(u64::from(id)));
        format!("{}\n\n{body}", header.join("\n"))
    };
    for account in &accounts {
        let lines = [1, 2].map(|id| {
            let mail = mail(id, account);
            format!("From a@example.org Mon Nov 23 10:00:00 2026\n{mail}\n")
        });
        fs::write(host.spool(account.name), lines.concat()).unwrap();
    }
    let mut programs = post.agents.clone();
    programs.extend(readers::installed());
    for some in programs.chunks(accounts.len()) {
        std::thread::scope(|scope| {
            for (program, account) in some.iter().zip(&accounts) {
                let (host, post) = (&host, &post);
                scope.spawn(move || {
                    let before = host.bytes(account.name);
                    let changed = || host.bytes(account.name) != before;
                    let mut client = enter(host, account.name).unwrap();
                    let started = Instant::now();
                    let (quit, queued) = std::thread::scope(|scope| {
                        let work = scope.spawn(move || {
                            let outcome = if post.agents.contains(program) {
                                let mail = mail(3, account);
                                let delivery =
                                    post.deliver(program, account, account.name, &mail, false);
                                format!("{delivery:?}")
                            } else {
                                let edit = readers::edit(program, post, account, 1, Edit::Delete);
                                let last = edit.output.lines().last().unwrap_or_default();
                                format!("exit code {:?} {:.100}", edit.code, last)
                            };
                            (outcome, started.elapsed())
                        });
                        while started.elapsed() < hold {
                            assert!(!changed(), "{program} wrote during a session");
                            std::thread::sleep(Duration::from_millis(100));
                        }
                        assert_ok(&client.ask("QUIT"));
                        let quit = started.elapsed();
                        let (outcome, ended) = work.join().unwrap();
                        let (ended, quit) = (ended.as_secs_f64(), quit.as_secs_f64());
                        say(&format!(
                            "{program}: {outcome} after {ended:.1} s, QUIT after {quit:.1} s"
                        ));
                        (started.elapsed(), outcome == "Queued")
                    });
                    // A program that has ended has already written, or never will. A queue delivers
                    // later.
                    let late = if queued { 10 } else { 0 };
                    let until = Instant::now() + Duration::from_secs(late);
                    while !changed() && Instant::now() < until {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    let late = (started.elapsed() - quit).as_secs_f64();
                    say(&format!(
                        "{program}: {} {late:.1} s later",
                        if changed() { "written" } else { "not written" }
                    ));
                });
            }
        });
    }
    if let Some(postfix) = &post.postfix {
        for line in postfix
            .log()
            .lines()
            .filter(|line| line.contains("status="))
        {
            say(line);
        }
    }
}

#[test]
fn p2_p3_p5_neighbours_and_sessions_lose_and_change_no_mail() {
    if !root() {
        return skipped("real neighbours on shared spools: needs root");
    }
    let seconds = number("POPWARD_NEIGHBOURS_SECONDS", 60);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = number("POPWARD_SEED", now.as_secs());
    say(&format!("neighbours: seed {seed}, {seconds} s"));
    let accounts = accounts();
    let host = debian(&accounts);
    // dovecot-lda holds its fcntl lock while it waits for the dotlock. With 10 s nobody waits 5
    // minutes for it.
    let post = Post::new(&host.at("post"), &host.at("mail"), &accounts, "10 secs");
    // putmail takes procmail's dotlock for a dead process's, and heeds no other lock. The two
    // destroy each other's mail, with popward or without. So putmail has a spool where it meets
    // only popward and the readers.
    let (own, shared): (Vec<_>, Vec<_>) =
        post.agents.iter().partition(|agent| **agent == "putmail");
    let last = accounts.len() - 1;
    let boxes = accounts.iter().enumerate().map(|(index, account)| Spool {
        account: *account,
        agents: if index == last && !own.is_empty() {
            own.clone()
        } else {
            shared.clone()
        },
        model: Mutex::default(),
        rewriting: Mutex::default(),
        waiting: RwLock::default(),
        visiting: Mutex::default(),
        history: Mutex::default(),
    });
    let town = Town {
        boxes: boxes.collect(),
        host,
        post,
        counts: Mutex::default(),
        readers: readers::installed(),
        next: AtomicU32::new(1),
        sessions: AtomicU32::new(0),
        deletions: AtomicU32::new(0),
        in_use: AtomicU32::new(0),
        crashes: AtomicU32::new(0),
        ended: AtomicBool::new(false),
        until: Instant::now() + Duration::from_secs(seconds),
        least: u32::try_from(seconds / 30).unwrap(),
    };
    let mut seeds = Random(seed);
    std::thread::scope(|scope| {
        let town = &town;
        for at in &town.boxes {
            for number in 0..DELIVERERS {
                let random = Random(seeds.next());
                scope.spawn(move || town.work(at, || town.deliver(at, number, random)));
            }
            let (one, other) = (Random(seeds.next()), Random(seeds.next()));
            scope.spawn(move || town.work(at, || town.edit(at, one)));
            scope.spawn(move || town.work(at, || town.look(at, other)));
        }
    });
    town.settle(&mut seeds);
    town.report();
    assert_eq!(town.idle(), [""; 0]);
}
