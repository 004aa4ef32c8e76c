//! What a parent vouches for in the records of its children.

use super::*;
use popward_proto::account::FrontId;
use popward_proto::log_line::Line;

/// A log, and the other end of its channel.
fn log() -> (LogWriter, Channel<NoMessage, Line>) {
    let (own, other) = socket_pair().unwrap();
    let mut log = LogWriter::new(Role::Monitor, Level::Info);
    log.connect(own);
    let other = Channel::new(other, SetupPhase::Serving);
    other.set_nonblocking().unwrap();
    (log, other)
}

fn lines(from: &mut Channel<NoMessage, Line>) -> Vec<Line> {
    let mut buffer = PacketBuffer::for_messages();
    let mut lines = Vec::new();
    while let Ok((line, _)) = from.receive(&mut buffer) {
        lines.push(line);
    }
    lines
}

fn session(count: u32) -> SessionId {
    SessionId::new(FrontId(1), count)
}

fn source(role: Role, about: Option<(SessionId, &str)>) -> Source {
    let user = |name: &str| UserName::try_from(name.to_owned()).unwrap();
    let about = about.map(|(session, name)| (session, user(name)));
    Source::new(Origin { role, pid: 7 }, about)
}

fn record(level: Level) -> Record {
    let user = (Text::truncated("user"), Text::truncated("mallory"));
    Record {
        level,
        session: Some(session(9)),
        qpopper: true,
        text: Text::truncated("opened"),
        fields: List::try_from(vec![user]).unwrap(),
    }
}

#[test]
fn a_workers_record_names_its_own_session_and_user() {
    let (mut log, mut other) = log();
    source(Role::Worker, Some((session(1), "alice"))).write(record(Level::Info), &mut log);
    source(Role::Front, None).write(record(Level::Info), &mut log);
    let lines = lines(&mut other);
    let seen: Vec<_> = lines
        .iter()
        .map(|line| {
            let record = &line.record;
            let user = record.fields.as_slice()[0].1.as_str();
            (record.session, user, record.qpopper)
        })
        .collect();
    assert_eq!(seen[0], (Some(session(1)), "alice", false));
    assert_eq!(seen[1], (Some(session(9)), "mallory", true));
}

/// A local user who has taken over their own worker could otherwise have any address banned.
#[test]
fn a_workers_record_names_no_client_and_no_other_user() {
    let (mut log, mut other) = log();
    let field = |name, value| (Text::truncated(name), Text::truncated(value));
    let mut forged = record(Level::Info);
    forged.text = Text::truncated("login failed session=1.7 user=bob");
    forged.fields = List::try_from(vec![
        field("user", "bob"),
        field("peer", "192.0.2.1"),
        field("user", "carol"),
        field("session", "1.7"),
        field("proxy", "192.0.2.1"),
        field("messages", "3"),
    ])
    .unwrap();
    source(Role::Worker, Some((session(1), "alice"))).write(forged.clone(), &mut log);
    source(Role::Keys, None).write(forged.clone(), &mut log);
    source(Role::Front, None).write(forged, &mut log);
    let lines = lines(&mut other);
    let shown = |line: &Line| {
        let fields = line.record.fields.as_slice().iter();
        let fields = fields.map(|(name, value)| format!("{}={}", name.as_str(), value.as_str()));
        fields.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(&lines[0]), "user=alice user=alice messages=3");
    let text = lines[0].record.text.as_str();
    assert_eq!(text, "login failed session:1.7 user:bob");
    // Keys knows neither users nor sessions.
    assert_eq!(shown(&lines[1]), "user=- user=- messages=3");
    assert_eq!(lines[1].record.text.as_str(), text);
    assert_eq!(lines[1].record.session, None);
    assert_eq!(lines[2].record.fields.as_slice().len(), 6);
}

#[test]
fn p8_a_worker_writes_a_bounded_number_of_records() {
    let (mut log, mut other) = log();
    let mut worker = source(Role::Worker, Some((session(1), "alice")));
    let mut seen = 0;
    for _ in 0..WORKER_RECORDS_MAX + 50 {
        worker.write(record(Level::Info), &mut log);
        seen += lines(&mut other).len();
    }
    // And one that says that there were more. A slow machine may come into the next second.
    let most = WORKER_RECORDS_MAX as usize + 1;
    assert!(
        worker.second.0.elapsed().as_secs() > 0 || seen == most,
        "{seen}"
    );
}
