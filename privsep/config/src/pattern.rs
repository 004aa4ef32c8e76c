//! Parses `spool.path`.

use popward_proto::bounded::{List, Text};
use popward_proto::pattern::{Part, Pattern};

fn named(name: &str) -> Option<Part> {
    Some(match name {
        "user" => Part::User,
        "user:1" => Part::First,
        "user:2" => Part::Second,
        "user:hash" => Part::Hash,
        "name" => Part::Name,
        "domain" => Part::Domain,
        "home" => Part::Home,
        _ => return None,
    })
}

/// Parses a pattern. `None`: the text is no pattern, or several accounts would share one spool.
pub(crate) fn parse(text: &str) -> Option<Pattern> {
    let mut parts = Vec::new();
    let literal = |text: &str, parts: &mut Vec<Part>| {
        let text = Text::try_from(text.to_owned()).ok()?;
        let good = !text.as_str().contains('}');
        if !text.as_str().is_empty() {
            parts.push(Part::Literal(text));
        }
        good.then_some(())
    };
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        literal(before, &mut parts)?;
        parts.push(named(name)?);
        rest = after;
    }
    literal(rest, &mut parts)?;
    let pattern = Pattern::try_from(List::try_from(parts).ok()?).ok()?;
    (!text.ends_with('/')).then_some(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_pattern_is_refused() {
        for bad in [
            "",
            "mail/{user}",
            "/var/mail/all",
            "/var/mail/{user:1}",
            "/var/mail/{domain}/spool",
            "/var/mail/{user}/",
            "/var/mail/{use}",
            "/var/mail/{user",
            "/var/mail/user}{user}",
            "{user}/mbox",
            "/var/mail/{user:3}",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_placeholder_is_a_part() {
        let literal = |text: &str| Part::Literal(Text::truncated(text));
        for (text, parts) in [
            ("/var/mail/{user}", &[literal("/var/mail/"), Part::User][..]),
            ("{home}/mbox", &[Part::Home, literal("/mbox")]),
            (
                "/{user:1}{user:2}{user:hash}/{domain}/{name}",
                &[
                    literal("/"),
                    Part::First,
                    Part::Second,
                    Part::Hash,
                    literal("/"),
                    Part::Domain,
                    literal("/"),
                    Part::Name,
                ],
            ),
        ] {
            assert_eq!(parse(text).unwrap().parts(), parts, "{text}");
        }
    }

    #[test]
    fn the_base_is_the_directory_above_all_spools() {
        let base = |text| parse(text).unwrap().base().map(str::to_owned);
        assert_eq!(base("/var/mail/{user}").as_deref(), Some("/var/mail"));
        assert_eq!(
            base("/var/mail/{user:1}/{user}").as_deref(),
            Some("/var/mail")
        );
        assert_eq!(base("/m/x-{user}").as_deref(), Some("/m"));
        assert_eq!(base("{home}/mbox"), None);
    }
}
