//! The one path of a statement: parse, plan on a pinned snapshot, run on a runtime of its own, stream; with a deadline over
//! plan and rows, and cancellation. Every door uses it. (skeleton: the interface)

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::Stream;

use crate::catalog::{Catalog, SessionVars};

/// What a statement may use.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    /// Over planning and rows together; `None` is without limit.
    pub timeout: Option<Duration>,
    /// Memory one statement may hold before it spills or fails.
    pub memory_bytes: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("{message}")]
    Syntax { message: String },
    #[error("{message}")]
    Internal { message: String },
}

/// A running statement: its columns, then its rows.
pub struct RowStream {
    pub schema: SchemaRef,
    pub batches: Pin<Box<dyn Stream<Item = Result<RecordBatch, QueryError>> + Send>>,
}

impl std::fmt::Debug for RowStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowStream")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub struct QueryEngine {
    _catalog: Arc<Catalog>,
    _limits: QueryLimits,
}

impl QueryEngine {
    /// Starts the runtime that statements run on.
    pub fn start(catalog: Arc<Catalog>, limits: QueryLimits) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(QueryEngine {
            _catalog: catalog,
            _limits: limits,
        }))
    }

    /// Splits a text into statements (by parsing it), for `sparkgate sql` and the simple protocol.
    pub fn split(&self, _sql: &str) -> Result<Vec<String>, QueryError> {
        Ok(Vec::new())
    }

    /// Runs one read-only statement without parameters.
    pub async fn run(&self, _sql: &str, _vars: &SessionVars) -> Result<RowStream, QueryError> {
        Err(QueryError::Internal {
            message: "skeleton".into(),
        })
    }
}
