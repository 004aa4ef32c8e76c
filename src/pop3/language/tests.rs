//! Tests of all phrases in all languages.

use super::*;

#[test]
fn every_phrase_is_a_short_line_with_the_same_numbers_in_each_language() {
    for phrase in Phrase::ALL {
        let numbers = phrase.text(Language::English).matches("{}").count();
        for language in Language::ALL {
            let text = phrase.text(language);
            assert!(
                !text.is_empty() && text.len() < 128,
                "{phrase:?} {language:?}"
            );
            assert!(
                !text.contains(char::is_control) && text == text.trim(),
                "{text:?}"
            );
            assert_eq!(text.matches("{}").count(), numbers, "{text:?}");
            // A client would read a text that begins with `[` as a response code.
            assert!(!text.starts_with('['), "{text:?}");
        }
        assert!(
            phrase.text(Language::English).is_ascii(),
            "RFC 1939: before LANG"
        );
        let code = phrase.code();
        assert!(
            code.is_empty() || (code.starts_with('[') && code.ends_with("] ")),
            "{code:?}"
        );
    }
}

#[test]
fn every_language_has_its_own_texts() {
    for language in Language::ALL.into_iter().skip(1) {
        let same = Phrase::ALL
            .iter()
            .filter(|phrase| phrase.text(language) == phrase.text(Language::English));
        // Some texts are the same in French, such as "{} messages".
        assert!(same.count() <= 3, "{language:?}");
        assert_ne!(own_name(language), "English");
    }
}

#[test]
fn a_range_is_looked_up_by_its_first_subtag() {
    for (range, language) in [
        ("de", Some(Language::German)),
        ("DE-at", Some(Language::German)),
        ("fr-Latn-CA", Some(Language::French)),
        ("es-419", Some(Language::Spanish)),
        ("en", Some(Language::English)),
        ("MUL", None),
        ("d", None),
        ("de-", None),
        ("de--at", None),
        ("de at", None),
        ("de-abcdefghi", None),
        ("", None),
        ("-de", None),
    ] {
        assert_eq!(of_range(range.as_bytes()), language, "{range:?}");
    }
    assert_eq!(of_range(b"de-\xff"), None);
}
