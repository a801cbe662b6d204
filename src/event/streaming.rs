//! Events of structured streaming (`StreamingQueryListener`): a query starts, makes progress, idles, ends.
//!
//! Jackson writes them field by field, instants as text. What a version before 4.1 lacks is an `Option`. Progress is kept as it
//! is read, so it owns its text instead of borrowing it from the line.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::value::RawValue;

use super::{ParseError, lenient, payload};

/// The class whose members these events are.
const LISTENER: &str = "org.apache.spark.sql.streaming.StreamingQueryListener$";

#[derive(Debug)]
pub enum StreamingEvent {
    Started(QueryStarted),
    Progress(Box<Progress>),
    Idle(QueryIdle),
    Terminated(QueryTerminated),
}

impl StreamingEvent {
    /// The event of a line, `None` if its name is none of these.
    pub(super) fn parse(name: &str, line: &[u8]) -> Option<Result<Self, ParseError>> {
        let event = match name.strip_prefix(LISTENER)? {
            "QueryStartedEvent" => payload(line, name).map(StreamingEvent::Started),
            "QueryProgressEvent" => {
                payload(line, name).map(|QueryProgress { progress }| StreamingEvent::Progress(Box::new(progress)))
            }
            "QueryIdleEvent" => payload(line, name).map(StreamingEvent::Idle),
            "QueryTerminatedEvent" => payload(line, name).map(StreamingEvent::Terminated),
            _ => return None,
        };
        Some(event)
    }
}

#[derive(Debug, Deserialize)]
pub struct QueryStarted {
    pub id: String,
    #[serde(rename = "runId")]
    pub run_id: String,
    pub name: Option<String>,
    /// Since Spark 3.0.
    pub timestamp: Option<Instant>,
    /// Since Spark 4.1.
    #[serde(rename = "jobTags")]
    pub job_tags: Option<Vec<String>>,
}

/// Since Spark 3.5: a trigger found nothing to do.
#[derive(Debug, Deserialize)]
pub struct QueryIdle {
    pub id: String,
    #[serde(rename = "runId")]
    pub run_id: String,
    pub timestamp: Instant,
}

/// Does not say when.
#[derive(Debug, Deserialize)]
pub struct QueryTerminated {
    pub id: String,
    #[serde(rename = "runId")]
    pub run_id: String,
    pub exception: Option<String>,
    /// Since Spark 3.5.
    #[serde(rename = "errorClassOnException")]
    pub error_class: Option<String>,
}

#[derive(Deserialize)]
struct QueryProgress {
    progress: Progress,
}

/// Spark's `StreamingQueryProgress`: what one trigger did.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub id: String,
    pub run_id: String,
    pub name: Option<String>,
    /// When the trigger began.
    pub timestamp: Instant,
    #[serde(deserialize_with = "lenient::long")]
    pub batch_id: i64,
    /// Since Spark 3.0.
    pub batch_duration: Option<Long>,
    /// Milliseconds by phase of the trigger.
    pub duration_ms: Option<Longs>,
    pub event_time: Option<EventTime>,
    pub state_operators: Option<Vec<StateOperator>>,
    pub sources: Option<Vec<Source>>,
    pub sink: Option<Sink>,
    /// By name, as JSON. Since Spark 3.0.
    pub observed_metrics: Option<Json>,
}

/// Counts by name; one may be null.
pub type Longs = BTreeMap<String, Option<Long>>;
/// Texts by name; one may be null.
pub type Texts = BTreeMap<String, Option<String>>;

/// Event times that a batch saw, and the watermark that it ran with. Data alone decides which: a time that no calendar has is none.
#[derive(Debug, Default, Deserialize)]
pub struct EventTime {
    #[serde(default, deserialize_with = "instant_of_data")]
    pub min: Option<i64>,
    #[serde(default, deserialize_with = "instant_of_data")]
    pub max: Option<i64>,
    #[serde(default, deserialize_with = "instant_of_data")]
    pub avg: Option<i64>,
    #[serde(default, deserialize_with = "instant_of_data")]
    pub watermark: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateOperator {
    /// Since Spark 3.2, as times, rows removed, and what is counted behind the memory.
    pub operator_name: Option<String>,
    pub num_rows_total: Option<Long>,
    pub num_rows_updated: Option<Long>,
    pub all_updates_time_ms: Option<Long>,
    pub num_rows_removed: Option<Long>,
    pub all_removals_time_ms: Option<Long>,
    pub commit_time_ms: Option<Long>,
    pub memory_used_bytes: Option<Long>,
    /// Since Spark 3.1.
    pub num_rows_dropped_by_watermark: Option<Long>,
    pub num_shuffle_partitions: Option<Long>,
    pub num_state_store_instances: Option<Long>,
    pub custom_metrics: Option<Longs>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    pub description: Option<String>,
    /// Offsets are JSON in a text, of the source's own form.
    pub start_offset: Option<Json>,
    pub end_offset: Option<Json>,
    /// Since Spark 3.2, as the metrics.
    pub latest_offset: Option<Json>,
    pub num_input_rows: Option<Long>,
    pub input_rows_per_second: Option<Rate>,
    pub processed_rows_per_second: Option<Rate>,
    pub metrics: Option<Texts>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sink {
    pub description: Option<String>,
    /// -1 where the sink does not count. Since Spark 3.0.
    pub num_output_rows: Option<Long>,
    /// Since Spark 3.4.
    pub metrics: Option<Texts>,
}

/// A whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Long(#[serde(deserialize_with = "lenient::long")] pub i64);

/// Milliseconds since the epoch, written as `2026-11-21T09:57:06.086Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub i64);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let millis = millis(&text).ok_or_else(|| D::Error::custom(format_args!("{text:?} is no UTC instant")))?;
        Ok(Instant(millis))
    }
}

