//! The books of a history: every log that was seen, what was read of it, and which log counts for each attempt.
//!
//! Listings and outcomes go in, work and snapshots come out. There is no I/O here, and time is handed in.
//!
//! Invariant: each `(application, attempt)` has the rows of exactly one log, however many logs claim it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use crate::event_log::{Discovery, EventLog, NotALog, SkipReason};
use crate::replay::{ReplayReport, merge_attempts};

use super::listing::Listing;
use super::read::{Failure, Live, Outcome};
use super::{AttemptRows, LogEntry, LogState, Snapshot};

/// [`EventLog::identity`]: the path without `.inprogress`.
pub(super) type LogKey = String;
type AttemptKey = (String, String);

/// How long the fold of a log that has not ended is kept after the log last changed. Logs of applications that died never
/// end, and their folds must not stay in memory for good; one that grows again after that is read from its start.
const IDLE_FOLD_KEPT: Duration = Duration::from_secs(3600);
/// A damaged log is tried again after 1, 2, 4 … scans, and at least every so many.
const MOST_SCANS_BETWEEN_TRIES: u32 = 256;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    sources: Vec<SourceBook>,
    logs: BTreeMap<LogKey, TrackedLog>,
    /// Which logs claim an attempt.
    claims: BTreeMap<AttemptKey, BTreeSet<LogKey>>,
    /// Attempts whose claims changed since the last snapshot.
    changed: BTreeSet<AttemptKey>,
    winners: BTreeMap<AttemptKey, LogKey>,
    attempts: BTreeMap<AttemptKey, Arc<AttemptRows>>,
    applications: BTreeMap<String, RecordBatch>,
    listing: Listing,
}

/// What the last listing of a source gave besides logs.
#[derive(Debug, Default)]
struct SourceBook {
    given: String,
    /// Why the source could not be listed the last time.
    unreachable: Option<String>,
    skipped: Vec<LogEntry>,
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
    live: Option<Box<Live>>,
    rows: Option<Arc<AttemptRows>>,
    /// Of the lines that gave `rows`.
    report: Option<ReplayReport>,
    /// Bytes of the listing that was read last.
    read_bytes: u64,
    read_ms: Option<i64>,
    changed_at: Instant,
}

/// A log to read.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: LogKey,
    pub(super) source: usize,
    pub(super) log: Arc<EventLog>,
    pub(super) live: Option<Box<Live>>,
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
}

impl Ledger {
    pub(super) fn new(sources: impl IntoIterator<Item = String>) -> Self {
        let sources = sources
            .into_iter()
            .map(|given| SourceBook {
                given,
                ..SourceBook::default()
            })
            .collect();
        Ledger {
            sources,
            ..Ledger::default()
        }
    }

    /// The source could not be listed. Its rows stay: storage that is down must not empty the tables.
    pub(super) fn unreachable(&mut self, source: usize, message: String) -> Listed {
        let book = &mut self.sources[source];
        let reachability_changed = book.unreachable.is_none();
        book.unreachable = Some(message);
        Listed {
            reachability_changed,
            ..Listed::default()
        }
    }

