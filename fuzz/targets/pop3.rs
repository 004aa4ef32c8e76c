//! What a client may send, in pieces, between whatever auth, the monitor and a worker may say, asked for or not. A header of 32
//! bytes says how large the pieces are, what is offered, what is configured, after how many bytes somebody speaks unasked (0:
//! never), and what is said. Each line has one reply, in order and within its length; nothing is asked while an answer is due;
//! nobody is logged in but by a grant, and nothing of a transaction comes before; who speaks unasked ends the session or
//! changes nothing; and how the bytes are cut changes nothing.

#![no_main]

#[path = "pop3/offered.rs"]
mod offered;
#[path = "pop3/said.rs"]
mod said;

use libfuzzer_sys::fuzz_target;
use offered::{offer, settings};
use popward_front::pop3::{Action, Identity, Login, Policy, Pop3};
use popward_proto::session::WorkerToFront;
use said::{Due, Said, Tape};
use std::rc::Rc;

/// Most that one call writes: what is gathered of pipelined commands (8 KiB), and the reply that goes beyond it.
const GROWTH: usize = 8 * 1024 + 2048;

/// What stands before the client's bytes.
struct Header<'a> {
    /// How much comes at once.
    piece: usize,
    offered: u8,
    configured: u8,
    /// After how many bytes somebody speaks who was not asked; 0: nobody does.
    stride: usize,
    tape: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(data: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[piece, offered, configured, stride], rest) = data.split_first_chunk()?;
        let (tape, bytes) = rest.split_first_chunk::<28>()?;
        let header = Self {
            piece: usize::from(piece).max(1),
            offered,
            configured,
            stride: stride.into(),
            tape,
        };
        Some((header, bytes))
    }
}

/// A session between everything that may be said.
struct Session<'a> {
    pop3: Pop3,
    out: Vec<u8>,
    offered: u8,
    tape: Tape<'a>,
    interrupted: bool,
    due: Option<Due>,
    closed: bool,
    /// How many lines were taken. Each has one reply.
    lines: usize,
    /// How many replies there are in the first `counted` bytes of `out`, the greeting among them.
    replies: usize,
    counted: usize,
    /// Whether there is an error that no line has asked for: the last one.
    broke: usize,
}

