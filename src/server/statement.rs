//! A statement on its way to a plan: parsed, refused if it would write, rewritten, planned with its parameters.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::common::format::ExplainFormat;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::execution::context::{SQLOptions, SessionState};
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::{DFParserBuilder, Statement as DfStatement};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::error::QueryError;
use super::parameters::{Placeholders, sql_type};
use super::rewrite::{cast_integer_literals, table_statement};
use super::sql_text::{Lexeme, lexemes};
use crate::catalog::pg_types;
use crate::catalog::rewrite::{column_name, factors, rewrite_statement, type_oid};

/// Nesting the parser accepts. DataFusion's default of 50 is below what BI tools generate.
const PARSER_RECURSION_LIMIT: usize = 200;

/// Operators in a row, which are levels of a tree. What walks it needs about a kilobyte of stack for each, and each pass of the planner looks
/// at all of them.
const LONGEST_CHAIN: usize = 5_000;

/// A statement after parsing, rewriting and the read-only check.
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    pub(super) sql: Arc<str>,
    pub(super) statement: DfStatement,
    pub(super) placeholders: Placeholders,
    pub(super) explains: Explains,
    /// Of the columns of the answer, by position.
    stated_types: Vec<Stated>,
}

/// What a statement answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Explains {
    /// Rows.
    Nothing,
    /// Its plan with estimates, as PostgreSQL's plain EXPLAIN does; `statement` is then what is explained.
    Estimates,
    /// A plan in DataFusion's words: EXPLAIN with ANALYZE, VERBOSE or another format.
    Plan,
}

impl Parsed {
    pub(super) fn read(sql: &str) -> Result<Parsed, QueryError> {
        let tokens = lexemes(sql)?;
        refuse_long_chains(&tokens)?;
        let words = table_statement(sql, &tokens).or_else(|| with_datafusion_explain_format(sql, &tokens));
        let mut statements = DFParserBuilder::new(words.as_deref().unwrap_or(sql))
            .with_dialect(&PostgreSqlDialect {})
            .with_recursion_limit(PARSER_RECURSION_LIMIT)
            .build()?
            .parse_statements()?;
        let (Some(mut statement), None) = (statements.pop_front(), statements.pop_front()) else {
            return Err(QueryError::Syntax {
                message: "exactly one statement is expected here".into(),
                at: None,
            });
        };
        refuse_writes(&statement)?;
        let mut explains = Explains::Nothing;
        if let DfStatement::Explain(explain) = statement {
            let options = &explain.options;
            let is_text = matches!(options.format, None | Some(ExplainFormat::Indent));
            if is_text && !options.analyze && !options.verbose {
                explains = Explains::Estimates;
                statement = *explain.statement;
            } else {
                explains = Explains::Plan;
                statement = DfStatement::Explain(explain);
            }
        }
        let mut placeholders = Placeholders::default();
        let mut stated_types = Vec::new();
        if let Some(tree) = sql_tree(&mut statement) {
            placeholders = Placeholders::of(tree)?;
            if let ast::Statement::Query(query) = &*tree {
                stated_types = types_stated_by(query);
            }
            // Names first: `1` has none, while the cast added after it would be called `int4`.
            rewrite_statement(tree);
            cast_integer_literals(tree);
        }
        Ok(Parsed {
            sql: sql.into(),
            statement,
            placeholders,
            explains,
            stated_types,
        })
    }

    /// What the client sees of the schema that was planned.
    pub(super) fn client_schema(&self, planned: &SchemaRef) -> SchemaRef {
        if self.explains != Explains::Nothing {
            return Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]));
        }
        let fields = planned.fields().iter().enumerate().map(|(index, planned)| {
            let mut field = Arc::clone(planned);
            let name = column_name(planned.name());
            if name != planned.name() {
                field = Arc::new(Field::clone(&field).with_name(name));
            }
            // Somebody who casts a column to `varchar` that is JSON here is told what it is.
            if let Some(Some((oid, modifier))) = self.stated_types.get(index)
                && has_values_of(planned.data_type(), *oid)
            {
                field = Arc::new(Field::clone(&field).with_metadata(pg_types::stating(*oid, *modifier)));
            }
            field
        });
        Arc::new(Schema::new_with_metadata(
            fields.collect::<Vec<_>>(),
            planned.metadata().clone(),
        ))
    }
}

