//! The schema `system`: the gateway's own state as tables.
//!
//! A table is a [`SystemTable`]: its definition and its rows. Adding one is an implementation and a line in [`tables`].

mod queries;
mod sessions;
mod sources;

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::catalog::TableProvider;
use datafusion::error::Result;

use queries::QUERIES;
use sessions::SESSIONS;
use sources::SOURCES;

use super::activity::Activity;
use super::fixed::FixedTable;
use super::{SessionVars, Setting};
use crate::cache::KeyValue;
use crate::event_log::store::Requests;
use crate::history::Snapshot;
use crate::table::{Column, Rows, TableDef, Type, Value};

/// One table of `system`.
pub(crate) trait SystemTable: Debug + Send + Sync {
    fn def(&self) -> &'static TableDef;
    /// The rows as of a snapshot, in the columns of [`Self::def`], as the one may see them who asks.
    fn rows(&self, snapshot: &Snapshot, vars: &SessionVars) -> Result<RecordBatch>;
}

/// All of them, as they are described.
pub static SYSTEM_TABLES: &[&TableDef] = &[&EVENT_LOGS, &QUERIES, &SCANS, &SEGMENTS, &SESSIONS, &SETTINGS, &SOURCES];

/// All of them, in the same order.
pub(crate) fn tables(settings: Vec<Setting>, activity: &Arc<Activity>) -> Vec<Arc<dyn SystemTable>> {
    vec![
        Arc::new(EventLogs),
        Arc::new(queries::Queries(Arc::clone(activity))),
        Arc::new(Scans),
        Arc::new(Segments),
        Arc::new(sessions::Sessions(Arc::clone(activity))),
        Arc::new(Settings(settings)),
        Arc::new(sources::Sources),
    ]
}

/// The adapter: a system table with the rows of a snapshot.
pub(crate) fn provider(
    table: &dyn SystemTable,
    snapshot: &Snapshot,
    vars: &SessionVars,
) -> Result<Arc<dyn TableProvider>> {
    Ok(FixedTable::table(table.rows(snapshot, vars)?))
}

static EVENT_LOGS: TableDef = TableDef {
    schema: "system",
    name: "event_logs",
    grain: "one row per file or directory seen in the sources, listed as an application or not",
    sort_order: &["source", "path"],
    columns: &[
        Column::new(
            "source",
            Type::Text,
            "",
            "command line or configuration",
            "the source it was found in, as it was given",
        ),
        Column::new("path", Type::Text, "", "listing", "path of the file or directory"),
        Column::null(
            "format",
            Type::Text,
            "",
            "name",
            "single or rolling; null for what is no event log",
        ),
        Column::null(
            "codec",
            Type::Text,
            "",
            "name",
            "none, zstd, lz4, snappy or lzf; null for what is no event log",
        ),
        Column::new(
            "size_bytes",
            Type::Int64,
            "",
            "listing",
            "size as stored, of all files that are read",
        ),
        Column::null(
            "modified_time",
            Type::Timestamp,
            "",
            "listing",
            "when it was last written; null where storage does not say",
        ),
        Column::null(
            "app_id",
            Type::Text,
            "",
            "name, then SparkListenerApplicationStart",
            "the application; null while unknown",
        ),
        Column::null(
            "attempt_id",
            Type::Text,
            "",
            "name, then SparkListenerApplicationStart",
            "the attempt; '' where Spark has none",
        ),
        Column::new(
            "status",
            Type::Text,
            "",
            "reading",
            "complete, in progress (no end seen), damaged (served with what could be read), evicted (read again when a statement names its application), not listed, or failed (tried again)",
        ),
        Column::new("lines", Type::Int64, "", "reading", "lines read"),
        Column::new("events", Type::Int64, "", "reading", "events understood"),
        Column::new(
            "unknown_events",
            Type::Int64,
            "",
            "reading",
            "lines with an event this version does not know",
        ),
        Column::new(
            "malformed_lines",
            Type::Int64,
            "",
            "reading",
            "lines that could not be read",
        ),
        Column::null(
            "error",
            Type::Text,
            "",
            "reading",
            "why it is not listed, or the first problem with line and event",
        ),
        Column::null(
            "read_time",
            Type::Timestamp,
            "",
            "clock",
            "when it was last read to its end; null if never",
        ),
    ],
};

#[derive(Debug)]
struct EventLogs;

