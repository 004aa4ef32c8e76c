//! Runs a script on one kind of connection, with its lines in one kind of pieces.

use super::host::wire::{Security, Wire};
use super::host::{Host, until};
use super::script::{Over, Part, Script, Step, What};
use super::secrets::computed;
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The pieces in which the client sends its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Line by line. The client waits for each reply before it sends the next command.
    Lines,
    /// In one write, up to a line that depends on a reply.
    Once,
    /// The same, with one octet in each write.
    Octets,
}

/// Marks, in the list of replies, the lines that `S+` and `S-` looked at.
pub const OFFERED: &str = "| ";

/// A run of a script.
pub struct Run<'a> {
    host: &'a Host,
    config: &'a Arc<ClientConfig>,
    security: Security,
    cut: Cut,
    wires: BTreeMap<usize, Wire>,
    /// Greetings that the script checks.
    greetings: BTreeMap<usize, Option<String>>,
    /// What has to be sent next, and on which connection.
    sending: (usize, Vec<u8>),
    /// The replies that are due when it has been sent.
    awaited: Vec<Step>,
    values: BTreeMap<String, String>,
    /// The replies, with names in place of named and computed values. So they are the same for all
    /// kinds of pieces.
    heard: Vec<String>,
    /// The last line that fitted a step, as it stands in `heard`.
    shown: String,
}

