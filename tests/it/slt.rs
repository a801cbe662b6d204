//! The statements of `tests/slt`: in process, over the simple and over the extended protocol, and over Flight SQL. Rows, column names and
//! types must be equal among them, and equal to what the file says. (Arrow has no names for PostgreSQL's types: Flight's are left out.)
//!
//! What the files say is PostgreSQL's answer: `tests/slt/record.sh` asks a PostgreSQL 15 and writes it. Where we differ on purpose, the
//! file has `-- differs: why`, and both answers.
//!
//! A record is `query` and a name and type for each column, the statement, `----`, a line a row with tabs between values; or `error` and a
//! SQLSTATE, and the statement. Null is `NULL`, a text of nothing `(empty)`. `sorted` behind `query`: the order of rows is not part of the answer.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float32Type, Float64Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::StreamExt;
use serde_json::Value;
use sparkgate::catalog::pg_types;
use tokio_postgres::types::{FromSql, Kind, Type};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tonic::transport::Channel;

use crate::support::{Server, fixtures, sparkgate};

/// Set by `record.sh`: the PostgreSQL to ask.
const RECORD_FROM: &str = "SPARKGATE_SLT_RECORD";

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Rows {
        /// `name:type`.
        columns: Vec<String>,
        /// Values as text, with `NULL`, and marks for tabs and line ends.
        rows: Vec<String>,
    },
    Error(String),
}

#[derive(Debug)]
struct Record {
    comments: Vec<String>,
    sorted: bool,
    sql: String,
    /// What we answer.
    ours: Option<Answer>,
    /// What PostgreSQL answers, where we differ.
    postgresql: Option<Answer>,
}

impl Record {
    fn differs(&self) -> bool {
        self.comments.iter().any(|line| line.starts_with("-- differs:"))
    }

    /// PostgreSQL has not what it is about.
    fn only_here(&self) -> bool {
        self.comments.iter().any(|line| line.starts_with("-- only here:"))
    }
}

fn files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let entries = std::fs::read_dir(dir).expect("tests/slt is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "slt"));
    files.sort();
    files
}

fn read(path: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(path).expect("a readable file");
    text.split("\n\n")
        .filter_map(|block| record(block.trim_matches('\n')))
        .collect()
}

fn record(block: &str) -> Option<Record> {
    let mut lines = block.lines().peekable();
    let mut comments = Vec::new();
    while let Some(line) = lines.next_if(|line| line.starts_with("--") && *line != "----") {
        comments.push(line.to_owned());
    }
    let head = lines.next()?;
    let mut words = head.split(' ');
    let kind = words.next()?;
    let words: Vec<&str> = words.collect();
    let mut sql = Vec::new();
    while let Some(line) = lines.next_if(|line| !line.starts_with("----")) {
        sql.push(line);
    }
    let rows_of = |lines: &mut std::iter::Peekable<std::str::Lines<'_>>| {
        let mut rows = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("----")) {
            rows.push(line.to_owned());
        }
        rows
    };
    let sorted = words.first() == Some(&"sorted");
    let ours = match kind {
        "error" => words.first().map(|code| Answer::Error((*code).to_owned())),
        _ => {
            let columns = words.iter().skip(usize::from(sorted)).map(|word| (*word).to_owned());
            lines.next().map(|_| Answer::Rows {
                columns: columns.collect(),
                rows: rows_of(&mut lines),
            })
        }
    };
    let postgresql = lines.next().map(|line| {
        let mut words = line.trim_start_matches("---- postgresql").split_whitespace();
        match words.next() {
            Some("error") => Answer::Error(words.next().unwrap_or_default().to_owned()),
            first => Answer::Rows {
                columns: first.into_iter().chain(words).map(str::to_owned).collect(),
                rows: rows_of(&mut lines),
            },
        }
    });
    Some(Record {
        comments,
        sorted,
        sql: sql.join("\n"),
        ours,
        postgresql,
    })
}

