//! The configured changes to a name: lower case, and domains that are cut off.

use popward_proto::bounded::UserName;
use popward_proto::monitor_auth::NameRules;

/// `name` after the changes that `rules` ask for.
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
    // Without its domain, `@example.org` is no valid name. It stays as it is.
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
    fn names_change_only_as_configured() {
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
            // A name that begins with a dot is not a valid name.
            let Ok(given) = UserName::try_from(given.to_owned()) else {
                continue;
            };
            assert_eq!(normal(given, &rules), name(looked_for));
        }
    }

    proptest! {
        #[test]
        fn a_changed_name_does_not_change_again(text in "[a-zA-Z0-9]{1,20}(@[a-zA-Z.]{1,20})?") {
            let rules = rules(true, &["example.org", "*"]);
            let once = normal(name(&text), &rules);
            prop_assert_eq!(normal(once.clone(), &rules), once);
        }
    }
}
