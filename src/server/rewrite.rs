//! What a statement must become before DataFusion plans it, so that its answer looks as PostgreSQL's does.
//!
//! Two differences are in the statement's shape and therefore settled on the syntax tree:
//! - **`select 1` is `integer`**, DataFusion says `bigint`. An integer literal that fits four bytes is cast to `INT` where it
//!   is the *whole* item of a select list or of a `VALUES` row (a sign allowed). Literals inside expressions stay `bigint`, so arithmetic
//!   with `bigint` columns neither overflows nor narrows.
//! - **Names of unnamed columns**: `count(*)` is `count`, `1` is `?column?`. DataFusion refuses two columns of one name, PostgreSQL
//!   does not, so each unnamed or repeated item of the outermost select list gets a private alias, and [`OutputNames`] gives the
//!   wire its real name back.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Ident, Query, Select, SelectItem, SetExpr, Statement, UnaryOperator, Value, VisitMut, VisitorMut,
};

/// No client writes this, so it cannot meet a real name.
const PRIVATE_ALIAS: &str = "__column_";

/// Private alias to the name the client shall see.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutputNames(HashMap<String, String>);

impl OutputNames {
    /// The schema under the names PostgreSQL would give.
    pub(crate) fn restore(&self, schema: &SchemaRef) -> SchemaRef {
        if self.0.is_empty() {
            return Arc::clone(schema);
        }
        let fields = schema.fields().iter().map(|field| match self.0.get(field.name()) {
            Some(name) => Arc::new(Field::clone(field).with_name(name)),
            None => Arc::clone(field),
        });
        Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
    }
}

/// Applies both rules in place.
pub(crate) fn shape_like_postgres(statement: &mut Statement) -> OutputNames {
    let mut names = OutputNames::default();
    // Names first: `1` has none, while the cast added below would be called `int4`.
    if let Statement::Query(query) = statement {
        name_columns(query, &mut names);
    }
    let _: ControlFlow<()> = statement.visit(&mut IntegerLiterals);
    names
}

struct IntegerLiterals;

impl VisitorMut for IntegerLiterals {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        cast_whole_items(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn cast_whole_items(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                    cast_literal(expr);
                }
            }
        }
        SetExpr::Values(values) => {
            for row in &mut values.rows {
                for expr in row.content.iter_mut() {
                    cast_literal(expr);
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            cast_whole_items(left);
            cast_whole_items(right);
        }
        // A nested query is visited by itself; the rest is not read-only or has no items.
        _ => {}
    }
}

fn cast_literal(expr: &mut Expr) {
    if is_int4(expr) {
        let literal = expr.clone();
        *expr = Expr::Cast { kind: CastKind::Cast, expr: Box::new(literal), data_type: DataType::Int(None), array: false, format: None };
    }
}

fn is_int4(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if digits.parse::<i32>().is_ok()),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => is_int4(expr),
        Expr::Nested(expr) => is_int4(expr),
        _ => false,
    }
}

fn name_columns(query: &mut Query, names: &mut OutputNames) {
    // Only the outermost select list names what the client sees; of a set operation, the leftmost one.
    let mut body = query.body.as_mut();
    loop {
        match body {
            SetExpr::Select(select) => return name_select_list(select, names),
            SetExpr::Query(inner) => body = inner.body.as_mut(),
            SetExpr::SetOperation { left, .. } => body = left.as_mut(),
            _ => return,
        }
    }
}

fn name_select_list(select: &mut Select, names: &mut OutputNames) {
    let mut taken: HashSet<String> = HashSet::new();
    for (position, item) in select.projection.iter_mut().enumerate() {
        let private = format!("{PRIVATE_ALIAS}{position}");
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = postgres_name(expr);
                if is_column(expr) && taken.insert(name.clone()) {
                    continue;
                }
                // A name that stays visible keeps `ORDER BY count` working, as long as it is the only one.
                let alias = if name != "?column?" && taken.insert(name.clone()) { name.clone() } else { private };
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', &alias) };
                if alias != name {
                    names.0.insert(alias, name);
                }
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                let name = if alias.quote_style.is_some() { alias.value.clone() } else { alias.value.to_lowercase() };
                if !taken.insert(name.clone()) {
                    *alias = Ident::with_quote('"', &private);
                    names.0.insert(private, name);
                }
            }
            _ => {}
        }
    }
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

/// The rules of PostgreSQL's `FigureColname` that matter to clients.
fn postgres_name(expr: &Expr) -> String {
    fn of(ident: &Ident) -> String {
        if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
    }
    let fallback = || "?column?".to_string();
    match expr {
        Expr::Identifier(ident) => of(ident),
        Expr::CompoundIdentifier(parts) => parts.last().map_or_else(fallback, of),
        Expr::Function(function) => function.name.0.last().and_then(|part| part.as_ident()).map_or_else(fallback, of),
        Expr::Cast { expr: inner, data_type, .. } => match postgres_name(inner) {
            name if name == "?column?" => type_name(data_type),
            name => name,
        },
        Expr::Nested(inner) | Expr::AtTimeZone { timestamp: inner, .. } => postgres_name(inner),
        Expr::Collate { expr: inner, .. } => postgres_name(inner),
        Expr::Case { .. } => "case".to_string(),
        Expr::Exists { .. } => "exists".to_string(),
        Expr::Array(_) => "array".to_string(),
        Expr::Extract { .. } => "extract".to_string(),
        Expr::Ceil { .. } => "ceil".to_string(),
        Expr::Floor { .. } => "floor".to_string(),
        Expr::Position { .. } => "position".to_string(),
        Expr::Substring { .. } => "substring".to_string(),
        Expr::Trim { .. } => "btrim".to_string(),
        Expr::Overlay { .. } => "overlay".to_string(),
        Expr::Interval(_) => "interval".to_string(),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => "bool".to_string(),
        Expr::TypedString(typed) => type_name(&typed.data_type),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(expr)) => postgres_name(expr),
                Some(SelectItem::ExprWithAlias { alias, .. }) => of(alias),
                _ => fallback(),
            },
            _ => fallback(),
        },
        _ => fallback(),
    }
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4".to_string(),
        DataType::BigInt(_) | DataType::Int8(_) => "int8".to_string(),
        DataType::SmallInt(_) | DataType::Int2(_) => "int2".to_string(),
        DataType::Boolean | DataType::Bool => "bool".to_string(),
        DataType::Text | DataType::String(_) => "text".to_string(),
        DataType::Varchar(_) | DataType::CharacterVarying(_) => "varchar".to_string(),
        DataType::Double(_) | DataType::DoublePrecision | DataType::Float8 => "float8".to_string(),
        DataType::Real | DataType::Float4 => "float4".to_string(),
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric".to_string(),
        DataType::Date => "date".to_string(),
        DataType::Timestamp(_, info) => match info.to_string().contains("WITH TIME ZONE") || info.to_string().ends_with("TZ") {
            true => "timestamptz".to_string(),
            false => "timestamp".to_string(),
        },
        other => other.to_string().to_lowercase(),
    }
}
