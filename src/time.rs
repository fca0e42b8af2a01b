//! Instants, lifetimes, and how they are written.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An instant, in whole seconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// The instant `seconds` after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339, in any offset. Fractions of a second are dropped.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.parse::<jiff::Timestamp>()
            .map(|at| Self(at.as_second()))
            .ok()
            .or_else(|| Self::on_the_last_days(text))
            .ok_or_else(|| format!("`{}` is not a time as in 2026-06-01T09:00:00Z", text.escape_debug()))
    }

    /// The library ends before the end of the year 9999, which is how people write for ever: its last
    /// days are read as the one before them, and some days more.
    fn on_the_last_days(text: &str) -> Option<Self> {
        [("9999-12-30", 1), ("9999-12-31", 2)].into_iter().find_map(|(day, more)| {
            let before = format!("9999-12-29{}", text.strip_prefix(day)?);
            let at: jiff::Timestamp = before.parse().ok()?;
            Some(Self(at.as_second().saturating_add(86_400 * more)))
        })
    }

    /// This instant and `lifetime` more.
    #[must_use]
    pub fn after(self, lifetime: Lifetime) -> Self {
        Self(self.0.saturating_add(i64::from(lifetime.0)))
    }

    /// This instant, `seconds` earlier.
    #[must_use]
    pub fn before(self, seconds: i64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// Seconds from `earlier` to this instant; negative where it is the later one.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(at) => write!(f, "{at}"),
            Err(_) => write!(f, "@{}", self.0),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A length of time in whole seconds, written `8h`, `90m`, `30d`, `1h30m` or as plain seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(u32);

impl Lifetime {
    /// The least that is ever issued: ten minutes.
    pub const LEAST: Self = Self(600);
    /// The most that can be asked for: ten years.
    pub const MOST: Self = Self(10 * 365 * 86_400);

    /// `seconds` long.
    #[must_use]
    pub const fn from_seconds(seconds: u32) -> Self {
        Self(seconds)
    }

    /// The length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// Reads `8h`, `90m`, `2d`, `45s`, `1h30m`, or a number of seconds.
    ///
    /// # Errors
    /// A sentence that says what is wrong: no number, an unknown unit, or more than `u32` holds.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{}` is not a length of time as in 8h, 90m, 1h30m or 3600", text.escape_debug());
        if text.is_empty() || !text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(wrong());
        }
        let mut total: u32 = 0;
        let mut rest = text;
        let mut longest_unit = u32::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let number: u32 = number.parse().map_err(|_| wrong())?;
            let mut after = tail.chars();
            let unit = match after.next() {
                None if digits == text.len() => 1,
                Some('s') => 1,
                Some('m') => 60,
                Some('h') => 3_600,
                Some('d') => 86_400,
                _ => return Err(wrong()),
            };
            if unit >= longest_unit {
                return Err(wrong());
            }
            longest_unit = unit;
            total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
            rest = after.as_str();
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, letter) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
            let count = rest / unit;
            rest %= unit;
            if count > 0 {
                write!(f, "{count}{letter}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Takes the written form (`"8h"`) or a number of seconds (`28800`).
impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Lifetime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time as in \"8h\", \"90m\" or 3600")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Lifetime, E> {
                Lifetime::parse(text).map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Lifetime, E> {
                u32::try_from(seconds)
                    .map(Lifetime)
                    .map_err(|_| E::custom(format!("{seconds} seconds are too many")))
            }

            fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Lifetime, E> {
                u32::try_from(seconds)
                    .map(Lifetime)
                    .map_err(|_| E::custom(format!("{seconds} is not a number of seconds")))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_reads_what_people_write() {
        for (text, seconds) in [
            ("8h", 28_800),
            ("90m", 5_400),
            ("3600", 3_600),
            ("1h30m", 5_400),
            ("2d", 172_800),
            ("45s", 45),
            ("0", 0),
        ] {
            assert_eq!(Lifetime::parse(text).map(Lifetime::seconds), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn a_lifetime_that_is_none_is_an_error() {
        for text in [
            "",
            " ",
            "h",
            "-1",
            "-8h",
            "8 h",
            "8H",
            "1.5h",
            "8hh",
            "8h8h",
            "30m1h",
            "1h30",
            "0h600",
            "4294967296",
            "99999999d",
            "٣h",
            "+8h",
        ] {
            assert!(Lifetime::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_lifetime_is_written_as_it_is_read() {
        for text in ["8h", "1h30m", "2d", "45s", "1d1s"] {
            assert_eq!(Lifetime::parse(text).map(|lifetime| lifetime.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_time_is_written_in_utc_without_fractions() {
        assert_eq!(Time::from_unix(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(
            Time::parse("2026-06-01T11:00:00.9+02:00").map(|at| at.to_string()).as_deref(),
            Ok("2026-06-01T09:00:00Z")
        );
        assert!(Time::parse("yesterday").is_err());
        assert_eq!(Time::parse("9999-12-31T23:59:59Z"), Ok(Time::from_unix(253_402_300_799)));
        assert_eq!(Time::parse("9999-12-30T22:00:01Z"), Ok(Time::from_unix(253_402_207_201)));
        for wrong in ["9999-12-32T00:00:00Z", "9999-12-31", "9999-12-31T25:00:00Z", "10000-01-01T00:00:00Z"] {
            assert!(Time::parse(wrong).is_err(), "{wrong}");
        }
    }
}
