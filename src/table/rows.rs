//! Builds record batches of one table, row by row, cell by cell in the order of its columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, ListArray, MapArray, NullBufferBuilder,
    RecordBatch, StringArray, StringBuilder, StringViewBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};

use super::{TableDef, Type};

/// A column that has the same text in each of its rows.
pub fn repeated(text: &str, rows: usize) -> ArrayRef {
    let ends = OffsetBuffer::from_repeated_length(text.len(), rows);
    let texts = Buffer::from_vec(text.as_bytes().repeat(rows));
    Arc::new(StringArray::new(ends, texts, None))
}

/// The value of one cell. Integers are given wide.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// An instant, milliseconds since the epoch (Spark's unit; stored in microseconds).
    Millis(i64),
    List(Vec<Value<'a>>),
    Map(Vec<(&'a str, Value<'a>)>),
    Struct(Vec<Value<'a>>),
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}
impl From<i32> for Value<'_> {
    fn from(value: i32) -> Self {
        Value::Int(i64::from(value))
    }
}
impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}
impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(value)
    }
}
impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Value::Text(value)
    }
}
impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<'a> Value<'a> {
    pub fn list<T: Into<Value<'a>>>(items: impl IntoIterator<Item = T>) -> Self {
        Value::List(items.into_iter().map(Into::into).collect())
    }

    pub fn map<T: Into<Value<'a>>>(entries: impl IntoIterator<Item = (&'a str, T)>) -> Self {
        Value::Map(entries.into_iter().map(|(key, value)| (key, value.into())).collect())
    }

    pub fn millis(instant: Option<i64>) -> Self {
        instant.map_or(Value::Null, Value::Millis)
    }
}

/// A number that a column cannot hold is its largest or smallest: only a damaged log has one.
fn saturated(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}

/// The cells of one column so far.
#[derive(Debug)]
enum Cells {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
    SharedText(StringViewBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    List {
        ends: Vec<i32>,
        validity: NullBufferBuilder,
        item: Box<Cells>,
        len: usize,
    },
    Map {
        ends: Vec<i32>,
        validity: NullBufferBuilder,
        keys: StringBuilder,
        values: Box<Cells>,
        len: usize,
    },
    Struct {
        fields: Vec<Cells>,
        validity: NullBufferBuilder,
    },
}

impl Cells {
    fn new(ty: Type, capacity: usize) -> Self {
        match ty {
            Type::Bool => Cells::Bool(BooleanBuilder::with_capacity(capacity)),
            Type::Int32 => Cells::Int32(Int32Builder::with_capacity(capacity)),
            Type::Int64 => Cells::Int64(Int64Builder::with_capacity(capacity)),
            Type::Float64 => Cells::Float64(Float64Builder::with_capacity(capacity)),
            Type::Text => Cells::Text(StringBuilder::with_capacity(capacity, capacity * 8)),
            Type::SharedText => Cells::SharedText(StringViewBuilder::with_capacity(capacity)),
            Type::Timestamp => {
                Cells::Timestamp(TimestampMicrosecondBuilder::with_capacity(capacity).with_timezone("UTC"))
            }
            Type::List(item) => Cells::List {
                ends: vec![0],
                validity: NullBufferBuilder::new(capacity),
                item: Box::new(Cells::new(*item, 0)),
                len: 0,
            },
            Type::Map(value) => Cells::Map {
                ends: vec![0],
                validity: NullBufferBuilder::new(capacity),
                keys: StringBuilder::with_capacity(0, 0),
                values: Box::new(Cells::new(*value, 0)),
                len: 0,
            },
            Type::Struct(fields) => Cells::Struct {
                fields: fields.iter().map(|(_, ty)| Cells::new(*ty, capacity)).collect(),
                validity: NullBufferBuilder::new(capacity),
            },
        }
    }

