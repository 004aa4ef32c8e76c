//! How a process is brought to the point at which it is taken over.

use super::super::host::{Client, assert_ok, spool, until};
use super::arena::{ALICE, Arena, Seat, Stage, Visit};
use super::channels::stopped;
use super::kinds::Kinds;
use super::protocol::answer;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use popward_proto::keys::FrontToKeys;
use popward_proto::session::FrontToWorker;
use popward_proto::sessions_worker::WorkerToSessions;
use std::fs::File;
use std::io::Read;

/// Where a worker waits for locks that another program has.
pub const LOCKS: &str = "waiting for its locks";
/// A worker whose front has asked something.
pub const ASKED: &str = "asked by its front";
/// A worker whose front has asked for the update, and one that has begun an update.
pub const UPDATE: &str = "in an update";
/// A process whose program has not begun yet.
pub const EARLY: &str = "before it is ready";
/// Auth at a reload, before it has handed over what it remembers, and after that.
pub const REMEMBERED: &str = "before it has handed over";
pub const HAPPENING: &str = "after it has handed over";
/// Keys, asked for a signature.
pub const HANDSHAKE: &str = "during a handshake";
/// Fronts, workers, auth and keys, when the server ends and sessions are left.
pub const ENDING: &str = "at a shutdown";

fn stage(name: &str) -> Stage {
    let stages = Stage::ALL;
    let found = stages.iter().find(|stage| stage.name() == name);
    match name {
        ENDING => Stage::Session,
        EARLY | HANDSHAKE => Stage::Idle,
        _ => *found.unwrap(),
    }
}

/// A client of alice at this point. At the server's end she has a session.
fn visit(arena: &mut Arena, at: &str) -> Visit {
    let visit = arena.visit(stage(at));
    if at == ENDING {
        arena.begin_to_end();
    }
    visit
}

/// The process that follows this one, before its program begins.
fn early(arena: &mut Arena, before: i32, executable: &str, neighbour: i32) -> Seat {
    let held = arena.held(executable, || {
        let _ = kill(Pid::from_raw(before), Signal::SIGKILL);
    });
    unstarted(arena, held, executable, neighbour)
}

/// The seat of a process whose program does not begin.
fn unstarted(arena: &Arena, held: i32, executable: &str, neighbour: i32) -> Seat {
    let mut seat = arena.seat(held, neighbour, 0);
    seat.role = executable.trim_start_matches("popward-").to_owned();
    seat.is_killed = true;
    // What it was told at its start is no answer.
    while seat
        .taken
        .receive()
        .is_some_and(|packet| !packet.is_empty())
    {}
    seat
}

/// popward-config, when the configuration is read again.
pub fn config(arena: &Arena) -> Seat {
    let supervisor = arena.host.pid();
    let held = arena.held("popward-config", || arena.host.signal(Signal::SIGHUP));
    unstarted(arena, held, "popward-config", supervisor)
}

/// Auth after a reload, which still has a login of alice and the next auth's channel.
pub fn successor(arena: &mut Arena, at: &str) -> Seat {
    let visit = arena.visit(Stage::Checking);
    let old = arena.one("popward-auth");
    let mut waits = None;
    if at == REMEMBERED {
        // Until each front has changed to the next auth, nothing is handed over.
        let mut fronts = arena.idle_fronts().into_iter();
        let front = fronts.find(|front| *front != visit.front).unwrap();
        kill(Pid::from_raw(front), Signal::SIGSTOP).unwrap();
        stopped(front);
        waits = Some(front);
    }
    arena.host.signal(Signal::SIGHUP);
    arena.host.logged("configuration reloaded");
    let auths = arena.host.children("popward-auth");
    let new = auths.into_iter().find(|pid| *pid != old).unwrap();
    let mut seat = arena.seat(old, new, 0);
    seat.clients.extend(visit.client);
    seat.stopped = waits;
    seat.is_killed = true;
    seat
}

/// A front that is taken over with a client at this point.
pub fn front(arena: &mut Arena, at: &str, neighbour: impl Fn(&Arena) -> i32, place: usize) -> Seat {
    if at == EARLY {
        let (front, neighbour) = (arena.idle_fronts()[0], neighbour(arena));
        return early(arena, front, "popward-front", neighbour);
    }
    let visit = visit(arena, at);
    let mut seat = arena.seat(visit.front, neighbour(arena), place);
    seat.about = (visit.session, arena.number_of(visit.front));
    seat.clients.extend(visit.client);
    seat
}

