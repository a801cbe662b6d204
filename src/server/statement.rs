//! A statement on its way to a plan: parsed, refused if it would write, rewritten, planned with its parameters.

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
use crate::catalog::rewrite::{column_name, rewrite_statement};

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
        if let Some(tree) = sql_tree(&mut statement) {
            placeholders = Placeholders::of(tree)?;
            // Names first: `1` has none, while the cast added after it would be called `int4`.
            rewrite_statement(tree);
            cast_integer_literals(tree);
        }
        Ok(Parsed {
            sql: sql.into(),
            statement,
            placeholders,
            explains,
        })
    }

    /// What the client sees of the schema that was planned.
    pub(super) fn client_schema(&self, planned: &SchemaRef) -> SchemaRef {
        if self.explains != Explains::Nothing {
            return Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]));
        }
        let fields = planned.fields().iter().map(|field| match column_name(field.name()) {
            name if name == field.name() => Arc::clone(field),
            name => Arc::new(Field::clone(field).with_name(name)),
        });
        Arc::new(Schema::new_with_metadata(
            fields.collect::<Vec<_>>(),
            planned.metadata().clone(),
        ))
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
            ast::Statement::Query(query) => refuse_writes_in_query(query),
            ast::Statement::ExplainTable { .. } => Ok(()),
            other => Err(refusal(other)),
        },
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
