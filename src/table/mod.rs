//! The public contract: tables, columns, types, units, where each value comes from. Knows Arrow, nothing else.
//!
//! Docs (`docs/schema.md`), `pg_description`, the REST shape and the parity tests read these definitions.
//! Naming rules are in `docs/schema.md`; a test holds every column to them.

use std::sync::Arc;

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
        Arc::new(Schema::new(
            self.columns
                .iter()
                .map(|c| Field::new(c.name, c.ty.arrow(), c.nullable))
                .collect::<Vec<_>>(),
        ))
    }

    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// Every table of `public`, in the order of the documentation.
pub fn all() -> &'static [&'static TableDef] {
    &[]
}
