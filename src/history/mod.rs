//! Keeps rows and logs in step, as Spark's `FsHistoryProvider` does.
//!
//! A scan lists every source, reads what is new or has grown, and publishes one immutable [`Snapshot`]. Readers take the
//! snapshot of the moment and are never waited for. Logs are read on threads of their own, so neither the network nor
//! statements wait for them.
//!
//! What happens to logs:
//! - Rows of a log that ended go into the column cache, and are read from there; the next process reads no log that did not change. Rows of
//!   a log that grows are in memory, and it is read from where it was left; one that was replaced is read again from its start.
//! - A first scan that takes long looks at the head and the tail of every log before it reads on, so that all applications are listed.
//!   A statement that names an application whose log is not read yet has it read first ([`History::ensure_read`]).
//! - Rows of a deleted log go away (`follow_log_deletion`). Rows of a source that cannot be listed **stay**, and its entries
//!   say why: storage that is down must not empty the tables. It recovers by itself with a later scan.
//! - A log that cannot be read is an entry with the reason, and is tried again. It never stops the rest.
//!
//! Without a cache all rows are in memory.

mod ledger;
pub mod listing;
mod parallel;
mod read;
mod scan;
pub mod snapshot;
mod source;
pub mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::cache::{Cache, CacheReader, CacheView};
use crate::catalog::SnapshotSource;
use crate::event_log::store::Requests;
use crate::event_log::{Discoverer, Discovery, EventLog, LogReader, LogStore, StoreError};

use ledger::Ledger;
pub use parallel::LogFold;
pub use scan::{ScanLog, ScanSummary};
pub use snapshot::{AttemptRows, LogEntry, LogState, Snapshot};
pub use source::{Source, SourceError};
pub use sources::{Reach, SourceLog, SourceState};

/// How logs are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Logs that are read side by side; 0 is the number of cores.
    pub threads: usize,
    /// Rows of a deleted log go away with the next scan.
    pub follow_log_deletion: bool,
    /// Rows of logs that grow stay in memory, to be read on; else they go into the cache as they are, for the next process.
    pub follow_growth: bool,
    /// Logs that were last written longer ago are not shown.
    pub max_age: Option<Duration>,
    /// Of more logs in a source the newest are shown.
    pub max_logs: Option<usize>,
    /// A larger column cache makes applications give up their rows until someone asks for them.
    pub max_cache_bytes: Option<u64>,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        HistoryOptions {
            threads: 0,
            follow_log_deletion: true,
            follow_growth: true,
            max_age: None,
            max_logs: None,
            max_cache_bytes: None,
        }
    }
}

/// The column cache of a history.
#[derive(Debug, Clone)]
pub enum CacheHandle {
    /// This process writes it.
    Writer(Arc<Cache>),
    /// Another one may: its rows are taken, and what it lacks is read into memory.
    Reader(Arc<CacheReader>),
}

impl CacheHandle {
    fn view(&self) -> CacheView {
        match self {
            CacheHandle::Writer(cache) => cache.view(),
            CacheHandle::Reader(reader) => reader.view(),
        }
    }

    fn writer(&self) -> Option<&Arc<Cache>> {
        match self {
            CacheHandle::Writer(cache) => Some(cache),
            CacheHandle::Reader(_) => None,
        }
    }
}

