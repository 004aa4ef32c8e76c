//! One look at the bytes of a message: how many line feeds cost an octet more, and whether a From_ line may be among them.
//!
//! The inner loop is written so that the compiler makes vector instructions of it; how wide they are is decided by
//! whoever implements [`crate::source::Source::tally`].

use std::array::from_fn;

/// How far behind a line feed is looked: to the `m` of a From_ line.
const AHEAD: usize = 4;

/// Bytes that are compared together.
const LANES: usize = 32;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Line feeds without a carriage return before them: RETR sends one with each.
    pub bare_line_feeds: usize,
    /// Whether behind some line feed `r` and `m` stand where a From_ line has them. Where this is false there is none.
    pub from_line: bool,
}

/// Looks at the first `count` of `bytes`, and behind them for the rest of a From_ line. `previous` is the byte before the
/// first. A From_ line of which less than its `m` is in `bytes` is not seen.
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
    // The first byte's neighbour is not in `bytes`, the last ones' may not be: these are looked at one by one.
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
        // A lane's sum is a byte: it must be taken out before it is full.
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
        // Mail of most programs has none, and a look at each byte's neighbour is saved.
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

/// The largest count up to `count`, which is at least 1, that [`tally`] takes in whole vectors but for its first byte.
pub(crate) fn whole(count: usize) -> usize {
    1 + (count - 1) / LANES * LANES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn many_bytes_at_once_are_seen_as_one_by_one(
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
