//! JSON: what SQL computes, and the nested columns of tables, which are JSON to PostgreSQL's clients.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use serde_json::{Map, Value};

use super::plain::{
    Plain, Zone, bool_type, int4_type, json_type, jsons_type, lenient, plain, text, text_type, texts_type, utf8, utf8s,
};
use crate::catalog::sql_error::{raise, sql_error};
use crate::catalog::values::{self, JSON, json_argument, json_as_text, json_of, json_text};

pub(super) static FUNCTIONS: &[Plain] = &[
    // What operators and casts become
    plain(
        "json__read",
        1..=1,
        json_type,
        |zone, a| found(json_argument(&a[0], zone.0)?),
        "",
    ),
    // `json` is the text it is read from.
    plain(
        "json__check",
        1..=1,
        json_type,
        |zone, a| {
            let document = json_argument(&a[0], zone.0)?;
            Ok(match &a[0] {
                ScalarValue::Utf8(Some(text)) => ScalarValue::LargeUtf8(Some(text.clone())),
                _ => return found(document),
            })
        },
        "",
    ),
    plain(
        "json__get",
        2..=2,
        json_type,
        |zone, a| found(member(&document(zone, a)?, &a[1], zone.0).cloned()),
        "",
    ),
    plain(
        "json__get_text",
        2..=2,
        text_type,
        |zone, a| {
            Ok(ScalarValue::Utf8(
                member(&document(zone, a)?, &a[1], zone.0).and_then(json_as_text),
            ))
        },
        "",
    ),
    plain(
        "json__path",
        2..=2,
        json_type,
        |zone, a| found(at_path(&document(zone, a)?, &path(&a[1], zone)?).cloned()),
        "",
    ),
    plain(
        "json__path_text",
        2..=2,
        text_type,
        |zone, a| {
            Ok(ScalarValue::Utf8(
                at_path(&document(zone, a)?, &path(&a[1], zone)?).and_then(json_as_text),
            ))
        },
        "",
    ),
    plain(
        "json__contains",
        2..=2,
        bool_type,
        |zone, a| {
            let inner = json_argument(&a[1], zone.0)?.unwrap_or_default();
            Ok(ScalarValue::Boolean(Some(contains(&document(zone, a)?, &inner, true))))
        },
        "",
    ),
    plain(
        "json__has",
        2..=2,
        bool_type,
        |zone, a| Ok(ScalarValue::Boolean(Some(has(&document(zone, a)?, &text(zone, a, 1))))),
        "",
    ),
    plain(
        "json__has_any",
        2..=2,
        bool_type,
        |zone, a| {
            let document = document(zone, a)?;
            Ok(ScalarValue::Boolean(Some(
                path(&a[1], zone)?.iter().any(|key| has(&document, key)),
            )))
        },
        "",
    ),
    plain(
        "json__has_all",
        2..=2,
        bool_type,
        |zone, a| {
            let document = document(zone, a)?;
            Ok(ScalarValue::Boolean(Some(
                path(&a[1], zone)?.iter().all(|key| has(&document, key)),
            )))
        },
        "",
    ),
    plain(
        "json__concat",
        2..=2,
        json_type,
        |zone, a| {
            let right = json_argument(&a[1], zone.0)?.unwrap_or_default();
            found(Some(match (document(zone, a)?, right) {
                (Value::Object(mut left), Value::Object(right)) => {
                    left.extend(right);
                    Value::Object(left)
                }
                (left, right) => {
                    let items = |value| {
                        if let Value::Array(items) = value {
                            items
                        } else {
                            vec![value]
                        }
                    };
                    Value::Array(items(left).into_iter().chain(items(right)).collect())
                }
            }))
        },
        "",
    ),
    plain(
        "json__without",
        2..=2,
        json_type,
        |zone, a| {
            let mut document = document(zone, a)?;
            for key in removed_keys(&a[1], zone)? {
                remove(&mut document, &key);
            }
            found(Some(document))
        },
        "",
    ),
    plain(
        "json__without_path",
        2..=2,
        json_type,
        |zone, a| {
            let mut document = document(zone, a)?;
            let path = path(&a[1], zone)?;
            if let Some((last, parents)) = path.split_last()
                && let Some(parent) = at_path_mut(&mut document, parents)
            {
                remove(parent, last);
            }
            found(Some(document))
        },
        "",
    ),
    plain(
        "json__equals",
        2..=2,
        bool_type,
        |zone, a| {
            Ok(ScalarValue::Boolean(Some(
                json_text(&document(zone, a)?) == json_text(&json_argument(&a[1], zone.0)?.unwrap_or_default()),
            )))
        },
        "",
    ),
    // Functions; those for `json` and `jsonb` are the same here
    TYPEOF,
    TYPEOF.under("json_typeof"),
    ARRAY_LENGTH,
    ARRAY_LENGTH.under("json_array_length"),
    ARRAY_ELEMENTS,
    ARRAY_ELEMENTS.under("json_array_elements"),
    ARRAY_ELEMENTS_TEXT,
    ARRAY_ELEMENTS_TEXT.under("json_array_elements_text"),
    OBJECT_KEYS,
    OBJECT_KEYS.under("json_object_keys"),
    EACH,
    EACH.under("json_each"),
    EACH_TEXT,
    EACH_TEXT.under("json_each_text"),
    BUILD_OBJECT,
    BUILD_OBJECT.under("json_build_object"),
    BUILD_ARRAY,
    BUILD_ARRAY.under("json_build_array"),
    TO_JSON,
    TO_JSON.under("to_jsonb"),
    plain(
        "array_to_json",
        1..=2,
        json_type,
        |zone, a| found(Some(json_of(&a[0], zone.0))),
        "an array as JSON",
    ),
    plain(
        "row_to_json",
        1..=2,
        json_type,
        |zone, a| found(Some(json_of(&a[0], zone.0))),
        "a row as JSON",
    ),
    plain(
        "jsonb_set",
        3..=4,
        json_type,
        |zone, a| {
            let mut document = document(zone, a)?;
            let path = path(&a[1], zone)?;
            let new = json_argument(&a[2], zone.0)?.unwrap_or_default();
            let create = !matches!(a.get(3), Some(ScalarValue::Boolean(Some(false))));
            if let Some((last, parents)) = path.split_last()
                && let Some(parent) = at_path_mut(&mut document, parents)
            {
                match parent {
                    Value::Object(fields) if create || fields.contains_key(last) => {
                        fields.insert(last.clone(), new);
                    }
                    Value::Array(items) => match index(last, items.len()) {
                        Some(at) => items[at] = new,
                        None if create => items.push(new),
                        None => {}
                    },
                    _ => {}
                }
            }
            found(Some(document))
        },
        "JSON with another value at a path",
    ),
    plain(
        "jsonb_insert",
        3..=4,
        json_type,
        |zone, a| {
            let mut document = document(zone, a)?;
            let path = path(&a[1], zone)?;
            let new = json_argument(&a[2], zone.0)?.unwrap_or_default();
            let after = matches!(a.get(3), Some(ScalarValue::Boolean(Some(true))));
            if let Some((last, parents)) = path.split_last()
                && let Some(parent) = at_path_mut(&mut document, parents)
            {
                match parent {
                    Value::Object(fields) if !fields.contains_key(last) => {
                        fields.insert(last.clone(), new);
                    }
                    Value::Array(items) => {
                        let at = index(last, items.len()).map_or(items.len(), |at| at + usize::from(after));
                        items.insert(at.min(items.len()), new);
                    }
                    _ => {}
                }
            }
            found(Some(document))
        },
        "JSON with a further value at a path",
    ),
    plain(
        "jsonb_strip_nulls",
        1..=1,
        json_type,
        |zone, a| {
            let mut document = document(zone, a)?;
            strip(&mut document);
            found(Some(document))
        },
        "JSON without fields that are null",
    ),
    plain(
        "jsonb_pretty",
        1..=1,
        text_type,
        |zone, a| {
            let mut text = String::new();
            pretty(&document(zone, a)?, 0, &mut text);
            Ok(utf8(text))
        },
        "JSON on lines, indented",
    ),
    EXTRACT_PATH,
    EXTRACT_PATH.under("json_extract_path"),
    EXTRACT_PATH_TEXT,
    EXTRACT_PATH_TEXT.under("json_extract_path_text"),
    OBJECT,
    OBJECT.under("jsonb_object"),
];