fn written(record: &Record) -> String {
    let mut text = String::new();
    for comment in &record.comments {
        let _ = writeln!(text, "{comment}");
    }
    match &record.ours {
        Some(Answer::Error(code)) => {
            let _ = writeln!(text, "error {code}\n{}", record.sql);
        }
        Some(Answer::Rows { columns, rows }) => {
            let sorted = if record.sorted { " sorted" } else { "" };
            let columns = columns.iter().map(|column| format!(" {column}")).collect::<String>();
            let _ = writeln!(text, "query{sorted}{columns}\n{}\n----", record.sql);
            for row in rows {
                let _ = writeln!(text, "{row}");
            }
        }
        None => {
            let _ = writeln!(text, "query\n{}", record.sql);
        }
    }
    match &record.postgresql {
        Some(Answer::Error(code)) => {
            let _ = writeln!(text, "---- postgresql error {code}");
        }
        Some(Answer::Rows { columns, rows }) => {
            let _ = writeln!(text, "---- postgresql {}", columns.join(" "));
            for row in rows {
                let _ = writeln!(text, "{row}");
            }
        }
        None => {}
    }
    text
}

/// One line, whatever is in it.
fn cell(value: Option<&str>) -> String {
    match value {
        None => "NULL".into(),
        Some("") => "(empty)".into(),
        Some(text) => text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t"),
    }
}

fn error_of(error: &tokio_postgres::Error) -> Answer {
    match error.code() {
        Some(code) => Answer::Error(code.code().to_owned()),
        None => panic!("the connection failed: {error}"),
    }
}

/// Over the simple protocol; names and types are those of a prepared statement, which the simple one does not tell.
async fn simple(client: &Client, sql: &str) -> Answer {
    let messages = match client.simple_query(sql).await {
        Ok(messages) => messages,
        Err(error) => return error_of(&error),
    };
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|at| cell(row.get(at)))
                .collect::<Vec<_>>()
                .join("\t"),
        ),
        _ => None,
    });
    let rows = rows.collect();
    match client.prepare(sql).await {
        Ok(statement) => Answer::Rows {
            columns: described(statement.columns()),
            rows,
        },
        Err(error) => error_of(&error),
    }
}

fn described(columns: &[tokio_postgres::Column]) -> Vec<String> {
    let name = |column: &tokio_postgres::Column| column.name().replace(' ', "_");
    columns
        .iter()
        .map(|column| format!("{}:{}", name(column), column.type_().name()))
        .collect()
}

/// Over the extended protocol: binary values, decoded here.
async fn extended(client: &Client, sql: &str) -> Answer {
    match client.query(sql, &[]).await {
        Ok(rows) => {
            let values = |row: &tokio_postgres::Row| -> Vec<String> {
                (0..row.len())
                    .map(|at| cell(row.get::<_, Option<Binary>>(at).map(|b| b.0).as_deref()))
                    .collect()
            };
            let columns = match client.prepare(sql).await {
                Ok(statement) => described(statement.columns()),
                Err(error) => return error_of(&error),
            };
            Answer::Rows {
                columns,
                rows: rows.iter().map(|row| values(row).join("\t")).collect(),
            }
        }
        Err(error) => error_of(&error),
    }
}

/// Over Flight SQL: Arrow's values, written here as the extended protocol's are.
async fn flight(client: &mut FlightSqlServiceClient<Channel>, sql: &str) -> Answer {
    let code = |error: &FlightError| {
        let text = error.to_string();
        let code = text.rsplit_once("(SQLSTATE ").and_then(|(_, code)| code.get(..5));
        Answer::Error(code.unwrap_or_else(|| panic!("no SQLSTATE: {text}")).to_owned())
    };
    let info = match client.execute(sql.to_owned(), None).await {
        Ok(info) => info,
        Err(error) => return code(&error),
    };
    let schema = info.clone().try_decode_schema().expect("a schema");
    let ticket = info.endpoint[0].ticket.clone().expect("a ticket");
    let mut batches = match client.do_get(ticket).await {
        Ok(batches) => batches,
        Err(error) => return code(&error),
    };
    let mut rows = Vec::new();
    while let Some(batch) = batches.next().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return code(&error),
        };
        rows.extend((0..batch.num_rows()).map(|row| {
            let values = batch
                .columns()
                .iter()
                .map(|column| cell(of_arrow(column, row).as_deref()));
            values.collect::<Vec<_>>().join("\t")
        }));
    }
    let column = |field: &FieldRef| {
        let ty = pg_types::pg_type_name(field.data_type());
        format!("{}:{ty}", field.name().replace(' ', "_"))
    };
    Answer::Rows {
        columns: schema.fields().iter().map(column).collect(),
        rows,
    }
}