/// A type that says more than Arrow's: its oid and modifier.
type Stated = Option<(u32, i32)>;

/// What the outermost casts of a select list say of its columns, as far as their places are known. A column of a subquery has what is said
/// there.
fn types_stated_by(query: &ast::Query) -> Vec<Stated> {
    let select = match query.body.as_ref() {
        ast::SetExpr::Query(inner) => return types_stated_by(inner),
        ast::SetExpr::Select(select) => select,
        _ => return Vec::new(),
    };
    let is_alone = factors(select).count() == 1;
    let subqueries: Vec<Subquery<'_>> = factors(select)
        .filter_map(|factor| Subquery::of(factor, query))
        .collect();
    let mut types = Vec::new();
    for item in &select.projection {
        match item {
            ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } => {
                types.push(type_stated_by(expr).or_else(|| {
                    let (table, column) = column_of(expr)?;
                    // Without a name of its table a column may be that of another one.
                    let is_of = |subquery: &&Subquery<'_>| table.map_or(is_alone, |table| table.value == subquery.name);
                    subqueries.iter().find(is_of)?.type_of(column)
                }));
            }
            ast::SelectItem::Wildcard(_) if is_alone && subqueries.first().is_some_and(|one| one.columns.is_some()) => {
                types.extend(subqueries[0].types.iter().copied());
            }
            // So many columns as there are.
            _ => return types,
        }
    }
    types
}

/// The column that an expression is, and the name of its table if it has one.
fn column_of(expr: &ast::Expr) -> Option<(Option<&ast::Ident>, &ast::Ident)> {
    match expr {
        ast::Expr::Identifier(column) => Some((None, column)),
        ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, column] => Some((Some(table), column)),
            _ => None,
        },
        _ => None,
    }
}

/// A subquery in FROM, or the CTE that stands there.
struct Subquery<'a> {
    name: &'a str,
    /// Their names; `None` if they are not all known.
    columns: Option<Vec<Option<&'a str>>>,
    types: Vec<Stated>,
}

impl<'a> Subquery<'a> {
    fn of(factor: &'a ast::TableFactor, query: &'a ast::Query) -> Option<Self> {
        let (alias, subquery) = match factor {
            ast::TableFactor::Derived { subquery, alias, .. } => (alias.as_ref()?, subquery),
            ast::TableFactor::Table { name, alias, .. } => {
                let [name] = name.0.as_slice() else { return None };
                let ctes = &query.with.as_ref().filter(|with| !with.recursive)?.cte_tables;
                let cte = ctes.iter().find(|cte| Some(&cte.alias.name) == name.as_ident())?;
                (alias.as_ref().unwrap_or(&cte.alias), &cte.query)
            }
            _ => return None,
        };
        let ast::SetExpr::Select(select) = subquery.body.as_ref() else {
            return None;
        };
        let names = select.projection.iter().map(|item| match item {
            ast::SelectItem::ExprWithAlias { alias, .. } => Some(Some(alias.value.as_str())),
            ast::SelectItem::UnnamedExpr(expr) => Some(column_of(expr).map(|(_, column)| column.value.as_str())),
            _ => None,
        });
        let mut columns: Option<Vec<Option<&str>>> = names.collect();
        for (column, alias) in columns.iter_mut().flatten().zip(&alias.columns) {
            *column = Some(alias.name.value.as_str());
        }
        Some(Subquery {
            name: &alias.name.value,
            columns,
            types: types_stated_by(subquery),
        })
    }

