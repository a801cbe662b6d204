//! Deletes files: those of removed segments, those that no commit names, and commits that nobody needs any more.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::commit::{self, Action, CHECKPOINTS, HINT, LOG, checkpoint_name};
use super::manifest::{Removed, Snapshot};
use super::store::Storage;
use super::{Cache, CacheError, CacheOptions, Committing, name};

/// Where segments are.
pub(super) const SEGMENTS: &str = "t";

/// What was deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Files of segments that a commit had removed.
    pub removed: usize,
    /// Segments that no commit named.
    pub orphans: usize,
    pub bytes: u64,
    /// Commits and checkpoints.
    pub commits: usize,
}

impl Cache {
    /// Deletes what nobody needs: see the module for what that is.
    pub async fn collect(&self) -> Result<Collected, CacheError> {
        let _one_at_a_time = self.compacting.lock().await;
        let now = name::now_ms();
        let mut collected = Collected::default();
        self.collect_removed(now, &mut collected).await?;
        self.collect_orphans(now, &mut collected).await?;
        self.collect_commits(now, &mut collected).await?;
        Ok(collected)
    }

    /// Files first, then the commit that forgets them: a crash between the two only deletes them once more.
    async fn collect_removed(&self, now: i64, collected: &mut Collected) -> Result<(), CacheError> {
        let snapshot = self.snapshot();
        let oldest = self.oldest_pinned(&snapshot);
        let is_due =
            |removed: &&Removed| is_older(removed.at_ms, now, self.options.removed_grace) && removed.seq <= oldest;
        let due: Vec<Removed> = snapshot.removed().filter(is_due).cloned().collect();
        for removed in &due {
            self.storage.delete(&removed.path).await?;
            self.storage.checked.forget(&removed.path);
            collected.removed += 1;
            collected.bytes += removed.bytes;
        }
        self.commit_actions(|_| {
            let forget = due.iter().map(|removed| Action::ForgetSegment {
                path: removed.path.clone(),
            });
            Ok(forget.collect())
        })
        .await?;
        Ok(())
    }

    /// The oldest snapshot that someone in this process holds.
    fn oldest_pinned(&self, current: &Arc<Snapshot>) -> u64 {
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        let held = pinned.iter().filter_map(std::sync::Weak::upgrade);
        held.map(|snapshot| snapshot.seq()).min().unwrap_or(current.seq())
    }

    async fn collect_orphans(&self, now: i64, collected: &mut Collected) -> Result<(), CacheError> {
        // Listed first: a segment that is committed after that is in the snapshot, or younger than the grace time.
        let files = self.storage.list(SEGMENTS, None).await?;
        let snapshot = self.snapshot();
        for file in files {
            let is_orphan = !snapshot.knows_segment(&file.name);
            if is_orphan && is_older(file.modified_ms, now, self.options.orphan_grace) {
                self.storage.delete(&file.name).await?;
                collected.orphans += 1;
                collected.bytes += file.bytes;
            }
        }
        Ok(())
    }

    /// The last checkpoint but one stays with all commits after it, so that one damaged checkpoint costs nothing.
    async fn collect_commits(&self, now: i64, collected: &mut Collected) -> Result<(), CacheError> {
        let checkpoints = self.storage.list(CHECKPOINTS, None).await?;
        let seqs: BTreeSet<u64> = checkpoints
            .iter()
            .filter_map(|file| commit::seq_of(&file.name))
            .collect();
        let Some(keep) = seqs.iter().rev().nth(1) else {
            return Ok(());
        };
        let commits = self.storage.list(LOG, None).await?;
        // Oldest first: a crash leaves no gap.
        for file in commits.iter().chain(&checkpoints) {
            let is_covered =
                commit::seq_of(&file.name).is_some_and(|seq| seq < *keep || seq == *keep && file.name.starts_with(LOG));
            if is_covered && is_older(file.modified_ms, now, self.options.removed_grace) {
                self.storage.delete(&file.name).await?;
                collected.commits += 1;
            }
        }
        Ok(())
    }

    /// Empties the cache in a local directory, whatever state it is in, and opens it. Readers see an empty cache.
    pub async fn clear(location: &str, options: CacheOptions) -> Result<Self, CacheError> {
        Cache::clear_storage(Storage::writer(location)?, options).await
    }

    /// As [`Cache::clear`], in a store that the caller made.
    pub async fn clear_store(
        store: Arc<dyn object_store::ObjectStore>,
        location: &str,
        options: CacheOptions,
    ) -> Result<Self, CacheError> {
        Cache::clear_storage(Storage::of_store(store, location), options).await
    }

    /// An empty checkpoint with a number that was never used comes first: from then on the cache is empty, and a crash only leaves
    /// files behind. Going on from one changes nothing for readers that stand before it: they find the checkpoint.
    async fn clear_storage(storage: Storage, options: CacheOptions) -> Result<Self, CacheError> {
        let manifest: Vec<_> = [storage.list(CHECKPOINTS, None).await?, storage.list(LOG, None).await?].concat();
        let newest = manifest.iter().filter_map(|file| commit::seq_of(&file.name)).max();
        let seq = newest.unwrap_or(0) + 1;
        let snapshot = Snapshot::empty(seq, 0, 0);
        storage
            .put(&checkpoint_name(seq), commit::encode_checkpoint(&snapshot))
            .await?;
        storage.put(HINT, seq.to_string().into_bytes()).await?;
        for file in &manifest {
            storage.delete(&file.name).await?;
        }
        for file in storage.list(SEGMENTS, None).await? {
            storage.delete(&file.name).await?;
        }
        let committing = Committing {
            last_checkpoint: seq,
            ..Committing::default()
        };
        Ok(Cache::at(storage, options, snapshot, committing))
    }
}

fn is_older(since_ms: i64, now_ms: i64, grace: Duration) -> bool {
    let grace_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
    now_ms.saturating_sub(since_ms) >= grace_ms
}
