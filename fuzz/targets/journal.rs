//! Fuzzes the decoders of heads, kept ranges and pins with any bytes and correct hashes. Whoever
//! owns a state directory can write such a journal. The decoders refuse it, or return a possible
//! update: its pieces lie within the spool, and it moves bytes only towards the start.

#![no_main]

use libfuzzer_sys::fuzz_target;
use popward_mbox::journal::{BLOCK, HEADS, Head, Kept, Stage};
use popward_mbox::pins::Pins;

fuzz_target!(|data: &[u8]| {
    if let Ok(pins) = Pins::decode(data) {
        assert_eq!(Pins::decode(&pins.encode()), Ok(pins));
    }
    let mut blocks = [0; HEADS];
    let length = data.len().min(HEADS);
    blocks[..length].copy_from_slice(&data[..length]);
    assert_eq!(Head::newest(&blocks), None, "no hash");
    let Some((numbers, ranges)) = data.split_at_checked(72) else {
        return;
    };
    let number = |place: usize| {
        let bytes = numbers[place * 8..place * 8 + 8].try_into();
        u64::from_le_bytes(bytes.expect("eight"))
    };
    let head = Head {
        sequence: number(0) >> 2,
        stage: [Stage::Slot, Stage::Direct, Stage::Cut][usize::from(numbers[0]) % 3],
        inode: number(1),
        planned: number(2),
        length: number(3),
        first_change: number(4),
        ranges: ranges.len() as u64 / 24,
        slot: number(5),
        at: number(6),
        piece: number(7),
        check: number(8),
        end_mark: number(8),
        ranges_hash: *blake3::hash(ranges).as_bytes(),
    };
    let block = head.encode();
    assert_eq!(block.len(), BLOCK);
    blocks[..BLOCK].copy_from_slice(&block);
    blocks[BLOCK..].copy_from_slice(&block);
    let Some(read) = Head::newest(&blocks) else {
        return;
    };
    assert_eq!(read, head);
    let Some(kept) = Kept::decode(&head, ranges) else {
        return;
    };
    let end = kept.final_length();
    assert!(end <= head.length && head.at + head.piece <= end);
    let mut at = head.at;
    for count in [1, 100, head.piece, u64::MAX] {
        for source in kept.sources(at, count) {
            assert!(at <= source.start && source.start < source.end && source.end <= head.length);
            at += source.end - source.start;
        }
    }
    assert_eq!(at, end);
    assert_eq!(kept.untouched(at).count(), 0);
});