    fn type_of(&self, column: &ast::Ident) -> Stated {
        let columns = self.columns.as_ref()?;
        let at = columns
            .iter()
            .position(|name| name.is_some_and(|name| name == column.value))?;
        self.types.get(at).copied().flatten()
    }
}

fn type_stated_by(expr: &ast::Expr) -> Stated {
    let data_type = match expr {
        ast::Expr::Nested(inner) => return type_stated_by(inner),
        ast::Expr::Cast { data_type, .. } => data_type,
        ast::Expr::TypedString(typed) => &typed.data_type,
        _ => return None,
    };
    let length = match data_type {
        ast::DataType::Varchar(length)
        | ast::DataType::CharacterVarying(length)
        | ast::DataType::CharVarying(length) => length.as_ref(),
        // `char` is `char(1)`.
        ast::DataType::Char(length) | ast::DataType::Character(length) => Some(
            length
                .as_ref()
                .unwrap_or(&ast::CharacterLength::IntegerLength { length: 1, unit: None }),
        ),
        _ => None,
    };
    let modifier = match length {
        Some(ast::CharacterLength::IntegerLength { length, .. }) => i32::try_from(*length).ok()?.checked_add(4)?,
        _ => -1,
    };
    let oid = type_oid(data_type)?;
    matches!(
        oid,
        pg_types::VARCHAR | pg_types::BPCHAR | pg_types::NAME | pg_types::JSON | pg_types::UUID
    )
    .then_some((oid, modifier))
}

/// Whether a column of an Arrow type holds what a PostgreSQL type without an Arrow type of its own is read from.
fn has_values_of(data_type: &DataType, oid: u32) -> bool {
    match oid {
        pg_types::JSON => *data_type == DataType::LargeUtf8,
        _ => matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::Null),
    }
}

/// PostgreSQL's `FORMAT TEXT` and `FORMAT JSON` of an EXPLAIN under DataFusion's names; `None` if there is nothing to change.
fn with_datafusion_explain_format(sql: &str, tokens: &[Lexeme]) -> Option<String> {
    let word = |index: usize| {
        tokens
            .get(index)
            .map(|lexeme| sql[lexeme.start..lexeme.end].to_ascii_uppercase())
            .unwrap_or_default()
    };
    if word(0) != "EXPLAIN" {
        return None;
    }
    // The options end where the statement begins; no statement begins with FORMAT.
    let statement = |index: usize| matches!(word(index).as_str(), "SELECT" | "WITH" | "VALUES" | "TABLE");
    let at = (1..tokens.len())
        .take_while(|index| !statement(*index))
        .find(|index| word(*index) == "FORMAT")?;
    let name = match word(at + 1).as_str() {
        "TEXT" => "indent",
        "JSON" => "pgjson",
        _ => return None,
    };
    let old = &tokens[at + 1];
    Some(format!("{}{name}{}", &sql[..old.start], &sql[old.end..]))
}

