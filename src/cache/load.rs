//! From files to a snapshot: the newest checkpoint and the commits after it.
//!
//! A damaged checkpoint costs nothing while the commits from an earlier one on are all there. A snapshot that is older than the newest
//! file says is never given out: that is an error, as is a gap.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::CacheError;
use super::commit::{self, CHECKPOINTS, Commit, HINT, LOG, checkpoint_name, log_name};
use super::manifest::Snapshot;
use super::store::Storage;

/// Commits fetched side by side: hides the latency of an object store.
const PARALLEL_READS: usize = 16;

/// A snapshot from storage.
pub(super) struct Loaded {
    pub(super) snapshot: Snapshot,
    /// The checkpoint it began with; 0 is none.
    pub(super) checkpoint: u64,
    /// Bytes of that checkpoint, and of the commits after it.
    pub(super) checkpoint_bytes: u64,
    pub(super) commit_bytes: u64,
}

/// The newest state. A cache without commits is the empty one.
pub(super) async fn load(storage: &Storage) -> Result<Loaded, CacheError> {
    if let Some(hint) = hint(storage).await? {
        let hinted = load_from(storage, Some(hint)).await;
        if hinted.is_ok() {
            return hinted;
        }
    }
    load_from(storage, None).await
}

async fn hint(storage: &Storage) -> Result<Option<u64>, CacheError> {
    let bytes = storage.get(HINT).await?;
    let number = |bytes: bytes::Bytes| std::str::from_utf8(&bytes).ok()?.trim().parse::<u64>().ok();
    Ok(bytes.and_then(number).filter(|seq| *seq > 0))
}

/// Looks at files from checkpoint `from` on, or at all.
async fn load_from(storage: &Storage, from: Option<u64>) -> Result<Loaded, CacheError> {
    let after = |name: fn(u64) -> String| from.map(|seq| name(seq - 1));
    let checkpoints = seqs(storage, CHECKPOINTS, after(checkpoint_name)).await?;
    let log = seqs(storage, LOG, after(log_name)).await?;
    let newest = checkpoints.last().max(log.last()).copied().unwrap_or(0);
    let mut first_error = None;
    // From nothing only if nothing says that there was something before.
    let starts = checkpoints.iter().rev().copied().chain(from.is_none().then_some(0));
    for start in starts {
        match load_at(storage, start, &log, newest).await {
            Ok(loaded) => return Ok(loaded),
            Err(error @ (CacheError::NewerFormat { .. } | CacheError::OlderFormat { .. })) => return Err(error),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    Err(first_error.unwrap_or_else(|| CacheError::Missing {
        file: storage.file(&checkpoint_name(from.unwrap_or(0))),
    }))
}

async fn seqs(storage: &Storage, folder: &str, after: Option<String>) -> Result<Vec<u64>, CacheError> {
    let listed = storage.list(folder, after.as_deref()).await?;
    let mut seqs: Vec<u64> = listed.iter().filter_map(|file| commit::seq_of(&file.name)).collect();
    seqs.sort_unstable();
    Ok(seqs)
}

async fn load_at(storage: &Storage, start: u64, log: &[u64], newest: u64) -> Result<Loaded, CacheError> {
    let gap = (start + 1..=newest).find(|seq| log.binary_search(seq).is_err());
    if let Some(gap) = gap {
        return Err(CacheError::Missing {
            file: storage.file(&log_name(gap)),
        });
    }
    let (mut snapshot, checkpoint_bytes) = match start {
        0 => (Snapshot::default(), 0),
        seq => {
            let name = checkpoint_name(seq);
            let bytes = get(storage, &name).await?;
            let snapshot = commit::decode_checkpoint(&storage.file(&name), &bytes, seq)?;
            (snapshot, bytes.len() as u64)
        }
    };
    let mut commit_bytes = 0;
    let read = |seq| async move { get(storage, &log_name(seq)).await.map(|bytes| (seq, bytes)) };
    let mut commits = stream::iter(start + 1..=newest).map(read).buffered(PARALLEL_READS);
    while let Some((seq, bytes)) = commits.try_next().await? {
        commit_bytes += bytes.len() as u64;
        let commit = commit::decode_commit(&storage.file(&log_name(seq)), &bytes)?;
        snapshot = apply(storage, &snapshot, &commit)?;
    }
    Ok(Loaded {
        snapshot,
        checkpoint: start,
        checkpoint_bytes,
        commit_bytes,
    })
}

/// A file that has to be there.
async fn get(storage: &Storage, name: &str) -> Result<Bytes, CacheError> {
    let bytes = storage.get(name).await?;
    bytes.ok_or_else(|| CacheError::Missing {
        file: storage.file(name),
    })
}

/// `None` if there is no such commit (yet).
pub(super) async fn read_commit(storage: &Storage, seq: u64) -> Result<Option<Commit>, CacheError> {
    let name = log_name(seq);
    match storage.get(&name).await? {
        Some(bytes) => commit::decode_commit(&storage.file(&name), &bytes).map(Some),
        None => Ok(None),
    }
}

pub(super) fn apply(storage: &Storage, snapshot: &Snapshot, commit: &Commit) -> Result<Snapshot, CacheError> {
    let name = log_name(snapshot.seq + 1);
    snapshot
        .after(commit)
        .map_err(|reason| CacheError::damaged(&storage.file(&name), reason))
}

/// The state now, from an earlier one; `None` if nothing is new.
pub(super) async fn catch_up(storage: &Storage, from: &Snapshot) -> Result<Option<Snapshot>, CacheError> {
    let mut snapshot = None;
    let mut seq = from.seq;
    while let Some(commit) = read_commit(storage, seq + 1).await? {
        snapshot = Some(apply(storage, snapshot.as_ref().unwrap_or(from), &commit)?);
        seq += 1;
    }
    // Commits that a checkpoint covers are deleted some time: who is that far behind begins with the checkpoint.
    let newer = seqs(storage, CHECKPOINTS, Some(checkpoint_name(seq))).await?;
    if newer.is_empty() {
        return Ok(snapshot);
    }
    Ok(Some(load(storage).await?.snapshot))
}