impl SystemTable for EventLogs {
    fn def(&self) -> &'static TableDef {
        &EVENT_LOGS
    }

    fn rows(&self, snapshot: &Snapshot, _vars: &SessionVars) -> Result<RecordBatch> {
        let logs = &snapshot.event_logs;
        let micros = |ms: Option<i64>| ms.and_then(|ms| ms.checked_mul(1000));
        let text = |value: fn(&crate::history::LogEntry) -> Option<&str>| -> ArrayRef {
            Arc::new(logs.iter().map(|log| value(log)).collect::<StringArray>())
        };
        let number = |value: fn(&crate::history::LogEntry) -> i64| -> ArrayRef {
            Arc::new(logs.iter().map(|log| Some(value(log))).collect::<Int64Array>())
        };
        let time = |value: fn(&crate::history::LogEntry) -> Option<i64>| -> ArrayRef {
            let times: TimestampMicrosecondArray = logs.iter().map(|log| micros(value(log))).collect();
            Arc::new(times.with_timezone("UTC"))
        };
        let columns = vec![
            text(|log| Some(&log.source)),
            text(|log| Some(&log.path)),
            text(|log| log.format),
            text(|log| log.codec),
            number(|log| log.size_bytes),
            time(|log| log.modified_ms),
            text(|log| log.app_id.as_deref()),
            text(|log| log.attempt_id.as_deref()),
            text(|log| Some(log.status.as_str())),
            number(|log| log.lines),
            number(|log| log.events),
            number(|log| log.unknown_events),
            number(|log| log.malformed_lines),
            text(|log| log.error.as_deref()),
            time(|log| log.read_ms),
        ];
        Ok(RecordBatch::try_new(EVENT_LOGS.arrow_schema(), columns)?)
    }
}

const SOURCE_REQUESTS: Type = Type::Struct(&[
    ("source", Type::Text),
    ("list_requests", Type::Int64),
    ("head_requests", Type::Int64),
    ("get_requests", Type::Int64),
    ("fetched_bytes", Type::Int64),
]);

static SCANS: TableDef = TableDef {
    schema: "system",
    name: "scans",
    grain: "one row per scan of the sources, of the last thousand",
    sort_order: &["start_time"],
    columns: &[
        Column::new("start_time", Type::Timestamp, "", "clock", "when the scan began"),
        Column::new(
            "duration_ms",
            Type::Int64,
            "",
            "clock",
            "from its begin until everything was read",
        ),
        Column::new("logs", Type::Int64, "", "listing", "files and directories seen"),
        Column::new(
            "new_logs",
            Type::Int64,
            "",
            "listing",
            "logs that were read for the first time",
        ),
        Column::new(
            "grown_logs",
            Type::Int64,
            "",
            "listing",
            "logs that had changed since they were read",
        ),
        Column::new(
            "removed_logs",
            Type::Int64,
            "",
            "listing",
            "logs that were deleted since the last scan",
        ),
        Column::new(
            "restored_logs",
            Type::Int64,
            "",
            "column cache",
            "logs whose rows were found in the column cache, so that they were not read",
        ),
        Column::new(
            "failed_logs",
            Type::Int64,
            "",
            "reading",
            "logs that could not be read to their end",
        ),
        Column::new("read_bytes", Type::Int64, "", "reading", "stored bytes that were new"),
        Column::new(
            "commits",
            Type::Int64,
            "",
            "column cache",
            "commits to the column cache",
        ),
        Column::null(
            "error",
            Type::Text,
            "",
            "listing",
            "sources that could not be listed, with the reason",
        ),
        Column::new(
            "list_requests",
            Type::Int64,
            "",
            "store",
            "pages of listings that stores were asked for over a network since the scan before; those sent again count again",
        ),
        Column::new(
            "head_requests",
            Type::Int64,
            "",
            "store",
            "questions about one file, in the same way",
        ),
        Column::new("get_requests", Type::Int64, "", "store", "reads, in the same way"),
        Column::new("fetched_bytes", Type::Int64, "", "store", "bytes that these reads gave"),
        Column::new(
            "source_requests",
            Type::List(&SOURCE_REQUESTS),
            "",
            "store",
            "the same numbers for each source that is reached over a network",
        ),
    ],
};

#[derive(Debug)]
struct Scans;

impl SystemTable for Scans {
    fn def(&self) -> &'static TableDef {
        &SCANS
    }

    fn rows(&self, snapshot: &Snapshot, _vars: &SessionVars) -> Result<RecordBatch> {
        let mut rows = Rows::new(&SCANS, 16);
        for scan in snapshot.scans.scans() {
            let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            rows.push(Value::Millis(scan.start_ms))
                .push(i64::try_from(scan.elapsed.as_millis()).unwrap_or(i64::MAX))
                .push(count(scan.logs))
                .push(count(scan.new))
                .push(count(scan.grown))
                .push(count(scan.removed))
                .push(count(scan.restored))
                .push(count(scan.failed))
                .push(i64::try_from(scan.bytes).unwrap_or(i64::MAX))
                .push(count(scan.commits));
            let error = scan.unreachable.join("; ");
            rows.push((!error.is_empty()).then_some(error.as_str()));
            let numbers = |requests: &Requests| {
                [requests.list, requests.head, requests.get, requests.read_bytes]
                    .map(|number| i64::try_from(number).unwrap_or(i64::MAX))
            };
            let mut sums = [0_i64; 4];
            for (_, requests) in &scan.requests {
                for (sum, number) in sums.iter_mut().zip(numbers(requests)) {
                    *sum = sum.saturating_add(number);
                }
            }
            for sum in sums {
                rows.push(sum);
            }
            let of_source = |(source, requests): &(Arc<str>, Requests)| {
                let numbers = numbers(requests).map(Value::Int);
                (Arc::clone(source), numbers)
            };
            let of_sources: Vec<_> = scan.requests.iter().map(of_source).collect();
            let structs = of_sources.iter().map(|(source, numbers)| {
                let name = std::iter::once(Value::Text(source));
                Value::Struct(name.chain(numbers.iter().cloned()).collect())
            });
            rows.push(Value::List(structs.collect()));
            rows.end_row();
        }
        Ok(rows.finish())
    }
}

