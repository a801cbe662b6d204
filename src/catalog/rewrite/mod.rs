//! What PostgreSQL's SQL says in words DataFusion does not know, said in words it does. All on the syntax tree, never on texts.
//!
//! 1. Functions: `pg_catalog.f(…)` → `f(…)`, `user` and `current_schema` without parentheses → calls, other names of `now()`.
//! 2. Operators: `a OPERATOR(pg_catalog.~) b` → `a ~ b`.
//! 3. `e COLLATE c` → `e`: text compares by bytes here, as under the collation `C`.
//! 4. Types in casts: `pg_catalog.text`, `name`, `"char"`, `json`, `uuid` … → `text`; `oid`, `xid` → unsigned; `int2vector` → `int2[]`;
//!    an array literal that is cast has items of that type;
//!    `varchar(n)` → `left(…, n)`, `char(n)` → `char__of(…, n)`; `uuid`, `json` and `jsonb` → functions that read them.
//! 5. `reg*` casts (`regclass`, `regtype`, `regproc`, `regnamespace`, `regrole`): the oid where it is compared or cast to a number,
//!    the name everywhere else, as PostgreSQL shows it.
//! 6. `ARRAY(SELECT e …)` → `(SELECT array_agg(e) …)`; over `unnest(a)` alone → `array_transform(a, x -> e)`.
//! 7. Functions that return sets, in a select list: `generate_series(…)` → `unnest(generate_series(…))`.
//! 8. Functions in FROM → `LATERAL (SELECT f(…))`, `LATERAL (SELECT unnest(f(…)))` for sets, with the columns of rows and of WITH
//!    ORDINALITY; `generate_series` of constant integers stays a table function, which needs no memory. The column has the name of
//!    the alias, or of the function.
//! 9. Aggregates of sorted or of all values: `json_agg(e)` → `to_json(array_agg(e))`, `percentile_disc(p) WITHIN GROUP (ORDER BY e)` →
//!    `array__disc(array_agg(e ORDER BY e), p)`, `mode()` and `percentile_cont` of an array alike.
//! 10. Names of columns without alias are PostgreSQL's (`count`, `?column?`). What has a name twice is marked, because a DataFusion
//!     plan has each name once: see [`column_name`].
//! 11. `LIKE p ESCAPE e` → `LIKE like__pattern(p, e)`, where the backslash escapes: DataFusion knows no other.
//! 12. The system column `t.tableoid` → the oid of the table that `t` stands for.
//! 13. `x = ANY ('{a,b}')` → `x IN ('a', 'b')`, other operators → comparisons with OR and AND: a literal array has the type of `x`.
//! 14. Rows: `(a, b) < (c, d)`, `(a, b) IN (…)` → comparisons of their columns; `OVERLAPS` → `overlaps(…)`.
//! 15. `EXTRACT`, `AT TIME ZONE`, `SIMILAR TO`, `FETCH FIRST`, `~e`, `@ e`, `|/ e`, `localtimestamp` → functions, operators, LIMIT.
//! 16. Named arguments of `make_interval` → arguments in order.
//! 17. `array_agg(x) … FROM (SELECT … ORDER BY y)` → `array_agg(x ORDER BY y)`, and other aggregates whose answer hangs on the order.
//! 18. The column `c` of `a FULL JOIN b USING (c)` → `coalesce(a.c, b.c)`.
//! 19. `row_to_json(t)` and other functions of JSON over a subquery `t` → the same of `jsonb_build_object('c', t.c, …)`.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, CastKind, CharacterLength, DataType, ExactNumberInfo, Expr, Function,
    FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident,
    LambdaFunction, LambdaFunctionParameter, LambdaSyntax, ObjectName, ObjectNamePart, OneOrManyWithParens,
    OrderByExpr, OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement,
    TableAlias, TableAliasColumnDef, TableFactor, TableFunctionArgs, TimezoneInfo, TrimWhereField, UnaryOperator,
    Value, VisitMut, VisitorMut,
};

mod expressions;
mod tables;

use crate::catalog::functions::{RECORD_RETURNING, SET_RETURNING, set_column};
use expressions::{fetch_as_limit, items_of, rewrite_expression};
use tables::{Merged, Row, merged_columns, order_aggregates, row_as_object, rows_of_subqueries};

/// Rewrites a statement in place so that DataFusion can plan it. Doing it twice changes nothing more.
pub fn rewrite_statement(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Rewrite::default());
}

/// The same for what DataFusion's parser gives, `EXPLAIN` and `COPY (…)` included.
pub fn rewrite_df_statement(statement: &mut DfStatement) {
    match statement {
        DfStatement::Statement(statement) => rewrite_statement(statement),
        DfStatement::Explain(explain) => rewrite_df_statement(&mut explain.statement),
        _ => {}
    }
}

/// Follows the name of a column that another column of the same list has already. U+2063 is invisible in every client.
const AGAIN: char = '\u{2063}';

/// The name of a column as the client has to see it: the schema of a plan may have a mark behind it.
pub fn column_name(name: &str) -> &str {
    name.trim_end_matches(AGAIN)
}

