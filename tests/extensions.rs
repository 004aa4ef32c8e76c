//! UTF8 and LANG (RFC 6856), what popward says about itself, log lines in Qpopper's form, and
//! hashed spool directories, with the real processes.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_err, assert_ok, message, skipped, spool, user};
use std::os::unix::fs::{PermissionsExt, chown};

/// What LIST says about a message.
fn octets(client: &mut host::Client, number: u32) -> String {
    let reply = client.ask(&format!("LIST {number}"));
    reply.rsplit(' ').next().unwrap().to_owned()
}

/// RFC 6856, section 2: popward sends a header in UTF-8 as it is, whether or not the client sent
/// UTF8.
#[test]
fn headers_in_utf8_are_sent_as_they_are() {
    let spool = [
        message(1, "ASCII above, Grüße here"),
        message(2, "body").replace("message 2", "Grüße"),
    ];
    let users = [user("alice", 64401, spool.concat().as_bytes())];
    let raw = "Subject: Grüße\n\nbody\n";
    for mode in ["off", "pass"] {
        let host = Host::with(&users, &format!("[pop3]\nutf8 = \"{mode}\"\n"), &[]);
        for says_utf8 in [false, true] {
            let mut client = host.connect();
            let offered = client.multi("CAPA").contains("\nUTF8\n");
            assert_eq!(offered, mode == "pass");
            if says_utf8 {
                assert_eq!(client.ask("UTF8").starts_with("+OK"), offered);
            }
            assert_ok(&client.ask("USER alice"));
            assert_ok(&client.ask("PASS alice"));
            assert_err(&client.ask("UTF8"));
            assert!(client.multi("RETR 1").ends_with("Grüße here\n"), "a body");
            let text = client.multi("RETR 2");
            assert!(text.ends_with(raw));
            let sent: usize = text.lines().map(|line| line.len() + 2).sum();
            assert_eq!(octets(&mut client, 2), sent.to_string());
            assert_ok(&client.ask("QUIT"));
        }
    }
}

/// RFC 6856, section 3.
#[test]
fn replies_are_in_the_language_that_lang_chose() {
    let users = [user("alice", 64401, &spool(1))];
    let host = Host::with(&users, "[pop3]\nlanguage = \"es\"\n", &[]);
    let mut client = host.connect();
    assert!(client.multi("CAPA").contains("\nLANG\n"));
    assert_eq!(
        client.multi("LANG"),
        "en English\nde Deutsch\nfr Français\nes Español\n"
    );
    assert_eq!(client.ask("LANG de-CH"), "+OK de Sprache gewählt");
    assert_ok(&client.ask("USER alice"));
    assert_eq!(
        client.ask("PASS wrong"),
        "-ERR [AUTH] Benutzername oder Passwort falsch"
    );
    assert_ok(&client.ask("USER alice"));
    assert_ok(&client.ask("PASS alice"));
    assert_eq!(client.ask("RETR 2"), "-ERR keine solche Nachricht");
    assert_eq!(client.ask("LANG xx"), "-ERR keine solche Sprache");
    assert_eq!(client.ask("LANG *"), "+OK es idioma elegido");
    assert_eq!(client.ask("DELE 1"), "+OK mensaje 1 borrado");
    assert_eq!(client.ask("LANG FR"), "+OK fr langue choisie");
    assert_eq!(client.ask("QUIT"), "+OK popward vous dit au revoir");
}

#[test]
fn the_configuration_sets_the_greeting_and_the_implementation() {
    let users = [user("alice", 64401, &spool(1))];
    let more = "[pop3]\ngreeting = \"ready\"\nimplementation = \"\"\n";
    let host = Host::with(&users, more, &[]);
    let mut client = host::Client::new(host.plain);
    client.send(b"USER alice\r\nPASS alice\r\nCAPA\r\nQUIT\r\n");
    let text = client.until_end();
    assert!(text.starts_with("+OK ready"), "{text}");
    assert!(
        !text.contains("popward") && !text.contains("IMPLEMENTATION"),
        "{text}"
    );
}

#[test]
fn log_qpopper_adds_lines_in_qpoppers_form() {
    let users = [user("alice", 64401, &spool(3))];
    let host = Host::with(&users, "[log]\nqpopper = true\n", &[]);
    let mut client = host.login("alice");
    let deleted = octets(&mut client, 2);
    assert_ok(&client.ask("DELE 2"));
    let stat = client.ask("STAT").replace("+OK ", "");
    assert_ok(&client.ask("QUIT"));
    let version = env!("CARGO_PKG_VERSION");
    let line = host.logged("POP login by user");
    let (tag, text) = line.split_once(" notice ").unwrap();
    assert!(tag.starts_with("qpopper[") && tag.ends_with(']'), "{line}");
    assert_eq!(
        text,
        format!("(v{version}) POP login by user \"alice\" at (127.0.0.1) 127.0.0.1")
    );
    let stats = format!(" notice Stats: alice 1 {deleted} {stat} 127.0.0.1 127.0.0.1");
    assert!(host.logged("Stats: alice").ends_with(&stats));
    // The session ended without QUIT, so nothing was deleted.
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 1"));
    drop(client);
    let stats = format!(" notice Stats: alice 0 0 {stat} 127.0.0.1 127.0.0.1");
    assert!(host.logged_times("Stats: alice", 2).ends_with(&stats));
}

#[test]
fn hashed_spool_directories_are_found() {
    if !host::root() {
        return skipped("directories of spools for several users");
    }
    // Qpopper's hash-spool 1, then its hash-spool 2.
    for (pattern, place) in [("{{user:hash}}", "q"), ("{{user:1}}/{{user:2}}", "a/l")] {
        let pattern = pattern.replace("{{", "{").replace("}}", "}");
        let path = ("/mail/{user}\"", &*format!("/mail/{pattern}/{{user}}\""));
        let host = Host::with(&[user("alice", 64401, b"")], "", &[path]);
        let mut client = host.connect();
        assert_ok(&client.ask("USER alice"));
        // A missing spool directory is an error. If it were an empty maildrop, clients would forget
        // all mail that they had left on the server.
        assert!(client.ask("PASS alice").starts_with("-ERR [SYS/TEMP]"));
        let mut directory = host.at("mail");
        for name in place.split('/') {
            directory.push(name);
            std::fs::create_dir(&directory).unwrap();
            chown(&directory, Some(0), Some(host::MAIL)).unwrap();
            std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o2775)).unwrap();
        }
        assert!(host.login("alice").ask("STAT").starts_with("+OK 0 0"));
        let spool_path = directory.join("alice");
        std::fs::write(&spool_path, spool(2)).unwrap();
        chown(&spool_path, Some(64401), Some(64401)).unwrap();
        let mut client = host.login("alice");
        assert!(client.ask("STAT").starts_with("+OK 2 "));
        assert!(directory.join("alice.lock").exists());
        assert_ok(&client.ask("DELE 1"));
        assert_ok(&client.ask("QUIT"));
        assert_eq!(std::fs::read(&spool_path).unwrap(), host::spool_of([2]));
        assert!(!directory.join("alice.lock").exists());
    }
}
