//! What a header line means: whether its bytes count for the digest, where the body says it ends, whether this is c-client's
//! pseudo message, and whether clients are shown it.

/// How much of a line is looked at. Every field below is known, and every value that we read ends, within it.
pub const LOOK: usize = 96;

/// The fields that readers add, change or take away: Dovecot, c-client, mutt, mailutils, Qpopper. Whatever one of them does
/// to a message, its digest stays.
const REWRITTEN: [&str; 9] = [
    "Status",
    "X-Status",
    "X-Keywords",
    "X-UID",
    "X-UIDL",
    "X-IMAP",
    "X-IMAPbase",
    "Content-Length",
    "Lines",
];

/// Which of these fields clients are not shown, as Dovecot and UW do it: their lines are no part of what RETR and TOP send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hidden(u16);

impl Hidden {
    /// What clients are not shown if nothing else is configured: the notes of mail programs. So a program that
    /// notes something changes no size.
    pub fn by_default() -> Self {
        let mut hidden = Self::default();
        for name in REWRITTEN.iter().filter(|name| **name != "Lines") {
            hidden.add(name);
        }
        hidden
    }

    /// Hides this field too. Returns whether it is one that can be hidden.
    pub fn add(&mut self, name: &str) -> bool {
        let mut fields = REWRITTEN.iter();
        let place = fields.position(|field| field.eq_ignore_ascii_case(name));
        self.0 |= place.map_or(0, |place| 1 << place);
        place.is_some()
    }

    /// Whether this field is one of them.
    pub fn has(self, name: &str) -> bool {
        let mut one = Self::default();
        one.add(name) && self.0 & one.0 != 0
    }

    /// Whether there are any.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// What the start of a header line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Begins with a space or a tab: belongs to the field before it.
    Continuation,
    /// A field that some reader rewrites.
    Rewritten,
    /// `Content-Length` with a usable number: how long the body is said to be.
    ContentLength(u64),
    /// `X-IMAP` with numbers: in the first message, the mark of the pseudo message.
    PseudoMark,
    /// Everything else.
    Kept,
}

/// What the lines of a header have said so far.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// The first `Content-Length` of digits.
    pub(crate) content_length: Option<u64>,
    /// Whether it is marked as c-client's pseudo message's.
    pub(crate) pseudo: bool,
    /// What is not shown.
    pub(crate) hide: Hidden,
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fate {
    /// All readers keep it as it is.
    pub(crate) kept: bool,
    /// Clients are not shown it.
    pub(crate) hidden: bool,
}

impl Fate {
    /// That of a line which is what it is.
    pub(crate) const PLAIN: Self = Self {
        kept: true,
        hidden: false,
    };
}

impl Fields {
    /// Takes the start of a line, which is the whole of it if `complete`. Says what becomes of it; `before` is what was said
    /// of the line before it.
    pub(crate) fn read(&mut self, start: &[u8], complete: bool, before: Fate) -> Fate {
        let (line, field) = read(start, complete);
        match line {
            Line::Continuation => return before,
            Line::Kept => return Fate::PLAIN,
            Line::Rewritten => {}
            Line::ContentLength(length) => {
                self.content_length = self.content_length.or(Some(length));
            }
            Line::PseudoMark => self.pseudo = true,
        }
        Fate {
            kept: false,
            hidden: self.hide.0 & 1 << field != 0,
        }
    }
}

/// Leaves hidden lines out of a header that comes in pieces.
#[derive(Debug)]
pub struct Shown {
    fields: Fields,
    /// The start of a line, as long as it does not say what becomes of it.
    start: Vec<u8>,
    begins: bool,
    fate: Fate,
}

impl Shown {
    /// For the header of one message.
    pub fn new(hide: Hidden) -> Self {
        let fields = Fields {
            hide,
            ..Fields::default()
        };
        Self {
            fields,
            start: Vec::with_capacity(LOOK),
            begins: true,
            fate: Fate::PLAIN,
        }
    }

    /// Appends to `out` what is shown of the header's next bytes.
    pub fn pass(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        while !piece.is_empty() {
            let end = memchr::memchr(b'\n', piece).map_or(piece.len(), |end| end + 1);
            let room = if self.begins {
                LOOK - self.start.len()
            } else {
                end
            };
            let (line, rest) = piece.split_at(end.min(room));
            piece = rest;
            let ended = line.ends_with(b"\n");
            if self.begins {
                self.start.extend_from_slice(line);
                if ended || self.start.len() == LOOK {
                    self.decide(out);
                }
            } else if !self.fate.hidden {
                out.extend_from_slice(line);
            }
            self.begins |= ended;
        }
    }

    /// The header is over: appends what is still undecided.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.start.is_empty() {
            self.decide(out);
        }
    }

    fn decide(&mut self, out: &mut Vec<u8>) {
        self.fate = self.fields.read(&self.start, false, self.fate);
        if !self.fate.hidden {
            out.extend_from_slice(&self.start);
        }
        self.start.clear();
        self.begins = false;
    }
}

/// Reads the start of a line, which is the whole of it if `complete`; and says which of the rewritten fields it is, if any.
fn read(start: &[u8], complete: bool) -> (Line, usize) {
    // Most lines are none of those below, which their first letter tells.
    match start.first() {
        Some(b' ' | b'\t') => return (Line::Continuation, 0),
        Some(b'S' | b's' | b'X' | b'x' | b'C' | b'c' | b'L' | b'l') => {}
        _ => return (Line::Kept, 0),
    }
    let look = &start[..start.len().min(LOOK)];
    let complete = complete && look.len() == start.len();
    let Some(colon) = memchr::memchr(b':', look) else {
        return (Line::Kept, 0);
    };
    let (name, value) = (&look[..colon], &look[colon + 1..]);
    let mut fields = REWRITTEN.iter();
    let field = fields.position(|field| name.eq_ignore_ascii_case(field.as_bytes()));
    let Some(field) = field else {
        return (Line::Kept, 0);
    };
    let line = match REWRITTEN[field] {
        "Content-Length" if complete => {
            content_length(value.trim_ascii()).map_or(Line::Rewritten, Line::ContentLength)
        }
        "X-IMAP" if is_uid_base(value, complete) => Line::PseudoMark,
        _ => Line::Rewritten,
    };
    (line, field)
}

/// The number of a Content-Length. As for Dovecot, nothing is 0, and the first one that consists of digits counts: what is too
/// large for a number is larger than any spool.
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    digits.then(|| number(value).unwrap_or(if value.is_empty() { 0 } else { u64::MAX }))
}

/// `uidvalidity lastuid`, then nothing or a space and keywords. UIDVALIDITY is not 0 (Dovecot's condition).
fn is_uid_base(value: &[u8], complete: bool) -> bool {
    let mut words = value.trim_ascii_start().splitn(2, |&byte| byte == b' ');
    let uid_validity = words.next().and_then(number32);
    let rest = words.next().unwrap_or_default().trim_ascii_start();
    let last_uid_end = memchr::memchr2(b' ', b'\t', rest);
    // Cut off in the middle, a number says nothing.
    let last_uid = match last_uid_end {
        Some(end) => number32(&rest[..end]),
        None if complete => number32(rest),
        None => None,
    };
    uid_validity.is_some_and(|number| number != 0) && last_uid.is_some()
}

fn number32(digits: &[u8]) -> Option<u32> {
    number(digits).and_then(|number| u32::try_from(number).ok())
}

/// Decimal digits and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
