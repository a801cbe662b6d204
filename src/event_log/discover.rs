//! (skeleton) One listing of one directory -> event logs.
use super::{EventLog, LogStore, StoreError};

/// What one listing found.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    pub logs: Vec<EventLog>,
    /// Entries that are no event logs, or cannot be used, each with the reason.
    pub skipped: Vec<NotALog>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotALog {
    pub path: String,
    pub size_bytes: u64,
    pub modified_ms: i64,
    pub reason: SkipReason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    Hidden,
    Empty,
    UnknownCodec { suffix: String },
    NoAppStatus,
    NoEventFiles,
    NotAnEventLogDirectory,
    Unreadable { message: String },
}

/// Lists `source` (a directory of logs, or one log) and says what is there.
pub async fn discover(_store: &dyn LogStore, _source: &str) -> Result<Discovery, StoreError> {
    Ok(Discovery::default())
}