impl Session<'_> {
    /// Every line has one reply, but the one that waits for its answer; and then no other is taken.
    fn check(&mut self) {
        let new = &self.out[self.counted..];
        assert!(new.is_empty() || new.ends_with(b"\r\n"), "half a line");
        let begins = |line: &&[u8]| {
            let starts: [&[u8]; 3] = [b"+OK", b"-ERR", b"+ "];
            starts.iter().any(|start| line.starts_with(start))
        };
        self.replies += new.split(|byte| *byte == b'\n').filter(begins).count();
        self.counted = self.out.len();
        let owed = self.due.as_ref().map_or(0, Due::owes);
        assert_eq!(self.replies + owed, self.lines + 1 + self.broke, "replies");
        let free = self.due.is_none() && !self.closed;
        assert_eq!(self.pop3.wants_input(), free, "takes commands");
    }

    /// Does what is to be done, or notes that an answer is due.
    fn act(&mut self, action: Action) {
        let logged_in = self.pop3.is_logged_in();
        assert!(self.due.is_none() || action == Action::None, "asked twice");
        match action {
            Action::None => {}
            Action::Close(_) => self.closed = true,
            Action::Login(Login::Cancel) => assert!(self.pop3.wants_input()),
            Action::Forwarded(_) => {
                assert!(!logged_in);
                self.pop3
                    .forwarded(offer(self.offered, false), &mut self.out);
            }
            Action::StartTls => {
                assert!(!logged_in);
                self.due = Some(Due::Tls);
            }
            Action::Login(login) => {
                assert!(!logged_in);
                self.due = Some(Due::Login(login));
            }
            Action::Ask(request) => {
                assert!(logged_in);
                self.due = Some(Due::Answer(request));
            }
        }
    }

    /// Somebody says something.
    fn hear(&mut self, said: &Said) {
        let (before, logged_in) = (self.out.len(), self.pop3.is_logged_in());
        let action = said.to(&mut self.pop3, &mut self.out);
        let wrote = &self.out[before..];
        assert!(wrote.len() <= GROWTH);
        let due = self.due.take();
        let taken = due.as_ref().filter(|due| due.takes(said));
        let granted = matches!(said, Said::Worker(WorkerToFront::Opened(_))) && taken.is_some();
        assert!(
            logged_in || granted || !self.pop3.is_logged_in(),
            "no grant"
        );
        if let Some(taken) = taken {
            let begins = |start: &&str| wrote.starts_with(start.as_bytes());
            let expected = said.begins(taken);
            assert!(expected.iter().any(begins), "{said:?}: {expected:?}");
            self.due = due.and_then(|due| due.after(said));
            if matches!(action, Action::Close(_)) {
                self.due = None;
            }
            return self.act(action);
        }
        if self.closed || !said.ends(due.as_ref()) {
            assert!(wrote.is_empty() && action == Action::None, "{said:?}");
            self.due = due.map(|due| due.after_no_answer(said));
            return;
        }
        assert!(matches!(action, Action::Close(_)), "{said:?}: {action:?}");
        let silent = due.as_ref().is_some_and(Due::is_silent);
        assert_eq!(wrote.starts_with(b"-ERR [SYS/TEMP] "), !silent, "{said:?}");
        assert_eq!(wrote.is_empty(), silent, "within a reply");
        self.broke = usize::from(due.is_none());
        self.act(action);
    }

    /// Answers until nothing is due, and lets others speak in between.
    fn answer(&mut self) {
        self.check();
        let mut interruptions = 0;
        while let Some(due) = &self.due {
            let interrupts = self.interrupted && interruptions < 3 && self.tape.choose(4) == 0;
            let said = if interrupts {
                interruptions += 1;
                Said::anything(&mut self.tape)
            } else {
                due.answer(&mut self.tape, offer(self.offered, true))
            };
            self.hear(&said);
            self.check();
        }
    }

    /// Takes a piece of what the client sends.
    fn take(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() && !self.closed {
            let before = self.out.len();
            let (used, action) = self.pop3.input(piece, &mut self.out);
            assert!(used > 0, "no progress");
            assert!(self.out.len() - before <= GROWTH);
            let ends = piece[..used].iter().filter(|byte| **byte == b'\n');
            self.lines += ends.count();
            piece = &piece[used..];
            self.act(action);
            self.answer();
        }
    }
}

/// Feeds `bytes` in pieces of `size`; returns what was heard.
fn heard(bytes: &[u8], size: usize, header: &Header<'_>) -> Vec<u8> {
    let policy = Policy {
        bad_commands: 20,
        failed_logins: 3,
    };
    let identity = Identity {
        unique: [7; 2],
        host: "localhost".into(),
    };
    let settings = Rc::new(settings(header.configured));
    let forwards = header.offered & 128 != 0;
    let pop3 = Pop3::new(policy, offer(header.offered, false), identity, forwards);
    let mut session = Session {
        pop3: pop3.configured(&settings),
        out: Vec::new(),
        offered: header.offered,
        tape: Tape {
            bytes: header.tape,
            read: 0,
        },
        interrupted: header.stride > 0,
        due: None,
        closed: false,
        lines: 0,
        replies: 0,
        counted: 0,
        broke: 0,
    };
    session.pop3.greeting(&mut session.out);
    let stride = if session.interrupted {
        header.stride
    } else {
        bytes.len().max(1)
    };
    for until_somebody_speaks in bytes.chunks(stride) {
        for piece in until_somebody_speaks.chunks(size) {
            session.take(piece);
        }
        // After the end as well: then nobody is heard.
        if session.interrupted {
            let said = Said::anything(&mut session.tape);
            session.hear(&said);
            session.answer();
        }
    }
    session.out
}

fuzz_target!(|data: &[u8]| {
    let Some((header, bytes)) = Header::read(data) else {
        return;
    };
    let pieces = heard(bytes, header.piece, &header);
    assert_eq!(pieces, heard(bytes, bytes.len().max(1), &header));
    for line in pieces.split(|byte| *byte == b'\n') {
        // SCRAM's challenges are as long as they are (RFC 5034, section 4).
        assert!(line.len() < 512 || line.starts_with(b"+ "));
    }
});
