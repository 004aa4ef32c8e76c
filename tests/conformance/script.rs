//! Reads `tests/conformance/*.pop3`. `tests/conformance/README.md` explains each kind of line.

/// One script: what a client sends, and which replies it must get.
#[derive(Debug, Clone)]
pub struct Script {
    /// The rule that the script shows, with the number and the section of the RFC.
    pub title: String,
    /// The place where the script begins, for error messages: `file:line`.
    pub place: String,
    /// Lines of the configuration: section and line.
    pub configuration: Vec<(String, String)>,
    /// The kind of connection for which the script is. `None`: all kinds.
    pub only: Option<Over>,
    /// The steps.
    pub steps: Vec<Step>,
    /// The messages that must be in the spool at the end.
    pub left: Vec<usize>,
}

/// The kind of connection for which a line or a script is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Without TLS.
    Clear,
    /// With TLS, from the start or after STLS.
    Tls,
}

/// A step of a script.
#[derive(Debug, Clone)]
pub struct Step {
    /// The number of the connection. Connections 2 and up are open at the same time as 1.
    pub connection: usize,
    /// The kind of connection for which the step is. `None`: all kinds.
    pub only: Option<Over>,
    /// What is done.
    pub what: What,
    /// The number of its line in the file.
    pub line: usize,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum What {
    /// The client sends this.
    Send(Vec<Part>),
    /// The client closes its side.
    Shut,
    /// The client begins TLS.
    Secure,
    /// The server's next line is this.
    Line(Vec<Part>),
    /// The server's lines up to the dot include this one.
    With(Vec<Part>),
    /// The server's lines up to the dot do not include this one.
    Without(Vec<Part>),
    /// The server closes the connection.
    End,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// `{name}`. In a server's line it stands for any text, which becomes its value. After that,
    /// and in a client's line, it stands for its value.
    Named(String),
    /// `{...}` in a server's line: any text.
    Any,
    /// A value that is computed from these words.
    Computed(Vec<String>),
}

/// The scripts of a file.
pub fn parse(name: &str, text: &str) -> Vec<Script> {
    let mut scripts: Vec<Script> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let place = format!("{name}:{number}");
        if let Some(title) = line.strip_prefix("= ") {
            scripts.push(Script {
                title: title.to_owned(),
                place,
                configuration: Vec::new(),
                only: None,
                steps: Vec::new(),
                left: vec![1, 2, 3],
            });
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            let script = scripts
                .last_mut()
                .unwrap_or_else(|| panic!("{place}: expected `= TITLE`"));
            add(script, line, number).unwrap_or_else(|why| panic!("{place}: {why}"));
        }
    }
    for script in &scripts {
        assert!(
            script.title.starts_with("RFC ") || script.title.starts_with("Qpopper, "),
            "{}: expected `= RFC N section M: ...` or `= Qpopper, ...`",
            script.place
        );
        let heard = |step: &Step| !matches!(step.what, What::Send(_) | What::Shut | What::Secure);
        assert!(
            script.steps.iter().any(heard),
            "{}: nothing is awaited",
            script.place
        );
    }
    scripts
}

fn add(script: &mut Script, line: &str, number: usize) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix("@ ") {
        if let Some(over) = over(rest) {
            script.only = Some(over);
            return Ok(());
        }
        let (section, key) = rest
            .split_once(' ')
            .ok_or("expected `@ [SECTION] KEY = VALUE`")?;
        script
            .configuration
            .push((section.to_owned(), key.to_owned()));
        return Ok(());
    }
    if let Some(numbers) = line.strip_prefix("M:") {
        let numbers = numbers
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>();
        script.left = numbers.map_err(|_| "expected numbers of messages")?;
        return Ok(());
    }
    let (only, line) = match line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((word, rest)) => (Some(over(word).ok_or("expected [clear] or [tls]")?), rest),
        None => (None, line),
    };
    let end = line
        .find([':', '~', '!', '+', '-'])
        .ok_or("expected `C:` or `S:`")?;
    let (who, rest) = (&line[..end], &line[end + 1..]);
    let (who, connection) = who.split_at(1);
    let connection = if connection.is_empty() {
        1
    } else {
        connection.parse().map_err(|_| "expected a number")?
    };
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let what = match (who, line.as_bytes()[end]) {
        ("C", b':') => What::Send(parts(&format!("{rest}\\r\\n"))?),
        ("C", b'~') => What::Send(parts(rest)?),
        ("C", b'!') => What::Shut,
        ("T", b':') => What::Secure,
        ("S", b':') => What::Line(parts(rest)?),
        ("S", b'+') => What::With(parts(rest)?),
        ("S", b'-') => What::Without(parts(rest)?),
        ("S", b'!') => What::End,
        _ => return Err("no such step".to_owned()),
    };
    script.steps.push(Step {
        connection,
        only,
        what,
        line: number,
    });
    Ok(())
}

fn over(word: &str) -> Option<Over> {
    match word {
        "clear" => Some(Over::Clear),
        "tls" => Some(Over::Tls),
        _ => None,
    }
}

/// Splits a line into its parts: text with escapes, and `{...}`.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let end = start + rest[start..].find('}').ok_or("expected `}`")?;
        parts.push(Part::Bytes(unescaped(&rest[..start])?));
        let words: Vec<_> = rest[start + 1..end].split(' ').map(str::to_owned).collect();
        parts.push(match words.as_slice() {
            [any] if any == "..." => Part::Any,
            [name] => Part::Named(name.clone()),
            _ => Part::Computed(words),
        });
        rest = &rest[end + 1..];
    }
    parts.push(Part::Bytes(unescaped(rest)?));
    parts.retain(|part| *part != Part::Bytes(Vec::new()));
    Ok(parts)
}

/// Replaces the escapes `\r`, `\n`, `\t`, `\s` (a space), `\\` and `\xNN`.
pub fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b's') => b' ',
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits =
                    [rest.next(), rest.next()].map(|digit| char::from(digit.unwrap_or(b'?')));
                u8::from_str_radix(&String::from_iter(digits), 16)
                    .map_err(|_| "expected two digits")?
            }
            _ => return Err("no such escape".to_owned()),
        });
    }
    Ok(bytes)
}
