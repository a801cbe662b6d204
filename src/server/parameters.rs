//! Parameters of a statement: how many there are, and of which types.
//!
//! A type is what the client declared, else what the statement says where the parameter stands (`$1::int`, `LIMIT $1`,
//! `x = ANY($1)`), else what DataFusion infers from what it is compared with, else text. PostgreSQL takes the first of these places.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::execution::context::SessionState;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{self, Visit, VisitMut};

use super::error::QueryError;
use super::rewrite::cast_literal;
use crate::catalog::pg_types::{self, parameter_type};
use crate::catalog::rewrite::type_oid;

/// Parameters the protocol can carry.
const LIMIT: usize = 65_535;

/// What a statement says of its parameters by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Placeholders {
    /// `$3` alone means three parameters, as in PostgreSQL.
    count: usize,
    /// PostgreSQL types of `$n::type`, and of parameters that only one type fits; by number, from zero.
    types: BTreeMap<usize, u32>,
}

impl Placeholders {
    /// To be asked before the statement is rewritten for DataFusion, which no longer has PostgreSQL's types.
    pub(super) fn of(statement: &ast::Statement) -> Result<Self, QueryError> {
        let mut found = Placeholders::default();
        match statement.visit(&mut found) {
            ControlFlow::Break(name) => Err(QueryError::UnknownParameter { name }),
            ControlFlow::Continue(()) => Ok(found),
        }
    }

    /// The first of the parameters that are not among the first `given`.
    pub(super) fn missing(&self, given: usize) -> Option<QueryError> {
        (self.count > given).then(|| QueryError::UnknownParameter {
            name: format!("${}", given + 1),
        })
    }

    pub(super) fn type_oid(&self, index: usize) -> Option<u32> {
        self.types.get(&index).copied()
    }

    fn is_of_type(&mut self, expr: &ast::Expr, oid: u32) {
        if let Some(index) = placeholder(expr) {
            self.types.entry(index).or_insert(oid);
        }
    }
}