#[derive(Default)]
struct Rewrite {
    /// For each select around the place that is looked at: names of its tables, and what they stand for.
    tables: Vec<Vec<(String, String)>>,
    /// The same for functions whose column has a name of its own: `e` in `jsonb_array_elements(…) e` is the column `e.value`.
    sets: Vec<Vec<(String, &'static str)>>,
    /// The same for columns that a full join merges.
    merged: Vec<Vec<Merged>>,
    /// The same for subqueries of which all columns have names.
    rows: Vec<Vec<Row>>,
}

impl VisitorMut for Rewrite {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        fetch_as_limit(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.sets.push(factors(select).filter_map(set_name).collect());
        self.tables.push(factors(select).filter_map(table_name).collect());
        order_aggregates(select);
        self.merged.push(merged_columns(select));
        self.rows.push(rows_of_subqueries(select));
        for item in &mut select.projection {
            unnest_sets(item);
        }
        let is_alone = matches!(select.from.as_slice(), [from] if from.joins.is_empty());
        name_columns(&mut select.projection, is_alone);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _select: &mut Select) -> ControlFlow<()> {
        self.tables.pop();
        self.sets.pop();
        self.merged.pop();
        self.rows.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        table_function(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && let Some(rows) = self.rows.last()
        {
            row_as_object(function, rows);
        }
        rewrite_expression(expr);
        match expr {
            Expr::BinaryOp { left, op, right } => {
                operator(op);
                if is_comparison(op) {
                    compare_as_oid(left);
                    compare_as_oid(right);
                }
            }
            Expr::InList { expr, list, .. } => {
                compare_as_oid(expr);
                list.iter_mut().for_each(compare_as_oid);
            }
            Expr::AnyOp { left, right, .. } => {
                compare_as_oid(left);
                compare_as_oid(right);
            }
            // `e::regclass::oid`: the outer cast stays.
            Expr::Cast {
                expr: inner, data_type, ..
            } if is_number(data_type) => compare_as_oid(inner),
            // `ARRAY[1.5, 1e300]::float8[]`: the items are floats from the beginning, and no numerics first.
            Expr::Cast {
                expr: inner,
                data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)),
                ..
            } => {
                if let Expr::Array(array) = inner.as_mut()
                    && !matches!(element.as_ref(), DataType::Array(_))
                    && !array
                        .elem
                        .iter()
                        .any(|item| matches!(item, Expr::Array(_) | Expr::Cast { .. }))
                {
                    for item in &mut array.elem {
                        *item = Expr::Cast {
                            kind: CastKind::Cast,
                            expr: Box::new(take(item)),
                            data_type: element.as_ref().clone(),
                            array: false,
                            format: None,
                        };
                    }
                }
            }
            Expr::Function(function) => {
                if let Some(array) = array_of_subquery(function) {
                    *expr = array;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => {
                normalise_function(function);
                // DataFusion's types for them are large texts, which are JSON here, and unsigned numbers.
                let ty = match last_name(&function.name).as_deref() {
                    Some("string_agg") => Some("Utf8"),
                    Some("row_number" | "rank" | "dense_rank") if function.over.is_some() => Some("Int64"),
                    Some("ntile") if function.over.is_some() => Some("Int32"),
                    _ => None,
                };
                if let Some(ty) = ty {
                    let value = take(expr);
                    *expr = call(
                        "arrow_cast",
                        vec![value, Expr::value(Value::SingleQuotedString(ty.into()))],
                    );
                }
            }
            Expr::Collate { expr: inner, .. } => *expr = take(inner),
            Expr::Identifier(ident) if ident.quote_style.is_none() && is_bare_function(&ident.value) => {
                *expr = call(&ident.value.to_lowercase(), Vec::new());
            }
            Expr::Identifier(ident)
                if let Some(merged) = self
                    .merged
                    .last()
                    .into_iter()
                    .flatten()
                    .find(|merged| merged.is_named(ident)) =>
            {
                *expr = merged.value();
            }
            Expr::Identifier(ident) => {
                let known = self.sets.iter().rev().flatten();
                if let Some((_, column)) = known.into_iter().find(|(name, _)| *name == ident.value) {
                    *expr = Expr::CompoundIdentifier(vec![ident.clone(), Ident::new(*column)]);
                }
            }
            Expr::Cast { .. } => cast(expr),
            Expr::TypedString(typed) => normalise_type(&mut typed.data_type),
            Expr::Like {
                pattern, escape_char, ..
            }
            | Expr::ILike {
                pattern, escape_char, ..
            } => {
                if let Some(escape) = escape_char.take() {
                    let arguments = vec![take(pattern), Expr::Value(escape)];
                    **pattern = call("like__pattern", arguments);
                }
            }
            Expr::CompoundIdentifier(idents) => {
                if let [table, column] = idents.as_slice()
                    && column.value.eq_ignore_ascii_case("tableoid")
                    && let Some((_, name)) = self
                        .tables
                        .iter()
                        .rev()
                        .flatten()
                        .find(|(alias, _)| table.value.eq_ignore_ascii_case(alias))
                {
                    *expr = call(
                        "regclass__oid",
                        vec![Expr::value(Value::SingleQuotedString(name.clone()))],
                    );
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Everything that a select reads from, joined or not.
pub fn factors(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)))
}

/// The name a set of values goes by, and that of its column.
fn set_name(factor: &TableFactor) -> Option<(String, &'static str)> {
    let (TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. }) = factor else {
        return None;
    };
    let alias = alias.as_ref().filter(|alias| alias.columns.is_empty())?;
    Some((alias.name.value.clone(), set_column(&last_name(name)?)?))
}

/// The name a table goes by in its select, and its own.
fn table_name(factor: &TableFactor) -> Option<(String, String)> {
    let TableFactor::Table {
        name,
        alias,
        args: None,
        ..
    } = factor
    else {
        return None;
    };
    let goes_by = alias
        .as_ref()
        .map_or_else(|| last_name(name), |alias| Some(alias.name.value.clone()))?;
    Some((goes_by, name.to_string()))
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    call_with(name, arguments, Vec::new())
}

fn call_with(name: &str, arguments: Vec<Expr>, clauses: Vec<FunctionArgumentClause>) -> Expr {
    let args = arguments
        .into_iter()
        .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
        .collect();
    Expr::Function(Function {
        name: self::name(name),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses,
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The last part of a name as PostgreSQL compares it.
fn last_name(name: &ObjectName) -> Option<String> {
    let ident = name.0.last()?.as_ident()?;
    Some(if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_lowercase()
    })
}

/// Is it unqualified, or qualified with a schema in which all functions and types of PostgreSQL are?
fn is_system_name(name: &ObjectName) -> bool {
    match name.0.as_slice() {
        [_] => true,
        [.., schema, _] => schema.as_ident().is_some_and(|schema| {
            matches!(
                &*schema.value.to_lowercase(),
                "pg_catalog" | "information_schema" | "public"
            )
        }),
        [] => false,
    }
}

// 1. Functions

fn is_bare_function(name: &str) -> bool {
    matches!(
        &*name.to_lowercase(),
        "current_schema" | "current_user" | "session_user" | "current_role" | "current_catalog" | "user"
    )
}

fn normalise_function(function: &mut Function) {
    if !is_system_name(&function.name) {
        return;
    }
    let Some(name) = last_name(&function.name) else { return };
    let name = match name.as_str() {
        "transaction_timestamp" | "statement_timestamp" | "clock_timestamp" => "now",
        "gen_random_uuid" => "uuid",
        "every" => "bool_and",
        "variance" => "var_samp",
        "ceiling" => "ceil",
        "pow" => "power",
        // DataFusion's take the first element only.
        "array_remove" => "array_remove_all",
        "array_replace" => "array_replace_all",
        "char_length" => "length",
        "to_timestamp" if argument_count(function) == 2 => "to_timestamp__template",
        other => other,
    };
    if function.name.0.len() > 1 || last_name(&function.name).as_deref() != Some(name) {
        function.name = self::name(name);
    }
    if matches!(function.args, FunctionArguments::None) && is_bare_function(name) {
        function.args = FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: Vec::new(),
            clauses: Vec::new(),
        });
    }
}

fn argument_count(function: &Function) -> usize {
    match &function.args {
        FunctionArguments::List(list) => list.args.len(),
        _ => 0,
    }
}

fn name(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))])
}

