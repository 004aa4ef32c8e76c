//! Values of popward.toml with a form of their own: times, sizes, and ids of users and groups.

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
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
#[derive(Debug, Clone)]
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

impl Time {
    pub(crate) const fn ms(ms: u64) -> Self {
        Self { ms }
    }

    pub(crate) const fn s(seconds: u64) -> Self {
        Self::ms(seconds * 1000)
    }

    pub(crate) const fn days(days: u64) -> Self {
        Self::s(days * 86_400)
    }
}

/// Writes the time as the file would have it, in the largest unit that has no fraction.
impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, unit): &&Unit| self.ms >= *unit && self.ms % unit == 0;
        match TIMES.iter().rev().find(fits) {
            Some((name, unit)) => write!(out, "\"{}{name}\"", self.ms / unit),
            None => out.write_str("\"0s\""),
        }
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
/// the most likely unit.
struct WithUnit {
    what: &'static str,
    units: &'static [Unit],
    usual: &'static str,
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
    type Value = u64;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} with its unit, such as \"10{}\"",
            self.what, self.usual
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        let example = || match text.parse::<u64>() {
            Ok(number) => format!("{number}{}", self.usual),
            Err(_) => format!("10{}", self.usual),
        };
        parse(text, self.units).ok_or_else(|| self.expected(&example()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        match u64::try_from(number) {
            Ok(number) => Err(self.expected(&format!("{number}{}", self.usual))),
            Err(_) => Err(E::invalid_type(Unexpected::Signed(number), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (what, units, usual) = ("a time", &TIMES, SECONDS);
        let ms = from.deserialize_any(WithUnit { what, units, usual })?;
        Ok(Self { ms })
    }
}

impl<'de> Deserialize<'de> for TimeOrNever {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (what, units, usual) = ("\"never\" or a time", &TIMES, SECONDS);
        let time = WithUnit { what, units, usual };
        from.deserialize_any(OrNever(time)).map(Self)
    }
}

/// Reads a time, or `"never"` as `None`.
struct OrNever(WithUnit);

impl Visitor<'_> for OrNever {
    type Value = Option<Time>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(out)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<Time>, E> {
        match text {
            "never" => Ok(None),
            text => self.0.visit_str(text).map(|ms| Some(Time { ms })),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<Time>, E> {
        self.0.visit_i64(number).map(|ms| Some(Time { ms }))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (what, units, usual) = ("a size", &SIZES, OCTETS);
        let octets = from.deserialize_any(WithUnit { what, units, usual })?;
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
            (Time::days(11), "\"11d\""),
        ] {
            assert_eq!(time.to_string(), text);
        }
    }
}
