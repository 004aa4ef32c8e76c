//! An index is decoded as it was encoded. Any other bytes are refused.

use super::*;
use crate::scan::BUFFER_MIN;
use crate::testing::{InMemory, scan};
use proptest::prelude::*;

const RULES: Rules = [9; 16];

fn example() -> (Identity, Maildrop) {
    let message = |n| format!("From a@b Mon Nov 23 10:00:0{n} 2026\nA: {n}\n\nbody\n\n");
    let spool = [0, 1, 2, 3, 4].map(message).concat();
    let length = spool.len() as u64;
    let mut maildrop = scan(
        &mut InMemory(spool.as_bytes()),
        length,
        &mut vec![0; BUFFER_MIN],
    )
    .unwrap();
    maildrop.messages[3].name = Some("a-7".into());
    maildrop.messages[4].name = Some("x".repeat(70).into());
    let identity = Identity {
        inode: 12,
        length,
        mtime: -5,
        ctime: i64::MAX,
    };
    (identity, maildrop)
}

#[test]
fn what_is_encoded_is_decoded() {
    let (identity, maildrop) = example();
    let bytes = encode(&identity, &RULES, &maildrop);
    assert_eq!(bytes.len(), HEAD + 5 * RECORD + 73 + HASH);
    assert_eq!(decode(&bytes), Some((identity, RULES, maildrop)));
}

#[test]
fn p4_any_flipped_bit_and_any_cut_of_an_index_is_refused() {
    let (identity, maildrop) = example();
    let bytes = encode(&identity, &RULES, &maildrop);
    for place in 0..bytes.len() {
        assert_eq!(decode(&bytes[..place]), None, "{place}");
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << bit;
            assert_eq!(decode(&damaged), None, "{place} {bit}");
        }
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(decode(&longer), None);
}

/// The owner of the state directory can write an index with a valid hash.
fn forged(maildrop: &Maildrop) -> Option<(Identity, Rules, Maildrop)> {
    let (mut identity, _) = example();
    identity.length = maildrop.length;
    decode(&encode(&identity, &RULES, maildrop))
}

proptest! {
    #[test]
    fn p4_a_forged_index_gives_only_what_a_scan_could_find(
        record in 0_usize..5, field in 0_usize..5, value in prop_oneof![any::<u64>(), 0_u64..300, Just(u64::MAX)]
    ) {
        let (_, mut maildrop) = example();
        let message = &mut maildrop.messages[record];
        *[&mut message.from_line, &mut message.header, &mut message.body, &mut message.end, &mut message.octets][field] = value;
        if let Some((_, _, forged)) = forged(&maildrop) {
            // There may be a few bytes before the first message, but too few for another message.
            let mut start = forged.begin();
            prop_assert!(start < 26);
            for (index, m) in forged.messages.iter().enumerate() {
                prop_assert_eq!(m.from_line, start);
                prop_assert!(m.from_line < m.header && m.header <= m.body && m.body <= m.end);
                start = forged.segment_end(index);
                prop_assert!(m.end <= start && start <= forged.length);
            }
        }
    }

    #[test]
    fn p4_any_bytes_are_an_index_or_none(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = bytes;
        prop_assert_eq!(decode(&bytes), None);
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        let _ = decode(&bytes);
    }
}

#[test]
fn p4_counts_and_lengths_that_do_not_fit_are_refused() {
    let (_, maildrop) = example();
    for change in [
        |m: &mut Maildrop| m.length += 3,
        |m: &mut Maildrop| m.messages = m.messages.split_off(1),
        |m: &mut Maildrop| m.messages.truncate(3),
        |m: &mut Maildrop| m.messages.swap(1, 2),
        |m: &mut Maildrop| m.messages[2].octets = 3,
        |m: &mut Maildrop| m.messages[4].end += 100,
        |m: &mut Maildrop| m.messages[1].name = Some("a b".into()),
        |m: &mut Maildrop| m.messages[1].name = Some("ü".into()),
        |m: &mut Maildrop| m.messages[1].name = Some("x".repeat(71).into()),
    ] {
        let mut wrong = maildrop.clone();
        change(&mut wrong);
        assert_eq!(forged(&wrong), None, "{wrong:?}");
    }
}
