//! Makes plans give the processor back where DataFusion 55 forgets to, so that an abort takes effect.
//!
//! DataFusion's own `EnsureCooperative` counts batches at the leaves. A join makes millions of batches out of one batch of a leaf, and what stands above
//! (an aggregate, a sort) reads them all in one poll. [`YieldAboveJoins`] counts the batches of joins too.
//!
//! Not covered: a nested loop join whose filter matches nothing makes no batches, and does not yield between the rows of its left side.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// Operators that may answer many batches for one that they read.
const AMPLIFIERS: &[&str] = &[
    "CrossJoinExec",
    "NestedLoopJoinExec",
    "HashJoinExec",
    "SortMergeJoinExec",
    "UnnestExec",
];

#[derive(Debug)]
pub(super) struct YieldAboveJoins;

impl PhysicalOptimizerRule for YieldAboveJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|node| {
            if AMPLIFIERS.contains(&node.name()) {
                return Ok(Transformed::yes(
                    Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>
                ));
            }
            Ok(Transformed::no(node))
        });
        wrapped.map(|wrapped| wrapped.data)
    }

    fn name(&self) -> &str {
        "YieldAboveJoins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
