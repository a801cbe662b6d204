//! Folds one application's events into table rows, as Spark's `AppStatusListener` does.
//! (skeleton: the interface other parts build on)
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event_log::EventLog;
use crate::history::snapshot::AttemptRows;

/// What was seen while replaying, for `system.event_logs` and `check`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayReport {
    pub lines: u64,
    pub events: u64,
    /// Lines by name of an event that this version does not know.
    pub unknown_events: BTreeMap<String, u64>,
    /// Lines that could not be read; `problems` has the first of them.
    pub malformed_lines: u64,
    /// The first problems, in the order of the log.
    pub problems: Vec<LineProblem>,
    pub application_start_seen: bool,
    pub application_end_seen: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineProblem {
    /// 1-based, over all files of the log.
    pub line: u64,
    /// Name of the event where it could be read.
    pub event: Option<String>,
    pub message: String,
}

#[derive(Debug, Default)]
pub struct LiveApplication {
    report: ReplayReport,
}

impl LiveApplication {
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses one line (without its newline) and folds it. Lines that cannot be read are recorded in the report.
    pub fn apply_line(&mut self, _line: &[u8]) {
        self.report.lines += 1;
    }

    /// The end of the log as far as it goes: a last line without newline. It counts if it is a whole event (then `true`);
    /// otherwise nothing changes, and the caller waits for the rest, or calls [`Self::torn_tail`].
    pub fn apply_tail(&mut self, _line: &[u8]) -> bool {
        false
    }

    /// Records that a log which should be complete ends inside a line or a compressed block.
    pub fn torn_tail(&mut self, message: String) {
        self.report.problems.push(LineProblem {
            line: self.report.lines + 1,
            event: None,
            message,
        });
    }

    pub fn report(&self) -> &ReplayReport {
        &self.report
    }

    /// Rows as of now; the fold can go on afterwards. `None` until `SparkListenerApplicationStart` with an id was seen.
    pub fn rows(&self, _log: &Arc<EventLog>) -> Option<AttemptRows> {
        None
    }
}

/// Rows of `applications` for one application: the newest attempt, with totals over all.
pub fn merge_attempts(_attempts: &[&AttemptRows]) -> Option<arrow::array::RecordBatch> {
    None
}
