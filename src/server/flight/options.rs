//! What a session sets: `SetSessionOptions` for all its statements, headers (`x-sparkgate-time-zone`) for one request.
//!
//! The messages are those of `Flight.proto`, which `arrow-flight` lacks.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::timezone::Tz;
use arrow::ipc::CompressionType;
use prost::{Enumeration, Message, Oneof};

use crate::catalog::activity::Door;
use crate::catalog::{CATALOG, SessionVars};
use crate::server::auth::Identity;

/// What can be set, in the order of `GetSessionOptions`.
pub(super) const NAMES: [&str; 6] = [
    "application_name",
    "catalog",
    "compression",
    "schema",
    "statement_timeout",
    "time_zone",
];
/// A header is this and the name of an option.
const HEADER: &str = "x-sparkgate-";
/// Longer names of applications are cut: they are shown to others.
const LONGEST_NAME: usize = 200;

/// Values of one session. They travel in tickets, so that a result is what the session was when it was asked for.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Options {
    /// The search path; empty is the default.
    #[prost(string, repeated, tag = "1")]
    pub(super) schemas: Vec<String>,
    #[prost(string, optional, tag = "2")]
    time_zone: Option<String>,
    /// Zero is without limit.
    #[prost(uint64, optional, tag = "3")]
    timeout_ms: Option<u64>,
    #[prost(string, optional, tag = "4")]
    application_name: Option<String>,
    /// `lz4` or `zstd`.
    #[prost(string, optional, tag = "5")]
    compression: Option<String>,
}

/// Why an option is not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    Name,
    Value(String),
}

impl Options {
    /// `None` goes back to the default.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Refused> {
        let wrong = |what: &str| Err(Refused::Value(format!("{:?} is {what}", value.unwrap_or_default())));
        match (name, value) {
            ("application_name", value) => {
                self.application_name = value.map(|name| name.chars().take(LONGEST_NAME).collect());
            }
            ("catalog", None | Some(CATALOG)) => {}
            ("catalog", Some(_)) => return wrong("no catalog; there is one, spark"),
            ("compression", None | Some("none")) => self.compression = None,
            ("compression", Some(name @ ("lz4" | "zstd"))) => self.compression = Some(name.to_owned()),
            ("compression", Some(_)) => return wrong("no compression; there are none, lz4 and zstd"),
            ("schema", value) => {
                let names = value.unwrap_or_default().split(',').map(str::trim);
                self.schemas = names
                    .filter(|name| !name.is_empty())
                    .map(|name| name.trim_matches('"').to_owned())
                    .collect();
            }
            ("statement_timeout", None) => self.timeout_ms = None,
            ("statement_timeout", Some(text)) => match milliseconds(text) {
                Some(limit) => self.timeout_ms = Some(limit),
                None => return wrong("no time, such as 30s or a number of milliseconds"),
            },
            ("time_zone", None) => self.time_zone = None,
            ("time_zone", Some(name)) => match name.parse::<Tz>() {
                Ok(_) => self.time_zone = Some(name.to_owned()),
                Err(_) => return wrong("no time zone, such as Europe/Berlin or +02:00"),
            },
            _ => return Err(Refused::Name),
        }
        Ok(())
    }

    /// As it would be set; what a session never set has its default.
    pub(super) fn get(&self, name: &str) -> String {
        let set = match name {
            "application_name" => self.application_name.clone(),
            "catalog" => Some(CATALOG.to_owned()),
            "compression" => Some(self.compression.clone().unwrap_or_else(|| "none".into())),
            "schema" if self.schemas.is_empty() => Some("public".into()),
            "schema" => Some(self.schemas.join(",")),
            "statement_timeout" => self.timeout_ms.map(|limit| format!("{limit}ms")),
            "time_zone" => Some(self.time_zone.clone().unwrap_or_else(|| "UTC".into())),
            _ => None,
        };
        set.unwrap_or_default()
    }

    /// `None`: the server's own limit holds. `Some(None)`: without limit.
    pub(super) fn timeout(&self) -> Option<Option<Duration>> {
        let limit = self.timeout_ms?;
        Some((limit > 0).then(|| Duration::from_millis(limit)))
    }

    pub(super) fn codec(&self) -> Option<CompressionType> {
        match self.compression.as_deref() {
            Some("lz4") => Some(CompressionType::LZ4_FRAME),
            Some("zstd") => Some(CompressionType::ZSTD),
            _ => None,
        }
    }

    /// What a statement of this session sees. `agent` is what the client calls itself where the session does not say.
    pub(super) fn vars(&self, identity: &Identity, agent: &str) -> SessionVars {
        let mut settings = BTreeMap::new();
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                settings.insert(name.to_owned(), value);
            }
        };
        set("TimeZone", self.time_zone.clone());
        set(
            "search_path",
            (!self.schemas.is_empty()).then(|| self.schemas.join(", ")),
        );
        set("application_name", self.application_name.clone());
        set("statement_timeout", self.timeout_ms.map(|limit| format!("{limit}ms")));
        let defaults = SessionVars::default();
        SessionVars {
            user: identity.user.clone(),
            is_admin: identity.role.is_admin(),
            application_name: self.application_name.clone().unwrap_or_else(|| agent.to_owned()),
            time_zone: self.time_zone.clone().unwrap_or(defaults.time_zone),
            search_path: match self.schemas.is_empty() {
                true => defaults.search_path,
                false => self.schemas.clone(),
            },
            settings,
            door: Door::Flight,
            ..SessionVars::default()
        }
    }
}

