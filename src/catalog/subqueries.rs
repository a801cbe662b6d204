//! Subqueries in places where DataFusion has no join for them, as plans it has one for. Runs before types are coerced.
//!
//! - **Functions that return sets, beside what they are called on** (`FROM t, unnest(t.list) x`, `LEFT JOIN LATERAL f(t.x) ON true`):
//!   the rows of `t` are unnested themselves; nothing is joined.
//! - **`IN` and `EXISTS` as values** (in a select list, in CASE, ORDER BY, GROUP BY, in an argument of an aggregate): counts of the rows
//!   that match, which DataFusion joins. `NULL` is as SQL has it. In WHERE and HAVING it knows them itself.
//! - What an aggregate or a window function computes from a subquery is computed below it.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, NullHandling, RecursionUnnestOption, ScalarValue, Spans, UnnestOptions, plan_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{array_agg, count};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, Subquery, SubqueryAlias, Unnest, lit, when,
};

use super::functions::named;

/// All of the above, at one node.
pub(super) fn plan_subqueries(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Join(join) => lateral_set(join),
        LogicalPlan::Projection(_) => values_of_subqueries(plan),
        LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => compute_below(plan),
        other => Ok(Transformed::no(other)),
    }
}

// Sets beside what they are called on

/// A set that is computed from the row at its left.
fn lateral_set(join: Join) -> Result<Transformed<LogicalPlan>> {
    let unchanged = |join| Ok(Transformed::no(LogicalPlan::Join(join)));
    let set = match join.right.as_ref() {
        LogicalPlan::Subquery(set) => set,
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => match input.as_ref() {
            LogicalPlan::Subquery(set) => set,
            _ => return unchanged(join),
        },
        _ => return unchanged(join),
    };
    let condition = join.filter.clone().filter(|filter| *filter != lit(true));
    let keeps_all = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left if condition.is_none() => true,
        _ => return unchanged(join),
    };
    if !join.on.is_empty() {
        return unchanged(join);
    }
    let mut graft = Graft {
        left: join.left.as_ref().clone(),
        keeps_all,
        names: 0,
    };
    let Some((plan, columns)) = graft.onto_left(&set.subquery)? else {
        return unchanged(join);
    };
    let left = join.left.schema().columns().into_iter().map(Expr::Column);
    let right = join.right.schema().iter().zip(columns);
    let right = right.map(|((qualifier, field), column)| match qualifier {
        Some(qualifier) => Expr::Column(column).alias_qualified(Some(qualifier.clone()), field.name()),
        None => Expr::Column(column).alias(field.name()),
    });
    let mut builder = LogicalPlanBuilder::from(plan).project(left.chain(right).collect::<Vec<_>>())?;
    if let Some(condition) = condition {
        builder = builder.filter(condition)?;
    }
    Ok(Transformed::yes(builder.build()?))
}

/// Puts the nodes of a set on the plan at its left instead of on a row of nothing.
struct Graft {
    left: LogicalPlan,
    /// Rows without a set stay, with nulls.
    keeps_all: bool,
    /// Names given so far: those of the set could be the names of columns at its left.
    names: usize,
}

