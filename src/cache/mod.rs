//! The column cache: rows of event logs as Parquet segments, and a log of numbered commits that says which of them count.
//!
//! ```text
//! _m/log/<20 digits>.json.zst     one commit: what became visible at once. Created once, never changed
//! _m/ckpt/<20 digits>.json.zst    the whole state after that commit; every 64, or sooner
//! _m/_last                        number of the newest checkpoint; only a hint
//! _m/lock                         locked by the one process that writes (local disk)
//! _tmp/                           files that have no name yet (local disk)
//! t/<table>/L<level>-<name>.parquet   one segment: rows of many attempts. Never changed, its name never used again
//! ```
//!
//! **Crash rules.** Segments are durable before the commit that names them, and a commit is one file that is there or is not. So every
//! state that anyone sees is the state after some commit; a crash costs what was not committed and leaves files that no commit names.
//! A checkpoint and the hint only save work: to fail at them is no failure.
//!
//! **What may be deleted when.** A segment that a commit removed: after a grace time, and when no snapshot of this process holds it. A file
//! that no commit names: when it is older than a longer grace time, since a writer may be about to name it. Commits and checkpoints:
//! when they lie before the last checkpoint but one, and are older than the grace time. [`Cache::collect`] does all that, and only it.
//!
//! **What is wrong is an error, never other rows.** A gap in the log, a damaged file, a later format: see [`CacheError`]. Each block of a
//! segment has a checksum in the manifest, which readers compare.
//!
//! A segment is sorted by application, attempt and the key of its table, and the commit says which rows are whose ([`RowRange`]). The rows of
//! an attempt that was replaced or dropped stay in their segments until [`Cache::compact`] writes those anew; [`Snapshot::by_ord`]
//! is what hides them. [`Cache::evict`] makes room where attempts may give up their rows. Nothing here knows logs or SQL.

mod arrange;
mod checked;
mod collect;
mod commit;
mod compact;
mod error;
mod evict;
mod fingerprint;
mod load;
mod local;
mod manifest;
mod name;
mod read;
mod segment;
mod sharded;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod view;
mod writer;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use object_store::ObjectStore;

pub use arrange::APP_ORD;
pub use collect::Collected;
pub use compact::Compacted;
pub use error::CacheError;
pub use fingerprint::{fingerprint, schema_hash};
pub use manifest::{
    Attempt, AttemptInfo, AttemptOrd, AttemptState, KeyRange, KeyValue, LogReading, LogReport, LogStamp, OtherLog,
    Removed, RowRange, Segment, Snapshot,
};
pub(crate) use sharded::ShardedMap;
pub use status::{CacheStatus, TableStatus};
pub use view::{CacheView, Missing};
pub use writer::{AttemptWriter, Changes, Written};

use commit::{Action, Commit, FORMAT};
use store::Storage;
use view::Decoded;
use writer::AttemptKey;

use crate::table::TableDef;

/// How a cache is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// Of Parquet pages.
    pub zstd_level: i32,
    /// Rows of one table of one attempt that are held in memory; what is more becomes a segment of its own.
    pub part_bytes: usize,
    /// Commits from one checkpoint to the next: what opening a cache reads besides the checkpoint.
    pub checkpoint_every: u64,
    /// Size of a segment of level 1.
    pub level1_bytes: u64,
    /// Size of a segment of level 2.
    pub level2_bytes: u64,
    /// Size of a segment of level 2 of `tasks`, the largest table.
    pub level2_bytes_of_tasks: u64,
    /// How long a removed segment stays for readers in other processes: longer than the longest statement.
    pub removed_grace: Duration,
    /// How long a file that no commit names stays: longer than any attempt takes from its first part to its commit.
    pub orphan_grace: Duration,
}

const MIB: u64 = 1024 * 1024;

impl Default for CacheOptions {
    fn default() -> Self {
        CacheOptions {
            zstd_level: 3,
            part_bytes: 64 * 1024 * 1024,
            checkpoint_every: 64,
            level1_bytes: 64 * MIB,
            level2_bytes: 256 * MIB,
            level2_bytes_of_tasks: 512 * MIB,
            removed_grace: Duration::from_secs(3600),
            orphan_grace: Duration::from_secs(24 * 3600),
        }
    }
}