// What JSON calls by two names

const TYPEOF: Plain = plain(
    "jsonb_typeof",
    1..=1,
    text_type,
    kind,
    "`object`, `array`, `string`, `number`, `boolean`, `null`; also `json_typeof`",
);
const ARRAY_LENGTH: Plain = plain(
    "jsonb_array_length",
    1..=1,
    int4_type,
    array_length,
    "elements of an array; also `json_array_length`",
);
const ARRAY_ELEMENTS: Plain = plain(
    "jsonb_array_elements",
    1..=1,
    jsons_type,
    elements,
    "a row for each element; also `json_…`",
);
const ARRAY_ELEMENTS_TEXT: Plain = plain(
    "jsonb_array_elements_text",
    1..=1,
    texts_type,
    element_texts,
    "the same as text; also `json_…`",
);
const OBJECT_KEYS: Plain = plain(
    "jsonb_object_keys",
    1..=1,
    texts_type,
    keys,
    "a row for each key; also `json_object_keys`",
);
const EACH: Plain = plain(
    "jsonb_each",
    1..=1,
    |_| Ok(pairs_type(JSON)),
    |zone, a| each(zone, a, false),
    "a row for each key and value; also `json_each`",
);
const EACH_TEXT: Plain = plain(
    "jsonb_each_text",
    1..=1,
    |_| Ok(pairs_type(DataType::Utf8)),
    |zone, a| each(zone, a, true),
    "the same as text; also `json_each_text`",
);
const BUILD_OBJECT: Plain = lenient(
    "jsonb_build_object",
    0..=200,
    json_type,
    build_object,
    "an object of keys and values; also `json_build_object`",
);
const BUILD_ARRAY: Plain = lenient(
    "jsonb_build_array",
    0..=200,
    json_type,
    build_array,
    "an array of values; also `json_build_array`",
);
const TO_JSON: Plain = plain(
    "to_json",
    1..=1,
    json_type,
    |zone, a| found(Some(json_of(&a[0], zone.0))),
    "any value as JSON; also `to_jsonb`",
);
const EXTRACT_PATH: Plain = plain(
    "jsonb_extract_path",
    1..=100,
    json_type,
    |zone, a| found(at_path(&document(zone, a)?, &rest(zone, a)).cloned()),
    "`#>` with the keys as arguments; also `json_…`",
);
const EXTRACT_PATH_TEXT: Plain = plain(
    "jsonb_extract_path_text",
    1..=100,
    text_type,
    |zone, a| {
        Ok(ScalarValue::Utf8(
            at_path(&document(zone, a)?, &rest(zone, a)).and_then(json_as_text),
        ))
    },
    "`#>>` with the keys as arguments; also `json_…`",
);
const OBJECT: Plain = plain(
    "json_object",
    1..=2,
    json_type,
    object,
    "an object of an array of texts; also `jsonb_object`",
);

