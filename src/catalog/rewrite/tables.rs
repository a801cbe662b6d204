//! What hangs on the tables of a select: the rules 17 to 19.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident,
    JoinConstraint, JoinOperator, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, Value,
    VisitMut, VisitorMut,
};

use super::{call, factors, last_name, table_name, take};

// 17. Aggregates of a sorted subquery

/// Aggregates whose answer depends on the order of rows.
const ORDERED: [&str; 6] = [
    "array_agg",
    "string_agg",
    "json_agg",
    "jsonb_agg",
    "json_object_agg",
    "jsonb_object_agg",
];

/// `array_agg(x) … FROM (SELECT … ORDER BY y)` → `array_agg(x ORDER BY y)`, where `y` is a column of the subquery.
pub(super) fn order_aggregates(select: &mut Select) {
    let Some(order) = order_of_subquery(select) else { return };
    let mut aggregates = Aggregates { order, depth: 0 };
    for item in &mut select.projection {
        let _: ControlFlow<()> = item.visit(&mut aggregates);
    }
    if let Some(having) = &mut select.having {
        let _: ControlFlow<()> = having.visit(&mut aggregates);
    }
}

struct Aggregates {
    order: Vec<OrderByExpr>,
    /// Queries around the place that is looked at: theirs have other rows.
    depth: usize,
}

impl VisitorMut for Aggregates {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && self.depth == 0
            && takes_rows_in_order(function)
            && let FunctionArguments::List(list) = &mut function.args
            && list.duplicate_treatment != Some(DuplicateTreatment::Distinct)
            && !list
                .clauses
                .iter()
                .any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)))
        {
            list.clauses.push(FunctionArgumentClause::OrderBy(self.order.clone()));
        }
        ControlFlow::Continue(())
    }
}

fn takes_rows_in_order(function: &Function) -> bool {
    function.over.is_none()
        && function.within_group.is_empty()
        && last_name(&function.name).is_some_and(|name| ORDERED.contains(&name.as_str()))
}

/// The order of the only subquery that a select reads, in names of its columns; `None` if there is none, or one by something else.
fn order_of_subquery(select: &Select) -> Option<Vec<OrderByExpr>> {
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Derived {
        lateral: false,
        subquery,
        alias,
        ..
    } = &from.relation
    else {
        return None;
    };
    if !from.joins.is_empty() || alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
        return None;
    }
    let OrderByKind::Expressions(order) = &subquery.order_by.as_ref()?.kind else {
        return None;
    };
    let SetExpr::Select(inner) = subquery.body.as_ref() else {
        return None;
    };
    let order = order.iter().map(|by| {
        let column = column_sorted_by(&by.expr, &inner.projection)?;
        Some(OrderByExpr {
            expr: Expr::Identifier(column),
            ..by.clone()
        })
    });
    order.collect::<Option<Vec<_>>>().filter(|order| !order.is_empty())
}

/// The column of a select list that a sort expression is.
fn column_sorted_by(by: &Expr, items: &[SelectItem]) -> Option<Ident> {
    if let Expr::Value(value) = by
        && let Value::Number(place, _) = &value.value
    {
        return name_of(items.get(place.parse::<usize>().ok()?.checked_sub(1)?)?);
    }
    let found = items.iter().find(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => expr == by || *by == Expr::Identifier(alias.clone()),
        SelectItem::UnnamedExpr(expr) => expr == by || matches!(by, Expr::Identifier(_)) && name_of(item) == name(by),
        _ => false,
    });
    match (found, by) {
        (Some(item), _) => name_of(item),
        (None, Expr::Identifier(column)) if items.iter().any(|item| matches!(item, SelectItem::Wildcard(_))) => {
            Some(column.clone())
        }
        _ => None,
    }
}

fn name_of(item: &SelectItem) -> Option<Ident> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
        SelectItem::UnnamedExpr(expr) => name(expr),
        _ => None,
    }
}

fn name(expr: &Expr) -> Option<Ident> {
    match expr {
        Expr::Identifier(ident) => Some(ident.clone()),
        Expr::CompoundIdentifier(idents) => idents.last().cloned(),
        _ => None,
    }
}

