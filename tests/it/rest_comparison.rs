//! Two answers of REST: what differs, with the path of each difference.
//!
//! JSON is compared by value and by the order of an object's keys, `1` and `1.0` differ, a key may not come twice. Texts that are equal
//! are not parsed.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Scala maps: Spark writes them in the order of a hash, or of insertion.
const MAPS: &[&str] = &[
    "tasks",
    "executorSummary",
    "executorLogs",
    "attributes",
    "resources",
    "killedTasksSummary",
    "executorResources",
    "taskResources",
];
/// When a log was last written: of a copy, when it was copied.
const FREE: &[&str] = &["lastUpdated", "lastUpdatedEpoch"];
/// What Spark counts up to the time of the answer may be off by the time that the answers took.
const SLACK_MS: i64 = 5_000;
/// Of one answer; more would only be more of the same.
const MOST_DIFFERENCES: usize = 50;

/// JSON with everything that its text says.
#[derive(Debug, Clone, PartialEq)]
enum Json {
    Null,
    Bool(bool),
    Whole(i64),
    Large(u64),
    /// The bits: 0.0 and -0.0 differ.
    Fraction(u64),
    Text(String),
    Array(Vec<Json>),
    /// In its order, and with what stands there twice.
    Object(Vec<(String, Json)>),
}

impl Json {
    fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(fields) => fields.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsItIs;
        impl<'de> Visitor<'de> for AsItIs {
            type Value = Json;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Whole(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(i64::try_from(value).map_or(Json::Large(value), Json::Whole))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Fraction(value.to_bits()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut array = Vec::new();
                while let Some(item) = items.next_element()? {
                    array.push(item);
                }
                Ok(Json::Array(array))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
                let mut object = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    object.push(entry);
                }
                Ok(Json::Object(object))
            }
        }
        deserializer.deserialize_any(AsItIs)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Json::Fraction(bits) => format!("{:?}", f64::from_bits(*bits)),
            Json::Whole(value) => value.to_string(),
            Json::Object(fields) => format!(
                "an object of {:?}",
                fields.iter().map(|(name, _)| name).collect::<Vec<_>>()
            ),
            other => format!("{other:?}"),
        };
        formatter.write_str(&short(&text))
    }
}

/// The beginning of a text that may be long.
pub(crate) fn short(text: &str) -> String {
    const ENOUGH: usize = 160;
    match text.char_indices().nth(ENOUGH) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}

/// What differs between two bodies. `clock_ms`: the time between the answers, where values count up to the clock.
pub(crate) fn body_differences(expected: &str, got: &str, is_json: bool, clock_ms: Option<i64>) -> Vec<String> {
    if expected == got {
        return Vec::new();
    }
    let parsed: Option<(Json, Json)> = match is_json {
        true => serde_json::from_str(expected).ok().zip(serde_json::from_str(got).ok()),
        false => None,
    };
    let Some((expected, got)) = parsed else {
        return vec![format!("body: expected {:?}, got {:?}", short(expected), short(got))];
    };
    let mut comparison = Comparison {
        clock_ms,
        differences: Vec::new(),
    };
    comparison.compare("$", "", &expected, &got);
    comparison.differences
}

struct Comparison {
    clock_ms: Option<i64>,
    differences: Vec<String>,
}

impl Comparison {
    fn differs(&mut self, path: &str, what: &str) {
        if self.differences.len() < MOST_DIFFERENCES {
            self.differences.push(format!("{path}: {what}"));
        }
    }

    /// `name`: the field that holds this value.
    fn compare(&mut self, path: &str, name: &str, expected: &Json, got: &Json) {
        match (expected, got) {
            (Json::Object(of_expected), Json::Object(of_got)) => {
                let keys = |fields: &[(String, Json)]| fields.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
                let (mut wanted, mut present) = (keys(of_expected), keys(of_got));
                if MAPS.contains(&name) {
                    wanted.sort();
                    present.sort();
                }
                if wanted != present {
                    self.differs(path, &format!("expected the fields {wanted:?}, got {present:?}"));
                }
                for (key, value) in of_expected {
                    let Some(other) = got.get(key) else { continue };
                    if !self.may_differ(key, expected, value, other) {
                        self.compare(&format!("{path}.{key}"), key, value, other);
                    }
                }
            }
            (Json::Array(of_expected), Json::Array(of_got)) => {
                if of_expected.len() != of_got.len() {
                    let lengths = format!("expected {} items, got {}", of_expected.len(), of_got.len());
                    self.differs(path, &lengths);
                }
                for (at, (value, other)) in of_expected.iter().zip(of_got).enumerate() {
                    self.compare(&format!("{path}[{at}]"), "", value, other);
                }
            }
            _ if expected == got => {}
            _ => self.differs(path, &format!("expected {expected}, got {got}")),
        }
    }

    fn may_differ(&self, key: &str, owner: &Json, expected: &Json, got: &Json) -> bool {
        if FREE.contains(&key) {
            return std::mem::discriminant(expected) == std::mem::discriminant(got);
        }
        let is_text = |field: &str, text: &str| owner.get(field) == Some(&Json::Text(text.to_owned()));
        let counts_on = match key {
            "totalDuration" => is_text("id", "driver"),
            "duration" => is_text("status", "RUNNING") && owner.get("planDescription").is_some(),
            _ => false,
        };
        match (self.clock_ms, expected, got) {
            (Some(clock_ms), Json::Whole(expected), Json::Whole(got)) if counts_on => {
                (got - expected - clock_ms).abs() <= SLACK_MS
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(expected: &str, got: &str) -> Vec<String> {
        body_differences(expected, got, true, Some(60_000))
    }

    #[test]
    fn order_of_keys_and_kinds_of_numbers_count() {
        assert_eq!(
            differences(r#"{"a":1,"b":[2]}"#, r#"{ "a" : 1, "b" : [ 2 ] }"#),
            [""; 0]
        );
        assert_eq!(differences(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#).len(), 1);
        assert_eq!(differences(r#"{"a":1}"#, r#"{"a":1.0}"#), ["$.a: expected 1, got 1.0"]);
        assert_eq!(differences(r#"{"a":1}"#, r#"{"a":1,"a":1}"#).len(), 1);
        assert_eq!(
            differences(r#"{"tasks":{"1":2,"3":4}}"#, r#"{"tasks":{"3":4,"1":2}}"#),
            [""; 0]
        );
        assert_eq!(differences(r#"[{"a":null}]"#, "[{}]").len(), 1);
    }

    #[test]
    fn what_counts_up_to_the_clock_may_have_grown() {
        let driver = |duration: i64| format!(r#"[{{"id":"driver","totalDuration":{duration}}}]"#);
        assert_eq!(differences(&driver(5), &driver(61_000)), [""; 0]);
        assert_eq!(differences(&driver(5), &driver(6)).len(), 1);
        assert_eq!(body_differences(&driver(5), &driver(61_000), true, None).len(), 1);
        assert_eq!(
            differences(r#"{"id":"1","totalDuration":5}"#, r#"{"id":"1","totalDuration":61000}"#).len(),
            1
        );
    }
}
