//! What must be in a spool: each message that was delivered and not deleted, once, with its bytes.

use super::Random;
use std::collections::{BTreeMap, HashMap};

/// Where a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// An agent has it: it may come into the spool at any time.
    Sent,
    /// It is in the spool.
    There,
    /// Somebody deletes it: it may go at any time.
    Leaving,
    /// The reader of this name was told to delete it, and has ended: whether it did, the spool will
    /// tell.
    Asked(&'static str),
    /// It is gone and will not come back.
    Gone,
}

/// A message.
pub struct Mail {
    pub state: State,
    /// Which agent delivers it.
    by: &'static str,
    header: Vec<String>,
    body: String,
    uidl: Option<String>,
    /// Its header at the last look, and at the one before.
    seen: [String; 2],
    /// Which reader was told to mark it as read.
    pub marked_by: Option<&'static str>,
}

/// What a neighbour has done.
#[derive(Default, Debug, Clone)]
pub struct Count {
    pub delivered: u32,
    pub deferred: u32,
    pub deleted: u32,
    pub marked: u32,
    /// Edits that the reader did not do, mostly since it did not get its lock.
    pub refused: u32,
}

/// By neighbour.
pub type Counts = BTreeMap<&'static str, Count>;

/// A message in the spool.
pub struct Found<'a> {
    pub header: &'a str,
    pub body: &'a str,
}

/// The model of one spool.
#[derive(Default)]
pub struct Maildrop {
    mails: BTreeMap<u32, Mail>,
    uidls: HashMap<String, u32>,
    /// A program is moving all messages out.
    pub moving: bool,
}

/// A message's bytes as an agent gets them.
pub fn text(id: u32, user: &str, random: &mut Random) -> (Vec<String>, String) {
    let header = vec![
        format!("From: Sender <s{id}@example.org>"),
        format!("To: {user}@localhost"),
        "Date: Mon, 23 Nov 2026 10:00:00 +0000".to_owned(),
        format!("Message-ID: <{id}.{user}@example.org>"),
        format!("Subject: neighbour n{id}x"),
    ];
    let mut body = format!("id n{id}x\n");
    for line in 0..random.below(60) {
        match random.below(8) {
            0 => body += ".\n",
            1 => body += "..dots\n",
            2 => body += "Grüße, aber From mitten darin\n",
            3 => body.push('\n'),
            4 => body += &format!("{}\n", "long ".repeat(random.below(150))),
            _ => body += &format!("line {line} of {:016x}\n", random.next()),
        }
    }
    // Some programs take empty lines away from the end, some add them.
    body += "the end\n";
    (header, body)
}

/// The messages of a spool: each begins with a From_ line, which the agents write nowhere else.
/// c-client's own message is none.
pub fn parse(spool: &str) -> Vec<Found<'_>> {
    if spool.is_empty() {
        return Vec::new();
    }
    assert!(spool.starts_with("From "), "{:.80}", spool);
    let mut starts: Vec<usize> = vec![0];
    starts.extend(spool.match_indices("\nFrom ").map(|(at, _)| at + 1));
    starts.push(spool.len());
    let messages = starts.windows(2).map(|pair| {
        let message = &spool[pair[0]..pair[1]];
        let (header, body) = message.split_once("\n\n").unwrap_or((message, ""));
        Found { header, body }
    });
    messages
        .filter(|found| !found.header.contains("\nX-IMAP: "))
        .collect()
}

/// The number in a text's `n...x` after `mark`.
pub fn id(text: &str, mark: &str) -> Option<u32> {
    let at = text.find(mark)? + mark.len();
    text[at..].split_once('x')?.0.parse().ok()
}

impl Maildrop {
    /// A new message for this agent to deliver.
    pub fn add(&mut self, id: u32, by: &'static str, (header, body): (Vec<String>, String)) {
        let mail = Mail {
            state: State::Sent,
            by,
            header,
            body,
            uidl: None,
            seen: Default::default(),
            marked_by: None,
        };
        assert!(self.mails.insert(id, mail).is_none());
    }

    /// The agent says that it has delivered it.
    pub fn delivered(&mut self, id: u32, counts: &mut Counts) {
        let mail = self.mails.get_mut(&id).unwrap();
        if mail.state == State::Sent {
            mail.state = State::There;
            counts.entry(mail.by).or_default().delivered += 1;
        }
    }

    /// Those in this state.
    pub fn those(&self, state: State) -> Vec<u32> {
        let those = self.mails.iter().filter(|(_, mail)| mail.state == state);
        those.map(|(id, _)| *id).collect()
    }

