//! A table whose few rows are known when it is looked up: the `system` tables, `pg_catalog`, `information_schema`.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

pub(crate) struct FixedTable {
    rows: RecordBatch,
    view: bool,
}

impl FixedTable {
    pub(crate) fn table(rows: RecordBatch) -> Arc<dyn TableProvider> {
        Arc::new(FixedTable { rows, view: false })
    }

    pub(crate) fn view(rows: RecordBatch) -> Arc<dyn TableProvider> {
        Arc::new(FixedTable { rows, view: true })
    }

    /// Many relations of `pg_catalog` never have a row here; the planner leaves out what joins with them.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.num_rows() == 0
    }
}

impl fmt::Debug for FixedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedTable")
            .field("rows", &self.rows.num_rows())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for FixedTable {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        if self.view { TableType::View } else { TableType::Base }
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = match limit {
            Some(limit) => self.rows.slice(0, limit.min(self.rows.num_rows())),
            None => self.rows.clone(),
        };
        let plan = MemorySourceConfig::try_new_exec(&[vec![rows]], self.rows.schema(), projection.cloned())?;
        Ok(plan)
    }
}
