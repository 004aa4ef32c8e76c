//! Tests of tickets with several fronts: which front opens which ticket, and for how long.

use super::*;
use popward_proto::keys::{FrontToKeys, KeysPhase, KeysToFront};
use popward_sys::channel::{Channel, PacketBuffer, socket_pair};
use std::thread::JoinHandle;

fn key(number: u8) -> TicketKey {
    TicketKey {
        name: [number; 16],
        secret: [number; 32],
    }
}

fn keys(current: u8, previous: Option<u8>, left_ms: u32) -> KeysToFront {
    KeysToFront::Tickets(TicketKeys {
        current: key(current),
        previous: previous.map(key),
        left_ms,
    })
}

/// A front whose keys process gives these answers, one after another, and then ends. The thread
/// returns how often it was asked.
fn front(answers: Vec<KeysToFront>) -> (Tickets, Arc<Keys>, JoinHandle<usize>) {
    let (ours, theirs) = socket_pair().unwrap();
    let asked = std::thread::spawn(move || {
        let mut theirs: Channel<KeysToFront, FrontToKeys> = Channel::new(theirs, KeysPhase::Idle);
        let mut buffer = PacketBuffer::for_messages();
        let mut asked = 0;
        for answer in answers {
            match theirs.receive(&mut buffer) {
                Ok((FrontToKeys::Tickets, _)) => asked += 1,
                _ => return asked,
            }
            theirs.send(&answer).unwrap();
        }
        asked
    });
    let all = Arc::new(Keys::default());
    all.replace(ours);
    (Tickets::new(Arc::clone(&all), 60_000), all, asked)
}

#[test]
fn a_ticket_of_one_front_opens_at_another_until_its_key_is_gone() {
    let (one, ..) = front(vec![keys(1, None, 60_000)]);
    let (other, ..) = front(vec![keys(1, None, 60_000)]);
    let (later, ..) = front(vec![keys(2, Some(1), 60_000)]);
    let (too_late, ..) = front(vec![keys(3, Some(2), 60_000)]);
    let ticket = one.encrypt(b"a session").unwrap();
    assert!(!ticket.windows(9).any(|part| part == b"a session"));
    for front in [&one, &other, &later] {
        assert_eq!(front.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
    }
    assert_eq!(too_late.decrypt(&ticket), None);
    assert_ne!(ticket, one.encrypt(b"a session").unwrap(), "another nonce");
}

#[test]
fn changed_and_cut_tickets_do_not_open() {
    let (tickets, ..) = front(vec![keys(1, Some(2), 60_000)]);
    let ticket = tickets.encrypt(b"a session").unwrap();
    for place in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[place] ^= 1;
        assert_eq!(tickets.decrypt(&changed), None, "byte {place}");
        assert_eq!(tickets.decrypt(&ticket[..place]), None, "cut at {place}");
    }
    let mut other_name = ticket;
    other_name[..16].fill(2);
    assert_eq!(tickets.decrypt(&other_name), None);
}

#[test]
fn keys_are_asked_for_once_a_period_and_again_after_a_new_socket() {
    let answers = vec![keys(1, None, 60_000), keys(2, Some(1), 60_000)];
    let (tickets, all, asked) = front(answers);
    let ticket = tickets.encrypt(b"x").unwrap();
    assert!(tickets.decrypt(&ticket).is_some());
    // The keys are valid only as long as the socket is the same. Here another keys process comes,
    // which has ended already.
    let (ours, theirs) = socket_pair().unwrap();
    drop(theirs);
    all.replace(ours);
    assert_eq!(tickets.decrypt(&ticket), None, "that one has ended");
    assert_eq!(tickets.encrypt(b"x"), None);
    drop((tickets, all));
    assert_eq!(asked.join().unwrap(), 1);
}

#[test]
fn old_keys_are_replaced_and_are_forgotten_on_time() {
    let (tickets, all, asked) = front(vec![keys(1, None, 0), keys(2, Some(1), 60_000)]);
    let ticket = tickets.encrypt(b"x").unwrap();
    assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"x"[..]));
    let until = tickets.forget(Instant::now()).unwrap();
    assert!(tickets.held.lock().unwrap().is_some());
    assert_eq!(tickets.forget(until), None);
    assert!(tickets.held.lock().unwrap().is_none());
    drop((tickets, all));
    assert_eq!(asked.join().unwrap(), 2);
}

#[test]
fn p8_forgetting_keys_does_not_wait_for_a_thread_that_asks() {
    let (ours, theirs) = socket_pair().unwrap();
    let all = Arc::new(Keys::default());
    all.replace(ours);
    let tickets = Arc::new(Tickets::new(Arc::clone(&all), 60_000));
    let asking = Arc::clone(&tickets);
    let asks = std::thread::spawn(move || asking.encrypt(b"x"));
    let mut theirs: Channel<KeysToFront, FrontToKeys> = Channel::new(theirs, KeysPhase::Idle);
    theirs.receive(&mut PacketBuffer::for_messages()).unwrap();
    // Here the other thread waits for the answer.
    assert_eq!(tickets.forget(Instant::now()), None);
    theirs.send(&keys(1, None, 60_000)).unwrap();
    assert!(asks.join().unwrap().is_some());
    assert!(tickets.forget(Instant::now()).is_some());
}

#[test]
fn without_a_lifetime_there_are_no_tickets() {
    let (tickets, ..) = front(vec![KeysToFront::Refused]);
    assert!(tickets.enabled());
    assert_eq!(tickets.encrypt(b"x"), None, "keys has none");
    let never = Tickets::new(Arc::new(Keys::default()), 0);
    assert!(!never.enabled());
}
