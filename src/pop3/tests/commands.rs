//! Tests of each command's reply, before a login and after it.

use super::*;

#[test]
fn each_command_has_its_reply_before_and_after_login() {
    let login = "+OK password?|+OK 2 messages, 20 octets|";
    let table = [
        ("STAT", "+OK 2 20|"),
        ("stat ", "+OK 2 20|"),
        ("LIST", "+OK 2 messages|data|.|"),
        ("LIST 1", "+OK 1 10|"),
        ("UIDL", "+OK 2 messages|data|.|"),
        ("UIDL  2", "+OK 2 id|"),
        ("RETR 1", "+OK 10 octets|data|.|"),
        ("RETR 3", "-ERR no such message|"),
        ("RETR 0", "-ERR bad arguments|"),
        ("RETR", "-ERR bad arguments|"),
        ("RETR +1", "-ERR bad arguments|"),
        ("RETR 4294967296", "-ERR no such message|"),
        (
            "RETR 999999999999999999999999999999",
            "-ERR no such message|",
        ),
        ("RETR 99999999999x", "-ERR bad arguments|"),
        ("TOP 1 0", "+OK 10 octets|data|.|"),
        ("TOP 1 4294967296", "+OK 10 octets|data|.|"),
        (
            "TOP 1 999999999999999999999999999999",
            "+OK 10 octets|data|.|",
        ),
        ("TOP 4294967296 1", "-ERR no such message|"),
        ("TOP 1", "-ERR bad arguments|"),
        ("TOP 1 -1", "-ERR bad arguments|"),
        ("DELE 2", "+OK message 2 deleted|"),
        ("NOOP", "+OK nothing done|"),
        ("RSET", "+OK 2 20|"),
        ("LAST", "-ERR unknown command|"),
        ("EUIDL", "-ERR unknown command|"),
        ("XTND XLST Message-Id", "-ERR unknown command|"),
        ("XTND XMIT", "-ERR unknown command|"),
        ("UTF8", "-ERR already logged in|"),
        ("USER x", "-ERR already logged in|"),
        ("AUTH PLAIN", "-ERR already logged in|"),
        ("STLS", "-ERR already logged in|"),
        ("PASS x", "-ERR already logged in|"),
        ("RETRIEVE 1", "-ERR unknown command|"),
        ("", "-ERR unknown command|"),
        (" STAT", "-ERR unknown command|"),
        ("QUIT", "+OK popward signing off|"),
    ];
    for (command, answer) in table {
        let (text, end) = heard(&format!("USER u\r\nPASS p\r\n{command}\r\n"));
        assert_eq!(text, format!("{login}{answer}"), "{command:?}");
        assert_eq!(end, (command == "QUIT").then_some(End::Quit), "{command:?}");
        let early = ["USER", "PASS", "AUTH", "QUIT", "UTF8", ""]
            .iter()
            .all(|own| !command.starts_with(own) || own.is_empty());
        if early && !command.is_empty() {
            assert!(
                heard(&format!("{command}\r\n")).0.starts_with("-ERR"),
                "{command:?} before a login"
            );
        }
    }
    assert_eq!(
        heard("QUIT\r\n"),
        (
            "+OK popward signing off|".to_owned(),
            Some(End::QuitBeforeLogin)
        )
    );
}
