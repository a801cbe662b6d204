//! Helpers for DataFusion's planner, for what PostgreSQL clients ask of the catalog.
//!
//! [`PostgresPlanner`]: operators by the types of their sides: those of JSON, arrays, times and intervals. PostgreSQL gives a literal in
//! quotes the type of what it is compared with: oids (`c.oid = '16385'`), arrays (`polroles = '{0}'`), times; and a whole number that
//! fits the type `integer`.
//!
//! [`CatalogSubqueries`]: subqueries in ORDER BY are computed below the sort, those that are values as [`super::subqueries`] says. And
//! correlated subqueries over the catalog in a form
//! DataFusion does not decorrelate. Relations known to be empty are taken out with all that joins them; recursive ones become
//! functions ([`super::per_row`]); a subquery that only looks up a row becomes a left join. The last is for subqueries over
//! `pg_catalog` alone, whose keys are unique: over base tables a left join could repeat rows where PostgreSQL reports an error.

use std::sync::Arc;

use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, EmptyRelation, Expr, ExprSchemable, Filter, JoinType, LogicalPlan, LogicalPlanBuilder, Operator,
    Projection, lit, when,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use arrow::datatypes::{DataType, Field};

use super::fixed::FixedTable;
use super::functions::named;
use super::per_row::evaluate_per_row;
use super::subqueries::{is_text, plan_subqueries, single_rows};
use super::{pg_types, values};

#[derive(Debug)]
pub(crate) struct PostgresPlanner;

impl ExprPlanner for PostgresPlanner {
    /// `a.b`, where there is a column `a` and no relation of that name: only what has fields can have a field `b`.
    fn plan_compound_identifier(
        &self,
        field: &Field,
        _qualifier: Option<&TableReference>,
        nested_names: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let has_fields = matches!(
            field.data_type(),
            DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) | DataType::Null
        );
        if has_fields {
            return Ok(PlannerResult::Original(Vec::new()));
        }
        // An error would be swallowed; a column that is not there is found missing.
        let missing = Column::new(
            Some(TableReference::bare(field.name().as_str())),
            nested_names.join("."),
        );
        Ok(PlannerResult::Planned(Expr::Column(missing)))
    }

    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = expr;
        let (left, right) = (narrow(left), narrow(right));
        let types = (left.get_type(schema)?, right.get_type(schema)?);
        if let Some(planned) = operator(&op, &left, &right, &types) {
            return Ok(PlannerResult::Planned(planned));
        }
        // A literal in quotes has the type of the other side.
        if let Some(known) = comparison(&op).or_else(|| arithmetic(&op)) {
            if let Some(right) = typed_literal(&right, &types.0, known)? {
                return Ok(PlannerResult::Planned(binary(left, known, right)));
            }
            if let Some(left) = typed_literal(&left, &types.1, known)? {
                return Ok(PlannerResult::Planned(binary(left, known, right)));
            }
        }
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }

    fn plan_array_literal(&self, exprs: Vec<Expr>, _schema: &DFSchema) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Original(exprs.into_iter().map(narrow).collect()))
    }
}

/// An integer literal that fits is `integer` in PostgreSQL, in every expression.
fn narrow(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => match i32::try_from(value) {
            Ok(value) => lit(value),
            Err(_) => Expr::Literal(ScalarValue::Int64(Some(value)), metadata),
        },
        other => other,
    }
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

fn comparison(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

fn arithmetic(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
        BinaryOperator::Modulo => Operator::Modulo,
        _ => return None,
    })
}

fn call(name: &str, arguments: Vec<Expr>) -> Option<Expr> {
    named(name).map(|function| function.call(arguments))
}

