//! Tests of QUIT and of a worker that ends: what the client hears, and when.

use super::*;
use popward_proto::session::{Broken, MessageNumber};

#[test]
fn only_quit_starts_the_update() {
    for script in [
        "DELE 1\r\n",
        "DELE 1\r\nQUI",
        "DELE 1\r\nQUITE\r\n",
        "DELE 1\r\nQUIT now\r\n",
    ] {
        let mut client = Client::new();
        client.say(format!("USER u\r\nPASS p\r\n{script}").as_bytes());
        assert!(!client.asked.contains(&FrontToWorker::Quit), "{script:?}");
    }
}

#[test]
fn quit_is_answered_only_when_the_locks_are_free() {
    let answers = [
        (
            WorkerToFront::NotCommitted(Broken::System),
            "-ERR [SYS/TEMP] deleted messages not removed\r\n",
        ),
        (
            WorkerToFront::Committed(Update {
                deleted: totals(),
                left: totals(),
            }),
            "+OK popward signing off\r\n",
        ),
    ];
    for (answer, text) in answers {
        let mut client = Client::new();
        client.say(b"USER u\r\nPASS p\r\n");
        client.out.clear();
        let (_, action) = client.pop3.input(b"QUIT\r\n", &mut client.out);
        assert_eq!(action, Action::Ask(FrontToWorker::Quit));
        assert_eq!(client.pop3.worker(&answer, &mut client.out), Action::None);
        assert_eq!(client.pop3.worker_gone(&mut client.out), Action::None);
        assert!(client.out.is_empty());
        assert_eq!(
            client.pop3.worker_ended(false, &mut client.out),
            Action::Close(End::Quit)
        );
        assert_eq!(client.text(), text);
    }
}

#[test]
fn p3_quit_succeeds_if_another_worker_finished_the_update() {
    let not = WorkerToFront::NotCommitted(Broken::System);
    for (said, finished, text) in [
        (None, true, "+OK popward signing off\r\n"),
        (
            None,
            false,
            "-ERR [SYS/TEMP] deleted messages not removed\r\n",
        ),
        (Some(&not), true, "+OK popward signing off\r\n"),
    ] {
        let mut client = Client::new();
        client.say(b"USER u\r\nPASS p\r\n");
        client.pop3.input(b"QUIT\r\n", &mut client.out);
        client.out.clear();
        if let Some(answer) = said {
            client.pop3.worker(answer, &mut client.out);
        }
        assert_eq!(client.pop3.worker_gone(&mut client.out), Action::None);
        let end = client.pop3.worker_ended(finished, &mut client.out);
        assert_eq!(end, Action::Close(End::Quit));
        assert_eq!(client.text(), text);
    }
}

#[test]
fn a_dead_worker_is_reported_but_not_within_a_message() {
    let mut client = Client::new();
    client.say(b"USER u\r\nPASS p\r\n");
    client.out.clear();
    client.pop3.input(b"RETR 1\r\n", &mut client.out);
    client
        .pop3
        .worker(&WorkerToFront::Body(10), &mut client.out);
    client.out.clear();
    assert_eq!(
        client.pop3.worker_gone(&mut client.out),
        Action::Close(End::Broken)
    );
    assert!(client.out.is_empty(), "it would be read as the message");
    let number = MessageNumber(std::num::NonZeroU32::MIN);
    let mut client = Client::new();
    client.say(b"USER u\r\nPASS p\r\n");
    client.pop3.input(b"DELE 1\r\n", &mut client.out);
    client
        .pop3
        .worker(&WorkerToFront::Deleted(number, 10), &mut client.out);
    client.out.clear();
    assert_eq!(
        client.pop3.worker_gone(&mut client.out),
        Action::Close(End::Broken)
    );
    assert!(client.text().starts_with("-ERR [SYS/TEMP]"));
}
