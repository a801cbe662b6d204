//! `system.queries`: statements that run, and those that ended lately.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::Result;

use super::SystemTable;
use crate::catalog::SessionVars;
use crate::catalog::activity::{Activity, Query};
use crate::history::Snapshot;
use crate::table::{Column, Rows, TableDef, Type, Value};

pub(super) static QUERIES: TableDef = TableDef {
    schema: "system",
    name: "queries",
    grain: "one row per statement that runs, and of those that ended the last thousand of clients and the last thousand of the REST API",
    sort_order: &["query_id"],
    columns: &[
        Column::new(
            "query_id",
            Type::Int64,
            "",
            "counter",
            "number of the statement since the gateway started",
        ),
        Column::new(
            "pid",
            Type::Int32,
            "",
            "session",
            "the session it belongs to, as in system.sessions; 0 where there is none",
        ),
        Column::new("door", Type::Text, "", "session", "pg, flight, http or command line"),
        Column::new("user_name", Type::Text, "", "session", "who asked"),
        Column::new(
            "application_name",
            Type::Text,
            "",
            "session",
            "what the client calls itself",
        ),
        Column::new(
            "state",
            Type::Text,
            "",
            "execution",
            "planning, waiting for logs, queued, running, sending (its rows wait for the client), finished, failed or cancelled",
        ),
        Column::null(
            "sql",
            Type::Text,
            "",
            "client",
            "its text, at most 4096 bytes; null for the statements of others, unless one has the role admin",
        ),
        Column::new("start_time", Type::Timestamp, "", "clock", "when it came in"),
        Column::null(
            "run_time",
            Type::Timestamp,
            "",
            "clock",
            "when it was planned and had a place to run in",
        ),
        Column::null("end_time", Type::Timestamp, "", "clock", "when it ended"),
        Column::new("duration_ms", Type::Int64, "", "clock", "until its end, or now"),
        Column::new("rows", Type::Int64, "", "execution", "rows it has given"),
        Column::new(
            "result_bytes",
            Type::Int64,
            "",
            "execution",
            "size of these rows in memory",
        ),
        Column::new(
            "memory_bytes",
            Type::Int64,
            "",
            "execution",
            "memory its operators hold now",
        ),
        Column::new(
            "peak_memory_bytes",
            Type::Int64,
            "",
            "execution",
            "the most its operators held at once",
        ),
        Column::new(
            "spilled_bytes",
            Type::Int64,
            "",
            "execution",
            "written to disk because memory did not suffice, known at its end",
        ),
        Column::null(
            "sqlstate",
            Type::Text,
            "",
            "execution",
            "PostgreSQL's code of the error it ended with",
        ),
        Column::null(
            "error",
            Type::Text,
            "",
            "execution",
            "that error's message; null as sql is",
        ),
    ],
};

#[derive(Debug)]
pub(super) struct Queries(pub(super) Arc<Activity>);

/// Whether somebody may read what a user sent.
pub(super) fn may_read(vars: &SessionVars, user: &str) -> bool {
    vars.is_admin || vars.user == user
}

impl SystemTable for Queries {
    fn def(&self) -> &'static TableDef {
        &QUERIES
    }

    fn rows(&self, _snapshot: &Snapshot, vars: &SessionVars) -> Result<RecordBatch> {
        let mut rows = Rows::new(&QUERIES, 64);
        let now = chrono::Utc::now().timestamp_micros();
        for query in self.0.queries() {
            push(&mut rows, &query, may_read(vars, &query.user), now);
        }
        Ok(rows.finish())
    }
}

fn push(rows: &mut Rows, query: &Query, is_readable: bool, now: i64) {
    let progress = query.progress();
    let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let bytes = |number: usize| long(number as u64);
    let moment = |micros: Option<i64>| micros.map(|micros| Value::Millis(micros / 1000));
    rows.push(long(query.id))
        .push(query.pid)
        .push(query.door.as_str())
        .push(query.user.as_str())
        .push(query.application_name.as_str())
        .push(progress.state.as_str())
        .push(is_readable.then_some(query.sql.as_str()))
        .push(Value::Millis(query.started / 1000))
        .push(moment(progress.admitted))
        .push(moment(progress.ended))
        .push((progress.ended.unwrap_or(now) - query.started).max(0) / 1000)
        .push(long(progress.rows))
        .push(long(progress.bytes))
        .push(bytes(query.memory.now()))
        .push(bytes(query.memory.peak()))
        .push(long(progress.spilled_bytes));
    let (sqlstate, error) = progress.failure.unzip();
    rows.push(sqlstate);
    rows.push(error.as_deref().filter(|_| is_readable));
    rows.end_row();
}
