//! One value of an Arrow array as JSON, or as the text of a cell.
//!
//! Instants are `2026-11-21T06:00:00.000Z` in both, with microseconds only where they are not whole milliseconds. Numbers
//! that JSON does not have (NaN, infinities) are strings, as PostgreSQL's `to_json` writes them.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, RecordBatch, StructArray};
use arrow::datatypes::*;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, NaiveDateTime};

/// A row as a JSON object.
pub(super) fn write_row(out: &mut String, batch: &RecordBatch, row: usize) {
    out.push('{');
    for (index, (field, column)) in batch.schema_ref().fields().iter().zip(batch.columns()).enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(out, field.name());
        out.push(':');
        write_value(out, column, row);
    }
    out.push('}');
}

/// A value as JSON, NULL as `null`.
pub(super) fn write_value(out: &mut String, array: &ArrayRef, row: usize) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match array.data_type() {
        DataType::Null => out.push_str("null"),
        DataType::Float16 => write_float(out, f64::from(array.as_primitive::<Float16Type>().value(row))),
        // From its own digits: 0.1 as f32 is 0.10000000149 as f64.
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            match serde_json::to_string(&value) {
                Ok(text) if value.is_finite() => out.push_str(&text),
                _ => write_string(out, &float_text(f64::from(value))),
            }
        }
        DataType::Float64 => write_float(out, array.as_primitive::<Float64Type>().value(row)),
        DataType::List(_) => write_list(out, &array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => write_list(out, &array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => write_list(out, &array.as_fixed_size_list().value(row)),
        DataType::ListView(_) => write_list(out, &array.as_list_view::<i32>().value(row)),
        DataType::LargeListView(_) => write_list(out, &array.as_list_view::<i64>().value(row)),
        DataType::Struct(_) => write_struct(out, array.as_struct(), row),
        DataType::Map(..) => write_map(out, array.as_map(), row),
        DataType::Dictionary(..) => {
            let (values, key) = dictionary_value(array, row);
            write_value(out, &values, key);
        }
        plain => {
            let is_json = plain.is_integer() || plain.is_decimal() || *plain == DataType::Boolean;
            let mut text = String::new();
            write_text(&mut text, array, row);
            if is_json {
                out.push_str(&text);
            } else {
                write_string(out, &text);
            }
        }
    }
}