    pub(super) fn listed(&mut self, source: usize, found: Discovery, follow_deletion: bool, now: Instant) -> Listed {
        let given = self.sources[source].given.clone();
        let mut skipped: Vec<LogEntry> = found.skipped.iter().map(|entry| not_a_log(&given, entry)).collect();

        // `discover` gives each log once.
        let current: BTreeMap<LogKey, EventLog> =
            found.logs.into_iter().map(|log| (log.identity.clone(), log)).collect();

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
            }
        }
        for (key, log) in current {
            self.see(source, key, log, now);
        }

        let book = &mut self.sources[source];
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let listed = Listed {
            removed: gone.len(),
            reachability_changed: book.unreachable.is_some(),
            skipped_changed: book.skipped != skipped,
        };
        book.unreachable = None;
        book.skipped = skipped;
        listed
    }

    /// Compares a listed log with what is known of it.
    fn see(&mut self, source: usize, key: LogKey, log: EventLog, now: Instant) {
        let Some(tracked) = self.logs.get_mut(&key) else {
            let tracked = TrackedLog {
                source,
                log: Arc::new(log),
                unread: true,
                scans_to_wait: 0,
                failures: 0,
                failure: None,
                deleted: false,
                live: None,
                rows: None,
                report: None,
                read_bytes: 0,
                read_ms: None,
                changed_at: now,
            };
            self.logs.insert(key, tracked);
            return;
        };
        // Two sources may overlap, one inside the other: the first one has the log.
        if tracked.source != source {
            return;
        }
        if *tracked.log != log || tracked.deleted {
            tracked.log = Arc::new(log);
            tracked.unread = true;
            tracked.deleted = false;
            tracked.scans_to_wait = 0;
            tracked.changed_at = now;
        } else if tracked.failure.is_some() {
            tracked.unread |= tracked.scans_to_wait == 0;
            tracked.scans_to_wait = tracked.scans_to_wait.saturating_sub(1);
        } else if tracked.live.is_some() && now.duration_since(tracked.changed_at) > IDLE_FOLD_KEPT {
            tracked.live = None;
        }
    }

    fn forget(&mut self, key: &LogKey) {
        if let Some(tracked) = self.logs.remove(key)
            && let Some(rows) = &tracked.rows
        {
            self.unclaim(key, (rows.app_id.clone(), rows.attempt_id.clone()));
        }
    }

    fn unclaim(&mut self, key: &LogKey, attempt: AttemptKey) {
        if let Some(claims) = self.claims.get_mut(&attempt) {
            claims.remove(key);
            if claims.is_empty() {
                self.claims.remove(&attempt);
            }
        }
        self.changed.insert(attempt);
    }

    /// The logs to read, the largest first: a large one that starts last would keep one thread busy after all others.
    ///
    /// A log stays unread until [`Self::read`] has its outcome, so that a scan that is dropped half-way loses nothing.
    pub(super) fn work(&mut self) -> Vec<Job> {
        let mut jobs: Vec<Job> = self
            .logs
            .iter_mut()
            .filter(|(_, tracked)| tracked.unread && self.sources[tracked.source].unreachable.is_none())
            .map(|(key, tracked)| {
                let live = tracked.live.take();
                let known = if live.is_some() { tracked.read_bytes } else { 0 };
                Job {
                    key: key.clone(),
                    source: tracked.source,
                    log: Arc::clone(&tracked.log),
                    live,
                    new: tracked.report.is_none(),
                    retry: tracked.failure.is_some() && tracked.read_bytes == tracked.log.size_bytes,
                    bytes: tracked.log.size_bytes.saturating_sub(known),
                }
            })
            .collect();
        jobs.sort_by_key(|job| Reverse(job.bytes));
        jobs
    }

    /// Takes what reading a log gave; `false` if it failed just as it did before.
    pub(super) fn read(&mut self, key: &LogKey, outcome: Outcome, now_ms: i64) -> bool {
        let Some(tracked) = self.logs.get_mut(key) else {
            return false;
        };
        let lines_before = tracked.report.as_ref().map_or(0, |report| report.lines);
        let same_failure =
            tracked.failure.is_some() && tracked.failure == outcome.failure && outcome.report.lines <= lines_before;
        tracked.unread = false;
        tracked.live = outcome.live.map(Box::new);
        tracked.read_ms = Some(now_ms);
        tracked.read_bytes = outcome.log.size_bytes;
        note_failure(tracked, outcome.failure);

        // What was read before stays if this time less could be read.
        if same_failure || (tracked.failure.is_some() && outcome.report.lines < lines_before) {
            return !same_failure;
        }
        tracked.report = Some(outcome.report);
        let before = tracked
            .rows
            .take()
            .map(|rows| (rows.app_id.clone(), rows.attempt_id.clone()));
        let after = outcome
            .rows
            .as_ref()
            .map(|rows| (rows.app_id.clone(), rows.attempt_id.clone()));
        tracked.rows = outcome.rows.map(Arc::new);
        if let Some(before) = before
            && after.as_ref() != Some(&before)
        {
            self.unclaim(key, before);
        }
        if let Some(after) = after {
            self.claims.entry(after.clone()).or_default().insert(key.clone());
            self.changed.insert(after);
        }
        true
    }

    /// The task that read a log panicked: its fold is lost, its rows so far stay.
    pub(super) fn panicked(&mut self, key: &LogKey, now_ms: i64) {
        let Some(tracked) = self.logs.get_mut(key) else { return };
        tracked.unread = false;
        tracked.live = None;
        tracked.read_ms = Some(now_ms);
        let failure = Failure::panicked(&tracked.log.path);
        note_failure(tracked, Some(failure));
    }

    /// A view of everything known now. Cheap: rows are shared with the books, and only applications that changed are merged.
    pub(super) fn snapshot(&mut self) -> Snapshot {
        let changed = std::mem::take(&mut self.changed);
        let mut applications = BTreeSet::new();
        for attempt in changed {
            let winner = self.claims.get(&attempt).and_then(|claims| {
                claims
                    .iter()
                    .filter_map(|key| self.logs.get_key_value(key))
                    .max_by_key(|(_, tracked)| rank(tracked))
            });
            match winner {
                Some((key, TrackedLog { rows: Some(rows), .. })) => {
                    self.winners.insert(attempt.clone(), key.clone());
                    self.attempts.insert(attempt.clone(), Arc::clone(rows));
                }
                _ => {
                    self.winners.remove(&attempt);
                    self.attempts.remove(&attempt);
                }
            }
            applications.insert(attempt.0);
        }
        for app_id in &applications {
            let mut attempts: Vec<&AttemptRows> = self
                .attempts
                .range((app_id.clone(), String::new())..)
                .take_while(|((app, _), _)| app == app_id)
                .map(|(_, rows)| &**rows)
                .collect();
            attempts.sort_by_key(|rows| rows.start_time_ms);
            match merge_attempts(&attempts) {
                Some(merged) => self.applications.insert(app_id.clone(), merged),
                None => self.applications.remove(app_id),
            };
        }
        self.listing.update(&self.applications, &self.attempts, &applications);
        let event_logs = self.entries();
        let problems = event_logs
            .iter()
            .filter(|entry| matches!(entry.status, LogState::Damaged | LogState::Failed))
            .filter_map(|entry| {
                let attempt = (entry.app_id.clone()?, entry.attempt_id.clone()?);
                Some((attempt, entry.error.clone().unwrap_or_default()))
            })
            .collect();
        Snapshot {
            attempts: self.attempts.clone(),
            applications: self.applications.clone(),
            listing: self.listing.rows(),
            event_logs,
            problems,
            unreachable: self
                .sources
                .iter()
                .filter_map(|book| Some(format!("{}: {}", book.given, book.unreachable.as_ref()?)))
                .collect(),
        }
    }

    /// One entry for each log and for everything else in the sources, by source and path.
    fn entries(&self) -> Vec<LogEntry> {
        let mut by_source: Vec<Vec<LogEntry>> = self.sources.iter().map(|book| book.skipped.clone()).collect();
        for (key, tracked) in &self.logs {
            by_source[tracked.source].push(self.entry(key, tracked));
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
            let attempt = (rows.app_id.clone(), rows.attempt_id.clone());
            let winner = self
                .winners
                .get(&attempt)
                .filter(|winner| *winner != key)
                .and_then(|w| self.logs.get(w));
            if let Some(winner) = winner {
                status = LogState::NotListed;
                error = Some(beaten(&attempt, tracked, winner));
            }
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
        let count = |number: fn(&ReplayReport) -> u64| report.map_or(0, |report| as_i64(number(report)));
        LogEntry {
            app_id: tracked.rows.as_ref().map(|rows| rows.app_id.clone()),
            attempt_id: tracked.rows.as_ref().map(|rows| rows.attempt_id.clone()),
            status,
            lines: count(|report| report.lines),
            events: count(|report| report.events),
            unknown_events: count(|report| report.unknown_events.values().sum()),
            malformed_lines: count(|report| report.malformed_lines),
            error,
            read_ms: tracked.read_ms,
            ..listed_only(&book.given, &tracked.log)
        }
    }
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
            tracked.scans_to_wait = if failure.corrupt { doubled - 1 } else { 0 };
        }
    }
    tracked.failure = failure;
}

