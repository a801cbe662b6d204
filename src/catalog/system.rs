//! The schema `system`: the gateway's own state as tables.
//!
//! A table is a [`SystemTable`]: its definition and its rows. Adding one is an implementation and a line in [`tables`].

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::catalog::TableProvider;
use datafusion::error::Result;

use super::Setting;
use super::fixed::FixedTable;
use crate::history::Snapshot;
use crate::table::{Column, TableDef, Type};

/// One table of `system`.
pub(crate) trait SystemTable: Debug + Send + Sync {
    fn def(&self) -> &'static TableDef;
    /// The rows as of a snapshot, in the columns of [`Self::def`].
    fn rows(&self, snapshot: &Snapshot) -> Result<RecordBatch>;
}

/// All of them.
pub(crate) fn tables(settings: Vec<Setting>) -> Vec<Arc<dyn SystemTable>> {
    vec![Arc::new(EventLogs), Arc::new(Settings(settings))]
}

/// The adapter: a system table with the rows of a snapshot.
pub(crate) fn provider(table: &dyn SystemTable, snapshot: &Snapshot) -> Result<Arc<dyn TableProvider>> {
    Ok(FixedTable::table(table.rows(snapshot)?))
}

pub static EVENT_LOGS: TableDef = TableDef {
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
            "complete, in progress (no end seen), damaged (served with what could be read), not listed, or failed (tried again)",
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

    fn rows(&self, snapshot: &Snapshot) -> Result<RecordBatch> {
        let logs = &snapshot.event_logs;
        let micros = |ms: Option<i64>| ms.and_then(|ms| ms.checked_mul(1000));
        let text = |value: fn(&crate::history::LogEntry) -> Option<&str>| -> ArrayRef {
            Arc::new(logs.iter().map(value).collect::<StringArray>())
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

pub static SETTINGS: TableDef = TableDef {
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
            "default, file, spark property, environment or flag",
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

    fn rows(&self, _snapshot: &Snapshot) -> Result<RecordBatch> {
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