// 18. Columns of FULL JOIN … USING

/// A column that a full join has from both of its sides.
#[derive(Debug, Clone)]
pub(super) struct Merged {
    column: Ident,
    left: String,
    right: String,
}

/// The columns that are merged by the only join of a select, which a select list then names.
pub(super) fn merged_columns(select: &mut Select) -> Vec<Merged> {
    let [from] = select.from.as_slice() else {
        return Vec::new();
    };
    let [join] = from.joins.as_slice() else {
        return Vec::new();
    };
    let JoinOperator::FullOuter(JoinConstraint::Using(columns)) = &join.join_operator else {
        return Vec::new();
    };
    let side = |factor: &TableFactor| match factor {
        TableFactor::Derived { alias, .. } => Some(alias.as_ref()?.name.value.clone()),
        factor => Some(table_name(factor)?.0),
    };
    let (Some(left), Some(right)) = (side(&from.relation), side(&join.relation)) else {
        return Vec::new();
    };
    let columns = columns.iter().filter_map(|column| column.0.last()?.as_ident());
    let merged: Vec<Merged> = columns
        .map(|column| Merged {
            column: column.clone(),
            left: left.clone(),
            right: right.clone(),
        })
        .collect();
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && let Expr::Identifier(ident) = expr
            && let Some(alias) = merged
                .iter()
                .find(|merged| merged.is_named(ident))
                .map(|_| ident.clone())
        {
            *item = SelectItem::ExprWithAlias {
                expr: take(expr),
                alias,
            };
        }
    }
    merged
}

impl Merged {
    pub(super) fn is_named(&self, ident: &Ident) -> bool {
        match (&self.column.quote_style, &ident.quote_style) {
            (None, None) => self.column.value.eq_ignore_ascii_case(&ident.value),
            _ => self.column.value == ident.value,
        }
    }

    /// `coalesce(left.column, right.column)`
    pub(super) fn value(&self) -> Expr {
        let of = |table: &str| Expr::CompoundIdentifier(vec![Ident::with_quote('"', table), self.column.clone()]);
        call("coalesce", vec![of(&self.left), of(&self.right)])
    }
}

// 19. Rows of a subquery as JSON

/// The name of a subquery and those of its columns.
#[derive(Debug, Clone)]
pub(super) struct Row {
    table: Ident,
    columns: Vec<Ident>,
}

const OF_ROWS: [&str; 5] = ["row_to_json", "to_json", "to_jsonb", "json_agg", "jsonb_agg"];

pub(super) fn rows_of_subqueries(select: &Select) -> Vec<Row> {
    factors(select)
        .filter_map(|factor| {
            let TableFactor::Derived {
                subquery,
                alias: Some(alias),
                ..
            } = factor
            else {
                return None;
            };
            let columns = if alias.columns.is_empty() {
                let SetExpr::Select(inner) = subquery.body.as_ref() else {
                    return None;
                };
                inner.projection.iter().map(name_of).collect::<Option<_>>()?
            } else {
                alias.columns.iter().map(|column| column.name.clone()).collect()
            };
            Some(Row {
                table: alias.name.clone(),
                columns,
            })
        })
        .collect()
}

/// Replaces the argument that is a whole row.
pub(super) fn row_as_object(function: &mut Function, rows: &[Row]) {
    let Some(name) = last_name(&function.name).filter(|name| OF_ROWS.contains(&name.as_str())) else {
        return;
    };
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) = list.args.first_mut() else {
        return;
    };
    let Expr::Identifier(given) = &*argument else { return };
    let is_given = |row: &&Row| row.table.value == given.value && !row.columns.iter().any(|c| c.value == given.value);
    let Some(row) = rows.iter().find(is_given) else {
        return;
    };
    let pairs = row.columns.iter().flat_map(|column| {
        let key = Expr::value(Value::SingleQuotedString(column.value.clone()));
        [key, Expr::CompoundIdentifier(vec![row.table.clone(), column.clone()])]
    });
    *argument = call("jsonb_build_object", pairs.collect());
    if name == "row_to_json" {
        function.name = super::name("to_json");
    }
}
