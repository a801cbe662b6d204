//! What the cache holds at one moment: which attempts are live, and which rows of which segment are whose.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::commit::{Action, Commit};
use super::sharded::ShardedMap;

/// One generation of one attempt of one application: the rows of one reading of one log. Never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptOrd(pub i64);

/// How far the log of an attempt was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// The application ended and everything was read.
    Complete,
    /// The log may grow. All rows of what was read are here.
    InProgress,
    /// Some of the log could not be read.
    Damaged,
    /// The log grows, and only rows that cannot change any more are here: the others are in the memory of the process that writes. For any
    /// other process the attempt has to be read again.
    Partial,
    /// Everything was read, and only the rows of a few small tables are here: the others had to make room. Who needs them reads the log again.
    Evicted,
}

/// The log that rows come from, and how much of it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStamp {
    /// `EventLog::identity`.
    pub identity: Arc<str>,
    /// Where it lay: a log that got its final name is the same log, and its rows name the path.
    pub path: Arc<str>,
    /// Stored bytes that were read.
    pub size_bytes: u64,
    /// Modification time when it was read, milliseconds since the epoch.
    pub modified_ms: i64,
}

/// What reading a log gave besides rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogReport {
    pub lines: u64,
    /// Lines that were understood.
    pub events: u64,
    /// Lines with an event that this version does not know.
    pub unknown_events: u64,
    /// Lines that could not be read, or not in full.
    pub malformed_lines: u64,
    /// The first of them.
    pub problem: Option<String>,
    pub application_start_seen: bool,
    pub application_end_seen: bool,
}

/// One reading of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogReading {
    pub log: LogStamp,
    pub report: LogReport,
    /// Why the log was not read to its end; its rows are those up to there.
    pub failure: Option<String>,
    /// The bytes themselves are damaged: reading them again gives the same.
    pub failure_is_final: bool,
    /// When it was read, milliseconds since the epoch.
    pub read_ms: i64,
    /// [`super::schema_hash`] of the release that read it.
    pub schema_hash: u64,
    /// Raised whenever a replay gives other rows for the same log.
    pub replay_version: u32,
}

/// What is known of the rows of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptInfo {
    pub reading: LogReading,
    pub state: AttemptState,
}

/// A log that no rows are kept of: it has no application, or the rows of its attempt come from another log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherLog {
    pub reading: LogReading,
    /// Application id, attempt id and start of the attempt that it tells of.
    pub attempt: Option<(String, String, i64)>,
}

/// A live attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub ord: AttemptOrd,
    pub app_id: Arc<str>,
    /// `''` where Spark has none.
    pub attempt_id: Arc<str>,
    /// How often the attempt was replaced.
    pub generation: u32,
    /// Who may see the rows; 0 until access lists are read.
    pub acl_id: i32,
    /// Start of the attempt, milliseconds since the epoch.
    pub start_ms: i64,
    pub info: AttemptInfo,
}

/// The rows of one attempt in one segment: they lie together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(i64, u64, u64)", into = "(i64, u64, u64)")]
pub struct RowRange {
    pub ord: AttemptOrd,
    pub rows: Range<u64>,
}

impl From<(i64, u64, u64)> for RowRange {
    fn from((ord, start, end): (i64, u64, u64)) -> Self {
        RowRange {
            ord: AttemptOrd(ord),
            rows: start..end,
        }
    }
}

impl From<RowRange> for (i64, u64, u64) {
    fn from(range: RowRange) -> Self {
        (range.ord.0, range.rows.start, range.rows.end)
    }
}

/// A bound of a key column: numbers wide, instants in microseconds, days since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyValue {
    Number(i64),
    Text(String),
}

/// The least and the greatest value of a key column in a segment, never cut short. A column without values has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    pub column: String,
    pub min: KeyValue,
    pub max: KeyValue,
}

/// One Parquet file of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub table: String,
    /// Relative to the root of the cache.
    pub path: String,
    /// 0 as committed, 1 and 2 by compaction.
    pub level: u8,
    pub bytes: u64,
    /// Bytes behind the last page: page indexes and footer, to be read in one go.
    pub footer_bytes: u64,
    pub rows: u64,
    /// By ord. Together they are all rows.
    pub attempts: Vec<RowRange>,
    pub keys: Vec<KeyRange>,
    /// CRC-32 of each block of the file: see `cache/checked.rs`.
    pub blocks: Vec<u32>,
}