/// Of several logs of one attempt the one with the highest rank counts: one that ended over one that did not, an
/// undamaged one over a damaged one, then the newer.
fn rank(tracked: &TrackedLog) -> (bool, bool, i64) {
    let ended = tracked
        .report
        .as_ref()
        .is_some_and(|report| report.application_end_seen);
    let sound = !matches!(state(tracked).0, LogState::Damaged | LogState::Failed);
    (ended, sound, tracked.log.modified_ms)
}

fn beaten((app_id, attempt_id): &AttemptKey, loser: &TrackedLog, winner: &TrackedLog) -> String {
    let attempt = if attempt_id.is_empty() {
        String::new()
    } else {
        format!(" attempt {attempt_id}")
    };
    let (won, lost) = (rank(winner), rank(loser));
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
    let problem = report.problems.first().map(|problem| match &problem.event {
        Some(event) => format!("line {} ({event}): {}", problem.line, problem.message),
        None => format!("line {}: {}", problem.line, problem.message),
    });
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
fn listed_only(source: &str, log: &EventLog) -> LogEntry {
    LogEntry {
        source: source.to_owned(),
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

fn not_a_log(source: &str, entry: &NotALog) -> LogEntry {
    let status = match &entry.reason {
        SkipReason::Unreadable { .. } => LogState::Failed,
        _ => LogState::NotListed,
    };
    LogEntry {
        source: source.to_owned(),
        path: entry.path.clone(),
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
    use crate::replay::LineProblem;

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
            attempt_id: String::new(),
            start_time_ms: 0,
            log: Arc::clone(log),
            tables: BTreeMap::new(),
        }
    }

    fn outcome(log: &Arc<EventLog>, app_id: &str, lines: u64, ended: bool) -> Outcome {
        let report = ReplayReport {
            lines,
            events: lines,
            application_start_seen: true,
            application_end_seen: ended,
            ..ReplayReport::default()
        };
        Outcome {
            log: Arc::clone(log),
            rows: Some(rows(log, app_id)),
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
            .snapshot()
            .event_logs
            .into_iter()
            .map(|e| (e.path, e.status, e.error))
            .collect()
    }

    #[test]
    fn what_did_not_change_is_not_read_again_and_the_largest_goes_first() {
        let mut ledger = Ledger::new(["logs".to_owned()]);
        let now = Instant::now();
        ledger.listed(0, found(&[log("a", 1, 0), log("b", 9, 0), log("c", 5, 0)]), true, now);
        assert_eq!(ledger.snapshot().event_logs[0].status, LogState::Waiting);
        assert_eq!(
            ledger.work().iter().map(|job| job.key.as_str()).collect::<Vec<_>>(),
            ["b", "c", "a"]
        );
        assert_eq!(read_all(&mut ledger, true), 3, "a scan that was dropped lost nothing");
        ledger.listed(0, found(&[log("a", 1, 0), log("b", 10, 0), log("c", 5, 0)]), true, now);
        assert_eq!(
            ledger.work().iter().map(|job| job.key.as_str()).collect::<Vec<_>>(),
            ["b"]
        );
    }

    #[test]
    fn rows_of_a_deleted_log_go_and_rows_of_a_source_that_is_down_stay() {
        let mut ledger = Ledger::new(["logs".to_owned()]);
        let now = Instant::now();
        ledger.listed(0, found(&[log("a", 1, 0)]), true, now);
        read_all(&mut ledger, true);
        assert_eq!(ledger.snapshot().attempts.len(), 1);

        assert!(ledger.unreachable(0, "no route to host".into()).reachability_changed);
        assert!(!ledger.unreachable(0, "no route to host".into()).reachability_changed);
        let snapshot = ledger.snapshot();
        assert_eq!(snapshot.attempts.len(), 1);
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
                .listed(0, found(&[log("a", 1, 0)]), true, now)
                .reachability_changed
        );
        assert_eq!(status(&mut ledger), [("a".into(), LogState::Complete, None)]);
        assert_eq!(
            ledger.work().len(),
            0,
            "nothing is read again when the source comes back"
        );

        assert_eq!(ledger.listed(0, found(&[]), true, now).removed, 1);
        let snapshot = ledger.snapshot();
        assert!(snapshot.attempts.is_empty() && snapshot.event_logs.is_empty() && snapshot.applications.is_empty());
    }

    #[test]
    fn rows_of_a_deleted_log_can_be_told_to_stay() {
        let mut ledger = Ledger::new(["logs".to_owned()]);
        let now = Instant::now();
        ledger.listed(0, found(&[log("a", 1, 0)]), false, now);
        read_all(&mut ledger, true);
        ledger.listed(0, found(&[]), false, now);
        let snapshot = ledger.snapshot();
        assert_eq!(snapshot.attempts.len(), 1);
        assert!(snapshot.event_logs[0].error.as_ref().unwrap().contains("was deleted"));
    }

    #[test]
    fn the_log_that_ended_counts_then_the_newer_and_the_other_names_it() {
        let mut ledger = Ledger::new(["logs".to_owned()]);
        let now = Instant::now();
        ledger.listed(0, found(&[log("new", 1, 20), log("old", 1, 10)]), true, now);
        for job in ledger.work() {
            ledger.read(&job.key, outcome(&job.log, "app", 3, job.key == "old"), 1);
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
        ledger.listed(0, found(&[log("new", 1, 20)]), true, now);
        assert_eq!(status(&mut ledger), [("new".into(), LogState::InProgress, None)]);
        assert_eq!(
            ledger.snapshot().attempts[&("app".into(), String::new())].log.path,
            "new"
        );
    }

    #[test]
    fn a_failed_log_is_tried_again_and_what_was_read_before_stays() {
        let mut ledger = Ledger::new(["logs".to_owned()]);
        let now = Instant::now();
        ledger.listed(0, found(&[log("a", 1, 0)]), true, now);
        read_all(&mut ledger, true);
        ledger.listed(0, found(&[log("a", 2, 0)]), true, now);
        let job = ledger.work().remove(0);
        let failure = Failure {
            message: "a cannot be read: permission denied".into(),
            corrupt: false,
        };
        let failed = |log: &Arc<EventLog>, failure: &Failure| Outcome {
            log: Arc::clone(log),
            rows: None,
            report: ReplayReport::default(),
            failure: Some(failure.clone()),
            live: None,
        };
        ledger.read(&job.key, failed(&job.log, &failure), 2);
        assert_eq!(ledger.snapshot().attempts.len(), 1);
        assert_eq!(
            status(&mut ledger),
            [("a".into(), LogState::Damaged, Some(failure.message))]
        );
        ledger.listed(0, found(&[log("a", 2, 0)]), true, now);
        assert_eq!(read_all(&mut ledger, true), 1);
        assert_eq!(status(&mut ledger), [("a".into(), LogState::Complete, None)]);

        // Damaged bytes are decoded again after 1, 2, 4 … scans only.
        ledger.listed(0, found(&[log("a", 3, 0)]), true, now);
        let corrupt = Failure {
            message: "a is damaged at byte 2".into(),
            corrupt: true,
        };
        let mut tries = Vec::new();
        for scan in 0..12 {
            for job in ledger.work() {
                tries.push(scan);
                ledger.read(&job.key, failed(&job.log, &corrupt), 3);
            }
            ledger.listed(0, found(&[log("a", 3, 0)]), true, now);
        }
        assert_eq!(tries, [0, 1, 3, 7]);
    }

    #[test]
    fn states_and_reasons_follow_what_was_read() {
        let mut ledger = Ledger::new(["logs".to_owned()]);
        let now = Instant::now();
        let logs = [
            log("a", 5, 0),
            log("b", 4, 0),
            log("c", 3, 0),
            log("d.inprogress", 2, 0),
        ];
        ledger.listed(0, found(&logs), true, now);
        let problem = LineProblem {
            line: 7,
            event: Some("SparkListenerTaskEnd".into()),
            message: "no Task Info".into(),
        };
        for job in ledger.work() {
            let mut outcome = outcome(&job.log, &job.key, 3, false);
            match job.key.as_str() {
                "a" => (outcome.report.malformed_lines, outcome.report.problems) = (1, vec![problem.clone()]),
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
}