/// Everything known of some sources.
#[derive(Debug)]
pub struct History {
    sources: Vec<Source>,
    options: HistoryOptions,
    cache: Option<CacheHandle>,
    snapshot: RwLock<Arc<Snapshot>>,
    /// Held over a whole scan: there is one at a time.
    ledger: tokio::sync::Mutex<Ledger>,
    scans: ScanLog,
    /// Logs are read here; `None` only while dropping.
    readers: Option<Runtime>,
    /// Listings for the first scan that were begun before it.
    ahead: Mutex<Option<Vec<BegunListing>>>,
    /// Listings that took longer than others could wait, by source.
    late: Mutex<BTreeMap<usize, BegunListing>>,
    /// What each source needs not list again.
    discoverers: Vec<Arc<tokio::sync::Mutex<Discoverer>>>,
    source_log: SourceLog,
    /// Requests of each source up to the last scan.
    counted: Mutex<Vec<Requests>>,
    threads: usize,
    /// A scan has read everything that it found.
    complete: AtomicBool,
    /// Every application that can be listed is.
    listed: watch::Sender<bool>,
    /// Counts the snapshots that were published.
    published: watch::Sender<u64>,
    /// Applications that statements wait for, and who reads them is told.
    wanted: Mutex<BTreeSet<String>>,
    wake: Notify,
    /// The commit that left nothing in the cache that could give up its rows, or had to.
    roomy_at: AtomicU64,
    /// Held while segments are merged and files deleted.
    maintaining: Arc<tokio::sync::Mutex<()>>,
}

/// The listing of a source, under way.
type BegunListing = JoinHandle<Result<Discovery, StoreError>>;

/// How far reading is, for `/health/ready`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// A whole scan is behind us: what is not there now is not in the sources, or could not be read.
    pub is_complete: bool,
    /// Event logs in the sources.
    pub logs_seen: usize,
    /// Those that were read at least once, or could not be.
    pub logs_read: usize,
    /// Sources that cannot be listed now, as they were given: what is shown of them may be out of date.
    pub stale: Vec<String>,
    /// Stored bytes of each.
    pub bytes_seen: u64,
    pub bytes_read: u64,
    /// Sources that cannot be listed now.
    pub unreachable: Vec<String>,
    /// Why rows that were read are missing: the column cache could not take them with the last scan.
    pub unwritten: Option<String>,
}

/// The files of one log, as they lie.
#[derive(Debug)]
pub struct LogFiles {
    /// The last part of the path of the file or directory.
    pub name: String,
    pub is_rolling: bool,
    pub files: Vec<LogFileEntry>,
}

/// One file of a log.
#[derive(Debug)]
pub struct LogFileEntry {
    /// Path from where the log lies: the name, of a rolling log below its directory.
    pub name: String,
    /// Path in its store.
    pub path: String,
    pub size_bytes: u64,
}

/// A statement needs the rows of an application whose log is not read in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReadYet {
    #[error(
        "the log of application {app_id} is still being read: {bytes_read} of {bytes_seen} bytes of all logs are; try again later"
    )]
    Reading {
        app_id: String,
        bytes_read: u64,
        bytes_seen: u64,
    },
    /// Its rows had to leave the column cache, or could not be written there.
    #[error("the rows of application {app_id} are not at hand, and its log cannot be read now: {problem}")]
    Unreadable { app_id: String, problem: String },
    /// They left the column cache between planning and now.
    #[error("the rows of application {app_id} have to be read from its log first; try again")]
    Evicted { app_id: String },
}

impl History {
    /// Starts the threads that read logs; nothing is read before [`Self::scan_once`].
    pub fn new(sources: Vec<Source>, options: HistoryOptions) -> io::Result<Self> {
        History::with_cache(sources, options, None)
    }

