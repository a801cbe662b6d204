//! What can go wrong with a statement, and how DataFusion's errors are told apart.
//!
//! [`QueryError::from_datafusion`] looks at the structure of a `DataFusionError` first. Where DataFusion has only text (an unknown
//! table is `Plan("table '…' not found")`), [`from_plan_text`] and its neighbours read the text; `tests` below pin each
//! of these texts, so that an upgrade of DataFusion which rewords one fails here and not at a client.

use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

use crate::catalog::SqlError;
use crate::history::NotReadYet;

/// A statement that failed. Two situations a client or an operator treats differently are two variants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// `at` is line and column in the statement, from 1, where that is known.
    #[error("{message}")]
    Syntax { message: String, at: Option<(u64, u64)> },
    /// The parser's or planner's recursion limit.
    #[error("statement is nested too deeply")]
    TooComplex,
    #[error("relation \"{name}\" does not exist")]
    UnknownTable { name: String },
    /// `name` is quoted as PostgreSQL does: `"c"`, or `t.c`.
    #[error("column {name} does not exist")]
    UnknownColumn { name: String },
    #[error("function {name} does not exist")]
    UnknownFunction { name: String },
    /// `name` with its `$`.
    #[error("there is no parameter {name}")]
    UnknownParameter { name: String },
    #[error("column reference \"{name}\" is ambiguous")]
    AmbiguousColumn { name: String },
    #[error("column \"{name}\" specified more than once")]
    DuplicateColumn { name: String },
    #[error("{message}")]
    Grouping { message: String },
    #[error("{message}")]
    TypeMismatch { message: String },
    /// The planner refuses the statement for a reason without a code of its own.
    #[error("{message}")]
    Invalid { message: String },
    #[error("division by zero")]
    DivisionByZero,
    /// A text that is not a value of the type it is cast to.
    #[error("{message}")]
    InvalidText { message: String },
    #[error("{message}")]
    InvalidDatetime { message: String },
    #[error("{message}")]
    OutOfRange { message: String },
    /// A value that a function or setting does not accept.
    #[error("{message}")]
    InvalidParameter { message: String },
    /// Rows that an operator cannot work with.
    #[error("{message}")]
    Data { message: String },
    /// What a function or a cast of ours reports, with PostgreSQL's own code.
    #[error("{message}")]
    Raised { code: &'static str, message: String },
    /// `limit` is the deadline that passed.
    #[error("canceling statement due to statement timeout")]
    TimedOut { limit: Duration },
    /// It names an application whose log could not be read in time.
    #[error("canceling statement: {message}")]
    NotReadYet { message: String },
    #[error("canceling statement due to user request")]
    Cancelled,
    #[error("cannot execute {statement} in a read-only transaction")]
    ReadOnly { statement: String },
    #[error("{message}")]
    NotSupported { message: String },
    /// A result is larger than the limits of the gateway allow.
    #[error("{message}")]
    TooLarge { message: String },
    #[error("out of memory: {message}")]
    OutOfMemory { message: String },
    #[error("{message}")]
    Overloaded { message: String },
    /// The files below could not be read.
    #[error("{message}")]
    Storage { message: String },
    #[error("terminating connection due to administrator command")]
    ShuttingDown,
    /// A bug of ours.
    #[error("{message}")]
    Internal { message: String },
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        QueryError::from_datafusion(&error)
    }
}

impl QueryError {
    /// Classifies by structure; by text only where there is nothing else (see the head of this file).
    pub fn from_datafusion(error: &DataFusionError) -> Self {
        match error {
            DataFusionError::SQL(parser, _) => from_parser(parser),
            DataFusionError::SchemaError(schema, _) => from_schema(schema),
            DataFusionError::ArrowError(arrow, _) => from_arrow(arrow),
            DataFusionError::Plan(text) => from_plan_text(text),
            DataFusionError::NotImplemented(text) => QueryError::NotSupported { message: text.clone() },
            DataFusionError::Configuration(text) => QueryError::InvalidParameter { message: text.clone() },
            DataFusionError::Execution(text) => from_execution_text(text),
            DataFusionError::ResourcesExhausted(text) => QueryError::OutOfMemory { message: text.clone() },
            DataFusionError::IoError(io) => QueryError::Storage {
                message: io.to_string(),
            },
            DataFusionError::ParquetError(parquet) => QueryError::Storage {
                message: parquet.to_string(),
            },
            DataFusionError::ObjectStore(store) => QueryError::Storage {
                message: store.to_string(),
            },
            DataFusionError::External(source) => from_external(source.as_ref()),
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Self::from_datafusion(inner),
            DataFusionError::Shared(inner) => Self::from_datafusion(inner),
            DataFusionError::Collection(errors) => match errors.first() {
                Some(first) => Self::from_datafusion(first),
                None => QueryError::Internal {
                    message: error.to_string(),
                },
            },
            DataFusionError::Internal(_)
            | DataFusionError::ExecutionJoin(_)
            | DataFusionError::Substrait(_)
            | DataFusionError::Ffi(_) => QueryError::Internal {
                message: error.strip_backtrace(),
            },
        }
    }
}