fn instant_of_data<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| millis(&text)))
}

/// Spark 4.1 writes years behind 9999 with a sign; Java's older way of writing has none.
fn millis(text: &str) -> Option<i64> {
    const FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.fZ";
    let long_year = text.bytes().take(5).all(|byte| byte.is_ascii_digit());
    let time = if long_year {
        NaiveDateTime::parse_from_str(&format!("+{text}"), FORMAT)
    } else {
        NaiveDateTime::parse_from_str(text, FORMAT)
    };
    Some(time.ok()?.and_utc().timestamp_millis())
}

/// A rate. Nothing in no time is `"NaN"`, something in no time `"Infinity"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub f64);

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // From its text: `serde_json` alone may be wrong in the last digit.
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        let rate = raw.trim_matches('"').parse();
        rate.map(Rate)
            .map_err(|_| D::Error::custom(format_args!("{raw} is no number")))
    }
}

/// JSON as it was written; of a text, what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(pub String);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        let text = if raw.starts_with('"') {
            serde_json::from_str(raw).map_err(D::Error::custom)?
        } else {
            raw.to_owned()
        };
        Ok(Json(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(event: &str, rest: &str) -> Result<StreamingEvent, ParseError> {
        let name = format!("{LISTENER}{event}");
        let line = format!(r#"{{"Event":"{name}",{rest}}}"#);
        StreamingEvent::parse(&name, line.as_bytes()).expect("a known event")
    }

    fn progress(rest: &str) -> Progress {
        let progress =
            format!(r#""progress":{{"id":"q","runId":"r","timestamp":"2026-11-21T09:57:06.252Z","batchId":3{rest}}}"#);
        match parse("QueryProgressEvent", &progress) {
            Ok(StreamingEvent::Progress(progress)) => *progress,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_old_versions_lack_is_absent_and_not_zero() {
        let Ok(StreamingEvent::Started(started)) = parse("QueryStartedEvent", r#""id":"q","runId":"r","name":null"#)
        else {
            panic!("a start");
        };
        assert_eq!((started.timestamp, started.job_tags), (None, None));
        let Ok(StreamingEvent::Terminated(end)) =
            parse("QueryTerminatedEvent", r#""id":"q","runId":"r","exception":"boom""#)
        else {
            panic!("an end");
        };
        assert_eq!((end.exception.as_deref(), end.error_class), (Some("boom"), None));
        let old =
            progress(r#","name":null,"sources":[{"description":"s","numInputRows":4}],"sink":{"description":"k"}"#);
        assert_eq!(old.batch_duration, None);
        assert!(old.sink.is_some_and(|sink| sink.num_output_rows.is_none()));
        assert!(old.sources.is_some_and(|sources| sources[0].latest_offset.is_none()));
    }

    #[test]
    fn rates_without_time_offsets_of_any_form_and_fractional_counts_are_read_as_jackson_reads_them() {
        let progress = progress(
            r#","batchDuration":7.9,"durationMs":{"addBatch":5e0,"custom":null},"sources":[{"startOffset":null,"endOffset":"{\"t\":{\"0\":5}}","latestOffset":[1, 2],"inputRowsPerSecond":"NaN","processedRowsPerSecond":"Infinity"},{"inputRowsPerSecond":3.4430815579944047,"processedRowsPerSecond":4}]"#,
        );
        assert_eq!(progress.batch_duration, Some(Long(7)));
        let durations = progress.duration_ms.expect("durations");
        assert_eq!((durations["addBatch"], durations["custom"]), (Some(Long(5)), None));
        let sources = progress.sources.expect("sources");
        let json = |text: &str| Some(Json(text.to_owned()));
        assert_eq!(sources[0].start_offset, None);
        assert_eq!(sources[0].end_offset, json(r#"{"t":{"0":5}}"#));
        assert_eq!(sources[0].latest_offset, json("[1, 2]"));
        assert!(sources[0].input_rows_per_second.is_some_and(|rate| rate.0.is_nan()));
        assert_eq!(sources[0].processed_rows_per_second, Some(Rate(f64::INFINITY)));
        assert_eq!(sources[1].input_rows_per_second, Some(Rate(3.443_081_557_994_404_7)));
        assert_eq!(sources[1].processed_rows_per_second, Some(Rate(4.0)));
    }

    #[test]
    fn a_trigger_needs_its_instant_and_event_times_may_be_any_data() {
        let bad = r#""progress":{"id":"q","runId":"r","timestamp":"yesterday","batchId":3}"#;
        let error = parse("QueryProgressEvent", bad).expect_err("no instant").to_string();
        assert!(error.contains(r#""yesterday" is no UTC instant"#), "{error}");
        assert!(parse("QueryIdleEvent", r#""id":"q","timestamp":"2026-11-21T09:57:06.252Z""#).is_err());
        let times = r#","eventTime":{"min":"1970-01-01T00:00:00.000Z","max":"12026-11-21T09:57:06.252Z","avg":"+292278994-08-17T07:12:55.807Z","watermark":null}"#;
        let times = progress(times).event_time.expect("times");
        assert_eq!((times.min, times.max), (Some(0), Some(317_364_775_026_252)));
        assert_eq!((times.avg, times.watermark), (None, None));
    }

    #[test]
    fn an_event_of_the_listener_that_is_not_known_is_none_of_these() {
        assert!(StreamingEvent::parse(&format!("{LISTENER}QueryPausedEvent"), b"{}").is_none());
        assert!(StreamingEvent::parse("QueryStartedEvent", b"{}").is_none());
    }
}
