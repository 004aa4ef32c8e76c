//! Reads a table of permitted calls back from the program that a process gives to the kernel
//! (`privsep/sys/src/seccomp.rs` makes it). So this test sees what is in force.

use super::names;

/// An instruction: code, jumps if true and if false, operand.
type Instruction = (u16, u8, u8, u32);

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const EQUAL: u16 = 0x15;
const NOT_BELOW: u16 = 0x35;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;
const KILL: u32 = 0x8000_0000;
const ALLOW: u32 = 0x7fff_0000;

/// Where the arguments begin in the kernel's `struct seccomp_data`.
const ARGUMENTS: u32 = 16;

/// A condition on one half of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    half: u8,
    bits: u32,
    values: Vec<u32>,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    call: i64,
    conditions: Vec<Condition>,
}

/// A table of permitted calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Vec<Rule>);

impl Filter {
    /// Reads a program. `None`: it is not a table. Its other calls do not kill.
    ///
    /// A second program can take calls from a process that has the table `before`. It permits all
    /// other calls. Then this returns what both programs permit.
    ///
    /// # Panics
    ///
    /// A table has another form than this code knows.
    pub fn of(program: &[u8], before: Option<&Self>) -> Option<Self> {
        let words = program.chunks_exact(8);
        let words: Vec<Instruction> = words
            .map(|word| {
                let code = u16::from_ne_bytes([word[0], word[1]]);
                let operand = u32::from_ne_bytes(word[4..].try_into().unwrap());
                (code, word[2], word[3], operand)
            })
            .collect();
        let ((RETURN, _, _, otherwise), rows) = words.split_last()? else {
            return None;
        };
        let before = match *otherwise {
            KILL => &[],
            ALLOW => &before?.0[..],
            _ => return None,
        };
        let mut taken = Vec::new();
        // The first four check the architecture, and load the call's number.
        let mut rest = &rows[4..];
        let mut rules = Vec::new();
        while let Some((first, more)) = rest.split_first() {
            rest = match *first {
                (EQUAL, 0, length, call) => {
                    let (row, others) = more.split_at(usize::from(length));
                    let call = i64::from(call);
                    if matches!(row, [(RETURN, 0, 0, KILL)]) {
                        taken.push(call);
                    } else {
                        let conditions = conditions(row);
                        rules.push(Rule { call, conditions });
                    }
                    others
                }
                // The program finds a call's rows by halves. Each half has the same end.
                (NOT_BELOW, 0, 1, _) | (JUMP, 0, 0, _) => more,
                (RETURN, _, _, end) if end == *otherwise => more,
                other => panic!("an unknown form of table: {other:?}"),
            };
        }
        let stays = |rule: &&Rule| !taken.contains(&rule.call);
        rules.extend(before.iter().filter(stays).cloned());
        Some(Self(rules))
    }

    /// Everything that is permitted, as text.
    pub fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for rule in &self.0 {
            let mut texts = vec![names::call(rule.call)];
            for condition in &rule.conditions {
                let one = |value: &u32| condition.text(rule.call, *value);
                let values: Vec<_> = condition.values.iter().map(one).collect();
                let each = texts.iter().flat_map(|text| {
                    let join = move |value: &String| format!("{text}{value}");
                    values.iter().map(join)
                });
                texts = each.collect();
            }
            rows.extend(texts);
        }
        rows
    }

    /// The row that permits a call.
    pub fn permits(&self, call: i64, arguments: [u64; 6]) -> Option<String> {
        let rules = self.0.iter().filter(|rule| rule.call == call);
        rules
            .filter_map(|rule| {
                let values = rule.conditions.iter().map(|condition| {
                    let value = condition.of(arguments);
                    let holds = condition.values.contains(&value);
                    holds.then(|| condition.text(call, value))
                });
                let texts: Option<Vec<_>> = values.collect();
                Some(names::call(call) + &texts?.concat())
            })
            .next()
    }
}

impl Condition {
    /// What counts of a call's arguments.
    fn of(&self, arguments: [u64; 6]) -> u32 {
        let argument = arguments[usize::from(self.half / 2)];
        let half = argument >> (32 * u32::from(self.half % 2));
        half as u32 & self.bits
    }

    fn text(&self, call: i64, value: u32) -> String {
        let argument = self.half / 2;
        match (self.bits, self.half % 2) {
            // The upper half of a pointer that must be null.
            (_, 1) => String::new(),
            (u32::MAX, _) => format!(" {}", names::value(call, argument, value)),
            (bits, _) => format!(" without {bits:#x}"),
        }
    }
}

/// The conditions in the instructions of a row.
fn conditions(row: &[Instruction]) -> Vec<Condition> {
    let mut found: Vec<Condition> = Vec::new();
    for instruction in row {
        match *instruction {
            (LOAD, 0, 0, from) if from >= ARGUMENTS => found.push(Condition {
                half: u8::try_from((from - ARGUMENTS) / 4).unwrap(),
                bits: u32::MAX,
                values: Vec::new(),
            }),
            // The next row needs the call's number.
            (LOAD, 0, 0, 0) | (RETURN, 0, 0, ALLOW) => {}
            (AND, 0, 0, bits) => found.last_mut().unwrap().bits = bits,
            (EQUAL, _, _, value) => found.last_mut().unwrap().values.push(value),
            other => panic!("an unknown form of table: {other:?}"),
        }
    }
    found
}
