//! Pins are decoded as they were encoded. A wrong line is reported by its number.

use super::*;
use proptest::prelude::*;

const KEY: &str = "00112233445566778899aabbccddeeff";

fn line(line: &str) -> Result<Pins, usize> {
    Pins::decode(format!("popward pins 1\n{KEY} good\n{line}\n").as_bytes())
}

#[test]
fn pins_are_read_in_order() {
    let pins = line(&format!("{KEY} second")).unwrap();
    let key = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
    assert_eq!(pins.of(&key), ["good".into(), "second".into()]);
    assert_eq!(pins.of(&[0; 16]), []);
    assert_eq!(Pins::decode(&pins.encode()), Ok(pins));
}

#[test]
fn p5_a_wrong_line_of_pins_is_reported_by_its_number() {
    assert_eq!(Pins::decode(b""), Err(1));
    assert_eq!(Pins::decode(b"popward pins 2\n"), Err(1));
    for bad in [
        "",
        KEY,
        &format!("{KEY} "),
        &format!("{KEY}  two"),
        &format!("{KEY} a b"),
        &format!("{KEY} a\r"),
        &format!("{KEY} {}", "x".repeat(71)),
        &format!("{} x", KEY.to_uppercase()),
        &format!("{} x", &KEY[1..]),
        &format!("+0{} x", &KEY[2..]),
        &format!("ü{} x", &KEY[2..]),
    ] {
        assert_eq!(line(bad), Err(3), "{bad:?}");
    }
    let unended = format!("popward pins 1\n{KEY} x");
    assert_eq!(Pins::decode(unended.as_bytes()), Err(2));
}

proptest! {
    #[test]
    fn any_bytes_are_pins_or_an_error(text in "(popward pins 1\n)?([0-9a-f]{30,33} ?[!-~]{0,80}\n?){0,4}") {
        if let Ok(pins) = Pins::decode(text.as_bytes()) {
            prop_assert_eq!(Pins::decode(&pins.encode()), Ok(pins));
        }
    }
}
