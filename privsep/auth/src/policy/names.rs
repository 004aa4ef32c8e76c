//! One spelling for a name that clients spell in several ways.

use popward_proto::bounded::UserName;
use popward_proto::monitor_auth::NameRules;

/// `name` as it is looked for.
pub(crate) fn normal(name: UserName, rules: &NameRules) -> UserName {
    let mut text = name.as_str().to_owned();
    if rules.lower_case {
        text.make_ascii_lowercase();
    }
    if let Some((local, domain)) = text.rsplit_once('@') {
        let trimmed = rules
            .trim_domains
            .as_slice()
            .iter()
            .any(|rule| rule.as_str() == "*" || rule.as_str().eq_ignore_ascii_case(domain));
        if trimmed {
            text.truncate(local.len());
        }
    }
    // What is left of `@example.org` is no name.
    UserName::try_from(text).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use popward_proto::bounded::{List, Text};
    use proptest::prelude::*;

    fn rules(lower_case: bool, domains: &[&str]) -> NameRules {
        let domains: Vec<_> = domains
            .iter()
            .map(|domain| Text::truncated(domain))
            .collect();
        NameRules {
            lower_case,
            trim_domains: List::try_from(domains).unwrap(),
        }
    }

    fn name(text: &str) -> UserName {
        UserName::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn names_are_cut_and_lowered_as_configured_and_not_otherwise() {
        for (rules, given, looked_for) in [
            (rules(false, &[]), "Alice@Example.ORG", "Alice@Example.ORG"),
            (rules(true, &[]), "Alice@Example.ORG", "alice@example.org"),
            (rules(false, &["example.org"]), "Alice@Example.ORG", "Alice"),
            (
                rules(true, &["example.org"]),
                "alice@example.net",
                "alice@example.net",
            ),
            (rules(true, &["*"]), "Alice@anything", "alice"),
            (rules(true, &["*"]), "a@b@c", "a@b"),
            (
                rules(true, &["example.org"]),
                "@example.org",
                "@example.org",
            ),
            (
                rules(true, &["example.org"]),
                ".x@example.org",
                ".x@example.org",
            ),
            (rules(true, &[]), "ÄLICE", "Älice"),
        ] {
            // What begins with a dot cannot be made at all.
            let Ok(given) = UserName::try_from(given.to_owned()) else {
                continue;
            };
            assert_eq!(normal(given, &rules), name(looked_for));
        }
    }

    proptest! {
        #[test]
        fn a_normal_name_stays_as_it_is_where_domains_do_not_nest(text in "[a-zA-Z0-9]{1,20}(@[a-zA-Z.]{1,20})?") {
            let rules = rules(true, &["example.org", "*"]);
            let once = normal(name(&text), &rules);
            prop_assert_eq!(normal(once.clone(), &rules), once);
        }
    }
}
