//! Keeps rows and logs in step, as Spark's `FsHistoryProvider` does.

pub mod snapshot;

pub use snapshot::{AttemptRows, LogEntry, LogState, Snapshot};
