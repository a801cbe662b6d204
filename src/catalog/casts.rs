//! Casts and arithmetic with PostgreSQL's results, on plans.
//!
//! [`PostgresCasts`] runs before types are coerced: texts are read as PostgreSQL's input functions read them, fractions are rounded
//! when they become whole numbers, values become text as PostgreSQL prints them, and a zone of the session counts. What DataFusion casts
//! alike it goes on casting. A literal in quotes in an IN list has the type of what is looked for.
//!
//! [`CheckedArithmetic`] runs after: sums, differences and products of integers that do not fit, and floats divided by zero, are errors
//! (22003, 22012) and no wrapped numbers or infinities.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::AnalyzerRule;

use super::functions::named;
use super::values;

/// Digits behind the point that a mean is computed from: it gets four more.
const SCALE_OF_MEANS: i8 = 12;

#[derive(Debug)]
pub(super) struct PostgresCasts;

#[derive(Debug)]
pub(super) struct CheckedArithmetic;

impl AnalyzerRule for PostgresCasts {
    fn name(&self) -> &str {
        "postgres_casts"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = config.execution.time_zone.clone().unwrap_or_else(|| "UTC".into());
        each_expression(plan, &|expr, schema| cast_as_postgres(expr, schema, &zone))
    }
}

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        each_expression(plan, &check_arithmetic)
    }
}

/// Applies a change to every expression of a plan, from the inside out; names of columns stay.
fn each_expression(
    plan: LogicalPlan,
    change: &dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let changed = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| change(expr, &schema))?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })?;
        if changed.transformed {
            changed.map_data(LogicalPlan::recompute_schema)
        } else {
            Ok(changed)
        }
    })?;
    Ok(plan.data)
}

fn call(name: &str, arguments: Vec<Expr>) -> Option<Expr> {
    let function = named(name)?;
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(function),
        arguments,
    )))
}

fn cast_as_postgres(expr: Expr, schema: &DFSchema, zone: &str) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Cast(Cast { expr: value, field }) => {
            let target = field.data_type();
            let source = value.get_type(schema)?;
            if let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = value.as_ref()
                && let Some(value) = values::parse(text, target, values::zone(zone)?)?
            {
                return Ok(Transformed::yes(lit(value)));
            }
            let replaced = match kind_of_cast(&source, target, zone == "UTC" || zone == "+00:00") {
                Some("cast__to") => call(
                    "cast__to",
                    vec![value.as_ref().clone(), lit(ScalarValue::try_from(target)?)],
                ),
                Some(name) => call(name, vec![value.as_ref().clone()]),
                None => None,
            };
            Ok(match replaced {
                Some(call) => Transformed::yes(call),
                None => Transformed::no(Expr::Cast(Cast { expr: value, field })),
            })
        }
        Expr::InList(InList { expr, list, negated }) => {
            let ty = expr.get_type(schema)?;
            let zone = values::zone(zone)?;
            let mut changed = false;
            let list = list
                .into_iter()
                .map(|item| match &item {
                    Expr::Literal(ScalarValue::Utf8(Some(text)), _) => match values::parse(text, &ty, zone)? {
                        Some(value) => {
                            changed = true;
                            Ok(lit(value))
                        }
                        None => Ok(item),
                    },
                    _ => Ok(item),
                })
                .collect::<Result<Vec<_>>>()?;
            let expr = Expr::InList(InList { expr, list, negated });
            Ok(if changed {
                Transformed::yes(expr)
            } else {
                Transformed::no(expr)
            })
        }
        // PostgreSQL's means of numerics have 16 digits and more, DataFusion's four more than what they are of.
        Expr::AggregateFunction(mut function) if function.func.name() == "avg" => {
            if let [argument] = function.params.args.as_mut_slice()
                && let DataType::Decimal128(precision, scale) = argument.get_type(schema)?
                && (0..SCALE_OF_MEANS).contains(&scale)
                && i16::from(precision) - i16::from(scale) <= i16::from(38 - SCALE_OF_MEANS)
            {
                let precise = argument
                    .clone()
                    .cast_to(&DataType::Decimal128(38, SCALE_OF_MEANS), schema)?;
                *argument = precise;
                return Ok(Transformed::yes(Expr::AggregateFunction(function)));
            }
            Ok(Transformed::no(Expr::AggregateFunction(function)))
        }
        // `round` of floats goes to the even neighbour in PostgreSQL.
        Expr::ScalarFunction(function) if function.func.name() == "round" && function.args.len() == 1 => {
            let ty = function.args[0].get_type(schema)?;
            match call("round__even", function.args.clone()).filter(|_| ty.is_floating()) {
                Some(call) => Ok(Transformed::yes(call)),
                None => Ok(Transformed::no(Expr::ScalarFunction(function))),
            }
        }
        other => Ok(Transformed::no(other)),
    }
}

/// The function that casts as PostgreSQL does, where DataFusion casts otherwise.
fn kind_of_cast(source: &DataType, target: &DataType, is_utc: bool) -> Option<&'static str> {
    use DataType::{
        Binary, Boolean, Date32, Decimal128, Duration, FixedSizeList, Float32, Float64, Int16, Int32, Int64, Interval,
        LargeList, LargeUtf8, List, Map, Struct, Time32, Time64, Timestamp, UInt32, Utf8, Utf8View,
    };
    if source == target {
        return None;
    }
    match (source, target) {
        (
            Float32 | Float64 | Timestamp(..) | Interval(_) | Duration(_) | List(_) | LargeList(_) | FixedSizeList(..)
            | Struct(_) | Map(..) | Binary | Time32(_) | Time64(_),
            Utf8,
        ) => Some("text__of"),
        (
            Utf8 | Utf8View | LargeUtf8,
            Boolean | Int16 | Int32 | Int64 | UInt32 | Float32 | Float64 | Decimal128(..) | Date32 | Timestamp(..)
            | Time64(_) | Interval(_) | List(_),
        )
        | (Utf8 | Utf8View, Binary)
        | (Float32 | Float64 | Decimal128(..), Int16 | Int32 | Int64 | UInt32)
        | (Int64 | Int32, Int16)
        | (Int64, Int32)
        | (Interval(_), Time64(_)) => Some("cast__to"),
        (Timestamp(_, Some(_)), Date32 | Time64(_) | Timestamp(_, None))
        | (Date32 | Timestamp(_, None), Timestamp(_, Some(_)))
            if !is_utc =>
        {
            Some("cast__to")
        }
        _ => None,
    }
}

fn check_arithmetic(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expr else {
        return Ok(Transformed::no(expr));
    };
    let name = match op {
        Operator::Plus => "int__plus",
        Operator::Minus => "int__minus",
        Operator::Multiply => "int__times",
        Operator::Divide => "float__over",
        _ => return Ok(Transformed::no(expr)),
    };
    let ty = left.get_type(schema)?;
    let applies = match op {
        Operator::Divide => ty.is_floating(),
        _ => ty.is_signed_integer(),
    };
    if !applies || right.get_type(schema)? != ty {
        return Ok(Transformed::no(expr));
    }
    Ok(match call(name, vec![left.as_ref().clone(), right.as_ref().clone()]) {
        Some(call) => Transformed::yes(call),
        None => Transformed::no(expr),
    })
}
