//! The only door to storage: list a directory, read a range.
//!
//! [`LogStore`] is what event logs need of a store; [`LocalStore`] is the local file system, [`HdfsStore`] one HDFS. Paths are
//! text, as users see them; [`local_path`] turns what a user gave into one. Nothing here knows what an event log is.

mod hdfs;
mod local;

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use hdfs::{HdfsSettings, HdfsSetupError, HdfsStore, WebHdfsSetting};
pub use local::{LocalStore, local_path, path_text};

/// What a store can do for event logs. S3 and HDFS implement the same.
#[async_trait]
pub trait LogStore: Debug + Send + Sync {
    /// The entries of one directory, one level deep, sorted by name. One LIST.
    async fn list(&self, dir: &str) -> Result<Vec<Entry>, StoreError>;
    /// What is at a path: a file's or a directory's entry.
    async fn head(&self, path: &str) -> Result<Entry, StoreError>;
    /// Bytes `range` of a file; shorter only when the file ends earlier, empty past its end.
    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// What can be read now of a file that is being written, where a listing does not know it: HDFS lists a length that stays behind.
    /// `None`: what was listed is all there is. Whoever asks knows from the name that the file is being written.
    async fn open_file(&self, _: &Entry) -> Result<Option<OpenFile>, StoreError> {
        Ok(None)
    }

    /// How many bytes of a large file to read at a time: so many that the fixed cost of a read does not count.
    fn read_bytes(&self) -> u64 {
        // A request to an object store takes tens of milliseconds before its first byte.
        8 << 20
    }
}

/// A file that a writer has open, in a store whose listing does not show how long it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    /// Bytes that can be read now.
    pub size_bytes: u64,
    /// Why more has been written than can be read; a sentence for users.
    pub behind: Option<Arc<str>>,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The full path: the directory's and the name.
    pub path: String,
    /// The last part of the path.
    pub name: String,
    /// A directory, or a link to one.
    pub is_dir: bool,
    /// A pipe, a socket, a device, or a link that leads nowhere: there are no bytes to read.
    pub is_special: bool,
    /// Size in bytes; for a directory whatever the store says.
    pub size_bytes: u64,
    /// Modification time, milliseconds since the epoch.
    pub modified_ms: i64,
}

/// Why a path cannot be listed or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing is there (any more).
    #[error("{path} does not exist")]
    NotFound { path: String },
    /// It is there, but this process may not see it.
    #[error("{path} cannot be read: permission denied")]
    Denied { path: String },
    /// A file was to be listed.
    #[error("{path} is not a directory")]
    NotADirectory { path: String },
    /// Anything else.
    #[error("{path} cannot be read")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    fn new(path: &str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound { path },
            io::ErrorKind::PermissionDenied => StoreError::Denied { path },
            io::ErrorKind::NotADirectory => StoreError::NotADirectory { path },
            _ => StoreError::Io { path, source },
        }
    }
}
