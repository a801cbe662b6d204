//! `streaming_queries` and `streaming_batches` against the events of the same logs. Spark's REST has no answer about streaming, so
//! what a row must be is derived here from the raw lines: by name, and so that no field of an event may be left over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::support;

type Object = Map<String, Value>;

/// Fixture logs with streaming: their names say nothing else that a test could rely on.
const WITH_STREAMING: usize = 2;

#[test]
fn streaming_tables_say_what_the_events_of_the_fixtures_say() {
    let seen = hold_against(&support::fixtures().join("logs"));
    assert_eq!(seen.applications, WITH_STREAMING);
    assert!(seen.queries >= 4 && seen.batches >= 6 && seen.failed >= 2, "{seen:?}");
}

#[test]
fn streaming_tables_say_what_the_events_of_the_shared_logs_say() {
    let Some(shared) = support::shared() else {
        return support::say("streaming: no shared logs beside this checkout; only the fixtures were compared");
    };
    let copy = tempfile::tempdir().expect("a temporary directory");
    support::copy_logs(
        &shared.join("spark-logs"),
        copy.path(),
        &["README.md", ".gitattributes"],
    );
    let seen = hold_against(copy.path());
    assert!(seen.queries > 0, "{seen:?}");
}

/// What no fixture has: two sources with offsets in JSON, event times, metrics of sources and sinks, observed metrics, rates that
/// are no numbers, a trigger without data, and events as old versions wrote them.
#[test]
fn streaming_tables_say_what_events_of_every_form_say() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let listener = "org.apache.spark.sql.streaming.StreamingQueryListener$Query";
    let mut progress = json!({
        "id": "cb2be0b9-dd80-4ebd-8459-7890183ed8bd", "runId": "56b4ce79-7d9d-4ea0-900d-ec028402feca", "name": "orders \"é\"",
        "timestamp": "2026-11-21T09:57:10.899Z", "batchId": 41, "batchDuration": 1291,
        "durationMs": {"triggerExecution": 1, "queryPlanning": 2, "getBatch": 3, "commitOffsets": 4, "latestOffset": 5, "addBatch": 6, "walCommit": 7, "commitBatch": 8},
        "eventTime": {"min": "2026-11-21T09:50:00.001Z", "max": "2026-11-21T09:51:00.002Z", "avg": "2026-11-21T09:50:30.003Z", "watermark": "2026-11-21T09:40:00.004Z"},
        "stateOperators": [
            {"operatorName": "dedupe", "numRowsTotal": 1, "numRowsUpdated": 2, "allUpdatesTimeMs": 3, "numRowsRemoved": 4, "allRemovalsTimeMs": 5, "commitTimeMs": 6, "memoryUsedBytes": 7, "numRowsDroppedByWatermark": 8, "numShufflePartitions": 9, "numStateStoreInstances": 10, "customMetrics": {"b": -1, "a": 2}},
            {"operatorName": "stateStoreSave", "numRowsTotal": 11, "numRowsUpdated": 12, "allUpdatesTimeMs": 13, "numRowsRemoved": 14, "allRemovalsTimeMs": 15, "commitTimeMs": 16, "memoryUsedBytes": 17, "numRowsDroppedByWatermark": 18, "numShufflePartitions": 19, "numStateStoreInstances": 20, "customMetrics": {}}
        ],
        "sources": [
            {"description": "KafkaV2[Subscribe[orders]]", "startOffset": "{\"orders\":{\"0\":5}}", "endOffset": "{\"orders\":{\"0\":9}}", "latestOffset": "{\"orders\":{\"0\":12}}", "numInputRows": 4, "inputRowsPerSecond": 3.4430815579944047, "processedRowsPerSecond": 12.393493415956623, "metrics": {"maxOffsetsBehindLatest": "3", "avgOffsetsBehindLatest": "1.5"}},
            {"description": "RateStreamV2", "startOffset": null, "endOffset": "4", "latestOffset": null, "numInputRows": 16, "inputRowsPerSecond": 0.1, "processedRowsPerSecond": 0.2, "metrics": {}}
        ],
        "sink": {"description": "DeltaSink", "numOutputRows": 20, "metrics": {"files": "2"}},
        "observedMetrics": {"seen": {"values": [1, 2.5, "x"], "schema": {"type": "struct"}}}
    });
    let mut lines = vec![
        json!({"Event": "SparkListenerLogStart", "Spark Version": "4.1.0"}),
        json!({"Event": "SparkListenerApplicationStart", "App Name": "a", "App ID": "local-streaming", "Timestamp": 1, "User": "u"}),
        json!({"Event": format!("{listener}StartedEvent"), "id": progress["id"], "runId": progress["runId"], "name": progress["name"], "timestamp": "2026-11-21T09:57:06.086Z", "jobTags": ["z", "a"]}),
    ];
    let event =
        |progress: &Value| json!({"Event": format!("{listener}ProgressEvent"), "progress": progress, "unheard of": 1});
    lines.push(event(&progress));
    // A trigger without data: the batch again, 0/0 rows a second.
    progress["timestamp"] = json!("2026-11-21T09:57:20.000Z");
    progress["durationMs"] = json!({"triggerExecution": 1, "latestOffset": 1});
    progress["eventTime"] = json!({"watermark": "1970-01-01T00:00:00.000Z"});
    progress["observedMetrics"] = json!({});
    progress["sources"][0]["inputRowsPerSecond"] = json!("NaN");
    progress["sources"][1]["processedRowsPerSecond"] = json!("Infinity");
    progress["sink"]["numOutputRows"] = json!(-1);
    lines.push(event(&progress));
    lines.push(json!({"Event": format!("{listener}IdleEvent"), "id": progress["id"], "runId": progress["runId"], "timestamp": "2026-11-21T09:57:30.001Z"}));
    lines.push(json!({"Event": format!("{listener}TerminatedEvent"), "id": progress["id"], "runId": progress["runId"], "exception": "boom", "errorClassOnException": "STREAM_FAILED"}));
    // Spark 2.4, and a run whose start is not in the log.
    let old = "b5b1ce79-7d9d-4ea0-900d-ec028402feca";
    lines.push(json!({"Event": format!("{listener}StartedEvent"), "id": progress["id"], "runId": old, "name": null}));
    lines.push(event(&json!({
        "id": progress["id"], "runId": old, "name": null, "timestamp": "2018-11-21T09:57:20.000Z", "batchId": 0,
        "durationMs": {"addBatch": 6, "getEndOffset": 1, "setOffsetRange": 2}, "eventTime": {},
        "stateOperators": [{"numRowsTotal": 1, "numRowsUpdated": 2, "memoryUsedBytes": 7, "customMetrics": {}}],
        "sources": [{"description": "s", "startOffset": null, "endOffset": "1", "numInputRows": 3, "inputRowsPerSecond": 1.5, "processedRowsPerSecond": 2.5}],
        "sink": {"description": "ForeachBatchSink"}
    })));
    lines.push(
        json!({"Event": format!("{listener}TerminatedEvent"), "id": progress["id"], "runId": old, "exception": null}),
    );
    let mut lost = progress.clone();
    lost["runId"] = json!("c0b4ce79-7d9d-4ea0-900d-ec028402feca");
    lines.push(event(&lost));
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(logs.path().join("local-streaming"), text).expect("room");
    let seen = hold_against(logs.path());
    assert_eq!((seen.queries, seen.batches, seen.failed), (3, 4, 1), "{seen:?}");
}

