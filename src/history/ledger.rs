//! The books of a history: every log that was seen, what was read of it, and which log counts for each attempt.
//!
//! Listings and outcomes go in, work and snapshots come out. There is no I/O here, and time is handed in.
//!
//! Invariant: each `(application, attempt)` has the rows of exactly one log, however many logs claim it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::{
    self, Attempt, AttemptOrd, AttemptState, CacheView, Changes, LogReading, LogReport, LogStamp, OtherLog,
};
use crate::event_log::{Discovery, EventLog, NotALog, SkipReason};
use crate::replay::REPLAY_VERSION;
use crate::table::APPLICATION_ATTEMPTS;

use super::listing::{AttemptKey, ListedRow, Lister};
use super::read::{Cause, Failure, Live, Outcome, reading};
use super::snapshot::{Attempts, Uses};
use super::{AttemptRows, HistoryOptions, LogEntry, LogState, ScanLog, Snapshot, SourceLog};

/// [`EventLog::identity`]: the path without `.inprogress`.
pub(super) type LogKey = Arc<str>;

/// How long the fold of a log that has not ended is kept after the log last changed. Logs of applications that died never
/// end, and their folds must not stay in memory for good; one that grows again after that is read from its start.
const IDLE_FOLD_KEPT: Duration = Duration::from_secs(3600);
/// A damaged log is tried again after 1, 2, 4 … scans, and at least every so many.
const MOST_SCANS_BETWEEN_TRIES: u32 = 256;
/// The same of a log that may not be read: rights are given without a change of the log.
const MOST_SCANS_REFUSED: u32 = 16;
/// A log that takes a thread for longer than a moment.
const LARGE_LOG: u64 = 64 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    sources: Vec<SourceBook>,
    logs: BTreeMap<LogKey, Box<TrackedLog>>,
    /// Which logs claim an attempt, and which of them counts.
    claims: BTreeMap<AttemptKey, Claims>,
    /// Attempts whose claims changed since the last snapshot.
    changed: BTreeSet<AttemptKey>,
    attempts: Attempts,
    lister: Lister,
    /// What the cache knew when we started, by log, until the log is listed.
    restored: BTreeMap<LogKey, Restored>,
    /// Rows in the cache that do not count any more.
    dropped: BTreeSet<AttemptOrd>,
    /// Logs without rows that the cache should know, or forget.
    other_logs: BTreeMap<LogKey, Option<OtherLog>>,
    /// Rows can be put away, so that no fold has to be kept for them.
    has_cache: bool,
    scans: ScanLog,
    uses: Uses,
}

/// The logs that tell of one attempt.
#[derive(Debug, Default)]
struct Claims {
    /// By their keys. Nearly always one.
    logs: Vec<LogKey>,
    /// The one that counts, as of the last election.
    winner: Option<LogKey>,
}

impl Claims {
    fn add(&mut self, key: &LogKey) {
        if let Err(at) = self.logs.binary_search(key) {
            self.logs.insert(at, Arc::clone(key));
        }
    }

    fn remove(&mut self, key: &LogKey) {
        if let Ok(at) = self.logs.binary_search(key) {
            self.logs.remove(at);
        }
    }
}

/// What the last listing of a source gave besides logs.
#[derive(Debug, Default)]
struct SourceBook {
    given: Arc<str>,
    /// Its path in its store: what lies in it belongs to it.
    path: String,
    /// Why the source could not be listed the last time.
    unreachable: Option<String>,
    skipped: Vec<Arc<LogEntry>>,
}

#[derive(Debug)]
struct TrackedLog {
    source: usize,
    /// As last listed.
    log: Arc<EventLog>,
    /// It is not what was read, so it has to be read.
    unread: bool,
    /// Scans to let pass before a failed log is tried again.
    scans_to_wait: u32,
    failures: u32,
    failure: Option<Failure>,
    /// The log is gone and its rows stay (`follow_log_deletion = false`).
    deleted: bool,
    /// Its rows had to leave the cache, and it is read again when they are asked for.
    evicted: bool,
    live: Option<Box<Live>>,
    rows: Option<Arc<AttemptRows>>,
    /// The attempt's own row, until it is in the listing.
    listed: Option<ListedRow>,
    /// Of the lines that gave `rows`.
    report: Option<LogReport>,
    /// Bytes of the listing that was read last.
    read_bytes: u64,
    read_ms: Option<i64>,
    changed_at: Instant,
    /// Its row of `system.event_logs`, made when it is asked for.
    entry: Option<Arc<LogEntry>>,
}

/// What the cache knows of a log.
#[derive(Debug)]
enum Restored {
    /// Rows, and the attempt's own one.
    Rows(Arc<Attempt>, ListedRow),
    Other(Arc<OtherLog>),
}

/// A log to read.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: LogKey,
    pub(super) source: usize,
    pub(super) log: Arc<EventLog>,
    pub(super) live: Option<Box<Live>>,
    /// The application, if it is known already.
    pub(super) app_id: Option<Arc<str>>,
    /// Nothing at all is known of its application.
    pub(super) unknown: bool,
    /// It was never read before.
    pub(super) new: bool,
    /// It failed before, and has not changed since.
    pub(super) retry: bool,
    /// Bytes that are to be read.
    pub(super) bytes: u64,
}

/// What a listing changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) removed: usize,
    /// The source went away or came back.
    pub(super) reachability_changed: bool,
    /// Something that is no log, or does not count, came, went or changed.
    pub(super) skipped_changed: bool,
    /// Logs were found again that the cache has rows of.
    pub(super) restored: usize,
}

/// What the cache has to be told besides new rows.
#[derive(Debug, Default)]
pub(super) struct News {
    dropped: BTreeSet<AttemptOrd>,
    other_logs: BTreeMap<LogKey, Option<OtherLog>>,
}

impl News {
    /// As changes of what the cache has.
    pub(super) fn changes(&self, cache: &cache::Snapshot) -> Changes {
        let mut changes = Changes::default();
        for attempt in self.dropped.iter().filter_map(|ord| cache.by_ord(*ord)) {
            changes
                .drop
                .push((attempt.app_id.to_string(), attempt.attempt_id.to_string()));
        }
        for (key, log) in &self.other_logs {
            let known = cache.other_log(key);
            match log {
                Some(log) if known.is_none_or(|known| **known != *log) => changes.put_logs.push(log.clone()),
                None if known.is_some() => changes.drop_logs.push(key.to_string()),
                _ => {}
            }
        }
        changes
    }
}

/// What to do with an outcome.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Its rows count, or there are none.
    Take,
    /// Its rows are to be committed first.
    Commit,
}

impl Ledger {
    /// `sources`: as each was given, and its path.
    pub(super) fn new(sources: impl IntoIterator<Item = (String, String)>, scans: ScanLog) -> Self {
        let sources = sources
            .into_iter()
            .map(|(given, path)| SourceBook {
                given: given.into(),
                path,
                ..SourceBook::default()
            })
            .collect();
        Ledger {
            sources,
            scans,
            ..Ledger::default()
        }
    }

    /// Whether there is a cache that rows go to.
    pub(super) fn use_cache(&mut self, writes: bool) {
        self.has_cache = writes;
    }

