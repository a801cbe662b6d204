//! Keeps the rows of `generate_series` in their order, which PostgreSQL's users rely on though SQL does not promise it.
//!
//! DataFusion deals the batches of a single source out to all partitions ([`RepartitionExec`], round robin), to have what stands above computed side by
//! side. For a series that gains little and shuffles its rows.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

/// What `generate_series` and `range` are in a plan.
const SERIES: &str = "LazyMemoryExec";

#[derive(Debug)]
pub(super) struct SeriesInOrder;

impl PhysicalOptimizerRule for SeriesInOrder {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let kept = plan.transform_up(|node| {
            let deals_out = node
                .downcast_ref::<RepartitionExec>()
                .filter(|repartition| matches!(repartition.partitioning(), Partitioning::RoundRobinBatch(_)));
            match deals_out.map(|repartition| Arc::clone(repartition.input())) {
                Some(input) if is_series(&input) => Ok(Transformed::yes(input)),
                _ => Ok(Transformed::no(node)),
            }
        });
        kept.map(|kept| kept.data)
    }

    fn name(&self) -> &str {
        "SeriesInOrder"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether a subtree is a series with at most one operator after the other above it.
fn is_series(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match plan.children().as_slice() {
        [] => plan.name() == SERIES,
        [child] => is_series(child),
        _ => false,
    }
}
