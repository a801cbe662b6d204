//! Statements over a socket, with their answers as psql prints them.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_postgres::types::Type;
use tokio_postgres::{NoTls, Row, SimpleQueryMessage};

use super::{Finished, Server};

/// Between two looks at something that is to change.
const POLL: Duration = Duration::from_millis(50);

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: tokio_postgres::Client,
}

impl Session {
    pub(crate) async fn open(server: &Server) -> Session {
        Session::connect(server.pg).await
    }

    pub(crate) async fn connect(server: SocketAddr) -> Session {
        Session::connect_as(server, "test").await
    }

    pub(crate) async fn connect_as(server: SocketAddr, user: &str) -> Session {
        let (host, port) = (server.ip(), server.port());
        let config = format!("host={host} port={port} user={user} dbname=spark");
        let (client, connection) = tokio_postgres::connect(&config, NoTls)
            .await
            .expect("the server answers");
        tokio::spawn(connection);
        Session { client }
    }

    /// A line a row, `|` between values, nothing for NULL.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        match self.client.simple_query(sql).await {
            Ok(messages) => messages.iter().filter_map(line).collect(),
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    /// Rows in binary form, as `sparkgate sql --format ndjson` writes them.
    pub(crate) async fn objects(&self, sql: &str) -> Vec<Map<String, Value>> {
        match self.client.query(sql, &[]).await {
            Ok(rows) => rows.iter().map(object).collect(),
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    /// The SQLSTATE a statement fails with, or `success`.
    pub(crate) async fn code(&self, sql: &str) -> String {
        match self.client.simple_query(sql).await {
            Ok(_) => "success".into(),
            Err(error) => code(&error),
        }
    }

    /// Asks until the answer is as expected.
    pub(crate) async fn answers_within(&self, limit: Duration, sql: &str, expected: &[&str]) {
        let started = Instant::now();
        loop {
            let rows = self.rows(sql).await;
            if rows == expected {
                return;
            }
            assert!(
                started.elapsed() < limit,
                "{sql}: not {expected:?} within {limit:?}, but {rows:?}"
            );
            tokio::time::sleep(POLL).await;
        }
    }
}

/// SQLSTATE of an error, `none` if it did not come from the server.
pub(crate) fn code(error: &tokio_postgres::Error) -> String {
    error.code().map_or("none", |code| code.code()).to_owned()
}

fn line(message: &SimpleQueryMessage) -> Option<String> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    let cells: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or_default()).collect();
    Some(cells.join("|"))
}

fn object(row: &Row) -> Map<String, Value> {
    let columns = row.columns().iter().enumerate();
    columns
        .map(|(at, column)| (column.name().to_owned(), value(row, at, column.type_())))
        .collect()
}

fn value(row: &Row, at: usize, ty: &Type) -> Value {
    match *ty {
        Type::BOOL => row.get::<_, Option<bool>>(at).into(),
        Type::INT4 => row.get::<_, Option<i32>>(at).into(),
        Type::INT8 => row.get::<_, Option<i64>>(at).into(),
        Type::FLOAT8 => row.get::<_, Option<f64>>(at).into(),
        Type::TEXT => row.get::<_, Option<String>>(at).into(),
        Type::TIMESTAMPTZ => row.get::<_, Option<DateTime<Utc>>>(at).map(instant).into(),
        Type::INT4_ARRAY => list(row.get::<_, Option<Vec<Option<i32>>>>(at)),
        Type::INT8_ARRAY => list(row.get::<_, Option<Vec<Option<i64>>>>(at)),
        Type::FLOAT8_ARRAY => list(row.get::<_, Option<Vec<Option<f64>>>>(at)),
        Type::TEXT_ARRAY => list(row.get::<_, Option<Vec<Option<String>>>>(at)),
        Type::JSONB => row.get::<_, Option<Value>>(at).unwrap_or_default(),
        ref other => panic!("no table has the type {other}"),
    }
}

fn list<T: Into<Value>>(items: Option<Vec<Option<T>>>) -> Value {
    let item = |item: Option<T>| item.map_or(Value::Null, Into::into);
    items
        .map(|items| items.into_iter().map(item).collect::<Vec<_>>())
        .into()
}

/// Milliseconds, and microseconds where there are some.
pub(crate) fn instant(time: DateTime<Utc>) -> String {
    let is_whole = time.timestamp_subsec_micros().is_multiple_of(1000);
    let format = if is_whole { "%FT%T%.3fZ" } else { "%FT%T%.6fZ" };
    time.format(format).to_string()
}

/// Fails with the first row and field that differ. Whole numbers may be written with a fraction of 0, and the last digit of
/// others does not count: serde_json does not read it exactly.
pub(crate) fn assert_same_rows(table: &str, got: &[Map<String, Value>], expected: &[Map<String, Value>]) {
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let names = |row: &Map<String, Value>| row.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(got), names(expected), "columns of {table}");
        for (name, value) in expected {
            assert_eq!(plain(&got[name]), plain(value), "{table}, row {at}, {name}");
        }
    }
    assert_eq!(got.len(), expected.len(), "rows of {table}");
}

fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, |n| format!("{n:.13e}").into()),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect(),
        other => other.clone(),
    }
}

/// psql on a server, without the user's own settings. It belongs to what tests need: without it they fail.
pub(crate) fn psql_command(server: &Server) -> Command {
    let mut command = Command::new("psql");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command
        .env("PAGER", "cat")
        .env("LC_ALL", "C.UTF-8")
        .args(["--no-psqlrc", "--host", &server.pg.ip().to_string()])
        .args(["--port", &server.pg.port().to_string()])
        .args(["--username", "test", "--dbname", "spark"])
        .stdin(Stdio::null());
    command
}

/// Runs psql to its end.
pub(crate) fn psql(server: &Server, args: &[&str]) -> Finished {
    let output = psql_command(server)
        .args(args)
        .output()
        .expect("psql is installed (package postgresql-client)");
    Finished {
        status: output.status,
        stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// RFC 4180 to cells; an empty cell without quotes is `None`.
pub(crate) fn csv(text: &str) -> Vec<Vec<Option<String>>> {
    let (mut rows, mut row) = (Vec::new(), Vec::new());
    let (mut cell, mut is_quoted) = (String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                is_quoted = true;
                while let Some(c) = chars.next() {
                    match c {
                        '"' if chars.peek() == Some(&'"') => cell.extend(chars.next()),
                        '"' => break,
                        c => cell.push(c),
                    }
                }
            }
            ',' | '\n' => {
                let text = std::mem::take(&mut cell);
                row.push((is_quoted || !text.is_empty()).then_some(text));
                is_quoted = false;
                if c == '\n' {
                    rows.push(std::mem::take(&mut row));
                }
            }
            c => cell.push(c),
        }
    }
    assert!(row.is_empty() && cell.is_empty(), "the last line has no end");
    rows
}

#[test]
fn csv_tells_null_from_empty_and_keeps_what_is_quoted() {
    let cell = |text: &str| Some(text.to_owned());
    assert_eq!(
        csv("a,\"b,\"\"c\nd\"\n,\"\"\n"),
        [vec![cell("a"), cell("b,\"c\nd")], vec![None, cell("")]]
    );
}
