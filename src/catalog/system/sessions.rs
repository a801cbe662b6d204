//! `system.sessions`: who is connected.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::Result;

use super::SystemTable;
use super::queries::may_read;
use crate::catalog::SessionVars;
use crate::catalog::activity::Activity;
use crate::history::Snapshot;
use crate::table::{Column, Rows, TableDef, Type, Value};

pub(super) static SESSIONS: TableDef = TableDef {
    schema: "system",
    name: "sessions",
    grain: "one row per session of a client",
    sort_order: &["pid"],
    columns: &[
        Column::new(
            "pid",
            Type::Int32,
            "",
            "counter",
            "number of the session; pg_cancel_backend and pg_terminate_backend take it",
        ),
        Column::new("door", Type::Text, "", "listener", "pg or flight"),
        Column::new("user_name", Type::Text, "", "log-in", "who logged in"),
        Column::new(
            "is_admin",
            Type::Bool,
            "",
            "log-in",
            "whether the user has the role admin",
        ),
        Column::null(
            "client_address",
            Type::Text,
            "",
            "connection",
            "where the client is; null for the sessions of others, unless one has the role admin",
        ),
        Column::new("is_encrypted", Type::Bool, "", "connection", "whether it uses TLS"),
        Column::new(
            "application_name",
            Type::Text,
            "",
            "client",
            "what the client calls itself",
        ),
        Column::new("connect_time", Type::Timestamp, "", "clock", "when it logged in"),
        Column::new(
            "state",
            Type::Text,
            "",
            "session",
            "idle, active, idle in transaction or idle in transaction (aborted)",
        ),
        Column::new("state_time", Type::Timestamp, "", "clock", "since when"),
        Column::new("statements", Type::Int64, "", "session", "statements that it has run"),
        Column::null(
            "query_id",
            Type::Int64,
            "",
            "session",
            "its last statement, as in system.queries",
        ),
    ],
};

#[derive(Debug)]
pub(super) struct Sessions(pub(super) Arc<Activity>);

impl SystemTable for Sessions {
    fn def(&self) -> &'static TableDef {
        &SESSIONS
    }

    fn rows(&self, _snapshot: &Snapshot, vars: &SessionVars) -> Result<RecordBatch> {
        let mut rows = Rows::new(&SESSIONS, 16);
        for session in self.0.sessions() {
            let client = &session.client;
            let address = client.address.filter(|_| may_read(vars, &client.user));
            rows.push(session.pid)
                .push(client.door.as_str())
                .push(client.user.as_str())
                .push(client.is_admin)
                .push(address.map(|address| address.to_string()).as_deref())
                .push(client.is_encrypted)
                .push(session.application_name.as_str())
                .push(Value::Millis(session.connected / 1000))
                .push(session.state.as_str())
                .push(Value::Millis(session.state_since / 1000))
                .push(session.statements)
                .push(session.query.map(|query| i64::try_from(query.id).unwrap_or(i64::MAX)));
            rows.end_row();
        }
        Ok(rows.finish())
    }
}