fn found(value: Option<Value>) -> Result<ScalarValue> {
    Ok(ScalarValue::LargeUtf8(value.map(|value| json_text(&value))))
}

fn document(zone: Zone, a: &[ScalarValue]) -> Result<Value> {
    Ok(json_argument(&a[0], zone.0)?.unwrap_or_default())
}

fn index(key: &str, length: usize) -> Option<usize> {
    let at: i64 = key.parse().ok()?;
    let at = if at < 0 { at + i64::try_from(length).ok()? } else { at };
    usize::try_from(at).ok().filter(|at| *at < length)
}

fn member<'a>(document: &'a Value, key: &ScalarValue, zone: Tz) -> Option<&'a Value> {
    let is_number = key.data_type().is_integer();
    let key = values::text_of(key, zone)?;
    match document {
        Value::Object(fields) if !is_number => fields.get(&key),
        Value::Array(items) if is_number => index(&key, items.len()).and_then(|at| items.get(at)),
        _ => None,
    }
}

fn at_path<'a>(document: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(document, |value, key| match value {
        Value::Object(fields) => fields.get(key),
        Value::Array(items) => index(key, items.len()).and_then(|at| items.get(at)),
        _ => None,
    })
}

fn at_path_mut<'a>(document: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(document, |value, key| match value {
        Value::Object(fields) => fields.get_mut(key),
        Value::Array(items) => match index(key, items.len()) {
            Some(at) => items.get_mut(at),
            None => None,
        },
        _ => None,
    })
}