    /// Takes over what the cache knows. `rows` has the own rows of its attempts.
    pub(super) fn restore(&mut self, cache: &CacheView, rows: &HashMap<AttemptOrd, ListedRow>) {
        let snapshot = cache.snapshot();
        self.restored.clear();
        for attempt in snapshot.attempts() {
            let identity = &attempt.info.reading.log.identity;
            let known = self.logs.get(identity).and_then(|tracked| tracked.rows.as_ref());
            if known.is_some_and(|rows| rows.stored == Some(attempt.ord)) {
                continue;
            }
            // Only some rows of a growing log are there: it is read from its start.
            let is_whole = attempt.info.state != AttemptState::Partial;
            // What was read here of an evicted one is more than what the cache has, while its log is the same.
            let is_read_here = |tracked: &TrackedLog| {
                let stamp = &attempt.info.reading.log;
                let log = &tracked.log;
                tracked
                    .rows
                    .as_ref()
                    .is_some_and(|rows| rows.is_read && rows.stored.is_none())
                    && (&stamp.path, stamp.size_bytes, stamp.modified_ms)
                        == (&log.path, log.size_bytes, log.modified_ms)
            };
            if attempt.info.state == AttemptState::Evicted
                && self.logs.get(identity).is_some_and(|tracked| is_read_here(tracked))
            {
                continue;
            }
            let Some(row) = rows.get(&attempt.ord).filter(|_| is_whole) else {
                self.drop_rows(Some(attempt.ord));
                continue;
            };
            // Who writes the cache has read on.
            if let Some(tracked) = self.logs.remove(identity)
                && let Some(rows) = tracked.rows
            {
                self.unclaim(identity, key_of(&rows));
            }
            let restored = Restored::Rows(Arc::clone(attempt), row.clone());
            self.restored.insert(Arc::clone(identity), restored);
        }
        // Rows that who writes the cache has dropped, or lost: their logs are read here, if they are still there.
        let stored = self.logs.values().filter_map(|tracked| tracked.rows.as_ref()?.stored);
        let gone: BTreeSet<AttemptOrd> = stored.filter(|ord| snapshot.by_ord(*ord).is_none()).collect();
        self.lost(&gone);
        for log in snapshot.other_logs() {
            if self.logs.contains_key(&log.reading.log.identity) {
                continue;
            }
            let identity = Arc::clone(&log.reading.log.identity);
            self.restored
                .entry(identity)
                .or_insert_with(|| Restored::Other(Arc::clone(log)));
        }
    }

    /// The source could not be listed. Its rows stay: storage that is down must not empty the tables.
    pub(super) fn unreachable(&mut self, source: usize, message: String) -> Listed {
        let book = &mut self.sources[source];
        let reachability_changed = book.unreachable.is_none();
        let message_changed = book.unreachable.as_ref() != Some(&message);
        book.unreachable = Some(message);
        if message_changed {
            self.forget_entries(source);
        }
        // What the cache has of it is shown all the same.
        let restored = self.restored_of(source);
        let count = restored.len();
        for key in restored {
            self.show_restored(source, &key, Instant::now(), false);
        }
        Listed {
            reachability_changed,
            restored: count,
            ..Listed::default()
        }
    }

    pub(super) fn listed(
        &mut self,
        source: usize,
        found: Discovery,
        options: &HistoryOptions,
        now: Instant,
        now_ms: i64,
    ) -> Listed {
        let follow_deletion = options.follow_log_deletion;
        let given = Arc::clone(&self.sources[source].given);
        let mut skipped: Vec<Arc<LogEntry>> = found
            .skipped
            .iter()
            .map(|entry| Arc::new(not_a_log(&given, entry)))
            .collect();

        let (kept, expired) = kept(found.logs, options, now_ms);
        for (log, reason) in expired {
            self.forget(&log.identity);
            if let Some(Restored::Rows(attempt, _)) = self.restored.remove(&log.identity) {
                self.drop_rows(Some(attempt.ord));
            }
            skipped.push(Arc::new(LogEntry {
                status: LogState::NotListed,
                error: Some(reason),
                ..listed_only(&given, &log)
            }));
        }
        // `discover` gives each log once.
        let current: BTreeMap<LogKey, EventLog> = kept.into_iter().map(|log| (log.identity.clone(), log)).collect();

        let gone: Vec<LogKey> = self
            .logs
            .iter()
            .filter(|(key, tracked)| tracked.source == source && !tracked.deleted && !current.contains_key(*key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            if follow_deletion {
                self.forget(key);
            } else if let Some(tracked) = self.logs.get_mut(key) {
                tracked.deleted = true;
                tracked.unread = false;
                tracked.live = None;
                tracked.entry = None;
            }
        }
        let mut restored = 0;
        for (key, log) in current {
            restored += usize::from(self.restored.contains_key(&key));
            self.see(source, key, log, now);
        }
        // Deleted while nobody looked.
        for key in self.restored_of(source) {
            if !follow_deletion {
                self.show_restored(source, &key, now, true);
            } else {
                match self.restored.remove(&key) {
                    Some(Restored::Rows(attempt, _)) => self.drop_rows(Some(attempt.ord)),
                    Some(Restored::Other(_)) if self.has_cache => drop(self.other_logs.insert(key, None)),
                    _ => {}
                }
            }
        }

        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let book = &mut self.sources[source];
        let listed = Listed {
            removed: gone.len(),
            reachability_changed: book.unreachable.is_some(),
            skipped_changed: book.skipped != skipped,
            restored,
        };
        book.unreachable = None;
        book.skipped = skipped;
        if listed.reachability_changed {
            self.forget_entries(source);
        }
        listed
    }

    /// Logs that the cache knows and no listing has named, as far as they lie in a source.
    fn restored_of(&self, source: usize) -> Vec<LogKey> {
        let path = self.sources[source].path.as_str();
        let inside = |key: &&LogKey| {
            let rest = key.strip_prefix(path.strip_suffix(".inprogress").unwrap_or(path));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path == "/")
        };
        self.restored.keys().filter(inside).cloned().collect()
    }

    /// Shows rows of the cache whose log cannot be listed now, or is gone and may stay.
    fn show_restored(&mut self, source: usize, key: &LogKey, now: Instant, deleted: bool) {
        let Some(restored) = self.restored.get(key) else { return };
        let stamp = &restored.reading().log;
        let log = EventLog {
            path: stamp.path.clone(),
            identity: stamp.identity.clone(),
            rolling: false,
            files: Vec::new(),
            in_progress: stamp.path.ends_with(".inprogress"),
            open: None,
            size_bytes: stamp.size_bytes,
            modified_ms: stamp.modified_ms,
        };
        self.see(source, key.clone(), log, now);
        if let Some(tracked) = self.logs.get_mut(key) {
            tracked.deleted = deleted;
            tracked.unread = false;
        }
    }

