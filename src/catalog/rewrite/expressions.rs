//! Expressions that DataFusion has no word for, said with others: the rules 9 and 13 to 16.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    LimitClause, Query, SelectItem, SetExpr, Subscript, TableFactor, TimezoneInfo, UnaryOperator, Value,
};

use super::{alias, array_items, call, empty_query, last_name, plain_argument, plain_select, take};

/// One expression, its parts not yet looked at.
pub(super) fn rewrite_expression(expr: &mut Expr) {
    let new = match expr {
        Expr::AnyOp {
            left,
            compare_op,
            right,
            ..
        } => literal_array(right).and_then(|items| any_of(left, compare_op, items, true)),
        Expr::AllOp {
            left,
            compare_op,
            right,
        } => literal_array(right).and_then(|items| any_of(left, compare_op, items, false)),
        Expr::Like { any: true, .. } | Expr::ILike { any: true, .. } => like_any(expr),
        Expr::BinaryOp { left, op, right } => match (left.as_ref(), right.as_ref()) {
            (Expr::Tuple(left), Expr::Tuple(right)) if *op == BinaryOperator::Overlaps => {
                Some(call("overlaps", left.iter().chain(right).cloned().collect()))
            }
            (Expr::Tuple(left), Expr::Tuple(right)) if left.len() == right.len() => compare_rows(left, op, right),
            _ => None,
        },
        Expr::InList { expr, list, negated } => match expr.as_ref() {
            Expr::Tuple(row) => row_in_list(row, list, *negated),
            _ => None,
        },
        Expr::InSubquery {
            expr,
            subquery,
            negated,
        } => match expr.as_ref() {
            Expr::Tuple(row) => Some(row_in_subquery(row, subquery, *negated)),
            _ => None,
        },
        Expr::Extract { field, expr, .. } => {
            let field = field.to_string().to_lowercase();
            let has_fraction = matches!(
                field.trim_end_matches('s'),
                "epoch" | "second" | "millisecond" | "julian" | "sec" | "msec" | "m"
            ) && field != "m";
            let function = if has_fraction {
                "extract__parts"
            } else {
                "extract__whole"
            };
            Some(call(function, vec![text(&field), take(expr)]))
        }
        Expr::AtTimeZone { timestamp, time_zone } => Some(call("timezone", vec![take(time_zone), take(timestamp)])),
        Expr::SimilarTo {
            negated,
            expr,
            pattern,
            escape_char,
        } => {
            let escape = escape_char.take().map_or_else(|| text("\\"), Expr::Value);
            let op = match negated {
                true => BinaryOperator::PGRegexNotMatch,
                false => BinaryOperator::PGRegexMatch,
            };
            Some(binary(
                take(expr),
                op,
                call("similar__pattern", vec![take(pattern), escape]),
            ))
        }
        Expr::UnaryOp { op, expr } => match op {
            UnaryOperator::BitwiseNot => Some(call("int__not", vec![take(expr)])),
            UnaryOperator::PGAbs => Some(call("abs", vec![take(expr)])),
            UnaryOperator::PGSquareRoot => Some(call("sqrt", vec![take(expr)])),
            UnaryOperator::PGCubeRoot => Some(call("cbrt", vec![take(expr)])),
            _ => None,
        },
        Expr::Identifier(ident)
            if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("localtimestamp") =>
        {
            Some(local_timestamp())
        }
        Expr::Value(value) => match &value.value {
            Value::UnicodeStringLiteral(content) => Some(text(content)),
            Value::Number(digits, long) => plain_number(digits).map(|digits| match digits {
                Ok(plain) => Expr::value(Value::Number(plain, *long)),
                Err(float) => cast(text(float), DataType::DoublePrecision),
            }),
            _ => None,
        },
        Expr::Interval(interval) => match interval.value.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(content) => {
                    let unit = interval.leading_field.as_ref().map(|field| format!(" {field}"));
                    let content = format!("{content}{}", unit.unwrap_or_default());
                    let ty = DataType::Interval {
                        fields: None,
                        precision: None,
                    };
                    Some(cast(text(&content), ty))
                }
                _ => None,
            },
            _ => None,
        },
        Expr::Substring {
            expr,
            substring_from,
            substring_for,
            shorthand,
            ..
        } => {
            let one = || Expr::value(Value::Number("1".into(), false));
            let from = substring_from.as_mut().map_or_else(one, |from| take(from));
            let mut arguments = vec![take(expr), from];
            arguments.extend(substring_for.as_mut().map(|length| take(length)));
            Some(call(if *shorthand { "substr" } else { "substring" }, arguments))
        }
        Expr::Case {
            conditions,
            else_result,
            ..
        } => {
            conditions.iter_mut().for_each(|when| as_int4(&mut when.result));
            if let Some(result) = else_result {
                as_int4(result);
            }
            None
        }
        Expr::Function(function) => match last_name(&function.name).as_deref() {
            Some("make_interval") => {
                named_arguments(function);
                None
            }
            Some("localtimestamp") => Some(local_timestamp()),
            Some(name) if TYPED_BY_ARGUMENTS.contains(&name) => {
                if let FunctionArguments::List(list) = &mut function.args {
                    for argument in &mut list.args {
                        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = argument {
                            as_int4(value);
                        }
                    }
                }
                None
            }
            _ => aggregate(function),
        },
        Expr::CompoundFieldAccess { root, access_chain } => {
            // `a.b[1]`: `b` is a column; behind anything else a name is a field.
            let mut fields = !matches!(root.as_ref(), Expr::Identifier(_) | Expr::CompoundIdentifier(_));
            for access in access_chain {
                match access {
                    AccessExpr::Dot(field) => {
                        if let (true, Expr::Identifier(ident)) = (fields, &*field) {
                            *field = text(&ident.value);
                        }
                    }
                    AccessExpr::Subscript(subscript) => {
                        fields = true;
                        if let Subscript::Slice { lower_bound, .. } = subscript
                            && lower_bound.is_none()
                        {
                            *lower_bound = Some(Expr::value(Value::Number("1".into(), false)));
                        }
                    }
                }
            }
            None
        }
        _ => None,
    };
    if let Some(new) = new {
        *expr = new;
    }
}

