//! One listing of a source → the event logs in it, and why everything else in it is none.
//!
//! What is listed is what Spark's history server lists (`FsHistoryProvider.checkForLogs`, `EventLogFileReaders.scala`), by
//! names and sizes alone: no file is opened. One LIST for the source, and one for each rolling directory in it; an object store, which may
//! list all of these at once, is asked twice. What a [`Discoverer`] has listed and cannot have changed is not listed again. Where a store
//! lists too little of a file that is being written, it is asked how long that file really is.
//!
//! Two deliberate differences. A rolling log whose last file is still empty is listed: Spark lists it or not depending on
//! whether it saw it before. And a compaction that is being written (`….compact.inprogress`) does not hide its log.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::join_all;

use super::name::{self, FileName, RollingFile};
use super::store::{Entry, OpenFile};
use super::{EventLog, LogFile, LogStore, StoreError};

/// Rolling directories listed at the same time: hides the latency of an object store without flooding it.
const PARALLEL_LISTS: usize = 16;

/// A directory that changed less than this before it was listed may have changed again within the same tick of the store's clock, which may
/// also differ from ours.
const SETTLED_MS: i64 = 60_000;

/// What one listing found.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    /// The event logs, in the order of their names.
    pub logs: Vec<EventLog>,
    /// Entries that are no event logs, or cannot be used, each with the reason.
    pub skipped: Vec<NotALog>,
}

/// A file or directory that is not listed as an event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotALog {
    /// Its path in the store.
    pub path: String,
    /// Its size in bytes; of a rolling directory, the sum over its files.
    pub size_bytes: u64,
    /// Its modification time, milliseconds since the epoch.
    pub modified_ms: i64,
    /// Why it is not listed.
    pub reason: SkipReason,
}

/// Why something is not listed as an event log; its text is a sentence for users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// The name starts with a dot.
    Hidden,
    /// A pipe, a socket, a device, or a link that leads nowhere.
    NotAFile,
    /// No byte was written yet.
    Empty,
    /// The text after the last dot of the name is no codec.
    UnknownCodec {
        /// That text.
        suffix: String,
    },
    /// A rolling directory without its `appstatus_…` file.
    NoAppStatus,
    /// A rolling directory without an `events_…` file.
    NoEventFiles,
    /// A rolling directory with a gap: what is there cannot be replayed without what is not.
    MissingEventFile {
        /// Index of the first missing file.
        index: u64,
    },
    /// A rolling directory with two files of one index, or with one whose name has no index.
    AmbiguousEventFile {
        /// Name of the file.
        name: String,
    },
    /// An in-progress file beside the finished file of the same log.
    Superseded {
        /// Path of the finished file.
        by: String,
    },
    /// A directory that is no rolling event log.
    NotAnEventLogDirectory,
    /// Something has been written, and nothing of it can be read yet.
    Behind {
        /// Why, as the store says.
        message: Arc<str>,
    },
    /// The directory could not be listed.
    Unreadable {
        /// What the store said.
        message: String,
    },
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::Hidden => f.write_str("hidden: the name starts with a dot"),
            SkipReason::NotAFile => f.write_str("not a file: a pipe, a socket, a device, or a link that leads nowhere"),
            SkipReason::Empty => f.write_str("empty: nothing has been written yet"),
            SkipReason::UnknownCodec { suffix } => {
                write!(
                    f,
                    "not an event log: no decoder for suffix {suffix:?}; Spark writes lz4, lzf, snappy or zstd"
                )
            }
            SkipReason::NoAppStatus => f.write_str("rolling event log without an appstatus file"),
            SkipReason::NoEventFiles => f.write_str("rolling event log without event files"),
            SkipReason::MissingEventFile { index } => {
                write!(f, "rolling event log with a gap: the file events_{index}_… is missing")
            }
            SkipReason::AmbiguousEventFile { name } => {
                write!(
                    f,
                    "rolling event log in doubt: {name} has no index, or the index of another file"
                )
            }
            SkipReason::Superseded { by } => write!(f, "superseded by the finished file {by} of the same log"),
            SkipReason::NotAnEventLogDirectory => {
                f.write_str("not an event log: a directory whose name does not start with eventlog_v2_")
            }
            SkipReason::Behind { message } => write!(f, "behind: {message}"),
            SkipReason::Unreadable { message } => write!(f, "unreadable: {message}"),
        }
    }
}

