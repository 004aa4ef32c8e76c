//! A journal is decoded as it was encoded. Kept bytes are found where they lie. Any other bytes are
//! refused.

use super::*;
use proptest::prelude::*;

fn head(sequence: u64, stage: Stage) -> Head {
    Head {
        sequence,
        stage,
        inode: 7,
        planned: 1000,
        length: 1100,
        first_change: 100,
        ranges: 2,
        slot: 512,
        at: 150,
        piece: if stage == Stage::Cut { 0 } else { 60 },
        check: u64::MAX,
        end_mark: 5,
        ranges_hash: [4; 32],
    }
}

fn kept() -> Kept {
    let plan = Plan {
        first_change: 100,
        kept: vec![200..400, 500..900],
        final_length: 700,
    };
    Kept::new(&plan, |range| Ok::<_, ()>(range.start)).unwrap()
}

fn blocks(one: &[u8], other: &[u8]) -> [u8; HEADS] {
    [one, other].concat().try_into().unwrap()
}

#[test]
fn the_newest_head_is_read() {
    for stage in [Stage::Slot, Stage::Direct, Stage::Cut] {
        let (old, new) = (head(8, Stage::Direct).encode(), head(9, stage).encode());
        assert_eq!(Head::newest(&blocks(&old, &new)), Some(head(9, stage)));
        assert_eq!(Head::newest(&blocks(&new, &old)), Some(head(9, stage)));
    }
}

#[test]
fn p3_a_torn_head_leaves_one_to_read() {
    let (older, old, new) = (
        head(7, Stage::Slot),
        head(8, Stage::Slot),
        head(9, Stage::Cut),
    );
    for torn in 0..=BLOCK {
        let block = [&new.encode()[..torn], &older.encode()[torn..]].concat();
        let read = Head::newest(&blocks(&old.encode(), &block)).unwrap();
        // Once the first copy of a head is whole, its slot is on disk.
        assert_eq!(
            read,
            if torn >= HEAD + 32 {
                new.clone()
            } else {
                old.clone()
            }
        );
    }
}

#[test]
fn p3_a_block_without_a_head_is_damage() {
    let good = head(8, Stage::Slot).encode();
    let mut bad = head(9, Stage::Slot).encode();
    bad[3] ^= 1;
    assert!(Head::newest(&blocks(&good, &bad)).is_some());
    bad[SECOND + 40] ^= 1;
    assert_eq!(Head::newest(&blocks(&good, &bad)), None);
    assert_eq!(Head::newest(&blocks(&good, &[0; BLOCK])), None);
}

#[test]
fn kept_bytes_are_found_where_they_lie() {
    let mut kept = kept();
    assert_eq!(kept.final_length(), 700);
    assert_eq!(kept.sources(290, 30), [390..400, 500..520]);
    assert_eq!(kept.sources(290, 0), []);
    assert_eq!(kept.sources(320, 1000), std::slice::from_ref(&(520..900)));
    assert_eq!(kept.sources(700, 1), []);
    assert_eq!(kept.untouched(100).count(), 2);
    assert_eq!(kept.untouched(101).count(), 1);
    assert_eq!(kept.untouched(700).count(), 0);
    kept.add(900..950);
    assert_eq!(kept.final_length(), 750);
    kept.add(1000..1010);
    kept.add(2000..2000);
    assert_eq!(kept.sources(745, 100), [945..950, 1000..1010]);
}

#[test]
fn what_is_encoded_is_decoded_and_mail_that_came_since_is_kept() {
    let encoded = kept().encode();
    let mut head = head(9, Stage::Slot);
    head.ranges_hash = *blake3::hash(&encoded).as_bytes();
    let mut expected = kept();
    expected.add(1000..1100);
    assert_eq!(Kept::decode(&head, &encoded), Some(expected));
    assert_eq!(Kept::encoded_length(2), encoded.len() as u64);
}

#[test]
fn p3_an_impossible_journal_is_refused() {
    let refused = |ranges: &[(u64, u64)], change: fn(&mut Head)| {
        let ranges = ranges.iter().flat_map(|(start, end)| [*start, *end, 0]);
        let encoded: Vec<u8> = ranges.flat_map(u64::to_le_bytes).collect();
        let mut head = head(9, Stage::Slot);
        head.ranges = encoded.len() as u64 / 24;
        change(&mut head);
        head.ranges_hash = *blake3::hash(&encoded).as_bytes();
        let whole = head.encode();
        let read = Head::newest(&blocks(&whole, &whole));
        read.is_none_or(|head| Kept::decode(&head, &encoded).is_none())
    };
    let good = [(200, 400), (500, 900)];
    assert!(!refused(&good, |_| ()));
    assert!(refused(&[(200, 400), (300, 900)], |_| ()), "overlapping");
    assert!(refused(&[(500, 900), (200, 400)], |_| ()), "not in order");
    assert!(refused(&[(50, 400)], |_| ()), "before the first change");
    assert!(refused(&[(200, 1001)], |_| ()), "behind the end");
    assert!(refused(&[(200, 200)], |_| ()), "empty");
    assert!(
        refused(&good, |head| head.piece = 900),
        "larger than its slot"
    );
    assert!(refused(&good, |head| head.at = 780), "behind what is kept");
    assert!(refused(&good, |head| head.at = 99));
    assert!(refused(&good, |head| head.at = u64::MAX));
    assert!(refused(&good, |head| head.length = 999));
    assert!(refused(&good, |head| head.first_change = 1001));
    assert!(refused(&good, |head| head.ranges = 3));
    assert!(refused(&good, |head| head.ranges = u64::MAX));
    assert!(refused(&good, |head| head.slot = u64::MAX));
    assert!(refused(&good, |head| head.slot = 1));
    assert!(refused(&good, |head| head.piece = 0), "nothing to do");
    assert!(refused(&[(100, 900)], |_| ()), "where it is");
}

proptest! {
    #[test]
    fn p3_any_bytes_are_a_journal_or_none(bytes in prop::collection::vec(any::<u8>(), HEADS), tail in prop::collection::vec(any::<u8>(), 0..100)) {
        let blocks: [u8; HEADS] = bytes.try_into().unwrap();
        prop_assert_eq!(Head::newest(&blocks), None);
        let mut head = head(1, Stage::Direct);
        head.ranges_hash = *blake3::hash(&tail).as_bytes();
        head.ranges = tail.len() as u64 / 24;
        if let Some(kept) = Kept::decode(&head, &tail) {
            prop_assert!(kept.final_length() <= head.length);
        }
    }
}