// 2. Operators

fn operator(op: &mut BinaryOperator) {
    let BinaryOperator::PGCustomBinaryOperator(names) = op else {
        return;
    };
    let known = match names.last().map(String::as_str) {
        Some("~") => BinaryOperator::PGRegexMatch,
        Some("~*") => BinaryOperator::PGRegexIMatch,
        Some("!~") => BinaryOperator::PGRegexNotMatch,
        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
        Some("~~") => BinaryOperator::PGLikeMatch,
        Some("~~*") => BinaryOperator::PGILikeMatch,
        Some("!~~") => BinaryOperator::PGNotLikeMatch,
        Some("!~~*") => BinaryOperator::PGNotILikeMatch,
        Some("=") => BinaryOperator::Eq,
        Some("<>" | "!=") => BinaryOperator::NotEq,
        Some("<") => BinaryOperator::Lt,
        Some("<=") => BinaryOperator::LtEq,
        Some(">") => BinaryOperator::Gt,
        Some(">=") => BinaryOperator::GtEq,
        Some("+") => BinaryOperator::Plus,
        Some("-") => BinaryOperator::Minus,
        Some("*") => BinaryOperator::Multiply,
        Some("/") => BinaryOperator::Divide,
        Some("%") => BinaryOperator::Modulo,
        Some("||") => BinaryOperator::StringConcat,
        Some("@>") => BinaryOperator::AtArrow,
        Some("<@") => BinaryOperator::ArrowAt,
        _ => return,
    };
    *op = known;
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

// 4. Types

fn cast(expr: &mut Expr) {
    let Expr::Cast {
        expr: inner, data_type, ..
    } = expr
    else {
        return;
    };
    if let Some(kind) = reg_type(data_type) {
        *expr = call(&format!("{kind}__text"), vec![take(inner)]);
        return;
    }
    let length = match data_type {
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            match length {
                Some(CharacterLength::IntegerLength { length, .. }) => Some(*length),
                _ => None,
            }
        }
        _ => None,
    };
    let function = match data_type {
        DataType::Uuid => Some("uuid__of"),
        DataType::JSON => Some("json__check"),
        DataType::JSONB => Some("json__read"),
        DataType::Custom(name, _) if is_system_name(name) => match last_name(name).as_deref() {
            Some("uuid") => Some("uuid__of"),
            Some("json") => Some("json__check"),
            Some("jsonb") => Some("json__read"),
            _ => None,
        },
        _ => None,
    };
    if let Some(function) = function {
        *expr = call(function, vec![take(inner)]);
        return;
    }
    if let DataType::Char(width) | DataType::Character(width) = data_type {
        let width = match width {
            Some(CharacterLength::IntegerLength { length, .. }) => *length,
            _ => 1,
        };
        let width = Expr::value(Value::Number(width.to_string(), false));
        *expr = call("char__of", vec![take(inner), width]);
        return;
    }
    normalise_type(data_type);
    if let Some(length) = length {
        let cast = take(expr);
        *expr = call(
            "left",
            vec![cast, Expr::value(Value::Number(length.to_string(), false))],
        );
    }
}

