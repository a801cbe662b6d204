//! The lines of `sparkgate check`: one for each log, and for everything else that lies in a source.

use std::io::{self, Write};

use arrow::array::{Array, AsArray};

use crate::config::args::CheckFormat;
use crate::history::{LogEntry, Snapshot};

use super::table::TableWriter;

const COLUMNS: [&str; 13] = [
    "path",
    "status",
    "format",
    "codec",
    "app_id",
    "attempt_id",
    "name",
    "lines",
    "events",
    "unknown_events",
    "malformed_lines",
    "size_bytes",
    "error",
];
/// Columns from here on, without the last, are numbers.
const FIRST_NUMBER: usize = 7;

/// Writes a line for each entry of a snapshot.
pub fn write_check(out: &mut (dyn Write + Send), format: CheckFormat, snapshot: &Snapshot) -> io::Result<()> {
    match format {
        CheckFormat::Text => {
            let numbers = (0..COLUMNS.len())
                .map(|i| (FIRST_NUMBER..COLUMNS.len() - 1).contains(&i))
                .collect();
            let mut table = TableWriter::new(COLUMNS.map(str::to_owned).to_vec(), numbers);
            for entry in &snapshot.event_logs {
                table.row(out, values(entry, snapshot).map(|value| text(&value)).to_vec())?;
            }
            table.finish(out, false)?;
        }
        CheckFormat::Ndjson => {
            for entry in &snapshot.event_logs {
                let object: serde_json::Map<_, _> = COLUMNS
                    .iter()
                    .map(|name| (*name).to_owned())
                    .zip(values(entry, snapshot))
                    .collect();
                writeln!(out, "{}", serde_json::Value::from(object))?;
            }
        }
    }
    out.flush()
}

/// In the order of [`COLUMNS`].
fn values(entry: &LogEntry, snapshot: &Snapshot) -> [serde_json::Value; COLUMNS.len()] {
    [
        (&*entry.path).into(),
        entry.status.as_str().into(),
        entry.format.into(),
        entry.codec.into(),
        entry.app_id.as_deref().into(),
        entry.attempt_id.as_deref().into(),
        application_name(entry, snapshot).into(),
        entry.lines.into(),
        entry.events.into(),
        entry.unknown_events.into(),
        entry.malformed_lines.into(),
        entry.size_bytes.into(),
        entry.error.clone().into(),
    ]
}

fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn application_name(entry: &LogEntry, snapshot: &Snapshot) -> Option<String> {
    let application = snapshot
        .listing
        .of_application("applications", entry.app_id.as_ref()?)?;
    let names = application.column_by_name("name")?.as_string_opt::<i32>()?;
    (!names.is_empty() && names.is_valid(0)).then(|| names.value(0).to_owned())
}