/// Lists `source` (a directory of logs, or one log) and says what is there.
///
/// `source` is a path of the store. A file is one log; a directory is one log if its name is a rolling log's or if it has
/// the files of one. Only a source that itself cannot be listed is an error.
pub async fn discover(store: &dyn LogStore, source: &str) -> Result<Discovery, StoreError> {
    Discoverer::default().discover(store, source).await
}

/// Lists one source over and over, and remembers what needs not be listed again.
#[derive(Debug, Default)]
pub struct Discoverer {
    /// Rolling directories of applications that ended, by path: when they were last changed, and their files.
    ended: HashMap<String, (i64, Vec<Entry>)>,
}

impl Discoverer {
    /// As [`discover()`].
    pub async fn discover(&mut self, store: &dyn LogStore, source: &str) -> Result<Discovery, StoreError> {
        let source = match source.trim_end_matches('/') {
            "" => source,
            trimmed => trimmed,
        };
        let mut discovery = Discovery::default();
        let entries = match store.list(source).await {
            Ok(entries) => entries,
            Err(StoreError::NotADirectory { .. }) => {
                let file = store.head(source).await?;
                let open = open_file(store, &file).await;
                discovery.add(&file, unless_hidden(&file, |file| single_file(file, open)));
                return Ok(discovery);
            }
            Err(error) => return Err(error),
        };
        if is_one_rolling_log(source, &entries) {
            let name = source.rsplit('/').next().unwrap_or(source);
            let modified_ms = entries.iter().map(|entry| entry.modified_ms).max().unwrap_or_default();
            let directory = Entry {
                path: source.to_owned(),
                name: name.to_owned(),
                is_dir: true,
                is_special: false,
                size_bytes: 0,
                modified_ms,
            };
            let open = open_rolling_file(store, &entries).await;
            discovery.add_rolling(&directory, &entries, open);
            return Ok(discovery);
        }

        let (rolling, others): (Vec<_>, Vec<_>) = entries
            .iter()
            .partition(|entry| entry.is_dir && name::is_rolling_directory(&entry.name));
        let (written, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|entry| is_being_written(entry));
        for entry in others {
            let result = unless_hidden(entry, |entry| {
                if entry.is_dir {
                    Err(SkipReason::NotAnEventLogDirectory)
                } else {
                    single_file(entry, None)
                }
            });
            discovery.add(entry, result);
        }
        for some in written.chunks(PARALLEL_LISTS) {
            let opens = join_all(some.iter().map(|entry| open_file(store, entry))).await;
            for (entry, open) in some.iter().zip(opens) {
                discovery.add(entry, single_file(entry, open));
            }
        }
        let listings = self.list_rolling(store, source, &rolling).await?;
        let mut opens = Vec::with_capacity(listings.len());
        for some in listings.chunks(PARALLEL_LISTS) {
            let open = some.iter().map(|listing| async move {
                match listing {
                    Ok(files) => open_rolling_file(store, files).await,
                    Err(_) => None,
                }
            });
            opens.extend(join_all(open).await);
        }
        for ((entry, listing), open) in rolling.into_iter().zip(listings).zip(opens) {
            match listing {
                Ok(files) => discovery.add_rolling(entry, &files, open),
                Err(error) => discovery.add(
                    entry,
                    Err(SkipReason::Unreadable {
                        message: message(&error),
                    }),
                ),
            }
        }
        discovery.prefer_finished();
        discovery.logs.sort_by(|a, b| a.path.cmp(&b.path));
        discovery.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(discovery)
    }

