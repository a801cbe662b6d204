//! A session's settings: what `SET`, `SHOW` and `RESET` work on. One map a connection; nothing is shared.
//!
//! The names and defaults are PostgreSQL's, from the catalog. One that is not in [`KNOWN`] is 42704, as in PostgreSQL, unless it has a dot (a custom setting, which any client may invent).

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use super::encode::{DateStyle, Style, Zone};
use super::error::PgError;
use crate::catalog::{Parameter, parameters};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Bool,
    Zone,
    DateStyle,
    /// Milliseconds, or a number with a unit.
    Time,
    /// A number, which may have a unit.
    Number,
    /// One of these, with commas between.
    Choice(&'static str),
    /// Only the value it has.
    Fixed,
}

#[derive(Debug)]
struct Known {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    description: &'static str,
    listed: bool,
}

/// Sent to the client as `ParameterStatus`, at the start and on each change.
const REPORTED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// In the order of `SHOW ALL`. Most are accepted and have no effect.
static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let known = |parameter: &'static Parameter| Known {
        name: parameter.name,
        default: parameter.default,
        kind: kind(parameter),
        description: parameter.description,
        listed: parameter.listed,
    };
    parameters().iter().map(known).collect()
});

fn kind(parameter: &Parameter) -> Kind {
    match (parameter.name, parameter.context, parameter.kind) {
        ("TimeZone", ..) => Kind::Zone,
        ("DateStyle", ..) => Kind::DateStyle,
        // There is one encoding, and one form of intervals.
        ("client_encoding" | "IntervalStyle", ..) => Kind::Fixed,
        (_, context, _) if !matches!(context, "user" | "superuser") => Kind::Fixed,
        (_, _, "bool") => Kind::Bool,
        (_, _, "integer") if parameter.unit == "ms" => Kind::Time,
        (_, _, "integer" | "real") => Kind::Number,
        (_, _, "enum") => Kind::Choice(parameter.values),
        _ => Kind::Text,
    }
}

fn find(name: &str) -> Option<&'static Known> {
    let name = match name.to_ascii_lowercase().as_str() {
        "time zone" => "timezone".to_string(),
        "transaction isolation level" => "transaction_isolation".to_string(),
        "session authorization" => "session_authorization".to_string(),
        other => other.to_string(),
    };
    KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(&name))
}

type Values = BTreeMap<String, String>;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// What `RESET` goes back to.
    initial: Values,
    /// Set by the session; survives transactions that commit.
    session: Values,
    /// `SET LOCAL`; ends with the transaction.
    local: Values,
    /// `session` as it was when the transaction began.
    before_transaction: Option<Values>,
    /// By savepoint: `session` and `local` as they were.
    savepoints: Vec<(String, Values, Values)>,
    /// What the client was last told.
    told: Values,
}

impl Settings {
    pub(super) fn new(user: &str) -> Self {
        let mut initial = Values::new();
        initial.insert("session_authorization".into(), user.to_string());
        Settings {
            initial,
            session: Values::new(),
            local: Values::new(),
            before_transaction: None,
            savepoints: Vec::new(),
            told: Values::new(),
        }
    }

    /// A setting of the startup message: becomes the value `RESET` goes back to.
    pub(super) fn set_initial(&mut self, name: &str, value: &str) -> Result<(), PgError> {
        self.set(name, Some(value), false)?;
        self.initial.append(&mut self.session);
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let known = find(name);
        let key = known.map_or_else(|| name.to_ascii_lowercase(), |known| known.name.to_string());
        let set = self
            .local
            .get(&key)
            .or_else(|| self.session.get(&key))
            .or_else(|| self.initial.get(&key));
        match set {
            Some(value) => Some(value),
            None if key == "transaction_isolation" => self.get("default_transaction_isolation"),
            None if key == "transaction_deferrable" => self.get("default_transaction_deferrable"),
            None => known.map(|known| known.default),
        }
    }

    pub(super) fn show(&self, name: &str) -> Result<&str, PgError> {
        self.get(name).ok_or_else(|| unknown(name))
    }

