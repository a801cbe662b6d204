//! Errors of functions and casts that have a SQLSTATE of their own in PostgreSQL.

use datafusion::error::{DataFusionError, Result};

/// What a function or a cast reports, as PostgreSQL words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    /// Five characters, <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
    pub code: &'static str,
    pub message: String,
}

pub(super) fn sql_error(code: &'static str, message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(SqlError {
        code,
        message: message.into(),
    }))
}

pub(super) fn raise<T>(code: &'static str, message: impl Into<String>) -> Result<T> {
    Err(sql_error(code, message))
}