    /// How many are in the spool or on the way.
    pub fn live(&self) -> usize {
        let live = |mail: &&Mail| mail.state != State::Gone;
        self.mails.values().filter(live).count()
    }

    pub fn mail(&mut self, id: u32) -> &mut Mail {
        self.mails.get_mut(&id).unwrap()
    }

    fn compare(mail: &Mail, id: u32, found: &Found<'_>) {
        let by = mail.by;
        let (left, right) = (
            found.body.trim_end_matches('\n'),
            mail.body.trim_end_matches('\n'),
        );
        if left != right {
            let same = left.lines().zip(right.lines()).take_while(|(l, r)| l == r);
            let same = same.count();
            let rest = |text: &str| {
                text.lines()
                    .skip(same)
                    .take(12)
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            panic!(
                "the body of n{id}x, by {by}, from line {same}:\n{}\n--- but it was\n{}\n---",
                rest(left),
                rest(right)
            );
        }
        let mut lines = found.header.lines();
        for line in &mail.header {
            let there = lines.any(|found| found == line);
            assert!(there, "{line:?} of n{id}x, by {by}, in\n{}", found.header);
        }
    }

    /// Holds a spool that nobody writes against the model, and learns from it what agents and
    /// readers have done. The ids in their order.
    pub fn settle(&mut self, spool: &str, counts: &mut Counts) -> Vec<u32> {
        let mut ids = Vec::new();
        for found in parse(spool) {
            let id = id(found.body, "id n").unwrap_or_else(|| {
                panic!("a message of nobody:\n{}\n\n{}", found.header, found.body)
            });
            assert!(!ids.contains(&id), "n{id}x is there twice");
            ids.push(id);
            let mail = self.mails.get_mut(&id).expect("nobody sent it");
            Self::compare(mail, id, &found);
            mail.seen.swap(0, 1);
            found.header.clone_into(&mut mail.seen[1]);
            match mail.state {
                State::Sent => {
                    mail.state = State::There;
                    counts.entry(mail.by).or_default().delivered += 1;
                }
                State::Asked(reader) => {
                    mail.state = State::There;
                    counts.entry(reader).or_default().refused += 1;
                }
                State::There | State::Leaving => {}
                State::Gone => panic!("n{id}x was deleted and is back"),
            }
            if let Some(reader) = mail.marked_by.take() {
                let read = |line: &str| line.starts_with("Status:") && line.contains('R');
                let count = counts.entry(reader).or_default();
                if found.header.lines().any(read) {
                    count.marked += 1;
                } else {
                    count.refused += 1;
                }
            }
        }
        for (id, mail) in &mut self.mails {
            if ids.contains(id) {
                continue;
            }
            match mail.state {
                State::Asked(reader) => {
                    mail.state = State::Gone;
                    counts.entry(reader).or_default().deleted += 1;
                }
                State::There => assert!(self.moving, "n{id}x, by {}, is lost", mail.by),
                State::Sent | State::Leaving | State::Gone => {}
            }
        }
        ids
    }

    /// The messages that a program moved into this file.
    pub fn moved(&mut self, file: &str, reader: &'static str, counts: &mut Counts) {
        for found in parse(file) {
            let id = id(found.body, "id n").expect("a message of nobody was moved");
            let mail = self.mails.get_mut(&id).expect("nobody sent it");
            Self::compare(mail, id, &found);
            assert_ne!(
                mail.state,
                State::Gone,
                "n{id}x was moved after it was deleted"
            );
            if mail.state == State::Sent {
                counts.entry(mail.by).or_default().delivered += 1;
            }
            mail.state = State::Gone;
            counts.entry(reader).or_default().deleted += 1;
        }
    }

    /// A client saw this UIDL for this message (promise P5).
    pub fn uidl(&mut self, id: u32, uidl: &str) {
        let mail = self.mails.get_mut(&id).unwrap();
        if let Some(before) = &mail.uidl {
            let [was, is] = &mail.seen;
            assert_eq!(
                before, uidl,
                "the UIDL of n{id}x has changed:\n{was}\n---\n{is}"
            );
        }
        mail.uidl = Some(uidl.to_owned());
        let other = *self.uidls.entry(uidl.to_owned()).or_insert(id);
        assert_eq!(other, id, "two messages have the UIDL {uidl}");
    }

    /// Whether a text that a client got is that of the message.
    pub fn retrieved(&self, id: u32, text: &str) {
        let (header, body) = text.split_once("\n\n").unwrap();
        Self::compare(&self.mails[&id], id, &Found { header, body });
    }
}