impl ast::Visitor for Placeholders {
    type Break = String;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<String> {
        let (limit, offset) = match &query.limit_clause {
            Some(ast::LimitClause::LimitOffset { limit, offset, .. }) => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(ast::LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
            None => (None, None),
        };
        let fetch = query.fetch.as_ref().and_then(|fetch| fetch.quantity.as_ref());
        for count in [limit, offset, fetch].into_iter().flatten() {
            self.is_of_type(count, pg_types::INT8);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<String> {
        if let ast::Expr::Cast {
            expr: inner, data_type, ..
        } = expr
            && let Some(oid) = type_oid(data_type).filter(|oid| parameter_type(*oid).is_some())
        {
            self.is_of_type(inner, oid);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ast::ValueWithSpan) -> ControlFlow<String> {
        if let ast::Value::Placeholder(name) = &value.value {
            match number(name) {
                Some(index) => self.count = self.count.max(index + 1),
                None => return ControlFlow::Break(name.clone()),
            }
        }
        ControlFlow::Continue(())
    }
}

/// The number of a parameter, from zero.
fn number(name: &str) -> Option<usize> {
    let number = name.strip_prefix('$')?.parse::<usize>().ok()?;
    (1..=LIMIT).contains(&number).then(|| number - 1)
}

fn placeholder(expr: &ast::Expr) -> Option<usize> {
    match expr {
        ast::Expr::Nested(inner) => placeholder(inner),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Placeholder(name) => number(name),
            _ => None,
        },
        _ => None,
    }
}

/// The types of all parameters; `statement` is already rewritten.
pub(super) async fn infer_parameter_types(
    session: &SessionState,
    statement: &DfStatement,
    placeholders: &Placeholders,
    declared: &[Option<DataType>],
) -> Result<Vec<DataType>, QueryError> {
    let count = placeholders.count.max(declared.len());
    let mut types: Vec<Option<DataType>> = (0..count)
        .map(|index| {
            declared
                .get(index)
                .cloned()
                .flatten()
                .or_else(|| placeholders.type_oid(index).and_then(parameter_type))
        })
        .collect();
    if types.iter().any(Option::is_none) {
        let mut inferred = HashMap::new();
        let mut arrays = HashSet::new();
        // What is added to a time has no type of its own until one has seen that nothing of the same type can be.
        for added_is_interval in [false, true] {
            let mut probe = Probe {
                known: &types,
                added_is_interval,
                arrays: HashSet::new(),
                intervals: HashSet::new(),
            };
            let mut statement = statement.clone();
            if let Some(tree) = super::statement::sql_tree(&mut statement) {
                let _ = tree.visit(&mut probe);
            }
            if added_is_interval && probe.intervals.is_empty() {
                break;
            }
            let (found, intervals) = (probe.arrays, probe.intervals);
            // Where the bare statement cannot be planned, parameters are text, and planning with these says what is wrong.
            if let Ok(plan) = session.statement_to_plan(statement).await {
                inferred = plan.get_parameter_types().unwrap_or_default();
                arrays = found;
                for index in intervals {
                    inferred.insert(format!("${}", index + 1), parameter_type(pg_types::INTERVAL));
                }
                break;
            }
        }
        for (index, data_type) in types
            .iter_mut()
            .enumerate()
            .filter(|(_, data_type)| data_type.is_none())
        {
            let found = inferred.get(&format!("${}", index + 1)).cloned().flatten();
            let found = found.filter(|found| !found.is_null()).unwrap_or(DataType::Utf8);
            *data_type = Some(if arrays.contains(&index) {
                DataType::new_list(found, true)
            } else {
                found
            });
        }
    }
    Ok(types
        .into_iter()
        .map(|data_type| data_type.unwrap_or(DataType::Utf8))
        .collect())
}

/// Makes of a statement one from which DataFusion infers more: what is known is a null of that type, and an array that something
/// is compared with is one element of it.
struct Probe<'a> {
    known: &'a [Option<DataType>],
    /// Whether an unknown parameter that is added to or taken from something is taken for an interval.
    added_is_interval: bool,
    /// Parameters that were taken for intervals.
    intervals: HashSet<usize>,
    /// Parameters of which the element's type will be inferred.
    arrays: HashSet<usize>,
}

impl ast::VisitorMut for Probe<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if let Some(compared) = self.compared_with_each_other(expr) {
            *expr = compared;
            return ControlFlow::Continue(());
        }
        if self.added_is_interval
            && let ast::Expr::BinaryOp {
                left,
                op: ast::BinaryOperator::Plus | ast::BinaryOperator::Minus,
                right,
            } = expr
        {
            for side in [left, right] {
                if let Some(index) = self.unknown(side) {
                    self.intervals.insert(index);
                    **side = null_of(ast::DataType::Interval {
                        fields: None,
                        precision: None,
                    });
                }
            }
            return ControlFlow::Continue(());
        }
        let (ast::Expr::AnyOp {
            left,
            compare_op,
            right,
            ..
        }
        | ast::Expr::AllOp {
            left,
            compare_op,
            right,
        }) = expr
        else {
            return ControlFlow::Continue(());
        };
        let element = match self.unknown(right) {
            Some(array) => {
                self.arrays.insert(array);
                right.as_ref().clone()
            }
            None if self.unknown(left).is_some() && !matches!(right.as_ref(), ast::Expr::Subquery(_)) => {
                ast::Expr::CompoundFieldAccess {
                    root: Box::new(ast::Expr::Nested(right.clone())),
                    access_chain: vec![ast::AccessExpr::Subscript(ast::Subscript::Index {
                        index: ast::Expr::value(ast::Value::Number("1".into(), false)),
                    })],
                }
            }
            None => return ControlFlow::Continue(()),
        };
        *expr = ast::Expr::BinaryOp {
            left: left.clone(),
            op: compare_op.clone(),
            right: Box::new(element),
        };
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if matches!(expr, ast::Expr::Value(_))
            && let Some(index) = placeholder(expr)
            && let Some(Some(known)) = self.known.get(index)
        {
            *expr = null_of(sql_type(known));
        }
        ControlFlow::Continue(())
    }
}

