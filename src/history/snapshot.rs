//! An immutable view of everything known at one moment. A statement pins one, so that a join sees one moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;

use super::listing::{ListedRow, Lister, Listing};
use super::{ScanLog, SourceLog, now_ms};
use crate::cache::{AttemptOrd, CacheView, ShardedMap};
use crate::event_log::EventLog;

/// The rows of one attempt of one application, as the replay of one log gave them: in memory, in the column cache, or some here and
/// some there.
#[derive(Debug, Clone)]
pub struct AttemptRows {
    pub app_id: Arc<str>,
    /// `''` where Spark has none.
    pub attempt_id: Arc<str>,
    /// Start of the attempt, milliseconds since the epoch; orders the attempts of an application.
    pub start_time_ms: i64,
    /// The log the rows come from.
    pub log: Arc<EventLog>,
    /// Rows in memory by table name (`table::TableDef::name`), in the table's sort order but for tasks, which stand as they ended. No entry
    /// means no rows.
    pub tables: BTreeMap<&'static str, Vec<RecordBatch>>,
    /// The rows in the column cache, if there are any: none of them is in `tables` as well.
    pub stored: Option<AttemptOrd>,
    /// `false` while not all rows are at hand: the log was looked at and not read yet, or its rows were evicted.
    pub is_read: bool,
}

/// When applications were last asked for: those that were not for the longest time give up their rows first. Cheap to clone; all clones are
/// one.
#[derive(Debug, Clone, Default)]
pub struct Uses(Arc<Mutex<HashMap<Arc<str>, i64>>>);

impl Uses {
    /// Someone asks for the rows of an application now.
    pub fn note(&self, app_id: &Arc<str>) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.insert(Arc::clone(app_id), now_ms());
    }

    /// When each was asked for last, milliseconds since the epoch.
    pub(super) fn last(&self) -> HashMap<Arc<str>, i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Attempts by application and attempt id. Cheap to clone; a change copies little.
#[derive(Debug, Clone, Default)]
pub struct Attempts {
    /// The attempts of an application, by their ids.
    by_application: ShardedMap<Arc<str>, Arc<[Arc<AttemptRows>]>>,
}

impl Attempts {
    pub fn get(&self, app_id: &str, attempt_id: &str) -> Option<&Arc<AttemptRows>> {
        let attempts = self.of_application(app_id);
        let at = attempts.binary_search_by_key(&attempt_id, |rows| &*rows.attempt_id);
        at.ok().map(|at| &attempts[at])
    }

    /// By their ids.
    pub fn of_application(&self, app_id: &str) -> &[Arc<AttemptRows>] {
        self.by_application.get(app_id).map_or(&[], |attempts| &**attempts)
    }

    /// In no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<AttemptRows>> {
        self.by_application.iter().flat_map(|(_, attempts)| attempts.iter())
    }

    pub fn is_empty(&self) -> bool {
        self.by_application.len() == 0
    }

    pub(super) fn put(&mut self, rows: Arc<AttemptRows>) {
        let (app_id, attempt_id) = (Arc::clone(&rows.app_id), Arc::clone(&rows.attempt_id));
        self.replace(&app_id, &attempt_id, Some(rows));
    }

    pub(super) fn remove(&mut self, app_id: &Arc<str>, attempt_id: &str) {
        self.replace(app_id, attempt_id, None);
    }

    fn replace(&mut self, app_id: &Arc<str>, attempt_id: &str, rows: Option<Arc<AttemptRows>>) {
        let others = self.of_application(app_id).iter();
        let others = others.filter(|other| &*other.attempt_id != attempt_id).cloned();
        let mut attempts: Vec<Arc<AttemptRows>> = others.chain(rows).collect();
        attempts.sort_by(|a, b| a.attempt_id.cmp(&b.attempt_id));
        if attempts.is_empty() {
            self.by_application.remove(app_id);
        } else {
            self.by_application.insert(Arc::clone(app_id), attempts.into());
        }
    }
}

impl FromIterator<Arc<AttemptRows>> for Attempts {
    fn from_iter<T: IntoIterator<Item = Arc<AttemptRows>>>(rows: T) -> Self {
        let mut attempts = Attempts::default();
        rows.into_iter().for_each(|rows| attempts.put(rows));
        attempts
    }
}

