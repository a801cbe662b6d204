//! One scan: lists the sources, reads what is new or has grown, commits and publishes what was read.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::task::{JoinHandle, JoinSet};

use super::ledger::{Job, Ledger, LogKey, News, Verdict, key_of};
use super::listing::{AttemptKey, ListedRow};
use super::read::{Cause, Failure, Outcome, Task, look_at, read_log};
use super::{AttemptRows, BegunListing, CacheHandle, History, now_ms};
use crate::cache::{AttemptOrd, Cache, CacheError, CacheView};
use crate::catalog::SnapshotSource;
use crate::event_log::store::Requests;
use crate::event_log::{Discoverer, Discovery, EventLog, LogStore, StoreError};
use crate::table::{APPLICATION_ATTEMPTS, EXECUTOR_HOURLY, STAGE_SUMMARY, TableDef};
use crate::telemetry::error_chain;

/// During a long scan readers see what was read so far, at most this often.
const SHORTEST_PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// And at most this part of the time goes into making snapshots, however many logs there are.
const PUBLISH_COST_FACTOR: u32 = 20;
/// How long the listings of other sources are waited for when the first has come; at the first scan, and later. A source that takes longer
/// has its turn in a later scan.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(1);
/// What is read within this time needs not be looked at before.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// Rows wait for a commit no longer than this, and are no more than these: a commit costs a file for each table and their syncs, and small
/// files are merged later, which costs as much as to write them once more.
const COMMIT_AFTER: Duration = Duration::from_secs(10);
const COMMIT_BYTES: usize = 256 * 1024 * 1024;
const COMMIT_ATTEMPTS: usize = 2000;
/// More rows than these do not wait: reading waits for the commit.
const MOST_WAITING_BYTES: usize = COMMIT_BYTES + COMMIT_BYTES / 2;
/// Commits after which small segments are merged, while a scan goes on.
const COMMITS_TO_COMPACTION: usize = 32;
/// Of several logs of one attempt only the rows of one are kept. Where what was read says that another one counts, that one is read in the
/// same scan, so many times: who runs one statement makes one scan.
const MOST_SUCCESSORS: usize = 3;
/// Scans from one look at the files of the cache to the next.
const SCANS_TO_VERIFY: usize = 30;
/// Applications that were asked for this recently keep their rows: a statement that waited for them is about to read them.
const KEPT_AFTER_USE: Duration = Duration::from_secs(60);
/// Attempts that give up their rows in one commit, and how long that may go on while reading waits.
const EVICTED_AT_ONCE: usize = 200;
const LONGEST_EVICTION: Duration = Duration::from_secs(3);
/// Commits of one scan after which room is made, if it has to be.
const COMMITS_TO_ROOM: usize = 4;
/// Rows that stay: what listings and questions about all applications are answered from.
const KEPT_TABLES: [&TableDef; 3] = [&APPLICATION_ATTEMPTS, &STAGE_SUMMARY, &EXECUTOR_HOURLY];
/// Scans that are remembered.
const SCANS_KEPT: usize = 1000;

/// What one scan did: a row of `system.scans`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanSummary {
    /// When it began, milliseconds since the epoch.
    pub start_ms: i64,
    /// Logs seen, in all sources that could be listed or were listed before.
    pub logs: usize,
    pub new: usize,
    pub grown: usize,
    pub removed: usize,
    /// Logs that were found unchanged in the column cache.
    pub restored: usize,
    /// Logs that could not be read to their end this time.
    pub failed: usize,
    /// Stored bytes of what was new.
    pub bytes: u64,
    /// Commits to the column cache.
    pub commits: usize,
    /// Sources that cannot be listed, with the reason.
    pub unreachable: Vec<String>,
    /// Why rows are missing that were read: the first that the column cache could not take.
    pub unwritten: Option<String>,
    /// What stores with a network were asked for since the scan before, by source.
    pub requests: Vec<(Arc<str>, Requests)>,
    pub elapsed: Duration,
    /// Something is different from before the scan.
    pub changed: bool,
}

/// The last scans, the newest last. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct ScanLog(Arc<RwLock<VecDeque<ScanSummary>>>);

impl ScanLog {
    pub fn scans(&self) -> Vec<ScanSummary> {
        let scans = self.0.read().unwrap_or_else(PoisonError::into_inner);
        scans.iter().cloned().collect()
    }

