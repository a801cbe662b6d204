//! The only door to storage: list a directory, read a range.

use std::fmt::Debug;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

/// What a store can do for event logs. S3 and HDFS implement the same.
#[async_trait]
pub trait LogStore: Debug + Send + Sync {
    /// The entries of one directory, one level deep, sorted by name. One LIST.
    async fn list(&self, dir: &str) -> Result<Vec<Entry>, StoreError>;
    /// What is at a path: a file's or a directory's entry.
    async fn head(&self, path: &str) -> Result<Entry, StoreError>;
    /// Bytes `range` of a file; shorter when the file ends earlier, empty past its end.
    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError>;
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub path: String,
    pub name: String,
    pub is_dir: bool,
    pub size_bytes: u64,
    pub modified_ms: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path} does not exist")]
    NotFound { path: String },
    #[error("{path} cannot be read: permission denied")]
    Denied { path: String },
    #[error("{path} is not a directory")]
    NotADirectory { path: String },
    #[error("{path} cannot be read")]
    Io {
        path: String,
        #[source]
        source: std::io::Error,
    },
}
