//! (skeleton) Stored bytes -> complete lines; keeps the unfinished last line of a growing log.
use std::sync::Arc;

use super::{EventLog, LogStore, StoreError};

/// Some complete lines of a log, each ended by its newline.
#[derive(Debug, Clone)]
pub struct LineBlock {
    pub bytes: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The compressed stream is damaged (not merely cut off): what follows cannot be read.
    #[error("{path} is damaged at byte {offset}: {message}")]
    Corrupt { path: String, offset: u64, message: String },
}

/// Reads a log from its beginning, and goes on where it stopped when the log has grown.
#[derive(Debug)]
pub struct LogReader {
    _store: Arc<dyn LogStore>,
    log: Arc<EventLog>,
}

impl LogReader {
    pub fn new(store: Arc<dyn LogStore>, log: Arc<EventLog>) -> Self {
        LogReader { _store: store, log }
    }

    /// A newer listing of the same log: larger, renamed, with more files. `false` if it is not a continuation (shrunk,
    /// compacted): then the log has to be read again from the start.
    pub fn grow(&mut self, log: Arc<EventLog>) -> bool {
        self.log = log;
        true
    }

    /// The next complete lines, `None` at the end of what there is now.
    pub async fn next_block(&mut self) -> Result<Option<LineBlock>, ReadError> {
        Ok(None)
    }

    /// After `next_block` gave `None`: the bytes of a last line without newline, empty if there is none.
    pub fn tail(&self) -> &[u8] {
        &[]
    }

    /// The tail was taken as a whole line: do not give it again.
    pub fn consume_tail(&mut self) {}

    /// After `next_block` gave `None`: compressed bytes that wait for the rest of their block or frame, 0 if there are none.
    pub fn undecoded_bytes(&self) -> u64 {
        0
    }
}
