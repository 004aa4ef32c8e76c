//! Conversion in pieces gives the same bytes as conversion at once.

use super::*;
use proptest::prelude::*;

fn in_pieces(mut converter: Converter, input: &[u8], piece: usize, room: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for mut part in input.chunks(piece) {
        while !part.is_empty() && !converter.is_done() {
            let mut output = Vec::new();
            part = converter.convert(part, &mut output, room);
            assert!(!output.is_empty() && output.len() <= room);
            all.extend(output);
        }
    }
    converter.finish(&mut all);
    all
}

#[test]
fn top_sends_the_header_the_empty_line_and_as_many_lines_as_asked() {
    let input = b"A: 1\nB: 2\r\n\nx\n.y\nz\n";
    let top = |lines| in_pieces(Converter::top(lines), input, 1000, 1000);
    assert_eq!(top(0), b"A: 1\r\nB: 2\r\n\r\n");
    assert_eq!(top(2), b"A: 1\r\nB: 2\r\n\r\nx\r\n..y\r\n");
    assert_eq!(top(9), in_pieces(Converter::whole(), input, 1000, 1000));
}

proptest! {
    #[test]
    fn conversion_in_pieces_equals_conversion_at_once(
        input in proptest::collection::vec(proptest::sample::select(b"\r\n.ab".to_vec()), 0..200),
        piece in 1usize..50, room in 8usize..50, lines in 0u32..5,
    ) {
        for converter in [Converter::whole(), Converter::top(lines)] {
            let whole = in_pieces(converter.clone(), &input, 1000, 1000);
            prop_assert_eq!(in_pieces(converter, &input, piece, room), whole);
        }
    }
}
