//! The TRANSACTION state (RFC 1939, section 5): turns commands into requests to the worker.

use super::action::Action;
use super::command::Command;
use super::connection::Pop3;
use super::language::Phrase;
use super::state::{Activity, State};
use popward_proto::session::{FrontToWorker, OfAll, OfOne, Totals};

impl Pop3 {
    /// Acts on a command that came after the login.
    pub(super) fn transaction(&mut self, command: Command<'_>, out: &mut Vec<u8>) -> Action {
        let State::Session(session) = &mut self.state else {
            return Action::None;
        };
        let request = match command {
            Command::Stat => FrontToWorker::Stat,
            Command::List(None) => FrontToWorker::OfAll(OfAll::Sizes),
            Command::Uidl(None) => FrontToWorker::OfAll(OfAll::UniqueIds),
            Command::List(Some(number)) => FrontToWorker::OfOne(number, OfOne::Size),
            Command::Uidl(Some(number)) => FrontToWorker::OfOne(number, OfOne::UniqueId),
            Command::Retr(number) => FrontToWorker::OfOne(number, OfOne::Whole),
            Command::Top(number, lines) => FrontToWorker::OfOne(number, OfOne::Top(lines)),
            Command::Dele(number) => FrontToWorker::OfOne(number, OfOne::Delete),
            Command::Rset => {
                session.marked = Totals::default();
                FrontToWorker::Rset
            }
            Command::Quit => FrontToWorker::Quit,
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
        session.activity = Activity::Asked(request);
        Action::Ask(request)
    }

    /// Tells a silent client that its user's new session gets the maildrop, and ends the connection.
    pub fn yield_to_newcomer(&mut self, out: &mut Vec<u8>) {
        self.error(Phrase::Yielded, out);
        self.state.close();
    }
}
