//! Which keys fronts get in which period.

use super::*;
use std::sync::atomic::{AtomicU8, Ordering};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the type of a source of random bytes"
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
fn all_fronts_get_the_same_keys_for_the_same_time() {
    let (mut tickets, start) = tickets();
    let first = tickets.at(start).unwrap();
    let later = tickets.at(start + PERIOD / 4).unwrap();
    assert_eq!(first.current, later.current);
    assert_eq!((first.left_ms, later.left_ms), (60_000, 45_000));
    assert!(first.previous.is_none());
}

#[test]
fn a_key_opens_tickets_for_one_period_after_its_own() {
    let (mut tickets, start) = tickets();
    let first = tickets.at(start).unwrap().current;
    let second = tickets.at(start + PERIOD).unwrap();
    assert!(second.current != first && second.previous == Some(first.clone()));
    // The request comes late. The period still starts on time.
    let third = tickets.at(start + PERIOD * 2 + PERIOD / 2).unwrap();
    assert_eq!(third.left_ms, 30_000);
    assert_eq!(third.previous, Some(second.current));
    assert!(third.current != first && third.previous != Some(first));
}

#[test]
fn old_keys_are_forgotten_even_if_no_front_asks() {
    let (mut tickets, start) = tickets();
    let first = tickets.at(start).unwrap().current;
    assert_eq!(tickets.next(), Some(start + PERIOD));
    tickets.rotate(start + PERIOD);
    assert_eq!(tickets.keys.as_ref().unwrap().previous, Some(first));
    tickets.rotate(start + PERIOD * 3);
    assert!(tickets.keys.is_none() && tickets.next().is_none());
}

#[test]
fn a_changed_period_changes_the_keys_and_no_period_means_no_keys() {
    let (mut tickets, start) = tickets();
    let first = tickets.at(start).unwrap();
    tickets.set_period(60_000);
    assert_eq!(tickets.at(start).unwrap(), first);
    tickets.set_period(1_000);
    let second = tickets.at(start).unwrap();
    assert!(second.current != first.current && second.previous.is_none());
    tickets.set_period(0);
    assert!(tickets.at(start).is_none() && tickets.keys.is_none());
}