fn from_parser(error: &ParserError) -> QueryError {
    match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => syntax(text),
        ParserError::RecursionLimitExceeded => QueryError::TooComplex,
    }
}

/// How the message begins where a statement ends too soon.
pub(crate) const END_OF_INPUT: &str = "syntax error at end of input";

/// sqlparser's texts, `Expected: end of statement, found: x at Line: 1, Column: 14`, as PostgreSQL begins them.
pub(crate) fn syntax(text: &str) -> QueryError {
    let (what, at) = match text.rsplit_once(" at Line: ") {
        Some((what, place)) => {
            let at = place.split_once(", Column: ");
            (
                what,
                at.and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?))),
            )
        }
        None => (text, None),
    };
    let message = match what.rsplit_once(", found: ") {
        Some((expected, "EOF")) => format!("{END_OF_INPUT} ({})", expected.to_lowercase()),
        Some((expected, found)) => format!("syntax error at or near \"{found}\" ({})", expected.to_lowercase()),
        None => format!("syntax error: {what}"),
    };
    QueryError::Syntax { message, at }
}

fn from_schema(error: &SchemaError) -> QueryError {
    match error {
        SchemaError::FieldNotFound { field, .. } => QueryError::UnknownColumn {
            name: match &field.relation {
                Some(relation) => format!("{}.{}", relation.table(), field.name),
                None => format!("\"{}\"", field.name),
            },
        },
        SchemaError::AmbiguousReference { field } => QueryError::AmbiguousColumn {
            name: field.name.clone(),
        },
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            QueryError::DuplicateColumn { name: name.clone() }
        }
    }
}

fn from_arrow(error: &ArrowError) -> QueryError {
    match error {
        ArrowError::DivideByZero => QueryError::DivisionByZero,
        ArrowError::ArithmeticOverflow(_) | ArrowError::OffsetOverflowError(_) => QueryError::OutOfRange {
            message: error.to_string(),
        },
        ArrowError::CastError(text) => from_cast_text(text),
        ArrowError::ParseError(text) => from_parse_text(text),
        ArrowError::NotYetImplemented(text) => QueryError::NotSupported { message: text.clone() },
        ArrowError::ExternalError(source) => from_external(source.as_ref()),
        ArrowError::IoError(text, _) | ArrowError::ParquetError(text) => QueryError::Storage { message: text.clone() },
        ArrowError::MemoryError(text) => QueryError::OutOfMemory { message: text.clone() },
        ArrowError::ComputeError(text) | ArrowError::InvalidArgumentError(text) => from_execution_text(text),
        ArrowError::CsvError(text) | ArrowError::JsonError(text) => QueryError::Data { message: text.clone() },
        ArrowError::SchemaError(_)
        | ArrowError::AvroError(_)
        | ArrowError::IpcError(_)
        | ArrowError::CDataInterface(_)
        | ArrowError::DictionaryKeyOverflowError
        | ArrowError::RunEndIndexOverflowError => QueryError::Internal {
            message: error.to_string(),
        },
    }
}

impl From<&NotReadYet> for QueryError {
    fn from(not_read: &NotReadYet) -> Self {
        QueryError::NotReadYet {
            message: not_read.to_string(),
        }
    }
}