    pub(super) fn last(&self) -> Option<ScanSummary> {
        let scans = self.0.read().unwrap_or_else(PoisonError::into_inner);
        scans.back().cloned()
    }

    fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn push(&self, scan: ScanSummary) {
        let mut scans = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if scans.len() >= SCANS_KEPT {
            scans.pop_front();
        }
        scans.push_back(scan);
    }
}

/// Outcomes whose rows wait for a commit.
#[derive(Debug, Default)]
struct Waiting {
    outcomes: Vec<(LogKey, Outcome)>,
    attempts: BTreeSet<AttemptKey>,
    bytes: usize,
    since: Option<Instant>,
}

/// What a commit gave: the outcomes, without their rows.
struct Committed {
    outcomes: Vec<(LogKey, Outcome)>,
    news: News,
    result: Result<(), CacheError>,
}

impl Waiting {
    fn push(&mut self, key: LogKey, outcome: Outcome) {
        if let Some(rows) = &outcome.rows {
            self.attempts.insert(key_of(rows));
        }
        self.bytes += outcome.written.as_ref().map_or(0, |written| written.buffered_bytes());
        self.since.get_or_insert_with(Instant::now);
        self.outcomes.push((key, outcome));
    }

    fn has_attempt_of(&self, outcome: &Outcome) -> bool {
        let rows = outcome.rows.as_ref();
        rows.is_some_and(|rows| self.attempts.contains(&key_of(rows)))
    }

    fn has_application(&self, app_ids: &BTreeSet<String>) -> bool {
        app_ids.iter().any(|app_id| {
            let attempts = self.attempts.range((app_id.as_str().into(), Arc::default())..);
            attempts.take(1).any(|(first, _)| **first == **app_id)
        })
    }

    fn is_due(&self) -> bool {
        self.bytes >= COMMIT_BYTES
            || self.outcomes.len() >= COMMIT_ATTEMPTS
            || self.since.is_some_and(|since| since.elapsed() >= COMMIT_AFTER)
    }
}

impl History {
    /// One scan: lists the sources, reads what is new or has grown, publishes what is known then.
    pub async fn scan_once(&self) -> ScanSummary {
        let start = Instant::now();
        let start_ms = now_ms();
        let mut ledger = self.ledger.lock().await;
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
        let listings = ahead.unwrap_or_else(|| self.begin_listing());
        self.take_over(&mut ledger).await;
        let reached = |what: &str| {
            let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::debug!(elapsed_ms, "scan: {what}");
        };
        reached("the column cache is taken over");
        let mut summary = ScanSummary {
            start_ms,
            ..self.list(&mut ledger, listings).await
        };
        reached("the sources are listed");
        self.verify(&mut ledger, &mut summary).await;
        let jobs = ledger.work();
        let is_listing_new = std::mem::take(&mut summary.changed);
        if is_listing_new || !jobs.is_empty() {
            self.publish(&mut ledger);
        }
        reached("the listing is published");
        Box::pin(self.read(&mut ledger, jobs, &mut summary)).await;
        for _ in 0..MOST_SUCCESSORS {
            let successors = ledger.work();
            if successors.is_empty() {
                break;
            }
            Box::pin(self.read(&mut ledger, successors, &mut summary)).await;
        }
        // Also what the cache has merged: files that nobody shows any more can be deleted, here and by another process.
        if summary.changed || self.is_behind() {
            self.publish(&mut ledger);
        }
        self.make_room(&mut ledger, &mut summary).await;
        summary.changed |= is_listing_new;
        // A source whose first listing takes longer than the others could wait keeps us from being ready, and nothing else.
        if self.source_log.are_known() {
            self.complete.store(true, Ordering::Release);
        }
        self.listed.send_replace(true);
        summary.logs = self.snapshot().event_logs.len();
        summary.requests = self.count_requests();
        summary.elapsed = start.elapsed();
        self.scans.push(summary.clone());
        if summary.commits > 0 {
            self.maintain();
        }
        if summary.changed {
            tracing::info!(
                logs = summary.logs,
                new = summary.new,
                grown = summary.grown,
                removed = summary.removed,
                restored = summary.restored,
                failed = summary.failed,
                bytes = summary.bytes,
                elapsed_ms = u64::try_from(summary.elapsed.as_millis()).unwrap_or(u64::MAX),
                "scan"
            );
        }
        summary
    }

