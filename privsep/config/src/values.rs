//! Values of popward.toml with a form of their own: times, sizes, and ids of users and groups.

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// A time, such as `"90s"` or `"10m"` in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    /// How long it is, in milliseconds.
    pub(crate) ms: u64,
}

/// A time or `"never"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeOrNever(pub(crate) Option<Time>);

/// A size, such as `"64B"` or `"2MiB"` in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// How large it is, in octets.
    pub(crate) octets: u64,
}

/// A user or a group of the system, by name or by number.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Id {
    Number(u32),
    Name(String),
}

/// A unit, and how many of the smallest unit it has.
type Unit = (&'static str, u64);

/// The units of a time, in milliseconds.
const TIMES: [Unit; 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// The units of a size, in octets.
const SIZES: [Unit; 4] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// The unit that a number without a unit most likely has, for the error about it.
const SECONDS: &str = "s";
const OCTETS: &str = "B";

/// The time of something that does not happen.
const NEVER: &str = "never";

impl Time {
    pub(crate) const fn ms(ms: u64) -> Self {
        Self { ms }
    }

    pub(crate) const fn s(seconds: u64) -> Self {
        Self::ms(seconds * 1000)
    }
}

/// Writes the time as the file would have it.
impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", spelled(self.ms, &TIMES, SECONDS))
    }
}

/// Writes a value in the largest of `units` that leaves no fraction, and 0 in the unit `usual`.
fn spelled(value: u64, units: &[Unit], usual: &str) -> String {
    let fits = |(_, unit): &&Unit| value >= *unit && value % unit == 0;
    match units.iter().rev().find(fits) {
        Some((name, unit)) => format!("{}{name}", value / unit),
        None => format!("0{usual}"),
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&spelled(self.ms, &TIMES, SECONDS))
    }
}

impl Serialize for TimeOrNever {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(time) => time.serialize(to),
            None => to.serialize_str(NEVER),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&spelled(self.octets, &SIZES, OCTETS))
    }
}

impl From<&str> for Id {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

/// Parses a whole number and one of `units`, without a space between them. `None`: it is something
/// else, or too large.
fn parse(text: &str, units: &[Unit]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, name) = text.split_at(digits);
    let (_, unit) = units.iter().find(|(unit, _)| *unit == name)?;
    number.parse::<u64>().ok()?.checked_mul(*unit)
}

/// Reads a text with a unit. The error about a number says how the number is written with `usual`,
/// the most likely unit. `never` is whether `"never"` is a value too: it is read as `None`.
struct WithUnit {
    what: &'static str,
    units: &'static [Unit],
    usual: &'static str,
    never: bool,
}

/// A time, and a size.
const TIME: WithUnit = with_unit("a time", &TIMES, SECONDS);
const SIZE: WithUnit = with_unit("a size", &SIZES, OCTETS);

const fn with_unit(what: &'static str, units: &'static [Unit], usual: &'static str) -> WithUnit {
    let never = false;
    WithUnit {
        what,
        units,
        usual,
        never,
    }
}

impl WithUnit {
    fn expected<E: Error>(&self, example: &str) -> E {
        let units: Vec<&str> = self.units.iter().map(|(name, _)| *name).collect();
        let (what, units) = (self.what, units.join(", "));
        E::custom(format!(
            "expected {what} with its unit, such as \"{example}\"; the units are {units}"
        ))
    }
}

impl Visitor<'_> for WithUnit {
    type Value = Option<u64>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} with its unit, such as \"10{}\"",
            self.what, self.usual
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<u64>, E> {
        if self.never && text == NEVER {
            return Ok(None);
        }
        let number = text.parse::<u64>().unwrap_or(10);
        let value = parse(text, self.units).map(Some);
        value.ok_or_else(|| self.expected(&format!("{number}{}", self.usual)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<u64>, E> {
        match u64::try_from(number) {
            Ok(number) => Err(self.expected(&format!("{number}{}", self.usual))),
            Err(_) => Err(E::invalid_type(Unexpected::Signed(number), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let ms = from.deserialize_any(TIME)?;
        Ok(Self::ms(ms.unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for TimeOrNever {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (what, never) = ("\"never\" or a time", true);
        let ms = from.deserialize_any(WithUnit {
            what,
            never,
            ..TIME
        })?;
        Ok(Self(ms.map(Time::ms)))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let octets = from.deserialize_any(SIZE)?.unwrap_or_default();
        Ok(Self { octets })
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NameOrNumber)
    }
}

/// Reads an [`Id`].
struct NameOrNumber;

impl Visitor<'_> for NameOrNumber {
    type Value = Id;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name in quotes or an id")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Id, E> {
        Ok(Id::Name(name.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Id, E> {
        let id = u32::try_from(number).map(Id::Number);
        id.map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_number_and_a_unit() {
        for (text, ms) in [
            ("0s", Some(0)),
            ("250ms", Some(250)),
            ("90s", Some(90_000)),
            ("10m", Some(600_000)),
            ("4h", Some(14_400_000)),
            ("2d", Some(172_800_000)),
            ("", None),
            ("s", None),
            ("10", None),
            ("10 m", None),
            ("-1s", None),
            ("1.5s", None),
            ("10min", None),
            ("99999999999999999999s", None),
            ("9999999999999999d", None),
        ] {
            assert_eq!(parse(text, &TIMES), ms, "{text}");
        }
        assert_eq!(parse("64KiB", &SIZES), Some(65_536));
        assert_eq!(parse("64kB", &SIZES), None);
    }

    #[test]
    fn a_time_is_shown_as_the_file_has_it() {
        for (time, text) in [
            (Time::s(0), "\"0s\""),
            (Time::ms(1500), "\"1500ms\""),
            (Time::s(90), "\"90s\""),
            (Time::s(600), "\"10m\""),
            (Time::s(14_400), "\"4h\""),
            (Time::s(11 * 86_400), "\"11d\""),
        ] {
            assert_eq!(time.to_string(), text);
        }
    }
}
