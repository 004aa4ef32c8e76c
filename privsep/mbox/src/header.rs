//! What a header line means: whether its bytes count for the digest, where it says that the body
//! ends, whether it marks c-client's pseudo message, and whether clients see it.

/// How many bytes of a line are looked at. Each field name below, and each value that is read, ends
/// within them.
pub const LOOK: usize = 96;

/// The fields that mail readers add, change or remove: Dovecot, c-client, mutt, mailutils, Qpopper.
/// None of them counts for the digest, so a message keeps its digest when a reader changes them.
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

/// The fields that clients are not shown. As in Dovecot and UW, RETR and TOP leave out their lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hidden(u16);

impl Hidden {
    /// The hidden fields if nothing else is configured: the notes of mail programs. So a program
    /// that notes something changes no size.
    pub fn by_default() -> Self {
        let mut hidden = Self::default();
        for name in REWRITTEN.iter().filter(|name| **name != "Lines") {
            hidden.add(name);
        }
        hidden
    }

    /// Hides this field too. Returns whether the field can be hidden.
    pub fn add(&mut self, name: &str) -> bool {
        let mut fields = REWRITTEN.iter();
        let place = fields.position(|field| field.eq_ignore_ascii_case(name));
        self.0 |= place.map_or(0, |place| 1 << place);
        place.is_some()
    }

    /// Whether this field is hidden.
    pub fn has(self, name: &str) -> bool {
        let mut one = Self::default();
        one.add(name) && self.0 & one.0 != 0
    }

    /// Whether no field is hidden.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// What the start of a header line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Begins with a space or a tab, so it belongs to the field before it.
    Continuation,
    /// A field that some mail reader rewrites.
    Rewritten,
    /// `Content-Length` with a usable number: the claimed length of the body in bytes.
    ContentLength(u64),
    /// `X-IMAP` with numbers. In the first message, this marks the pseudo message.
    PseudoMark,
    /// Everything else.
    Kept,
}

/// What the lines of a header have said so far.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// The value of the first `Content-Length` that consists of digits.
    pub(crate) content_length: Option<u64>,
    /// Whether the header has the mark of c-client's pseudo message.
    pub(crate) pseudo: bool,
    /// The fields that clients are not shown.
    pub(crate) hide: Hidden,
}

/// How a line is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Whether all mail readers keep the line as it is, so that it counts for the digest.
    pub(crate) kept: bool,
    /// Whether clients are not shown the line.
    pub(crate) hidden: bool,
}

impl Fate {
    /// The treatment of an ordinary line.
    pub(crate) const PLAIN: Self = Self {
        kept: true,
        hidden: false,
    };
}

impl Fields {
    /// Reads the start of a line, and says how the line is treated. `complete` says that `start` is
    /// the whole line. `before` is the treatment of the line before it.
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

/// Removes hidden lines from a header that comes in pieces.
#[derive(Debug)]
pub struct Shown {
    fields: Fields,
    /// The start of the current line, until it is decided how the line is treated.
    start: Vec<u8>,
    begins: bool,
    fate: Fate,
}

impl Shown {
    /// Begins the header of a message.
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

    /// Appends to `out` the part of the header's next bytes that clients see.
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

    /// Ends the header: appends a last line that is still undecided, if clients see it.
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

/// Reads the start of a line. `complete` says that `start` is the whole line. The second value is
/// the field's place in `REWRITTEN`, and counts only for a field that is listed there.
fn read(start: &[u8], complete: bool) -> (Line, usize) {
    // For most lines, the first letter shows that they are no field of the list.
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

/// The value of a Content-Length, if it consists of digits. As in Dovecot, an empty value is 0. A
/// number that is too large for 64 bits becomes `u64::MAX`, because it is larger than any spool
/// anyway.
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    digits.then(|| number(value).unwrap_or(if value.is_empty() { 0 } else { u64::MAX }))
}

/// Whether the value is `uidvalidity lastuid`, then nothing or a space and keywords. As in Dovecot,
/// UIDVALIDITY must not be 0.
fn is_uid_base(value: &[u8], complete: bool) -> bool {
    let mut words = value.trim_ascii_start().splitn(2, |&byte| byte == b' ');
    let uid_validity = words.next().and_then(number32);
    let rest = words.next().unwrap_or_default().trim_ascii_start();
    let last_uid_end = memchr::memchr2(b' ', b'\t', rest);
    // If the value is cut off within the number, the number is not known.
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

/// Reads decimal digits. `None`: `digits` is empty, has another byte, or is too large.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