fn normalise_type(ty: &mut DataType) {
    let array = |element: DataType| DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), None));
    let plain = match ty {
        DataType::Custom(name, _) if is_system_name(name) => match last_name(name).as_deref() {
            Some(name) => match name.strip_prefix('_') {
                Some(element) => plain_type(element).map(array),
                None => match name {
                    "int2vector" => Some(array(DataType::SmallInt(None))),
                    "oidvector" => Some(array(DataType::IntUnsigned(None))),
                    other => plain_type(other),
                },
            },
            None => None,
        },
        DataType::Varchar(_)
        | DataType::CharacterVarying(_)
        | DataType::CharVarying(_)
        | DataType::Nvarchar(_)
        | DataType::Character(_)
        | DataType::Char(_)
        | DataType::JSON
        | DataType::JSONB
        | DataType::Uuid => Some(DataType::Text),
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => {
            normalise_type(element);
            None
        }
        // Microseconds, as PostgreSQL has them.
        DataType::Timestamp(None, zone) => Some(DataType::Timestamp(Some(6), *zone)),
        _ => None,
    };
    if let Some(plain) = plain {
        *ty = plain;
    }
}

fn plain_type(name: &str) -> Option<DataType> {
    Some(match name {
        "text" | "name" | "char" | "bpchar" | "varchar" | "cstring" | "json" | "jsonb" | "uuid" | "xml" | "citext"
        | "unknown" | "pg_node_tree" | "aclitem" | "inet" | "cidr" | "pg_lsn" | "sql_identifier" | "character_data"
        | "yes_or_no" => DataType::Text,
        "oid" | "xid" | "cid" => DataType::IntUnsigned(None),
        "bool" => DataType::Boolean,
        "int2" => DataType::SmallInt(None),
        "int4" | "cardinal_number" => DataType::Integer(None),
        "int8" => DataType::BigInt(None),
        "float4" => DataType::Real,
        "float8" => DataType::DoublePrecision,
        "numeric" => DataType::Numeric(ExactNumberInfo::None),
        "date" => DataType::Date,
        "time" => DataType::Time(None, TimezoneInfo::None),
        "timestamp" => DataType::Timestamp(Some(6), TimezoneInfo::None),
        "timestamptz" => DataType::Timestamp(Some(6), TimezoneInfo::WithTimeZone),
        "bytea" => DataType::Bytea,
        "interval" => DataType::Interval {
            fields: None,
            precision: None,
        },
        _ => return None,
    })
}

fn is_number(ty: &DataType) -> bool {
    match ty {
        DataType::Custom(name, _) => matches!(last_name(name).as_deref(), Some("oid" | "int4" | "int8")),
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) | DataType::BigInt(_) | DataType::Int8(_) => true,
        DataType::IntUnsigned(_) => true,
        _ => false,
    }
}

/// The elements of an array in its text form; `None` if it is none of one dimension.
pub(in crate::catalog) fn array_items(text: &str) -> Option<Vec<Option<String>>> {
    let inside = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    if inside.trim().is_empty() {
        return Some(Vec::new());
    }
    let mut items = Vec::new();
    let mut item = String::new();
    let (mut quoted, mut was_quoted) = (false, false);
    let mut chars = inside.chars();
    loop {
        match chars.next() {
            Some('"') => {
                quoted = !quoted;
                was_quoted = true;
            }
            Some('\\') => item.push(chars.next()?),
            Some('{' | '}') if !quoted => return None,
            next @ (Some(',') | None) if !quoted => {
                let plain = item.trim();
                items.push(match (was_quoted, plain) {
                    (true, _) => Some(item.clone()),
                    (false, plain) if plain.eq_ignore_ascii_case("null") => None,
                    (false, plain) => Some(plain.to_owned()),
                });
                if next.is_none() {
                    return Some(items);
                }
                item.clear();
                was_quoted = false;
            }
            Some(other) => item.push(other),
            None => return None,
        }
    }
}

/// The PostgreSQL type that SQL names, before any rewriting.
pub fn type_oid(ty: &DataType) -> Option<u32> {
    use crate::catalog::pg_types::{self, pg_type, pg_type_by_name};
    Some(match ty {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => pg_type(type_oid(element)?)?.array,
        DataType::Char(_) | DataType::Character(_) => pg_types::BPCHAR,
        DataType::Float(_) => pg_types::FLOAT8,
        DataType::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => pg_types::TIMESTAMPTZ,
        DataType::Timestamp(..) => pg_types::TIMESTAMP,
        DataType::Custom(name, _) if is_system_name(name) => pg_type_by_name(&last_name(name)?)?.oid,
        other => pg_type_by_name(&other.to_string().to_lowercase())?.oid,
    })
    .filter(|oid| *oid != 0)
}

// 5. reg* types

fn reg_type(ty: &DataType) -> Option<&'static str> {
    match ty {
        DataType::Regclass => Some("regclass"),
        DataType::Custom(name, _) if is_system_name(name) => match last_name(name)?.as_str() {
            "regclass" => Some("regclass"),
            "regtype" => Some("regtype"),
            "regproc" | "regprocedure" => Some("regproc"),
            "regnamespace" => Some("regnamespace"),
            "regrole" => Some("regrole"),
            _ => None,
        },
        _ => None,
    }
}