impl Segment {
    /// The rows of an attempt, live or not.
    pub fn rows_of(&self, ord: AttemptOrd) -> Option<Range<u64>> {
        let found = self.attempts.binary_search_by_key(&ord, |range| range.ord).ok()?;
        Some(self.attempts[found].rows.clone())
    }
}

/// A segment that no commit holds any more; its file stays for those who still read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub path: String,
    pub bytes: u64,
    /// The commit that removed it, and when.
    pub seq: u64,
    pub at_ms: i64,
}

/// Segments of one table by path.
pub(super) type Segments = Arc<BTreeMap<String, Arc<Segment>>>;

/// The cache as of one commit. Immutable; a clone shares almost everything.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(super) seq: u64,
    /// Greater than every ord that a commit or a segment ever named.
    pub(super) next_ord: i64,
    attempts: ShardedMap<AttemptOrd, Arc<Attempt>>,
    /// Attempts of an application, by their ids.
    index: ShardedMap<Arc<str>, Arc<[AttemptOrd]>>,
    tables: BTreeMap<String, Segments>,
    /// Dead ords of the segments that have rows of any, by path.
    dead: Arc<BTreeMap<String, BTreeSet<AttemptOrd>>>,
    removed: Arc<BTreeMap<String, Removed>>,
    /// Logs without rows by their identity.
    other_logs: ShardedMap<Arc<str>, Arc<OtherLog>>,
    /// Access lists by `acl_id`.
    acls: Arc<BTreeMap<i32, String>>,
}

impl Snapshot {
    /// Without anything, for about so many attempts.
    pub(super) fn empty(seq: u64, next_ord: i64, attempts: usize) -> Self {
        Snapshot {
            seq,
            next_ord,
            attempts: ShardedMap::with_capacity(attempts),
            index: ShardedMap::with_capacity(attempts),
            ..Snapshot::default()
        }
    }

    /// The number of the commit that this is the state after; 0 is the empty cache.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Live attempts.
    pub fn attempt_count(&self) -> usize {
        self.attempts.len()
    }

    /// Live attempts, in no particular order.
    pub fn attempts(&self) -> impl Iterator<Item = &Arc<Attempt>> {
        self.attempts.iter().map(|(_, attempt)| attempt)
    }

    pub fn attempt(&self, app_id: &str, attempt_id: &str) -> Option<&Arc<Attempt>> {
        self.attempts_of(app_id)
            .find(|attempt| &*attempt.attempt_id == attempt_id)
    }

    /// The attempts of an application by their ids.
    pub fn attempts_of(&self, app_id: &str) -> impl Iterator<Item = &Arc<Attempt>> {
        let ords = self.index.get(app_id).into_iter().flat_map(|ords| ords.iter());
        ords.filter_map(|ord| self.by_ord(*ord))
    }

    /// `None` if it was replaced or dropped: its rows must not be seen.
    pub fn by_ord(&self, ord: AttemptOrd) -> Option<&Arc<Attempt>> {
        self.attempts.get(&ord)
    }

    /// The segments of a table by path.
    pub fn segments(&self, table: &str) -> impl Iterator<Item = &Arc<Segment>> {
        self.tables
            .get(table)
            .into_iter()
            .flat_map(|segments| segments.values())
    }

