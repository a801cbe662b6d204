//! The public contract: tables, columns, types, units, where each value comes from. Knows Arrow, nothing else.
//!
//! Docs (`docs/schema.md`), `pg_description`, the REST shape and the parity tests read these definitions.
//! Naming rules are in `docs/schema.md`; a test holds every column to them.

mod applications;
pub mod docs;
mod environment;
mod executors;
mod jobs;
pub mod metrics;
mod rollups;
mod rows;
mod sql;
mod stage_executors;
mod stages;
mod storage;
mod streaming;
mod tasks;

use std::sync::{Arc, LazyLock};

pub use applications::{APPLICATION_ATTEMPTS, APPLICATIONS};
pub(crate) use applications::{MAXIMA, SUMMED};
pub use environment::{ENVIRONMENT, ENVIRONMENT_SECTIONS, PROPERTIES_OF_A_SECTION, RESOURCE_PROFILES};
pub use executors::{EXECUTORS, MISCELLANEOUS_PROCESSES};
pub use jobs::JOBS;
pub use rollups::{BLOCKS_FETCHED, EXECUTOR_HOURLY, MEASURE_COUNT, MEASURES, STAGE_QUANTILES, STAGE_SUMMARY};
pub use rows::{Rows, Value, repeated};
pub use sql::{SQL_EXECUTIONS, SQL_PLAN_EDGES, SQL_PLAN_NODES};
pub use stage_executors::STAGE_EXECUTORS;
pub use stages::STAGES;
pub use storage::{RDD_PARTITIONS, RDDS};
pub use streaming::{STREAMING_BATCHES, STREAMING_QUERIES};
pub use tasks::TASKS;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// The type of a column. On disk and over Flight it is [`Type::arrow`]; over the PostgreSQL wire lists of scalars are arrays,
/// and structs, maps and lists of structs are `jsonb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int32,
    Int64,
    Float64,
    Text,
    /// A text that many rows share: in memory they share its bytes as well, and it may be long. Only of tables that SQL does not show.
    SharedText,
    /// An instant: microseconds since the epoch, UTC.
    Timestamp,
    List(&'static Type),
    /// Text keys.
    Map(&'static Type),
    Struct(&'static [(&'static str, Type)]),
}

impl Type {
    pub fn arrow(self) -> DataType {
        match self {
            Type::Bool => DataType::Boolean,
            Type::Int32 => DataType::Int32,
            Type::Int64 => DataType::Int64,
            Type::Float64 => DataType::Float64,
            Type::Text => DataType::Utf8,
            Type::SharedText => DataType::Utf8View,
            Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Type::List(item) => DataType::List(Arc::new(Field::new("item", item.arrow(), true))),
            Type::Map(value) => DataType::Map(
                Arc::new(Field::new(
                    "entries",
                    DataType::Struct(Fields::from(vec![
                        Field::new("key", DataType::Utf8, false),
                        Field::new("value", value.arrow(), true),
                    ])),
                    false,
                )),
                false,
            ),
            Type::Struct(fields) => DataType::Struct(
                fields
                    .iter()
                    .map(|(name, ty)| Field::new(*name, ty.arrow(), true))
                    .collect(),
            ),
        }
    }
}

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub ty: Type,
    pub nullable: bool,
    /// Path of the field in Spark's v1 REST model of the entity (`taskMetrics.executorRunTime`), `""` where REST has none.
    pub rest: &'static str,
    /// The Spark event and field, or the rule, the value comes from.
    pub source: &'static str,
    /// What it means, for people.
    pub doc: &'static str,
}

impl Column {
    /// A column that is never null.
    pub const fn new(
        name: &'static str,
        ty: Type,
        rest: &'static str,
        source: &'static str,
        doc: &'static str,
    ) -> Self {
        Column {
            name,
            ty,
            nullable: false,
            rest,
            source,
            doc,
        }
    }

    /// A column that is null where the log has no value, or where it has not happened.
    pub const fn null(
        name: &'static str,
        ty: Type,
        rest: &'static str,
        source: &'static str,
        doc: &'static str,
    ) -> Self {
        Column {
            name,
            ty,
            nullable: true,
            rest,
            source,
            doc,
        }
    }
}

/// A table: what one row is, how rows are sorted, and its columns.
#[derive(Debug)]
pub struct TableDef {
    pub schema: &'static str,
    pub name: &'static str,
    /// "one row per …"
    pub grain: &'static str,
    pub sort_order: &'static [&'static str],
    pub columns: &'static [Column],
}

