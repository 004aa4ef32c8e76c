//! The TRANSACTION state (RFC 1939, section 5): what goes to the worker.

use super::command::Command;
use super::language::Phrase;
use super::{Action, Pop3, State};
use popward_proto::session::{FrontToWorker, Totals};

impl Pop3 {
    pub(super) fn transaction(&mut self, command: Command<'_>, out: &mut Vec<u8>) -> Action {
        self.retrieving = matches!(command, Command::Retr(_));
        let request = match command {
            Command::Stat => FrontToWorker::Stat,
            Command::List(number) => FrontToWorker::List(number),
            Command::Uidl(number) => FrontToWorker::Uidl(number),
            Command::Retr(number) => FrontToWorker::Retr(number),
            Command::Top(number, lines) => FrontToWorker::Top(number, lines),
            Command::Dele(number) => FrontToWorker::Dele(number),
            Command::Rset => {
                self.marked = Totals::default();
                FrontToWorker::Rset
            }
            Command::Quit => {
                self.state = State::Update(None);
                return Action::Ask(FrontToWorker::Quit);
            }
            Command::Noop => {
                self.ok(Phrase::NothingDone, &[], out);
                return Action::None;
            }
            Command::Capa => {
                self.capabilities(out);
                return Action::None;
            }
            Command::Lang(range) => {
                self.lang(range, out);
                return Action::None;
            }
            Command::Xclient(_) => return self.bad_command(Phrase::UnknownCommand, out),
            Command::User(_)
            | Command::Pass(_)
            | Command::Apop(..)
            | Command::Auth(_)
            | Command::Stls
            | Command::Utf8 => {
                return self.bad_command(Phrase::LoggedIn, out);
            }
        };
        self.state = State::Asked(request.request());
        Action::Ask(request)
    }
}