    /// The files of rolling directories, in their order.
    async fn list_rolling(
        &mut self,
        store: &dyn LogStore,
        source: &str,
        rolling: &[&Entry],
    ) -> Result<Vec<Result<Vec<Entry>, StoreError>>, StoreError> {
        if rolling.is_empty() {
            return Ok(Vec::new());
        }
        // One directory is listed by itself: others that begin as it does may be many.
        if rolling.len() > 1
            && let Some(mut all) = store.list_all(source, name::ROLLING_DIRECTORY).await?
        {
            return Ok(rolling
                .iter()
                .map(|entry| Ok(all.remove(&entry.name).unwrap_or_default()))
                .collect());
        }
        let remembers = store.has_directory_times();
        let before = std::mem::take(&mut self.ended);
        let mut listings = Vec::with_capacity(rolling.len());
        for some in rolling.chunks(PARALLEL_LISTS) {
            let lists = some.iter().map(|entry| async {
                match before.get(&entry.path) {
                    Some((modified_ms, files)) if *modified_ms == entry.modified_ms => Ok(files.clone()),
                    _ => store.list(&entry.path).await,
                }
            });
            listings.extend(join_all(lists).await);
        }
        if remembers {
            let now_ms = now_ms();
            for (entry, listing) in rolling.iter().zip(&listings) {
                if let Ok(files) = listing
                    && is_settled(entry, files, now_ms)
                {
                    self.ended
                        .insert(entry.path.clone(), (entry.modified_ms, files.clone()));
                }
            }
        }
        Ok(listings)
    }
}

