//! What a header line means: whether its bytes count for the digest, where it says that the body
//! ends, whether it marks c-client's pseudo message, and whether clients see it.

/// How many bytes of a line are looked at. Each field name below, and each value that is read, ends
/// within them.
pub const LOOK: usize = 96;

/// The fields that mail readers add, change or remove: Dovecot, c-client, mutt, mailutils, Qpopper.
/// None of them counts for the digest, so a message keeps its digest when a reader changes them.
pub const REWRITTEN: [&str; 9] = [
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
    /// Hides this field too. Returns whether the field can be hidden.
    pub fn add(&mut self, name: &str) -> bool {
        let mut fields = REWRITTEN.iter();
        let place = fields.position(|field| field.eq_ignore_ascii_case(name));
        self.0 |= place.map_or(0, |place| 1 << place);
        place.is_some()
    }
}

/// What the lines of a header have said so far.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// The value of the first `Content-Length` that consists of digits.
    pub(crate) content_length: Option<u64>,
    /// Whether the header has the mark of c-client's pseudo message.
    pub(crate) pseudo: bool,
    /// The fields that clients are not shown.
    hide: Hidden,
}

/// How a line is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fate {
    /// Whether mail readers change the line, so that it does not count for the digest.
    pub(crate) rewritten: bool,
    /// Whether clients are not shown the line.
    pub(crate) hidden: bool,
}

impl Fields {
    /// Begins a header whose fields `hide` are not shown.
    pub(crate) fn new(hide: Hidden) -> Self {
        Self {
            hide,
            ..Self::default()
        }
    }

    /// Reads the start of a line, and says how the line is treated. `complete` says that `start` is
    /// the whole line. `before` is the treatment of the line before it.
    pub(crate) fn read(&mut self, start: &[u8], complete: bool, before: Fate) -> Fate {
        // For most lines, the first letter shows that they are no field of the list.
        match start.first() {
            // A continuation belongs to the field before it.
            Some(b' ' | b'\t') => return before,
            Some(b'S' | b's' | b'X' | b'x' | b'C' | b'c' | b'L' | b'l') => {}
            _ => return Fate::default(),
        }
        let look = &start[..start.len().min(LOOK)];
        let complete = complete && look.len() == start.len();
        let Some(colon) = memchr::memchr(b':', look) else {
            return Fate::default();
        };
        let (name, value) = (&look[..colon], &look[colon + 1..]);
        let mut fields = REWRITTEN.iter();
        let place = fields.position(|field| name.eq_ignore_ascii_case(field.as_bytes()));
        let Some(place) = place else {
            return Fate::default();
        };
        match REWRITTEN[place] {
            "Content-Length" if complete => {
                let first = self.content_length;
                self.content_length = first.or_else(|| content_length(value.trim_ascii()));
            }
            "X-IMAP" => self.pseudo |= is_uid_base(value, complete),
            _ => {}
        }
        Fate {
            rewritten: true,
            hidden: self.hide.0 & 1 << place != 0,
        }
    }
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
    let uid_validity = words.next().and_then(number::<u32>);
    let rest = words.next().unwrap_or_default().trim_ascii_start();
    let last_uid_end = memchr::memchr2(b' ', b'\t', rest);
    // If the value is cut off within the number, the number is not known.
    let last_uid = match last_uid_end {
        Some(end) => number::<u32>(&rest[..end]),
        None if complete => number::<u32>(rest),
        None => None,
    };
    uid_validity.is_some_and(|number| number != 0) && last_uid.is_some()
}

/// Reads decimal digits. `None`: `digits` is empty, has another byte, or is too large.
fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    // `parse` would accept a plus sign.
    let plain = digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| plain)?;
    digits.parse().ok()
}
