//! Tests of lines and pieces: a client's bytes may come in any way.

use super::*;
use crate::pop3::input::REPLIES_MAX;
use crate::pop3::line;
use popward_proto::auth::Impossible;
use proptest::prelude::*;

#[test]
fn a_line_that_is_too_long_counts_as_one_bad_command() {
    for length in [line::MAX - 1, line::MAX, line::MAX * 3] {
        let (text, _) = heard(&format!("{}\r\nNOOP\r\nCAPA\r\n", "x".repeat(length)));
        assert!(
            text.starts_with("-ERR line too long|-ERR not before a login|+OK capabilities|"),
            "{text}"
        );
    }
    let password = "p".repeat(400);
    assert_eq!(
        heard(&format!("USER u\r\nPASS {password}\r\n")).0,
        "+OK password?|-ERR [AUTH] user name or password wrong|"
    );
}

/// P9: it is answered as a wrong password, also if it comes in pieces.
#[test]
fn p9_a_pass_that_is_too_long_is_a_failed_login() {
    for command in ["PASS", "pass"] {
        let mut client = Client::new();
        client.say(b"USER u\r\n");
        let line = format!("{command} {}\r\n", "p".repeat(line::MAX * 3));
        let (last, end) = (line.len() - 1, line.len());
        for piece in [0..3, 3..900, 900..2000, 2000..last] {
            client.say(&line.as_bytes()[piece]);
        }
        let (_, action) = client
            .pop3
            .input(&line.as_bytes()[last..end], &mut client.out);
        assert!(
            matches!(action, Action::Login(Login::Check(_))),
            "{action:?}"
        );
        assert_eq!(client.pop3.impossible(), Some(Impossible::TooLong));
        assert_eq!(client.pop3.lines_too_long(), 1);
    }
    let (text, _) = heard(&format!("PASS {}\r\nPASSPORT\r\n", "p".repeat(line::MAX)));
    assert_eq!(text, "-ERR USER first|-ERR unknown command|");
    let (text, _) = heard(&format!("USER u\r\nPASSPORT{}\r\n", "p".repeat(line::MAX)));
    assert_eq!(text, "+OK password?|-ERR line too long|");
}

#[test]
fn p8_replies_to_pipelined_commands_do_not_grow_with_the_commands() {
    let mut pop3 = Pop3::new(POLICY, offer(true), identity(), false);
    pop3.greeting(&mut Vec::new());
    let commands = b"CAPA\n".repeat(2000);
    let (mut taken, mut turns) = (0, 0);
    while taken < commands.len() {
        let mut out = Vec::new();
        let (used, action) = pop3.input(&commands[taken..], &mut out);
        assert_eq!(action, Action::None);
        assert!(used > 0 && out.len() < REPLIES_MAX + 512, "{}", out.len());
        taken += used;
        turns += 1;
    }
    assert!(turns > 10, "{turns}");
}

/// Random scripts of a client: known commands, random text and lines that are too long.
fn script() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => prop::sample::select(vec![
            "USER u", "PASS p", "PASS x", "STAT", "LIST", "LIST 1", "UIDL", "RETR 1", "RETR 9", "TOP 1 1", "DELE 1",
            "NOOP", "RSET", "LAST", "CAPA", "EUIDL", "XTND XLST From", "LANG", "LANG de", "UTF8", "QUIT",
        ])
        .prop_map(str::to_owned),
        1 => "[ -~]{0,40}",
        1 => Just("x".repeat(line::MAX + 5)),
    ];
    let end = prop::sample::select(vec!["\r\n", "\n"]);
    prop::collection::vec((line, end), 0..30).prop_map(|lines| {
        let lines = lines.into_iter().map(|(line, end)| line + end);
        format!("USER u\r\nPASS p\r\n{}", lines.collect::<String>())
    })
}

proptest! {
    #[test]
    fn splitting_the_input_changes_no_reply(script in script(), cuts in prop::collection::vec(1usize..60, 1..200)) {
        let mut whole = Client::new();
        whole.say(script.as_bytes());
        let mut pieces = Client::new();
        let (mut rest, mut cuts) = (script.as_bytes(), cuts.iter().cycle());
        while let Some(cut) = cuts.next().filter(|_| !rest.is_empty()) {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.say(piece);
            rest = after;
        }
        prop_assert_eq!(whole.text(), pieces.text());
        prop_assert_eq!(whole.end, pieces.end);
        prop_assert_eq!(whole.asked, pieces.asked);
    }

    #[test]
    fn any_line_has_one_reply_or_ends_the_connection(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut client = Client::new();
        client.say(&bytes);
        for line in client.text().split_terminator("\r\n") {
            prop_assert!(line.len() <= 510, "RFC 2449, section 4");
        }
        let lines = memchr::memchr_iter(b'\n', &bytes).count();
        let replies = client.text().matches("+OK").count() + client.text().matches("-ERR").count() - 1;
        prop_assert!(replies == lines || client.end.is_some());
    }
}