/// The header that sets an option for one request.
pub(super) fn header(name: &str) -> String {
    format!("{HEADER}{}", name.replace('_', "-"))
}

fn milliseconds(text: &str) -> Option<u64> {
    if let Ok(number) = text.trim().parse::<u64>() {
        return Some(number);
    }
    let span = humantime::parse_duration(text.trim()).ok()?;
    u64::try_from(span.as_millis()).ok()
}

/// One value of an option, in one of several types.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OptionValue {
    #[prost(oneof = "AnyValue", tags = "1, 2, 3, 4, 5")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Oneof)]
enum AnyValue {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Number(f64),
    #[prost(message, tag = "5")]
    List(TextList),
}

#[derive(Clone, PartialEq, Message)]
struct TextList {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

impl OptionValue {
    pub(super) fn text(text: String) -> OptionValue {
        OptionValue {
            value: Some(AnyValue::Text(text)),
        }
    }

    /// An option without a value is one that is taken back.
    pub(super) fn as_text(&self) -> Option<String> {
        Some(match self.value.as_ref()? {
            AnyValue::Text(text) => text.clone(),
            AnyValue::Bool(value) => value.to_string(),
            AnyValue::Integer(value) => value.to_string(),
            AnyValue::Number(value) => value.to_string(),
            AnyValue::List(list) => list.values.join(","),
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsRequest {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) session_options: BTreeMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsResult {
    /// Options that were not set; the others were.
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) errors: BTreeMap<String, OptionError>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OptionError {
    #[prost(enumeration = "OptionErrorKind", tag = "1")]
    pub(super) value: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum OptionErrorKind {
    Unspecified = 0,
    InvalidName = 1,
    InvalidValue = 2,
}

impl From<&Refused> for OptionError {
    fn from(refused: &Refused) -> Self {
        let kind = match refused {
            Refused::Name => OptionErrorKind::InvalidName,
            Refused::Value(_) => OptionErrorKind::InvalidValue,
        };
        OptionError { value: kind as i32 }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetSessionOptionsResult {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) session_options: BTreeMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CloseSessionResult {
    #[prost(enumeration = "CloseStatus", tag = "1")]
    pub(super) status: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum CloseStatus {
    Unspecified = 0,
    Closed = 1,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_set_shown_and_taken_back() {
        let mut options = Options::default();
        for (name, value, shown) in [
            ("application_name", "notebook", "notebook"),
            ("catalog", "spark", "spark"),
            ("compression", "zstd", "zstd"),
            ("schema", "advice, \"public\"", "advice,public"),
            ("statement_timeout", "2min", "120000ms"),
            ("statement_timeout", "1500", "1500ms"),
            ("time_zone", "Europe/Berlin", "Europe/Berlin"),
        ] {
            options.set(name, Some(value)).unwrap();
            assert_eq!(options.get(name), shown, "{name}");
        }
        let decoded = Options::decode(&*options.encode_to_vec()).unwrap();
        assert_eq!(decoded, options);
        let identity = Identity {
            user: "alice".into(),
            role: crate::server::auth::Role::Reader,
        };
        let vars = decoded.vars(&identity, "some driver");
        assert_eq!(vars.search_path, ["advice", "public"]);
        assert_eq!(
            (vars.time_zone.as_str(), vars.user.as_str()),
            ("Europe/Berlin", "alice")
        );
        assert_eq!(vars.application_name, "notebook");
        assert_eq!(options.timeout(), Some(Some(Duration::from_millis(1500))));
        for name in NAMES {
            options.set(name, None).unwrap();
        }
        assert_eq!(options, Options::default());
        assert_eq!(options.vars(&identity, "some driver").application_name, "some driver");
        options.set("statement_timeout", Some("0")).unwrap();
        assert_eq!(options.timeout(), Some(None));
    }

    #[test]
    fn wrong_options_are_told_apart() {
        let mut options = Options::default();
        assert_eq!(options.set("colour", Some("red")), Err(Refused::Name));
        for (name, value) in [
            ("catalog", "other"),
            ("compression", "gzip"),
            ("statement_timeout", "soon"),
            ("time_zone", "Mars/Olympus"),
        ] {
            assert!(
                matches!(options.set(name, Some(value)), Err(Refused::Value(_))),
                "{name}"
            );
        }
        assert_eq!(options, Options::default());
        assert_eq!(header("statement_timeout"), "x-sparkgate-statement-timeout");
    }
}