/// Refuses expressions of very many operators in a row: `1 + 1 + 1 …` is a tree as deep as it is long, which the parser builds without
/// recursion, and which nobody can walk, or only drop, on a stack.
fn refuse_long_chains(tokens: &[Lexeme]) -> Result<(), QueryError> {
    // By parenthesis that is open: operators since the last comma.
    let mut open = vec![0_usize];
    for lexeme in tokens {
        let keyword = match &lexeme.token {
            Token::Word(word) if word.quote_style.is_none() => word.keyword,
            _ => Keyword::NoKeyword,
        };
        match (&lexeme.token, keyword) {
            (Token::LParen | Token::LBracket, _) | (_, Keyword::CASE) => open.push(0),
            (Token::RParen | Token::RBracket, _) | (_, Keyword::END) if open.len() > 1 => {
                open.pop();
            }
            (Token::Comma, _) => {
                if let Some(operators) = open.last_mut() {
                    *operators = 0;
                }
            }
            (token, keyword) if is_operator(token, keyword) => {
                if let Some(operators) = open.last_mut() {
                    *operators += 1;
                    if *operators > LONGEST_CHAIN {
                        return Err(QueryError::TooComplex);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a token joins what is before it with what comes after. Everything that is no value, name or separator counts: what is new in the
/// tokenizer is an operator more likely than not.
fn is_operator(token: &Token, keyword: Keyword) -> bool {
    match token {
        Token::Word(_) => matches!(
            keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::BETWEEN
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::JOIN
        ),
        Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Placeholder(_)
        | Token::Comma
        | Token::SemiColon
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::LBracket
        | Token::RBracket => false,
        _ => true,
    }
}

/// The statement that is planned, below any EXPLAIN.
pub(super) fn sql_tree(statement: &mut DfStatement) -> Option<&mut ast::Statement> {
    match statement {
        DfStatement::Statement(tree) => Some(tree),
        DfStatement::Explain(explain) => sql_tree(&mut explain.statement),
        _ => None,
    }
}

/// The first line of defence; [`allow_only_reads`] on the plan is the second.
fn refuse_writes(statement: &DfStatement) -> Result<(), QueryError> {
    match statement {
        DfStatement::CreateExternalTable(_) => Err(QueryError::ReadOnly {
            statement: "CREATE EXTERNAL TABLE".into(),
        }),
        DfStatement::CopyTo(_) => Err(QueryError::ReadOnly {
            statement: "COPY".into(),
        }),
        DfStatement::Reset(_) => Err(QueryError::NotSupported {
            message: "RESET is not possible here".into(),
        }),
        DfStatement::Explain(explain) => refuse_writes(&explain.statement),
        DfStatement::Statement(tree) => match tree.as_ref() {
            ast::Statement::Query(query) => {
                refuse_writes_in_query(query)?;
                refuse_other_multisets(query)
            }
            ast::Statement::ExplainTable { .. } => Ok(()),
            other => Err(refusal(other)),
        },
    }
}

/// DataFusion keeps or removes all equal rows together; another answer than PostgreSQL's is worse than none.
fn refuse_other_multisets(query: &ast::Query) -> Result<(), QueryError> {
    struct Multisets;
    impl ast::Visitor for Multisets {
        type Break = ast::SetOperator;

        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<ast::SetOperator> {
            of_body(&query.body)
        }
    }
    fn of_body(body: &ast::SetExpr) -> ControlFlow<ast::SetOperator> {
        match body {
            ast::SetExpr::SetOperation {
                op: op @ (ast::SetOperator::Except | ast::SetOperator::Intersect),
                set_quantifier: ast::SetQuantifier::All,
                ..
            } => ControlFlow::Break(*op),
            ast::SetExpr::SetOperation { left, right, .. } => {
                of_body(left)?;
                of_body(right)
            }
            _ => ControlFlow::Continue(()),
        }
    }
    match ast::Visit::visit(query, &mut Multisets) {
        ControlFlow::Break(op) => Err(QueryError::NotSupported {
            message: format!("{op} ALL is not possible here; {op} gives each row once"),
        }),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn refuse_writes_in_query(query: &ast::Query) -> Result<(), QueryError> {
    struct Writes;
    impl ast::Visitor for Writes {
        type Break = &'static str;

        fn pre_visit_query(&mut self, query: &ast::Query) -> std::ops::ControlFlow<&'static str> {
            if !query.locks.is_empty() {
                return std::ops::ControlFlow::Break("SELECT FOR UPDATE");
            }
            body(&query.body)
        }
    }
    fn body(expr: &ast::SetExpr) -> std::ops::ControlFlow<&'static str> {
        use std::ops::ControlFlow::{Break, Continue};
        match expr {
            ast::SetExpr::Insert(_) => Break("INSERT"),
            ast::SetExpr::Update(_) => Break("UPDATE"),
            ast::SetExpr::Delete(_) => Break("DELETE"),
            ast::SetExpr::Merge(_) => Break("MERGE"),
            ast::SetExpr::Select(select) if select.into.is_some() => Break("SELECT INTO"),
            ast::SetExpr::SetOperation { left, right, .. } => {
                body(left)?;
                body(right)
            }
            _ => Continue(()),
        }
    }
    match ast::Visit::visit(query, &mut Writes) {
        std::ops::ControlFlow::Break(statement) => Err(QueryError::ReadOnly {
            statement: statement.into(),
        }),
        std::ops::ControlFlow::Continue(()) => Ok(()),
    }
}

fn refusal(statement: &ast::Statement) -> QueryError {
    let text = statement.to_string();
    let mut words = text.split_whitespace().map(str::to_uppercase);
    let verb = words.next().unwrap_or_default();
    match verb.as_str() {
        "CREATE" | "DROP" | "ALTER" => {
            let object =
                words.find(|word| !matches!(word.as_str(), "OR" | "REPLACE" | "TEMPORARY" | "TEMP" | "IF" | "EXISTS"));
            QueryError::ReadOnly {
                statement: format!("{verb} {}", object.unwrap_or_default()).trim().to_string(),
            }
        }
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE" | "COPY" | "GRANT" | "REVOKE" | "COMMENT" | "VACUUM"
        | "ANALYZE" | "LOCK" | "CALL" | "LOAD" | "UNLOAD" | "NOTIFY" | "LISTEN" | "ATTACH" | "DETACH" | "OPTIMIZE"
        | "REPLACE" => QueryError::ReadOnly { statement: verb },
        _ => QueryError::NotSupported {
            message: format!("{verb} is not supported"),
        },
    }
}

pub(super) fn allow_only_reads(plan: &LogicalPlan) -> Result<(), QueryError> {
    let reads = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    reads.verify_plan(plan).map_err(|_| QueryError::ReadOnly {
        statement: plan_word(plan).into(),
    })
}

fn plan_word(plan: &LogicalPlan) -> &str {
    match plan {
        LogicalPlan::Ddl(ddl) => ddl.name(),
        LogicalPlan::Dml(_) => "INSERT, UPDATE or DELETE",
        LogicalPlan::Copy(_) => "COPY",
        _ => "this statement",
    }
}

/// Plans; with parameters, under a PREPARE that tells DataFusion their types.
pub(super) async fn plan(
    session: &SessionState,
    parsed: &Parsed,
    parameter_types: &[DataType],
) -> Result<LogicalPlan, QueryError> {
    let mut statement = parsed.statement.clone();
    if !parameter_types.is_empty() {
        // An EXPLAIN cannot stand under a PREPARE; the parameters below it then keep the types DataFusion infers.
        if let DfStatement::Statement(tree) = statement {
            let data_types = parameter_types.iter().map(sql_type).collect();
            statement = DfStatement::Statement(Box::new(ast::Statement::Prepare {
                name: ast::Ident::new("parameters"),
                data_types,
                statement: tree,
            }));
        }
    }
    Ok(session.statement_to_plan(statement).await?)
}

/// Plans with the values of the parameters.
pub(super) async fn planned(
    session: &SessionState,
    parsed: &Parsed,
    parameter_types: &[DataType],
    params: &[ScalarValue],
) -> Result<LogicalPlan, QueryError> {
    let mut plan = plan(session, parsed, parameter_types).await?;
    if !parameter_types.is_empty() {
        let targets: Vec<DataType> = match &plan {
            LogicalPlan::Statement(PlanStatement::Prepare(prepare)) => {
                prepare.fields.iter().map(|field| field.data_type().clone()).collect()
            }
            _ => parameter_types.to_vec(),
        };
        let values = params
            .iter()
            .zip(&targets)
            .map(|(value, target)| Ok(ScalarAndMetadata::new(value.cast_to(target)?, None)))
            .collect::<Result<Vec<_>, QueryError>>()?;
        plan = plan.with_param_values(ParamValues::List(values))?;
    }
    Ok(plan)
}
