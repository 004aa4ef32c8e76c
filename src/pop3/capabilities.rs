//! The commands that both states answer: CAPA (RFC 2449, section 5) and LANG (RFC 6856, section 3).

use super::connection::Pop3;
use super::language::{self, Phrase};
use super::offer::Security;
use popward_proto::bounded::Text;
use popward_proto::monitor_front::{Language, Mechanism, Pop3Settings};

impl Pop3 {
    /// Answers CAPA (RFC 2449, section 5), before and after a login.
    pub(super) fn capabilities(&self, out: &mut Vec<u8>) {
        self.ok(Phrase::Capabilities, &[], out);
        out.extend_from_slice(
            b"TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nLANG\r\n",
        );
        // Before a login: the longest delay of all accounts. The argument `USER` says that the
        // account's own delay may differ and is announced after the login (RFC 2449, section 6.5).
        let (delay, differs) = match self.login_delay_s {
            Some(own) => (own, ""),
            None if self.pop3_settings().login_delay_differs => {
                (self.pop3_settings().login_delay_s, " USER")
            }
            None => (self.pop3_settings().login_delay_s, ""),
        };
        if delay > 0 {
            out.extend_from_slice(format!("LOGIN-DELAY {delay}{differs}\r\n").as_bytes());
        }
        // UTF8 stands without the argument USER, because names and passwords are taken as they are,
        // without string preparation (RFC 6856, section 2.2).
        if self.pop3_settings().utf8 {
            out.extend_from_slice(b"UTF8\r\n");
        }
        let implementation = self.pop3_settings().implementation.as_ref();
        let implementation = implementation.map_or(Pop3Settings::IMPLEMENTATION, Text::as_str);
        // CAPA shows USER and SASL after a login too. Their "announced states" are both (RFC 2449,
        // section 6.2; RFC 5034, section 3).
        if self.is_logged_in() {
            if !implementation.is_empty() {
                for part in ["IMPLEMENTATION ", implementation, "\r\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
        } else if self.offer.security == Security::Stls {
            out.extend_from_slice(b"STLS\r\n");
        }
        if self.offer.permits_plainly(Mechanism::User) {
            out.extend_from_slice(b"USER\r\n");
        }
        let mut names = self.offer.names().peekable();
        if names.peek().is_some() {
            out.extend_from_slice(b"SASL");
            for name in names {
                out.push(b' ');
                out.extend_from_slice(name.as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }

    /// Answers LANG (RFC 6856, section 3), before and after a login. Without a range it lists the
    /// languages.
    pub(super) fn lang(&mut self, range: &[u8], out: &mut Vec<u8>) {
        if range.is_empty() {
            self.ok(Phrase::Languages, &[], out);
            for language in Language::ALL {
                for part in [language.tag(), " ", language::own_name(language), "\r\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
            out.extend_from_slice(b".\r\n");
            return;
        }
        let preferred = (range == b"*").then_some(self.pop3_settings().language);
        match preferred.or_else(|| language::of_range(range)) {
            Some(language) => {
                self.language = language;
                let chosen = Phrase::LanguageChosen.text(language);
                for part in ["+OK ", language.tag(), " ", chosen, "\r\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
            None => self.error(Phrase::NoSuchLanguage, out),
        }
    }
}