/// Functions whose result has the type of their arguments: a literal that fits is `integer` there, as in operators.
const TYPED_BY_ARGUMENTS: &[&str] = &[
    "abs",
    "mod",
    "gcd",
    "lcm",
    "greatest",
    "least",
    "coalesce",
    "nullif",
    "to_hex",
    "generate_series",
    "array_append",
    "array_prepend",
    "array_cat",
    "array_remove",
    "array_replace",
    "array_fill",
    "array_position",
    "array_positions",
    "max",
    "min",
    "sum",
    "array_agg",
    "first_value",
    "last_value",
    "pg_typeof",
];

/// An integer literal that fits four bytes, cast to `integer`.
fn as_int4(expr: &mut Expr) {
    if super::is_int4(expr) {
        *expr = cast(take(expr), DataType::Int(None));
    }
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

fn local_timestamp() -> Expr {
    cast(
        call("now", Vec::new()),
        DataType::Timestamp(Some(6), TimezoneInfo::None),
    )
}

/// A number with an exponent without it; as it is where that is too long. `None` if it has none.
fn plain_number(digits: &str) -> Option<Result<String, &str>> {
    let at = digits.find(['e', 'E'])?;
    let (mantissa, exponent) = (&digits[..at], digits[at + 1..].parse::<i32>().ok()?);
    if exponent.abs() > 30 {
        return Some(Err(digits));
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let all = format!("{whole}{fraction}");
    let length = i32::try_from(all.len()).ok()?;
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    Some(Ok(if point <= 0 {
        format!("0.{}{all}", zeros(-point))
    } else if point >= length {
        format!("{all}{}.", zeros(point - length))
    } else {
        let (whole, fraction) = all.split_at(usize::try_from(point).ok()?);
        format!("{whole}.{fraction}")
    }))
}

fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_owned()))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

/// Comparisons with a word between them, or a constant if there are none. As a balanced tree: a list may be long, and plans have a
/// limit of depth.
fn chain(mut parts: Vec<Expr>, op: &BinaryOperator) -> Expr {
    match parts.len() {
        0 => Expr::value(Value::Boolean(*op == BinaryOperator::And)),
        1 => parts.remove(0),
        count => {
            let right = parts.split_off(count / 2);
            nested(binary(chain(parts, op), op.clone(), chain(right, op)))
        }
    }
}

// 13. Literal arrays

fn literal_array(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Nested(inner) => literal_array(inner),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(content) => {
                let items = array_items(content)?.into_iter();
                Some(
                    items
                        .map(|item| item.map_or_else(|| Expr::value(Value::Null), |item| text(&item)))
                        .collect(),
                )
            }
            _ => None,
        },
        _ => None,
    }
}