static SEGMENTS: TableDef = TableDef {
    schema: "system",
    name: "segments",
    grain: "one row per file of the column cache",
    sort_order: &["table_name", "path"],
    columns: &[
        Column::new(
            "table_name",
            Type::Text,
            "",
            "manifest",
            "the table that its rows belong to",
        ),
        Column::new(
            "path",
            Type::Text,
            "",
            "manifest",
            "path of the Parquet file below the cache's own",
        ),
        Column::new(
            "level",
            Type::Int32,
            "",
            "manifest",
            "0 as committed, 1 and 2 merged from those of the level below",
        ),
        Column::new("size_bytes", Type::Int64, "", "manifest", "size of the file"),
        Column::new("rows", Type::Int64, "", "manifest", "rows, dead ones included"),
        Column::new(
            "dead_rows",
            Type::Int64,
            "",
            "manifest",
            "rows of attempts that were replaced or dropped; no statement sees them, and merging leaves them out",
        ),
        Column::new(
            "attempts",
            Type::Int64,
            "",
            "manifest",
            "application attempts that have rows in it",
        ),
        Column::null("first_app_id", Type::Text, "", "manifest", "least application id"),
        Column::null("last_app_id", Type::Text, "", "manifest", "greatest application id"),
    ],
};

#[derive(Debug)]
struct Segments;

impl SystemTable for Segments {
    fn def(&self) -> &'static TableDef {
        &SEGMENTS
    }

    fn rows(&self, snapshot: &Snapshot, _vars: &SessionVars) -> Result<RecordBatch> {
        let mut rows = Rows::new(&SEGMENTS, 16);
        let cache = snapshot.cache.as_ref().map(|cache| cache.snapshot());
        let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for segment in cache.into_iter().flat_map(|cache| cache.all_segments()) {
            let dead = cache.and_then(|cache| cache.dead_in(segment));
            let of = |ord| segment.rows_of(ord).map_or(0, |rows| rows.end - rows.start);
            let dead_rows: u64 = dead.into_iter().flatten().map(|ord| of(*ord)).sum();
            let app_ids = segment.keys.iter().find(|key| key.column == "app_id");
            rows.push(segment.table.as_str())
                .push(segment.path.as_str())
                .push(i64::from(segment.level))
                .push(long(segment.bytes))
                .push(long(segment.rows))
                .push(long(dead_rows))
                .push(i64::try_from(segment.attempts.len()).unwrap_or(i64::MAX));
            for bound in [app_ids.map(|key| &key.min), app_ids.map(|key| &key.max)] {
                rows.push(match bound {
                    Some(KeyValue::Text(app_id)) => Some(app_id.as_str()),
                    _ => None,
                });
            }
            rows.end_row();
        }
        Ok(rows.finish())
    }
}

static SETTINGS: TableDef = TableDef {
    schema: "system",
    name: "settings",
    grain: "one row per setting of the gateway",
    sort_order: &["name"],
    columns: &[
        Column::new("name", Type::Text, "", "configuration", "key as in sparkgate.toml"),
        Column::new(
            "value",
            Type::Text,
            "",
            "configuration",
            "value in use; secrets are redacted",
        ),
        Column::new(
            "source",
            Type::Text,
            "",
            "configuration",
            "default, Spark property, file, environment or flag",
        ),
        Column::new("description", Type::Text, "", "configuration", "what it does"),
    ],
};

#[derive(Debug)]
struct Settings(Vec<Setting>);

impl SystemTable for Settings {
    fn def(&self) -> &'static TableDef {
        &SETTINGS
    }

    fn rows(&self, _snapshot: &Snapshot, _vars: &SessionVars) -> Result<RecordBatch> {
        let text = |value: fn(&Setting) -> &str| -> ArrayRef {
            Arc::new(
                self.0
                    .iter()
                    .map(|setting| Some(value(setting)))
                    .collect::<StringArray>(),
            )
        };
        let columns = vec![
            text(|s| &s.name),
            text(|s| &s.value),
            text(|s| &s.source),
            text(|s| &s.description),
        ];
        Ok(RecordBatch::try_new(SETTINGS.arrow_schema(), columns)?)
    }
}
