//! Where event logs are, and how to read lines from them. Knows bytes and file names, never JSON.
//!
//! Spark writes a log in one of two shapes (`EventLogFileWriters.scala`): a **single file** `<app>[_<attempt>][.<codec>]`,
//! with `.inprogress` behind it while the application runs, or a **rolling directory** `eventlog_v2_<app>[_<attempt>]`
//! with `events_<n>_<app>…` files and an empty `appstatus_…` file whose name says whether the application still runs.
//! A history server may have compacted the older files of a directory into one with the suffix `.compact`.
//!
//! The way of the bytes: [`discover()`] lists a source through a [`LogStore`], [`LogReader`] reads one [`EventLog`] of it through a
//! [`Decoder`] and gives [`LineBlock`]s. What a line says is not looked at here.

mod ahead;
pub mod codec;
pub mod discover;
pub mod lines;
pub mod name;
pub mod store;

use std::sync::Arc;

pub use codec::{Codec, CodecError, Decoder};
pub use discover::{Discoverer, Discovery, NotALog, SkipReason, discover};
pub use lines::{LineBlock, LogReader, ReadError};
pub use store::{Entry, LocalStore, LogStore, OpenFile, StoreError, local_path, path_text};

/// One event log: what one attempt of one application wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    /// Path of the file or directory in its store; what `system.event_logs.path` and error messages show.
    pub path: Arc<str>,
    /// Identity over time: the path without `.inprogress`, so that the final rename keeps the log what it was.
    pub identity: Arc<str>,
    /// `true` for a rolling directory `eventlog_v2_…`.
    pub rolling: bool,
    /// The files to read, in order; compacted files replace the older ones (which are not listed here).
    pub files: Vec<LogFile>,
    /// The name says that the application still runs, or was killed: `.inprogress`, or an `appstatus_….inprogress`.
    pub in_progress: bool,
    /// The last file, if the store knows that somebody writes it, and its length not from a listing. `None` of most stores.
    pub open: Option<OpenFile>,
    /// Sum of the sizes of `files`, in bytes as stored.
    pub size_bytes: u64,
    /// Modification time of the last file, milliseconds since the epoch (Spark's `lastUpdated`).
    pub modified_ms: i64,
}

/// One file of an event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Its path in the store.
    pub path: Arc<str>,
    /// Size in bytes as stored, when it was listed.
    pub size_bytes: u64,
    /// Modification time, milliseconds since the epoch.
    pub modified_ms: i64,
    /// From its name; the files of a log need not agree.
    pub codec: Codec,
    /// The `<n>` of `events_<n>_…`; `None` for a single file.
    pub index: Option<u64>,
    /// A history server's compaction made this file (`.compact`).
    pub compacted: bool,
}