/// A process that speaks to a front with a client at this point.
pub fn to_front(arena: &mut Arena, at: &str, executable: &str) -> Seat {
    let visit = arena.visit(stage(at));
    let guest = arena.guest(visit.front);
    let sender = arena.one(executable);
    if at == ENDING {
        arena.begin_to_end();
    }
    if at == HANDSHAKE {
        // The first handshake asks for the keys of tickets, too.
        let mut greeting = [0; 3];
        until("there are keys", || {
            let mut first = arena.tls_client(visit.front, |client| {
                let _ = client.stdout.as_mut().unwrap().read_exact(&mut greeting);
            });
            first.kill().and_then(|()| first.wait()).unwrap();
            greeting == *b"+OK"
        });
    }
    if executable == "popward-keys" {
        arena.used.push(visit.front);
    }
    let mut seat = arena.seat(sender, visit.front, 0);
    if at == HANDSHAKE {
        let asked = || seat.taken.receive();
        let asks = |packet: Vec<u8>| answer::<FrontToKeys>(&packet) == "Sign";
        let client = arena.tls_client(visit.front, |_| {
            until("the front asks", || asked().is_some_and(asks));
        });
        seat.program = Some(client);
    }
    seat.about = (visit.session, arena.number_of(visit.front));
    seat.clients.extend(visit.client);
    seat.guest = Some(guest);
    seat
}

/// Auth or keys, while a front has a client at this point.
pub fn central(
    arena: &mut Arena,
    at: &str,
    executable: &str,
    neighbour: i32,
    place: usize,
) -> Seat {
    let sender = arena.one(executable);
    if at == EARLY {
        return early(arena, sender, executable, neighbour);
    }
    let visit = visit(arena, at);
    let mut seat = arena.seat(sender, neighbour, place);
    seat.about = (visit.session, arena.number_of(visit.front));
    seat.clients.extend(visit.client);
    seat
}

/// Alice's session at this point: its front and its worker.
fn session(arena: &mut Arena, at: &str) -> (Visit, i32) {
    if at != LOCKS {
        let visit = arena.visit(Stage::Session);
        let worker = arena.worker();
        if at == ENDING {
            arena.begin_to_end();
        }
        return (visit, worker);
    }
    // Sessions may still be about to remove the lock of the last attempt's worker, by its inode. So
    // this one must be another file.
    let lock = arena.host.at("mail/alice.lock");
    until("the last lock has gone", || File::create_new(&lock).is_ok());
    let mut visit = arena.visit(Stage::Greeted);
    let client = visit.client.as_mut().unwrap();
    assert_ok(&client.ask("USER alice"));
    client.send(b"PASS alice\r\n");
    let mut worker = 0;
    until("the worker waits", || {
        // The last attempt's worker may not be gone yet.
        worker = arena.worker();
        let call = std::fs::read_to_string(format!("/proc/{worker}/syscall"));
        call.is_ok_and(|call| call.starts_with(&format!("{} ", nix::libc::SYS_clock_nanosleep)))
    });
    (visit, worker)
}

pub fn worker(arena: &mut Arena, at: &str, place: usize) -> Seat {
    if at == EARLY {
        let mut visit = arena.visit(Stage::Greeted);
        let mut client = visit.client.take().unwrap();
        assert_ok(&client.ask("USER alice"));
        let held = arena.held("popward-worker", || client.send(b"PASS alice\r\n"));
        let mut seat = unstarted(arena, held, "popward-worker", arena.host.sessions());
        seat.clients.push(client);
        return seat;
    }
    let (visit, worker) = session(arena, at);
    let mut seat = arena.seat(worker, arena.host.sessions(), place);
    if at == UPDATE {
        let mut samples = WorkerToSessions::samples().into_iter();
        let updates = samples.find(|sample| sample.label == "Updates").unwrap();
        seat.taken.send(&updates.packet, &[]).unwrap();
        arena.settle(seat.neighbour);
    }
    seat.about = (arena.bobs.session, arena.bobs.session.front());
    seat.clients.extend(visit.client);
    seat
}

pub fn worker_to_front(arena: &mut Arena, at: &str) -> Seat {
    let (mut visit, worker) = session(arena, at);
    let mut seat = arena.seat(worker, visit.front, 0);
    if [ASKED, UPDATE].contains(&at) {
        let command: &[u8] = if at == ASKED {
            b"STAT\r\n"
        } else {
            b"QUIT\r\n"
        };
        visit.client.as_mut().unwrap().send(command);
        until("the front has asked", || seat.taken.receive().is_some());
    }
    seat.clients.extend(visit.client);
    seat
}

pub fn front_to_worker(arena: &mut Arena, at: &str) -> Seat {
    if at == UPDATE {
        // The last attempt has deleted a message.
        std::fs::write(arena.host.spool(ALICE), spool(2)).unwrap();
    }
    let (mut visit, worker) = session(arena, at);
    if at == UPDATE {
        assert_ok(&visit.client.as_mut().unwrap().ask("DELE 1"));
    }
    let mut seat = arena.seat(visit.front, worker, 0);
    if at == UPDATE {
        // An update takes milliseconds. The worker finds what is sent behind the request for it.
        kill(Pid::from_raw(worker), Signal::SIGSTOP).unwrap();
        stopped(worker);
        let mut samples = FrontToWorker::samples().into_iter();
        let quit = samples.find(|sample| sample.label == "Quit").unwrap();
        seat.taken.send(&quit.packet, &[]).unwrap();
        seat.stopped = Some(worker);
    }
    seat.clients.extend(visit.client);
    seat
}

pub fn conversation(arena: &mut Arena) -> (Option<Client>, i32) {
    let visit = arena.visit(Stage::Checking);
    (visit.client, arena.conversations()[0])
}