/// Runs the script. Returns the replies, or the first one that differs from the script.
pub fn run(
    script: &Script,
    host: &Host,
    config: &Arc<ClientConfig>,
    security: Security,
    cut: Cut,
) -> Result<Vec<String>, String> {
    let over = if security == Security::Clear {
        Over::Clear
    } else {
        Over::Tls
    };
    let mut run = Run {
        host,
        config,
        security,
        cut,
        wires: BTreeMap::new(),
        greetings: BTreeMap::new(),
        sending: (1, Vec::new()),
        awaited: Vec::new(),
        values: BTreeMap::new(),
        heard: Vec::new(),
        shown: String::new(),
    };
    let applies = |step: &&Step| step.only.is_none_or(|only| only == over);
    let steps = script.steps.iter().filter(applies);
    for step in steps {
        run.step(step)?;
    }
    run.flush()?;
    Ok(run.heard)
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        if !self.wires.contains_key(&step.connection) {
            self.flush()?;
            let (wire, greeting) = Wire::connect(self.host, self.config, self.security);
            self.wires.insert(step.connection, wire);
            // A script that begins with a command does not check the greeting.
            let awaited = matches!(step.what, What::Line(_));
            self.greetings
                .insert(step.connection, awaited.then_some(greeting));
        }
        if step.connection != self.sending.0 {
            self.flush()?;
            self.sending.0 = step.connection;
        }
        match &step.what {
            What::Send(parts) => {
                if self.cut == Cut::Lines && !self.awaited.is_empty() || !self.is_known(parts) {
                    self.flush()?;
                }
                let bytes = self.bytes(parts, step)?;
                self.sending.1.extend(bytes);
            }
            What::Shut => {
                self.flush()?;
                self.wire(step).shut();
            }
            What::Secure => {
                self.flush()?;
                self.wire(step).secure();
            }
            _ => self.awaited.push(step.clone()),
        }
        Ok(())
    }

    fn wire(&mut self, step: &Step) -> &mut Wire {
        self.wires.get_mut(&step.connection).unwrap()
    }

    /// Whether all values in these parts are known. Then they can be sent in one write with what
    /// comes before.
    fn is_known(&self, parts: &[Part]) -> bool {
        parts.iter().all(|part| match part {
            Part::Named(name) => self.values.contains_key(name),
            Part::Computed(words) => words
                .iter()
                .all(|word| named(word).is_none_or(|name| self.values.contains_key(name))),
            _ => true,
        })
    }

    fn compute(&self, words: &[String], step: &Step) -> Result<Vec<u8>, String> {
        let value = |word: &String| match named(word) {
            None => Ok(word.clone()),
            Some(name) => {
                let value = self.values.get(name);
                let value = value.ok_or(format!("line {}: {name} has no value", step.line))?;
                Ok(word.replace(&format!("${name}"), value))
            }
        };
        let words: Result<Vec<_>, String> = words.iter().map(value).collect();
        let binding = self.wires[&step.connection].binding();
        computed(&words?, binding).map_err(|why| format!("line {}: {why}", step.line))
    }

    fn bytes(&self, parts: &[Part], step: &Step) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for part in parts {
            match part {
                Part::Bytes(own) => bytes.extend_from_slice(own),
                Part::Named(name) => bytes.extend_from_slice(self.values[name].as_bytes()),
                Part::Computed(words) => bytes.extend(self.compute(words, step)?),
                Part::Any => return Err("a client sends something certain".to_owned()),
            }
        }
        Ok(bytes)
    }

    /// Sends what has to be sent and checks the replies that are due.
    fn flush(&mut self) -> Result<(), String> {
        let (connection, bytes) = (self.sending.0, std::mem::take(&mut self.sending.1));
        if let Some(wire) = self.wires.get_mut(&connection) {
            let size = if self.cut == Cut::Octets {
                1
            } else {
                bytes.len().max(1)
            };
            for piece in bytes.chunks(size) {
                wire.send(piece);
            }
        }
        let awaited = std::mem::take(&mut self.awaited);
        let mut steps = awaited.iter().peekable();
        while let Some(step) = steps.next() {
            match &step.what {
                What::With(_) | What::Without(_) => {
                    let mut all = vec![step];
                    while let Some(next) =
                        steps.next_if(|next| matches!(next.what, What::With(_) | What::Without(_)))
                    {
                        all.push(next);
                    }
                    self.listing(&all)?;
                }
                What::End => {
                    if let Some(more) = self.wire(step).line() {
                        return Err(format!(
                            "line {}: expected the end, heard {more:?}",
                            step.line
                        ));
                    }
                }
                What::Line(parts) => {
                    let line = self.line(step)?;
                    if !self.fits(parts, &line, step)? {
                        let wanted = self.wanted(parts, step);
                        return Err(format!(
                            "line {}: expected {wanted:?}, heard {line:?}",
                            step.line
                        ));
                    }
                    if let Some(last) = self.heard.last_mut() {
                        last.clone_from(&self.shown);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The server's next line. The first one is the greeting, if the script checks it.
    fn line(&mut self, step: &Step) -> Result<String, String> {
        let greeting = self.greetings.get_mut(&step.connection);
        let line = match greeting.and_then(Option::take) {
            Some(greeting) => greeting,
            None => {
                let line = self.wire(step).line();
                line.ok_or(format!("line {}: the connection ended", step.line))?
            }
        };
        self.heard.push(line.clone());
        Ok(line)
    }

    fn listing(&mut self, steps: &[&Step]) -> Result<(), String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line(steps[0])?;
            if line == "." {
                break;
            }
            lines.push(line);
        }
        for step in steps {
            let (parts, wanted) = match &step.what {
                What::With(parts) => (parts, true),
                What::Without(parts) => (parts, false),
                _ => continue,
            };
            let mut found = false;
            for line in &lines {
                found |= self.fits(parts, line, step)?;
            }
            if found != wanted {
                let what = if wanted { "expected" } else { "did not expect" };
                let wanted = self.wanted(parts, step);
                return Err(format!(
                    "line {}: {what} {wanted:?} among {lines:?}",
                    step.line
                ));
            }
        }
        // The order of capabilities has no meaning, so they are compared without it. Each kind of
        // connection has other capabilities.
        let end = self.heard.len() - 1;
        let listing = &mut self.heard[end - lines.len()..end];
        listing.sort();
        for line in listing {
            line.insert_str(0, OFFERED);
        }
        Ok(())
    }

    fn wanted(&self, parts: &[Part], step: &Step) -> String {
        let show = |part: &Part| match part {
            Part::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Part::Named(name) => self
                .values
                .get(name)
                .cloned()
                .unwrap_or(format!("{{{name}}}")),
            Part::Any => "{...}".to_owned(),
            Part::Computed(words) => match self.compute(words, step) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(why) => why,
            },
        };
        parts.iter().map(show).collect()
    }

    /// Whether a line fits these parts. A name without a value gets its value here.
    fn fits(&mut self, parts: &[Part], line: &str, step: &Step) -> Result<bool, String> {
        let mut fixed = Vec::new();
        for part in parts {
            fixed.push(match part {
                Part::Bytes(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
                Part::Named(name) => self.values.get(name).cloned().ok_or(()),
                Part::Any => Err(()),
                Part::Computed(words) => {
                    Ok(String::from_utf8_lossy(&self.compute(words, step)?).into_owned())
                }
            });
        }
        let Some(found) = matched(&fixed, line) else {
            return Ok(false);
        };
        let mut found = found.into_iter();
        let mut shown = String::new();
        for (part, fixed) in parts.iter().zip(&fixed) {
            match (part, fixed) {
                (Part::Bytes(_), Ok(text)) => shown += text,
                (Part::Computed(words), _) => shown += &format!("{{{}}}", words.join(" ")),
                (Part::Named(name), open) => {
                    shown += &format!("{{{name}}}");
                    if open.is_err() {
                        self.values
                            .extend(found.next().map(|value| (name.clone(), value)));
                    }
                }
                _ => shown += &found.next().unwrap_or_default(),
            }
        }
        self.shown = shown;
        Ok(true)
    }
}

/// The name in a word `$name`, in whose place the value goes.
fn named(word: &str) -> Option<&str> {
    let rest = &word[word.find('$')? + 1..];
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
    Some(&rest[..end.unwrap_or(rest.len())])
}

/// The text of a line for which each open part of a pattern stands. Each part stands for at least
/// one character, and for as few as possible.
fn matched(parts: &[Result<String, ()>], line: &str) -> Option<Vec<String>> {
    match parts.split_first() {
        None => line.is_empty().then(Vec::new),
        Some((Ok(text), rest)) => matched(rest, line.strip_prefix(text.as_str())?),
        Some((Err(()), rest)) => {
            let ends = line.char_indices().map(|(at, _)| at).skip(1);
            let mut ends = ends.chain((!line.is_empty()).then_some(line.len()));
            ends.find_map(|end| {
                let mut found = matched(rest, &line[end..])?;
                found.insert(0, line[..end].to_owned());
                Some(found)
            })
        }
    }
}

/// Waits until no session has locked the spool any more.
pub fn settled(host: &Host) {
    until("the sessions end", || {
        host.children("popward-worker").is_empty()
    });
}
