//! A log record as popward-log sends it: a packet of systemd's native journal protocol.

use std::str::from_utf8;

/// The fields of a record, in the order of the packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Record<'a> {
    /// Reads a packet: a line `NAME=value` for each field. If a value contains a line end, its name
    /// stands alone on a line, and the value's length follows as 8 octets, little-endian.
    ///
    /// `None`: the packet is not such a packet.
    pub(crate) fn read(mut packet: &'a [u8]) -> Option<Self> {
        let mut fields = Vec::new();
        while !packet.is_empty() {
            let end = packet
                .iter()
                .position(|byte| matches!(byte, b'\n' | b'='))?;
            let (name, rest) = packet.split_at(end);
            let (separator, rest) = rest.split_first()?;
            let (length, rest) = if *separator == b'=' {
                (rest.iter().position(|byte| *byte == b'\n')?, rest)
            } else {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::try_from(u64::from_le_bytes(*length)).ok()?, rest)
            };
            let (value, rest) = rest.split_at_checked(length)?;
            packet = rest.strip_prefix(b"\n")?;
            fields.push((from_utf8(name).ok()?, from_utf8(value).ok()?));
        }
        Some(Self(fields))
    }

    /// The first value of the field that popward-log names `POPWARD_` and `name` in capitals. Empty
    /// if there is none.
    pub(crate) fn field(&self, name: &str) -> &'a str {
        self.fields(name).next().unwrap_or_default()
    }

    /// The last value of this field.
    pub(crate) fn last(&self, name: &str) -> &'a str {
        self.fields(name).last().unwrap_or_default()
    }

    fn fields(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let is = move |found: &str| {
            let found = found.strip_prefix("POPWARD_");
            found.is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        let found = self.0.iter().filter(move |(found, _)| is(found));
        found.map(|(_, value)| *value)
    }

    /// The same as a number. `None` if it is none.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.field(name).parse().ok()
    }

    /// The priority of syslog (RFC 5424, table 2). `None` if there is none.
    pub(crate) fn priority(&self) -> Option<usize> {
        let found = self.0.iter().find(|(name, _)| *name == "PRIORITY");
        found.and_then(|(_, value)| value.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_their_names() {
        let packet = b"MESSAGE=front[1] login user=a\nPRIORITY=5\nPOPWARD_TEXT=login\nPOPWARD_OCTETS=17\nPOPWARD_USER\n\x03\0\0\0\0\0\0\0a\nb\n";
        let record = Record::read(packet).unwrap();
        assert_eq!(record.field("text"), "login");
        assert_eq!(record.field("user"), "a\nb");
        assert_eq!(record.number("octets"), Some(17));
        assert_eq!(record.number("user"), None);
        assert_eq!(record.field("peer"), "");
        assert_eq!(record.priority(), Some(5));
    }

    #[test]
    fn a_packet_of_another_form_is_no_record() {
        for packet in [
            &b"NAME"[..],
            b"NAME=value",
            b"NAME\n\x03\0\0\0",
            b"NAME\n\x03\0\0\0\0\0\0\0a\n",
            b"NAME\n\x01\0\0\0\0\0\0\0ab\n",
            b"NAME\n\xff\xff\xff\xff\xff\xff\xff\xffa\n",
            b"NAME=\xff\n",
        ] {
            assert_eq!(Record::read(packet), None, "{}", packet.escape_ascii());
        }
    }
}