impl Graft {
    /// The new plan, and what the columns of the old node are called in it. `None` if there is more in it than a set.
    fn onto_left(&mut self, node: &LogicalPlan) -> Result<Option<(LogicalPlan, Vec<Column>)>> {
        match node {
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row && empty.schema.fields().is_empty() => {
                Ok(Some((self.left.clone(), Vec::new())))
            }
            LogicalPlan::SubqueryAlias(alias) => self.onto_left(&alias.input),
            LogicalPlan::Subquery(subquery) => self.onto_left(&subquery.subquery),
            LogicalPlan::Projection(projection) => {
                let Some((input, known)) = self.onto_left(&projection.input)? else {
                    return Ok(None);
                };
                let below = projection.input.schema().columns();
                let mut exprs: Vec<Expr> = self.left_columns();
                let mut columns = Vec::new();
                for expr in &projection.expr {
                    let name = self.name();
                    exprs.push(renamed(expr.clone().unalias(), &below, &known)?.alias(&name));
                    columns.push(Column::new_unqualified(name));
                }
                Ok(Some((
                    LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?),
                    columns,
                )))
            }
            LogicalPlan::Filter(filter) if !self.keeps_all => {
                let Some((input, known)) = self.onto_left(&filter.input)? else {
                    return Ok(None);
                };
                let predicate = renamed(filter.predicate.clone(), &filter.input.schema().columns(), &known)?;
                Ok(Some((
                    LogicalPlanBuilder::from(input).filter(predicate)?.build()?,
                    known,
                )))
            }
            LogicalPlan::Unnest(unnest) => {
                if !unnest.struct_type_columns.is_empty() {
                    return Ok(None);
                }
                let Some((input, known)) = self.onto_left(&unnest.input)? else {
                    return Ok(None);
                };
                let mut recursions = Vec::new();
                let mut execute = Vec::new();
                let mut columns = Vec::new();
                // In the order of the node's own output.
                for at in &unnest.dependency_indices {
                    let Some(column) = known.get(*at) else { return Ok(None) };
                    let Some((_, list)) = unnest.list_type_columns.iter().find(|(index, _)| index == at) else {
                        columns.push(column.clone());
                        continue;
                    };
                    let output = Column::new_unqualified(self.name());
                    recursions.push(RecursionUnnestOption {
                        input_column: column.clone(),
                        output_column: output.clone(),
                        depth: list.depth,
                    });
                    execute.push(column.clone());
                    columns.push(output);
                }
                let handling = match self.keeps_all {
                    true => NullHandling::PreserveAndExpandEmpty,
                    false => NullHandling::Drop,
                };
                let mut options = UnnestOptions::new().with_null_handling(handling);
                options.recursions = recursions;
                let plan = LogicalPlan::Unnest(Unnest::try_new(Arc::new(input), execute, options)?);
                Ok(Some((plan, columns)))
            }
            _ => Ok(None),
        }
    }

    fn left_columns(&self) -> Vec<Expr> {
        self.left.schema().columns().into_iter().map(Expr::Column).collect()
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("__set_{}", self.names)
    }
}

/// An expression over `below` as one over `known`, at the same places; outer columns are ordinary ones now.
fn renamed(expr: Expr, below: &[Column], known: &[Column]) -> Result<Expr> {
    let expr = expr.transform_up(|expr| {
        Ok(match expr {
            Expr::Column(column) => match below.iter().position(|old| *old == column) {
                Some(at) => match known.get(at) {
                    Some(new) => Transformed::yes(Expr::Column(new.clone())),
                    None => Transformed::no(Expr::Column(column)),
                },
                None => Transformed::no(Expr::Column(column)),
            },
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            other => Transformed::no(other),
        })
    })?;
    Ok(expr.data)
}

// IN and EXISTS as values

fn values_of_subqueries(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let Some(input) = plan.inputs().first().map(|input| Arc::clone(input.schema())) else {
        return Ok(Transformed::no(plan));
    };
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| match expr {
            Expr::InSubquery(subquery) => value_of_in(subquery, &input).map(Transformed::yes),
            Expr::Exists(Exists { subquery, negated }) => {
                let rows = counted(&subquery, None, lit(1_i64), Vec::new())?;
                let zero = lit(0_i64);
                Ok(Transformed::yes(if negated { rows.eq(zero) } else { rows.gt(zero) }))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    })
}