impl TableDef {
    pub fn arrow_schema(&self) -> SchemaRef {
        /// The schemas of the stored tables: each replay of a log asks for all of them.
        static SCHEMAS: LazyLock<[SchemaRef; ALL.len()]> =
            LazyLock::new(|| ALL.map(|table| table.stored_as().new_schema()));
        match stored().position(|table| std::ptr::eq(table, self)) {
            Some(at) => Arc::clone(&SCHEMAS[at]),
            None => self.new_schema(),
        }
    }

    fn new_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.columns
                .iter()
                .map(|c| Field::new(c.name, c.ty.arrow(), c.nullable))
                .collect::<Vec<_>>(),
        ))
    }

    /// The table that has its rows where they are kept: nearly always itself.
    pub fn stored_as(&'static self) -> &'static TableDef {
        if std::ptr::eq(self, &ENVIRONMENT) {
            &ENVIRONMENT_SECTIONS
        } else {
            self
        }
    }

    /// As a statement names it: with its schema unless that is `public`.
    pub fn sql_name(&self) -> String {
        match self.schema {
            "public" => self.name.to_owned(),
            schema => format!("{schema}.{}", self.name),
        }
    }

    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}

static ALL: [&TableDef; 19] = [
    &APPLICATIONS,
    &APPLICATION_ATTEMPTS,
    &JOBS,
    &STAGES,
    &TASKS,
    &EXECUTORS,
    &STAGE_EXECUTORS,
    &MISCELLANEOUS_PROCESSES,
    &RDDS,
    &RDD_PARTITIONS,
    &SQL_EXECUTIONS,
    &SQL_PLAN_NODES,
    &SQL_PLAN_EDGES,
    &STREAMING_QUERIES,
    &STREAMING_BATCHES,
    &ENVIRONMENT,
    &RESOURCE_PROFILES,
    &STAGE_SUMMARY,
    &EXECUTOR_HOURLY,
];

/// Every table with rows of its own, as SQL shows them: those that the replay of a log fills, then those made of them (schema `rollup`), in
/// the order of the documentation.
pub fn all() -> &'static [&'static TableDef] {
    &ALL
}

/// The tables that replay fills and the cache holds, in the order of [`all`]: what SQL shows is made of these.
pub fn stored() -> impl Iterator<Item = &'static TableDef> {
    ALL.iter().map(|table| table.stored_as())
}

/// Accumulators that users made: neither Spark's internal ones nor those of SQL metrics.
const ACCUMULABLES: Type = Type::List(&Type::Struct(&[
    ("id", Type::Int64),
    ("name", Type::Text),
    ("update", Type::Text),
    ("value", Type::Text),
]));

/// Key columns that several tables share.
mod keys {
    use super::{Column, Type};

    pub(super) const APP_ID: Column =
        Column::new("app_id", Type::Text, "", "ApplicationStart: App ID", "application id");
    pub(super) const ATTEMPT_ID: Column = Column::new(
        "attempt_id",
        Type::Text,
        "",
        "ApplicationStart: App Attempt ID",
        "attempt of the application, '' where the cluster manager has none",
    );
    pub(super) const STAGE_ID: Column = Column::new(
        "stage_id",
        Type::Int32,
        "stageId",
        "Stage ID",
        "a retried stage keeps its id",
    );
    pub(super) const STAGE_ATTEMPT_ID: Column = Column::new(
        "stage_attempt_id",
        Type::Int32,
        "attemptId",
        "Stage Attempt ID",
        "attempt of the stage, from 0",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_documented_and_named_by_the_rules() {
        for table in all().iter().copied().chain([&ENVIRONMENT_SECTIONS]) {
            assert!(table.grain.starts_with("one row per "), "{}", table.name);
            for key in table.sort_order {
                assert!(
                    table.column(key).is_some(),
                    "{} sorts by {key}, which it does not have",
                    table.name
                );
            }
            for (i, column) in table.columns.iter().enumerate() {
                let full = format!("{}.{}", table.name, column.name);
                assert!(
                    !column.doc.is_empty() && !column.source.is_empty(),
                    "{full} is not documented"
                );
                assert!(
                    column
                        .name
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
                    "{full}"
                );
                assert!(
                    !table.columns[..i].iter().any(|other| other.name == column.name),
                    "{full} is there twice"
                );
                if column.ty == Type::Timestamp {
                    let named = ["_time", "_updated", "_start"]
                        .iter()
                        .any(|end| column.name.ends_with(end));
                    assert!(named, "{full} is an instant and does not say so");
                }
                let number = column.name.trim_end_matches("_quantiles");
                if number.contains("duration") || number.contains("_time") {
                    let unit = ["_ms", "_ns", "_time", "_skew"].iter().any(|end| number.ends_with(end));
                    assert!(unit, "{full} is a span of time without a unit");
                }
                if column.name.contains("memory") && column.ty == Type::Int64 {
                    assert!(column.name.contains("bytes"), "{full} is memory without a unit");
                }
            }
        }
    }
}