    /// Reads the logs of evicted applications that statements wait for.
    pub(super) async fn read_wanted(&self) {
        let mut ledger = self.ledger.lock().await;
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let jobs = ledger.asked_for(&wanted);
        if jobs.is_empty() {
            return;
        }
        let mut summary = ScanSummary::default();
        Box::pin(self.read(&mut ledger, jobs, &mut summary)).await;
        if summary.changed {
            self.publish(&mut ledger);
        }
        if summary.commits > 0 {
            self.maintain();
        }
    }

    /// Has attempts give up their rows until the cache is small enough: those first that were asked for, or whose logs were written, the
    /// longest time ago. Takes some seconds at most; what is left is done the next time.
    async fn make_room(&self, ledger: &mut Ledger, summary: &mut ScanSummary) {
        let cache = self.cache.as_ref().and_then(CacheHandle::writer).cloned();
        let (Some(cache), Some(most)) = (cache, self.options.max_cache_bytes) else {
            return;
        };
        let snapshot = cache.snapshot();
        // The usual cases. Where rows of deleted logs are to stay, rows that leave might not come back.
        if snapshot.bytes() <= most
            || !self.options.follow_log_deletion
            || self.roomy_at.load(Ordering::Relaxed) == snapshot.seq()
        {
            return;
        }
        let bytes = snapshot.bytes_of_attempts();
        let mut live: u64 = bytes.values().sum();
        if live <= most {
            // Merging segments will free the rest.
            self.roomy_at.store(snapshot.seq(), Ordering::Relaxed);
            return;
        }
        let started = Instant::now();
        let uses = ledger.uses().last();
        let last_use =
            |app_id: &Arc<str>, modified_ms: i64| uses.get(app_id).map_or(modified_ms, |used| (*used).max(modified_ms));
        let mut attempts = ledger.evictable();
        attempts.sort_by_key(|(app_id, ord, modified_ms)| (last_use(app_id, *modified_ms), *ord));
        let mut attempts = attempts.into_iter();
        // Somewhat more than has to go, so that not every commit makes some go.
        let enough = most - most / 10;
        let mut evicted = 0;
        let is_waited_for = || !self.wanted.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        while live > enough && started.elapsed() < LONGEST_EVICTION && !is_waited_for() {
            let uses = ledger.uses().last();
            let recent = now_ms() - i64::try_from(KEPT_AFTER_USE.as_millis()).unwrap_or(i64::MAX);
            let mut some = Vec::new();
            while live > enough
                && some.len() < EVICTED_AT_ONCE
                && let Some((app_id, ord, _)) = attempts.next()
            {
                if uses.get(&app_id).is_none_or(|used| *used < recent) {
                    live = live.saturating_sub(bytes.get(&ord).copied().unwrap_or_default());
                    some.push(ord);
                }
            }
            if some.is_empty() {
                break;
            }
            let (writer, chosen) = (Arc::clone(&cache), some.clone());
            let done = self
                .readers()
                .spawn(async move { Box::pin(writer.evict(&chosen, &KEPT_TABLES)).await });
            match done.await {
                Ok(Ok(ords)) => {
                    evicted += ords.len();
                    summary.commits += 1;
                    ledger.evicted(&ords);
                    continue;
                }
                Ok(Err(error)) => {
                    tracing::error!(error = error_chain(&error), "no room can be made in the column cache");
                }
                Err(_panicked) => {
                    tracing::error!("a defect in sparkgate stopped making room in the column cache; please report it");
                }
            }
            // The commit may be there all the same.
            let now = cache.snapshot();
            let gone: BTreeSet<AttemptOrd> = some.into_iter().filter(|ord| now.by_ord(*ord).is_none()).collect();
            summary.changed |= ledger.lost(&gone) > 0;
            break;
        }
        if evicted > 0 {
            summary.changed = true;
            self.publish(ledger);
            tracing::info!(
                attempts = evicted,
                bytes = live,
                "rows left the column cache, because of [cache] max_bytes"
            );
        } else if !is_waited_for() {
            self.roomy_at.store(snapshot.seq(), Ordering::Relaxed);
            tracing::warn!(
                bytes = live,
                max_bytes = most,
                "the column cache is larger than [cache] max_bytes, and nothing in it can go now"
            );
        }
    }