/// `x IN (SELECT y …)`: true if a `y` matches; else null if `x` or some `y` is null and there are rows; else false.
fn value_of_in(subquery: InSubquery, input: &datafusion::common::DFSchema) -> Result<Expr> {
    let InSubquery {
        expr: value,
        subquery,
        negated,
    } = subquery;
    let columns = subquery.subquery.schema().columns();
    let [column] = columns.as_slice() else {
        return plan_err!("subquery has too many columns");
    };
    let item = Expr::Column(column.clone());
    let mut outer = Vec::new();
    let as_outer = value.as_ref().clone().transform_up(|expr| match expr {
        Expr::Column(column) => {
            let (_, field) = input.qualified_field_from_column(&column)?;
            let field = Arc::clone(field);
            let reference = Expr::OuterReferenceColumn(field, column);
            if !outer.contains(&reference) {
                outer.push(reference.clone());
            }
            Ok(Transformed::yes(reference))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let zero = || lit(0_i64);
    let matching = counted(&subquery, Some(item.clone().eq(as_outer.data)), lit(1_i64), outer)?;
    let rows = counted(&subquery, None, lit(1_i64), Vec::new())?;
    let values = counted(&subquery, None, item, Vec::new())?;
    let found = when(matching.gt(zero()), lit(true))
        .when(rows.clone().eq(zero()), lit(false))
        .when(value.is_null().or(values.lt(rows)), lit(ScalarValue::Boolean(None)))
        .otherwise(lit(false))?;
    Ok(if negated { !found } else { found })
}

/// How many rows of a subquery fulfil a condition and have a value.
fn counted(subquery: &Subquery, condition: Option<Expr>, value: Expr, outer: Vec<Expr>) -> Result<Expr> {
    let mut rows = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone());
    if let Some(condition) = condition {
        rows = rows.filter(condition)?;
    }
    let counted = rows.aggregate(Vec::<Expr>::new(), vec![count(value)])?.build()?;
    let mut outer_ref_columns = subquery.outer_ref_columns.clone();
    outer_ref_columns.extend(outer);
    Ok(Expr::ScalarSubquery(Subquery {
        subquery: Arc::new(counted),
        outer_ref_columns,
        spans: Spans::new(),
    }))
}

/// Subqueries of an aggregate or a window function, computed as columns below it.
fn compute_below(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let Some(input) = plan.inputs().first().map(|input| (*input).clone()) else {
        return Ok(Transformed::no(plan));
    };
    let mut computed = Vec::new();
    let names = NamePreserver::new(&plan);
    let changed = plan.clone().map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| {
            let is_correlated =
                matches!(&expr, Expr::ScalarSubquery(subquery) if !subquery.outer_ref_columns.is_empty());
            if !is_correlated && !matches!(expr, Expr::InSubquery(_) | Expr::Exists(_)) {
                return Ok(Transformed::no(expr));
            }
            let name = format!("__subquery_{}", computed.len());
            computed.push(expr.alias(&name));
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name))))
        })?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    })?;
    if computed.is_empty() {
        return Ok(Transformed::no(plan));
    }
    let columns = input.schema().columns().into_iter().map(Expr::Column);
    let below = LogicalPlanBuilder::from(input.clone())
        .project(columns.chain(computed).collect::<Vec<_>>())?
        .build()?;
    let below = values_of_subqueries(below)?.data;
    let expressions = changed.data.expressions();
    Ok(Transformed::yes(changed.data.with_new_exprs(expressions, vec![below])?))
}

/// Correlated subqueries that may have more than one row, which DataFusion refuses to plan: their rows as a list, and an error where there
/// is more than one in it.
pub(super) fn single_rows(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Filter(_)) {
        return Ok(Transformed::no(plan));
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| {
            let Expr::ScalarSubquery(subquery) = &expr else {
                return Ok(Transformed::no(expr));
            };
            let rows = subquery.subquery.as_ref();
            if subquery.outer_ref_columns.is_empty() || has_one_row(rows) {
                return Ok(Transformed::no(expr));
            }
            let columns = rows.schema().columns();
            let ([column], Some(single)) = (columns.as_slice(), named("single__of")) else {
                return Ok(Transformed::no(expr));
            };
            let list = LogicalPlanBuilder::from(rows.clone())
                .aggregate(Vec::<Expr>::new(), vec![array_agg(Expr::Column(column.clone()))])?
                .build()?;
            let list = Expr::ScalarSubquery(Subquery {
                subquery: Arc::new(list),
                ..subquery.clone()
            });
            Ok(Transformed::yes(single.call(vec![list])))
        })?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    })
}

/// Is there one row for each outer row at most?
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Sort(_) | LogicalPlan::Filter(_) => {
            plan.inputs().first().is_some_and(|input| has_one_row(input))
        }
        LogicalPlan::EmptyRelation(_) => true,
        other => other.max_rows() == Some(1),
    }
}

/// Is it text that is not JSON, or null, which is any type?
pub(super) fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::Utf8View | DataType::Null)
}
