//! Rows of a statement → Spark's JSON. The statement's column names say where a value goes; nothing here knows an entity.
//!
//! - `jobId` is a member; `memoryMetrics.usedOnHeapStorageMemory` a member of a nested object. Members stand in the order of the columns.
//! - A null is left out, and so is an object of which nothing is left.
//! - `taskMetrics.?`, a boolean, says whether that object is there; if it is, its nulls are 0 (a metric that the log lacks).
//! - `@name` is for the handler and not written. `#name` ends a part of the object: handlers write something of their own between parts.
//! - Structs inside of lists and maps are objects, their fields named back from ours: `memory_used_bytes` is `memoryUsed`.
//! - Instants are `2015-02-03T16:42:40.000GMT`.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Fields, Float64Type, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};

use super::json::Json;

/// How the rows of one statement become objects.
#[derive(Debug)]
pub(super) struct Shape {
    parts: Vec<Vec<(String, Node)>>,
}

#[derive(Debug)]
enum Node {
    Value {
        column: usize,
        kind: Kind,
    },
    Object {
        presence: Option<usize>,
        members: Vec<(String, Node)>,
    },
}

/// The JSON form of an Arrow type.
#[derive(Debug)]
enum Kind {
    Bool,
    Int32,
    Int64,
    Double,
    Text,
    Date,
    List(Box<Kind>),
    Map(Box<Kind>),
    Struct(Vec<(String, Kind)>),
    /// No row of this type has a value that REST shows.
    Nothing,
}

impl Kind {
    fn of(data_type: &DataType) -> Kind {
        match data_type {
            DataType::Boolean => Kind::Bool,
            DataType::Int32 => Kind::Int32,
            DataType::Int64 => Kind::Int64,
            DataType::Float64 => Kind::Double,
            DataType::Utf8 => Kind::Text,
            DataType::Timestamp(TimeUnit::Microsecond, _) => Kind::Date,
            DataType::List(item) => Kind::List(Box::new(Kind::of(item.data_type()))),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => Kind::Map(Box::new(Kind::of(fields[1].data_type()))),
                _ => Kind::Nothing,
            },
            DataType::Struct(fields) => Kind::Struct(members_of(fields)),
            _ => Kind::Nothing,
        }
    }
}

fn members_of(fields: &Fields) -> Vec<(String, Kind)> {
    fields
        .iter()
        .map(|field| (rest_name(field.name()), Kind::of(field.data_type())))
        .collect()
}

/// `memory_used_bytes` → `memoryUsed`: the rule of our column names backwards.
fn rest_name(column: &str) -> String {
    let name = ["_bytes", "_ms", "_ns"]
        .iter()
        .find_map(|unit| column.strip_suffix(unit))
        .unwrap_or(column);
    let mut words = name.split('_');
    let mut rest = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        rest.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        rest.push_str(letters.as_str());
    }
    rest
}

impl Shape {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let mut parts = vec![Vec::new()];
        for (column, field) in schema.fields().iter().enumerate() {
            if field.name().starts_with('#') {
                parts.push(Vec::new());
            } else if !field.name().starts_with('@')
                && let Some(part) = parts.last_mut()
            {
                insert(part, field.name(), column, field.data_type());
            }
        }
        Shape { parts }
    }

    /// The members of a row, into the open object.
    pub(super) fn members(&self, json: &mut Json, batch: &RecordBatch, row: usize) {
        for part in &self.parts {
            write_members(part, json, batch, row, false);
        }
    }

    /// Those of one part.
    pub(super) fn part(&self, part: usize, json: &mut Json, batch: &RecordBatch, row: usize) {
        write_members(&self.parts[part], json, batch, row, false);
    }

    /// A row as an object.
    pub(super) fn object(&self, json: &mut Json, batch: &RecordBatch, row: usize) {
        json.begin_object();
        self.members(json, batch, row);
        json.end_object();
    }
}

fn insert(members: &mut Vec<(String, Node)>, path: &str, column: usize, data_type: &DataType) {
    let Some((head, rest)) = path.split_once('.') else {
        let kind = Kind::of(data_type);
        members.push((path.to_owned(), Node::Value { column, kind }));
        return;
    };
    let at = members.iter().position(|(name, _)| name == head).unwrap_or_else(|| {
        let node = Node::Object {
            presence: None,
            members: Vec::new(),
        };
        members.push((head.to_owned(), node));
        members.len() - 1
    });
    if let Node::Object { presence, members } = &mut members[at].1 {
        if rest == "?" {
            *presence = Some(column);
        } else {
            insert(members, rest, column, data_type);
        }
    }
}