/// What one scan found: rows of every attempt, and one line for each log seen.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub attempts: Attempts,
    /// Those of them that have rows in memory.
    pub in_memory: Vec<Arc<AttemptRows>>,
    /// `applications` and `application_attempts`, whose rows are all in memory.
    pub listing: Listing,
    /// The column cache at this moment.
    pub cache: Option<CacheView>,
    /// Attempts that are live in the cache, and whose rows there do not count.
    pub hidden: Arc<BTreeSet<AttemptOrd>>,
    /// Applications with a log that is still to be read.
    pub unread: BTreeSet<Arc<str>>,
    /// Rows of `system.event_logs`, one per file or directory seen, listed or not.
    pub event_logs: Vec<Arc<LogEntry>>,
    /// Rows of `system.scans`; as of now, not of this moment.
    pub scans: ScanLog,
    /// Rows of `system.sources`; as of now, not of this moment.
    pub sources: SourceLog,
    /// Who asks for an application says so here.
    pub uses: Uses,
    /// Attempts whose rows may not be all that their log holds (it is damaged, or cannot be read now), each with the first problem.
    pub problems: BTreeMap<(Arc<str>, Arc<str>), String>,
    /// Sources that cannot be listed now, as they were given, each with the reason.
    pub unreachable: Vec<String>,
}

impl Snapshot {
    /// A view of rows that are all in memory.
    pub fn in_memory(attempts: Vec<AttemptRows>) -> Self {
        let mut lister = Lister::default();
        let in_memory: Vec<Arc<AttemptRows>> = attempts.into_iter().map(Arc::new).collect();
        for rows in &in_memory {
            if let Some(row) = ListedRow::of(rows) {
                lister.put((Arc::clone(&rows.app_id), Arc::clone(&rows.attempt_id)), row);
            }
        }
        Snapshot {
            attempts: in_memory.iter().cloned().collect(),
            in_memory,
            listing: lister.listing(),
            ..Snapshot::default()
        }
    }

    /// The rows of an attempt; `''` is the attempt of an application without attempt ids.
    pub fn attempt(&self, app_id: &str, attempt_id: &str) -> Option<&Arc<AttemptRows>> {
        self.attempts.get(app_id, attempt_id)
    }

    /// Why the rows of an application may not be all that its logs hold: the first problem of an attempt, the newest first.
    pub fn problem_of(&self, app_id: &str) -> Option<&String> {
        let key = |rows: &AttemptRows| (Arc::clone(&rows.app_id), Arc::clone(&rows.attempt_id));
        let attempts = self.attempts_of(app_id);
        attempts.into_iter().find_map(|rows| self.problems.get(&key(rows)))
    }

    /// The attempts of an application, newest first.
    pub fn attempts_of(&self, app_id: &str) -> Vec<&Arc<AttemptRows>> {
        let mut attempts: Vec<_> = self.attempts.of_application(app_id).iter().collect();
        attempts.sort_by_key(|rows| std::cmp::Reverse(rows.start_time_ms));
        attempts
    }
}

/// What is known of one file or directory of a source: a row of `system.event_logs`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// The source as given on the command line or in the configuration.
    pub source: Arc<str>,
    pub path: Arc<str>,
    /// `single`, `rolling`, or `None` for what is no event log.
    pub format: Option<&'static str>,
    /// `none`, `zstd`, `lz4`, `snappy`, `lzf`; `None` for what is no event log.
    pub codec: Option<&'static str>,
    pub size_bytes: i64,
    pub modified_ms: Option<i64>,
    pub app_id: Option<Arc<str>>,
    pub attempt_id: Option<Arc<str>>,
    /// `waiting`, `complete`, `in progress`, `damaged`, `evicted`, `not listed`, `failed`.
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
    /// Read, and most of its rows had to leave the column cache: it is read again when a statement names its application.
    Evicted,
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
            LogState::Evicted => "evicted",
            LogState::NotListed => "not listed",
            LogState::Failed => "failed",
        }
    }
}
