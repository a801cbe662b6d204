//! A plain EXPLAIN as PostgreSQL prints it: the operators as a tree, each with what it is expected to cost and to give.
//!
//! The operators are DataFusion's. Clients read the first line: Superset its cost, `postgres_fdw` cost, rows and width too. Estimates come from
//! the statistics that the operators have; where they have none, PostgreSQL's own guess for a table that nobody has counted stands.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, displayable};

use super::error::QueryError;

/// PostgreSQL's `cpu_tuple_cost`.
const TUPLE: f64 = 0.01;
/// PostgreSQL's `seq_page_cost`, of a page of 8 KiB.
const PAGE: f64 = 1.0;
const PAGE_BYTES: f64 = 8192.0;
/// Rows where nothing is known.
const UNKNOWN_ROWS: usize = 1000;
/// Bytes of a value where nothing is known.
const UNKNOWN_WIDTH: usize = 8;

/// The lines of a plan.
pub(super) fn estimates(plan: &Arc<dyn ExecutionPlan>, schema: &SchemaRef) -> Result<RecordBatch, QueryError> {
    let mut lines = Vec::new();
    describe(plan, 0, &mut lines);
    let column: ArrayRef = Arc::new(StringArray::from(lines));
    RecordBatch::try_new(Arc::clone(schema), vec![column]).map_err(|error| QueryError::Internal {
        message: error.to_string(),
    })
}

/// What an operator is expected to give.
struct Estimate {
    rows: usize,
    width: usize,
    /// Of it and all below it.
    cost: f64,
}

/// Writes the lines of a subtree and gives its cost.
fn describe(plan: &Arc<dyn ExecutionPlan>, depth: usize, lines: &mut Vec<String>) -> f64 {
    let at = lines.len();
    lines.push(String::new());
    let below: f64 = plan
        .children()
        .into_iter()
        .map(|child| describe(child, depth + 1, lines))
        .sum();
    let estimate = estimate(plan, below);
    let indent = match depth {
        0 => String::new(),
        depth => format!("{}->  ", " ".repeat(6 * (depth - 1) + 2)),
    };
    let mut line = indent;
    let operator = displayable(plan.as_ref()).one_line().to_string();
    // It cannot fail: the target is a text.
    let _ = write!(
        line,
        "{}  (cost=0.00..{:.2} rows={} width={})",
        operator.trim_end(),
        estimate.cost,
        estimate.rows,
        estimate.width
    );
    lines[at] = line;
    estimate.cost
}

#[expect(clippy::cast_precision_loss, reason = "costs are no exact numbers")]
fn estimate(plan: &Arc<dyn ExecutionPlan>, below: f64) -> Estimate {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new());
    let (rows, bytes) = statistics.as_ref().map_or((None, None), |statistics| known(statistics));
    let rows = rows.unwrap_or(UNKNOWN_ROWS);
    let columns = plan.schema().fields().len();
    let width = match bytes {
        Some(bytes) if rows > 0 => bytes / rows,
        _ => columns * UNKNOWN_WIDTH,
    };
    let read = if plan.children().is_empty() {
        (rows * width) as f64 / PAGE_BYTES * PAGE
    } else {
        0.0
    };
    Estimate {
        rows,
        width,
        cost: below + read + rows as f64 * TUPLE,
    }
}

fn known(statistics: &Statistics) -> (Option<usize>, Option<usize>) {
    let value = |precision: &Precision<usize>| precision.get_value().copied();
    (value(&statistics.num_rows), value(&statistics.total_byte_size))
}