    fn push(&mut self, value: Value<'_>) {
        match (self, value) {
            (Cells::Bool(cells), Value::Bool(v)) => cells.append_value(v),
            (Cells::Int32(cells), Value::Int(v)) => cells.append_value(saturated(v)),
            (Cells::Int64(cells), Value::Int(v)) => cells.append_value(v),
            (Cells::Float64(cells), Value::Float(v)) => cells.append_value(v),
            (Cells::Text(cells), Value::Text(v)) => cells.append_value(v),
            (Cells::SharedText(cells), Value::Text(v)) => cells.append_value(v),
            (Cells::Timestamp(cells), Value::Millis(v)) => cells.append_value(v.saturating_mul(1000)),
            (
                Cells::List {
                    ends,
                    validity,
                    item,
                    len,
                },
                Value::List(items),
            ) => {
                *len += items.len();
                items.into_iter().for_each(|value| item.push(value));
                ends.push(i32::try_from(*len).expect("a batch has far fewer than 2^31 list items"));
                validity.append_non_null();
            }
            (
                Cells::Map {
                    ends,
                    validity,
                    keys,
                    values,
                    len,
                },
                Value::Map(entries),
            ) => {
                *len += entries.len();
                for (key, value) in entries {
                    keys.append_value(key);
                    values.push(value);
                }
                ends.push(i32::try_from(*len).expect("a batch has far fewer than 2^31 map entries"));
                validity.append_non_null();
            }
            (Cells::Struct { fields, validity }, Value::Struct(values)) => {
                assert_eq!(fields.len(), values.len(), "a struct value has a value for each field");
                for (cells, value) in fields.iter_mut().zip(values) {
                    cells.push(value);
                }
                validity.append_non_null();
            }
            (cells, Value::Null) => cells.push_null(),
            (cells, value) => unreachable!("{value:?} given for a column of {cells:?}: a row builder is wrong"),
        }
    }

    fn push_null(&mut self) {
        match self {
            Cells::Bool(cells) => cells.append_null(),
            Cells::Int32(cells) => cells.append_null(),
            Cells::Int64(cells) => cells.append_null(),
            Cells::Float64(cells) => cells.append_null(),
            Cells::Text(cells) => cells.append_null(),
            Cells::SharedText(cells) => cells.append_null(),
            Cells::Timestamp(cells) => cells.append_null(),
            Cells::List { ends, validity, .. } | Cells::Map { ends, validity, .. } => {
                ends.push(*ends.last().expect("starts with 0"));
                validity.append_null();
            }
            Cells::Struct { fields, validity } => {
                fields.iter_mut().for_each(Cells::push_null);
                validity.append_null();
            }
        }
    }

    fn finish(&mut self, data_type: &DataType) -> ArrayRef {
        match self {
            Cells::Bool(cells) => Arc::new(cells.finish()),
            Cells::Int32(cells) => Arc::new(cells.finish()),
            Cells::Int64(cells) => Arc::new(cells.finish()),
            Cells::Float64(cells) => Arc::new(cells.finish()),
            Cells::Text(cells) => Arc::new(cells.finish()),
            Cells::SharedText(cells) => Arc::new(cells.finish()),
            Cells::Timestamp(cells) => Arc::new(cells.finish()),
            Cells::List {
                ends,
                validity,
                item,
                len,
            } => {
                let DataType::List(field) = data_type else {
                    unreachable!("a list column is a list")
                };
                *len = 0;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                let items = item.finish(field.data_type());
                Arc::new(ListArray::new(Arc::clone(field), offsets, items, validity.finish()))
            }
            Cells::Map {
                ends,
                validity,
                keys,
                values,
                len,
            } => {
                let DataType::Map(field, sorted) = data_type else {
                    unreachable!("a map column is a map")
                };
                let DataType::Struct(entry) = field.data_type() else {
                    unreachable!("a map has entries")
                };
                *len = 0;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                let values = values.finish(entry[1].data_type());
                let entries = StructArray::new(entry.clone(), vec![Arc::new(keys.finish()), values], None);
                Arc::new(MapArray::new(
                    Arc::clone(field),
                    offsets,
                    entries,
                    validity.finish(),
                    *sorted,
                ))
            }
            Cells::Struct { fields, validity } => {
                let DataType::Struct(types) = data_type else {
                    unreachable!("a struct column is a struct")
                };
                let types: &Fields = types;
                let arrays: Vec<ArrayRef> = fields
                    .iter_mut()
                    .zip(types.iter())
                    .map(|(cells, field): (_, &Arc<Field>)| cells.finish(field.data_type()))
                    .collect();
                Arc::new(StructArray::new(types.clone(), arrays, validity.finish()))
            }
        }
    }
}

/// Rows of one table so far. Every row is given as its cells in the order of the columns, then [`Rows::end_row`].
#[derive(Debug)]
pub struct Rows {
    def: &'static TableDef,
    schema: SchemaRef,
    cells: Vec<Cells>,
    next: usize,
    len: usize,
}

impl Rows {
    pub fn new(def: &'static TableDef, capacity: usize) -> Self {
        Rows {
            def,
            schema: def.arrow_schema(),
            cells: def
                .columns
                .iter()
                .map(|column| Cells::new(column.ty, capacity))
                .collect(),
            next: 0,
            len: 0,
        }
    }