/// Whether a rolling directory cannot change any more without saying so: its application has ended, and nothing in it is new.
fn is_settled(directory: &Entry, files: &[Entry], now_ms: i64) -> bool {
    let newest = files.iter().map(|file| file.modified_ms).max().unwrap_or_default();
    let is_old = directory.modified_ms.max(newest).saturating_add(SETTLED_MS) < now_ms;
    is_old && rolling_log(directory, files, None).is_ok_and(|log| !log.in_progress)
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

impl Discovery {
    fn add(&mut self, entry: &Entry, result: Result<EventLog, SkipReason>) {
        match result {
            Ok(log) => self.logs.push(log),
            Err(reason) => self.skipped.push(NotALog {
                path: entry.path.clone(),
                size_bytes: if entry.is_dir { 0 } else { entry.size_bytes },
                modified_ms: entry.modified_ms,
                reason,
            }),
        }
    }

    fn add_rolling(&mut self, directory: &Entry, files: &[Entry], open: Option<OpenFile>) {
        match rolling_log(directory, files, open) {
            Ok(log) => self.logs.push(log),
            Err(reason) => self.skipped.push(NotALog {
                path: directory.path.clone(),
                size_bytes: files
                    .iter()
                    .filter(|file| !file.is_dir)
                    .map(|file| file.size_bytes)
                    .sum(),
                modified_ms: directory.modified_ms,
                reason,
            }),
        }
    }

    /// A listing during the final rename may see a log under both names. The finished file is the whole one.
    fn prefer_finished(&mut self) {
        let is_running = |log: &&EventLog| log.in_progress;
        let running: HashSet<Arc<str>> = self
            .logs
            .iter()
            .filter(is_running)
            .map(|log| Arc::clone(&log.identity))
            .collect();
        // Nearly all logs are finished, and most of the time all are.
        if running.is_empty() {
            return;
        }
        let finished: HashMap<Arc<str>, Arc<str>> = self
            .logs
            .iter()
            .filter(|log| !log.in_progress && running.contains(&log.identity))
            .map(|log| (log.identity.clone(), log.path.clone()))
            .collect();
        let (kept, superseded) = std::mem::take(&mut self.logs)
            .into_iter()
            .partition(|log| !log.in_progress || !finished.contains_key(&log.identity));
        self.logs = kept;
        for log in superseded {
            let by = finished.get(&log.identity).map(|by| by.to_string()).unwrap_or_default();
            self.skipped.push(NotALog {
                path: log.path.to_string(),
                size_bytes: log.size_bytes,
                modified_ms: log.modified_ms,
                reason: SkipReason::Superseded { by },
            });
        }
    }
}

fn unless_hidden(
    entry: &Entry,
    listed: impl FnOnce(&Entry) -> Result<EventLog, SkipReason>,
) -> Result<EventLog, SkipReason> {
    if name::is_hidden(&entry.name) {
        Err(SkipReason::Hidden)
    } else {
        listed(entry)
    }
}

/// A single log whose name says that its application runs.
fn is_being_written(entry: &Entry) -> bool {
    !entry.is_dir && !entry.is_special && !name::is_hidden(&entry.name) && FileName::parse(&entry.name).in_progress
}

/// How long a file is that is being written, where the listing does not say it. A store that cannot tell has said what it knows in
/// the listing, so that is not an error: whatever is wrong, reading the file will say.
async fn open_file(store: &dyn LogStore, entry: &Entry) -> Option<OpenFile> {
    if !is_being_written(entry) {
        return None;
    }
    store.open_file(entry).await.unwrap_or_default()
}

/// The same of the last file of a rolling log that has not ended.
async fn open_rolling_file(store: &dyn LogStore, files: &[Entry]) -> Option<OpenFile> {
    let ended = RollingFile::AppStatus { in_progress: false };
    if files.iter().any(|file| RollingFile::parse(&file.name) == ended) {
        return None;
    }
    let index = |file: &&Entry| match RollingFile::parse(&file.name) {
        RollingFile::Events { index, name } if !file.is_dir && !name.compacted => index,
        _ => None,
    };
    let last = files.iter().filter(|file| index(file).is_some()).max_by_key(index)?;
    store.open_file(last).await.unwrap_or_default()
}

fn single_file(entry: &Entry, open: Option<OpenFile>) -> Result<EventLog, SkipReason> {
    let name = FileName::parse(&entry.name);
    let codec = name.codec.map_err(|suffix| SkipReason::UnknownCodec {
        suffix: suffix.to_owned(),
    })?;
    if entry.is_special {
        return Err(SkipReason::NotAFile);
    }
    let size_bytes = open.as_ref().map_or(entry.size_bytes, |open| open.size_bytes);
    if size_bytes == 0 {
        return Err(nothing_of(open));
    }
    let directory = entry.path.strip_suffix(&entry.name).unwrap_or_default();
    // Without `.inprogress` alone: a compacted file is another file.
    let compact = if name.compacted { ".compact" } else { "" };
    let path: Arc<str> = entry.path.as_str().into();
    let identity = format!("{directory}{}{compact}", name.base);
    Ok(EventLog {
        identity: if *identity == *path {
            Arc::clone(&path)
        } else {
            identity.into()
        },
        path: Arc::clone(&path),
        rolling: false,
        files: vec![LogFile {
            path,
            size_bytes,
            modified_ms: entry.modified_ms,
            codec,
            index: None,
            compacted: name.compacted,
        }],
        in_progress: name.in_progress,
        open,
        size_bytes,
        modified_ms: entry.modified_ms,
    })
}

/// Whether a source is itself a rolling log, not a directory of logs.
fn is_one_rolling_log(source: &str, entries: &[Entry]) -> bool {
    let (mut events, mut status, mut others) = (false, false, false);
    for entry in entries.iter().filter(|entry| !name::is_hidden(&entry.name)) {
        match RollingFile::parse(&entry.name) {
            _ if entry.is_dir => others = true,
            RollingFile::Events { .. } | RollingFile::UnfinishedCompaction => events = true,
            RollingFile::AppStatus { .. } => status = true,
            RollingFile::Other => others = true,
        }
    }
    let named_so = name::is_rolling_directory(source.rsplit('/').next().unwrap_or(source));
    (events && status) || (named_so && (events || status || !others))
}

/// Why a log is not listed of which nothing can be read.
fn nothing_of(open: Option<OpenFile>) -> SkipReason {
    match open.and_then(|open| open.behind) {
        Some(message) => SkipReason::Behind { message },
        None => SkipReason::Empty,
    }
}

fn rolling_log(directory: &Entry, entries: &[Entry], open: Option<OpenFile>) -> Result<EventLog, SkipReason> {
    let mut files = Vec::new();
    let (mut seen_status, mut finished) = (false, false);
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        match RollingFile::parse(&entry.name) {
            RollingFile::Events { index, name } => files.push((index, name, entry)),
            // During the final rename both may be seen; finished is finished.
            RollingFile::AppStatus { in_progress } => {
                seen_status = true;
                finished |= !in_progress;
            }
            RollingFile::UnfinishedCompaction | RollingFile::Other => {}
        }
    }
    if files.is_empty() {
        return Err(SkipReason::NoEventFiles);
    }
    if !seen_status {
        return Err(SkipReason::NoAppStatus);
    }
    // A compacted file stands behind the plain one of the same index, which it contains.
    files.sort_by_key(|(index, name, _)| (*index, name.compacted));
    if let Some(start) = files.iter().rposition(|(_, name, _)| name.compacted) {
        files.drain(..start);
    }

    let mut log_files: Vec<LogFile> = Vec::with_capacity(files.len());
    for (index, name, entry) in files {
        let ambiguous = || SkipReason::AmbiguousEventFile {
            name: entry.name.clone(),
        };
        let index = index.ok_or_else(ambiguous)?;
        if let Some(before) = log_files.last().and_then(|file| file.index) {
            // Indices are ascending here, and at most i64::MAX.
            match index - before {
                0 => return Err(ambiguous()),
                1 => {}
                _ => return Err(SkipReason::MissingEventFile { index: before + 1 }),
            }
        }
        let codec = name.codec.map_err(|suffix| SkipReason::UnknownCodec {
            suffix: suffix.to_owned(),
        })?;
        log_files.push(LogFile {
            path: entry.path.as_str().into(),
            size_bytes: entry.size_bytes,
            modified_ms: entry.modified_ms,
            codec,
            index: Some(index),
            compacted: name.compacted,
        });
    }
    if let (Some(open), Some(last)) = (&open, log_files.last_mut().filter(|last| !last.compacted)) {
        last.size_bytes = open.size_bytes;
    }
    let size_bytes = log_files
        .iter()
        .fold(0u64, |sum, file| sum.saturating_add(file.size_bytes));
    if size_bytes == 0 {
        return Err(nothing_of(open));
    }
    let path: Arc<str> = directory.path.as_str().into();
    Ok(EventLog {
        identity: Arc::clone(&path),
        path,
        rolling: true,
        in_progress: !finished,
        open,
        size_bytes,
        modified_ms: log_files.last().map_or(directory.modified_ms, |file| file.modified_ms),
        files: log_files,
    })
}