/// A value of Arrow as the extended protocol's are written; `None` is null.
fn of_arrow(column: &ArrayRef, row: usize) -> Option<String> {
    if column.is_null(row) || column.data_type().is_null() {
        return None;
    }
    let moment = |micros: i64| {
        let time = chrono::DateTime::from_timestamp_micros(micros)
            .expect("a moment")
            .naive_utc();
        let text = time.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let micros = |ty: &DataType| {
        let column = arrow::compute::cast(column, ty).expect("a number of microseconds");
        arrow::compute::cast(&column, &DataType::Int64)
            .expect("a number")
            .as_primitive::<Int64Type>()
            .value(row)
    };
    Some(match column.data_type() {
        DataType::Boolean => if column.as_boolean().value(row) { "t" } else { "f" }.to_owned(),
        DataType::Float32 => column.as_primitive::<Float32Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Binary => {
            let bytes = column.as_binary::<i32>().value(row);
            bytes
                .iter()
                .fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
        }
        DataType::Timestamp(_, zone) => {
            let text = moment(micros(&DataType::Timestamp(TimeUnit::Microsecond, None)));
            if zone.is_some() { text + "+00" } else { text }
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            moment(micros(&DataType::Time64(TimeUnit::Microsecond)))[11..].to_owned()
        }
        DataType::Interval(_) | DataType::Duration(_) => {
            let all =
                arrow::compute::cast(column, &DataType::Interval(IntervalUnit::MonthDayNano)).expect("an interval");
            let value = all.as_primitive::<IntervalMonthDayNanoType>().value(row);
            format!("interval {} {} {}", value.months, value.days, value.nanoseconds / 1000)
        }
        // As `jsonb`.
        ty if pg_types::pg_type_oid(ty) == pg_types::JSONB && !matches!(ty, DataType::LargeUtf8) => {
            json_text(&json_of(column, row))
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            let items = (0..items.len()).map(|item| of_arrow(&items, item).map_or_else(|| "NULL".to_owned(), quoted));
            format!("{{{}}}", items.collect::<Vec<_>>().join(","))
        }
        _ => arrow::util::display::array_value_to_string(column, row).expect("a value"),
    })
}

fn json_of(column: &ArrayRef, row: usize) -> Value {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let field = Arc::new(Field::new("value", column.data_type().clone(), true));
    let mut encoder = make_encoder(&field, column, &options).expect("JSON");
    let mut bytes = Vec::new();
    encoder.encode(row, &mut bytes);
    serde_json::from_slice(&bytes).expect("JSON")
}

/// As PostgreSQL writes `jsonb`.
fn json_text(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(json_text).collect::<Vec<_>>().join(", ")),
        Value::Object(object) => {
            let entries = object
                .iter()
                .map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), json_text(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// An item of an array, in quotes where it needs them.
fn quoted(text: String) -> String {
    let plain = !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && !text.contains(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | ',' | '"' | '\\'));
    if plain {
        text
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// The same names, with the types of others as far as they are named alike.
fn with_types_of(columns: Vec<String>, others: &[String]) -> Vec<String> {
    let name = |column: &str| column.rsplit_once(':').map(|(name, _)| name.to_owned());
    let mut others = others.iter();
    let typed = columns.into_iter().map(|column| match others.next() {
        Some(other) if name(other) == name(&column) => other.clone(),
        _ => column,
    });
    typed.collect()
}

/// Any value, from its binary form to the text that the simple protocol has.
struct Binary(String);

impl<'a> FromSql<'a> for Binary {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Binary(decoded(ty, raw)?))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

type Decoded = Result<String, Box<dyn std::error::Error + Sync + Send>>;

fn decoded(ty: &Type, raw: &[u8]) -> Decoded {
    if let Kind::Array(item) = ty.kind() {
        return array(item, raw);
    }
    let long = |raw: &[u8]| -> Result<i64, std::array::TryFromSliceError> { Ok(i64::from_be_bytes(raw.try_into()?)) };
    let epoch = chrono::NaiveDate::from_ymd_opt(2000, 1, 1)
        .expect("a date")
        .and_time(chrono::NaiveTime::MIN);
    let moment = |micros: i64| {
        let time = epoch + chrono::Duration::microseconds(micros);
        let text = time.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    Ok(match *ty {
        Type::BOOL => if raw == [1] { "t" } else { "f" }.to_owned(),
        Type::INT2 => i16::from_be_bytes(raw.try_into()?).to_string(),
        Type::INT4 => i32::from_be_bytes(raw.try_into()?).to_string(),
        Type::OID => u32::from_be_bytes(raw.try_into()?).to_string(),
        Type::INT8 => long(raw)?.to_string(),
        Type::FLOAT4 => f32::from_be_bytes(raw.try_into()?).to_string(),
        Type::FLOAT8 => f64::from_be_bytes(raw.try_into()?).to_string(),
        Type::NUMERIC => numeric(raw)?,
        Type::BYTEA => raw
            .iter()
            .fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
        Type::DATE => {
            let days = i32::from_be_bytes(raw.try_into()?);
            (epoch.date() + chrono::Duration::days(days.into())).to_string()
        }
        Type::TIME => moment(long(raw)?)[11..].to_owned(),
        Type::TIMESTAMP => moment(long(raw)?),
        Type::TIMESTAMPTZ => format!("{}+00", moment(long(raw)?)),
        Type::INTERVAL => {
            let (micros, days) = (long(&raw[..8])?, i32::from_be_bytes(raw[8..12].try_into()?));
            let months = i32::from_be_bytes(raw[12..].try_into()?);
            format!("interval {months} {days} {micros}")
        }
        Type::UUID => {
            let digits = raw.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)].map(|(from, to)| digits.get(from..to));
            parts
                .into_iter()
                .collect::<Option<Vec<_>>>()
                .ok_or("16 bytes")?
                .join("-")
        }
        Type::JSONB => String::from_utf8(raw.get(1..).unwrap_or_default().to_vec())?,
        _ => String::from_utf8(raw.to_vec())?,
    })
}

fn numeric(raw: &[u8]) -> Decoded {
    let part = |at: usize| -> Result<i16, std::array::TryFromSliceError> {
        Ok(i16::from_be_bytes(raw[at..at + 2].try_into()?))
    };
    let (count, weight, sign, scale) = (part(0)?, part(2)?, part(4)?, usize::try_from(part(6)?)?);
    let (mut whole, mut fraction) = (String::new(), String::new());
    for at in 0..count.max(weight + 1) {
        let digit = if at < count {
            part(8 + usize::try_from(at)? * 2)?
        } else {
            0
        };
        let text = format!("{digit:04}");
        if at <= weight {
            whole.push_str(&text)
        } else {
            fraction.push_str(&text)
        }
    }
    let leading = usize::try_from((-1 - weight).max(0))? * 4;
    let fraction = format!("{}{fraction}{}", "0".repeat(leading), "0".repeat(scale));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if sign == 0x4000 { "-" } else { "" };
    Ok(if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{}", &fraction[..scale])
    })
}

/// One dimension; items as the simple protocol quotes them.
fn array(item: &Type, raw: &[u8]) -> Decoded {
    let int = |at: usize| -> Result<i32, std::array::TryFromSliceError> {
        Ok(i32::from_be_bytes(raw[at..at + 4].try_into()?))
    };
    if int(0)? == 0 {
        return Ok("{}".into());
    }
    if int(0)? != 1 {
        return Ok("an array of more dimensions".into());
    }
    let mut at = 20;
    let mut items = Vec::new();
    for _ in 0..int(12)? {
        let length = int(at)?;
        at += 4;
        let Ok(length) = usize::try_from(length) else {
            items.push("NULL".to_owned());
            continue;
        };
        let text = decoded(item, &raw[at..at + length])?;
        at += length;
        items.push(quoted(text));
    }
    Ok(format!("{{{}}}", items.join(",")))
}

/// Values that are the same but for how they are written: digits behind the point of numerics, the last digit of floats, intervals, of
/// which the binary form has no text.
fn same(columns: &[String], one: &str, other: &str) -> bool {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split('\t').collect(), other.split('\t').collect());
    one.len() == other.len()
        && one.iter().zip(&other).enumerate().all(|(at, (one, other))| {
            let ty = columns
                .get(at)
                .and_then(|column| column.rsplit(':').next())
                .unwrap_or_default();
            if one == other {
                return true;
            }
            match ty {
                "numeric" | "float4" | "float8" => match (one.parse::<f64>(), other.parse::<f64>()) {
                    (Ok(one), Ok(other)) => {
                        let precision = if ty == "float4" { 1e-6 } else { 1e-12 };
                        (one - other).abs() <= precision * one.abs().max(1.0) || one == other
                    }
                    _ => false,
                },
                "interval" => one.starts_with("interval ") || other.starts_with("interval "),
                "_interval" => one.contains("interval ") || other.contains("interval "),
                "_numeric" | "_float8" | "_float4" => {
                    let numbers = |text: &str| -> Vec<Option<f64>> {
                        text.trim_matches(['{', '}'])
                            .split(',')
                            .map(|item| item.parse().ok())
                            .collect()
                    };
                    numbers(one) == numbers(other)
                }
                _ => false,
            }
        })
}