/// The keys of a path: an array, or its text.
fn path(value: &ScalarValue, zone: Zone) -> Result<Vec<String>> {
    let items = match value {
        ScalarValue::List(_) => value.clone(),
        other => {
            let text = values::text_of(other, zone.0).unwrap_or_default();
            let list = DataType::new_list(DataType::Utf8, true);
            values::parse(&text, &list, zone.0)?.unwrap_or(ScalarValue::Null)
        }
    };
    let ScalarValue::List(list) = items else {
        return Ok(Vec::new());
    };
    let items = list.value(0);
    (0..items.len())
        .map(|at| Ok(values::text_of(&ScalarValue::try_from_array(&items, at)?, zone.0).unwrap_or_default()))
        .collect()
}

fn rest(zone: Zone, a: &[ScalarValue]) -> Vec<String> {
    (1..a.len()).map(|at| text(zone, a, at)).collect()
}

fn has(document: &Value, key: &str) -> bool {
    match document {
        Value::Object(fields) => fields.contains_key(key),
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
        Value::String(text) => text == key,
        _ => false,
    }
}

fn contains(outer: &Value, inner: &Value, is_top: bool) -> bool {
    match (outer, inner) {
        (Value::Object(outer), Value::Object(inner)) => inner
            .iter()
            .all(|(key, value)| outer.get(key).is_some_and(|found| contains(found, value, false))),
        (Value::Array(outer), Value::Array(inner)) => inner
            .iter()
            .all(|value| outer.iter().any(|found| contains(found, value, false))),
        (Value::Array(outer), scalar) if is_top && !scalar.is_object() => outer.contains(scalar),
        (outer, inner) => outer == inner,
    }
}

fn removed_keys(value: &ScalarValue, zone: Zone) -> Result<Vec<String>> {
    match value {
        ScalarValue::List(_) => path(value, zone),
        other => Ok(values::text_of(other, zone.0).into_iter().collect()),
    }
}

fn remove(document: &mut Value, key: &str) {
    match document {
        Value::Object(fields) => {
            fields.shift_remove(key);
        }
        Value::Array(items) => match index(key, items.len()) {
            Some(at) => {
                items.remove(at);
            }
            None => items.retain(|item| item.as_str() != Some(key)),
        },
        _ => {}
    }
}

fn kind(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(utf8(match document(zone, a)? {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }))
}

fn array(zone: Zone, a: &[ScalarValue], what: &str) -> Result<Vec<Value>> {
    match document(zone, a)? {
        Value::Array(items) => Ok(items),
        Value::Object(_) => raise("22023", format!("cannot {what} an object")),
        _ => raise("22023", format!("cannot {what} a scalar")),
    }
}

fn array_length(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    match document(zone, a)? {
        Value::Array(items) => Ok(ScalarValue::Int32(i32::try_from(items.len()).ok())),
        Value::Object(_) => raise("22023", "cannot get array length of a non-array"),
        _ => raise("22023", "cannot get array length of a scalar"),
    }
}

fn jsons(items: impl IntoIterator<Item = Value>) -> ScalarValue {
    let items: Vec<ScalarValue> = items
        .into_iter()
        .map(|item| ScalarValue::LargeUtf8(Some(json_text(&item))))
        .collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&items, &JSON))
}

