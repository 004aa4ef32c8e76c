//! Periods: who gets which keys when.

use super::*;
use std::sync::atomic::{AtomicU8, Ordering};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the form of a source of random bytes"
)]
fn count(bytes: &mut [u8]) -> Option<()> {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    bytes.fill(NEXT.fetch_add(1, Ordering::SeqCst));
    Some(())
}

const PERIOD: Duration = Duration::from_secs(60);

fn tickets() -> (Tickets, Instant) {
    let mut tickets = Tickets::new(count);
    tickets.set_period(60_000);
    (tickets, Instant::now())
}

#[test]
fn all_fronts_get_the_same_keys_until_the_same_instant() {
    let (mut tickets, start) = tickets();
    let first = tickets.at(start).unwrap();
    let later = tickets.at(start + PERIOD / 4).unwrap();
    assert_eq!(first.current, later.current);
    assert_eq!((first.left_ms, later.left_ms), (60_000, 45_000));
    assert!(first.previous.is_none());
}

#[test]
fn a_key_opens_for_one_period_after_its_own_and_then_no_more() {
    let (mut tickets, start) = tickets();
    let first = tickets.at(start).unwrap().current;
    let second = tickets.at(start + PERIOD).unwrap();
    assert!(second.current != first && second.previous == Some(first.clone()));
    // Late, but the next period has not moved.
    let third = tickets.at(start + PERIOD * 2 + PERIOD / 2).unwrap();
    assert_eq!(third.left_ms, 30_000);
    assert_eq!(third.previous, Some(second.current));
    assert!(third.current != first && third.previous != Some(first));
}

#[test]
fn keys_are_forgotten_when_nobody_asks() {
    let (mut tickets, start) = tickets();
    let first = tickets.at(start).unwrap().current;
    assert_eq!(tickets.next(), Some(start + PERIOD));
    tickets.rotate(start + PERIOD);
    assert_eq!(tickets.held.as_ref().unwrap().previous, Some(first));
    tickets.rotate(start + PERIOD * 3);
    assert!(tickets.held.is_none() && tickets.next().is_none());
}

#[test]
fn another_period_makes_other_keys_and_none_makes_none() {
    let (mut tickets, start) = tickets();
    let first = tickets.at(start).unwrap();
    tickets.set_period(60_000);
    assert_eq!(tickets.at(start).unwrap(), first);
    tickets.set_period(1_000);
    let second = tickets.at(start).unwrap();
    assert!(second.current != first.current && second.previous.is_none());
    tickets.set_period(0);
    assert!(tickets.at(start).is_none() && tickets.held.is_none());
}
