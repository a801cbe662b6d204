//! `select 1` is `integer` in PostgreSQL, DataFusion says `bigint`. An integer literal that fits four bytes is cast to `INT` where
//! it is the *whole* item of a select list or of a `VALUES` row (a sign allowed). Literals inside expressions stay `bigint`, so
//! that arithmetic with `bigint` columns neither overflows nor narrows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Query, SelectItem, SetExpr, Statement, UnaryOperator, Value, VisitMut, VisitorMut,
};

/// `TABLE t` in words that the parser knows; `None` for other statements.
pub(super) fn table_statement(sql: &str, tokens: &[Lexeme]) -> Option<String> {
    tokens
        .first()
        .filter(|first| sql[first.start..first.end].eq_ignore_ascii_case("table"))
        .map(|first| format!("SELECT * FROM {}", &sql[first.end..]))
}

/// Applies the rule in place.
pub(crate) fn cast_integer_literals(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut IntegerLiterals);
}

use super::sql_text::Lexeme;

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

pub(super) fn cast_literal(expr: &mut Expr) {
    if is_int4(expr) {
        let literal = expr.clone();
        *expr = Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(literal),
            data_type: DataType::Int(None),
            array: false,
            format: None,
        };
    }
}

fn is_int4(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if digits.parse::<i32>().is_ok()),
        Expr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        } => is_int4(expr),
        Expr::Nested(expr) => is_int4(expr),
        _ => false,
    }
}
