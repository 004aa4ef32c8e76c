//! The bytes that a client sends: cuts them into lines, and gives each line to the state that the
//! connection is in.

use super::action::Action;
use super::command;
use super::connection::Pop3;
use super::language::Phrase;
use super::line::TooLong;
use crate::sasl::Exchange;
use popward_proto::secret::PASSWORD_MAX;

/// Size of replies after which [`Pop3::input`] takes no more pipelined commands, in bytes. The
/// caller writes these replies first. Without this bound a client that pipelines could fill the
/// memory.
pub(super) const REPLIES_MAX: usize = 8192;

impl Pop3 {
    /// Takes commands from `bytes`. It stops at the first action for the caller, at the end of
    /// `bytes`, or when the replies reach 8192 bytes. Returns how many bytes it took.
    pub fn input(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> (usize, Action) {
        let mut taken = 0;
        let most = out.len() + REPLIES_MAX;
        while self.wants_input() && taken < bytes.len() && out.len() < most {
            let mut lines = std::mem::take(&mut self.lines);
            let sasl = self.exchange().is_some();
            let (used, line) = lines.next(&bytes[taken..], sasl);
            taken += used;
            let action = match line {
                None => Action::None,
                Some(Ok(line)) if sasl => self.sasl_line(line, out),
                Some(Err(line)) => self.too_long(line, out),
                Some(Ok(line)) => match command::parse(line) {
                    Ok(command) => self.command(command, out),
                    Err(command::Malformed::Unknown) => {
                        self.bad_command(Phrase::UnknownCommand, out)
                    }
                    Err(command::Malformed::Arguments) => {
                        self.bad_command(Phrase::BadArguments, out)
                    }
                },
            };
            lines.done();
            self.lines = lines;
            if action != Action::None {
                return (taken, action);
            }
        }
        (taken, Action::None)
    }

    fn command(&mut self, command: command::Command<'_>, out: &mut Vec<u8>) -> Action {
        if self.is_logged_in() {
            self.transaction(command, out)
        } else {
            self.authorization(command, out)
        }
    }

    /// Answers a line that is too long. If the line was a message of an AUTH exchange, the exchange
    /// ends. A PASS that is too long is a login with a password that no account can have.
    fn too_long(&mut self, line: TooLong, out: &mut Vec<u8>) -> Action {
        self.too_long += u32::from(!self.is_logged_in());
        match self.exchange() {
            Some(Exchange::TokenRefused) => self.sasl_line(b"", out),
            Some(exchange) => {
                let known = exchange.is_known_to_auth();
                self.give_up(known, Phrase::LineTooLong, out)
            }
            None if line.is_pass => {
                self.command(command::Command::Pass(&[b'x'; PASSWORD_MAX + 1]), out)
            }
            None => self.bad_command(Phrase::LineTooLong, out),
        }
    }
}