    /// Whether the cache has moved on since readers were shown it.
    fn is_behind(&self) -> bool {
        let newest = self.cache.as_ref().map(|cache| cache.view().snapshot().seq());
        let shown = self.snapshot().cache.as_ref().map(|view| view.snapshot().seq());
        newest != shown
    }

    /// Takes over what the cache knows: once, if this process writes it; again whenever another one has written.
    async fn take_over(&self, ledger: &mut Ledger) {
        let Some(cache) = &self.cache else { return };
        let is_first = self.scans.count() == 0;
        let view = match cache {
            CacheHandle::Writer(cache) if is_first => cache.view(),
            CacheHandle::Writer(_) => return,
            CacheHandle::Reader(reader) => {
                let before = reader.snapshot().seq();
                match reader.refresh().await {
                    Ok(snapshot) if is_first || snapshot.seq() != before => reader.view(),
                    Ok(_) => return,
                    Err(error) => {
                        tracing::warn!(error = error_chain(&error), "the column cache cannot be read");
                        return;
                    }
                }
            }
        };
        let rows = self.readers().spawn(async move {
            let rows = own_rows(&view).await;
            (view, rows)
        });
        match rows.await {
            Ok((view, Ok(rows))) => ledger.restore(&view, &rows),
            Ok((_, Err(error))) => tracing::warn!(
                error = error_chain(&error),
                "the column cache is not used: the logs are read again"
            ),
            Err(_panicked) => {
                tracing::error!("a defect in sparkgate stopped reading the column cache; please report it")
            }
        }
    }

    /// Looks now and then, and when readers met damage, whether the files of the cache are all there; the logs of what is lost are read
    /// again.
    async fn verify(&self, ledger: &mut Ledger, summary: &mut ScanSummary) {
        let Some(cache) = &self.cache else { return };
        let view = cache.view();
        if !self.scans.count().is_multiple_of(SCANS_TO_VERIFY) && !view.has_damage() {
            return;
        }
        let missing = self.readers().spawn(async move { view.missing().await }).await;
        match missing {
            Ok(Ok(missing)) if missing.files.is_empty() => {}
            Ok(Ok(missing)) => {
                let lost = ledger.lost(&missing.attempts);
                summary.changed = true;
                tracing::warn!(
                    file = missing.files[0],
                    files = missing.files.len(),
                    logs = lost,
                    "files of the column cache are missing or damaged; the logs of what they held are read again"
                );
            }
            Ok(Err(error)) => tracing::warn!(error = error_chain(&error), "the column cache cannot be listed"),
            Err(_panicked) => tracing::error!("a defect in sparkgate stopped looking at the column cache"),
        }
    }

