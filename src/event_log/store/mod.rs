//! The only door to storage: list a directory, read a range.
//!
//! [`LogStore`] is what event logs need of a store; [`LocalStore`] is the local file system, [`open`] gives the one that a URI names.
//! Paths are text, as users see them; [`local_path`] turns what a user gave into one. Nothing here knows what an event log is.

mod hdfs;
mod local;
mod object;
mod requests;
mod resilient;
pub(super) mod threads;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::config::StorageConfig;

pub use hdfs::HdfsStore;
pub use local::{LocalStore, local_path, path_text};
pub use requests::{RequestCounter, Requests};
pub use resilient::{Guard, Resilient};

/// A store, and the path in it that a URI names.
#[derive(Debug)]
pub struct Opened {
    pub store: Arc<dyn LogStore>,
    pub path: String,
}

/// Why a URI cannot be opened. Nothing was asked of a store yet: all of these are for the operator to put right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("{scheme}:// is not built yet")]
    NotBuilt { scheme: String },
    #[error("nothing is known of {scheme}://")]
    UnknownScheme { scheme: String },
    /// The URI or a setting is wrong; the message says which and what to do.
    #[error("{0}")]
    Wrong(String),
}

/// Opens the store of `scheme://rest`; `scheme` is in lower case. What cannot be known without asking the store is found out later.
pub fn open(scheme: &str, rest: &str, storage: &StorageConfig) -> Result<Opened, OpenError> {
    match scheme {
        "s3" | "s3a" | "s3n" | "gs" | "gcs" | "abfs" | "abfss" | "wasb" | "wasbs" | "adl" => {
            object::open(scheme, rest, storage)
        }
        "hdfs" | "viewfs" => {
            let (store, path) = HdfsStore::open(scheme, rest, &storage.hdfs).map_err(|error| OpenError::Wrong(error.to_string()))?;
            Ok(Opened {
                store: Arc::new(Resilient::new(store, &storage.remote)),
                path,
            })
        }
        "webhdfs" | "swebhdfs" => Err(OpenError::Wrong(
            "logs are read over HDFS' own protocol: write hdfs://namenode:8020/path, and [hdfs] webhdfs for where WebHDFS is".to_owned(),
        )),
        _ => Err(OpenError::UnknownScheme {
            scheme: scheme.to_owned(),
        }),
    }
}

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

    /// How many bytes of a large file to ask for before they are needed; 0 where that gains nothing.
    fn read_ahead(&self) -> u64 {
        0
    }

    /// The files of all directories in `dir` whose names begin with `begin`, by the directories' names, where the store can tell them
    /// in fewer requests than one for each directory. `None` where it cannot.
    async fn list_all(&self, _dir: &str, _begin: &str) -> Result<Option<BTreeMap<String, Vec<Entry>>>, StoreError> {
        Ok(None)
    }

    /// A directory says when its entries last changed, and to list it costs more than to ask that: one of a log that ended is listed once.
    fn has_directory_times(&self) -> bool {
        false
    }

    /// Requests that were sent so far; a store that is not reached over a network sends none.
    fn requests(&self) -> Requests {
        Requests::default()
    }

    /// Whether the store answers; `None` for one that has no network to lose.
    fn health(&self) -> Option<StoreHealth> {
        None
    }
}

/// Whether a store answers, as far as is known from the requests that were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    pub state: StoreState,
    /// Since when it is so, milliseconds since the epoch.
    pub since_ms: i64,
    pub last_success_ms: Option<i64>,
    pub last_error: Option<String>,
    pub last_error_ms: Option<i64>,
    /// Requests that failed and were sent again.
    pub retries: u64,
}

/// The word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// The last request was answered.
    Answers,
    /// The last request failed, and is sent again.
    Retrying,
    /// Request after request failed: it is left alone for a while.
    Unreachable,
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
    /// The store refuses, and will until someone changes something: wrong keys, no such bucket. The message says what to do.
    #[error("{path}: {message}")]
    Refused { path: String, message: String },
    /// The store does not answer, or not as it should; it may at any time.
    #[error("{path}: {message}")]
    Unavailable { path: String, message: String },
    /// Anything else.
    #[error("{path} cannot be read")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// Whether the same request may well succeed a moment later.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. })
    }

    fn refused(path: &str, message: String) -> Self {
        StoreError::Refused {
            path: path.to_owned(),
            message,
        }
    }

    fn unavailable(path: &str, message: String) -> Self {
        StoreError::Unavailable {
            path: path.to_owned(),
            message,
        }
    }

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