/// A `reg*` value that is compared is its oid. Columns of type `regproc` hold names here, so those stay names.
fn compare_as_oid(expr: &mut Expr) {
    match expr {
        Expr::Nested(inner) => compare_as_oid(inner),
        Expr::Cast {
            expr: inner, data_type, ..
        } => {
            if let Some(kind) = reg_type(data_type).filter(|kind| *kind != "regproc") {
                *expr = call(&format!("{kind}__oid"), vec![take(inner)]);
            }
        }
        Expr::Function(function) if is_system_name(&function.name) => {
            let kind = last_name(&function.name).and_then(|name| match name.as_str() {
                "to_regclass" => Some("regclass"),
                "to_regtype" => Some("regtype"),
                "to_regnamespace" => Some("regnamespace"),
                "to_regrole" => Some("regrole"),
                _ => None,
            });
            if let Some(kind) = kind {
                *expr = call(&format!("{kind}__oid"), vec![take(expr)]);
            }
        }
        _ => {}
    }
}

// 6. ARRAY(SELECT …)

fn array_of_subquery(function: &mut Function) -> Option<Expr> {
    if last_name(&function.name)? != "array" || function.name.0.len() != 1 {
        return None;
    }
    let FunctionArguments::Subquery(query) = &mut function.args else {
        return None;
    };
    if let Some(transform) = transform_of_unnest(query) {
        return Some(transform);
    }
    if !aggregate_in_place(query) {
        let inner = std::mem::replace(query.as_mut(), empty_query());
        let item = Ident::new("item");
        let factor = TableFactor::Derived {
            lateral: false,
            subquery: Box::new(inner),
            alias: Some(alias("items", std::slice::from_ref(&item))),
            sample: None,
        };
        let select = plain_select(call("array_agg", vec![Expr::Identifier(item)]), factor);
        *query.body = SetExpr::Select(Box::new(select));
    }
    Some(Expr::Subquery(std::mem::replace(query, Box::new(empty_query()))))
}

/// `SELECT e … ORDER BY o` → `SELECT array_agg(e ORDER BY o) …`, where nothing happens between the rows and the list.
fn aggregate_in_place(query: &mut Query) -> bool {
    if query.with.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
        return false;
    }
    let SetExpr::Select(select) = query.body.as_mut() else {
        return false;
    };
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if !ungrouped || select.distinct.is_some() || select.having.is_some() || select.from.is_empty() {
        return false;
    }
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] = select.projection.as_slice()
    else {
        return false;
    };
    // An aggregate of an aggregate is none.
    if matches!(item, Expr::Function(f) if last_name(&f.name).is_some_and(|name| name.ends_with("agg") || name == "unnest"))
    {
        return false;
    }
    let item = item.clone();
    let mut order: Vec<OrderByExpr> = match query.order_by.take().map(|order| order.kind) {
        Some(OrderByKind::Expressions(order)) => order,
        _ => Vec::new(),
    };
    for by in &mut order {
        if matches!(&by.expr, Expr::Value(value) if matches!(value.value, Value::Number(..))) {
            by.expr = item.clone();
        }
    }
    let clauses = if order.is_empty() {
        Vec::new()
    } else {
        vec![FunctionArgumentClause::OrderBy(order)]
    };
    select.projection = vec![SelectItem::UnnamedExpr(call_with("array_agg", vec![item], clauses))];
    true
}

/// `SELECT e FROM unnest(a) x` → `array_transform(a, x -> e)`.
fn transform_of_unnest(query: &Query) -> Option<Expr> {
    if query.with.is_some() || query.limit_clause.is_some() || query.order_by.is_some() {
        return None;
    }
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let [from] = select.from.as_slice() else { return None };
    let [SelectItem::UnnamedExpr(item)] = select.projection.as_slice() else {
        return None;
    };
    if select.selection.is_some() || select.distinct.is_some() || !from.joins.is_empty() {
        return None;
    }
    let (array, alias) = match &from.relation {
        TableFactor::UNNEST {
            array_exprs,
            alias: Some(alias),
            ..
        } => match array_exprs.as_slice() {
            [array] => (array, alias),
            _ => return None,
        },
        TableFactor::Table {
            name,
            args: Some(args),
            alias: Some(alias),
            ..
        } if last_name(name)? == "unnest" => match args.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => (array, alias),
            _ => return None,
        },
        _ => return None,
    };
    let item_name = alias.columns.first().map_or(&alias.name, |column| &column.name);
    if matches!(item, Expr::Identifier(ident) if ident == item_name) {
        return Some(array.clone());
    }
    let lambda = Expr::Lambda(LambdaFunction {
        params: OneOrManyWithParens::One(LambdaFunctionParameter {
            name: item_name.clone(),
            data_type: None,
        }),
        body: Box::new(item.clone()),
        syntax: LambdaSyntax::Arrow,
    });
    Some(call("array_transform", vec![array.clone(), lambda]))
}

fn alias(name: &str, columns: &[Ident]) -> TableAlias {
    let columns = columns
        .iter()
        .map(|name| TableAliasColumnDef {
            name: name.clone(),
            data_type: None,
        })
        .collect();
    TableAlias {
        explicit: true,
        name: Ident::new(name),
        columns,
        at: None,
    }
}

fn empty_query() -> Query {
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(empty_select()))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

fn empty_select() -> Select {
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: Vec::new(),
        exclude: None,
        into: None,
        from: Vec::new(),
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: datafusion::sql::sqlparser::ast::SelectFlavor::Standard,
    }
}

fn plain_select(item: Expr, from: TableFactor) -> Select {
    let from = datafusion::sql::sqlparser::ast::TableWithJoins {
        relation: from,
        joins: Vec::new(),
    };
    Select {
        projection: vec![SelectItem::UnnamedExpr(item)],
        from: vec![from],
        ..empty_select()
    }
}

// 7. Sets in a select list