fn any_of(left: &Expr, op: &BinaryOperator, items: Vec<Expr>, any: bool) -> Option<Expr> {
    if items.is_empty() {
        return Some(Expr::value(Value::Boolean(!any)));
    }
    let in_list = |negated: bool, list: Vec<Expr>| Expr::InList {
        expr: Box::new(left.clone()),
        list,
        negated,
    };
    Some(match (op, any) {
        (BinaryOperator::Eq, true) => in_list(false, items),
        (BinaryOperator::NotEq, false) => in_list(true, items),
        _ => {
            let parts = items
                .into_iter()
                .map(|item| binary(left.clone(), op.clone(), item))
                .collect();
            chain(parts, if any { &BinaryOperator::Or } else { &BinaryOperator::And })
        }
    })
}

fn like_any(expr: &mut Expr) -> Option<Expr> {
    let (Expr::Like { pattern, .. } | Expr::ILike { pattern, .. }) = &*expr else {
        return None;
    };
    let mut patterns = pattern.as_ref();
    while let Expr::Nested(inner) = patterns {
        patterns = inner;
    }
    let items = match patterns {
        Expr::Array(array) => array.elem.clone(),
        other => literal_array(other)?,
    };
    let parts = items.into_iter().map(|item| {
        let mut one = expr.clone();
        if let Expr::Like { any, pattern, .. } | Expr::ILike { any, pattern, .. } = &mut one {
            *any = false;
            **pattern = item;
        }
        one
    });
    Some(chain(parts.collect(), &BinaryOperator::Or))
}

// 14. Rows

fn compare_rows(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Option<Expr> {
    let each = |op: &BinaryOperator| {
        left.iter()
            .zip(right)
            .map(|(left, right)| binary(left.clone(), op.clone(), right.clone()))
            .collect::<Vec<_>>()
    };
    match op {
        BinaryOperator::Eq => Some(nested(chain(each(op), &BinaryOperator::And))),
        BinaryOperator::NotEq => Some(nested(chain(each(op), &BinaryOperator::Or))),
        BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq => {
            let strict = match op {
                BinaryOperator::Lt | BinaryOperator::LtEq => BinaryOperator::Lt,
                _ => BinaryOperator::Gt,
            };
            let (first_left, rest_left) = left.split_first()?;
            let (first_right, rest_right) = right.split_first()?;
            if rest_left.is_empty() {
                return Some(binary(first_left.clone(), op.clone(), first_right.clone()));
            }
            let equal = binary(first_left.clone(), BinaryOperator::Eq, first_right.clone());
            let rest = compare_rows(rest_left, op, rest_right)?;
            Some(nested(binary(
                binary(first_left.clone(), strict, first_right.clone()),
                BinaryOperator::Or,
                nested(binary(equal, BinaryOperator::And, rest)),
            )))
        }
        _ => None,
    }
}

fn row_in_list(row: &[Expr], list: &[Expr], negated: bool) -> Option<Expr> {
    let rows = list.iter().map(|item| match item {
        Expr::Tuple(items) if items.len() == row.len() => compare_rows(row, &BinaryOperator::Eq, items),
        _ => None,
    });
    let found = nested(chain(rows.collect::<Option<Vec<_>>>()?, &BinaryOperator::Or));
    Some(match negated {
        true => Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(found),
        },
        false => found,
    })
}

/// `(a, b) IN (SELECT …)` → `EXISTS (SELECT 1 FROM (SELECT …) AS rows (c1, c2) WHERE c1 = a AND c2 = b)`.
fn row_in_subquery(row: &[Expr], subquery: &mut Box<Query>, negated: bool) -> Expr {
    let columns: Vec<_> = (1..=row.len())
        .map(|at| datafusion::sql::sqlparser::ast::Ident::new(format!("__row_{at}")))
        .collect();
    let parts = row
        .iter()
        .zip(&columns)
        .map(|(value, column)| binary(Expr::Identifier(column.clone()), BinaryOperator::Eq, value.clone()));
    let rows = TableFactor::Derived {
        lateral: false,
        subquery: std::mem::replace(subquery, Box::new(empty_query())),
        alias: Some(alias("__rows", &columns)),
        sample: None,
    };
    let mut select = plain_select(Expr::value(Value::Number("1".into(), false)), rows);
    select.selection = Some(chain(parts.collect(), &BinaryOperator::And));
    Expr::Exists {
        subquery: Box::new(Query {
            body: Box::new(SetExpr::Select(Box::new(select))),
            ..empty_query()
        }),
        negated,
    }
}

// 9. Aggregates

