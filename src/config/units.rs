//! Values of settings that are more than a word or a number: addresses of doors, spans of time, sizes.
//!
//! Each is read from text, written back as the text that gives it, and says in its error what would have been right.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Where a door listens: an address, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorAddr {
    Off,
    At(SocketAddr),
}

impl DoorAddr {
    const FORM: &str = "an address such as 127.0.0.1:5433 (port 0 takes a free one), or \"off\"";
}

impl FromStr for DoorAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(DoorAddr::Off);
        }
        if let Some(port) = text.strip_prefix("localhost:")
            && let Ok(port) = port.parse()
        {
            return Ok(DoorAddr::At(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        }
        text.parse()
            .map(DoorAddr::At)
            .map_err(|_| format!("{text:?} is not {}", Self::FORM))
    }
}

impl fmt::Display for DoorAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DoorAddr::Off => f.write_str("off"),
            DoorAddr::At(addr) => addr.fmt(f),
        }
    }
}

/// Where the column cache lies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CacheLocation {
    /// A directory for each set of sources in the user's cache directory.
    #[default]
    Default,
    /// There is none.
    Off,
    /// A path or a URI.
    At(String),
}

impl CacheLocation {
    const FORM: &str = "a directory, \"default\" or \"off\"";
}

impl FromStr for CacheLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(CacheLocation::Default),
            "off" => Ok(CacheLocation::Off),
            "" => Err(format!("{text:?} is not {}", Self::FORM)),
            location => Ok(CacheLocation::At(location.to_owned())),
        }
    }
}

impl fmt::Display for CacheLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CacheLocation::Default => "default",
            CacheLocation::Off => "off",
            CacheLocation::At(location) => location,
        })
    }
}

/// A span of time that is always there: `10s`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    const FORM: &str = "a span of time with its unit, such as \"10s\" or \"5m\"";
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(Span)
            .map_err(|_| format!("{text:?} is not {}", Self::FORM))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A limit in time that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimit(pub Option<Duration>);

impl TimeLimit {
    const FORM: &str = "a span of time with its unit, such as \"30s\" or \"5m\", or \"off\"";
}

impl FromStr for TimeLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(TimeLimit(None));
        }
        let limit = humantime::parse_duration(text).map_err(|_| format!("{text:?} is not {}", Self::FORM))?;
        Ok(TimeLimit(Some(limit)))
    }
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("off"),
            Some(limit) => humantime::format_duration(limit).fmt(f),
        }
    }
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersion {
    #[default]
    Tls12,
    Tls13,
}

impl TlsVersion {
    const FORM: &str = "\"1.2\" or \"1.3\"";
}

impl FromStr for TlsVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1.2" => Ok(TlsVersion::Tls12),
            "1.3" => Ok(TlsVersion::Tls13),
            other => Err(format!("{other:?} is not {}", Self::FORM)),
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        })
    }
}

/// A number of bytes: `512MiB`, `2GB`, `1048576`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const BINARY_UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const DECIMAL_UNITS: [(&str, u64); 4] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];

impl ByteSize {
    const FORM: &str = "a size with its unit, such as \"512MiB\" or \"2GB\"";
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not {}", Self::FORM);
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = unit.trim();
        let factor = if unit.is_empty() || unit.eq_ignore_ascii_case("b") {
            1
        } else {
            BINARY_UNITS
                .iter()
                .chain(&DECIMAL_UNITS)
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, factor)| *factor)
                .ok_or_else(wrong)?
        };
        number.checked_mul(factor).map(ByteSize).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(name, factor): &(&str, u64)| {
            (self.0 >= *factor && self.0.is_multiple_of(*factor)).then(|| format!("{}{name}", self.0 / factor))
        };
        let shortest = BINARY_UNITS
            .iter()
            .chain(&DECIMAL_UNITS)
            .filter_map(whole)
            .min_by_key(String::len);
        f.write_str(&shortest.unwrap_or_else(|| self.0.to_string()))
    }
}

/// A text that is not shown: in `Debug`, and wherever it is written, stars stand for it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    const FORM: &str = "a text";
    const SHOWN: &str = "********";

    /// What must not be written anywhere.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Secret(text.to_owned()))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { Self::SHOWN })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads a value from the text that `FromStr` takes, and gives `$form` as what was expected of anything else.
struct TextVisitor<T> {
    form: &'static str,
    value: std::marker::PhantomData<T>,
}

impl<T: FromStr<Err = String>> de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.form)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! as_text {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextVisitor {
                    form: Self::FORM,
                    value: std::marker::PhantomData,
                })
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

as_text!(DoorAddr);
as_text!(CacheLocation);
as_text!(Span);
as_text!(TimeLimit);
as_text!(ByteSize);
as_text!(TlsVersion);
as_text!(Secret);
as_text!(super::hdfs::WebHdfsConfig);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_as_the_text_that_gives_it() {
        for text in ["512MiB", "2GB", "1GiB", "17", "1kB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        assert_eq!("2 gib".parse::<ByteSize>().unwrap(), ByteSize(2 << 30));
    }

    #[test]
    fn a_size_without_a_meaning_says_what_would_have_one() {
        for text in ["", "GB", "1.5GB", "-1", "99999999999TiB", "10 potatoes"] {
            let error = text.parse::<ByteSize>().unwrap_err();
            assert!(error.contains("512MiB"), "{error}");
        }
    }

    #[test]
    fn a_door_is_an_address_or_off() {
        assert_eq!("off".parse(), Ok(DoorAddr::Off));
        assert_eq!("localhost:0".parse::<DoorAddr>().unwrap().to_string(), "127.0.0.1:0");
        assert!("5433".parse::<DoorAddr>().unwrap_err().contains("127.0.0.1:5433"));
    }
}