fn unnest_sets(item: &mut SelectItem) {
    let (expr, name) = match item {
        SelectItem::UnnamedExpr(expr) => (expr, None),
        SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.clone())),
        _ => return,
    };
    if name.is_none() && has_set(expr) {
        let alias = Ident::with_quote('"', default_name(expr));
        unnest_set(expr);
        *item = SelectItem::ExprWithAlias {
            expr: take(expr),
            alias,
        };
    } else {
        unnest_set(expr);
    }
}

/// The parts of an expression in which a set may stand; what is in a subquery is its own.
fn parts(expr: &mut Expr) -> Vec<&mut Expr> {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } | Expr::UnaryOp { expr: inner, .. } => vec![inner],
        Expr::CompoundFieldAccess { root, .. } => vec![root],
        Expr::BinaryOp { left, right, .. } => vec![left, right],
        Expr::Function(function) if last_name(&function.name).as_deref() != Some("unnest") => {
            match &mut function.args {
                FunctionArguments::List(list) => list
                    .args
                    .iter_mut()
                    .filter_map(|argument| match argument {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                        _ => None,
                    })
                    .collect(),
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

fn is_set(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function)
        if last_name(&function.name).is_some_and(|name| SET_RETURNING.contains(&name.as_str())))
}

fn has_set(expr: &mut Expr) -> bool {
    is_set(expr) || parts(expr).into_iter().any(has_set)
}

/// Puts `unnest` around a set, wherever it is in an expression.
fn unnest_set(expr: &mut Expr) {
    if is_set(expr) {
        let set = take(expr);
        *expr = call("unnest", vec![set]);
        return;
    }
    for part in parts(expr) {
        unnest_set(part);
    }
}

// 8. Sets in FROM

/// Goes by this name: a call of the table function that a rewrite made, to be left alone.
const SERIES: &str = "__series";

fn table_function(factor: &mut TableFactor) {
    let (function, arguments, with_ordinality, place) = match factor {
        TableFactor::UNNEST {
            alias,
            array_exprs,
            with_ordinality,
            with_offset: false,
            ..
        } => ("unnest".to_owned(), array_exprs.clone(), *with_ordinality, alias.take()),
        TableFactor::Table {
            name,
            args: Some(args),
            alias,
            with_ordinality,
            ..
        } if is_system_name(name) && alias.as_ref().is_none_or(|alias| alias.name.value != SERIES) => {
            let Some(arguments) = args.args.iter().map(plain_argument).collect::<Option<Vec<_>>>() else {
                return;
            };
            let Some(function) = last_name(name) else { return };
            (function, arguments, *with_ordinality, alias.take())
        }
        TableFactor::Function {
            name,
            args,
            alias,
            with_ordinality,
            ..
        } if is_system_name(name) => {
            let Some(arguments) = args.iter().map(plain_argument).collect::<Option<Vec<_>>>() else {
                return;
            };
            let Some(function) = last_name(name) else { return };
            (function, arguments, *with_ordinality, alias.take())
        }
        _ => return,
    };
    let mut alias = place;
    let is_record = RECORD_RETURNING.iter().find(|(name, _)| *name == function);
    match (is_record, arguments.len()) {
        (Some(_), _) => {
            alias = alias.or_else(|| Some(self::alias(&function, &[])));
        }
        (None, 0 | 1) => name_set(&mut alias, &function, set_column(&function), with_ordinality),
        (None, _) if function == "unnest" => alias = alias.or_else(|| Some(self::alias(&function, &[]))),
        (None, _) => name_set(&mut alias, &function, set_column(&function), with_ordinality),
    }
    let is_series = function == "generate_series" && !with_ordinality;
    if is_series && arguments.iter().all(is_constant_integer) && !arguments.get(2).is_some_and(is_zero) {
        // The table function has 64-bit integers.
        let is_int4 = arguments.iter().all(is_int4);
        let value = Ident::new("value");
        let rows = TableFactor::Table {
            name: name("generate_series"),
            alias: Some(self::alias(SERIES, std::slice::from_ref(&value))),
            args: Some(TableFunctionArgs {
                args: arguments
                    .into_iter()
                    .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
                    .collect(),
                settings: None,
            }),
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        };
        let value = Expr::Identifier(value);
        let value = match is_int4 {
            true => Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(value),
                data_type: DataType::Int(None),
                array: false,
                format: None,
            },
            false => value,
        };
        let mut select = plain_select(value.clone(), rows);
        select.projection = vec![SelectItem::ExprWithAlias {
            expr: value,
            alias: Ident::with_quote('"', function),
        }];
        *factor = derived(select, alias, false);
        return;
    }
    let item = |expr: Expr, alias: &str| SelectItem::ExprWithAlias {
        expr,
        alias: Ident::with_quote('"', alias),
    };
    let unnested = |expr: Expr| call("unnest", vec![expr]);
    let mut select = empty_select();
    if function == "unnest" {
        for (at, argument) in arguments.iter().enumerate() {
            let name = if at == 0 {
                "unnest".to_owned()
            } else {
                format!("unnest{at}")
            };
            select.projection.push(item(unnested(argument.clone()), &name));
        }
        if with_ordinality && let Some(first) = arguments.first() {
            let ordinals = call("set__ordinals", vec![first.clone()]);
            select.projection.push(item(unnested(ordinals), "ordinality"));
        }
    } else {
        let is_set = SET_RETURNING.contains(&function.as_str());
        let value = call(&function, arguments);
        if is_set && with_ordinality {
            let ordinals = call("set__ordinals", vec![value.clone()]);
            select.projection.push(item(unnested(ordinals), "ordinality"));
        }
        let value = if is_set { unnested(value) } else { value };
        let column = set_column(&function).unwrap_or(&function);
        select.projection.insert(0, item(value, column));
        if let Some((_, columns)) = is_record {
            let mut outer = plain_select(Expr::value(Value::Null), derived(select, None, false));
            if let Some(from) = outer.from.first_mut()
                && let TableFactor::Derived { alias, .. } = &mut from.relation
            {
                *alias = Some(self::alias("__records", &[]));
            }
            outer.projection = items_of(columns, &function);
            if with_ordinality {
                outer
                    .projection
                    .push(SelectItem::UnnamedExpr(Expr::Identifier(Ident::new("ordinality"))));
            }
            select = outer;
        }
    }
    *factor = derived(select, alias, true);
}