/// Operators that DataFusion has not, or has with another result, by the types of their sides.
fn operator(op: &BinaryOperator, left: &Expr, right: &Expr, types: &(DataType, DataType)) -> Option<Expr> {
    use DataType::{Date32, Duration, Interval, Time64, Timestamp};
    let both = |name: &str| call(name, vec![left.clone(), right.clone()]);
    let swapped = |name: &str| call(name, vec![right.clone(), left.clone()]);
    let is_interval = |ty: &DataType| matches!(ty, Interval(_) | Duration(_));
    let is_time = |ty: &DataType| matches!(ty, Timestamp(..) | Date32 | Time64(_));
    let (l, r) = types;
    let is_list = matches!(l, DataType::List(_)) && !is_json(l) || matches!(r, DataType::List(_)) && !is_json(r);
    match op {
        BinaryOperator::Arrow => both("json__get"),
        BinaryOperator::LongArrow => both("json__get_text"),
        BinaryOperator::HashArrow => both("json__path"),
        BinaryOperator::HashLongArrow => both("json__path_text"),
        BinaryOperator::HashMinus => both("json__without_path"),
        BinaryOperator::Question => both("json__has"),
        BinaryOperator::QuestionPipe => both("json__has_any"),
        BinaryOperator::QuestionAnd => both("json__has_all"),
        BinaryOperator::AtArrow if is_json(l) => both("json__contains"),
        BinaryOperator::ArrowAt if is_json(r) || is_json(l) => swapped("json__contains"),
        BinaryOperator::AtArrow if is_list => both("array__contains"),
        BinaryOperator::ArrowAt if is_list => swapped("array__contains"),
        BinaryOperator::PGOverlap if is_list => both("array__overlap"),
        BinaryOperator::PGStartsWith => both("starts_with"),
        BinaryOperator::StringConcat if is_json(l) && (is_json(r) || is_text(r)) => both("json__concat"),
        BinaryOperator::StringConcat if !is_list => {
            let as_text = |expr: &Expr, ty: &DataType| match ty {
                ty if is_text(ty) => Some(expr.clone()),
                DataType::Boolean => Some(cast(expr.clone(), DataType::Utf8)),
                _ => call("text__of", vec![expr.clone()]),
            };
            (!is_text(l) || !is_text(r)).then_some(())?;
            Some(binary(as_text(left, l)?, Operator::StringConcat, as_text(right, r)?))
        }
        BinaryOperator::Minus if is_json(l) => both("json__without"),
        BinaryOperator::Eq if is_json(l) && is_json(r) => both("json__equals"),
        BinaryOperator::NotEq if is_json(l) && is_json(r) => both("json__equals").map(|equal| !equal),
        BinaryOperator::Minus => match (l, r) {
            (Date32, Date32) => Some(cast(
                binary(left.clone(), Operator::Minus, right.clone()),
                DataType::Int32,
            )),
            (Time64(_), Time64(_)) => both("clock__minus"),
            (Timestamp(..), Timestamp(..) | Date32) | (Date32, Timestamp(..)) => both("time__minus"),
            (time, interval) if is_time(time) && is_interval(interval) => {
                call("time__plus", vec![left.clone(), negated(right.clone())?])
            }
            _ => None,
        },
        BinaryOperator::Plus => match (l, r) {
            (Date32, Time64(_)) => both("date__plus_time"),
            (Time64(_), Date32) => swapped("date__plus_time"),
            (time, interval) if is_time(time) && is_interval(interval) => both("time__plus"),
            (interval, time) if is_time(time) && is_interval(interval) => swapped("time__plus"),
            _ => None,
        },
        BinaryOperator::Multiply if is_interval(l) && r.is_numeric() => both("interval__times"),
        BinaryOperator::Multiply if is_interval(r) && l.is_numeric() => swapped("interval__times"),
        BinaryOperator::Divide if is_interval(l) && r.is_numeric() => both("interval__over"),
        BinaryOperator::Divide
            if (l.is_decimal() || r.is_decimal())
                && (l.is_decimal() || l.is_integer())
                && (r.is_decimal() || r.is_integer()) =>
        {
            both("numeric__over")
        }
        other => {
            let op = comparison(other).filter(|_| is_interval(l) && is_interval(r))?;
            let span = |expr: &Expr| call("interval__span", vec![expr.clone()]);
            Some(binary(span(left)?, op, span(right)?))
        }
    }
}

fn negated(interval: Expr) -> Option<Expr> {
    call("interval__times", vec![interval, lit(-1_i32)])
}