#[derive(Debug, Default)]
struct Seen {
    applications: usize,
    queries: usize,
    failed: usize,
    batches: usize,
    values: usize,
}

/// Application, its attempt, run.
type RunKey = (String, String, String);

/// The events of one run, in the order of the log.
#[derive(Debug, Default)]
struct Run {
    started: Option<Object>,
    terminated: Option<Object>,
    idle: Vec<Object>,
    progress: Vec<Object>,
}

fn hold_against(logs: &Path) -> Seen {
    let runs = runs(logs);
    let mut seen = Seen {
        applications: runs.keys().map(|(app, ..)| app).collect::<BTreeSet<_>>().len(),
        ..Seen::default()
    };
    let mut queries = rows(
        logs,
        "select * from streaming_queries order by app_id, attempt_id, run_id",
    );
    let sql = "select * from streaming_batches order by app_id, attempt_id, run_id, batch_time, batch_id";
    let mut batches = rows(logs, sql);
    for (key, mut run) in runs {
        let mut mine = batches.remove(&key).unwrap_or_default();
        // Progress that Spark tells apart, in the order of its pages.
        let instants: BTreeMap<(String, i64), Object> = run
            .progress
            .into_iter()
            .map(|one| {
                (
                    (text(&one["timestamp"]), one["batchId"].as_i64().expect("a batch")),
                    one,
                )
            })
            .collect();
        run.progress = instants.into_values().collect();
        assert_eq!(mine.len(), run.progress.len(), "{key:?}");
        let mut query = queries.remove(&key).expect("a row for each run");
        assert_eq!(query.len(), 1, "{key:?}");
        hold_query(&key, query.remove(0), &run, &mut seen);
        for (row, progress) in mine.drain(..).zip(run.progress) {
            hold_batch(&key, row, progress, &mut seen);
        }
    }
    assert!(queries.is_empty() && batches.is_empty(), "{queries:?} {batches:?}");
    support::say(&format!("streaming, {}: {seen:?}", logs.display()));
    seen
}