    /// `None` is `DEFAULT`.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<(), PgError> {
        let known = find(name);
        let key = match known {
            Some(known) => known.name.to_string(),
            None if name.contains('.') => name.to_ascii_lowercase(),
            None => return Err(unknown(name)),
        };
        let Some(value) = value else {
            self.local.remove(&key);
            self.session.remove(&key);
            return Ok(());
        };
        let value = match known {
            Some(known) if matches!(known.kind, Kind::DateStyle) => {
                let current = DateStyle::parse(self.get("DateStyle").unwrap_or_default(), DateStyle::default());
                let style = DateStyle::parse(value, current.unwrap_or_default());
                style.ok_or_else(|| invalid(known, value))?.to_string()
            }
            Some(known) => check(known, value)?,
            None => value.to_string(),
        };
        if local {
            // Outside a transaction SET LOCAL does nothing, as in PostgreSQL.
            if self.before_transaction.is_some() {
                self.local.insert(key, value);
            }
        } else {
            self.local.remove(&key);
            self.session.insert(key, value);
        }
        Ok(())
    }

    pub(super) fn reset_all(&mut self) {
        self.session.clear();
        self.local.clear();
    }

    pub(super) fn begin(&mut self) {
        self.before_transaction = Some(self.session.clone());
    }

    /// Whether `SET LOCAL` has a meaning.
    pub(super) fn in_transaction(&self) -> bool {
        self.before_transaction.is_some()
    }

    pub(super) fn savepoint(&mut self, name: &str) {
        let values = (name.to_owned(), self.session.clone(), self.local.clone());
        self.savepoints.push(values);
    }

    /// Forgets a savepoint and those after it; the number of those that are left, or `None` if there is none of that name.
    pub(super) fn release(&mut self, name: &str) -> Option<usize> {
        let at = self.savepoints.iter().rposition(|(known, ..)| known == name)?;
        self.savepoints.truncate(at);
        Some(at)
    }

    /// Goes back to a savepoint, which stays; its place among savepoints, or `None` if there is none of that name.
    pub(super) fn rollback_to(&mut self, name: &str) -> Option<usize> {
        let at = self.savepoints.iter().rposition(|(known, ..)| known == name)?;
        self.savepoints.truncate(at + 1);
        let (_, session, local) = &self.savepoints[at];
        (self.session, self.local) = (session.clone(), local.clone());
        Some(at)
    }

    pub(super) fn end(&mut self, commit: bool) {
        self.local.clear();
        self.savepoints.clear();
        if let Some(before) = self.before_transaction.take()
            && !commit
        {
            self.session = before;
        }
    }

    /// Reported settings that changed since the last call.
    pub(super) fn news(&mut self) -> Vec<(&'static str, String)> {
        let mut news = Vec::new();
        for name in REPORTED.iter().copied() {
            let value = self.get(name).unwrap_or_default().to_string();
            if self.told.get(name) != Some(&value) {
                self.told.insert(name.to_string(), value.clone());
                news.push((name, value));
            }
        }
        news
    }

    /// Name, value, description.
    pub(super) fn all(&self) -> Vec<(&'static str, String, &'static str)> {
        let row = |known: &'static Known| {
            (
                known.name,
                self.get(known.name).unwrap_or_default().to_string(),
                known.description,
            )
        };
        KNOWN.iter().filter(|known| known.listed).map(row).collect()
    }

    /// All that has been set, by the client's startup message too.
    pub(super) fn changed(&self) -> BTreeMap<String, String> {
        let mut changed = self.initial.clone();
        changed.extend(self.session.clone());
        changed.extend(self.local.clone());
        changed
    }

    /// How values are written as text.
    pub(super) fn style(&self) -> Style {
        let date_style = self.get("DateStyle").unwrap_or_default();
        let float_digits = self.get("extra_float_digits").and_then(|digits| digits.parse().ok());
        Style {
            zone: self.get("TimeZone").and_then(Zone::parse).unwrap_or(Zone::Utc),
            dates: DateStyle::parse(date_style, DateStyle::default()).unwrap_or_default(),
            extra_float_digits: float_digits.unwrap_or(1),
            escapes_bytes: self.get("bytea_output") == Some("escape"),
        }
    }

    /// Whether the client wants to hear of warnings.
    pub(super) fn wants_warnings(&self) -> bool {
        self.get("client_min_messages") != Some("error")
    }

    /// `None`: never set, so the server's own limit holds. `Some(None)`: explicitly without limit.
    pub(super) fn timeout(&self, name: &str) -> Option<Option<Duration>> {
        let set = self.local.get(name).or_else(|| self.session.get(name));
        let value = set.or_else(|| self.initial.get(name))?;
        let millis = milliseconds(value)?;
        Some((millis > 0).then(|| Duration::from_millis(millis)))
    }

    pub(super) fn search_path(&self, user: &str) -> Vec<String> {
        let path = self.get("search_path").unwrap_or("public");
        let name = |part: &str| match part.trim().trim_matches('"') {
            "$user" => user.to_string(),
            part => part.to_string(),
        };
        path.split(',').map(name).filter(|part| !part.is_empty()).collect()
    }
}

