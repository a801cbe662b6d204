//! Commits and checkpoints as files: `_m/log/<20 digits>.json.zst`, `_m/ckpt/<20 digits>.json.zst`.
//!
//! Each is a zstd frame with a checksum. It holds a line of JSON, whose `format` is read first, so that another format is told apart from
//! damage. Of a commit that line is all there is. A checkpoint has its state behind it in postcard's encoding: of 100,000 applications
//! it is read whenever a process starts, and as JSON that was most of the start.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::CacheError;
use super::manifest::{Attempt, AttemptOrd, OtherLog, Removed, Segment, Snapshot};

/// The format of commits, checkpoints and segments together. Raised when an earlier release could misread what this one writes.
pub(super) const FORMAT: u32 = 3;
const ZSTD_LEVEL: i32 = 3;

pub(super) const LOG: &str = "_m/log";
pub(super) const CHECKPOINTS: &str = "_m/ckpt";
/// The number of the newest checkpoint, perhaps: saves listing, decides nothing.
pub(super) const HINT: &str = "_m/_last";
const SUFFIX: &str = ".json.zst";

/// One step from a snapshot to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    /// The attempt is live from now on, or what is known of it has changed.
    PutApp(Attempt),
    /// Its rows must not be seen any more.
    DropApp {
        ord: AttemptOrd,
    },
    AddSegment(Segment),
    /// The file stays until [`Action::ForgetSegment`].
    RemoveSegment {
        table: String,
        path: String,
    },
    /// The file of a removed segment was deleted.
    ForgetSegment {
        path: String,
    },
    /// A log was read that no rows are kept of.
    PutOtherLog(OtherLog),
    DropOtherLog {
        identity: String,
    },
    /// What an `acl_id` means, before any row has it.
    PutAcl {
        acl_id: i32,
        acl: String,
    },
}

/// What becomes visible at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commit {
    pub(super) format: u32,
    pub(super) seq: u64,
    /// Tells a commit of ours, whose answer was lost, from that of another.
    pub(super) commit_uuid: String,
    pub(super) writer: String,
    pub(super) at_ms: i64,
    pub(super) actions: Vec<Action>,
}

/// A whole snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Checkpoint {
    next_ord: i64,
    attempts: Vec<Arc<Attempt>>,
    segments: Vec<Arc<Segment>>,
    removed: Vec<Removed>,
    other_logs: Vec<Arc<OtherLog>>,
    acls: BTreeMap<i32, String>,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The first line of a checkpoint.
#[derive(Serialize, Deserialize)]
struct CheckpointHead {
    format: u32,
    seq: u64,
}

pub(super) fn log_name(seq: u64) -> String {
    format!("{LOG}/{seq:020}{SUFFIX}")
}

pub(super) fn checkpoint_name(seq: u64) -> String {
    format!("{CHECKPOINTS}/{seq:020}{SUFFIX}")
}

/// The number in the name of a commit or a checkpoint.
pub(super) fn seq_of(name: &str) -> Option<u64> {
    let (_, file) = name.rsplit_once('/')?;
    file.strip_suffix(SUFFIX)?.parse().ok()
}

pub(super) fn encode_commit(commit: &Commit) -> Vec<u8> {
    let json = serde_json::to_vec(commit).expect("plain structs are written to memory");
    compressed(&[&json])
}

/// `file` is for messages.
pub(super) fn decode_commit(file: &str, bytes: &[u8]) -> Result<Commit, CacheError> {
    let json = zstd::decode_all(bytes).map_err(|error| CacheError::damaged(file, error))?;
    head(file, &json)
}

pub(super) fn encode_checkpoint(snapshot: &Snapshot) -> Vec<u8> {
    let mut attempts: Vec<_> = snapshot.attempts().cloned().collect();
    attempts.sort_by_key(|attempt| attempt.ord);
    let head = CheckpointHead {
        format: FORMAT,
        seq: snapshot.seq,
    };
    let state = Checkpoint {
        next_ord: snapshot.next_ord,
        attempts,
        segments: snapshot.all_segments().cloned().collect(),
        removed: snapshot.removed().cloned().collect(),
        other_logs: snapshot.other_logs().cloned().collect(),
        acls: snapshot.acls().clone(),
    };
    let head = serde_json::to_vec(&head).expect("plain structs are written to memory");
    let state = postcard::to_extend(&state, Vec::new()).expect("plain structs are written to memory");
    compressed(&[&head, b"\n", &state])
}

pub(super) fn decode_checkpoint(file: &str, bytes: &[u8], seq: u64) -> Result<Snapshot, CacheError> {
    let damaged = |reason: String| CacheError::damaged(file, reason);
    let bytes = zstd::decode_all(bytes).map_err(|error| CacheError::damaged(file, error))?;
    let end = memchr::memchr(b'\n', &bytes).unwrap_or(bytes.len());
    let (line, state) = bytes.split_at(end);
    let found: CheckpointHead = head(file, line)?;
    if found.seq != seq {
        return Err(damaged(format!("it says it is checkpoint {}", found.seq)));
    }
    let state = state.get(1..).unwrap_or_default();
    let checkpoint: Checkpoint = postcard::from_bytes(state).map_err(|error| CacheError::damaged(file, error))?;
    let mut snapshot = Snapshot::empty(seq, checkpoint.next_ord, checkpoint.attempts.len());
    for attempt in checkpoint.attempts {
        snapshot.put(attempt).map_err(damaged)?;
    }
    snapshot.restore_segments(checkpoint.segments);
    for removed in checkpoint.removed {
        snapshot.add_removed(removed);
    }
    for log in checkpoint.other_logs {
        snapshot.put_other_log(log);
    }
    for (acl_id, acl) in checkpoint.acls {
        snapshot.put_acl(acl_id, acl).map_err(damaged)?;
    }
    Ok(snapshot)
}

fn compressed(parts: &[&[u8]]) -> Vec<u8> {
    let write = || -> std::io::Result<Vec<u8>> {
        let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
        encoder.include_checksum(true)?;
        for part in parts {
            encoder.write_all(part)?;
        }
        encoder.finish()
    };
    write().expect("it is written to memory")
}

/// The JSON that a file begins with, if its format is ours.
fn head<T: DeserializeOwned>(file: &str, json: &[u8]) -> Result<T, CacheError> {
    let Format { format: found } = serde_json::from_slice(json).map_err(|error| CacheError::damaged(file, error))?;
    let known = FORMAT;
    match found.cmp(&known) {
        std::cmp::Ordering::Greater => Err(CacheError::NewerFormat {
            file: file.to_owned(),
            found,
            known,
        }),
        std::cmp::Ordering::Less => Err(CacheError::OlderFormat {
            file: file.to_owned(),
            found,
            known,
        }),
        std::cmp::Ordering::Equal => serde_json::from_slice(json).map_err(|error| CacheError::damaged(file, error)),
    }
}