/// Events by run, from the raw lines.
fn runs(logs: &Path) -> BTreeMap<RunKey, Run> {
    let sql = "select app_id, attempt_id, event, json from events where event like '%StreamingQueryListener$Query%' \
               order by app_id, attempt_id, line_number";
    let mut runs: BTreeMap<RunKey, Run> = BTreeMap::new();
    for line in support::query(logs, sql) {
        let mut event: Object = serde_json::from_str(support::text(&line, "json")).expect("an event");
        let kind = text(&event.remove("Event").expect("a name"));
        event.remove("unheard of");
        if kind.ends_with("QueryProgressEvent") {
            event = object(event.remove("progress").expect("progress"));
        }
        let app = (text(&line["app_id"]), text(&line["attempt_id"]));
        let run = runs.entry((app.0, app.1, text(&event["runId"]))).or_default();
        match kind.rsplit('$').next() {
            Some("QueryStartedEvent") => run.started = Some(event),
            Some("QueryProgressEvent") => run.progress.push(event),
            Some("QueryIdleEvent") => run.idle.push(event),
            Some("QueryTerminatedEvent") => run.terminated = Some(event),
            _ => panic!("{kind} is not compared"),
        }
    }
    runs
}

fn rows(logs: &Path, sql: &str) -> BTreeMap<RunKey, Vec<Object>> {
    let mut rows: BTreeMap<RunKey, Vec<Object>> = BTreeMap::new();
    for mut row in support::query(logs, sql) {
        let mut key = |name: &str| text(&row.remove(name).expect("a key"));
        rows.entry((key("app_id"), key("attempt_id"), key("run_id")))
            .or_default()
            .push(row);
    }
    rows
}

