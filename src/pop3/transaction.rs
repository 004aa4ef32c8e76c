//! The TRANSACTION state (RFC 1939, section 5): what goes to the worker.

use super::command::Command;
use super::language::Phrase;
use super::{Action, Pop3, State};
use popward_proto::session::{FieldName, FrontToWorker, Headers, Totals};

impl Pop3 {
    pub(super) fn transaction(&mut self, command: Command<'_>, out: &mut Vec<u8>) -> Action {
        self.retrieving = matches!(command, Command::Retr(_));
        let request = match command {
            Command::Stat => FrontToWorker::Stat,
            Command::List(number) => FrontToWorker::List(number),
            Command::Uidl(number) => FrontToWorker::Uidl(number),
            Command::Retr(number) => match self.headers() {
                Headers::Raw => FrontToWorker::Retr(number),
                Headers::Ascii => FrontToWorker::RetrAscii(number),
            },
            Command::Top(number, lines) => match self.headers() {
                Headers::Raw => FrontToWorker::Top(number, lines),
                Headers::Ascii => FrontToWorker::TopAscii(number, lines),
            },
            Command::Euidl(number) => FrontToWorker::Euidl(number, self.headers()),
            Command::Xlst(field, number) => {
                let field = String::from_utf8_lossy(field).into_owned();
                let Ok(field) = FieldName::try_from(field) else {
                    return self.bad_command(Phrase::BadArguments, out);
                };
                FrontToWorker::Xlst(field, number, self.headers())
            }
            Command::Dele(number) => FrontToWorker::Dele(number),
            Command::Rset => {
                self.marked = Totals::default();
                FrontToWorker::Rset
            }
            Command::Last if !self.own().last => {
                return self.bad_command(Phrase::UnknownCommand, out);
            }
            Command::Last => FrontToWorker::Last,
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
