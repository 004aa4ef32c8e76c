use super::*;
use serde::Deserialize;
use std::path::Path;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    listen: Vec<Listen>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    login: Option<u16>,
    users: Option<Vec<String>>,
    text: Option<String>,
    yes: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listen {
    address: Spanned<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "read by serde alone")]
    tls: bool,
}

/// Reads a file in which no address may be empty.
fn read(text: &str) -> Result<File, Failure> {
    let file: File = toml::from_str(text).map_err(|error| Failure::of_form(error, text.len()))?;
    match file
        .listen
        .iter()
        .find(|listen| listen.address.get_ref().is_empty())
    {
        Some(listen) => {
            let offset = listen.address.span().start;
            Err(Failure::Value(
                offset,
                "listen.address: expected one".to_owned(),
            ))
        }
        None => Ok(file),
    }
}

/// As `all`, for the text of one file.
fn all(text: &str, read: fn(&str) -> Result<File, Failure>) -> Result<File, Vec<Mistake>> {
    super::all(&Sources::of(Path::new("/c.toml"), text), read)
}

/// The mistakes of a file, each with its line.
fn said(text: &str) -> Vec<String> {
    let mistakes = all(text, read).map(|_| ()).unwrap_err();
    let line = |mistake: &Mistake| text[..mistake.place.start].matches('\n').count() + 1;
    let said = mistakes
        .iter()
        .map(|mistake| format!("{}: {}", line(mistake), mistake.expected));
    said.collect()
}

#[test]
fn a_file_without_mistakes_is_read() {
    let file = all(
        "limits.login = 5\nlimits.yes = true\nlimits.text = 'x'\nlimits.users = []\n[[listen]]\naddress = 'x'\n",
        read,
    );
    let limits = file.unwrap().limits;
    assert_eq!((limits.login, limits.yes), (Some(5), Some(true)));
    assert_eq!(
        (limits.text, limits.users),
        (Some("x".to_owned()), Some(Vec::new()))
    );
}

#[test]
fn all_mistakes_of_a_file_are_found() {
    let text = "[limits]\nlogin = \"soon\"\nusers = \"bob\"\ntext = 7 # not a text\nyes = 1\n\n[[listen]]\naddress = \"\"\ntls = \"no\"\n[[listen]]\naddress = \"\"\n[[lisen]]\naddress = 'x'\n";
    assert_eq!(
        said(text),
        [
            "2: limits.login: expected a number from 0 to 65535, not \"soon\"",
            "3: limits.users: expected a list, such as [\"bob\"]",
            "4: limits.text: expected a text in quotes, not 7",
            "5: limits.yes: expected true or false, not 1",
            "8: listen.address: expected one",
            "9: listen.tls: expected true or false, not \"no\"",
            "11: listen.address: expected one",
            "12: unknown key lisen, did you mean listen?; the keys here are limits, listen",
        ]
    );
}

#[test]
fn a_mistake_that_only_follows_from_another_is_not_shown() {
    // Without its address, the table lacks one.
    let said = said("[[listen]]\naddress = 7\n");
    assert_eq!(
        said,
        ["2: listen.address: expected a text in quotes, not 7"]
    );
}

#[test]
fn mistakes_in_dotted_keys_inline_tables_and_lists_are_found() {
    assert_eq!(
        said("limits.login = 70000\nlimits.yes = 0\n"),
        [
            "1: limits.login: expected a number from 0 to 65535, not 70000",
            "2: limits.yes: expected true or false, not 0",
        ]
    );
    assert_eq!(
        said("limits = { login = -1, users = [\n\"a\",\n7] }\n")[0],
        "1: limits.login: expected a number from 0 to 65535, not -1"
    );
    assert_eq!(
        said("[limits]\nusers = [\"a\",\n7]\nyes = 0\n"),
        [
            "3: limits.users: expected a text in quotes, not 7",
            "4: limits.yes: expected true or false, not 0"
        ]
    );
}

#[test]
fn what_is_no_toml_is_one_mistake() {
    let said = said("[limits]\nlogin = 5\nyes = perhaps\n");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("3: "), "{said:?}");
}

#[test]
fn the_number_of_mistakes_is_bounded() {
    let tables: Vec<String> = (0..1000).map(|n| format!("[x{n}]\n")).collect();
    assert_eq!(said(&tables.concat()).len(), MISTAKES_MAX);
}

#[test]
fn any_text_is_answered() {
    let words = [
        "[limits]\n",
        "[[listen]]\n",
        "login = ",
        "users = ",
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        "=",
        "\n",
        ".",
        ",",
        "7",
        "true",
        "address",
        " ",
        "#",
        "é",
        "\"\"\"",
        "\\",
        "x = 1\n",
    ];
    // A generator of pseudo-random numbers (Knuth), so that each run tries the same texts.
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            text += words[usize::try_from(state >> 33).unwrap() % words.len()];
        }
        if let Err(mistakes) = all(&text, read) {
            assert!((1..=MISTAKES_MAX).contains(&mistakes.len()), "{text:?}");
        }
    }
}