fn hold_query(key: &RunKey, row: Object, run: &Run, seen: &mut Seen) {
    seen.queries += 1;
    let first = run
        .started
        .as_ref()
        .or(run.progress.first())
        .or(run.terminated.as_ref());
    let first = first.expect("a run has an event");
    let field = |event: &Option<Object>, name: &str| {
        event
            .as_ref()
            .and_then(|event| event.get(name).cloned())
            .unwrap_or_default()
    };
    let latest = run.progress.last();
    let latest_time = latest.map_or(Value::Null, |progress| progress["timestamp"].clone());
    let start = field(&run.started, "timestamp");
    let exception = field(&run.terminated, "exception");
    let ended = run.terminated.is_some();
    let status = match (ended, exception.is_null()) {
        (false, _) => "RUNNING",
        (true, true) => "FINISHED",
        (true, false) => "FAILED",
    };
    seen.failed += usize::from(status == "FAILED");
    let end = if ended { latest_time.clone() } else { Value::Null };
    let duration = (!end.is_null() && !start.is_null()).then(|| millis(&end) - millis(&start));
    let ids: BTreeSet<i64> = run
        .progress
        .iter()
        .map(|progress| progress["batchId"].as_i64().expect("a batch"))
        .collect();
    let average = |name: &str| {
        let rates = run.progress.iter().map(|progress| sum_of_rates(progress, name));
        let valid = rates.map(|rate| if rate.is_finite() { rate } else { 0.0 });
        let count = u32::try_from(run.progress.len()).expect("few");
        (count > 0).then(|| valid.sum::<f64>() / f64::from(count))
    };
    let idle = run.idle.iter().map(|idle| idle["timestamp"].clone());
    let mut tags = field(&run.started, "jobTags");
    if let Some(tags) = tags.as_array_mut() {
        tags.sort_by_key(ToString::to_string);
    }
    let expected = json!({
        "query_id": first["id"],
        "name": first.get("name"),
        "status": status,
        "is_active": !ended,
        "start_time": start,
        "end_time": end,
        "duration_ms": duration,
        "exception": exception,
        "error_class": field(&run.terminated, "errorClassOnException"),
        "num_batches": ids.len(),
        "num_progress_updates": run.progress.len(),
        "latest_batch_id": latest.map(|progress| progress["batchId"].clone()),
        "num_input_rows": run.progress.iter().map(input_rows).sum::<i64>(),
        "input_rows_per_second": average("inputRowsPerSecond"),
        "processed_rows_per_second": average("processedRowsPerSecond"),
        "latest_progress_time": latest_time,
        "latest_idle_time": idle.max_by_key(text),
        "job_tags": tags,
    });
    same(&format!("{key:?}"), Value::Object(row), expected, seen);
}

fn hold_batch(key: &RunKey, row: Object, mut progress: Object, seen: &mut Seen) {
    seen.batches += 1;
    let (input_rate, processed_rate) = (
        sum_of_rates(&progress, "inputRowsPerSecond"),
        sum_of_rates(&progress, "processedRowsPerSecond"),
    );
    let num_input_rows = input_rows(&progress);
    // What was taken is gone: in the end nothing may be left.
    let mut take = |name: &str| progress.remove(name).unwrap_or_default();
    assert_eq!(take("runId"), key.2);
    let durations = take("durationMs");
    let mut event_time = object(take("eventTime"));
    let mut sink = object(take("sink"));
    let output_rows = sink
        .remove("numOutputRows")
        .filter(|rows| *rows != json!(-1))
        .unwrap_or_default();
    let state_operators = structs(take("stateOperators"), &STATE_OPERATOR);
    let sources = structs(take("sources"), &SOURCE);
    let observed = take("observedMetrics");
    let expected = json!({
        "query_id": take("id"),
        "name": take("name"),
        "batch_id": take("batchId"),
        "batch_time": take("timestamp"),
        "batch_duration_ms": take("batchDuration"),
        "num_input_rows": num_input_rows,
        "input_rows_per_second": input_rate,
        "processed_rows_per_second": processed_rate,
        "trigger_execution_ms": durations["triggerExecution"],
        "latest_offset_ms": durations["latestOffset"],
        "wal_commit_ms": durations["walCommit"],
        "get_batch_ms": durations["getBatch"],
        "query_planning_ms": durations["queryPlanning"],
        "add_batch_ms": durations["addBatch"],
        "commit_offsets_ms": durations["commitOffsets"],
        "durations_ms": durations,
        "min_event_time": event_time.remove("min"),
        "max_event_time": event_time.remove("max"),
        "avg_event_time": event_time.remove("avg"),
        "watermark_time": event_time.remove("watermark"),
        "state_operators": state_operators,
        "sources": sources,
        "sink_description": sink.remove("description"),
        "sink_num_output_rows": output_rows,
        "sink_metrics": sink.remove("metrics"),
        "observed_metrics": if observed.is_null() { Value::Null } else { json!(observed.to_string()) },
    });
    for left in [&progress, &event_time, &sink] {
        assert!(left.is_empty(), "{key:?}: {left:?} of the event is in no column");
    }
    same(&format!("{key:?}"), Value::Object(row), expected, seen);
}