    /// Compares a listed log with what is known of it.
    fn see(&mut self, source: usize, key: LogKey, log: EventLog, now: Instant) {
        let Some(tracked) = self.logs.get_mut(&key) else {
            let restored = self.restored.remove(&key);
            let (key, log) = match &restored {
                Some(restored) => named_as(&restored.reading().log, log),
                None => (key, log),
            };
            let log = Arc::new(log);
            let mut tracked = TrackedLog {
                source,
                log: Arc::clone(&log),
                unread: true,
                scans_to_wait: 0,
                failures: 0,
                failure: None,
                deleted: false,
                evicted: false,
                live: None,
                rows: None,
                listed: None,
                report: None,
                read_bytes: 0,
                read_ms: None,
                changed_at: now,
                entry: None,
            };
            if let Some(restored) = restored {
                restored.into_tracked(&mut tracked);
                if let Some(rows) = &tracked.rows {
                    let attempt = key_of(rows);
                    self.claims.entry(attempt.clone()).or_default().add(&key);
                    self.changed.insert(attempt);
                }
            }
            self.logs.insert(key, Box::new(tracked));
            return;
        };
        // Two sources may overlap, one inside the other: the first one has the log.
        if tracked.source != source {
            return;
        }
        if *tracked.log != log || tracked.deleted {
            // What was shown of the cache while the source was away had no files: is it the log that was read?
            let is_shown = tracked.log.files.is_empty()
                && tracked.log.path == log.path
                && (tracked.log.size_bytes, tracked.log.modified_ms) == (log.size_bytes, log.modified_ms);
            tracked.log = Arc::new(log);
            tracked.unread = !is_shown
                || tracked.failure.is_some()
                || !tracked.evicted && tracked.rows.as_ref().is_some_and(|r| !r.is_read);
            tracked.deleted = false;
            tracked.scans_to_wait = 0;
            tracked.changed_at = now;
            tracked.entry = None;
        } else if tracked.failure.is_some() {
            tracked.unread |= tracked.scans_to_wait == 0;
            tracked.scans_to_wait = tracked.scans_to_wait.saturating_sub(1);
        } else if tracked.live.is_some() && now.duration_since(tracked.changed_at) > IDLE_FOLD_KEPT {
            if self.has_cache {
                tracked.unread = true;
                tracked.changed_at = now;
            } else {
                tracked.live = None;
            }
        }
    }

    fn forget(&mut self, key: &LogKey) {
        let Some(tracked) = self.logs.remove(key) else { return };
        if let Some(rows) = &tracked.rows {
            self.drop_rows(rows.stored);
            self.unclaim(key, key_of(rows));
        }
        if self.has_cache {
            self.other_logs.insert(key.clone(), None);
        }
    }

    /// Rows in the cache do not count any more, which who writes it has to say.
    fn drop_rows(&mut self, ord: Option<AttemptOrd>) {
        if self.has_cache {
            self.dropped.extend(ord);
        }
    }

    fn unclaim(&mut self, key: &LogKey, attempt: AttemptKey) {
        if let Some(claims) = self.claims.get_mut(&attempt) {
            claims.remove(key);
            if claims.logs.is_empty() {
                self.claims.remove(&attempt);
            }
        }
        self.changed.insert(attempt);
    }

    fn forget_entries(&mut self, source: usize) {
        let of_source = self.logs.values_mut().filter(|tracked| tracked.source == source);
        of_source.for_each(|tracked| tracked.entry = None);
    }

    /// The logs to read: those written last come first, because they are asked for first; but large ones before all others, because
    /// one that starts last would keep one thread busy after all others.
    ///
    /// A log stays unread until [`Self::read`] has its outcome, so that a scan that is dropped half-way loses nothing.
    pub(super) fn work(&mut self) -> Vec<Job> {
        // A log whose rows were not kept may count now.
        self.elect_changed();
        let mut jobs: Vec<Job> = self
            .logs
            .iter_mut()
            .filter(|(_, tracked)| tracked.unread && self.sources[tracked.source].unreachable.is_none())
            .map(|(key, tracked)| tracked.job(key))
            .collect();
        jobs.sort_by_key(|job| {
            let large = if job.bytes >= LARGE_LOG { job.bytes } else { 0 };
            (Reverse(large), Reverse(job.log.modified_ms), Reverse(job.bytes))
        });
        jobs
    }

    /// The logs of applications that someone waits for, and whose rows were evicted. They are unread from now on.
    pub(super) fn asked_for(&mut self, app_ids: &BTreeSet<String>) -> Vec<Job> {
        let mut keys = Vec::new();
        for rows in app_ids.iter().flat_map(|app_id| self.attempts.of_application(app_id)) {
            let claims = self.claims.get(&key_of(rows));
            keys.extend(claims.and_then(|claims| claims.winner.clone()));
        }
        let mut jobs = Vec::new();
        for key in keys {
            let Some(tracked) = self.logs.get_mut(&key) else {
                continue;
            };
            let is_there = !tracked.deleted && self.sources[tracked.source].unreachable.is_none();
            // One that could not be read is tried again as any other: see `see`.
            if tracked.evicted && !tracked.unread && tracked.failure.is_none() && is_there {
                tracked.unread = true;
                jobs.push(tracked.job(&key));
            }
        }
        jobs
    }

    /// Attempts whose rows may leave the cache, because their logs can be read again: application, number, and when the log was last written.
    pub(super) fn evictable(&self) -> Vec<(Arc<str>, AttemptOrd, i64)> {
        let is_kept = |tracked: &TrackedLog| {
            tracked.evicted
                || tracked.deleted
                || tracked.unread
                || tracked.live.is_some()
                || tracked.failure.is_some()
                || self.sources[tracked.source].unreachable.is_some()
        };
        let tracked = self.logs.values().filter(|tracked| !is_kept(tracked));
        tracked
            .filter_map(|tracked| {
                let rows = tracked.rows.as_ref()?;
                Some((Arc::clone(&rows.app_id), rows.stored?, tracked.log.modified_ms))
            })
            .collect()
    }

    /// Attempts have given up their rows, and have other numbers.
    pub(super) fn evicted(&mut self, ords: &HashMap<AttemptOrd, AttemptOrd>) {
        for tracked in self.logs.values_mut() {
            let Some(rows) = &mut tracked.rows else { continue };
            let Some(ord) = rows.stored.and_then(|ord| ords.get(&ord)) else {
                continue;
            };
            let rows = Arc::make_mut(rows);
            (rows.stored, rows.is_read) = (Some(*ord), false);
            tracked.evicted = true;
            tracked.entry = None;
            self.changed.insert(key_of(rows));
        }
    }

    /// Whether nothing is known of the application of a log.
    pub(super) fn is_unknown(&self, key: &LogKey) -> bool {
        let tracked = self.logs.get(key);
        tracked.is_some_and(|tracked| tracked.report.is_none() && tracked.rows.is_none())
    }

    /// What looking at a log told of its application, before it is read.
    pub(super) fn looked_at(&mut self, key: &LogKey, rows: AttemptRows) {
        let Some(tracked) = self.logs.get_mut(key).filter(|tracked| tracked.rows.is_none()) else {
            return;
        };
        let attempt = key_of(&rows);
        tracked.listed = ListedRow::of(&rows);
        tracked.rows = Some(Arc::new(AttemptRows {
            tables: BTreeMap::new(),
            ..rows
        }));
        tracked.entry = None;
        self.claims.entry(attempt.clone()).or_default().add(key);
        self.changed.insert(attempt);
    }

    /// Whether the rows of an outcome have to be committed before it is taken. Rows that would not count are left out.
    pub(super) fn judge(&self, key: &LogKey, outcome: &mut Outcome) -> Verdict {
        let Some(tracked) = self.logs.get(key) else {
            outcome.written = None;
            return Verdict::Take;
        };
        if outcome.written.is_none() {
            return Verdict::Take;
        }
        let Some(rows) = &outcome.rows else {
            return Verdict::Take;
        };
        let less = is_no_news(tracked, outcome);
        let attempt = key_of(rows);
        let rank = rank_of(&outcome.report, outcome.failure.is_some(), outcome.log.modified_ms);
        let others = self.claims_of(&attempt).iter().filter(|other| *other != key);
        let others = others.filter_map(|other| self.logs.get(other));
        let is_beaten = others
            .filter(|other| other.report.is_some())
            .any(|other| rank_of_tracked(other) > rank);
        if less || is_beaten {
            outcome.written = None;
            if is_beaten && let Some(rows) = &mut outcome.rows {
                rows.tables.clear();
                rows.is_read = false;
            }
            return Verdict::Take;
        }
        Verdict::Commit
    }