fn elements(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(jsons(array(zone, a, "extract elements from")?))
}

fn element_texts(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(utf8s(array(zone, a, "extract elements from")?.iter().map(json_as_text)))
}

fn fields(zone: Zone, a: &[ScalarValue], what: &str) -> Result<Vec<(String, Value)>> {
    match document(zone, a)? {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
            fields.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
            Ok(fields)
        }
        Value::Array(_) => raise("22023", format!("cannot call {what} on an array")),
        _ => raise("22023", format!("cannot call {what} on a scalar")),
    }
}

fn keys(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(utf8s(
        fields(zone, a, "jsonb_object_keys")?
            .into_iter()
            .map(|(key, _)| Some(key)),
    ))
}

fn pair_fields(value: DataType) -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", value, true),
    ])
}

fn pairs_type(value: DataType) -> DataType {
    DataType::new_list(DataType::Struct(pair_fields(value)), true)
}

fn each(zone: Zone, a: &[ScalarValue], as_text: bool) -> Result<ScalarValue> {
    use arrow::array::{Array, ArrayRef, LargeStringArray, StringArray, StructArray};
    let fields = fields(zone, a, "jsonb_each")?;
    let keys: ArrayRef = Arc::new(
        fields
            .iter()
            .map(|(key, _)| Some(key.as_str()))
            .collect::<StringArray>(),
    );
    let values: ArrayRef = if as_text {
        Arc::new(
            fields
                .iter()
                .map(|(_, value)| json_as_text(value))
                .collect::<StringArray>(),
        )
    } else {
        Arc::new(
            fields
                .iter()
                .map(|(_, value)| Some(json_text(value)))
                .collect::<LargeStringArray>(),
        )
    };
    let ty = pair_fields(if as_text { DataType::Utf8 } else { JSON });
    let rows = StructArray::try_new(ty, vec![keys, values], None)?;
    let items = (0..rows.len())
        .map(|at| ScalarValue::try_from_array(&rows, at))
        .collect::<Result<Vec<_>>>()?;
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(
        &items,
        rows.data_type(),
    )))
}

fn build_object(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    if !a.len().is_multiple_of(2) {
        return raise("22023", "argument list must have even number of elements");
    }
    let mut object = Map::new();
    for pair in a.chunks(2) {
        let Some(key) = values::text_of(&pair[0], zone.0) else {
            return raise("22023", "argument 1: key must not be null");
        };
        object.insert(key, json_of(&pair[1], zone.0));
    }
    found(Some(Value::Object(object)))
}

fn build_array(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    found(Some(Value::Array(
        a.iter().map(|value| json_of(value, zone.0)).collect(),
    )))
}

fn strip(document: &mut Value) {
    match document {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

fn pretty(value: &Value, depth: usize, text: &mut String) {
    let indent = |depth: usize| format!("\n{}", "    ".repeat(depth));
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
            text.push('{');
            for (at, (key, item)) in fields.into_iter().enumerate() {
                text.push_str(if at > 0 { "," } else { "" });
                text.push_str(&indent(depth + 1));
                text.push_str(&format!("{}: ", Value::String(key.clone())));
                pretty(item, depth + 1, text);
            }
            text.push_str(&indent(depth));
            text.push('}');
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at > 0 { "," } else { "" });
                text.push_str(&indent(depth + 1));
                pretty(item, depth + 1, text);
            }
            text.push_str(&indent(depth));
            text.push(']');
        }
        other => text.push_str(&json_text(other)),
    }
}

fn object(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let keys = path(&a[0], zone)?;
    let pairs: Vec<(String, String)> = match a.get(1) {
        Some(values) => keys.into_iter().zip(path(values, zone)?).collect(),
        None if keys.len() % 2 == 0 => keys.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
        None => return Err(sql_error("2202E", "array must have even number of elements")),
    };
    found(Some(Value::Object(
        pairs
            .into_iter()
            .map(|(key, value)| (key, Value::String(value)))
            .collect(),
    )))
}