fn cast(expr: Expr, ty: DataType) -> Expr {
    Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(expr), ty))
}

/// JSON to a client: computed, or a nested column.
fn is_json(ty: &DataType) -> bool {
    pg_types::pg_type_oid(ty) == pg_types::JSONB
}

/// A literal in quotes as a value of the other side's type. Text about time in arithmetic is an interval.
fn typed_literal(literal: &Expr, other: &DataType, op: Operator) -> Result<Option<Expr>> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = literal else {
        return Ok(None);
    };
    let is_comparison = !matches!(
        op,
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
    );
    let ty = match other {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Time64(_) if !is_comparison => return Ok(None),
        // Its zone is the session's, which casts know.
        DataType::Timestamp(_, Some(_)) => return Ok(Some(cast(literal.clone(), other.clone()))),
        DataType::Int8 | DataType::UInt8 | DataType::UInt16 | DataType::UInt64 => return Ok(None),
        ty => ty,
    };
    Ok(values::parse(text, ty, values::zone("UTC")?)?.map(lit))
}

#[derive(Debug)]
pub(crate) struct CatalogSubqueries;

impl AnalyzerRule for CatalogSubqueries {
    fn name(&self) -> &str {
        "catalog_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(subqueries_below_sort)?.data;
        let plan = plan.transform_up_with_subqueries(plan_subqueries)?.data;
        // The rest is for statements with catalog relations.
        let single = |plan: LogicalPlan| Ok(plan.transform_up_with_subqueries(single_rows)?.data);
        let mut has_catalog = false;
        plan.apply_with_subqueries(|node| {
            if fixed_table(node).is_some() {
                has_catalog = true;
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !has_catalog {
            return single(plan);
        }
        let mut lookups = 0;
        let plan = plan.transform_up_with_subqueries(without_empty)?.data;
        let plan = plan.transform_up_with_subqueries(evaluate_per_row)?.data;
        single(
            plan.transform_up_with_subqueries(|node| lookup_joins(node, &mut lookups))?
                .data,
        )
    }
}

/// Whether a scan is of a catalog relation, and then whether that is empty.
pub(super) fn fixed_table(plan: &LogicalPlan) -> Option<bool> {
    let LogicalPlan::TableScan(scan) = plan else {
        return None;
    };
    let provider = source_as_provider(&scan.source).ok()?;
    provider.downcast_ref::<FixedTable>().map(FixedTable::is_empty)
}

fn is_empty(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row)
}

fn without_empty(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let inputs: Vec<bool> = plan.inputs().into_iter().map(is_empty).collect();
    let left = inputs.first().copied().unwrap_or(false);
    let right = inputs.get(1).copied().unwrap_or(false);
    let empty = match &plan {
        LogicalPlan::TableScan(_) => fixed_table(&plan) == Some(true),
        LogicalPlan::Filter(_)
        | LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Unnest(_) => left,
        LogicalPlan::Aggregate(aggregate) => left && !aggregate.group_expr.is_empty(),
        LogicalPlan::Union(_) => inputs.iter().all(|empty| *empty),
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => left || right,
            JoinType::Left | JoinType::LeftAnti | JoinType::LeftMark => left,
            JoinType::Right | JoinType::RightAnti | JoinType::RightMark => right,
            JoinType::Full => left && right,
        },
        _ => false,
    };
    if empty {
        let schema = Arc::clone(plan.schema());
        return Ok(Transformed::yes(LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row: false,
            schema,
        })));
    }
    if let LogicalPlan::Aggregate(aggregate) = &plan
        && left
        && aggregate.group_expr.is_empty()
        && aggregate.aggr_expr.iter().all(is_null_of_nothing)
    {
        let nulls = aggregate
            .schema
            .fields()
            .iter()
            .map(|field| Ok(lit(ScalarValue::try_from(field.data_type())?).alias(field.name())));
        let nulls = nulls.collect::<Result<Vec<_>>>()?;
        return Ok(Transformed::yes(
            LogicalPlanBuilder::empty(true).project(nulls)?.build()?,
        ));
    }
    let names = NamePreserver::new(&plan);
    let replaced = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| {
            Ok(match &expr {
                Expr::ScalarSubquery(subquery) if is_empty(&subquery.subquery) => {
                    let ty = subquery.subquery.schema().field(0).data_type().clone();
                    Transformed::yes(lit(ScalarValue::try_from(&ty)?))
                }
                // What referred to the outer row is gone: it is an ordinary subquery now.
                Expr::ScalarSubquery(subquery)
                    if !subquery.outer_ref_columns.is_empty() && !is_correlated(&subquery.subquery)? =>
                {
                    let mut subquery = subquery.clone();
                    subquery.outer_ref_columns = Vec::new();
                    Transformed::yes(Expr::ScalarSubquery(subquery))
                }
                Expr::Exists(Exists { subquery, negated }) if is_empty(&subquery.subquery) => {
                    Transformed::yes(lit(*negated))
                }
                Expr::InSubquery(InSubquery { subquery, negated, .. }) if is_empty(&subquery.subquery) => {
                    Transformed::yes(lit(*negated))
                }
                _ => Transformed::no(expr),
            })
        })?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    })?;
    if replaced.transformed {
        replaced.map_data(LogicalPlan::recompute_schema)
    } else {
        Ok(replaced)
    }
}