    /// Lists the sources, all at once, on the readers' threads: a listing may block on slow storage. One that is still under way goes on.
    pub(super) fn begin_listing(&self) -> Vec<BegunListing> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = |(index, source): (usize, &super::Source)| {
            late.remove(&index).unwrap_or_else(|| {
                let (store, path) = (Arc::clone(source.store()), source.path().to_owned());
                let discoverer = Arc::clone(&self.discoverers[index]);
                self.readers().spawn(list_source(discoverer, store, path))
            })
        };
        self.sources.iter().enumerate().map(begin).collect()
    }

    /// Takes what listings give, in the order in which they end. Who is late is not waited for: the others are read on meanwhile.
    async fn list(&self, ledger: &mut Ledger, listings: Vec<BegunListing>) -> ScanSummary {
        let mut summary = ScanSummary::default();
        let is_first = self.scans.count() == 0;
        // Who runs one statement and ends waits for everything.
        let patience = match (self.sources.len(), self.options.follow_growth) {
            (0 | 1, _) | (_, false) => None,
            _ if is_first => Some(FIRST_PATIENCE),
            _ => Some(PATIENCE),
        };
        let mut waiting: FuturesUnordered<_> = listings
            .into_iter()
            .enumerate()
            .map(|(index, listing)| Late {
                index,
                listing: Some(listing),
            })
            .collect();
        let mut until: Option<Instant> = None;
        while !waiting.is_empty() {
            let next = tokio::select! {
                next = waiting.next() => next,
                () = sleep_until(until), if until.is_some() => break,
            };
            let Some((index, listing)) = next else { break };
            until = until.or_else(|| patience.map(|patience| Instant::now() + patience));
            self.take_listing(ledger, &mut summary, index, listing);
        }
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        for waiting in waiting {
            let Some(listing) = waiting.listing else { continue };
            if is_first {
                let failure = "its listing is still under way".to_owned();
                let listed = ledger.unreachable(waiting.index, failure.clone());
                summary.restored += listed.restored;
                summary
                    .unreachable
                    .push(format!("{}: {failure}", self.sources[waiting.index].given()));
                summary.changed = true;
            }
            late.insert(waiting.index, listing);
        }
        summary
    }

    fn take_listing(
        &self,
        ledger: &mut Ledger,
        summary: &mut ScanSummary,
        index: usize,
        listing: Result<Result<Discovery, StoreError>, tokio::task::JoinError>,
    ) {
        let source = &self.sources[index];
        let failure = match listing {
            Ok(Ok(found)) => {
                self.source_log.listed(index, found.logs.len(), now_ms());
                let listed = ledger.listed(index, found, &self.options, Instant::now(), now_ms());
                if listed.reachability_changed {
                    tracing::info!(source = source.given(), "source can be listed again");
                }
                summary.removed += listed.removed;
                summary.restored += listed.restored;
                summary.changed |=
                    listed.removed > 0 || listed.restored > 0 || listed.reachability_changed || listed.skipped_changed;
                return;
            }
            Ok(Err(error)) => error_chain(&error),
            Err(_panicked) => "a defect in sparkgate stopped the listing; please report it".to_owned(),
        };
        self.source_log.failed(index, &failure, now_ms());
        let listed = ledger.unreachable(index, failure.clone());
        summary.restored += listed.restored;
        if listed.reachability_changed {
            tracing::warn!(
                source = source.given(),
                error = failure,
                "source cannot be listed; rows read before stay"
            );
            summary.changed = true;
        }
        summary.unreachable.push(format!("{}: {failure}", source.given()));
    }

    /// Requests since the last time, of sources that count them.
    fn count_requests(&self) -> Vec<(Arc<str>, Requests)> {
        let now = self.source_log.requests();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *counted, now.clone());
        let since = |(index, now): (usize, Requests)| {
            let given = self
                .source_log
                .given(index)
                .filter(|_| self.source_log.is_remote(index))?;
            Some((given, now - before.get(index).copied().unwrap_or_default()))
        };
        now.into_iter().enumerate().filter_map(since).collect()
    }

    /// Reads logs, as many at a time as there are threads, and commits what was read.
    async fn read(&self, ledger: &mut Ledger, jobs: Vec<Job>, summary: &mut ScanSummary) {
        let mut jobs: VecDeque<Job> = jobs.into();
        let unknown = jobs.iter().filter(|job| job.unknown);
        let unknown = unknown.map(|job| (job.key.clone(), job.source, Arc::clone(&job.log)));
        let unknown: Vec<(LogKey, usize, Arc<EventLog>)> = unknown.collect();
        let mut running: JoinSet<(LogKey, Outcome)> = JoinSet::new();
        let mut keys: HashMap<tokio::task::Id, LogKey> = HashMap::new();
        let mut waiting = Waiting::default();
        let mut committing: Option<JoinHandle<Committed>> = None;
        let mut last_commits = 3_usize;
        let mut next_publish = Instant::now() + SHORTEST_PUBLISH_INTERVAL;
        let mut look_at = (!*self.listed.borrow()).then(|| Instant::now() + LOOK_AFTER);
        let mut unpublished = false;
        let mut roomy_commits = summary.commits;
        let mut seen = BTreeSet::new();
        loop {
            let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
            jobs.extend(ledger.asked_for(&wanted));
            seen.clone_from(&wanted);
            if committing.is_none() && summary.commits >= roomy_commits + COMMITS_TO_ROOM {
                Box::pin(self.make_room(ledger, summary)).await;
                roomy_commits = summary.commits;
            }
            let may_start = waiting.bytes < MOST_WAITING_BYTES;
            while may_start && let Some(job) = self.next_job(&mut jobs, &wanted, running.len()) {
                if !job.retry {
                    *(if job.new { &mut summary.new } else { &mut summary.grown }) += 1;
                    summary.bytes += job.bytes;
                }
                let task = Task {
                    store: Arc::clone(self.sources[job.source].store()),
                    log: job.log,
                    live: job.live,
                    cache: self.cache.as_ref().and_then(CacheHandle::writer).cloned(),
                    follow_growth: self.options.follow_growth,
                    now_ms: now_ms(),
                };
                let (key, name) = (job.key.clone(), job.key);
                let read = async move { (key, read_log(task).await) };
                keys.insert(running.spawn_on(read, self.readers().handle()).id(), name);
            }
            let is_last = running.is_empty() && jobs.is_empty();
            let is_wanted = waiting.has_application(&wanted);
            if committing.is_none() && (waiting.is_due() || is_wanted || is_last) {
                let some = std::mem::take(&mut waiting);
                // What the last commit made known is told as well, but what cannot be told is not tried for ever.
                if !some.outcomes.is_empty() || (is_last && ledger.has_news() && last_commits > 0) {
                    last_commits = last_commits.saturating_sub(usize::from(is_last));
                    let (begun, changed) = self.commit(ledger, some, summary);
                    unpublished |= changed;
                    committing = begun;
                }
            }
            if is_last && committing.is_none() && waiting.outcomes.is_empty() {
                break;
            }
            tokio::select! {
                Some(done) = running.join_next_with_id() => match done {
                    Ok((id, (key, mut outcome))) => {
                        keys.remove(&id);
                        match ledger.judge(&key, &mut outcome) {
                            Verdict::Take => unpublished |= self.take(ledger, &key, outcome, summary),
                            Verdict::Commit => {
                                // Of two logs of one attempt the one that is read later takes the place of the other.
                                if waiting.has_attempt_of(&outcome) {
                                    if let Some(before) = committing.take() {
                                        unpublished |= self.committed(ledger, before.await, summary);
                                    }
                                    let some = std::mem::take(&mut waiting);
                                    let (begun, changed) = self.commit(ledger, some, summary);
                                    unpublished |= changed;
                                    committing = begun;
                                }
                                waiting.push(key, outcome);
                            }
                        }
                    }
                    Err(panicked) => {
                        summary.failed += 1;
                        summary.changed = true;
                        unpublished = true;
                        if let Some(key) = keys.remove(&panicked.id()) {
                            tracing::error!(
                                log = &*key,
                                "a defect in sparkgate stopped reading a log; please report it"
                            );
                            ledger.panicked(&key, now_ms());
                        }
                    }
                },
                committed = async { committing.as_mut().expect("checked").await }, if committing.is_some() => {
                    committing = None;
                    unpublished |= self.committed(ledger, committed, summary);
                }
                () = sleep_until(look_at), if look_at.is_some() => {
                    look_at = None;
                    self.look(ledger, &unknown, &mut jobs).await;
                    summary.changed = true;
                    self.publish(ledger);
                    self.listed.send_replace(true);
                }
                () = sleep_until(waiting.since.map(|since| since + COMMIT_AFTER)),
                    if waiting.since.is_some() && committing.is_none() => {}
                () = self.wake.notified() => {}
            }
            if unpublished && (!wanted.is_empty() || Instant::now() >= next_publish) {
                let cost = self.publish(ledger);
                unpublished = false;
                next_publish = Instant::now() + SHORTEST_PUBLISH_INTERVAL.max(cost * PUBLISH_COST_FACTOR);
                let snapshot = self.snapshot();
                let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
                wanted.retain(|app_id| snapshot.unread.contains(app_id.as_str()));
            }
        }
        // What came since is for the next time.
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.retain(|app_id| !seen.contains(app_id));
    }

    /// The next log to read, if there is a thread for it: one that a statement waits for goes first, and does not wait for a thread.
    fn next_job(&self, jobs: &mut VecDeque<Job>, wanted: &BTreeSet<String>, running: usize) -> Option<Job> {
        if !wanted.is_empty() && running < 2 * self.threads {
            let is_wanted = |job: &Job| job.app_id.as_ref().is_some_and(|app_id| wanted.contains(&**app_id));
            if let Some(at) = jobs.iter().position(is_wanted) {
                return jobs.remove(at);
            }
        }
        // To read a small log over a network is mostly to wait, and costs little memory: some wait side by side. Their lines are folded on as
        // many threads as ever.
        let waits = |job: &Job| job.bytes <= SMALL_LOG && self.sources[job.source].is_remote();
        let most = match jobs.front() {
            Some(job) if waits(job) => READS_PER_THREAD * self.threads,
            _ => self.threads,
        };
        if running < most { jobs.pop_front() } else { None }
    }

    /// Looks at the heads and tails of logs that nothing is known of, also of those that are being read.
    async fn look(&self, ledger: &mut Ledger, unknown: &[(LogKey, usize, Arc<EventLog>)], jobs: &mut VecDeque<Job>) {
        let of_job: HashMap<LogKey, usize> = jobs.iter().enumerate().map(|(at, job)| (job.key.clone(), at)).collect();
        let unknown: Vec<_> = unknown.iter().filter(|(key, ..)| ledger.is_unknown(key)).collect();
        let mut unknown = unknown.into_iter();
        let mut looking: JoinSet<(LogKey, Option<AttemptRows>)> = JoinSet::new();
        let mut found = 0_usize;
        loop {
            while looking.len() < LOOKS_PER_THREAD * self.threads
                && let Some((key, source, log)) = unknown.next()
            {
                let (key, log, store) = (key.clone(), Arc::clone(log), Arc::clone(self.sources[*source].store()));
                looking.spawn_on(async move { (key, look_at(store, log).await) }, self.readers().handle());
            }
            match looking.join_next().await {
                None => break,
                Some(Ok((key, Some(rows)))) => {
                    if let Some(job) = of_job.get(&key).and_then(|at| jobs.get_mut(*at)) {
                        job.app_id = Some(rows.app_id.clone());
                    }
                    ledger.looked_at(&key, rows);
                    found += 1;
                    // A row by itself takes twenty times the memory that it takes among others.
                    if found.is_multiple_of(LOOKS_TO_JOIN) {
                        ledger.join();
                    }
                }
                // Reading the log will say what is wrong with it.
                Some(Ok((_, None)) | Err(_)) => {}
            }
        }
    }

    /// Begins to commit rows, and what else the cache has to be told. `true` if something is to be published already.
    fn commit(
        &self,
        ledger: &mut Ledger,
        waiting: Waiting,
        summary: &mut ScanSummary,
    ) -> (Option<JoinHandle<Committed>>, bool) {
        let Some(cache) = self.cache.as_ref().and_then(CacheHandle::writer).cloned() else {
            return (None, false);
        };
        let (mut outcomes, mut changed) = (Vec::with_capacity(waiting.outcomes.len()), false);
        for (key, mut outcome) in waiting.outcomes {
            // Another log of the attempt may have been committed since it was read.
            match ledger.judge(&key, &mut outcome) {
                Verdict::Commit => outcomes.push((key, outcome)),
                Verdict::Take => changed |= self.take(ledger, &key, outcome, summary),
            }
        }
        let news = ledger.news();
        let mut changes = news.changes(&cache.snapshot());
        for (_, outcome) in &mut outcomes {
            if let (Some(written), Some(rows)) = (outcome.written.take(), &mut outcome.rows) {
                rows.stored = Some(written.ord());
                changes.put.push(written);
            }
        }
        if changes.is_empty() && outcomes.is_empty() {
            return (None, changed);
        }
        // The CPU time of a commit is that of its files, so it belongs to the readers.
        let committing = self.readers().spawn(async move {
            let result = Box::pin(cache.commit(changes)).await.map(|_| ());
            Committed { outcomes, news, result }
        });
        (Some(committing), changed)
    }

    /// Takes the outcomes of a commit; `true` if something is to be published.
    fn committed(
        &self,
        ledger: &mut Ledger,
        committed: Result<Committed, tokio::task::JoinError>,
        summary: &mut ScanSummary,
    ) -> bool {
        let Ok(Committed { outcomes, news, result }) = committed else {
            tracing::error!("a defect in sparkgate stopped a commit to the column cache; please report it");
            return false;
        };
        let mut changed = false;
        match result {
            Ok(()) => {
                summary.commits += 1;
                for (key, outcome) in outcomes {
                    changed |= self.take(ledger, &key, outcome, summary);
                }
                if summary.commits.is_multiple_of(COMMITS_TO_COMPACTION) {
                    self.maintain();
                }
            }
            Err(error) => {
                tracing::error!(
                    error = error_chain(&error),
                    logs = outcomes.len(),
                    "rows cannot be written to the column cache; their logs are read again with the next scan"
                );
                ledger.not_told(news);
                for (key, outcome) in outcomes {
                    let outcome = Outcome::nothing(outcome.log, Failure::of_cache(&error));
                    changed |= self.take(ledger, &key, outcome, summary);
                }
            }
        }
        changed
    }

    fn take(&self, ledger: &mut Ledger, key: &LogKey, outcome: Outcome, summary: &mut ScanSummary) -> bool {
        let failure = outcome.failure.clone();
        let changed = ledger.read(key, outcome, now_ms());
        summary.changed |= changed;
        summary.failed += usize::from(failure.is_some());
        if let Some(failure) = failure.as_ref().filter(|failure| failure.cause == Cause::Cache) {
            summary.unwritten.get_or_insert_with(|| failure.message.clone());
        }
        if changed && let Some(failure) = failure {
            tracing::warn!(log = &**key, error = failure.message, "log cannot be read to its end");
        }
        changed
    }

    /// Merges segments and deletes files that nobody needs, beside everything else.
    fn maintain(&self) {
        let Some(cache) = self.cache.as_ref().and_then(CacheHandle::writer).cloned() else {
            return;
        };
        let Ok(alone) = Arc::clone(&self.maintaining).try_lock_owned() else {
            return;
        };
        self.readers().spawn(async move {
            if let Err(error) = Box::pin(maintain(&cache)).await {
                tracing::warn!(
                    error = error_chain(&error),
                    "the column cache cannot be tidied up; it is tried again later"
                );
            }
            drop(alone);
        });
    }

    /// Waits until segments are merged, if they are being.
    pub async fn settle(&self) {
        drop(self.maintaining.lock().await);
    }
}

