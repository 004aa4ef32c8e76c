//! `[pop3]`: the texts that fronts send, and the extensions that they offer.

use super::{Checked, problem};
use crate::file;
use popward_proto::bounded::Text;
use popward_proto::monitor_front::{Language, Pop3Settings};

pub(super) fn pop3(
    file: &file::Pop3,
    qpopper_log: bool,
    (login_delay_s, login_delay_differs): (u32, bool),
) -> Checked<Pop3Settings> {
    let utf8 = match file.utf8.as_ref().map(|v| (v.span().start, &**v.get_ref())) {
        None | Some((_, "pass")) => true,
        Some((_, "off")) => false,
        Some((offset, "refuse")) => {
            let expected = r#"pop3.utf8: "refuse" was removed; expected "off" or "pass", which send every message as it is"#;
            return problem(offset, expected);
        }
        Some((offset, _)) => return problem(offset, r#"pop3.utf8: expected "off" or "pass""#),
    };
    let language = match &file.language {
        None => Language::English,
        Some(value) => {
            let mut all = Language::ALL.into_iter();
            let language = all.find(|language| language.tag() == value.get_ref());
            let Some(language) = language else {
                let tags = Language::ALL.map(Language::tag).join(", ");
                let expected = format!("pop3.language: expected one of {tags}");
                return problem(value.span().start, expected);
            };
            language
        }
    };
    Ok(Pop3Settings {
        greeting: text("greeting", file.greeting.as_ref())?,
        implementation: text("implementation", file.implementation.as_ref())?,
        utf8,
        language,
        qpopper_log,
        login_delay_s,
        login_delay_differs,
    })
}

/// Checks a text that fronts send unchanged. It must not contain `<` or `>`, because these enclose
/// the timestamp for APOP in a greeting (RFC 1939, section 7).
fn text<const MAX: usize>(key: &str, value: Option<&file::Placed>) -> Checked<Option<Text<MAX>>> {
    let Some(value) = value else {
        return Ok(None);
    };
    let good = |byte: u8| (b' '..=b'~').contains(&byte) && !b"<>".contains(&byte);
    match Text::try_from(value.get_ref().clone()) {
        Ok(text) if text.as_str().bytes().all(good) => Ok(Some(text)),
        _ => problem(
            value.span().start,
            format!("pop3.{key}: expected at most {MAX} ASCII characters without < and >"),
        ),
    }
}