    /// As [`Self::new`], with a cache that rows go to and come from.
    pub fn with_cache(sources: Vec<Source>, options: HistoryOptions, cache: Option<CacheHandle>) -> io::Result<Self> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if options.threads == 0 { cores() } else { options.threads };
        let readers = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("read-logs")
            .enable_all()
            .build()?;
        let scans = ScanLog::default();
        let names = sources
            .iter()
            .map(|source| (source.given().to_owned(), source.path().to_owned()));
        let ledger = tokio::sync::Mutex::new(Ledger::new(names, scans.clone()));
        let discoverers = sources.iter().map(|_| Arc::default()).collect();
        let source_log = SourceLog::new(&sources);
        let mut history = History {
            sources,
            late: Mutex::default(),
            discoverers,
            source_log,
            counted: Mutex::default(),
            options,
            cache: None,
            snapshot: RwLock::new(Arc::new(Snapshot::default())),
            ledger,
            scans,
            readers: Some(readers),
            ahead: Mutex::default(),
            threads,
            complete: AtomicBool::new(false),
            listed: watch::Sender::new(false),
            published: watch::Sender::new(0),
            wanted: Mutex::default(),
            wake: Notify::new(),
            roomy_at: AtomicU64::new(u64::MAX),
            maintaining: Arc::default(),
        };
        history.use_cache(cache);
        Ok(history)
    }

    /// Begins the listings of the first scan, so that the cache is opened beside them.
    pub fn list_ahead(&mut self) {
        self.ahead = Mutex::new(Some(self.begin_listing()));
    }

    /// Rows go there and come from there. Nothing was read before.
    pub fn use_cache(&mut self, cache: Option<CacheHandle>) {
        let writes = cache.as_ref().is_some_and(|cache| cache.writer().is_some());
        self.ledger.get_mut().use_cache(writes);
        self.cache = cache;
    }

    /// Looks whether every source is there.
    pub async fn check_sources(&self) -> Result<(), SourceError> {
        for source in &self.sources {
            source.check().await?;
        }
        Ok(())
    }

    /// Looks whether every source without a network is there. Who goes on running waits for the others.
    pub async fn check_local_sources(&self) -> Result<(), SourceError> {
        for source in self.sources.iter().filter(|source| !source.is_remote()) {
            source.check().await?;
        }
        Ok(())
    }

    /// Scans every `interval`, from start to start, until `shutdown` says `true` or is dropped. The first scan is due one
    /// interval from now.
    pub async fn run(&self, interval: Duration, mut shutdown: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let scans = async {
            loop {
                tokio::select! {
                    _ = ticks.tick() => drop(self.scan_once().await),
                    () = self.wake.notified() => self.read_wanted().await,
                }
            }
        };
        // A scan that is dropped half-way loses nothing but its work: see `Ledger::work`.
        tokio::select! {
            () = scans => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    /// Reads what statements wait for, for as long as this is polled: who does not [`Self::run`] has to do that.
    pub async fn answer_wanted(&self) {
        loop {
            self.wake.notified().await;
            self.read_wanted().await;
        }
    }

    /// Whether statements have met a file of the column cache that is not what was written; the next scan reads its logs again.
    pub fn has_damage(&self) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.view().has_damage())
    }

    /// Waits until every application that can be listed is: a scan has read everything, or has looked at what it did not read yet.
    pub async fn until_listed(&self) {
        // The sender is ours, so it is there.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// Waits until every log of some applications that was seen is read, or could not be. They are read before others.
    pub async fn ensure_read(&self, app_ids: &[String], within: Duration) -> Result<(), NotReadYet> {
        let mut published = self.published.subscribe();
        let deadline = tokio::time::Instant::now() + within;
        {
            let snapshot = self.snapshot();
            for rows in app_ids
                .iter()
                .filter_map(|app_id| snapshot.attempts.of_application(app_id).first())
            {
                snapshot.uses.note(&rows.app_id);
            }
        }
        loop {
            published.mark_unchanged();
            let snapshot = self.snapshot();
            let missing: Vec<&String> = app_ids
                .iter()
                .filter(|app_id| snapshot.unread.contains(app_id.as_str()))
                .collect();
            let Some(first) = missing.first() else { return Ok(()) };
            {
                let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
                wanted.extend(missing.iter().map(|app_id| (*app_id).clone()));
            }
            self.wake.notify_one();
            if tokio::time::timeout_at(deadline, published.changed()).await.is_err() {
                let app_id = (*first).clone();
                let snapshot = self.snapshot();
                if let Some(problem) = snapshot.problem_of(&app_id).cloned() {
                    return Err(NotReadYet::Unreadable { app_id, problem });
                }
                let progress = self.progress();
                return Err(NotReadYet::Reading {
                    app_id,
                    bytes_read: progress.bytes_read,
                    bytes_seen: progress.bytes_seen,
                });
            }
        }
    }

    /// How far reading is.
    pub fn progress(&self) -> Progress {
        let mut progress = Progress {
            is_complete: self.complete.load(Ordering::Acquire),
            ..Progress::default()
        };
        let snapshot = self.snapshot();
        for entry in snapshot.event_logs.iter().filter(|entry| entry.format.is_some()) {
            let bytes = u64::try_from(entry.size_bytes).unwrap_or_default();
            progress.logs_seen += 1;
            progress.bytes_seen += bytes;
            if entry.status != LogState::Waiting {
                progress.logs_read += 1;
                progress.bytes_read += bytes;
            }
        }
        progress.unreachable.clone_from(&snapshot.unreachable);
        let stale = self.source_log.states().into_iter().filter(|source| source.is_stale);
        progress.stale = stale.map(|source| source.given.to_string()).collect();
        progress.unwritten = self.scans.last().and_then(|scan| scan.unwritten);
        progress
    }

    /// The files of a log as they lie now. Of a rolling log that is everything in its directory, also what a compaction has replaced.
    pub async fn log_files(&self, log: &EventLog) -> Result<LogFiles, StoreError> {
        let store = self.store_of(log);
        let name = last_part(&log.path);
        if !log.rolling {
            let entry = store.head(&log.path).await?;
            let file = LogFileEntry {
                name: name.clone(),
                path: log.path.to_string(),
                size_bytes: entry.size_bytes,
            };
            return Ok(LogFiles {
                name,
                is_rolling: false,
                files: vec![file],
            });
        }
        let entries = store.list(&log.path).await?;
        let files = entries
            .into_iter()
            .filter(|entry| !entry.is_dir && !entry.is_special)
            .map(|entry| LogFileEntry {
                name: format!("{name}/{}", entry.name),
                path: entry.path,
                size_bytes: entry.size_bytes,
            })
            .collect();
        Ok(LogFiles {
            name,
            is_rolling: true,
            files,
        })
    }

    /// Bytes of one of [`Self::log_files`]; fewer only where the file ends.
    pub async fn read_log_file(&self, log: &EventLog, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.store_of(log).read(path, range).await
    }

    /// The store that a log was found in.
    fn store_of(&self, log: &EventLog) -> &Arc<dyn LogStore> {
        let inside = |source: &&Source| {
            log.path
                .strip_prefix(source.path())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let source = self.sources.iter().find(inside).or_else(|| self.sources.first());
        source.expect("a log comes from a source").store()
    }

    /// Gives readers what is known now; says how long that took.
    fn publish(&self, ledger: &mut Ledger) -> Duration {
        let start = Instant::now();
        let snapshot = Snapshot {
            sources: self.source_log.clone(),
            ..ledger.snapshot(self.cache.as_ref().map(CacheHandle::view))
        };
        let snapshot = Arc::new(snapshot);
        let before = {
            let mut current = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, snapshot)
        };
        // Outside the lock: this may be the last reference to a large snapshot.
        drop(before);
        self.published.send_modify(|count| *count += 1);
        start.elapsed()
    }

    fn readers(&self) -> &Runtime {
        self.readers.as_ref().expect("the runtime is taken by drop alone")
    }
}