fn derived(select: Select, alias: Option<TableAlias>, lateral: bool) -> TableFactor {
    TableFactor::Derived {
        lateral,
        subquery: Box::new(Query {
            body: Box::new(SetExpr::Select(Box::new(select))),
            ..empty_query()
        }),
        alias,
        sample: None,
    }
}

pub(super) fn is_int4(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if digits.parse::<i32>().is_ok()),
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => is_int4(expr),
        _ => false,
    }
}

fn is_zero(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(&value.value, Value::Number(digits, _) if digits == "0"))
}

fn plain_argument(argument: &FunctionArg) -> Option<Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    }
}

fn is_constant_integer(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if digits.parse::<i64>().is_ok()),
        Expr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        }
        | Expr::Nested(expr) => is_constant_integer(expr),
        _ => false,
    }
}

/// The columns of a set of values: by the alias, or by the function.
fn name_set(place: &mut Option<TableAlias>, function: &str, column: Option<&str>, with_ordinality: bool) {
    let ordinality = || TableAliasColumnDef {
        name: Ident::new("ordinality"),
        data_type: None,
    };
    match place {
        Some(alias) if alias.columns.is_empty() => {
            let name = match column {
                Some(column) => Ident::new(column),
                None => alias.name.clone(),
            };
            alias.columns = vec![TableAliasColumnDef { name, data_type: None }];
            if with_ordinality {
                alias.columns.push(ordinality());
            }
        }
        Some(alias) if alias.columns.len() == 1 && with_ordinality => alias.columns.push(ordinality()),
        Some(_) => {}
        None => {
            let mut new = alias(function, &[Ident::new(column.unwrap_or(function))]);
            if with_ordinality {
                new.columns.push(ordinality());
            }
            *place = Some(new);
        }
    }
}

// 10. Names of columns

fn name_columns(items: &mut [SelectItem], is_alone: bool) {
    let mut used: HashSet<String> = HashSet::new();
    let wildcards: Vec<Option<Ident>> = items.iter().filter_map(wildcard).collect();
    let all_columns = items
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let mut columns: HashSet<String> = HashSet::new();
    for item in items {
        match item {
            SelectItem::UnnamedExpr(expr @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)))
                if !is_bare_call(expr) =>
            {
                let mut name = default_name(expr);
                if wildcards
                    .iter()
                    .any(|wildcard| is_among(expr, wildcard.as_ref(), is_alone))
                {
                    name.push(AGAIN);
                    let alias = Ident::with_quote('"', unused(name, &mut used));
                    *item = SelectItem::ExprWithAlias {
                        expr: take(expr),
                        alias,
                    };
                    continue;
                }
                // The same column of two tables is told apart by its qualifier; only the very same column is given twice.
                if columns.insert(expr.to_string()) && (!used.contains(&name) || columns_only(&columns, &used, &name)) {
                    used.insert(name);
                } else {
                    let alias = Ident::with_quote('"', unused(name, &mut used));
                    *item = SelectItem::ExprWithAlias {
                        expr: take(expr),
                        alias,
                    };
                }
            }
            SelectItem::UnnamedExpr(expr) => {
                // `*, c::text`: the column `c` is among `*`.
                if all_columns && let Some(column) = cast_column(expr) {
                    used.insert(default_name(column));
                }
                let alias = Ident::with_quote('"', unused(default_name(expr), &mut used));
                *item = SelectItem::ExprWithAlias {
                    expr: take(expr),
                    alias,
                };
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                let name = if alias.quote_style.is_some() {
                    alias.value.clone()
                } else {
                    alias.value.to_lowercase()
                };
                let unique = unused(name.clone(), &mut used);
                if unique != name {
                    *alias = Ident::with_quote('"', unique);
                }
            }
            _ => {}
        }
    }
}

/// `*`, or the table of `t.*`.
fn wildcard(item: &SelectItem) -> Option<Option<Ident>> {
    match item {
        SelectItem::Wildcard(_) => Some(None),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            Some(name.0.last()?.as_ident().cloned())
        }
        _ => None,
    }
}

/// Whether a wildcard gives this column as well; `is_alone`: there is one table only.
fn is_among(column: &Expr, wildcard: Option<&Ident>, is_alone: bool) -> bool {
    match (wildcard, column) {
        (None, _) => true,
        (Some(table), Expr::CompoundIdentifier(parts)) => {
            matches!(parts.as_slice(), [.., of, _] if of.value.eq_ignore_ascii_case(&table.value))
        }
        (Some(_), _) => is_alone,
    }
}

/// The column under casts.
fn cast_column(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Cast { expr: inner, .. } => match inner.as_ref() {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Some(inner),
            other => cast_column(other),
        },
        _ => None,
    }
}

fn is_bare_call(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(ident) if ident.quote_style.is_none() && is_bare_function(&ident.value))
}

/// Was the name used by columns alone?
fn columns_only(columns: &HashSet<String>, used: &HashSet<String>, name: &str) -> bool {
    used.contains(name)
        && columns
            .iter()
            .filter(|column| {
                column
                    .rsplit('.')
                    .next()
                    .is_some_and(|last| last.trim_matches('"') == name)
            })
            .count()
            > 1
}