    /// Takes what reading a log gave; `false` if it failed just as it did before. Rows that were written are committed by now.
    pub(super) fn read(&mut self, key: &LogKey, mut outcome: Outcome, now_ms: i64) -> bool {
        let Some(tracked) = self.logs.get_mut(key) else {
            return false;
        };
        tracked.entry = None;
        let same_failure = tracked.failure.is_some() && tracked.failure == outcome.failure;
        let is_no_news = is_no_news(tracked, &outcome);
        tracked.unread = false;
        tracked.live = outcome.live.map(Box::new);
        tracked.read_ms = Some(now_ms);
        tracked.read_bytes = outcome.log.size_bytes;
        note_failure(tracked, outcome.failure);

        if is_no_news {
            return !same_failure;
        }
        // And so does what looking at the log told, if it cannot be read.
        if tracked.failure.is_some() && outcome.rows.is_none() && tracked.rows.is_some() {
            return true;
        }
        tracked.report = Some(outcome.report);
        tracked.evicted = false;
        if let Some(rows) = &mut outcome.rows {
            tracked.listed = ListedRow::of(rows);
            if rows.stored.is_some() {
                // Its own row is in the listing.
                rows.tables.remove(APPLICATION_ATTEMPTS.name);
            }
        }
        let before = tracked.rows.take();
        tracked.rows = outcome.rows.map(Arc::new);
        let after = tracked.rows.clone();
        self.note_other_log(key);
        let id = |rows: &Arc<AttemptRows>| key_of(rows);
        if let Some(before) = &before {
            // A commit replaces the rows of the same attempt; others have to be dropped.
            let replaced = after
                .as_ref()
                .is_some_and(|after| id(after) == id(before) && after.stored.is_some());
            if let Some(ord) = before.stored
                && !replaced
                && after.as_ref().is_none_or(|after| after.stored != Some(ord))
            {
                self.drop_rows(Some(ord));
            }
            if after.as_ref().map(id) != Some(id(before)) {
                self.unclaim(key, id(before));
            }
        }
        if let Some(after) = after {
            let attempt = id(&after);
            if after.stored.is_some() {
                self.others_lose_rows(key, &attempt);
            }
            self.claims.entry(attempt.clone()).or_default().add(key);
            self.changed.insert(attempt);
        }
        true
    }

    /// The cache has rows of one log for an attempt: those that it had of another are gone.
    fn others_lose_rows(&mut self, key: &LogKey, attempt: &AttemptKey) {
        let others = self.claims_of(attempt).to_vec();
        for other in others.iter().filter(|other| *other != key) {
            if let Some(tracked) = self.logs.get_mut(other)
                && let Some(rows) = &mut tracked.rows
                && rows.stored.is_some()
            {
                let rows = Arc::make_mut(rows);
                (rows.stored, rows.is_read) = (None, false);
                tracked.evicted = false;
                self.note_other_log(other);
            }
        }
    }

    /// Lets the cache know of a log that was read and has no rows there, so that it is not read again by the next process.
    fn note_other_log(&mut self, key: &LogKey) {
        if !self.has_cache {
            return;
        }
        let Some(tracked) = self.logs.get(key) else { return };
        let has_rows = tracked.rows.as_ref().is_some_and(|rows| rows.is_read);
        let (Some(report), Some(read_ms)) = (&tracked.report, tracked.read_ms) else {
            return;
        };
        let failure = tracked.failure.as_ref();
        let is_done = tracked.live.is_none() && failure.is_none_or(|failure| failure.cause == Cause::Bytes);
        let attempt = tracked.rows.as_ref();
        let other = (!has_rows && is_done).then(|| OtherLog {
            reading: reading(&tracked.log, report.clone(), failure, read_ms),
            attempt: attempt.map(|rows| {
                let (app_id, attempt_id) = (rows.app_id.to_string(), rows.attempt_id.to_string());
                (app_id, attempt_id, rows.start_time_ms)
            }),
        });
        self.other_logs.insert(key.clone(), other);
    }

    /// The task that read a log panicked: its fold is lost, its rows so far stay.
    pub(super) fn panicked(&mut self, key: &LogKey, now_ms: i64) {
        let Some(tracked) = self.logs.get_mut(key) else { return };
        tracked.unread = false;
        tracked.live = None;
        tracked.read_ms = Some(now_ms);
        tracked.entry = None;
        let failure = Failure::panicked(&tracked.log.path);
        note_failure(tracked, Some(failure));
    }

    /// Rows of these attempts cannot be read any more: their logs are read again.
    pub(super) fn lost(&mut self, ords: &BTreeSet<AttemptOrd>) -> usize {
        let mut lost = 0;
        for tracked in self.logs.values_mut() {
            let stored = tracked.rows.as_ref().and_then(|rows| rows.stored);
            if stored.is_some_and(|ord| ords.contains(&ord)) {
                lost += 1;
                if let Some(rows) = &mut tracked.rows {
                    // They stay until the log was read: a statement that needs them fails, and does not answer with fewer rows.
                    let rows = Arc::make_mut(rows);
                    rows.is_read = false;
                    self.changed.insert(key_of(rows));
                }
                tracked.live = None;
                tracked.unread = !tracked.deleted;
                tracked.entry = None;
            }
        }
        lost
    }

    /// What the cache has to be told besides new rows. It counts as told, unless [`Self::not_told`] says otherwise.
    pub(super) fn news(&mut self) -> News {
        News {
            dropped: std::mem::take(&mut self.dropped),
            other_logs: std::mem::take(&mut self.other_logs),
        }
    }

    /// When applications were asked for.
    pub(super) fn uses(&self) -> &Uses {
        &self.uses
    }

    pub(super) fn has_news(&self) -> bool {
        !self.dropped.is_empty() || !self.other_logs.is_empty()
    }

    /// The commit failed.
    pub(super) fn not_told(&mut self, news: News) {
        self.dropped.extend(news.dropped);
        for (key, log) in news.other_logs {
            self.other_logs.entry(key).or_insert(log);
        }
    }

    /// Joins the rows of what became known to those of all others.
    pub(super) fn join(&mut self) {
        self.elect_changed();
        self.lister.listing();
    }

