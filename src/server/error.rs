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

use crate::catalog::Refused;
use crate::history::NotReadYet;

/// A statement that failed. Two situations a client or an operator treats differently are two variants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("{message}")]
    Syntax { message: String },
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
    /// A user may not do that.
    #[error("{message}")]
    Forbidden { message: String },
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
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => QueryError::Syntax {
            message: format!("syntax error: {text}"),
        },
        ParserError::RecursionLimitExceeded => QueryError::TooComplex,
    }
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
    if let Some(error) = source.downcast_ref::<NotReadYet>() {
        return error.into();
    }
    if let Some(refused) = source.downcast_ref::<Refused>() {
        let message = refused.to_string();
        return match refused {
            Refused::NullSetting => QueryError::InvalidParameter { message },
            Refused::NotYours { .. } => QueryError::Forbidden { message },
        };
    }
    QueryError::Storage {
        message: source.to_string(),
    }
}

/// `Plan` has no structure. Texts of DataFusion 55.
fn from_plan_text(text: &str) -> QueryError {
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

/// `Execution` carries what kernels and functions say about values.
fn from_execution_text(text: &str) -> QueryError {
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