fn write_members(members: &[(String, Node)], json: &mut Json, batch: &RecordBatch, row: usize, null_is_zero: bool) {
    for (name, node) in members {
        match node {
            Node::Value { column, kind } => {
                let array = batch.column(*column);
                if array.is_valid(row) {
                    json.key(name);
                    write_value(kind, json, array, row);
                } else if null_is_zero {
                    json.key(name);
                    json.int(0);
                }
            }
            Node::Object { presence, members } => {
                let zero = match presence {
                    Some(column) => {
                        let there = batch.column(*column).as_boolean();
                        if there.is_null(row) || !there.value(row) {
                            continue;
                        }
                        true
                    }
                    None if null_is_zero => true,
                    None if has_value(members, batch, row) => false,
                    None => continue,
                };
                json.key(name);
                json.begin_object();
                write_members(members, json, batch, row, zero);
                json.end_object();
            }
        }
    }
}

fn has_value(members: &[(String, Node)], batch: &RecordBatch, row: usize) -> bool {
    members.iter().any(|(_, node)| match node {
        Node::Value { column, .. } => batch.column(*column).is_valid(row),
        Node::Object { members, .. } => has_value(members, batch, row),
    })
}

fn write_value(kind: &Kind, json: &mut Json, array: &dyn Array, row: usize) {
    if array.is_null(row) {
        return json.null();
    }
    match kind {
        Kind::Bool => json.bool(array.as_boolean().value(row)),
        Kind::Int32 => json.int(array.as_primitive::<Int32Type>().value(row).into()),
        Kind::Int64 => json.int(array.as_primitive::<Int64Type>().value(row)),
        Kind::Double => json.double(array.as_primitive::<Float64Type>().value(row)),
        Kind::Text => json.string(array.as_string::<i32>().value(row)),
        Kind::Date => json.date(
            array
                .as_primitive::<TimestampMicrosecondType>()
                .value(row)
                .div_euclid(1000),
        ),
        Kind::List(item) => {
            let items = array.as_list::<i32>().value(row);
            json.begin_array();
            for at in 0..items.len() {
                json.element();
                write_value(item, json, &items, at);
            }
            json.end_array();
        }
        Kind::Map(value) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1));
            json.begin_object();
            for at in 0..keys.len() {
                json.key(keys.value(at));
                write_value(value, json, values, at);
            }
            json.end_object();
        }
        Kind::Struct(members) => {
            let fields = array.as_struct();
            json.begin_object();
            for ((name, kind), field) in members.iter().zip(fields.columns()) {
                if field.is_valid(row) {
                    json.key(name);
                    write_value(kind, json, field, row);
                }
            }
            json.end_object();
        }
        Kind::Nothing => json.null(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};

    use super::*;

    #[test]
    fn column_names_say_where_values_go() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(vec![1, 2]))),
            ("name", Arc::new(StringArray::from(vec![Some("one"), None]))),
            ("@hidden", Arc::new(Int64Array::from(vec![9, 9]))),
            ("metrics.?", Arc::new(BooleanArray::from(vec![true, false]))),
            ("metrics.in.bytes", Arc::new(Int64Array::from(vec![None, Some(5)]))),
            ("memory.used", Arc::new(Int64Array::from(vec![None, Some(7)]))),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
                .unwrap();
        let shape = Shape::new(&batch.schema());
        let objects = [0, 1].map(|row| {
            let mut json = Json::default();
            shape.object(&mut json, &batch, row);
            serde_json::from_slice::<serde_json::Value>(&json.take())
                .unwrap()
                .to_string()
        });
        assert_eq!(objects[0], r#"{"id":1,"name":"one","metrics":{"in":{"bytes":0}}}"#);
        assert_eq!(objects[1], r#"{"id":2,"memory":{"used":7}}"#);
    }

    #[test]
    fn names_lose_their_units() {
        let names = [
            "memory_used_bytes",
            "discovery_script",
            "name",
            "on_heap_memory_remaining_bytes",
        ]
        .map(rest_name);
        assert_eq!(
            names,
            ["memoryUsed", "discoveryScript", "name", "onHeapMemoryRemaining"]
        );
    }
}
