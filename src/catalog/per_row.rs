//! Correlated subqueries that DataFusion has no join for, as recursive ones: computed for each row that asks, by a function whose
//! arguments are the outer columns. Only over the catalog, whose few rows are in memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::new_empty_array;
use arrow::datatypes::DataType;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue, exec_datafusion_err, exec_err};
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Subquery, Volatility,
};
use datafusion::physical_plan::collect;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::planner::fixed_table;

/// For all rows of a batch together. A recursion need not end, and while it runs nobody can cancel it.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, PartialEq, Eq, Hash)]
struct PerRow {
    subquery: Arc<LogicalPlan>,
    /// Of the outer row, in the order of the arguments.
    columns: Vec<Column>,
    returns: DataType,
    signature: Signature,
}

/// Replaces the subqueries in the expressions of one node.
pub(super) fn evaluate_per_row(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| {
            Ok(match &expr {
                Expr::ScalarSubquery(subquery) => match call(subquery)? {
                    Some(call) => Transformed::yes(call),
                    None => Transformed::no(expr),
                },
                _ => Transformed::no(expr),
            })
        })?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    })
}

/// `None` for a subquery that is not correlated, not recursive, or not over the catalog alone.
fn call(subquery: &Subquery) -> Result<Option<Expr>> {
    let (mut recursive, mut simple) = (false, true);
    let mut columns = BTreeSet::new();
    subquery.subquery.apply(|node| {
        recursive |= matches!(node, LogicalPlan::RecursiveQuery(_));
        if let LogicalPlan::TableScan(scan) = node {
            simple &= fixed_table(node).is_some()
                || source_as_provider(&scan.source).is_ok_and(|provider| provider.is::<CteWorkTable>());
        }
        for expr in node.expressions() {
            expr.apply(|expr| {
                match expr {
                    Expr::OuterReferenceColumn(_, column) => {
                        columns.insert(column.clone());
                    }
                    Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => simple = false,
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !recursive || !simple || columns.is_empty() {
        return Ok(None);
    }
    let columns: Vec<Column> = columns.into_iter().collect();
    let function = PerRow {
        returns: subquery.subquery.schema().field(0).data_type().clone(),
        subquery: Arc::clone(&subquery.subquery),
        signature: Signature::any(columns.len(), Volatility::Stable),
        columns: columns.clone(),
    };
    let arguments = columns.into_iter().map(Expr::Column).collect();
    Ok(Some(ScalarUDF::new_from_impl(function).call(arguments)))
}

impl ScalarUDFImpl for PerRow {
    fn name(&self) -> &str {
        "subquery"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if call.number_rows == 0 {
            return Ok(ColumnarValue::Array(new_empty_array(&self.returns)));
        }
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let rows = arrays.first().map_or(0, |array| array.len());
        let arguments = (0..rows)
            .map(|row| {
                arrays
                    .iter()
                    .map(|array| ScalarValue::try_from_array(array, row))
                    .collect()
            })
            .collect::<Result<Vec<Vec<ScalarValue>>>>()?;
        let values = match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(|| self.on_own_thread(arguments)),
            _ => self.on_own_thread(arguments),
        }?;
        let values = ScalarValue::iter_to_array(values)?;
        if values.len() == 1 && call.number_rows != 1 {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
        }
        Ok(ColumnarValue::Array(values))
    }
}

impl PerRow {
    /// Plans may want to spawn, and this one must not wait for the runtime it is called on.
    fn on_own_thread(&self, rows: Vec<Vec<ScalarValue>>) -> Result<Vec<ScalarValue>> {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::time::timeout(TIMEOUT, self.all(rows))
                    .await
                    .unwrap_or_else(|_| exec_err!("a correlated subquery took longer than {TIMEOUT:?}"))
            })
        };
        std::thread::scope(|scope| scope.spawn(work).join())
            .unwrap_or_else(|_| exec_err!("a correlated subquery failed"))
    }

    async fn all(&self, rows: Vec<Vec<ScalarValue>>) -> Result<Vec<ScalarValue>> {
        static STATE: LazyLock<SessionState> = LazyLock::new(super::base_state);
        let mut known: HashMap<Vec<ScalarValue>, ScalarValue> = HashMap::new();
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            let value = match known.get(&row) {
                Some(value) => value.clone(),
                None => {
                    let value = self.one(&STATE, &row).await?;
                    known.insert(row, value.clone());
                    value
                }
            };
            values.push(value);
        }
        Ok(values)
    }

    async fn one(&self, state: &SessionState, row: &[ScalarValue]) -> Result<ScalarValue> {
        let plan = self.subquery.as_ref().clone().transform_up(|node| {
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| {
                    Ok(match &expr {
                        Expr::OuterReferenceColumn(_, column) => {
                            let at = self.columns.iter().position(|known| known == column);
                            let value = at
                                .and_then(|at| row.get(at))
                                .ok_or_else(|| exec_datafusion_err!("column {column} is not of the outer row"))?;
                            Transformed::yes(Expr::Literal(value.clone(), None))
                        }
                        _ => Transformed::no(expr),
                    })
                })?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })
        })?;
        let physical = state.create_physical_plan(&plan.data).await?;
        let mut answer = None;
        for batch in collect(physical, state.task_ctx()).await? {
            for at in 0..batch.num_rows() {
                if answer.is_some() {
                    return exec_err!("more than one row returned by a subquery used as an expression");
                }
                answer = Some(ScalarValue::try_from_array(batch.column(0), at)?);
            }
        }
        answer.map_or_else(
            || ScalarValue::try_from(&self.returns),
            |value| value.cast_to(&self.returns),
        )
    }
}