    /// A view of everything known now. Cheap: rows are shared with the books, and only applications that changed are merged.
    pub(super) fn snapshot(&mut self, cache: Option<CacheView>) -> Snapshot {
        self.elect_changed();
        // At the start of a process each of both is a large part of what there is to do.
        let mut lister = std::mem::take(&mut self.lister);
        let (listing, event_logs) = std::thread::scope(|threads| {
            let join = std::thread::Builder::new().spawn_scoped(threads, || lister.listing());
            let event_logs = self.entries();
            // Where there are no more threads it is done here.
            let listing = join
                .ok()
                .map(|join| join.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            (listing, event_logs)
        });
        let listing = listing.unwrap_or_else(|| lister.listing());
        self.lister = lister;
        let problems = event_logs
            .iter()
            .filter(|entry| matches!(entry.status, LogState::Damaged | LogState::Failed))
            .filter_map(|entry| {
                let attempt = (entry.app_id.clone()?, entry.attempt_id.clone()?);
                Some((attempt, entry.error.clone().unwrap_or_default()))
            })
            .collect();
        let is_awaited = |tracked: &TrackedLog| {
            // What cannot be listed now is shown as it was; but of what was evicted nothing is there to be shown.
            let is_there = tracked.evicted || self.sources[tracked.source].unreachable.is_none();
            tracked.is_awaited() && is_there
        };
        // Of several logs of one attempt only that which counts is read again.
        let counts = |key: &LogKey, tracked: &TrackedLog| {
            let claims = tracked.rows.as_ref().and_then(|rows| self.claims.get(&key_of(rows)));
            claims.and_then(|claims| claims.winner.as_ref()) == Some(key)
        };
        let unread = self.logs.iter().filter(|(key, tracked)| {
            is_awaited(tracked) && (!tracked.evicted || tracked.unread || counts(key, tracked))
        });
        let unread = unread.filter_map(|(_, tracked)| tracked.rows.as_ref().filter(|rows| !rows.is_read));
        Snapshot {
            in_memory: self.in_memory(),
            attempts: self.attempts.clone(),
            listing,
            hidden: Arc::new(
                cache
                    .as_ref()
                    .map_or_else(BTreeSet::new, |cache| self.hidden(cache.snapshot())),
            ),
            cache,
            unread: unread.map(|rows| rows.app_id.clone()).collect(),
            event_logs,
            scans: self.scans.clone(),
            sources: SourceLog::default(),
            uses: self.uses.clone(),
            problems,
            unreachable: self
                .sources
                .iter()
                .filter_map(|book| Some(format!("{}: {}", book.given, book.unreachable.as_ref()?)))
                .collect(),
        }
    }

    /// Attempts with rows in memory, by key.
    fn in_memory(&self) -> Vec<Arc<AttemptRows>> {
        let with_rows = self.attempts.iter().filter(|rows| !rows.tables.is_empty());
        let mut in_memory: Vec<Arc<AttemptRows>> = with_rows.cloned().collect();
        in_memory.sort_by(|a, b| (&a.app_id, &a.attempt_id).cmp(&(&b.app_id, &b.attempt_id)));
        in_memory
    }

    /// The logs that tell of an attempt.
    fn claims_of(&self, attempt: &AttemptKey) -> &[LogKey] {
        self.claims.get(attempt).map_or(&[], |claims| &claims.logs)
    }

    /// Attempts that the cache shows and we do not.
    fn hidden(&self, cache: &cache::Snapshot) -> BTreeSet<AttemptOrd> {
        let shown = || self.attempts.iter().filter_map(|rows| rows.stored);
        // The usual case, and looked at for every snapshot: all are shown.
        if shown().filter(|ord| cache.by_ord(*ord).is_some()).count() == cache.attempt_count() {
            return BTreeSet::new();
        }
        let mut shown: Vec<AttemptOrd> = shown().collect();
        shown.sort_unstable();
        let live = cache.attempts().map(|attempt| attempt.ord);
        live.filter(|ord| shown.binary_search(ord).is_err()).collect()
    }

    fn elect_changed(&mut self) {
        for attempt in std::mem::take(&mut self.changed) {
            self.elect(attempt);
        }
    }

    /// Finds the log that counts for an attempt.
    fn elect(&mut self, attempt: AttemptKey) {
        let candidates = self.claims_of(&attempt).iter();
        let candidates = candidates.filter_map(|key| self.logs.get_key_value(key));
        let winner = candidates
            .max_by_key(|(_, tracked)| rank_of_tracked(tracked))
            .map(|(key, _)| Arc::clone(key));
        let mut before = None;
        if let Some(claims) = self.claims.get_mut(&attempt) {
            before = std::mem::replace(&mut claims.winner, winner.clone());
            if before != winner {
                // What they say of each other.
                for key in claims.logs.iter().chain(&before) {
                    if let Some(tracked) = self.logs.get_mut(key) {
                        tracked.entry = None;
                    }
                }
            }
        }
        let tracked = winner.as_ref().and_then(|key| self.logs.get_mut(key));
        let Some((rows, tracked)) = tracked.and_then(|tracked| Some((tracked.rows.clone()?, tracked))) else {
            self.attempts.remove(&attempt.0, &attempt.1);
            self.lister.remove(attempt);
            return;
        };
        match tracked.listed.take() {
            Some(row) => self.lister.put(attempt, row),
            None if before == winner && self.attempts.get(&attempt.0, &attempt.1).is_some() => {}
            None => match ListedRow::of(&rows) {
                Some(row) => self.lister.put(attempt, row),
                // It had lost before, and its rows were not kept.
                None => {
                    tracked.unread = !tracked.deleted;
                    self.attempts.remove(&attempt.0, &attempt.1);
                    self.lister.remove(attempt);
                    return;
                }
            },
        }
        if !rows.is_read && tracked.report.is_some() && !tracked.deleted && !tracked.evicted {
            tracked.unread = true;
        }
        self.attempts.put(rows);
    }

    /// One entry for each log and for everything else in the sources, by source and path.
    fn entries(&mut self) -> Vec<Arc<LogEntry>> {
        let stale: Vec<LogKey> = self
            .logs
            .iter()
            .filter(|(_, tracked)| tracked.entry.is_none())
            .map(|(key, _)| key.clone())
            .collect();
        for key in stale {
            let entry = self.logs.get(&key).map(|tracked| Arc::new(self.entry(&key, tracked)));
            if let Some(tracked) = self.logs.get_mut(&key) {
                tracked.entry = entry;
            }
        }
        let mut by_source: Vec<Vec<Arc<LogEntry>>> = self.sources.iter().map(|book| book.skipped.clone()).collect();
        for tracked in self.logs.values() {
            by_source[tracked.source].extend(tracked.entry.clone());
        }
        for entries in &mut by_source {
            entries.sort_by(|a, b| a.path.cmp(&b.path));
        }
        by_source.into_iter().flatten().collect()
    }

    fn entry(&self, key: &LogKey, tracked: &TrackedLog) -> LogEntry {
        let book = &self.sources[tracked.source];
        let (mut status, mut error) = state(tracked);
        if let Some(rows) = &tracked.rows {
            let attempt = key_of(rows);
            let winner = self
                .claims
                .get(&attempt)
                .and_then(|claims| claims.winner.as_ref())
                .filter(|winner| *winner != key)
                .and_then(|winner| self.logs.get(winner));
            if let Some(winner) = winner {
                status = LogState::NotListed;
                error = Some(beaten(&attempt, tracked, winner));
            }
        }
        if let Some(behind) = tracked.log.open.as_ref().and_then(|open| open.behind.as_ref()) {
            error = Some(match error {
                Some(error) => format!("{error}; behind: {behind}"),
                None => format!("behind: {behind}"),
            });
        }
        if tracked.deleted {
            error =
                Some("the log was deleted; its rows stay until the gateway stops (follow_log_deletion is off)".into());
        }
        if let Some(message) = &book.unreachable {
            status = LogState::Failed;
            error = Some(format!("the source cannot be listed, rows read before stay: {message}"));
        }
        let report = tracked.report.as_ref();
        let count = |number: fn(&LogReport) -> u64| report.map_or(0, |report| as_i64(number(report)));
        LogEntry {
            app_id: tracked.rows.as_ref().map(|rows| rows.app_id.clone()),
            attempt_id: tracked.rows.as_ref().map(|rows| rows.attempt_id.clone()),
            status,
            lines: count(|report| report.lines),
            events: count(|report| report.events),
            unknown_events: count(|report| report.unknown_events),
            malformed_lines: count(|report| report.malformed_lines),
            error,
            read_ms: tracked.read_ms,
            ..listed_only(&book.given, &tracked.log)
        }
    }
}

impl TrackedLog {
    /// The work of reading it, which takes its fold along.
    fn job(&mut self, key: &LogKey) -> Job {
        let live = self.live.take();
        let known = if live.is_some() { self.read_bytes } else { 0 };
        Job {
            key: Arc::clone(key),
            source: self.source,
            log: Arc::clone(&self.log),
            live,
            app_id: self.rows.as_ref().map(|rows| Arc::clone(&rows.app_id)),
            unknown: self.report.is_none() && self.rows.is_none(),
            new: self.report.is_none(),
            retry: self.failure.is_some() && self.read_bytes == self.log.size_bytes,
            bytes: self.log.size_bytes.saturating_sub(known),
        }
    }