    /// The next cell of the row.
    #[inline]
    pub fn push<'a>(&mut self, value: impl Into<Value<'a>>) -> &mut Self {
        self.cells[self.next].push(value.into());
        self.next += 1;
        self
    }

    /// Ends a row. Its cells must be as many as the table has columns: anything else is a bug of the row builder.
    pub fn end_row(&mut self) {
        assert_eq!(
            self.next,
            self.cells.len(),
            "a row of {} has a cell for each column",
            self.def.name
        );
        self.next = 0;
        self.len += 1;
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The rows so far as a batch; the builder goes on empty.
    pub fn finish(&mut self) -> RecordBatch {
        self.len = 0;
        let columns = self
            .cells
            .iter_mut()
            .zip(self.schema.fields())
            .map(|(cells, field)| cells.finish(field.data_type()))
            .collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns).expect("the cells follow the table's definition")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Column;
    use arrow::util::pretty::pretty_format_batches;

    static NESTED: TableDef = TableDef {
        schema: "public",
        name: "nested",
        grain: "one row per test",
        sort_order: &[],
        columns: &[
            Column::new("id", Type::Int32, "", "", ""),
            Column::null("at", Type::Timestamp, "", "", ""),
            Column::null("tags", Type::List(&Type::Text), "", "", ""),
            Column::null("counts", Type::Map(&Type::Int32), "", "", ""),
            Column::null(
                "pairs",
                Type::List(&Type::Struct(&[("a", Type::Int64), ("b", Type::Text)])),
                "",
                "",
                "",
            ),
        ],
    };

    #[test]
    fn a_repeated_text_is_in_every_row() {
        for (text, rows) in [("ä1", 3), ("", 2), ("a", 0)] {
            let expected: ArrayRef = Arc::new(StringArray::from(vec![text; rows]));
            assert_eq!(&repeated(text, rows), &expected);
        }
    }

    #[test]
    fn rows_of_nested_values_and_nulls_come_back_as_given_and_the_builder_starts_anew() {
        let mut rows = Rows::new(&NESTED, 2);
        for _ in 0..2 {
            rows.push(1)
                .push(Value::Millis(1_000))
                .push(Value::list(["x", "y"]))
                .push(Value::map([("k", 7)]));
            rows.push(Value::List(vec![
                Value::Struct(vec![Value::Int(5), Value::Null]),
                Value::Null,
            ]));
            rows.end_row();
            rows.push(2)
                .push(Value::Null)
                .push(Value::Null)
                .push(Value::Map(vec![]))
                .push(Value::List(vec![]));
            rows.end_row();
            let batch = rows.finish();
            let expected = "\
+----+----------------------+--------+--------+-----------------+
| id | at                   | tags   | counts | pairs           |
+----+----------------------+--------+--------+-----------------+
| 1  | 1970-01-01T00:00:01Z | [x, y] | {k: 7} | [{a: 5, b: }, ] |
| 2  |                      |        | {}     | []              |
+----+----------------------+--------+--------+-----------------+";
            assert_eq!(pretty_format_batches(&[batch]).unwrap().to_string(), expected);
        }
    }
}