/// Logs of remote sources that are read side by side for each thread, if none of them is larger than one request or two.
const READS_PER_THREAD: usize = 8;
const SMALL_LOG: u64 = 1 << 20;
/// Logs that are looked at before their rows are joined.
const LOOKS_TO_JOIN: usize = 2000;
/// Logs that are looked at side by side for each thread: to look is mostly to wait.
const LOOKS_PER_THREAD: usize = 8;

async fn maintain(cache: &Cache) -> Result<(), CacheError> {
    // Files that nobody needs go also where others cannot be merged.
    let compacted = Box::pin(cache.compact()).await;
    Box::pin(cache.collect()).await?;
    compacted.map(|_| ())
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

/// The own rows of all attempts in the cache.
async fn own_rows(view: &CacheView) -> Result<HashMap<AttemptOrd, ListedRow>, CacheError> {
    let mut rows = HashMap::new();
    for (batch, ords) in Box::pin(view.table(&APPLICATION_ATTEMPTS)).await? {
        let batch = Arc::new(batch);
        for (row, ord) in ords.into_iter().enumerate() {
            let batch = Arc::clone(&batch);
            rows.insert(ord, ListedRow { batch, row });
        }
    }
    Ok(rows)
}

/// A listing under way. When its source is late, it is taken out again.
struct Late {
    index: usize,
    listing: Option<BegunListing>,
}

impl Future for Late {
    type Output = (usize, Result<Result<Discovery, StoreError>, tokio::task::JoinError>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let index = self.index;
        let Some(listing) = &mut self.listing else {
            return Poll::Pending;
        };
        Pin::new(listing).poll(context).map(|listed| (index, listed))
    }
}

/// Lists a source. A single log that was named while it was `.inprogress` is found under its final name, too.
async fn list_source(
    discoverer: Arc<tokio::sync::Mutex<Discoverer>>,
    store: Arc<dyn LogStore>,
    path: String,
) -> Result<Discovery, StoreError> {
    let mut discoverer = discoverer.lock().await;
    match (
        discoverer.discover(&*store, &path).await,
        path.strip_suffix(".inprogress"),
    ) {
        (Err(StoreError::NotFound { .. }), Some(final_name)) => discoverer.discover(&*store, final_name).await,
        (found, _) => found,
    }
}