    /// The segments of all tables.
    pub fn all_segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.tables.values().flat_map(|segments| segments.values())
    }

    /// The segments with rows of an attempt, and which rows.
    pub fn rows_of(&self, table: &str, ord: AttemptOrd) -> Vec<(&Arc<Segment>, Range<u64>)> {
        self.segments(table)
            .filter_map(|segment| Some((segment, segment.rows_of(ord)?)))
            .collect()
    }

    /// The rows of a segment that are to be seen, ascending, joined where they touch.
    pub fn live_rows(&self, segment: &Segment) -> Vec<Range<u64>> {
        let live = segment.attempts.iter().filter(|range| self.by_ord(range.ord).is_some());
        let mut rows: Vec<Range<u64>> = live.map(|range| range.rows.clone()).collect();
        rows.sort_by_key(|range| range.start);
        rows.dedup_by(|next, before| {
            let touches = before.end == next.start;
            if touches {
                before.end = next.end;
            }
            touches
        });
        rows
    }

    /// Attempts with rows in a segment that must not be seen: replaced or dropped.
    pub fn dead_in(&self, segment: &Segment) -> Option<&BTreeSet<AttemptOrd>> {
        self.dead.get(&segment.path)
    }

    /// A log without rows, by its identity.
    pub fn other_log(&self, identity: &str) -> Option<&Arc<OtherLog>> {
        self.other_logs.get(identity)
    }

    /// Logs without rows, in no particular order.
    pub fn other_logs(&self) -> impl Iterator<Item = &Arc<OtherLog>> {
        self.other_logs.iter().map(|(_, log)| log)
    }

    /// Access lists by `acl_id`, as they were given to [`super::Cache::acl_id`].
    pub fn acls(&self) -> &BTreeMap<i32, String> {
        &self.acls
    }

    /// Segments whose files may be deleted some time after they were removed.
    pub fn removed(&self) -> impl Iterator<Item = &Removed> {
        self.removed.values()
    }

    /// Whether a file is a segment of this moment, or was one and is not yet deleted.
    pub(super) fn knows_segment(&self, path: &str) -> bool {
        self.removed.contains_key(path) || self.tables.values().any(|segments| segments.contains_key(path))
    }

    /// The state after one more commit. An error is what the commit contradicts.
    pub(super) fn after(&self, commit: &Commit) -> Result<Snapshot, String> {
        if commit.seq != self.seq + 1 {
            return Err(format!("it says it is commit {}, not {}", commit.seq, self.seq + 1));
        }
        let mut next = self.clone();
        next.seq = commit.seq;
        for action in &commit.actions {
            next.apply(action, commit.at_ms)?;
        }
        Ok(next)
    }

    fn apply(&mut self, action: &Action, at_ms: i64) -> Result<(), String> {
        match action {
            Action::PutApp(attempt) => self.put(Arc::new(attempt.clone())),
            Action::DropApp { ord } => self.drop_attempt(*ord),
            Action::AddSegment(segment) => self.add_segment(Arc::new(segment.clone())),
            Action::RemoveSegment { table, path } => self.remove_segment(table, path, at_ms),
            Action::PutOtherLog(log) => {
                self.put_other_log(Arc::new(log.clone()));
                Ok(())
            }
            Action::DropOtherLog { identity } => {
                let dropped = self.other_logs.remove(identity.as_str());
                dropped
                    .map(|_| ())
                    .ok_or_else(|| format!("nothing is known of {identity}"))
            }
            Action::PutAcl { acl_id, acl } => self.put_acl(*acl_id, acl.clone()),
            Action::ForgetSegment { path } => {
                let forgotten = Arc::make_mut(&mut self.removed).remove(path);
                forgotten.map(|_| ()).ok_or_else(|| format!("{path} was not removed"))
            }
        }
    }

    pub(super) fn put(&mut self, attempt: Arc<Attempt>) -> Result<(), String> {
        let ord = attempt.ord;
        let before = self
            .attempt(&attempt.app_id, &attempt.attempt_id)
            .map(|before| before.ord);
        if let Some(other) = before.filter(|before| *before != ord) {
            return Err(format!(
                "attempt {:?} of {} has ords {} and {}",
                attempt.attempt_id, attempt.app_id, other.0, ord.0
            ));
        }
        if before.is_none() {
            if self.attempts.get(&ord).is_some() {
                return Err(format!("ord {} belongs to two attempts", ord.0));
            }
            let known = self.attempts_of(&attempt.app_id);
            let mut of_app: Vec<(&str, AttemptOrd)> = known.map(|known| (&*known.attempt_id, known.ord)).collect();
            of_app.push((&attempt.attempt_id, ord));
            of_app.sort_unstable();
            let ords = of_app.into_iter().map(|(_, ord)| ord).collect();
            self.index.insert(Arc::clone(&attempt.app_id), ords);
        }
        self.next_ord = self.next_ord.max(ord.0.saturating_add(1));
        self.attempts.insert(ord, attempt);
        Ok(())
    }

    pub(super) fn put_other_log(&mut self, log: Arc<OtherLog>) {
        self.other_logs.insert(Arc::clone(&log.reading.log.identity), log);
    }

    pub(super) fn put_acl(&mut self, acl_id: i32, acl: String) -> Result<(), String> {
        match Arc::make_mut(&mut self.acls).insert(acl_id, acl.clone()) {
            Some(before) if before != acl => Err(format!("access list {acl_id} is given twice")),
            _ => Ok(()),
        }
    }

    fn drop_attempt(&mut self, ord: AttemptOrd) -> Result<(), String> {
        let attempt = self.attempts.remove(&ord);
        let attempt = attempt.ok_or_else(|| format!("there is no attempt with ord {}", ord.0))?;
        let segments = self.tables.values().flat_map(|segments| segments.values());
        let with_rows: Vec<String> = segments
            .filter(|segment| segment.rows_of(ord).is_some())
            .map(|segment| segment.path.clone())
            .collect();
        if !with_rows.is_empty() {
            let dead = Arc::make_mut(&mut self.dead);
            for path in with_rows {
                dead.entry(path).or_default().insert(ord);
            }
        }
        if let Some(of_app) = self.index.remove(&attempt.app_id) {
            let left: Arc<[AttemptOrd]> = of_app.iter().filter(|other| **other != ord).copied().collect();
            if !left.is_empty() {
                self.index.insert(Arc::clone(&attempt.app_id), left);
            }
        }
        Ok(())
    }

    pub(super) fn add_segment(&mut self, segment: Arc<Segment>) -> Result<(), String> {
        let path = segment.path.clone();
        let (mut in_order, mut next_row) = (segment.attempts.clone(), 0);
        in_order.sort_by_key(|range| range.rows.start);
        for range in &in_order {
            if range.rows.start != next_row || range.rows.is_empty() {
                return Err(format!("the rows of {path} do not follow each other"));
            }
            next_row = range.rows.end;
            self.next_ord = self.next_ord.max(range.ord.0.saturating_add(1));
        }
        if next_row != segment.rows || !segment.attempts.is_sorted_by_key(|range| range.ord) {
            return Err(format!("the attempts of {path} do not have its {} rows", segment.rows));
        }
        if self.knows_segment(&path) {
            return Err(format!("{path} is added twice"));
        }
        let ords = segment.attempts.iter().map(|range| range.ord);
        let dead: BTreeSet<AttemptOrd> = ords.filter(|ord| self.by_ord(*ord).is_none()).collect();
        self.take_segment(segment, dead);
        Ok(())
    }

    /// Adds the segments of a checkpoint: they were looked at when their commits came.
    pub(super) fn restore_segments(&mut self, segments: Vec<Arc<Segment>>) {
        let mut live: Vec<AttemptOrd> = self.attempts.iter().map(|(ord, _)| *ord).collect();
        live.sort_unstable();
        for segment in segments {
            // Both are in order, and nearly all ords are live.
            let mut live = live.iter().peekable();
            let is_dead = |ord: &AttemptOrd| {
                while live.next_if(|live| *live < ord).is_some() {}
                live.peek() != Some(&ord)
            };
            let dead = segment.attempts.iter().map(|range| range.ord).filter(is_dead).collect();
            self.take_segment(segment, dead);
        }
    }

    fn take_segment(&mut self, segment: Arc<Segment>, dead: BTreeSet<AttemptOrd>) {
        let path = segment.path.clone();
        if !dead.is_empty() {
            Arc::make_mut(&mut self.dead).insert(path.clone(), dead);
        }
        let segments = self.tables.entry(segment.table.clone()).or_default();
        Arc::make_mut(segments).insert(path, segment);
    }

    fn remove_segment(&mut self, table: &str, path: &str, at_ms: i64) -> Result<(), String> {
        let segments = self.tables.get_mut(table);
        let removed = segments.and_then(|segments| Arc::make_mut(segments).remove(path));
        let removed = removed.ok_or_else(|| format!("there is no segment {path} to remove"))?;
        if self.dead.contains_key(path) {
            Arc::make_mut(&mut self.dead).remove(path);
        }
        self.add_removed(Removed {
            path: path.to_owned(),
            bytes: removed.bytes,
            seq: self.seq,
            at_ms,
        });
        Ok(())
    }

    pub(super) fn add_removed(&mut self, removed: Removed) {
        Arc::make_mut(&mut self.removed).insert(removed.path.clone(), removed);
    }
}
