//! Tests of the line of steps: the order, and that ended connections leave nothing in it.

use super::*;

fn all(queue: &mut StepQueue<u32>) -> Vec<u32> {
    std::iter::from_fn(|| queue.take()).collect()
}

#[test]
fn new_and_begun_handshakes_take_turns_and_each_kind_keeps_its_order() {
    let mut queue = StepQueue::new();
    for number in 0..5 {
        queue.add(true, number);
    }
    for number in 10..12 {
        queue.add(false, number);
    }
    assert_eq!(all(&mut queue), [0, 10, 1, 11, 2, 3, 4]);
}

#[test]
fn p8_an_ended_connection_leaves_nothing_in_line() {
    let mut queue = StepQueue::new();
    // Clients connect, send a `ClientHello` and reset, again and again. One in a thousand stays.
    for round in 0..100_000 {
        let place = queue.add(true, round);
        if round % 1000 != 0 {
            assert_eq!(queue.remove(place), Some(round));
            assert_eq!(queue.remove(place), None);
        }
    }
    assert_eq!(queue.new.len() + queue.begun.len(), 100);
    assert_eq!(all(&mut queue).len(), 100);
}