const STATE_OPERATOR: [&str; 12] = [
    "operatorName",
    "numRowsTotal",
    "numRowsUpdated",
    "allUpdatesTimeMs",
    "numRowsRemoved",
    "allRemovalsTimeMs",
    "commitTimeMs",
    "memoryUsedBytes",
    "numRowsDroppedByWatermark",
    "numShufflePartitions",
    "numStateStoreInstances",
    "customMetrics",
];

const SOURCE: [&str; 8] = [
    "description",
    "startOffset",
    "endOffset",
    "latestOffset",
    "numInputRows",
    "inputRowsPerSecond",
    "processedRowsPerSecond",
    "metrics",
];

/// A list of structures with their fields in snake_case; those that an old version lacks are null.
fn structs(list: Value, fields: &[&str]) -> Value {
    let Value::Array(items) = list else { return list };
    let renamed = items.into_iter().map(|item| {
        let mut item = object(item);
        let mut renamed = Object::new();
        for field in fields {
            let value = item.remove(*field).unwrap_or_default();
            let is_rate = field.ends_with("PerSecond");
            renamed.insert(snake(field), if is_rate { json!(rate(&value)) } else { value });
        }
        assert!(item.is_empty(), "{item:?} of the event is in no field");
        Value::Object(renamed)
    });
    renamed.collect()
}

fn snake(name: &str) -> String {
    let letters = name.chars().flat_map(|letter| {
        let prefix = letter.is_ascii_uppercase().then_some('_');
        prefix.into_iter().chain([letter.to_ascii_lowercase()])
    });
    letters.collect()
}

/// Not a number is what JSON has no number for; null in a row.
fn rate(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// Spark's sum over the sources.
fn sum_of_rates(progress: &Object, name: &str) -> f64 {
    let sources = progress["sources"].as_array().expect("sources");
    sources.iter().fold(0.0, |sum, source| sum + rate(&source[name]))
}

fn input_rows(progress: &Object) -> i64 {
    let sources = progress["sources"].as_array().expect("sources");
    sources
        .iter()
        .map(|source| source["numInputRows"].as_i64().expect("rows"))
        .sum()
}

/// Equal in structure and value, down to the last digit but one of a fraction: `serde_json` may read that wrongly.
fn same(at: &str, got: Value, expected: Value, seen: &mut Seen) {
    match (got, expected) {
        (Value::Object(mut got), Value::Object(expected)) => {
            for (name, expected) in expected {
                let got = got.remove(&name).unwrap_or_else(|| panic!("{at}: no {name}"));
                same(&format!("{at} {name}"), got, expected, seen);
            }
            assert!(got.is_empty(), "{at}: nothing is known of {got:?}");
        }
        (Value::Array(got), Value::Array(expected)) => {
            assert_eq!(got.len(), expected.len(), "{at}");
            for (got, expected) in got.into_iter().zip(expected) {
                same(at, got, expected, seen);
            }
        }
        (Value::Number(got), Value::Number(expected)) if expected.is_f64() => {
            let (got, expected) = (got.as_f64().expect("a number"), expected.as_f64().expect("a number"));
            assert!(
                (got - expected).abs() <= expected.abs() * 1e-15,
                "{at}: {got} is not {expected}"
            );
            seen.values += 1;
        }
        (got, expected) => {
            assert_eq!(got, expected, "{at}");
            seen.values += 1;
        }
    }
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        Value::Null => Object::new(),
        other => panic!("no object: {other}"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn millis(instant: &Value) -> i64 {
    let time = chrono::DateTime::parse_from_rfc3339(instant.as_str().expect("an instant"));
    time.expect("an instant").timestamp_millis()
}