impl SnapshotSource for History {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn open_log(&self, log: &Arc<EventLog>) -> LogReader {
        LogReader::new(Arc::clone(self.store_of(log)), Arc::clone(log))
    }

    fn ensure_read<'a>(&'a self, app_ids: &'a [String], within: Duration) -> BoxFuture<'a, Result<(), NotReadYet>> {
        History::ensure_read(self, app_ids, within).boxed()
    }

    fn cache(&self) -> Option<CacheView> {
        self.cache.as_ref().map(CacheHandle::view)
    }
}

impl Drop for History {
    fn drop(&mut self) {
        // A runtime that is dropped inside another one would wait, and waiting is not allowed there.
        if let Some(readers) = self.readers.take() {
            readers.shutdown_background();
        }
    }
}

fn last_part(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::StorageConfig;

    const LINE: &str = "{\"Event\":\"SparkListenerLogStart\",\"Spark Version\":\"4.1.0\"}\n";

    fn history(dir: &Path) -> History {
        let source = Source::parse(dir.to_str().unwrap(), &StorageConfig::default()).unwrap();
        History::new(
            vec![source],
            HistoryOptions {
                threads: 2,
                ..HistoryOptions::default()
            },
        )
        .unwrap()
    }

    /// Name and lines of each entry.
    fn lines(history: &History) -> Vec<(String, i64)> {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        history
            .snapshot()
            .event_logs
            .iter()
            .map(|entry| (name(&entry.path), entry.lines))
            .collect()
    }

    #[tokio::test]
    async fn a_log_that_grows_and_is_renamed_goes_on_where_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let (running, ended) = (dir.path().join("app-1.inprogress"), dir.path().join("app-1"));
        let history = history(dir.path());
        fs::write(&running, LINE).unwrap();
        let summary = history.scan_once().await;
        assert_eq!((summary.new, summary.grown, summary.bytes), (1, 0, LINE.len() as u64));
        assert!(!history.scan_once().await.changed);

        fs::write(&running, LINE.repeat(3)).unwrap();
        let summary = history.scan_once().await;
        assert_eq!(
            (summary.new, summary.grown, summary.bytes),
            (0, 1, 2 * LINE.len() as u64)
        );
        assert_eq!(lines(&history), [("app-1.inprogress".to_owned(), 3)]);

        fs::rename(&running, &ended).unwrap();
        let summary = history.scan_once().await;
        assert_eq!((summary.new, summary.removed, summary.bytes), (0, 0, 0));
        assert_eq!(lines(&history), [("app-1".to_owned(), 3)]);

        fs::write(&ended, LINE).unwrap();
        history.scan_once().await;
        assert_eq!(
            lines(&history),
            [("app-1".to_owned(), 1)],
            "a log that shrank is read from its start"
        );

        fs::remove_file(&ended).unwrap();
        assert_eq!(history.scan_once().await.removed, 1);
        assert!(lines(&history).is_empty());
    }

    #[tokio::test]
    async fn a_source_that_goes_away_keeps_its_entries_and_recovers() {
        let dir = tempfile::tempdir().unwrap();
        let (logs, elsewhere) = (dir.path().join("logs"), dir.path().join("elsewhere"));
        fs::create_dir(&logs).unwrap();
        fs::write(logs.join("app-1"), LINE).unwrap();
        let history = history(&logs);
        history.check_sources().await.unwrap();
        history.scan_once().await;

        fs::rename(&logs, &elsewhere).unwrap();
        let summary = history.scan_once().await;
        assert!(summary.changed && summary.unreachable.len() == 1, "{summary:?}");
        assert!(!history.scan_once().await.changed);
        let entry = history.snapshot().event_logs[0].clone();
        assert_eq!((entry.status, entry.lines), (LogState::Failed, 1));
        assert!(entry.error.as_ref().unwrap().contains("does not exist"));

        fs::rename(&elsewhere, &logs).unwrap();
        let summary = history.scan_once().await;
        assert_eq!((summary.changed, summary.new, summary.grown), (true, 0, 0));
        assert!(history.snapshot().event_logs[0].status != LogState::Failed);
    }

    #[tokio::test]
    async fn a_single_log_is_found_under_its_final_name() {
        let dir = tempfile::tempdir().unwrap();
        let running = dir.path().join("app-1.inprogress");
        fs::write(&running, LINE).unwrap();
        let history = history(&running);
        history.scan_once().await;
        fs::rename(&running, dir.path().join("app-1")).unwrap();
        assert!(history.scan_once().await.unreachable.is_empty());
        assert_eq!(lines(&history), [("app-1".to_owned(), 1)]);
        history.check_sources().await.unwrap();
    }

    #[tokio::test]
    async fn scans_go_on_until_they_are_told_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let history = Arc::new(history(dir.path()));
        let (stop, stopped) = watch::channel(false);
        fs::write(dir.path().join("app-1"), LINE).unwrap();
        let scans = async {
            let until_seen = async {
                while lines(&history).is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), until_seen)
                .await
                .expect("the log is seen");
            stop.send(true).unwrap();
        };
        tokio::join!(history.run(Duration::from_millis(20), stopped), scans);
    }
}
