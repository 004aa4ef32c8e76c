//! The reports in forms that a JSON reader accepts.

use super::*;

fn made(write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn quotes_backslashes_and_control_characters_are_escaped() {
    let escaped = made(|out| json_error(out, "a\"b\\c\n\u{1f}\u{7f}\u{fc}"));
    let expected = "{\"error\":\"a\\\"b\\\\c\\u000a\\u001f\u{7f}\u{fc}\"}\n";
    assert_eq!(escaped, expected);
}

#[test]
fn a_hidden_message_has_no_number() {
    let entry = |number, offset| Entry {
        number,
        offset,
        octets: 7,
        uidl: "a\"b\\".into(),
        key: [0xAB; 16],
    };
    let entries = [entry(None, 0), entry(Some(1), 9)];
    let key = "ab".repeat(16);
    assert_eq!(
        made(|out| text(out, &entries)),
        format!("- 0 7 a\"b\\ {key}\n1 9 7 a\"b\\ {key}\n")
    );
    let message = |number, offset, hidden| {
        format!(
            "{{\"number\":{number},\"offset\":{offset},\"octets\":7,\"uidl\":\"a\\\"b\\\\\",\"key\":\"{key}\",\"hidden\":{hidden}}}"
        )
    };
    let expected = format!(
        "{{\"messages\":[{},{}]}}\n",
        message("null", 0, true),
        message("1", 9, false)
    );
    assert_eq!(made(|out| json(out, &entries)), expected);
    assert_eq!(made(|out| json(out, &[])), "{\"messages\":[]}\n");
}
