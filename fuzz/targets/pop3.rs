//! Fuzzes the protocol: a client's bytes in pieces, and messages of auth, the monitor and a worker,
//! expected or not.
//!
//! The input begins with a header of 32 bytes. It gives the size of the pieces, the offer, the
//! settings, the number of client bytes after which a process speaks unasked (0: never), and its
//! messages.
//!
//! The target checks:
//!
//! - Each line has one reply, in order and within its length.
//! - Nothing is asked while an answer is due.
//! - A login needs a grant, and no command of the TRANSACTION state works before it.
//! - An unasked message ends the session or changes nothing.
//! - The size of the pieces changes nothing.

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

/// Most bytes that one call writes: the gathered replies to pipelined commands (8 KiB), and the
/// reply that passes that bound.
const GROWTH: usize = 8 * 1024 + 2048;

/// The header before the client's bytes.
struct Header<'a> {
    /// The size of a piece of the client's bytes.
    piece: usize,
    offered: u8,
    configured: u8,
    /// The number of client bytes after which a process speaks unasked. 0: never.
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

/// A session, with what the checks need to know about it.
struct Session<'a> {
    pop3: Pop3,
    out: Vec<u8>,
    offered: u8,
    tape: Tape<'a>,
    interrupted: bool,
    due: Option<Due>,
    closed: bool,
    /// The number of lines that were taken. Each has one reply.
    lines: usize,
    /// The number of replies in the first `counted` bytes of `out`, with the greeting.
    replies: usize,
    counted: usize,
    /// 1 if the session ended with an error reply that no line asked for, else 0.
    broke: usize,
}

impl Session<'_> {
    /// Checks that every line has one reply, except a line whose answer is due. While an answer is
    /// due, no other line is taken.
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

    /// Acts on an action, or notes that an answer is due.
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

    /// A process says something. Checks the reply.
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

    /// Answers until nothing is due. Lets processes speak unasked in between.
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

    /// Passes on a piece of the client's bytes.
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

/// Runs a session with `bytes` in pieces of `size`. Returns all replies.
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
        // Processes speak unasked after the end too. Then nothing may happen.
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
        // Challenges of AUTH may be longer (RFC 5034, section 4).
        assert!(line.len() < 512 || line.starts_with(b"+ "));
    }
});