/// A value as the text of a cell: nothing for NULL, JSON for lists, structs and maps.
pub(super) fn write_text(out: &mut String, array: &ArrayRef, row: usize) {
    if array.is_null(row) {
        return;
    }
    // Writing to a string cannot fail.
    match array.data_type() {
        DataType::Null => {}
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int8 => integer(out, array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => integer(out, array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => integer(out, array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => integer(out, array.as_primitive::<Int64Type>().value(row).into()),
        DataType::UInt8 => integer(out, array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => integer(out, array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => integer(out, array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => integer(out, array.as_primitive::<UInt64Type>().value(row).into()),
        DataType::Float16 => out.push_str(&float_text(f64::from(array.as_primitive::<Float16Type>().value(row)))),
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            match serde_json::to_string(&value) {
                Ok(text) if value.is_finite() => out.push_str(text.strip_suffix(".0").unwrap_or(&text)),
                _ => out.push_str(&float_text(f64::from(value))),
            }
        }
        DataType::Float64 => out.push_str(&float_text(array.as_primitive::<Float64Type>().value(row))),
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => out.push_str(array.as_string::<i64>().value(row)),
        DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
        DataType::Binary => hex(out, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => hex(out, array.as_binary::<i64>().value(row)),
        DataType::BinaryView => hex(out, array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => hex(out, array.as_fixed_size_binary().value(row)),
        DataType::Timestamp(unit, zone) => {
            let (value, per_second) = match unit {
                TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().value(row), 1),
                TimeUnit::Millisecond => (array.as_primitive::<TimestampMillisecondType>().value(row), 1_000),
                TimeUnit::Microsecond => (array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000),
                TimeUnit::Nanosecond => (
                    array.as_primitive::<TimestampNanosecondType>().value(row),
                    1_000_000_000,
                ),
            };
            instant(out, value, per_second, zone.is_some());
        }
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Struct(_)
        | DataType::Map(..) => write_value(out, array, row),
        DataType::Dictionary(..) => {
            let (values, key) = dictionary_value(array, row);
            write_text(out, &values, key);
        }
        // Dates, times of day, intervals, decimals: as Arrow writes them.
        _ => {
            let options = FormatOptions::default().with_display_error(true);
            if let Ok(formatter) = ArrayFormatter::try_new(array, &options) {
                write!(out, "{}", formatter.value(row)).ok();
            }
        }
    }
}

/// Whether columns of this type are aligned to the right.
pub(super) fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// A JSON string.
pub(super) fn write_string(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Where the value of a row that is not null lies. Only this row's key is looked at.
fn dictionary_value(array: &ArrayRef, row: usize) -> (ArrayRef, usize) {
    let one = array.slice(row, 1);
    let dictionary = one.as_any_dictionary();
    (ArrayRef::clone(dictionary.values()), dictionary.normalized_keys()[0])
}

fn write_list(out: &mut String, items: &ArrayRef) {
    out.push('[');
    for item in 0..items.len() {
        if item > 0 {
            out.push(',');
        }
        write_value(out, items, item);
    }
    out.push(']');
}

fn write_struct(out: &mut String, array: &StructArray, row: usize) {
    out.push('{');
    for (index, (field, column)) in array.fields().iter().zip(array.columns()).enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(out, field.name());
        out.push(':');
        write_value(out, column, row);
    }
    out.push('}');
}

fn write_map(out: &mut String, array: &MapArray, row: usize) {
    let entries = array.value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    out.push('{');
    for entry in 0..entries.len() {
        if entry > 0 {
            out.push(',');
        }
        let mut key = String::new();
        write_text(&mut key, keys, entry);
        write_string(out, &key);
        out.push(':');
        write_value(out, values, entry);
    }
    out.push('}');
}

fn write_float(out: &mut String, value: f64) {
    match serde_json::Number::from_f64(value) {
        Some(number) => write!(out, "{number}").unwrap_or_default(),
        None => write_string(out, &float_text(value)),
    }
}

/// The shortest digits that give the number again, without `.0`; `NaN`, `Infinity`, `-Infinity` as PostgreSQL has them.
fn float_text(value: f64) -> String {
    match serde_json::Number::from_f64(value) {
        Some(number) => {
            let text = number.to_string();
            text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
        }
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

fn integer(out: &mut String, value: i128) {
    write!(out, "{value}").unwrap_or_default();
}

/// As PostgreSQL shows `bytea`.
fn hex(out: &mut String, bytes: &[u8]) {
    out.push_str("\\x");
    for byte in bytes {
        write!(out, "{byte:02x}").unwrap_or_default();
    }
}

/// `zoned` values are UTC and end in `Z`; a timestamp without a time zone has none to show.
fn instant(out: &mut String, value: i64, per_second: i64, zoned: bool) {
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let time: Option<NaiveDateTime> = u32::try_from(nanos)
        .ok()
        .and_then(|nanos| DateTime::from_timestamp(value.div_euclid(per_second), nanos))
        .map(|time| time.naive_utc());
    let Some(time) = time else {
        // Beyond the calendar: the number is all that can be said.
        integer(out, value.into());
        return;
    };
    let format = match nanos {
        nanos if nanos % 1_000_000 == 0 => "%Y-%m-%dT%H:%M:%S%.3f",
        nanos if nanos % 1_000 == 0 => "%Y-%m-%dT%H:%M:%S%.6f",
        _ => "%Y-%m-%dT%H:%M:%S%.9f",
    };
    write!(out, "{}", time.format(format)).unwrap_or_default();
    if zoned {
        out.push('Z');
    }
}
