//! Looks once at the bytes of a message: how many line feeds cost an octet more, and whether a
//! From_ line may be among them.
//!
//! The inner loop is written so that the compiler makes vector instructions of it. The
//! implementation of [`crate::source::Source::tally`] decides how wide they are.

use std::array::from_fn;

/// How many bytes after a line feed are looked at: up to the `m` of a From_ line.
const AHEAD: usize = 4;

/// How many bytes are compared together.
const LANES: usize = 32;

/// The result of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// The count of line feeds without a carriage return before them. RETR sends a CR before each
    /// of them.
    pub bare_line_feeds: usize,
    /// Whether `r` and `m` stand after some line feed where a From_ line has them. If this is
    /// false, there is no From_ line.
    pub from_line: bool,
}

/// Looks at the first `count` bytes of `bytes`, and at the bytes behind them for the rest of a
/// From_ line. `previous` is the byte before the first one. A From_ line is not seen if its `m` is
/// not in `bytes`.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "compiled with the vectors of its caller"
)]
pub fn tally(previous: u8, bytes: &[u8], count: usize) -> Tally {
    let mut sum = Tally::default();
    let mut one = |before: u8, at: usize| {
        if bytes[at] == b'\n' {
            sum.bare_line_feeds += usize::from(before != b'\r');
            let second_and_fourth = (bytes.get(at + 2), bytes.get(at + AHEAD));
            sum.from_line |= second_and_fourth == (Some(&b'r'), Some(&b'm'));
        }
    };
    let count = count.min(bytes.len());
    if count == 0 {
        return sum;
    }
    // The byte before the first one is not in `bytes`, and bytes after the last ones may be
    // missing. So these are looked at one by one.
    one(previous, 0);
    let many = count.min(bytes.len().saturating_sub(AHEAD)).max(1) - 1;
    let many = many - many % LANES;
    for at in 1 + many..count {
        one(bytes[at - 1], at);
    }
    let at = |start: usize| bytes[start..start + many].chunks_exact(LANES);
    if many > 0 {
        let mut looks = at(1).zip(at(3).zip(at(1 + AHEAD)));
        let mut any_return = bytes[0] == b'\r';
        // The sum of a lane is one byte, so it must be added up before it is full.
        for _ in 0..(many / LANES).div_ceil(255) {
            let (mut feeds, mut from, mut returns) = ([0_u8; LANES], [0_u8; LANES], [0_u8; LANES]);
            for (here, (second, fourth)) in looks.by_ref().take(255) {
                let lanes = (lanes(here), lanes(second), lanes(fourth));
                let (Some(here), Some(second), Some(fourth)) = lanes else {
                    break;
                };
                let feed: [u8; LANES] = from_fn(|lane| u8::from(here[lane] == b'\n'));
                feeds = from_fn(|lane| feeds[lane] + feed[lane]);
                returns = from_fn(|lane| returns[lane] | u8::from(here[lane] == b'\r'));
                from = from_fn(|lane| {
                    let text = u8::from(second[lane] == b'r') & u8::from(fourth[lane] == b'm');
                    from[lane] | (feed[lane] & text)
                });
            }
            sum.bare_line_feeds += feeds.iter().map(|&n| usize::from(n)).sum::<usize>();
            sum.from_line |= from.iter().any(|&any| any != 0);
            any_return |= returns.iter().any(|&any| any != 0);
        }
        // Most mail has no CR. Then no byte's neighbour needs a look.
        if any_return {
            sum.bare_line_feeds -= pairs(&bytes[..=many]);
        }
    }
    sum
}

/// The lanes of a piece.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "compiled with the vectors of its caller"
)]
fn lanes(piece: &[u8]) -> Option<&[u8; LANES]> {
    piece.first_chunk()
}

/// How many line feeds of `bytes` have a carriage return before them.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "compiled with the vectors of its caller"
)]
fn pairs(bytes: &[u8]) -> usize {
    let pairs = bytes.iter().zip(&bytes[1..]);
    pairs
        .filter(|&(&before, &here)| before == b'\r' && here == b'\n')
        .count()
}

/// The largest count of at most `count` bytes that [`tally`] takes in whole vectors, except for its
/// first byte. `count` is at least 1.
pub(crate) fn whole(count: usize) -> usize {
    1 + (count - 1) / LANES * LANES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn vectors_find_the_same_as_a_look_at_each_byte(
            pieces in prop::collection::vec(prop::sample::select(vec!["\n", "\r\n", "\r", "\nFrom ", "F", "r", "m", "text", "0123456789abcdef0123456789abcdef"]), 0..40),
            times in 1_usize..400,
            previous in prop::sample::select(vec![b'\r', b'\n', b'x']),
            share in 0.0..=1.0_f64,
        ) {
            let bytes = pieces.concat().repeat(times).into_bytes();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let count = (bytes.len() as f64 * share) as usize;
            let mut expected = Tally::default();
            for at in 0..count {
                let before = if at == 0 { previous } else { bytes[at - 1] };
                expected.bare_line_feeds += usize::from(bytes[at] == b'\n' && before != b'\r');
                expected.from_line |= bytes[at..].starts_with(b"\nFrom");
            }
            let found = tally(previous, &bytes, count);
            prop_assert_eq!(found.bare_line_feeds, expected.bare_line_feeds);
            prop_assert!(found.from_line || !expected.from_line);
            let plain = b"abc\nFlat\nroom\n".repeat(times);
            prop_assert!(!tally(previous, &plain, plain.len()).from_line);
        }
    }
}