/// A cache to write to and to read from. There is one for a location at a time.
#[derive(Debug)]
pub struct Cache {
    storage: Arc<Storage>,
    options: CacheOptions,
    /// Tells our commits from those of another process.
    writer: String,
    /// Held while a commit is made: there is one at a time.
    committing: tokio::sync::Mutex<Committing>,
    current: RwLock<Arc<Snapshot>>,
    next_ord: AtomicI64,
    /// Snapshots that were given out, for as long as someone has them.
    pinned: Mutex<Vec<Weak<Snapshot>>>,
    /// Held while segments are rewritten or files deleted: nothing else removes them.
    compacting: tokio::sync::Mutex<()>,
    /// Access lists by id: those of commits, and those that the next commits will name.
    acls: Mutex<BTreeMap<i32, String>>,
    decoded: Arc<Decoded>,
}

#[derive(Debug, Default)]
struct Committing {
    last_checkpoint: u64,
    /// Bytes of the last checkpoint, and of the commits after it.
    checkpoint_bytes: u64,
    commit_bytes: u64,
    /// A commit failed in a way that leaves open whether it is there.
    unsure: bool,
    /// Another process has committed: from here on its state is the cache's, and ours is not.
    superseded: bool,
}

/// A cache to read from, whoever writes it. Any number of them, in any process.
#[derive(Debug)]
pub struct CacheReader {
    storage: Arc<Storage>,
    current: RwLock<Arc<Snapshot>>,
    decoded: Arc<Decoded>,
}

/// Who opens the cache reads the commits after the last checkpoint one by one, which costs more for each byte than a checkpoint does. So there
/// is one when they are a part of its size, but not for less than this.
const CHECKPOINT_AFTER: u64 = 1024 * 1024;
const CHECKPOINT_PART: u64 = 8;
/// Attempts to write one commit: each but the last found an earlier one of ours whose answer was lost.
const COMMIT_TRIES: usize = 4;

impl Cache {
    /// Opens the cache in a local directory for writing, and makes it if there is none. `location` is a path or a `file:` URL.
    pub async fn open(location: &str, options: CacheOptions) -> Result<Self, CacheError> {
        Cache::with_storage(Storage::writer(location)?, options).await
    }

    /// Opens the cache in a store that the caller made. `location` is what messages call it. There is no lock: a second
    /// writer is refused when it commits.
    pub async fn open_store(
        store: Arc<dyn ObjectStore>,
        location: &str,
        options: CacheOptions,
    ) -> Result<Self, CacheError> {
        Cache::with_storage(Storage::of_store(store, location), options).await
    }

    async fn with_storage(storage: Storage, options: CacheOptions) -> Result<Self, CacheError> {
        let loaded = load::load(&storage).await?;
        let committing = Committing {
            last_checkpoint: loaded.checkpoint,
            checkpoint_bytes: loaded.checkpoint_bytes,
            commit_bytes: loaded.commit_bytes,
            ..Committing::default()
        };
        Ok(Cache::at(storage, options, loaded.snapshot, committing))
    }

    fn at(storage: Storage, options: CacheOptions, snapshot: Snapshot, committing: Committing) -> Self {
        storage.checked.know(&snapshot);
        Cache {
            storage: Arc::new(storage),
            options,
            writer: name::unique(),
            committing: tokio::sync::Mutex::new(committing),
            next_ord: AtomicI64::new(snapshot.next_ord),
            pinned: Mutex::default(),
            acls: Mutex::new(snapshot.acls().clone()),
            current: RwLock::new(Arc::new(snapshot)),
            compacting: tokio::sync::Mutex::default(),
            decoded: Arc::default(),
        }
    }

    /// The state after the last commit with the means to read it.
    pub fn view(&self) -> CacheView {
        CacheView::new(Arc::clone(&self.storage), self.snapshot(), Arc::clone(&self.decoded))
    }

    /// The number of an access list, whose text is the caller's business. The same text has the same number.
    pub fn acl_id(&self, acl: &str) -> i32 {
        let mut acls = self.acls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((acl_id, _)) = acls.iter().find(|(_, known)| *known == acl) {
            return *acl_id;
        }
        let acl_id = acls.last_key_value().map_or(1, |(last, _)| last + 1);
        acls.insert(acl_id, acl.to_owned());
        acl_id
    }

