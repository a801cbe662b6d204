//! What can go wrong with a cache, as an operator tells cases apart.

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use super::manifest::AttemptOrd;

/// Why the cache cannot do what it was asked to. The cache holds nothing that the logs do not: see [`CacheError::needs_rebuild`].
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Another process writes here.
    #[error(
        "the column cache {location} is in use by another sparkgate; stop that one, or give this one a cache directory of its own"
    )]
    Locked { location: String },
    /// A reader was opened where no cache is.
    #[error("{location} holds no column cache")]
    NotACache { location: String },
    /// The place itself cannot be used.
    #[error("the column cache cannot use {location}: {reason}")]
    Location { location: String, reason: String },
    /// A later release wrote this. It stays as it is: the operator decides.
    #[error(
        "{file} was written by a later release of sparkgate (format {found}, this release knows {known}); run that release, or clear the cache"
    )]
    NewerFormat { file: String, found: u32, known: u32 },
    /// An earlier release wrote this.
    #[error(
        "{file} was written by an earlier release of sparkgate (format {found}, this release writes {known}); the cache will be rebuilt from the logs"
    )]
    OlderFormat { file: String, found: u32, known: u32 },
    /// A file that others rely on is gone.
    #[error("{file} is missing from the column cache; the cache has to be rebuilt from the logs")]
    Missing { file: String },
    /// A file does not hold what it must.
    #[error("{file} of the column cache is damaged ({reason}); the cache has to be rebuilt from the logs")]
    Damaged { file: String, reason: String },
    /// Rows were written with other columns and cannot be shown as the table is now.
    #[error(
        "{file} holds column {column} of an earlier release in a form that cannot be read as {expected}; the cache has to be rebuilt from the logs"
    )]
    OtherSchema {
        file: String,
        column: String,
        expected: String,
    },
    /// Where there is no file lock, the commit itself tells two writers apart.
    #[error("{file} was written by another sparkgate; only one may write the column cache {location}")]
    OtherWriter { location: String, file: String },
    /// Rows were to be added to an attempt that was replaced or dropped meanwhile.
    #[error("attempt {attempt_id:?} of {app_id} was replaced or dropped while rows were added to it")]
    Gone { app_id: String, attempt_id: String },
    /// Rows were asked for that were replaced or dropped.
    #[error("the rows of attempt {} of the column cache were replaced or dropped", ord.0)]
    NotLive { ord: AttemptOrd },
    /// A commit names an attempt twice.
    #[error("attempt {attempt_id:?} of {app_id} is written twice in one commit")]
    Twice { app_id: String, attempt_id: String },
    /// The storage failed; what was committed before is still there.
    #[error("the column cache cannot {action} {file}")]
    Store {
        action: &'static str,
        file: String,
        #[source]
        source: object_store::Error,
    },
    /// Rows could not be written as Parquet.
    #[error("rows of {table} cannot be written to the column cache")]
    Encode {
        table: String,
        #[source]
        source: ParquetError,
    },
    /// Rows could not be sorted or joined.
    #[error("rows of {table} cannot be sorted for the column cache")]
    Arrange {
        table: String,
        #[source]
        source: ArrowError,
    },
}

impl CacheError {
    /// The files here will never be good again, and reading the logs anew is the cure.
    pub fn needs_rebuild(&self) -> bool {
        matches!(
            self,
            CacheError::OlderFormat { .. }
                | CacheError::Missing { .. }
                | CacheError::Damaged { .. }
                | CacheError::OtherSchema { .. }
        )
    }

    pub(super) fn damaged(file: &str, reason: impl ToString) -> Self {
        CacheError::Damaged {
            file: file.to_owned(),
            reason: reason.to_string(),
        }
    }
}