fn unknown(name: &str) -> PgError {
    PgError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

fn invalid(known: &Known, value: &str) -> PgError {
    PgError::new(
        "22023",
        format!("invalid value for parameter \"{}\": \"{value}\"", known.name),
    )
}

fn check(known: &Known, value: &str) -> Result<String, PgError> {
    let invalid = || invalid(known, value);
    match known.kind {
        // What has no form of its own, or one that depends on what is set.
        Kind::Text | Kind::DateStyle => Ok(value.to_string()),
        Kind::Bool => match value.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" | "t" => Ok("on".into()),
            "off" | "false" | "no" | "0" | "f" => Ok("off".into()),
            _ => Err(invalid()),
        },
        Kind::Number => {
            let digits = value.trim().trim_start_matches(['-', '+']);
            if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                Ok(value.trim().to_string())
            } else {
                Err(invalid())
            }
        }
        Kind::Choice(choices) => {
            let wanted = value.to_ascii_lowercase();
            // Other words for on and off are among the values PostgreSQL knows and does not list.
            if choices.split(',').any(|choice| choice == wanted)
                || ["true", "false", "yes", "no", "1", "0"].contains(&&*wanted)
            {
                Ok(wanted)
            } else {
                Err(invalid())
            }
        }
        Kind::Zone if value.eq_ignore_ascii_case("local") => Ok(known.default.to_string()),
        Kind::Zone => {
            let name = whole_hours(value).unwrap_or_else(|| value.to_string());
            Zone::parse(&name).map(|_| name).ok_or_else(invalid)
        }
        Kind::Time => match milliseconds(value) {
            Some(0) => Ok("0".into()),
            Some(millis) if millis % 60_000 == 0 => Ok(format!("{}min", millis / 60_000)),
            Some(millis) if millis % 1000 == 0 => Ok(format!("{}s", millis / 1000)),
            Some(millis) => Ok(format!("{millis}ms")),
            None => Err(invalid()),
        },
        Kind::Fixed => {
            let simple = |text: &str| {
                text.to_ascii_lowercase()
                    .replace(['-', '_', '\''], "")
                    .replace("unicode", "utf8")
            };
            if simple(value) == simple(known.default) {
                return Ok(known.default.to_string());
            }
            match known.name {
                "client_encoding" | "IntervalStyle" => Err(PgError::new(
                    "0A000",
                    format!("{} can only be {}", known.name, known.default),
                )),
                _ => Err(PgError::new(
                    "55P02",
                    format!("parameter \"{}\" cannot be changed", known.name),
                )),
            }
        }
    }
}

/// `SET TIME ZONE 2` and `-3` mean hours.
fn whole_hours(value: &str) -> Option<String> {
    let hours: i32 = value.trim_start_matches('+').parse().ok()?;
    (-15..=15)
        .contains(&hours)
        .then(|| format!("{}{:02}:00", if hours < 0 { '-' } else { '+' }, hours.abs()))
}

/// `500`, `500ms`, `2s`, `1.5min`, `1h`, `1d`.
fn milliseconds(value: &str) -> Option<u64> {
    let value = value.trim();
    let unit_at = value
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(value.len());
    let number: f64 = value[..unit_at].parse().ok()?;
    let factor = match value[unit_at..].trim() {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1e3,
        "min" => 6e4,
        "h" => 3.6e6,
        "d" => 8.64e7,
        _ => return None,
    };
    let millis = (number * factor).round();
    // PostgreSQL keeps it in 32 bits.
    (0.0..=f64::from(i32::MAX))
        .contains(&millis)
        .then(|| format!("{millis:.0}").parse().ok())
        .flatten()
}
