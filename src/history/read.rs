//! Reads one log, or what it has grown by, and folds its lines into rows.

use std::sync::Arc;

use crate::event_log::{EventLog, LogReader, LogStore, ReadError};
use crate::replay::{LiveApplication, ReplayReport};
use crate::rollup;
use crate::table::TASKS;
use crate::telemetry::error_chain;

use super::AttemptRows;

/// Where a log that still grows was left: the reader stands behind the last whole line, the fold has seen all before it.
#[derive(Debug)]
pub(super) struct Live {
    reader: LogReader,
    fold: LiveApplication,
}

/// What reading a log gave.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The listing that was read.
    pub(super) log: Arc<EventLog>,
    pub(super) rows: Option<AttemptRows>,
    pub(super) report: ReplayReport,
    pub(super) failure: Option<Failure>,
    /// There if the log may go on where it was left.
    pub(super) live: Option<Live>,
}

/// Why a log was not read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) message: String,
    /// The bytes themselves are damaged: reading them again soon gives the same.
    pub(super) corrupt: bool,
}

impl Failure {
    /// The task that read the log panicked: a defect of ours, which must not stop the other logs.
    pub(super) fn panicked(path: &str) -> Self {
        Failure {
            message: format!("reading {path} stopped because of a defect in sparkgate; please report it"),
            corrupt: true,
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let corrupt = matches!(error, ReadError::Corrupt { .. });
        Failure {
            message: error_chain(&error),
            corrupt,
        }
    }
}

/// Reads a log to the end of what there is: on from `live` where the log continues it, else from the start.
pub(super) async fn read_log(store: Arc<dyn LogStore>, log: Arc<EventLog>, live: Option<Live>) -> Outcome {
    let continued = live.and_then(|mut live| live.reader.grow(Arc::clone(&log)).then_some(live));
    let mut live = continued.unwrap_or_else(|| Live {
        reader: LogReader::new(store, Arc::clone(&log)),
        fold: LiveApplication::new(),
    });

    let failure = match read_lines(&mut live).await {
        Ok(()) => None,
        Err(error) => Some(Failure::from(error)),
    };
    let torn = failure.is_none() && end_of_log(&mut live, &log);

    let mut rows = live.fold.rows(&log);
    if let Some(rows) = &mut rows {
        add_rollups(rows).await;
    }
    let report = live.fold.report().clone();
    // What ended and got its final name is done. A log that ends inside a line is read again from the start should it
    // grow after all, because the fold has recorded the torn line.
    let may_go_on = failure.is_none() && !torn && (log.in_progress || !report.application_end_seen);
    Outcome {
        log,
        rows,
        report,
        failure,
        live: may_go_on.then_some(live),
    }
}

/// Rows that cannot be summed up are a defect of ours, and served without their sums.
async fn add_rollups(rows: &mut AttemptRows) {
    let tasks = rows.tables.get(TASKS.name).map(Vec::as_slice).unwrap_or_default();
    match rollup::rollups(&rows.app_id, &rows.attempt_id, &rows.tables, &tasks).await {
        Ok(rollups) => rows.tables.extend(rollups),
        Err(error) => tracing::error!(
            app_id = rows.app_id,
            error = error_chain(&error),
            "an attempt has no rollups"
        ),
    }
}

async fn read_lines(live: &mut Live) -> Result<(), ReadError> {
    while let Some(block) = live.reader.next_block().await? {
        for line in lines(&block.bytes) {
            live.fold.apply_line(line);
        }
    }
    Ok(())
}

/// The lines of a block, without their newlines.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = (!bytes.is_empty()).then_some(bytes.strip_suffix(b"\n").unwrap_or(bytes));
    std::iter::from_fn(move || {
        let current = rest?;
        match memchr::memchr(b'\n', current) {
            Some(end) => {
                rest = Some(&current[end + 1..]);
                Some(&current[..end])
            }
            None => {
                rest = None;
                Some(current)
            }
        }
    })
}

/// Takes the last line if it is whole without its newline. Of a log that should be complete, whatever remains is torn: then
/// `true`.
fn end_of_log(live: &mut Live, log: &EventLog) -> bool {
    let tail_bytes = live.reader.tail().len();
    if tail_bytes > 0 && live.fold.apply_tail(live.reader.tail()) {
        live.reader.consume_tail();
    } else if tail_bytes > 0 && !log.in_progress {
        live.fold.torn_tail(format!(
            "{} is cut off: its last {tail_bytes} bytes are not a whole event",
            log.path
        ));
        return true;
    }
    let undecoded = live.reader.undecoded_bytes();
    if undecoded > 0 && !log.in_progress {
        live.fold.torn_tail(format!(
            "{} is cut off: its last {undecoded} compressed bytes are not a whole block",
            log.path
        ));
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_cut_at_its_newlines_and_empty_lines_count() {
        let cut = |bytes: &'static [u8]| {
            lines(bytes)
                .map(|l| std::str::from_utf8(l).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(cut(b"a\nbc\n"), ["a", "bc"]);
        assert_eq!(cut(b"a\n\nb\n"), ["a", "", "b"]);
        assert_eq!(cut(b"a"), ["a"]);
        assert_eq!(cut(b"\n"), [""]);
        assert!(cut(b"").is_empty());
    }
}