    /// Statements that need its rows have to wait for them: they will come, or could be had.
    fn is_awaited(&self) -> bool {
        // Where the cache cannot take the rows that were read, to go on without them would be to lose them in silence.
        let will_come = match &self.failure {
            None => self.unread,
            Some(failure) => failure.cause == Cause::Cache,
        };
        will_come || self.evicted
    }
}

impl Restored {
    fn reading(&self) -> &LogReading {
        match self {
            Restored::Rows(attempt, _) => &attempt.info.reading,
            Restored::Other(log) => &log.reading,
        }
    }

    /// What was read once need not be read again, if the log and the reader are the same.
    fn into_tracked(self, tracked: &mut TrackedLog) {
        let reading = self.reading().clone();
        let stamp = &reading.log;
        let log = &tracked.log;
        let is_same =
            (&stamp.path, stamp.size_bytes, stamp.modified_ms) == (&log.path, log.size_bytes, log.modified_ms);
        let is_current = reading.schema_hash == cache::schema_hash() && reading.replay_version == REPLAY_VERSION;
        let is_known = is_same && is_current && (reading.failure.is_none() || reading.failure_is_final);
        tracked.read_bytes = stamp.size_bytes;
        tracked.read_ms = Some(reading.read_ms);
        tracked.unread = !is_known;
        match self {
            Restored::Rows(attempt, row) => {
                let is_evicted = attempt.info.state == AttemptState::Evicted;
                tracked.rows = Some(Arc::new(AttemptRows {
                    app_id: Arc::clone(&attempt.app_id),
                    attempt_id: Arc::clone(&attempt.attempt_id),
                    start_time_ms: attempt.start_ms,
                    log: Arc::clone(&tracked.log),
                    tables: BTreeMap::new(),
                    // Rows of another release may lack columns.
                    stored: is_current.then_some(attempt.ord),
                    is_read: is_current && !is_evicted,
                }));
                tracked.evicted = is_current && is_evicted;
                tracked.listed = Some(row);
            }
            Restored::Other(log) => {
                tracked.rows = log.attempt.as_ref().map(|(app_id, attempt_id, start_time_ms)| {
                    Arc::new(AttemptRows {
                        app_id: app_id.as_str().into(),
                        attempt_id: attempt_id.as_str().into(),
                        start_time_ms: *start_time_ms,
                        log: Arc::clone(&tracked.log),
                        tables: BTreeMap::new(),
                        stored: None,
                        is_read: false,
                    })
                });
            }
        }
        tracked.failure = reading.failure.map(|message| Failure {
            message,
            cause: if reading.failure_is_final {
                Cause::Bytes
            } else {
                Cause::Storage
            },
        });
        tracked.report = Some(reading.report);
    }
}

/// A listed log and its key with the names that the cache has of it in memory already: of many logs they are most of what is kept.
fn named_as(stamp: &LogStamp, mut log: EventLog) -> (LogKey, EventLog) {
    log.identity = Arc::clone(&stamp.identity);
    let known = &stamp.path;
    let files = log.files.iter_mut().map(|file| &mut file.path);
    for path in files.chain([&mut log.path]).filter(|path| *path == known) {
        *path = Arc::clone(known);
    }
    (Arc::clone(&stamp.identity), log)
}

pub(super) fn key_of(rows: &AttemptRows) -> AttemptKey {
    (Arc::clone(&rows.app_id), Arc::clone(&rows.attempt_id))
}

/// Logs that count, and those that are too old or too many, each with the reason: what `spark.history.fs.cleaner.*` would delete is not
/// shown here, and nothing is deleted.
fn kept(logs: Vec<EventLog>, options: &HistoryOptions, now_ms: i64) -> (Vec<EventLog>, Vec<(EventLog, String)>) {
    let (mut kept, mut expired) = (Vec::with_capacity(logs.len()), Vec::new());
    let oldest = options
        .max_age
        .map(|age| now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
    for log in logs {
        match oldest {
            Some(oldest) if log.modified_ms < oldest => {
                let reason = "it was last written longer ago than [retention] max_age".to_owned();
                expired.push((log, reason));
            }
            _ => kept.push(log),
        }
    }
    if let Some(most) = options.max_logs.filter(|most| kept.len() > *most) {
        // As Spark's cleaner: the oldest go, but none that is being written.
        kept.sort_by_key(|log| (!log.in_progress, log.modified_ms));
        let running = kept.iter().take_while(|log| log.in_progress).count();
        let surplus = (kept.len() - most).min(kept.len() - running);
        let reason = format!(
            "there are {} logs, and [retention] max_logs keeps the newest {most}",
            kept.len()
        );
        let oldest = kept.drain(running..running + surplus);
        expired.extend(oldest.map(|log| (log, reason.clone())));
    }
    (kept, expired)
}

/// What was read before stays if this time less could be read, or the same once more.
fn is_no_news(tracked: &TrackedLog, outcome: &Outcome) -> bool {
    let lines_before = tracked.report.as_ref().map_or(0, |report| report.lines);
    let is_same = tracked.failure == outcome.failure && tracked.rows.as_ref().is_none_or(|rows| rows.is_read);
    outcome.failure.is_some()
        && (outcome.report.lines < lines_before || is_same && outcome.report.lines == lines_before)
}

fn note_failure(tracked: &mut TrackedLog, failure: Option<Failure>) {
    match &failure {
        None => (tracked.failures, tracked.scans_to_wait) = (0, 0),
        // Storage may recover at any time and costs little to ask; damaged bytes would be decoded again each time.
        Some(failure) => {
            tracked.failures += 1;
            let doubled = 1_u32
                .checked_shl(tracked.failures - 1)
                .unwrap_or(u32::MAX)
                .min(MOST_SCANS_BETWEEN_TRIES);
            tracked.scans_to_wait = match failure.cause {
                Cause::Bytes => doubled - 1,
                // With every log that is refused a request would be lost in every scan.
                Cause::Refused => doubled.min(MOST_SCANS_REFUSED) - 1,
                Cause::Storage | Cause::Cache => 0,
            };
        }
    }
    tracked.failure = failure;
}

/// Of several logs of one attempt the one with the highest rank counts: one that ended over one that did not, an
/// undamaged one over a damaged one, then the newer.
fn rank_of(report: &LogReport, failed: bool, modified_ms: i64) -> (bool, bool, i64) {
    let sound = !failed && report.malformed_lines == 0 && report.problem.is_none();
    (report.application_end_seen, sound, modified_ms)
}

fn rank_of_tracked(tracked: &TrackedLog) -> (bool, bool, i64) {
    match &tracked.report {
        Some(report) => rank_of(report, tracked.failure.is_some(), tracked.log.modified_ms),
        None => (false, false, tracked.log.modified_ms),
    }
}

fn beaten((app_id, attempt_id): &AttemptKey, loser: &TrackedLog, winner: &TrackedLog) -> String {
    let attempt = if attempt_id.is_empty() {
        String::new()
    } else {
        format!(" attempt {attempt_id}")
    };
    let (won, lost) = (rank_of_tracked(winner), rank_of_tracked(loser));
    let why = if won.0 != lost.0 {
        "which has the application's end"
    } else if won.1 != lost.1 {
        "which is not damaged"
    } else if won.2 != lost.2 {
        "which is newer"
    } else {
        "which is as new"
    };
    format!("{app_id}{attempt} is served from {}, {why}", winner.log.path)
}

/// The state of a log, and what is wrong with it.
fn state(tracked: &TrackedLog) -> (LogState, Option<String>) {
    if let Some(failure) = &tracked.failure {
        let state = if tracked.rows.is_some() {
            LogState::Damaged
        } else {
            LogState::Failed
        };
        return (state, Some(failure.message.clone()));
    }
    let Some(report) = &tracked.report else {
        return (LogState::Waiting, None);
    };
    let problem = report.problem.clone();
    if tracked.rows.is_none() {
        let reason = if report.application_start_seen {
            "its SparkListenerApplicationStart has no application id"
        } else if tracked.log.in_progress && problem.is_none() {
            "no SparkListenerApplicationStart so far"
        } else {
            "it has no SparkListenerApplicationStart"
        };
        let reason = match problem {
            Some(problem) => format!("{reason}; {problem}"),
            None => reason.to_owned(),
        };
        return (LogState::NotListed, Some(reason));
    }
    if tracked.evicted {
        return (LogState::Evicted, problem);
    }
    if problem.is_some() || report.malformed_lines > 0 {
        return (LogState::Damaged, problem);
    }
    (
        if report.application_end_seen {
            LogState::Complete
        } else {
            LogState::InProgress
        },
        None,
    )
}

/// What the listing alone says of a log.
fn listed_only(source: &Arc<str>, log: &EventLog) -> LogEntry {
    LogEntry {
        source: Arc::clone(source),
        path: log.path.clone(),
        format: Some(if log.rolling { "rolling" } else { "single" }),
        codec: log.files.last().map(|file| file.codec.as_str()),
        size_bytes: as_i64(log.size_bytes),
        modified_ms: Some(log.modified_ms),
        app_id: None,
        attempt_id: None,
        status: LogState::Waiting,
        lines: 0,
        events: 0,
        unknown_events: 0,
        malformed_lines: 0,
        error: None,
        read_ms: None,
    }
}

fn not_a_log(source: &Arc<str>, entry: &NotALog) -> LogEntry {
    let status = match &entry.reason {
        SkipReason::Unreadable { .. } => LogState::Failed,
        _ => LogState::NotListed,
    };
    LogEntry {
        source: Arc::clone(source),
        path: entry.path.as_str().into(),
        format: None,
        codec: None,
        size_bytes: as_i64(entry.size_bytes),
        modified_ms: Some(entry.modified_ms),
        app_id: None,
        attempt_id: None,
        status,
        lines: 0,
        events: 0,
        unknown_events: 0,
        malformed_lines: 0,
        error: Some(entry.reason.to_string()),
        read_ms: None,
    }
}

/// Counts in SQL are signed; none of ours comes near the limit.
fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::{Codec, LogFile};
    use crate::table::{Rows, Type, Value};
    use arrow::array::RecordBatch;

    fn options(follow_log_deletion: bool) -> HistoryOptions {
        HistoryOptions {
            follow_log_deletion,
            ..HistoryOptions::default()
        }
    }

    fn ledger() -> Ledger {
        Ledger::new([("logs".to_owned(), String::new())], ScanLog::default())
    }

    fn log(path: &str, size_bytes: u64, modified_ms: i64) -> EventLog {
        let file = LogFile {
            path: path.into(),
            size_bytes,
            modified_ms,
            codec: Codec::None,
            index: None,
            compacted: false,
        };
        EventLog {
            path: path.into(),
            identity: path.trim_end_matches(".inprogress").into(),
            rolling: false,
            files: vec![file],
            in_progress: path.ends_with(".inprogress"),
            open: None,
            size_bytes,
            modified_ms,
        }
    }

    fn found(logs: &[EventLog]) -> Discovery {
        Discovery {
            logs: logs.to_vec(),
            skipped: Vec::new(),
        }
    }

    fn rows(log: &Arc<EventLog>, app_id: &str) -> AttemptRows {
        AttemptRows {
            app_id: app_id.into(),
            attempt_id: "".into(),
            start_time_ms: 0,
            log: Arc::clone(log),
            tables: BTreeMap::from([(APPLICATION_ATTEMPTS.name, vec![own(app_id)])]),
            stored: None,
            is_read: true,
        }
    }

    /// The attempt's own row.
    fn own(app_id: &str) -> RecordBatch {
        let mut rows = Rows::new(&APPLICATION_ATTEMPTS, 1);
        for column in APPLICATION_ATTEMPTS.columns {
            match column.ty {
                Type::Text => rows.push(if column.name == "app_id" { app_id } else { "" }),
                Type::Timestamp => rows.push(Value::Millis(0)),
                Type::Bool => rows.push(true),
                _ => rows.push(0),
            };
        }
        rows.end_row();
        rows.finish()
    }

    fn outcome(log: &Arc<EventLog>, app_id: &str, lines: u64, ended: bool) -> Outcome {
        let report = LogReport {
            lines,
            events: lines,
            application_start_seen: true,
            application_end_seen: ended,
            ..LogReport::default()
        };
        Outcome {
            log: Arc::clone(log),
            rows: Some(rows(log, app_id)),
            written: None,
            report,
            failure: None,
            live: None,
        }
    }

    /// Reads everything there is to read, each log as `app`.
    fn read_all(ledger: &mut Ledger, ended: bool) -> usize {
        let jobs = ledger.work();
        for job in &jobs {
            ledger.read(&job.key, outcome(&job.log, "app", 3, ended), 1);
        }
        jobs.len()
    }

    fn status(ledger: &mut Ledger) -> Vec<(String, LogState, Option<String>)> {
        ledger
            .snapshot(None)
            .event_logs
            .into_iter()
            .map(|e| (e.path.to_string(), e.status, e.error.clone()))
            .collect()
    }

    #[test]
    fn what_did_not_change_is_not_read_again_and_the_largest_goes_first() {
        let mut ledger = ledger();
        let now = Instant::now();
        ledger.listed(
            0,
            found(&[log("a", 1, 0), log("b", 9, 0), log("c", 5, 0)]),
            &options(true),
            now,
            0,
        );
        assert_eq!(ledger.snapshot(None).event_logs[0].status, LogState::Waiting);
        assert_eq!(
            ledger.work().iter().map(|job| &*job.key).collect::<Vec<_>>(),
            ["b", "c", "a"]
        );
        assert_eq!(read_all(&mut ledger, true), 3, "a scan that was dropped lost nothing");
        ledger.listed(
            0,
            found(&[log("a", 1, 0), log("b", 10, 0), log("c", 5, 0)]),
            &options(true),
            now,
            0,
        );
        assert_eq!(ledger.work().iter().map(|job| &*job.key).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn rows_of_a_deleted_log_go_and_rows_of_a_source_that_is_down_stay() {
        let mut ledger = ledger();
        let now = Instant::now();
        ledger.listed(0, found(&[log("a", 1, 0)]), &options(true), now, 0);
        read_all(&mut ledger, true);
        assert_eq!(ledger.snapshot(None).attempts.iter().count(), 1);

        assert!(ledger.unreachable(0, "no route to host".into()).reachability_changed);
        assert!(!ledger.unreachable(0, "no route to host".into()).reachability_changed);
        let snapshot = ledger.snapshot(None);
        assert_eq!(snapshot.attempts.iter().count(), 1);
        assert_eq!(snapshot.event_logs[0].status, LogState::Failed);
        assert!(
            snapshot.event_logs[0]
                .error
                .as_ref()
                .unwrap()
                .ends_with("no route to host")
        );

        assert!(
            ledger
                .listed(0, found(&[log("a", 1, 0)]), &options(true), now, 0)
                .reachability_changed
        );
        assert_eq!(status(&mut ledger), [("a".into(), LogState::Complete, None)]);
        assert_eq!(
            ledger.work().len(),
            0,
            "nothing is read again when the source comes back"
        );

        assert_eq!(ledger.listed(0, found(&[]), &options(true), now, 0).removed, 1);
        let snapshot = ledger.snapshot(None);
        assert!(snapshot.attempts.is_empty() && snapshot.event_logs.is_empty() && snapshot.listing.applications() == 0);
    }

    #[test]
    fn rows_of_a_deleted_log_can_be_told_to_stay() {
        let mut ledger = ledger();
        let now = Instant::now();
        ledger.listed(0, found(&[log("a", 1, 0)]), &options(false), now, 0);
        read_all(&mut ledger, true);
        ledger.listed(0, found(&[]), &options(false), now, 0);
        let snapshot = ledger.snapshot(None);
        assert_eq!(snapshot.attempts.iter().count(), 1);
        assert!(snapshot.event_logs[0].error.as_ref().unwrap().contains("was deleted"));
    }

    #[test]
    fn the_log_that_ended_counts_then_the_newer_and_the_other_names_it() {
        let mut ledger = ledger();
        let now = Instant::now();
        ledger.listed(
            0,
            found(&[log("new", 1, 20), log("old", 1, 10)]),
            &options(true),
            now,
            0,
        );
        for job in ledger.work() {
            ledger.read(&job.key, outcome(&job.log, "app", 3, *job.key == *"old"), 1);
        }
        assert_eq!(
            status(&mut ledger),
            [
                (
                    "new".into(),
                    LogState::NotListed,
                    Some("app is served from old, which has the application's end".into())
                ),
                ("old".into(), LogState::Complete, None),
            ]
        );
        // When the winner goes, the other takes its place.
        ledger.listed(0, found(&[log("new", 1, 20)]), &options(true), now, 0);
        assert_eq!(status(&mut ledger), [("new".into(), LogState::InProgress, None)]);
        assert_eq!(&*ledger.snapshot(None).attempt("app", "").unwrap().log.path, "new");
    }

    #[test]
    fn a_failed_log_is_tried_again_and_what_was_read_before_stays() {
        let mut ledger = ledger();
        let now = Instant::now();
        ledger.listed(0, found(&[log("a", 1, 0)]), &options(true), now, 0);
        read_all(&mut ledger, true);
        ledger.listed(0, found(&[log("a", 2, 0)]), &options(true), now, 0);
        let job = ledger.work().remove(0);
        let failure = Failure {
            message: "a cannot be read: permission denied".into(),
            cause: Cause::Storage,
        };
        let failed = |log: &Arc<EventLog>, failure: &Failure| Outcome {
            log: Arc::clone(log),
            rows: None,
            written: None,
            report: LogReport::default(),
            failure: Some(failure.clone()),
            live: None,
        };
        ledger.read(&job.key, failed(&job.log, &failure), 2);
        assert_eq!(ledger.snapshot(None).attempts.iter().count(), 1);
        assert_eq!(
            status(&mut ledger),
            [("a".into(), LogState::Damaged, Some(failure.message))]
        );
        ledger.listed(0, found(&[log("a", 2, 0)]), &options(true), now, 0);
        assert_eq!(read_all(&mut ledger, true), 1);
        assert_eq!(status(&mut ledger), [("a".into(), LogState::Complete, None)]);

        // Damaged bytes are decoded again after 1, 2, 4 … scans only.
        ledger.listed(0, found(&[log("a", 3, 0)]), &options(true), now, 0);
        let corrupt = Failure {
            message: "a is damaged at byte 2".into(),
            cause: Cause::Bytes,
        };
        let mut tries = Vec::new();
        for scan in 0..12 {
            for job in ledger.work() {
                tries.push(scan);
                ledger.read(&job.key, failed(&job.log, &corrupt), 3);
            }
            ledger.listed(0, found(&[log("a", 3, 0)]), &options(true), now, 0);
        }
        assert_eq!(tries, [0, 1, 3, 7]);
    }

    #[test]
    fn states_and_reasons_follow_what_was_read() {
        let mut ledger = ledger();
        let now = Instant::now();
        let logs = [
            log("a", 5, 0),
            log("b", 4, 0),
            log("c", 3, 0),
            log("d.inprogress", 2, 0),
        ];
        ledger.listed(0, found(&logs), &options(true), now, 0);
        let problem = Some("line 7 (SparkListenerTaskEnd): no Task Info".to_owned());
        for job in ledger.work() {
            let mut outcome = outcome(&job.log, &job.key, 3, false);
            match &*job.key {
                "a" => (outcome.report.malformed_lines, outcome.report.problem) = (1, problem.clone()),
                "b" => outcome.rows = None,
                "c" => (outcome.rows, outcome.report.application_start_seen) = (None, false),
                _ => {}
            }
            ledger.read(&job.key, outcome, 1);
        }
        assert_eq!(
            status(&mut ledger),
            [
                (
                    "a".into(),
                    LogState::Damaged,
                    Some("line 7 (SparkListenerTaskEnd): no Task Info".into())
                ),
                (
                    "b".into(),
                    LogState::NotListed,
                    Some("its SparkListenerApplicationStart has no application id".into())
                ),
                (
                    "c".into(),
                    LogState::NotListed,
                    Some("it has no SparkListenerApplicationStart".into())
                ),
                ("d.inprogress".into(), LogState::InProgress, None),
            ]
        );
    }

    #[test]
    fn logs_that_are_too_old_or_too_many_are_left_out_and_none_that_is_written() {
        let mut ledger = ledger();
        let now = Instant::now();
        let logs = [
            log("a", 1, 100),
            log("b", 1, 200),
            log("c", 1, 300),
            log("d.inprogress", 1, 250),
        ];
        ledger.listed(0, found(&logs), &options(false), now, 400);
        for job in ledger.work() {
            // Applications of their own: of several logs of one attempt only one is listed, whatever its age.
            ledger.read(&job.key, outcome(&job.log, &job.key, 3, true), 1);
        }
        let aged = HistoryOptions {
            max_age: Some(Duration::from_millis(220)),
            ..options(false)
        };
        ledger.listed(0, found(&logs), &aged, now, 400);
        let names = |ledger: &mut Ledger, wanted: LogState| -> Vec<String> {
            let of_state = status(ledger).into_iter().filter(|(_, state, _)| *state == wanted);
            of_state.map(|(path, ..)| path).collect()
        };
        assert_eq!(names(&mut ledger, LogState::NotListed), ["a"]);
        let few = HistoryOptions {
            max_logs: Some(2),
            ..options(false)
        };
        ledger.listed(0, found(&logs), &few, now, 400);
        assert_eq!(names(&mut ledger, LogState::NotListed), ["a", "b"]);
        let none = HistoryOptions {
            max_logs: Some(0),
            ..options(false)
        };
        ledger.listed(0, found(&logs), &none, now, 400);
        assert_eq!(names(&mut ledger, LogState::NotListed), ["a", "b", "c"]);
        // They come back when they may.
        ledger.listed(0, found(&logs), &options(false), now, 400);
        assert_eq!(ledger.work().len(), 3);
    }
}
