//! What a parent vouches for in the records of its children.

use super::*;
use popward_proto::account::FrontId;
use popward_proto::log_line::Line;

/// The end of a log's channel at which its lines come out.
type Log = Channel<NoMessage, Line>;

/// A log, and the other end of its channel.
fn log() -> (LogWriter, Log) {
    let (own, other) = socket_pair().unwrap();
    let mut log = LogWriter::new(Role::Monitor, Level::Info);
    log.connect(own);
    let other = Channel::new(other, SetupPhase::Serving);
    other.set_nonblocking().unwrap();
    (log, other)
}

fn lines(from: &mut Log) -> Vec<Line> {
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

/// Makes the present second of a child last, or ends it, so that a slow machine changes nothing.
fn set_second(source: &mut Source, lasts: bool) {
    let hour = Duration::from_secs(3600);
    let now = Instant::now();
    let moved = if lasts {
        now.checked_add(hour)
    } else {
        now.checked_sub(hour)
    };
    source.second.0 = moved.unwrap();
}

/// Lets a child write this often. Returns how many of the records have reached the log.
fn flood(source: &mut Source, times: u32, log: &mut LogWriter, other: &mut Log) -> u32 {
    let mut seen = 0;
    for _ in 0..times {
        if source.may_write(log) {
            source.write(record(Level::Info), log);
        }
        seen += u32::try_from(lines(other).len()).unwrap();
    }
    seen
}

/// What the parent itself has written: texts, and the fields behind them.
fn said(other: &mut Log) -> Vec<String> {
    let own = lines(other).into_iter();
    let own = own.filter(|line| line.origin.role == Role::Monitor);
    let shown = own.map(|line| {
        let fields = line.record.fields.as_slice().iter();
        let fields = fields.map(|(name, value)| format!(" {}={}", name.as_str(), value.as_str()));
        line.record.text.as_str().to_owned() + &fields.collect::<String>()
    });
    shown.collect()
}

const LEFT_OUT: &str = "a process writes too many log records: some of a second are left out pid=7";

/// Before, only a worker's records were bounded: a front, auth or keys could fill the disk.
#[test]
fn p8_every_process_writes_a_bounded_number_of_records() {
    let (mut log, mut other) = log();
    let about = Some((session(1), "alice"));
    for (role, about, most) in [
        (Role::Worker, about, 100),
        (Role::Adopt, about, 100),
        (Role::Keys, None, 100),
        (Role::AuthProgram, None, 100),
        (Role::Front, None, 5000),
        (Role::Auth, None, 5000),
    ] {
        let mut source = source(role, about);
        set_second(&mut source, true);
        assert_eq!(flood(&mut source, most, &mut log, &mut other), most);
        assert_eq!(flood(&mut source, 50, &mut log, &mut other), 0);
        // The next second has as much room, and says once how many were left out.
        set_second(&mut source, false);
        assert!(source.may_write(&mut log));
        assert_eq!(said(&mut other), [format!("{LEFT_OUT} records=50")]);
        set_second(&mut source, false);
        assert!(source.may_write(&mut log));
        assert_eq!(said(&mut other), [""; 0]);
    }
}

/// Otherwise a child could write too much and end, and nothing would say that records are missing.
#[test]
fn what_a_child_that_ends_wrote_too_much_is_said() {
    let (mut log, mut other) = log();
    let mut source = source(Role::Keys, None);
    set_second(&mut source, true);
    assert_eq!(flood(&mut source, 103, &mut log, &mut other), 100);
    let (theirs, own) = socket_pair().unwrap();
    drop(theirs);
    let mut logs = Logs::default();
    let (unused, _) = socket_pair().unwrap();
    let mut events = Events::new(&unused).unwrap();
    let id = events.next_id();
    let channel: Channel<NoMessage, Record> = Channel::new(own, SetupPhase::Serving);
    events.watch(channel.as_fd(), Event::Second(id)).unwrap();
    logs.0.insert(id, (source, channel));
    let mut buffer = PacketBuffer::for_messages();
    logs.read(id, &mut log, &events, &mut buffer, 10);
    assert_eq!(said(&mut other), [format!("{LEFT_OUT} records=3")]);
    assert!(logs.0.is_empty());
}