fn from_external(source: &(dyn std::error::Error + Send + Sync + 'static)) -> QueryError {
    if let Some(error) = source.downcast_ref::<QueryError>() {
        return error.clone();
    }
    if let Some(error) = source.downcast_ref::<DataFusionError>() {
        return QueryError::from_datafusion(error);
    }
    if let Some(error) = source.downcast_ref::<ArrowError>() {
        return from_arrow(error);
    }
    if let Some(error) = source.downcast_ref::<SqlError>() {
        return QueryError::Raised {
            code: error.code,
            message: error.message.clone(),
        };
    }
    if let Some(error) = source.downcast_ref::<NotReadYet>() {
        return error.into();
    }
    let message = source.to_string();
    match code_of_text(&message) {
        Some(code) => QueryError::Raised { code, message },
        None => QueryError::Storage { message },
    }
}

/// `Plan` has no structure. Texts of DataFusion 55.
fn from_plan_text(text: &str) -> QueryError {
    if let Some(code) = code_of_text(text) {
        return QueryError::Raised {
            code,
            message: first_line(text),
        };
    }
    if let Some(name) =
        between(text, "table '", "' not found").or_else(|| between(text, "table function '", "' not found"))
    {
        if text.starts_with("table function") {
            return QueryError::UnknownFunction { name: name.to_string() };
        }
        return QueryError::UnknownTable {
            name: as_the_client_knows_it(name),
        };
    }
    if let Some(name) = between(text, "Invalid function '", "'") {
        return QueryError::UnknownFunction { name: name.to_string() };
    }
    // "Function 'abs' failed to match any signature", "Failed to coerce arguments to satisfy a call to …",
    // "No function matches the given name and argument types": PostgreSQL too says that no such function exists.
    if text.contains("No function matches")
        || text.contains("failed to match any signature")
        || text.contains("coerce arguments")
    {
        return QueryError::UnknownFunction { name: first_line(text) };
    }
    if text.contains("must be in GROUP BY")
        || text.contains("must appear in the GROUP BY")
        || text.contains("must be an aggregate")
    {
        return QueryError::Grouping {
            message: first_line(text),
        };
    }
    if text.contains("Cannot coerce")
        || text.contains("Cannot infer common")
        || text.contains("common argument type")
        || text.contains("Unsupported CAST")
    {
        return QueryError::TypeMismatch {
            message: first_line(text),
        };
    }
    if text.contains("Projections require unique expression names") {
        return QueryError::DuplicateColumn {
            name: between(text, "expression \"", "\"").unwrap_or(text).to_string(),
        };
    }
    QueryError::Invalid {
        message: first_line(text),
    }
}

/// What DataFusion says of a statement, and PostgreSQL's code for it.
fn code_of_text(text: &str) -> Option<&'static str> {
    const TEXTS: &[(&str, &str)] = &[
        ("Aggregate function calls cannot be nested", "42803"),
        ("Aggregate functions are not allowed", "42803"),
        ("UNION queries have different number of columns", "42601"),
        ("Inconsistent data length across values list", "42601"),
        ("Too many columns! The subquery should only return one column", "42601"),
        ("Order by column out of bounds", "42P10"),
        ("For SELECT DISTINCT, ORDER BY expressions", "42P10"),
        ("Cannot create filter with non-boolean predicate", "42804"),
        ("Unary operator 'NOT' requires a boolean", "42804"),
        ("Unary operator '-' only supports", "42883"),
        ("Cannot coerce arithmetic expression", "42883"),
        ("common argument type for comparison operation", "42883"),
        ("Invalid qualifier", "42P01"),
        ("LIMIT must be >= 0", "2201W"),
        ("OFFSET must be >=0", "2201X"),
        ("Scalar subquery returned more than one row", "21000"),
        ("Invalid input syntax for type interval", "22007"),
        ("regex parse error", "2201B"),
        ("negative count not allowed", "22011"),
        ("negative substring length not allowed", "22011"),
        ("invalid escape string", "22025"),
        ("step can't be 0", "22023"),
        ("Step cannot be zero", "22023"),
    ];
    TEXTS
        .iter()
        .find(|(part, _)| text.contains(part))
        .map(|(_, code)| *code)
}

/// `Execution` carries what kernels and functions say about values.
fn from_execution_text(text: &str) -> QueryError {
    if let Some(code) = code_of_text(text) {
        return QueryError::Raised {
            code,
            message: text.to_string(),
        };
    }
    let lower = text.to_ascii_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return QueryError::DivisionByZero;
    }
    if lower.contains("overflow") || lower.contains("out of range") {
        return QueryError::OutOfRange {
            message: text.to_string(),
        };
    }
    if lower.contains("error parsing timestamp") || lower.contains("error parsing date") {
        return QueryError::InvalidDatetime {
            message: text.to_string(),
        };
    }
    if let Some(name) = between(text, "table '", "' not found") {
        return QueryError::UnknownTable {
            name: as_the_client_knows_it(name),
        };
    }
    QueryError::Data {
        message: text.to_string(),
    }
}