/// An aggregate that is null where there are no rows. Others, as counts, are left to DataFusion.
fn is_null_of_nothing(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_null_of_nothing(&alias.expr),
        Expr::AggregateFunction(function) => {
            matches!(
                function.func.name(),
                "array_agg" | "string_agg" | "min" | "max" | "sum" | "avg" | "bool_and" | "bool_or"
            )
        }
        _ => false,
    }
}

/// A subquery that looks up rows of the catalog: `SELECT value FROM rows WHERE predicates`.
struct Lookup {
    value: Expr,
    rows: LogicalPlan,
    predicates: Vec<Expr>,
}

fn lookup_joins(plan: LogicalPlan, count: &mut usize) -> Result<Transformed<LogicalPlan>> {
    if !matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Filter(_)) {
        return Ok(Transformed::no(plan));
    }
    let Some(input) = plan.inputs().first().map(|input| (*input).clone()) else {
        return Ok(Transformed::no(plan));
    };
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut joined = input;
    let names = NamePreserver::new(&plan);
    let mut replace = |expr: Expr| -> Result<Transformed<Expr>> {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| {
            let Expr::ScalarSubquery(subquery) = &expr else {
                return Ok(Transformed::no(expr));
            };
            let Some(lookup) = lookup_of(&subquery.subquery, &subquery.outer_ref_columns) else {
                return Ok(Transformed::no(expr));
            };
            *count += 1;
            let (plan, value) = join_lookup(joined.clone(), lookup, *count)?;
            joined = plan;
            Ok(Transformed::yes(value))
        })?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    };
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut changed = false;
            let mut exprs = Vec::with_capacity(projection.expr.len());
            for expr in projection.expr.clone() {
                let replaced = replace(expr)?;
                changed |= replaced.transformed;
                exprs.push(replaced.data);
            }
            if !changed {
                return Ok(Transformed::no(LogicalPlan::Projection(projection)));
            }
            Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(
                exprs,
                Arc::new(joined),
            )?)))
        }
        LogicalPlan::Filter(filter) => {
            let replaced = replace(filter.predicate.clone())?;
            if !replaced.transformed {
                return Ok(Transformed::no(LogicalPlan::Filter(filter)));
            }
            let filtered = LogicalPlan::Filter(Filter::try_new(replaced.data, Arc::new(joined))?);
            Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(
                columns,
                Arc::new(filtered),
            )?)))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn lookup_of(subquery: &LogicalPlan, outer: &[Expr]) -> Option<Lookup> {
    if outer.is_empty() {
        return None;
    }
    let LogicalPlan::Projection(projection) = subquery else {
        return None;
    };
    let [value] = projection.expr.as_slice() else {
        return None;
    };
    let LogicalPlan::Filter(filter) = projection.input.as_ref() else {
        return None;
    };
    let mut simple = true;
    let only_catalog = |node: &LogicalPlan| {
        simple &= match node {
            LogicalPlan::TableScan(_) => fixed_table(node).is_some(),
            LogicalPlan::Join(_) | LogicalPlan::SubqueryAlias(_) => true,
            _ => false,
        };
        simple &= !node.expressions().iter().any(has_outer);
        Ok(TreeNodeRecursion::Continue)
    };
    filter.input.apply(only_catalog).ok()?;
    simple.then(|| Lookup {
        value: value.clone().unalias(),
        rows: filter.input.as_ref().clone(),
        predicates: split_conjunction_owned(filter.predicate.clone()),
    })
}

