//! What a client may send, in pieces, between whatever auth, the monitor and a worker may answer: the first byte says how
//! large the pieces are, the second what is offered, the next sixteen what is answered. Replies stay within their length,
//! nothing is asked while an answer is due, nobody is logged in but by a grant, and how the bytes are cut changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use popward_front::pop3::{Action, Identity, Login, Mechanisms, Offer, Policy, Pop3, Security};
use popward_proto::auth::{AuthRefusal, Credentials};
use popward_proto::monitor_front::Mechanism;
use popward_proto::session::{
    Broken, FrontToWorker, OpenFailure, Refusal, Totals, Update, WorkerToFront,
};

const MECHANISMS: [Mechanism; 10] = [
    Mechanism::User,
    Mechanism::Apop,
    Mechanism::Plain,
    Mechanism::Login,
    Mechanism::CramMd5,
    Mechanism::ScramSha1,
    Mechanism::ScramSha256,
    Mechanism::External,
    Mechanism::Oauthbearer,
    Mechanism::Xoauth2,
];

fn offer(bits: u8, secure: bool) -> Offer {
    let mechanisms: Mechanisms = match bits & 3 {
        0 => MECHANISMS[..1].iter().copied().collect(),
        1 => MECHANISMS[4..].iter().copied().collect(),
        _ => MECHANISMS.iter().copied().collect(),
    };
    Offer {
        security: match (secure || bits & 4 != 0, bits & 8 != 0) {
            (true, _) => Security::Tls,
            (false, true) => Security::Stls,
            (false, false) => Security::Never,
        },
        passwords: secure || bits & 16 != 0,
        mechanisms,
        certificate: bits & 32 != 0,
        binding: (bits & 64 != 0).then_some([1; 32]),
    }
}

/// A session between everything that may be answered.
struct Session<'a> {
    pop3: Pop3,
    out: Vec<u8>,
    bits: u8,
    tape: &'a [u8],
    answers: usize,
    granted: bool,
}

impl Session<'_> {
    fn choice(&mut self) -> u8 {
        self.answers += 1;
        self.tape[self.answers % self.tape.len()]
    }

    /// Does what is to be done; returns false when all is over.
    fn act(&mut self, mut action: Action) -> bool {
        loop {
            action = match action {
                Action::None => return true,
                Action::Close(_) => return false,
                Action::Forwarded(_) => {
                    self.pop3.forwarded(offer(self.bits, false), &mut self.out);
                    Action::None
                }
                Action::StartTls => {
                    assert!(!self.pop3.wants_input());
                    self.pop3.secured(offer(self.bits, true));
                    Action::None
                }
                Action::Login(Login::Cancel) => {
                    assert!(self.pop3.wants_input());
                    Action::None
                }
                Action::Login(login) => self.login(&login),
                Action::Ask(request) => self.ask(&request),
            };
        }
    }

    fn login(&mut self, login: &Login) -> Action {
        assert!(!self.pop3.wants_input() && !self.pop3.is_logged_in());
        let out = &mut self.out;
        if let Login::Check(Credentials::Scram { nonce, .. }) = login {
            if self.tape[0] & 1 == 0 {
                let first = format!("r={nonce}x,s=QUJD,i=4096");
                return self.pop3.auth_challenge(&first, out);
            }
        }
        if let Login::Prove(_) = login {
            let signature = vec![1; 32].try_into().ok().unwrap();
            return self.pop3.auth_signature(&signature, out);
        }
        match self.choice() % 8 {
            0 => self
                .pop3
                .auth_refused(AuthRefusal::Credentials, &mut self.out),
            1 => self
                .pop3
                .auth_refused(AuthRefusal::Temporary, &mut self.out),
            2 => self.pop3.no_session(&mut self.out),
            3 => self.pop3.worker_gone(&mut self.out),
            4 => {
                let why = WorkerToFront::NotOpened(OpenFailure::InUse);
                self.pop3.worker(&why, &mut self.out)
            }
            _ => {
                self.granted = true;
                let opened = WorkerToFront::Opened(Totals::default());
                self.pop3.worker(&opened, &mut self.out)
            }
        }
    }

    fn ask(&mut self, request: &FrontToWorker) -> Action {
        assert!(!self.pop3.wants_input() && self.pop3.is_logged_in());
        use FrontToWorker as F;
        use WorkerToFront as W;
        let broken = self.choice() % 16;
        let answer = match request {
            _ if broken == 0 => W::Broken(Broken::LockLost),
            F::Quit => W::Committed(Update {
                deleted: Totals::default(),
                left: Totals::default(),
            }),
            F::List(None) | F::Uidl(None) | F::Euidl(None, _) | F::Xlst(..) => {
                W::Listing(Totals::default())
            }
            F::Retr(_) | F::Top(..) if broken < 8 => W::Body(0),
            F::Retr(_) | F::Top(..) => W::Refused(Refusal::AlreadyDeleted),
            _ => W::Totals(Totals::default()),
        };
        let streams = matches!(answer, W::Listing(_) | W::Body(_));
        let action = self.pop3.worker(&answer, &mut self.out);
        if streams {
            if broken == 7 {
                return self.pop3.worker_gone(&mut self.out);
            }
            self.pop3.data(true, &mut self.out);
        }
        if matches!(request, F::Quit) {
            return self.pop3.worker_ended(broken == 1, &mut self.out);
        }
        action
    }
}

/// Feeds `bytes` in pieces of `size`; returns what was heard.
fn heard(bytes: &[u8], size: usize, bits: u8, tape: &[u8]) -> Vec<u8> {
    let policy = Policy {
        bad_commands: 20,
        failed_logins: 3,
    };
    let identity = Identity {
        unique: [7; 16],
        host: "localhost".into(),
    };
    let mut session = Session {
        pop3: Pop3::new(policy, offer(bits, false), identity, bits & 128 != 0),
        out: Vec::new(),
        bits,
        tape,
        answers: 0,
        granted: false,
    };
    session.pop3.greeting(&mut session.out);
    for mut piece in bytes.chunks(size) {
        while !piece.is_empty() {
            let (used, action) = session.pop3.input(piece, &mut session.out);
            assert!(used > 0 || action != Action::None, "no progress");
            piece = &piece[used..];
            if !session.act(action) {
                return session.out;
            }
            assert!(session.granted || !session.pop3.is_logged_in());
        }
    }
    session.out
}

fuzz_target!(|data: &[u8]| {
    let Some((&[size, bits], rest)) = data.split_first_chunk() else {
        return;
    };
    let Some((tape, bytes)) = rest.split_first_chunk::<16>() else {
        return;
    };
    let pieces = heard(bytes, usize::from(size).max(1), bits, tape);
    assert_eq!(pieces, heard(bytes, bytes.len().max(1), bits, tape));
    for line in pieces.split(|byte| *byte == b'\n') {
        // SCRAM's challenges are as long as they are (RFC 5034, section 4).
        assert!(line.len() < 512 || line.starts_with(b"+ "));
    }
});