/// "Cannot cast string 'x' to value of Int32 type" is about the text, "Can't cast value 3000000000 to type Int32" about the size.
fn from_cast_text(text: &str) -> QueryError {
    if let (Some(value), Some(kind)) = (
        between(text, "Cannot cast string '", "' to value of"),
        between(text, "to value of ", " type"),
    ) {
        return QueryError::InvalidText {
            message: format!("invalid input syntax for type {}: \"{value}\"", pg_type_word(kind)),
        };
    }
    if let (Some(value), Some(kind)) = (
        between(text, "Can't cast value ", " to type"),
        text.split("to type ").nth(1),
    ) {
        return QueryError::OutOfRange {
            message: format!("value \"{value}\" is out of range for type {}", pg_type_word(kind)),
        };
    }
    if text.contains("too large") || text.contains("overflow") || text.contains("out of range") {
        return QueryError::OutOfRange {
            message: text.to_string(),
        };
    }
    if text.starts_with("Casting from") {
        return QueryError::TypeMismatch {
            message: text.to_string(),
        };
    }
    from_parse_text(text)
}

fn from_parse_text(text: &str) -> QueryError {
    if let Some(code) = code_of_text(text) {
        return QueryError::Raised {
            code,
            message: text.to_string(),
        };
    }
    let lower = text.to_ascii_lowercase();
    if lower.contains("timestamp") || lower.contains("date") || lower.contains("time") {
        return QueryError::InvalidDatetime {
            message: text.to_string(),
        };
    }
    QueryError::InvalidText {
        message: text.to_string(),
    }
}

/// Arrow's name of a type in PostgreSQL's words.
fn pg_type_word(arrow: &str) -> &str {
    match arrow.trim() {
        "Boolean" => "boolean",
        "Int8" | "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" | "UInt32" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        other => other,
    }
}

/// `spark.public.tasks` is `tasks` to a client, `spark.system.settings` is `system.settings`.
fn as_the_client_knows_it(resolved: &str) -> String {
    let parts: Vec<&str> = resolved.split('.').collect();
    match parts.as_slice() {
        [_, "public", table] | ["public", table] => (*table).to_string(),
        [_, schema, table] => format!("{schema}.{table}"),
        _ => resolved.to_string(),
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    let (found, _) = rest.split_once(after)?;
    Some(found)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::SessionContext;

    /// What DataFusion says of a statement, planned and run.
    async fn error_of(sql: &str) -> QueryError {
        let context = SessionContext::new();
        let outcome: Result<_, DataFusionError> = async { context.sql(sql).await?.collect().await }.await;
        outcome.map(|_| ()).expect_err(sql).into()
    }

    #[tokio::test]
    async fn texts_of_datafusion_are_told_apart() {
        let named = |name: &str| name.to_string();
        assert_eq!(
            error_of("SELECT * FROM nowhere").await,
            QueryError::UnknownTable { name: named("nowhere") }
        );
        assert_eq!(
            error_of("SELECT t.nothing FROM generate_series(1, 2) t(value)").await,
            QueryError::UnknownColumn {
                name: named("t.nothing")
            }
        );
        assert_eq!(error_of("SELECT 1/0").await, QueryError::DivisionByZero);
        for (sql, expected) in [
            ("SELECT nothing FROM generate_series(1, 2) t(value)", "42703"),
            ("SELECT no_such(1)", "42883"),
            ("SELECT * FROM no_such(1)", "42883"),
            ("SELECT abs('a', 'b')", "42883"),
            ("SELECT value, count(*) FROM generate_series(1, 2) t(value)", "42803"),
            ("SELECT CAST('x' AS INT)", "22P02"),
            ("SELECT CAST(3000000000 AS INT)", "22003"),
            ("SELECT CAST('yesterdayish' AS TIMESTAMP)", "22007"),
            ("SELEC 1", "42601"),
        ] {
            let error = error_of(sql).await;
            assert_eq!(error.status().sqlstate, expected, "{sql}: {error:?}");
        }
    }

    #[test]
    fn names_are_as_the_client_knows_them() {
        assert_eq!(as_the_client_knows_it("spark.public.tasks"), "tasks");
        assert_eq!(as_the_client_knows_it("spark.system.settings"), "system.settings");
        assert_eq!(between("table 'a' not found", "table '", "' not"), Some("a"));
    }
}