    /// The state after the last commit. What it names stays readable while it is held.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let snapshot = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = pinned
            .last()
            .is_some_and(|last| last.as_ptr() == Arc::as_ptr(&snapshot));
        if !is_known {
            pinned.retain(|held| held.strong_count() > 0);
            pinned.push(Arc::downgrade(&snapshot));
        }
        snapshot
    }

    /// Begins an attempt: all its rows will be given, and take the place of what is there of it.
    pub fn attempt(&self, app_id: &str, attempt_id: &str, start_ms: i64, acl_id: i32) -> AttemptWriter {
        let key = AttemptKey {
            ord: AttemptOrd(self.next_ord.fetch_add(1, Ordering::Relaxed)),
            app_id: app_id.into(),
            attempt_id: attempt_id.into(),
            acl_id,
            start_ms,
            extends: false,
        };
        AttemptWriter::new(Arc::clone(&self.storage), self.options.clone(), key)
    }

    /// Goes on with a live attempt: the rows that will be given are added to its rows.
    pub fn extend(&self, app_id: &str, attempt_id: &str, ord: AttemptOrd) -> Result<AttemptWriter, CacheError> {
        let snapshot = self.snapshot();
        let live = snapshot.attempt(app_id, attempt_id).filter(|live| live.ord == ord);
        let live = live.ok_or_else(|| CacheError::Gone {
            app_id: app_id.to_owned(),
            attempt_id: attempt_id.to_owned(),
        })?;
        let key = AttemptKey {
            ord: live.ord,
            app_id: live.app_id.clone(),
            attempt_id: live.attempt_id.clone(),
            acl_id: live.acl_id,
            start_ms: live.start_ms,
            extends: true,
        };
        Ok(AttemptWriter::new(Arc::clone(&self.storage), self.options.clone(), key))
    }

    /// Makes changes durable and visible, all at once or not at all. After an error nothing of them is visible (where the storage's
    /// answer was lost, they may turn up with the next commit, as a whole).
    pub async fn commit(&self, changes: Changes) -> Result<Arc<Snapshot>, CacheError> {
        let mut changes = changes;
        let segments = Box::pin(writer::write_rest(&self.storage, &self.options, &mut changes.put)).await?;
        let acls = self.acls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.commit_actions(|snapshot| writer::actions(&changes, &segments, &acls, snapshot))
            .await
    }

    /// The rows of an attempt as of a snapshot, as the table is now. None if the attempt is not live then.
    pub async fn read(
        &self,
        snapshot: &Snapshot,
        table: &'static TableDef,
        ord: AttemptOrd,
    ) -> Result<Vec<RecordBatch>, CacheError> {
        Box::pin(read::rows_of(&self.storage, snapshot, table, ord)).await
    }

    /// Commits what `actions` gives for the snapshot that the commit will follow; without actions there is no commit.
    async fn commit_actions(
        &self,
        actions: impl Fn(&Snapshot) -> Result<Vec<Action>, CacheError>,
    ) -> Result<Arc<Snapshot>, CacheError> {
        let mut committing = self.committing.lock().await;
        if committing.unsure {
            self.catch_up(&mut committing).await?;
        }
        for _ in 0..COMMIT_TRIES {
            let before = self.snapshot();
            let file = commit::log_name(before.seq + 1);
            if committing.superseded {
                return Err(self.other_writer(&file));
            }
            let actions = actions(&before)?;
            if actions.is_empty() {
                return Ok(before);
            }
            let commit = Commit {
                format: FORMAT,
                seq: before.seq + 1,
                commit_uuid: name::unique(),
                writer: self.writer.clone(),
                at_ms: name::now_ms(),
                actions,
            };
            let after = before.after(&commit);
            let after = after.map_err(|reason| CacheError::damaged(&self.storage.file(&file), reason))?;
            // Also where this future is dropped while the answer is awaited.
            committing.unsure = true;
            let bytes = commit::encode_commit(&commit);
            let size = bytes.len() as u64;
            let created = self.storage.create(&file, bytes).await;
            if let Err(error) = created {
                // Our answer may be lost, or the name be taken: what is there decides.
                match load::read_commit(&self.storage, commit.seq).await {
                    Ok(Some(found)) if found.commit_uuid == commit.commit_uuid => {}
                    Ok(Some(_)) => {
                        self.catch_up(&mut committing).await?;
                        continue;
                    }
                    Ok(None) | Err(_) => return Err(error),
                }
            }
            committing.unsure = false;
            committing.commit_bytes += size;
            let after = self.publish(after);
            self.checkpoint(&mut committing, &after).await;
            return Ok(after);
        }
        Err(self.other_writer(commit::LOG))
    }

    fn other_writer(&self, file: &str) -> CacheError {
        CacheError::OtherWriter {
            location: self.storage.location.clone(),
            file: self.storage.file(file),
        }
    }

    /// Takes over commits of ours whose answers were lost.
    async fn catch_up(&self, committing: &mut Committing) -> Result<(), CacheError> {
        loop {
            let before = self.snapshot();
            match load::read_commit(&self.storage, before.seq + 1).await? {
                Some(commit) if commit.writer == self.writer => {
                    self.publish(load::apply(&self.storage, &before, &commit)?);
                }
                Some(_) => {
                    committing.superseded = true;
                    break;
                }
                None => break,
            }
        }
        committing.unsure = false;
        Ok(())
    }

    fn publish(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        self.storage.checked.know(&snapshot);
        self.next_ord.fetch_max(snapshot.next_ord, Ordering::Relaxed);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        self.snapshot()
    }

    /// Writes a checkpoint when one is due. The commit is durable without it, so a failure is only a warning.
    async fn checkpoint(&self, committing: &mut Committing, snapshot: &Snapshot) {
        let many = snapshot.seq >= committing.last_checkpoint + self.options.checkpoint_every;
        let large = committing.commit_bytes >= CHECKPOINT_AFTER.max(committing.checkpoint_bytes / CHECKPOINT_PART);
        if !many && !large {
            return;
        }
        match self.write_checkpoint(snapshot).await {
            Ok(bytes) => {
                committing.last_checkpoint = snapshot.seq;
                (committing.checkpoint_bytes, committing.commit_bytes) = (bytes, 0);
            }
            Err(error) => tracing::warn!(
                error = crate::telemetry::error_chain(&error),
                "no checkpoint of the column cache; it is tried again with the next commit"
            ),
        }
    }

    /// Gives its size in bytes.
    async fn write_checkpoint(&self, snapshot: &Snapshot) -> Result<u64, CacheError> {
        let bytes = commit::encode_checkpoint(snapshot);
        let size = bytes.len() as u64;
        self.storage.put(&commit::checkpoint_name(snapshot.seq), bytes).await?;
        let hint = self
            .storage
            .put(commit::HINT, snapshot.seq.to_string().into_bytes())
            .await;
        if let Err(error) = hint {
            tracing::debug!(
                error = crate::telemetry::error_chain(&error),
                "no hint at the newest checkpoint"
            );
        }
        Ok(size)
    }
}