fn unused(mut name: String, used: &mut HashSet<String>) -> String {
    while !used.insert(name.clone()) {
        name.push(AGAIN);
    }
    name
}

/// The name PostgreSQL gives to an expression without alias.
fn default_name(expr: &Expr) -> String {
    let of_ident = |ident: &Ident| {
        if ident.quote_style.is_some() {
            ident.value.clone()
        } else {
            ident.value.to_lowercase()
        }
    };
    strong_name(expr, &of_ident).unwrap_or_else(|| "?column?".into())
}

fn strong_name(expr: &Expr, of_ident: &dyn Fn(&Ident) -> String) -> Option<String> {
    Some(match expr {
        Expr::Identifier(ident) => of_ident(ident),
        Expr::CompoundIdentifier(idents) => of_ident(idents.last()?),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => return strong_name(inner, of_ident),
        Expr::CompoundFieldAccess { root, access_chain } => {
            match access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(field)) => Some(of_ident(field)),
                _ => None,
            }) {
                Some(field) => field,
                None => return strong_name(root, of_ident),
            }
        }
        Expr::Function(function) => last_name(&function.name)?,
        Expr::Cast { expr, data_type, .. } => {
            let inner = Some(expr.as_ref())
                .filter(|expr| !matches!(without_parentheses(expr), Expr::Cast { .. } | Expr::TypedString(_)));
            return inner.and_then(|expr| strong_name(expr, of_ident)).or_else(|| {
                // `"char"` is another type, and a custom one to the parser.
                if matches!(data_type, DataType::Char(_)) {
                    return Some("bpchar".into());
                }
                let name = data_type.to_string().to_lowercase();
                let name = name
                    .rsplit('.')
                    .next()
                    .unwrap_or(&name)
                    .trim_matches('"')
                    .trim_end_matches("[]")
                    .to_owned();
                Some(match crate::catalog::pg_types::pg_type_by_name(&name) {
                    Some(ty) => ty.name.to_owned(),
                    None => name,
                })
            });
        }
        Expr::Case { else_result, .. } => {
            return else_result
                .as_ref()
                .and_then(|e| column_of(e).map(of_ident))
                .or_else(|| Some("case".into()));
        }
        Expr::Exists { .. } => "exists".into(),
        Expr::Array(_) => "array".into(),
        Expr::Extract { .. } => "extract".into(),
        Expr::Ceil { .. } => "ceil".into(),
        Expr::Floor { .. } => "floor".into(),
        Expr::Substring { shorthand: true, .. } => "substr".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Position { .. } => "position".into(),
        Expr::Overlay { .. } => "overlay".into(),
        Expr::Trim { trim_where, .. } => match trim_where {
            Some(TrimWhereField::Leading) => "ltrim".into(),
            Some(TrimWhereField::Trailing) => "rtrim".into(),
            _ => "btrim".into(),
        },
        Expr::Interval(_) => "interval".into(),
        Expr::AtTimeZone { .. } => "timezone".into(),
        Expr::TypedString(typed) => {
            crate::catalog::pg_types::pg_type_by_name(&typed.data_type.to_string().to_lowercase())?
                .name
                .to_owned()
        }
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.as_slice() {
                [SelectItem::UnnamedExpr(item)] => return strong_name(item, of_ident),
                [SelectItem::ExprWithAlias { alias, .. }] => of_ident(alias),
                _ => return None,
            },
            _ => return None,
        },
        _ => return None,
    })
}

fn without_parentheses(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => without_parentheses(inner),
        other => other,
    }
}

fn column_of(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(ident) => Some(ident),
        Expr::CompoundIdentifier(idents) => idents.last(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn rewritten(sql: &str) -> String {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        rewrite_statement(&mut statements[0]);
        statements[0].to_string()
    }

    #[test]
    fn reg_casts_are_oids_where_compared_and_names_where_shown() {
        assert_eq!(
            rewritten("SELECT c.oid::regclass AS c FROM pg_class AS c WHERE c.oid = 'x'::pg_catalog.regclass"),
            "SELECT regclass__text(c.oid) AS c FROM pg_class AS c WHERE c.oid = regclass__oid('x')"
        );
        assert_eq!(
            rewritten("SELECT 'x'::regclass::oid AS o"),
            "SELECT regclass__oid('x')::INT UNSIGNED AS o"
        );
    }

    #[test]
    fn columns_have_postgresql_names_and_doubles_are_marked() {
        assert_eq!(
            rewritten("SELECT count(*) FROM t"),
            "SELECT count(*) AS \"count\" FROM t"
        );
        assert_eq!(rewritten("SELECT a.x, b.x FROM a, b"), "SELECT a.x, b.x FROM a, b");
        assert_eq!(
            rewritten("SELECT NULL, NULL"),
            "SELECT NULL AS \"?column?\", NULL AS \"?column?\u{2063}\""
        );
        assert_eq!(column_name("?column?\u{2063}"), "?column?");
    }

    #[test]
    fn rewriting_twice_changes_nothing_more() {
        for sql in [
            "SELECT generate_series(1, 3), user, 'x'::regclass, ARRAY(SELECT a FROM t ORDER BY 1)",
            "SELECT x FROM unnest('{1}'::int[]) x",
        ] {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
            rewrite_statement(&mut statements[0]);
            let once = statements[0].to_string();
            rewrite_statement(&mut statements[0]);
            assert_eq!(statements[0].to_string(), once);
        }
    }
}