fn is_correlated(plan: &LogicalPlan) -> Result<bool> {
    let mut correlated = false;
    plan.apply_with_subqueries(|node| {
        correlated |= node.expressions().iter().any(has_outer);
        Ok(if correlated {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    Ok(correlated)
}

/// DataFusion has no subqueries in a sort: they are computed below it.
fn subqueries_below_sort(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let is_subquery = |expr: &Expr| {
        Ok(matches!(
            expr,
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_)
        ))
    };
    let LogicalPlan::Sort(sort) = plan else {
        return Ok(Transformed::no(plan));
    };
    let mut computed = Vec::new();
    let mut order = sort.expr.clone();
    for by in &mut order {
        if by.expr.exists(is_subquery)? {
            let name = format!("__sort_{}", computed.len());
            let expr = std::mem::replace(&mut by.expr, Expr::Column(Column::new_unqualified(&name)));
            computed.push(expr.alias(name));
        }
    }
    if computed.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Sort(sort)));
    }
    let columns: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
    let plan = LogicalPlanBuilder::from(sort.input.as_ref().clone())
        .project(columns.iter().cloned().chain(computed))?
        .sort_with_limit(order, sort.fetch)?
        .project(columns)?
        .build()?;
    Ok(Transformed::yes(plan))
}

fn has_outer(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(matches!(expr, Expr::OuterReferenceColumn(..))))
        .unwrap_or(true)
}

/// The left join of a plan with a lookup, and the value of the lookup above it: null where there is no row.
fn join_lookup(outer: LogicalPlan, lookup: Lookup, number: usize) -> Result<(LogicalPlan, Expr)> {
    let (outer_predicates, own): (Vec<Expr>, Vec<Expr>) = lookup.predicates.into_iter().partition(has_outer);
    let mut used: Vec<Column> = Vec::new();
    for expr in outer_predicates.iter().chain([&lookup.value]) {
        for column in expr.column_refs() {
            if !used.contains(column) {
                used.push(column.clone());
            }
        }
    }
    used.sort();
    let renamed = |at: usize| format!("__lookup_{number}_{at}");
    let found = format!("__lookup_{number}");
    let rename = |expr: Expr| -> Result<Expr> {
        let expr = expr.transform_up(|expr| {
            Ok(match expr {
                Expr::Column(column) => match used.iter().position(|known| *known == column) {
                    Some(at) => Transformed::yes(Expr::Column(Column::new_unqualified(renamed(at)))),
                    None => Transformed::no(Expr::Column(column)),
                },
                Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
                other => Transformed::no(other),
            })
        })?;
        Ok(expr.data)
    };
    let mut rows = LogicalPlanBuilder::from(lookup.rows);
    if let Some(own) = conjunction(own) {
        rows = rows.filter(own)?;
    }
    let columns = used
        .iter()
        .enumerate()
        .map(|(at, column)| Expr::Column(column.clone()).alias(renamed(at)));
    let rows = rows.project(columns.chain([lit(true).alias(&found)]))?.build()?;
    let on = outer_predicates.into_iter().map(rename).collect::<Result<Vec<_>>>()?;
    let joined = LogicalPlanBuilder::from(outer)
        .join_on(rows, JoinType::Left, on)?
        .build()?;
    let found = Expr::Column(Column::new_unqualified(found)).is_true();
    let value = when(found, rename(lookup.value)?).end()?;
    Ok((joined, value))
}