fn agree(one: &Answer, other: &Answer, sorted: bool) -> bool {
    match (one, other) {
        (Answer::Error(one), Answer::Error(other)) => one == other,
        (
            Answer::Rows { columns, rows },
            Answer::Rows {
                columns: others,
                rows: other_rows,
            },
        ) => {
            let order = |rows: &[String]| {
                let mut rows = rows.to_vec();
                if sorted {
                    rows.sort();
                }
                rows
            };
            columns == others
                && rows.len() == other_rows.len()
                && order(rows)
                    .iter()
                    .zip(&order(other_rows))
                    .all(|(one, other)| same(columns, one, other))
        }
        _ => false,
    }
}

async fn connect(config: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(config, NoTls)
        .await
        .expect("the server answers");
    tokio::spawn(connection);
    client
        .batch_execute("set timezone = 'UTC'")
        .await
        .expect("UTC is a time zone");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_answer_as_postgresql_does_through_every_door() {
    let server = Server::start(&fixtures().join("logs"));
    let config = format!(
        "host={} port={} user=test dbname=spark",
        server.pg.ip(),
        server.pg.port()
    );
    let client = connect(&config).await;
    if let Ok(from) = std::env::var(RECORD_FROM) {
        return record_all(&client, &connect(&from).await).await;
    }
    let channel = Channel::from_shared(format!("http://{}", server.flight)).expect("an address");
    let mut flight_client = FlightSqlServiceClient::new(channel.connect().await.expect("the server answers"));
    let (mut count, mut wrong) = (0, Vec::new());
    for path in files() {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        for record in read(&path) {
            count += 1;
            let expected = record
                .ours
                .as_ref()
                .unwrap_or_else(|| panic!("{name}: not recorded: {}", record.sql));
            for (protocol, answer) in [
                ("simple", simple(&client, &record.sql).await),
                ("extended", extended(&client, &record.sql).await),
                // There `?` is a parameter, as in ODBC and JDBC, and `??` the operator.
                (
                    "flight",
                    flight(&mut flight_client, &record.sql.replace("::jsonb ?", "::jsonb ??")).await,
                ),
            ] {
                let answer = match (protocol, answer, expected) {
                    ("flight", Answer::Rows { columns, rows }, Answer::Rows { columns: named, .. }) => Answer::Rows {
                        columns: with_types_of(columns, named),
                        rows,
                    },
                    (_, answer, _) => answer,
                };
                if !agree(expected, &answer, record.sorted) {
                    wrong.push(format!(
                        "{name}, {protocol}: {}\n  expected {expected:?}\n  got      {answer:?}",
                        record.sql
                    ));
                }
            }
        }
    }
    assert!(count > 500, "only {count} statements were found");
    assert!(
        wrong.is_empty(),
        "{} answers are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Statements of `tests/slt` without a server: the same rows and columns in one run of `sparkgate sql`.
#[test]
fn statements_answer_the_same_in_process() {
    let mut args: Vec<String> = vec!["sql".into(), fixtures().join("logs").to_str().expect("UTF-8").into()];
    args.extend(["--format".into(), "ndjson".into()]);
    let mut expected = Vec::new();
    for path in files() {
        for record in read(&path) {
            // One row, so that a line is a statement; names twice are one name in an object.
            if let Some(Answer::Rows { columns, rows }) = &record.ours
                && rows.len() == 1
                && !columns.is_empty()
            {
                args.extend(["-c".into(), record.sql.clone()]);
                expected.push((record.sql.clone(), columns.clone(), rows[0].clone()));
            }
        }
    }
    assert!(expected.len() > 200, "only {} statements have one row", expected.len());
    let run = sparkgate(args);
    let answers = run.rows();
    assert_eq!(
        answers.len(),
        expected.len(),
        "a line for each statement: {}",
        run.stderr
    );
    for ((sql, columns, row), answer) in expected.iter().zip(&answers) {
        let values: Vec<&str> = row.split('\t').collect();
        for (column, value) in columns.iter().zip(&values) {
            let (name, ty) = column.rsplit_once(':').expect("a name and a type");
            let same_name = columns
                .iter()
                .filter(|other| other.rsplit_once(':').is_some_and(|(other, _)| other == name));
            if same_name.count() > 1 {
                continue;
            }
            let got = answer.get(name).or_else(|| answer.get(&name.replace('_', " ")));
            let Some(got) = got else {
                panic!("{sql}: no column {name} in {answer:?}")
            };
            let same = match ty {
                "bool" => got.as_bool().map_or("NULL", |v| if v { "t" } else { "f" }) == *value,
                "int2" | "int4" | "int8" => got.as_i64().map_or_else(|| "NULL".into(), |v| v.to_string()) == *value,
                "float4" | "float8" | "numeric" => match (got.as_f64(), value.parse::<f64>()) {
                    (Some(got), Ok(value)) => (got - value).abs() <= 1e-6 * value.abs().max(1.0),
                    _ => got.is_null() == (*value == "NULL") || got.is_string(),
                },
                "text" => cell(got.as_str()) == *value,
                // Instants, intervals and nested values have forms of their own there.
                _ => got.is_null() == (*value == "NULL"),
            };
            assert!(same, "{sql}: {name} is {got}, not {value}");
        }
    }
}

/// Every type a statement of the files answers with is one that the catalog knows.
#[test]
fn types_of_the_answers_are_in_the_catalog() {
    for path in files() {
        for record in read(&path) {
            if let Some(Answer::Rows { columns, .. }) = &record.ours {
                for column in columns {
                    let ty = column.rsplit(':').next().expect("a type");
                    assert!(pg_types::pg_type_by_name(ty).is_some(), "{}: {column}", record.sql);
                }
            }
        }
    }
}

/// Writes PostgreSQL's answers into the files, and ours where a file says that we differ or that only we have it.
async fn record_all(ours: &Client, postgresql: &Client) {
    for path in files() {
        let mut text = String::new();
        for mut record in read(&path) {
            let of_ours = simple(ours, &record.sql).await;
            if record.only_here() {
                (record.ours, record.postgresql) = (Some(of_ours), None);
            } else {
                let theirs = simple(postgresql, &record.sql).await;
                if record.differs() {
                    (record.ours, record.postgresql) = (Some(of_ours), Some(theirs));
                } else {
                    (record.ours, record.postgresql) = (Some(theirs), None);
                }
            }
            let _ = writeln!(text, "{}", written(&record));
        }
        std::fs::write(&path, text).expect("the file can be written");
    }
}

/// The list of functions in `docs/sql.md` is that of the code; `SPARKGATE_WRITE_DOCS=1` writes it.
#[test]
fn the_functions_are_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sql.md");
    let text = std::fs::read_to_string(&path).expect("docs/sql.md is there");
    let mark = "<!-- functions: made from src/catalog/functions, tests/it/slt.rs compares -->\n";
    let (before, rest) = text.split_once(mark).expect("the mark of the list");
    let (_, after) = rest.split_once("\n## ").expect("a section behind the list");
    let lines = sparkgate::catalog::documented_functions().map(|(name, line)| format!("- `{name}`: {line}\n"));
    let list: String = lines.collect();
    let expected = format!("{before}{mark}\n{list}\n## {after}");
    if std::env::var_os("SPARKGATE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &expected).expect("docs/sql.md can be written");
    }
    let now = std::fs::read_to_string(&path).expect("docs/sql.md is there");
    assert!(
        now == expected,
        "docs/sql.md has another list of functions: run this test with SPARKGATE_WRITE_DOCS=1"
    );
}