/// An error with its causes, in one line.
fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Range;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;

    /// A store of names and sizes; a directory whose listing is `None` cannot be read.
    #[derive(Debug, Default)]
    struct Names {
        directories: BTreeMap<String, Option<Vec<Entry>>>,
        has_times: bool,
        /// Directories that were listed.
        listed: Mutex<Vec<String>>,
    }

    impl Names {
        fn with(mut self, directory: &str, names: &[(&str, u64)]) -> Self {
            let entries = names.iter().enumerate().map(|(number, (name, size))| Entry {
                path: format!("{directory}/{}", name.trim_end_matches('/')),
                name: name.trim_end_matches('/').to_owned(),
                is_dir: name.ends_with('/'),
                is_special: false,
                size_bytes: *size,
                modified_ms: 1000 + number as i64,
            });
            self.directories.insert(directory.to_owned(), Some(entries.collect()));
            self
        }
    }

    #[async_trait]
    impl LogStore for Names {
        async fn list(&self, dir: &str) -> Result<Vec<Entry>, StoreError> {
            let path = dir.to_owned();
            self.listed.lock().unwrap().push(path.clone());
            match self.directories.get(dir) {
                Some(Some(entries)) => Ok(entries.clone()),
                Some(None) => Err(StoreError::Denied { path }),
                None if self.head(dir).await.is_ok_and(|entry| !entry.is_dir) => {
                    Err(StoreError::NotADirectory { path })
                }
                None => Err(StoreError::NotFound { path }),
            }
        }
        async fn head(&self, path: &str) -> Result<Entry, StoreError> {
            let all = self.directories.values().flatten().flatten();
            let found = all.into_iter().find(|entry| entry.path == path).cloned();
            found.ok_or(StoreError::NotFound { path: path.to_owned() })
        }
        async fn read(&self, _: &str, _: Range<u64>) -> Result<Bytes, StoreError> {
            panic!("discovery opens no file")
        }
        fn has_directory_times(&self) -> bool {
            self.has_times
        }
    }

    #[tokio::test]
    async fn a_directory_that_ended_and_did_not_change_is_listed_once_where_the_store_has_times() {
        let mut store = Names::default()
            .with("/l", &[("eventlog_v2_ended/", 0), ("eventlog_v2_runs/", 0)])
            .with("/l/eventlog_v2_ended", &[("appstatus_ended", 0), ("events_1_ended", 5)])
            .with(
                "/l/eventlog_v2_runs",
                &[("appstatus_runs.inprogress", 0), ("events_1_runs", 5)],
            );
        let mut discoverer = Discoverer::default();
        let mut lists = async |store: &Names| {
            store.listed.lock().unwrap().clear();
            assert_eq!(discoverer.discover(store, "/l").await.unwrap().logs.len(), 2);
            store.listed.lock().unwrap().clone()
        };
        let all = ["/l", "/l/eventlog_v2_ended", "/l/eventlog_v2_runs"];
        // Of a store without times nothing is remembered.
        assert_eq!(lists(&store).await, all);
        assert_eq!(lists(&store).await, all);
        store.has_times = true;
        assert_eq!(lists(&store).await, all);
        assert_eq!(lists(&store).await, ["/l", "/l/eventlog_v2_runs"]);
        assert_eq!(lists(&store).await, ["/l", "/l/eventlog_v2_runs"]);
        // A compaction, or one that happened just now and may not be over.
        for modified_ms in [5_000, now_ms()] {
            let entries = store.directories.get_mut("/l").unwrap().as_mut().unwrap();
            entries[0].modified_ms = modified_ms;
            assert_eq!(lists(&store).await, all);
        }
        assert_eq!(lists(&store).await, all);
    }

    fn reasons(discovery: &Discovery) -> Vec<(&str, String)> {
        discovery
            .skipped
            .iter()
            .map(|skipped| (skipped.path.as_str(), skipped.reason.to_string()))
            .collect()
    }

    async fn rolling(files: &[(&str, u64)]) -> Result<EventLog, SkipReason> {
        let store = Names::default()
            .with("/l", &[("eventlog_v2_a/", 0)])
            .with("/l/eventlog_v2_a", files);
        let mut found = discover(&store, "/l").await.unwrap();
        let alone = discover(&store, "/l/eventlog_v2_a/").await.unwrap();
        assert_eq!(found.logs, alone.logs);
        match found.logs.pop() {
            Some(log) => Ok(log),
            None => {
                assert_eq!(found.skipped[0].reason, alone.skipped[0].reason);
                Err(found.skipped.remove(0).reason)
            }
        }
    }

    fn names(log: &EventLog) -> Vec<&str> {
        log.files
            .iter()
            .map(|file| file.path.rsplit('/').next().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn single_files_are_listed_as_spark_lists_them() {
        let store = Names::default().with(
            "/l",
            &[
                (".hidden", 5),
                (".hidden-dir/", 0),
                ("README.md", 5),
                ("a b%20c+d-dev", 5),
                ("app.zstd.inprogress", 7),
                ("both.lz4", 9),
                ("both.lz4.inprogress", 8),
                ("empty", 0),
                ("empty.inprogress", 5),
                ("other/", 0),
            ],
        );
        let found = discover(&store, "/l/").await.unwrap();
        let logs: Vec<_> = found
            .logs
            .iter()
            .map(|l| (&*l.path, &*l.identity, l.in_progress, l.size_bytes))
            .collect();
        assert_eq!(
            logs,
            [
                ("/l/a b%20c+d-dev", "/l/a b%20c+d-dev", false, 5),
                ("/l/app.zstd.inprogress", "/l/app.zstd", true, 7),
                ("/l/both.lz4", "/l/both.lz4", false, 9),
                ("/l/empty.inprogress", "/l/empty", true, 5),
            ]
        );
        assert_eq!(
            reasons(&found),
            [
                ("/l/.hidden", "hidden: the name starts with a dot".to_owned()),
                ("/l/.hidden-dir", "hidden: the name starts with a dot".to_owned()),
                (
                    "/l/README.md",
                    "not an event log: no decoder for suffix \"md\"; Spark writes lz4, lzf, snappy or zstd".to_owned()
                ),
                (
                    "/l/both.lz4.inprogress",
                    "superseded by the finished file /l/both.lz4 of the same log".to_owned()
                ),
                ("/l/empty", "empty: nothing has been written yet".to_owned()),
                (
                    "/l/other",
                    "not an event log: a directory whose name does not start with eventlog_v2_".to_owned()
                ),
            ]
        );
    }

    #[tokio::test]
    async fn one_file_is_a_source_and_a_missing_source_is_an_error() {
        let store = Names::default().with("/l", &[("app.lzf", 5), (".app", 5), ("eventlog_v2_gone/", 0)]);
        assert_eq!(discover(&store, "/l/app.lzf").await.unwrap().logs.len(), 1);
        assert_eq!(
            discover(&store, "/l/.app").await.unwrap().skipped[0].reason,
            SkipReason::Hidden
        );
        assert!(matches!(
            discover(&store, "/nowhere").await,
            Err(StoreError::NotFound { .. })
        ));
        let mut store = store;
        store.directories.insert("/l/eventlog_v2_gone".into(), None);
        let found = discover(&store, "/l").await.unwrap();
        assert_eq!(found.logs.len(), 1);
        assert_eq!(
            found.skipped[1].reason.to_string(),
            "unreadable: /l/eventlog_v2_gone cannot be read: permission denied"
        );
    }

    #[tokio::test]
    async fn rolling_files_are_ordered_by_number_and_the_newest_compaction_replaces_what_is_older() {
        let log = rolling(&[
            ("appstatus_a", 0),
            ("events_10_a", 1),
            ("events_8_a", 2),
            ("events_9_a", 4),
        ])
        .await
        .unwrap();
        assert_eq!(names(&log), ["events_8_a", "events_9_a", "events_10_a"]);
        assert_eq!(
            (log.size_bytes, log.modified_ms, log.in_progress, log.rolling),
            (7, 1001, false, true)
        );

        let log = rolling(&[
            ("appstatus_a.inprogress", 0),
            ("events_1_a.zstd.compact", 1),
            ("events_2_a.zstd", 1),
            ("events_3_a.zstd", 1),
            ("events_3_a.zstd.compact", 1),
            ("events_4_a.zstd", 1),
            ("events_4_a.zstd.compact.inprogress", 1),
            (".events_4_a.zstd.crc", 1),
        ])
        .await
        .unwrap();
        assert_eq!(names(&log), ["events_3_a.zstd.compact", "events_4_a.zstd"]);
        assert!(log.in_progress && log.files[0].compacted);
        assert_eq!(log.files[1].index, Some(4));
    }

    #[tokio::test]
    async fn incomplete_rolling_directories_are_not_listed() {
        let status = ("appstatus_a", 0);
        assert_eq!(rolling(&[]).await, Err(SkipReason::NoEventFiles));
        assert_eq!(rolling(&[status]).await, Err(SkipReason::NoEventFiles));
        assert_eq!(rolling(&[("events_1_a", 1)]).await, Err(SkipReason::NoAppStatus));
        assert_eq!(rolling(&[status, ("events_1_a", 0)]).await, Err(SkipReason::Empty));
        assert_eq!(
            rolling(&[status, ("events_1_a", 1), ("events_3_a", 1)]).await,
            Err(SkipReason::MissingEventFile { index: 2 })
        );
        assert_eq!(
            rolling(&[status, ("events_1_a", 1), ("events_x_a", 1)]).await,
            Err(SkipReason::AmbiguousEventFile {
                name: "events_x_a".into()
            })
        );
        assert_eq!(
            rolling(&[status, ("events_1_a", 1), ("events_1_a.zstd", 1)]).await,
            Err(SkipReason::AmbiguousEventFile {
                name: "events_1_a.zstd".into()
            })
        );
        assert_eq!(
            rolling(&[status, ("events_1_a.tmp", 1)]).await,
            Err(SkipReason::UnknownCodec { suffix: "tmp".into() })
        );
        assert!(
            !rolling(&[("appstatus_a.inprogress", 0), status, ("events_2_a", 1)])
                .await
                .unwrap()
                .in_progress
        );
    }
}
