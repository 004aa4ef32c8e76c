//! `[pop3]`: the texts that fronts send, and the extensions that they offer.

use super::rules::{Checked, one_of, problem};
use crate::file;
use popward_proto::bounded::Text;
use popward_proto::monitor_front::{Language, Pop3Settings};

pub(super) fn pop3(
    file: &file::Pop3,
    qpopper_log: bool,
    (login_delay_s, login_delay_differs): (u32, bool),
) -> Checked<Pop3Settings> {
    if file.utf8.get_ref() == "refuse" {
        let expected = r#"pop3.utf8: "refuse" was removed; expected "off" or "pass", which send every message as it is"#;
        return problem(file.utf8.span().start, expected);
    }
    let utf8 = one_of("pop3.utf8", &file.utf8, &[("off", false), ("pass", true)])?;
    let languages = Language::ALL.map(|language| (language.tag(), language));
    Ok(Pop3Settings {
        greeting: Some(text("greeting", &file.greeting)?),
        implementation: (file.implementation.as_ref())
            .map(|value| text("implementation", value))
            .transpose()?,
        utf8,
        language: one_of("pop3.language", &file.language, &languages)?,
        qpopper_log,
        login_delay_s,
        login_delay_differs,
    })
}

/// Checks a text that fronts send unchanged. It must not contain `<` or `>`, because these enclose
/// the timestamp for APOP in a greeting (RFC 1939, section 7).
fn text<const MAX: usize>(key: &str, value: &file::Placed) -> Checked<Text<MAX>> {
    let good = |byte: u8| (b' '..=b'~').contains(&byte) && !b"<>".contains(&byte);
    match Text::try_from(value.get_ref().clone()) {
        Ok(text) if text.as_str().bytes().all(good) => Ok(text),
        _ => problem(
            value.span().start,
            format!("pop3.{key}: expected at most {MAX} ASCII characters without < and >"),
        ),
    }
}
