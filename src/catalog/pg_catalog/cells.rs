//! Rows written as name and value → a batch of a relation. Columns a row does not name get what PostgreSQL has there by default:
//! null, or for a column that is never null 0, false, an empty text, an empty array.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    ListBuilder, RecordBatch, RecordBatchOptions, StringArray, StringBuilder, TimestampMicrosecondArray, UInt32Array,
    new_null_array,
};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::error::Result;

use super::Relation;
use crate::catalog::pg_types;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Texts(Vec<String>),
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Cell::Bool(value)
    }
}
impl From<i32> for Cell {
    fn from(value: i32) -> Self {
        Cell::Int(value.into())
    }
}
impl From<i16> for Cell {
    fn from(value: i16) -> Self {
        Cell::Int(value.into())
    }
}
impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Cell::Int(value.into())
    }
}
impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Cell::Int(value)
    }
}
impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Cell::Float(value)
    }
}
impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Cell::Text(value.to_owned())
    }
}
impl From<String> for Cell {
    fn from(value: String) -> Self {
        Cell::Text(value)
    }
}
impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

/// A row: the columns that matter, by name.
pub(crate) type Row = Vec<(&'static str, Cell)>;

/// `row![a: 1, b: "x"]`.
macro_rules! row {
    ($($name:ident : $value:expr),* $(,)?) => { vec![$((stringify!($name), $crate::catalog::pg_catalog::cells::Cell::from($value))),*] };
}
pub(crate) use row;

/// A text file of rows: the first line has the names, `\N` is null.
pub(crate) fn read_tsv(text: &'static str) -> Vec<Row> {
    let mut lines = text.lines();
    let header: Vec<&'static str> = lines.next().unwrap_or_default().split('\t').collect();
    let cell = |value: &str| {
        if value == "\\N" {
            Cell::Null
        } else {
            Cell::Text(value.to_owned())
        }
    };
    lines
        .map(|line| header.iter().copied().zip(line.split('\t').map(cell)).collect())
        .collect()
}

pub(crate) fn batch(relation: &Relation, rows: &[Row]) -> Result<RecordBatch> {
    let schema = relation.arrow_schema();
    let columns = relation.columns.iter().map(|column| {
        let missing = if column.not_null {
            default_value(column.type_oid)
        } else {
            Cell::Null
        };
        let find = |row: &Row| {
            row.iter()
                .find(|(name, _)| *name == column.name)
                .map_or_else(|| missing.clone(), |(_, c)| c.clone())
        };
        array(
            &pg_types::catalog_arrow_type(column.type_oid),
            rows.iter().map(find).collect(),
        )
    });
    let columns: Vec<ArrayRef> = columns.collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

fn default_value(type_oid: u32) -> Cell {
    match (type_oid, pg_types::catalog_arrow_type(type_oid)) {
        // A `regproc` of 0 is shown so.
        (24, _) => Cell::Text("-".into()),
        (_, DataType::Boolean) => Cell::Bool(false),
        (_, DataType::Utf8) => Cell::Text(String::new()),
        (_, DataType::List(_)) => Cell::Texts(Vec::new()),
        _ => Cell::Int(0),
    }
}

fn integer(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Int(value) => Some(*value),
        Cell::Text(text) => text.parse().ok(),
        Cell::Bool(value) => Some((*value).into()),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "estimates of row counts")]
fn float(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Float(value) => Some(*value),
        Cell::Int(value) => Some(*value as f64),
        Cell::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn boolean(cell: &Cell) -> Option<bool> {
    match cell {
        Cell::Bool(value) => Some(*value),
        Cell::Text(text) => Some(text == "t"),
        _ => None,
    }
}

fn text(cell: Cell) -> Option<String> {
    match cell {
        Cell::Null => None,
        Cell::Text(text) => Some(text),
        Cell::Bool(value) => Some(value.to_string()),
        Cell::Int(value) => Some(value.to_string()),
        Cell::Float(value) => Some(value.to_string()),
        Cell::Texts(values) => Some(format!("{{{}}}", values.join(","))),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "real columns are estimates")]
fn array(ty: &DataType, cells: Vec<Cell>) -> ArrayRef {
    let integers = || cells.iter().map(integer);
    match ty {
        DataType::Boolean => Arc::new(cells.iter().map(boolean).collect::<BooleanArray>()),
        DataType::Int16 => Arc::new(
            integers()
                .map(|v| v.and_then(|v| i16::try_from(v).ok()))
                .collect::<Int16Array>(),
        ),
        DataType::Int32 => Arc::new(
            integers()
                .map(|v| v.and_then(|v| i32::try_from(v).ok()))
                .collect::<Int32Array>(),
        ),
        DataType::Int64 => Arc::new(integers().collect::<Int64Array>()),
        DataType::UInt32 => Arc::new(
            integers()
                .map(|v| v.and_then(|v| u32::try_from(v).ok()))
                .collect::<UInt32Array>(),
        ),
        DataType::Float32 => Arc::new(
            cells
                .iter()
                .map(|c| float(c).map(|v| v as f32))
                .collect::<Float32Array>(),
        ),
        DataType::Float64 => Arc::new(cells.iter().map(float).collect::<Float64Array>()),
        DataType::Decimal128(precision, scale) => {
            let values: Decimal128Array = integers().map(|v| v.map(i128::from)).collect();
            values
                .with_precision_and_scale(*precision, *scale)
                .map_or_else(|_| new_null_array(ty, cells.len()), |v| Arc::new(v) as _)
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => Arc::new(
            integers()
                .collect::<TimestampMicrosecondArray>()
                .with_timezone_opt(zone.clone()),
        ),
        DataType::Utf8 => Arc::new(cells.into_iter().map(text).collect::<StringArray>()),
        DataType::List(item) => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for cell in cells {
                match cell {
                    Cell::Texts(values) => lists.append_value(values.into_iter().map(Some)),
                    _ => lists.append_null(),
                }
            }
            let texts = lists.finish();
            if item.data_type() == &DataType::Utf8 {
                return Arc::new(texts);
            }
            arrow::compute::cast(&texts, ty).unwrap_or_else(|_| new_null_array(ty, texts.len()))
        }
        // Nothing here has a value of any other type.
        other => new_null_array(other, cells.len()),
    }
}
