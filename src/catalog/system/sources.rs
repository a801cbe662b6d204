//! `system.sources`: whether each source can be reached, and what that cost.

use arrow::array::RecordBatch;
use datafusion::error::Result;

use super::super::SessionVars;
use super::SystemTable;
use crate::history::Snapshot;
use crate::table::{Column, Rows, TableDef, Type, Value};

pub(super) static SOURCES: TableDef = TableDef {
    schema: "system",
    name: "sources",
    grain: "one row per source of event logs, as of now",
    sort_order: &["source"],
    columns: &[
        Column::new(
            "source",
            Type::Text,
            "",
            "command line or configuration",
            "the source, as it was given",
        ),
        Column::new("path", Type::Text, "", "configuration", "where it is in its store"),
        Column::new(
            "state",
            Type::Text,
            "",
            "listing, store",
            "ok, retrying (a request failed and is sent again), unreachable (tried again with every scan), or not listed yet",
        ),
        Column::null(
            "since_time",
            Type::Timestamp,
            "",
            "clock",
            "since when it is so; null while nothing is known",
        ),
        Column::new(
            "stale",
            Type::Bool,
            "",
            "listing, store",
            "it cannot be listed now, so that what is shown of it may be out of date",
        ),
        Column::new(
            "logs",
            Type::Int64,
            "",
            "listing",
            "event logs in it, as of its last listing",
        ),
        Column::null(
            "listed_time",
            Type::Timestamp,
            "",
            "clock",
            "when it was last listed; null if never",
        ),
        Column::null(
            "error",
            Type::Text,
            "",
            "listing, store",
            "the last thing that went wrong, also if all is well by now",
        ),
        Column::null("error_time", Type::Timestamp, "", "clock", "when that was"),
        Column::new(
            "retries",
            Type::Int64,
            "",
            "store",
            "requests that failed and were sent again, since the start",
        ),
        Column::null(
            "list_requests",
            Type::Int64,
            "",
            "store",
            "pages of listings that were asked for since the start; null where no network lies between",
        ),
        Column::null(
            "head_requests",
            Type::Int64,
            "",
            "store",
            "questions about one file, in the same way",
        ),
        Column::null("get_requests", Type::Int64, "", "store", "reads, in the same way"),
        Column::null("fetched_bytes", Type::Int64, "", "store", "bytes that these reads gave"),
    ],
};

#[derive(Debug)]
pub(super) struct Sources;

impl SystemTable for Sources {
    fn def(&self) -> &'static TableDef {
        &SOURCES
    }

    fn rows(&self, snapshot: &Snapshot, _vars: &SessionVars) -> Result<RecordBatch> {
        let mut rows = Rows::new(&SOURCES, 4);
        let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for source in snapshot.sources.states() {
            rows.push(&*source.given)
                .push(source.path.as_str())
                .push(source.state.as_str())
                .push(Value::millis(source.since_ms))
                .push(source.is_stale)
                .push(i64::try_from(source.logs).unwrap_or(i64::MAX))
                .push(Value::millis(source.listed_ms))
                .push(source.error.as_deref())
                .push(Value::millis(source.error_ms))
                .push(long(source.retries));
            let requests = source.requests;
            rows.push(requests.map(|sent| long(sent.list)))
                .push(requests.map(|sent| long(sent.head)))
                .push(requests.map(|sent| long(sent.get)))
                .push(requests.map(|sent| long(sent.read_bytes)));
            rows.end_row();
        }
        Ok(rows.finish())
    }
}