/// An aggregate that is a function of `array_agg`.
fn aggregate(function: &mut Function) -> Option<Expr> {
    let name = last_name(&function.name)?;
    let over = |function: &Function, arguments: Vec<Expr>| {
        let mut list = function.clone();
        list.name = super::name("array_agg");
        list.within_group = Vec::new();
        if let FunctionArguments::List(given) = &mut list.args {
            given.args = arguments
                .into_iter()
                .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
                .collect();
        }
        list
    };
    let arguments: Vec<Expr> = match &function.args {
        FunctionArguments::List(list) => list.args.iter().map(plain_argument).collect::<Option<_>>()?,
        _ => return None,
    };
    match (name.as_str(), arguments.as_slice()) {
        ("json_agg" | "jsonb_agg", [value]) => {
            let list = Expr::Function(over(function, vec![value.clone()]));
            Some(call("to_json", vec![list]))
        }
        ("json_object_agg" | "jsonb_object_agg", [key, value]) => {
            let keys = Expr::Function(over(function, vec![key.clone()]));
            let values = Expr::Function(over(function, vec![value.clone()]));
            Some(call("json__object_of", vec![keys, values]))
        }
        ("percentile_disc", [fraction]) | ("percentile_cont", [fraction @ Expr::Array(_)]) => {
            let list = sorted(function, &over)?;
            let of = if name == "percentile_disc" {
                "array__disc"
            } else {
                "array__cont"
            };
            let list = match of {
                "array__cont" => cast(
                    list,
                    DataType::Array(datafusion::sql::sqlparser::ast::ArrayElemTypeDef::SquareBracket(
                        Box::new(DataType::DoublePrecision),
                        None,
                    )),
                ),
                _ => list,
            };
            Some(call(of, vec![list, fraction.clone()]))
        }
        ("mode", []) => Some(call("array__mode", vec![sorted(function, &over)?])),
        _ => None,
    }
}

/// `array_agg(e ORDER BY e)` of `WITHIN GROUP (ORDER BY e)`.
fn sorted(function: &Function, over: &dyn Fn(&Function, Vec<Expr>) -> Function) -> Option<Expr> {
    let [by] = function.within_group.as_slice() else {
        return None;
    };
    let mut list = over(function, vec![by.expr.clone()]);
    if let FunctionArguments::List(given) = &mut list.args {
        given.clauses = vec![datafusion::sql::sqlparser::ast::FunctionArgumentClause::OrderBy(vec![
            by.clone(),
        ])];
    }
    Some(Expr::Function(list))
}

// 15. FETCH FIRST

/// `FETCH FIRST n ROWS ONLY` → `LIMIT n`.
pub(super) fn fetch_as_limit(query: &mut Query) {
    let Some(fetch) = query.fetch.take_if(|fetch| !fetch.with_ties && !fetch.percent) else {
        return;
    };
    let count = fetch
        .quantity
        .unwrap_or_else(|| Expr::value(Value::Number("1".into(), false)));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, .. }) => *limit = Some(count),
        _ => {
            query.limit_clause = Some(LimitClause::LimitOffset {
                limit: Some(count),
                offset: None,
                limit_by: Vec::new(),
            });
        }
    }
}

// 16. Named arguments

fn named_arguments(function: &mut Function) {
    const NAMES: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    let mut values: Vec<Expr> = NAMES
        .iter()
        .map(|_| Expr::value(Value::Number("0".into(), false)))
        .collect();
    for (at, argument) in list.args.iter().enumerate() {
        let (place, value) = match argument {
            FunctionArg::Named { name, arg, .. } => (NAMES.iter().position(|known| *known == name.value), arg),
            FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg,
                ..
            } => (NAMES.iter().position(|known| *known == name.value), arg),
            FunctionArg::Unnamed(value) => (Some(at), value),
            FunctionArg::ExprNamed { .. } => return,
        };
        let (Some(place), FunctionArgExpr::Expr(value)) = (place.and_then(|at| values.get_mut(at)), value) else {
            return;
        };
        *place = value.clone();
    }
    list.args = values
        .into_iter()
        .map(|value| FunctionArg::Unnamed(FunctionArgExpr::Expr(value)))
        .collect();
}

/// The select list of a set: its value, or the columns of its rows.
pub(super) fn items_of(columns: &[&str], row: &str) -> Vec<SelectItem> {
    columns
        .iter()
        .map(|column| SelectItem::ExprWithAlias {
            expr: Expr::CompoundFieldAccess {
                root: Box::new(nested(Expr::Identifier(row.into()))),
                access_chain: vec![AccessExpr::Dot(text(column))],
            },
            alias: datafusion::sql::sqlparser::ast::Ident::with_quote('"', *column),
        })
        .collect()
}