impl Probe<'_> {
    /// The number of a parameter of which nothing is known yet.
    fn unknown(&self, expr: &ast::Expr) -> Option<usize> {
        placeholder(expr).filter(|index| matches!(self.known.get(*index), Some(None)))
    }

    /// For `coalesce(a, $1)`, `nullif(a, $1)`, `CASE … THEN a ELSE $1 END` and the like: `CASE WHEN a = $1 … THEN a END`, which has the
    /// same type, and says that of the parameter. `None` where no parameter is unknown, or nothing else is there.
    fn compared_with_each_other(&self, expr: &ast::Expr) -> Option<ast::Expr> {
        let truth = ast::Expr::value(ast::Value::Boolean(true));
        // Values of one type, one of which is the result; and conditions.
        let (values, conditions): (Vec<&ast::Expr>, Vec<ast::Expr>) = match expr {
            ast::Expr::Function(function) => {
                let name = function.name.0.last()?.as_ident()?.value.to_lowercase();
                if !["coalesce", "greatest", "least", "nullif"].contains(&name.as_str()) {
                    return None;
                }
                let ast::FunctionArguments::List(list) = &function.args else {
                    return None;
                };
                let values = list.args.iter().map(|argument| match argument {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) => Some(value),
                    _ => None,
                });
                (values.collect::<Option<_>>()?, Vec::new())
            }
            ast::Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => {
                let values = conditions.iter().map(|when| &when.result).chain(else_result.as_deref());
                let against = operand.as_deref().unwrap_or(&truth);
                let tested = conditions.iter().map(|when| match operand {
                    None if self.unknown(&when.condition).is_none() => when.condition.clone(),
                    _ => equal(against, &when.condition),
                });
                (values.collect(), tested.collect())
            }
            _ => return None,
        };
        let is_unknown = |value: &&ast::Expr| self.unknown(value).is_some();
        let unknown_condition = match expr {
            ast::Expr::Case {
                operand, conditions, ..
            } => operand
                .as_deref()
                .into_iter()
                .chain(conditions.iter().map(|when| &when.condition))
                .any(|condition| self.unknown(condition).is_some()),
            _ => false,
        };
        if !unknown_condition && !values.iter().any(is_unknown) {
            return None;
        }
        let is_null = |value: &ast::Expr| matches!(value, ast::Expr::Value(value) if value.value == ast::Value::Null);
        let known = values
            .iter()
            .find(|value| !is_unknown(value) && !is_null(value))
            .copied();
        let mut result = known.or_else(|| values.first().copied())?.clone();
        cast_literal(&mut result);
        let result = &result;
        let alike = values
            .iter()
            .filter(|value| is_unknown(value) && known.is_some())
            .map(|value| equal(result, value));
        let conditions = conditions.into_iter().chain(alike).map(|condition| ast::CaseWhen {
            condition,
            result: result.clone(),
        });
        Some(ast::Expr::Case {
            case_token: ast::helpers::attached_token::AttachedToken::empty(),
            end_token: ast::helpers::attached_token::AttachedToken::empty(),
            operand: None,
            conditions: conditions.collect(),
            else_result: None,
        })
    }
}

fn equal(left: &ast::Expr, right: &ast::Expr) -> ast::Expr {
    ast::Expr::BinaryOp {
        left: Box::new(ast::Expr::Nested(Box::new(left.clone()))),
        op: ast::BinaryOperator::Eq,
        right: Box::new(ast::Expr::Nested(Box::new(right.clone()))),
    }
}

fn null_of(data_type: ast::DataType) -> ast::Expr {
    ast::Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(ast::Expr::value(ast::Value::Null)),
        data_type,
        array: false,
        format: None,
    }
}

/// The SQL type that DataFusion turns into this Arrow type (or one that compares alike; values are cast to what it made of it).
pub(super) fn sql_type(data_type: &DataType) -> ast::DataType {
    match data_type {
        DataType::Boolean => ast::DataType::Boolean,
        DataType::Int8 | DataType::Int16 => ast::DataType::SmallInt(None),
        DataType::Int32 | DataType::UInt8 | DataType::UInt16 => ast::DataType::Int(None),
        DataType::Int64 | DataType::UInt32 => ast::DataType::BigInt(None),
        DataType::UInt64 => ast::DataType::BigIntUnsigned(None),
        DataType::Float16 | DataType::Float32 => ast::DataType::Real,
        DataType::Float64 => ast::DataType::DoublePrecision,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => ast::DataType::Numeric(ast::ExactNumberInfo::PrecisionAndScale(
            u64::from(*precision),
            i64::from(*scale),
        )),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            ast::DataType::Bytea
        }
        DataType::Date32 | DataType::Date64 => ast::DataType::Date,
        DataType::Time32(_) | DataType::Time64(_) => ast::DataType::Time(None, ast::TimezoneInfo::None),
        DataType::Timestamp(unit, None) => ast::DataType::Timestamp(Some(digits(*unit)), ast::TimezoneInfo::None),
        DataType::Timestamp(unit, Some(_)) => {
            ast::DataType::Timestamp(Some(digits(*unit)), ast::TimezoneInfo::WithTimeZone)
        }
        DataType::Interval(_) | DataType::Duration(_) => ast::DataType::Interval {
            fields: None,
            precision: None,
        },
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => ast::DataType::Array(
            ast::ArrayElemTypeDef::SquareBracket(Box::new(sql_type(item.data_type())), None),
        ),
        DataType::Dictionary(_, value) => sql_type(value),
        _ => ast::DataType::Text,
    }
}

fn digits(unit: TimeUnit) -> u64 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}
