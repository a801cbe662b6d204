//! An immutable view of everything known at one moment. A statement pins one, so that a join sees one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::ScanLog;
use super::listing::{ListedRow, Lister, Listing};
use crate::cache::{AttemptOrd, CacheView};
use crate::event_log::EventLog;

/// The rows of one attempt of one application, as the replay of one log gave them: in memory, in the column cache, or some here and
/// some there.
#[derive(Debug, Clone)]
pub struct AttemptRows {
    pub app_id: String,
    /// `''` where Spark has none.
    pub attempt_id: String,
    /// Start of the attempt, milliseconds since the epoch; orders the attempts of an application.
    pub start_time_ms: i64,
    /// The log the rows come from.
    pub log: Arc<EventLog>,
    /// Rows in memory by table name (`table::TableDef::name`), in the table's sort order but for tasks, which stand as they ended. No entry
    /// means no rows.
    pub tables: BTreeMap<&'static str, Vec<RecordBatch>>,
    /// The rows in the column cache, if there are any: none of them is in `tables` as well.
    pub stored: Option<AttemptOrd>,
    /// `false` while no more than the attempt's own row is known: its log was looked at, and not read yet.
    pub is_read: bool,
}

/// What one scan found: rows of every attempt, and one line for each log seen.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// By `(app_id, attempt_id)`.
    pub attempts: BTreeMap<(String, String), Arc<AttemptRows>>,
    /// Those of them that have rows in memory.
    pub in_memory: Vec<Arc<AttemptRows>>,
    /// `applications` and `application_attempts`, whose rows are all in memory.
    pub listing: Listing,
    /// The column cache at this moment.
    pub cache: Option<CacheView>,
    /// Attempts that are live in the cache, and whose rows there do not count.
    pub hidden: Arc<BTreeSet<AttemptOrd>>,
    /// Applications with a log that is still to be read.
    pub unread: BTreeSet<String>,
    /// Rows of `system.event_logs`, one per file or directory seen, listed or not.
    pub event_logs: Vec<Arc<LogEntry>>,
    /// Rows of `system.scans`; as of now, not of this moment.
    pub scans: ScanLog,
    /// Attempts whose rows may not be all that their log holds (it is damaged, or cannot be read now), each with the first problem.
    pub problems: BTreeMap<(String, String), String>,
    /// Sources that cannot be listed now, as they were given, each with the reason.
    pub unreachable: Vec<String>,
}

impl Snapshot {
    /// A view of rows that are all in memory.
    pub fn in_memory(attempts: Vec<AttemptRows>) -> Self {
        let mut lister = Lister::default();
        let in_memory: Vec<Arc<AttemptRows>> = attempts.into_iter().map(Arc::new).collect();
        let key = |rows: &AttemptRows| (rows.app_id.clone(), rows.attempt_id.clone());
        for rows in &in_memory {
            if let Some(row) = ListedRow::of(rows) {
                lister.put(key(rows), row);
            }
        }
        Snapshot {
            attempts: in_memory.iter().map(|rows| (key(rows), Arc::clone(rows))).collect(),
            in_memory,
            listing: lister.listing(),
            ..Snapshot::default()
        }
    }

    /// The rows of an attempt; `''` is the attempt of an application without attempt ids.
    pub fn attempt(&self, app_id: &str, attempt_id: &str) -> Option<&Arc<AttemptRows>> {
        self.attempts.get(&(app_id.to_owned(), attempt_id.to_owned()))
    }

    /// The attempts of an application, newest first.
    pub fn attempts_of(&self, app_id: &str) -> Vec<&Arc<AttemptRows>> {
        let mut attempts: Vec<_> = self
            .attempts
            .range((app_id.to_owned(), String::new())..)
            .take_while(|((app, _), _)| app == app_id)
            .map(|(_, rows)| rows)
            .collect();
        attempts.sort_by_key(|rows| std::cmp::Reverse(rows.start_time_ms));
        attempts
    }
}

/// What is known of one file or directory of a source: a row of `system.event_logs`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// The source as given on the command line or in the configuration.
    pub source: String,
    pub path: String,
    /// `single`, `rolling`, or `None` for what is no event log.
    pub format: Option<&'static str>,
    /// `none`, `zstd`, `lz4`, `snappy`, `lzf`; `None` for what is no event log.
    pub codec: Option<&'static str>,
    pub size_bytes: i64,
    pub modified_ms: Option<i64>,
    pub app_id: Option<String>,
    pub attempt_id: Option<String>,
    /// `waiting`, `complete`, `in progress`, `damaged`, `not listed`, `failed`.
    pub status: LogState,
    /// Lines read, events understood, lines of unknown events, lines that could not be read.
    pub lines: i64,
    pub events: i64,
    pub unknown_events: i64,
    pub malformed_lines: i64,
    /// Why it is not listed, or what is wrong with it; the first problem, with line and event.
    pub error: Option<String>,
    /// When the log was last read to the end of what there was, milliseconds since the epoch.
    pub read_ms: Option<i64>,
}

/// The state of a log, as `system.event_logs.status` and `sparkgate check` name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogState {
    /// Seen, and not read yet: the first scan is still under way.
    Waiting,
    /// The application ended and everything was read.
    Complete,
    /// No `SparkListenerApplicationEnd` so far.
    InProgress,
    /// Served with what could be read: some lines were not.
    Damaged,
    /// Seen, and left out for the reason in `error`.
    NotListed,
    /// It could not be read at all this time; tried again with the next scan.
    Failed,
}

impl LogState {
    pub fn as_str(self) -> &'static str {
        match self {
            LogState::Waiting => "waiting",
            LogState::Complete => "complete",
            LogState::InProgress => "in progress",
            LogState::Damaged => "damaged",
            LogState::NotListed => "not listed",
            LogState::Failed => "failed",
        }
    }
}
