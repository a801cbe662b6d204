//! A table whose few rows are known when it is looked up: the `system` tables, `pg_catalog`, `information_schema`.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
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

/// Whether a plan reads nothing but relations whose few rows are in memory, or no relation at all. It then costs next to nothing.
pub(crate) fn reads_only_fixed(plan: &LogicalPlan) -> bool {
    let mut only_fixed = true;
    let visited = plan.apply_with_subqueries(|node| {
        only_fixed &= match node {
            LogicalPlan::TableScan(scan) => {
                source_as_provider(&scan.source).is_ok_and(|provider| provider.is::<FixedTable>())
            }
            LogicalPlan::RecursiveQuery(_) => false,
            _ => true,
        };
        Ok(match only_fixed {
            true => TreeNodeRecursion::Continue,
            false => TreeNodeRecursion::Stop,
        })
    });
    visited.is_ok() && only_fixed
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
