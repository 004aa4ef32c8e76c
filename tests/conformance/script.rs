//! Reads `tests/conformance/*.pop3`. What a line may be is told in `tests/conformance/README.md`.

/// One script: what a client sends, and what it must hear.
#[derive(Debug, Clone)]
pub struct Script {
    /// What the RFC asks for, with its number and section.
    pub title: String,
    /// Where it begins, for messages: `file:line`.
    pub place: String,
    /// Lines for the configuration: section and line.
    pub configuration: Vec<(String, String)>,
    /// Where it applies, if not on every connection.
    pub only: Option<Over>,
    /// What is done and awaited.
    pub steps: Vec<Step>,
    /// The messages that are in the spool at the end.
    pub left: Vec<usize>,
}

/// Which connections a line or a script applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Those in the clear.
    Clear,
    /// Those over TLS, however it began.
    Tls,
}

/// A step of one of the script's connections.
#[derive(Debug, Clone)]
pub struct Step {
    /// The connection: 1, or 2 and so on for others that are open at the same time.
    pub connection: usize,
    /// Which kind of connection it applies to, if not to both.
    pub only: Option<Over>,
    /// What.
    pub what: What,
    /// Its line in the file.
    pub line: usize,
}

/// What a step is.
#[derive(Debug, Clone)]
pub enum What {
    /// The client sends this.
    Send(Vec<Part>),
    /// The client ends its side.
    Shut,
    /// The client begins TLS.
    Secure,
    /// The server's next line is this.
    Line(Vec<Part>),
    /// Among the server's lines up to the one that is a dot, this one is there.
    With(Vec<Part>),
    /// Among them it is not.
    Without(Vec<Part>),
    /// The server ends the connection.
    End,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Of a server's line: anything. Elsewhere, and once it has a value: that value.
    Named(String),
    /// Of a server's line: anything, without a name.
    Any,
    /// Something that is computed from words.
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

/// Takes a line apart: text with escapes, and `{...}`.
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

/// `\r`, `\n`, `\t`, `\s` (a space), `\\` and `\xNN`.
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