impl CacheReader {
    /// Opens the cache in a local directory for reading. `location` is a path or a `file:` URL.
    pub async fn open(location: &str) -> Result<Self, CacheError> {
        CacheReader::with_storage(Storage::reader(location)?).await
    }

    /// Opens the cache in a store that the caller made.
    pub async fn open_store(store: Arc<dyn ObjectStore>, location: &str) -> Result<Self, CacheError> {
        CacheReader::with_storage(Storage::of_store(store, location)).await
    }

    async fn with_storage(storage: Storage) -> Result<Self, CacheError> {
        let snapshot = load::load(&storage).await?.snapshot;
        storage.checked.know(&snapshot);
        Ok(CacheReader {
            storage: Arc::new(storage),
            current: RwLock::new(Arc::new(snapshot)),
            decoded: Arc::default(),
        })
    }

    /// The state as of the last [`Self::refresh`] with the means to read it.
    pub fn view(&self) -> CacheView {
        CacheView::new(Arc::clone(&self.storage), self.snapshot(), Arc::clone(&self.decoded))
    }

    /// The state as of the last [`Self::refresh`]. Its files stay for [`CacheOptions::removed_grace`] at least.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks for new commits.
    pub async fn refresh(&self) -> Result<Arc<Snapshot>, CacheError> {
        let before = self.snapshot();
        if let Some(after) = load::catch_up(&self.storage, &before).await? {
            self.storage.checked.know(&after);
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            // Two refreshes may overtake each other.
            if after.seq > current.seq {
                *current = Arc::new(after);
            }
        }
        Ok(self.snapshot())
    }

    /// As [`Cache::read`].
    pub async fn read(
        &self,
        snapshot: &Snapshot,
        table: &'static TableDef,
        ord: AttemptOrd,
    ) -> Result<Vec<RecordBatch>, CacheError> {
        Box::pin(read::rows_of(&self.storage, snapshot, table, ord)).await
    }

    /// All live rows of a table with the internal columns, segment by segment.
    pub async fn read_table(
        &self,
        snapshot: &Snapshot,
        table: &'static TableDef,
    ) -> Result<Vec<RecordBatch>, CacheError> {
        let mut batches = Vec::new();
        for segment in snapshot.segments(table.name) {
            let rows = Box::pin(read::live_rows(&self.storage, snapshot, table, segment)).await?;
            let read: Vec<RecordBatch> = rows.try_collect().await?;
            batches.extend(read);
        }
        Ok(batches)
    }
}
