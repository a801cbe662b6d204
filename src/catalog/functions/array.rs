//! Arrays, and functions that return sets.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use super::plain::{
    Plain, Zone, bool_type, int, int4_type, int4s_type, int8s_type, lenient, no_such_function, plain, text, text_type,
    texts_type, utf8, utf8s,
};
use super::time::{clock, instant_value};
use crate::catalog::sql_error::raise;
use crate::catalog::values::{self, Interval, TIMESTAMP, instant, local, micros};

/// Rows that a set in memory may have.
const SET_LIMIT: usize = 10_000_000;

pub(super) static FUNCTIONS: &[Plain] = &[
    plain(
        "array_length",
        2..=2,
        int4_type,
        |_, a| Ok(ScalarValue::Int32(length(a)?.filter(|length| *length > 0))),
        "elements in a dimension; null for none",
    ),
    plain(
        "cardinality",
        1..=1,
        int4_type,
        |_, a| {
            Ok(ScalarValue::Int32(Some(
                i32::try_from(elements(&a[0]).len()).unwrap_or(i32::MAX),
            )))
        },
        "elements of an array",
    ),
    plain(
        "array_ndims",
        1..=1,
        int4_type,
        |_, a| {
            Ok(ScalarValue::Int32(match (list(&a[0]), dimensions(&a[0])) {
                (Some(items), _) if items.is_empty() => None,
                (_, dimensions) => Some(dimensions),
            }))
        },
        "dimensions of an array",
    ),
    plain(
        "array_dims",
        1..=1,
        text_type,
        |_, a| {
            Ok(match list(&a[0]) {
                Some(items) if !items.is_empty() => {
                    let inner = ScalarValue::try_from_array(&items, 0)?;
                    let inner = list(&inner).map_or(String::new(), |inner| format!("[1:{}]", inner.len()));
                    utf8(format!("[1:{}]{inner}", items.len()))
                }
                _ => ScalarValue::Utf8(None),
            })
        },
        "bounds of an array as text",
    ),
    lenient(
        "array_position",
        2..=3,
        int4_type,
        |_, a| {
            let from = if a.len() > 2 { int(a, 2)?.max(1) } else { 1 };
            let found = elements(&a[0])
                .into_iter()
                .zip(1_i32..)
                .find(|(item, at)| i64::from(*at) >= from && same(item, &a[1]));
            Ok(ScalarValue::Int32(found.map(|(_, at)| at)))
        },
        "place of the first element that equals",
    ),
    lenient(
        "array_positions",
        2..=2,
        int4s_type,
        |_, a| {
            if a[0].is_null() {
                return Ok(ScalarValue::Null);
            }
            let found: Vec<ScalarValue> = elements(&a[0])
                .into_iter()
                .zip(1_i32..)
                .filter(|(item, _)| same(item, &a[1]))
                .map(|(_, at)| ScalarValue::Int32(Some(at)))
                .collect();
            Ok(ScalarValue::List(ScalarValue::new_list_nullable(
                &found,
                &DataType::Int32,
            )))
        },
        "places of all elements that equal",
    ),
    lenient(
        "array_to_string",
        2..=3,
        text_type,
        |zone, a| {
            if a[0].is_null() || a[1].is_null() {
                return Ok(ScalarValue::Null);
            }
            let (separator, null) = (
                text(zone, a, 1),
                a.get(2).and_then(|value| values::text_of(value, zone.0)),
            );
            let mut parts = Vec::new();
            joined(&a[0], zone, null.as_deref(), &mut parts);
            Ok(utf8(parts.join(&separator)))
        },
        "elements with a separator between them",
    ),
    lenient(
        "string_to_array",
        2..=3,
        texts_type,
        string_to_array,
        "fields of a text as an array",
    ),
    lenient(
        "string_to_table",
        2..=3,
        texts_type,
        string_to_array,
        "fields of a text, a row each",
    ),
    lenient(
        "array_fill",
        2..=3,
        |a| Ok(DataType::new_list(a.first().cloned().unwrap_or(DataType::Utf8), true)),
        |_, a| {
            let size = elements(&a[1]);
            let [ScalarValue::Int32(Some(size))] = size.as_slice() else {
                return match size.as_slice() {
                    [one] => filled(&a[0], one.cast_to(&DataType::Int64)?),
                    _ => raise("0A000", "arrays have one dimension here"),
                };
            };
            filled(&a[0], ScalarValue::Int64(Some((*size).into())))
        },
        "an array of one value, of one dimension",
    ),
    plain(
        "trim_array",
        2..=2,
        |a| Ok(a[0].clone()),
        |_, a| {
            let items = elements(&a[0]);
            let count = int(a, 1)?;
            match usize::try_from(count)
                .ok()
                .and_then(|count| items.len().checked_sub(count))
            {
                Some(kept) => of_items(&items[..kept], &a[0].data_type()),
                None => raise(
                    "2202E",
                    format!("number of elements to trim must be between 0 and {}", items.len()),
                ),
            }
        },
        "an array without its last n elements",
    ),
    plain(
        "array__overlap",
        2..=2,
        bool_type,
        |_, a| {
            let right = elements(&a[1]);
            let common = elements(&a[0])
                .iter()
                .any(|item| !item.is_null() && right.iter().any(|other| same(item, other)));
            Ok(ScalarValue::Boolean(Some(common)))
        },
        "",
    ),
    plain(
        "array__contains",
        2..=2,
        bool_type,
        |_, a| {
            let left = elements(&a[0]);
            let all = elements(&a[1])
                .iter()
                .all(|item| !item.is_null() && left.iter().any(|other| same(item, other)));
            Ok(ScalarValue::Boolean(Some(all)))
        },
        "",
    ),
    // `x = ANY(array)`: true if an element equals, else null if `x` or an element is null and there are elements.
    lenient(
        "array__any",
        2..=2,
        bool_type,
        |_, a| {
            let items = elements(&a[1]);
            Ok(ScalarValue::Boolean(if a[1].is_null() {
                None
            } else if items.is_empty() {
                Some(false)
            } else if a[0].is_null() {
                None
            } else if items.iter().any(|item| same(item, &a[0])) {
                Some(true)
            } else if items.iter().any(ScalarValue::is_null) {
                None
            } else {
                Some(false)
            }))
        },
        "",
    ),
    // Of sorted values: what `percentile_disc`, `percentile_cont` with an array, and `mode` become.
    plain(
        "array__disc",
        2..=2,
        of_fraction,
        |_, a| {
            let items = sorted_values(&a[0]);
            fractions(&a[0], &a[1], &|fraction| {
                Ok(match items.len() {
                    0 => ScalarValue::Null,
                    count => items[place(fraction, count)].clone(),
                })
            })
        },
        "",
    ),
    plain(
        "array__cont",
        2..=2,
        of_fraction,
        |_, a| {
            let items = sorted_values(&a[0]);
            fractions(&a[0], &a[1], &|fraction| between(&items, fraction))
        },
        "",
    ),
    plain(
        "array__mode",
        1..=1,
        |a| Ok(item_type(&a[0])),
        |_, a| {
            let (mut best, mut most, mut run) = (ScalarValue::Null, 0, 0);
            let items = sorted_values(&a[0]);
            for (at, item) in items.iter().enumerate() {
                run = if at > 0 && items[at - 1] == *item { run + 1 } else { 1 };
                if run > most {
                    (best, most) = (item.clone(), run);
                }
            }
            Ok(best)
        },
        "",
    ),
    plain(
        "json__object_of",
        2..=2,
        super::plain::json_type,
        |zone, a| {
            let keys = elements(&a[0])
                .into_iter()
                .map(|key| values::text_of(&key, zone.0).unwrap_or_default());
            let fields = keys.zip(elements(&a[1]).into_iter().map(|value| values::json_of(&value, zone.0)));
            Ok(ScalarValue::LargeUtf8(Some(values::json_text(
                &serde_json::Value::Object(fields.collect()),
            ))))
        },
        "",
    ),
    lenient(
        "set__ordinals",
        1..=1,
        int8s_type,
        |_, a| {
            let count = i64::try_from(list(&a[0]).map_or(0, |items| items.len())).unwrap_or(0);
            let numbers: Vec<ScalarValue> = (1..=count).map(|number| ScalarValue::Int64(Some(number))).collect();
            Ok(ScalarValue::List(ScalarValue::new_list_nullable(
                &numbers,
                &DataType::Int64,
            )))
        },
        "",
    ),
    plain(
        "generate_series",
        2..=3,
        series_type,
        series,
        "numbers or times from one to another, a row each",
    ),
    plain(
        "pg_get_keywords",
        0..=0,
        |_| Ok(DataType::new_list(DataType::Struct(keyword_fields()), true)),
        |_, _| keywords(),
        "key words of SQL, a row each",
    ),
];

fn list(value: &ScalarValue) -> Option<ArrayRef> {
    if value.is_null() {
        return None;
    }
    match value {
        ScalarValue::List(list) => Some(list.value(0)),
        ScalarValue::LargeList(list) => Some(list.value(0)),
        ScalarValue::FixedSizeList(list) => Some(list.value(0)),
        _ => None,
    }
}

fn elements(value: &ScalarValue) -> Vec<ScalarValue> {
    let Some(items) = list(value) else { return Vec::new() };
    (0..items.len())
        .filter_map(|at| ScalarValue::try_from_array(&items, at).ok())
        .collect()
}

fn of_items(items: &[ScalarValue], list: &DataType) -> Result<ScalarValue> {
    match list {
        DataType::List(item) => Ok(ScalarValue::List(ScalarValue::new_list_nullable(
            items,
            item.data_type(),
        ))),
        other => raise("42804", format!("{other} is no array")),
    }
}

/// Equal, nulls to nulls, numbers of any width to each other.
fn same(a: &ScalarValue, b: &ScalarValue) -> bool {
    match (a.is_null(), b.is_null()) {
        (true, true) => true,
        (false, false) => a == b || b.cast_to(&a.data_type()).is_ok_and(|b| *a == b),
        _ => false,
    }
}

fn dimensions(value: &ScalarValue) -> i32 {
    let mut ty = value.data_type();
    let mut count = 0;
    while let DataType::List(item) = ty {
        count += 1;
        ty = item.data_type().clone();
    }
    count
}

fn length(a: &[ScalarValue]) -> Result<Option<i32>> {
    let mut items = list(&a[0]);
    for _ in 1..int(a, 1)? {
        items = match items {
            Some(outer) if !outer.is_empty() => list(&ScalarValue::try_from_array(&outer, 0)?),
            _ => None,
        };
    }
    Ok(match int(a, 1)? {
        1.. => items.and_then(|items| i32::try_from(items.len()).ok()),
        _ => None,
    })
}

fn joined(value: &ScalarValue, zone: Zone, null: Option<&str>, parts: &mut Vec<String>) {
    for item in elements(value) {
        if matches!(item, ScalarValue::List(_)) && !item.is_null() {
            joined(&item, zone, null, parts);
            continue;
        }
        match (values::text_of(&item, zone.0), null) {
            (Some(text), _) if matches!(item, ScalarValue::Boolean(_)) => parts.push(text[..1].to_owned()),
            (Some(text), _) => parts.push(text),
            (None, Some(null)) => parts.push(null.to_owned()),
            (None, None) => {}
        }
    }
}

fn string_to_array(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    if a[0].is_null() {
        return Ok(ScalarValue::Null);
    }
    let whole = text(zone, a, 0);
    let null = a.get(2).and_then(|value| values::text_of(value, zone.0));
    let fields: Vec<String> = match values::text_of(&a[1], zone.0) {
        _ if whole.is_empty() => Vec::new(),
        None => whole.chars().map(String::from).collect(),
        Some(by) if by.is_empty() => vec![whole],
        Some(by) => whole.split(by.as_str()).map(str::to_owned).collect(),
    };
    Ok(utf8s(
        fields
            .into_iter()
            .map(|field| (null.as_deref() != Some(&field)).then_some(field)),
    ))
}

fn filled(value: &ScalarValue, size: ScalarValue) -> Result<ScalarValue> {
    let ScalarValue::Int64(Some(size)) = size else {
        return Ok(ScalarValue::Null);
    };
    match usize::try_from(size) {
        Ok(size) if size <= SET_LIMIT => Ok(ScalarValue::List(ScalarValue::new_list_nullable(
            &vec![value.clone(); size],
            &value.data_type(),
        ))),
        _ => raise("54000", "array size exceeds the maximum allowed"),
    }
}

fn item_type(list: &DataType) -> DataType {
    match list {
        DataType::List(item) => item.data_type().clone(),
        _ => DataType::Utf8,
    }
}

/// One value for a fraction, a list for a list of fractions.
fn of_fraction(arguments: &[DataType]) -> Result<DataType> {
    let item = item_type(&arguments[0]);
    Ok(match arguments[1] {
        DataType::List(_) => DataType::new_list(item, true),
        _ => item,
    })
}

fn sorted_values(list: &ScalarValue) -> Vec<ScalarValue> {
    elements(list).into_iter().filter(|item| !item.is_null()).collect()
}

fn fractions(list: &ScalarValue, asked: &ScalarValue, of: &dyn Fn(f64) -> Result<ScalarValue>) -> Result<ScalarValue> {
    let fraction = |value: &ScalarValue| match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(Some(fraction))) if (0.0..=1.0).contains(&fraction) => of(fraction),
        _ => raise("22003", "percentile value is not between 0 and 1"),
    };
    match asked {
        ScalarValue::List(_) => {
            let ty = item_type(&list.data_type());
            let found = elements(asked)
                .iter()
                .map(|asked| fraction(asked)?.cast_to(&ty))
                .collect::<Result<Vec<_>>>()?;
            Ok(ScalarValue::List(ScalarValue::new_list_nullable(&found, &ty)))
        }
        one => fraction(one),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a place in a list in memory"
)]
fn place(fraction: f64, count: usize) -> usize {
    ((fraction * count as f64).ceil() as usize).clamp(1, count) - 1
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a place in a list in memory"
)]
fn between(items: &[ScalarValue], fraction: f64) -> Result<ScalarValue> {
    if items.is_empty() {
        return Ok(ScalarValue::Null);
    }
    let at = fraction * (items.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    let share = at - at.floor();
    if let (Some(low), Some(high)) = (Interval::of(&items[low]), Interval::of(&items[high])) {
        let part = |low: i64, high: i64| low + ((high - low) as f64 * share).round() as i64;
        return Interval {
            months: low.months,
            days: low.days,
            micros: part(low.micros, high.micros),
        }
        .value();
    }
    match (
        items[low].cast_to(&DataType::Float64)?,
        items[high].cast_to(&DataType::Float64)?,
    ) {
        (ScalarValue::Float64(Some(low)), ScalarValue::Float64(Some(high))) => {
            Ok(ScalarValue::Float64(Some(low + (high - low) * share)))
        }
        _ => Ok(ScalarValue::Null),
    }
}

// Sets

fn series_type(arguments: &[DataType]) -> Result<DataType> {
    use DataType::{Date32, Decimal128, Int16, Int32, Int64, Timestamp, Utf8};
    let item = match arguments {
        [Int16 | Int32, Int16 | Int32] | [Int16 | Int32, Int16 | Int32, Int16 | Int32] => Int32,
        all if all.iter().all(DataType::is_integer) => Int64,
        all if all.iter().all(|ty| ty.is_integer() || matches!(ty, Decimal128(..))) => {
            let scale = all
                .iter()
                .map(|ty| if let Decimal128(_, scale) = ty { *scale } else { 0 })
                .max();
            Decimal128(38, scale.unwrap_or(0))
        }
        [Timestamp(_, None), ..] => TIMESTAMP,
        [Timestamp(_, Some(_)) | Date32, ..] => values::timestamptz_type(),
        [Utf8, Timestamp(_, None), ..] => TIMESTAMP,
        _ => return no_such_function("generate_series", arguments),
    };
    Ok(DataType::new_list(item, true))
}

fn series(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let types: Vec<DataType> = a.iter().map(ScalarValue::data_type).collect();
    let DataType::List(item) = series_type(&types)? else {
        return Ok(ScalarValue::Null);
    };
    let item = item.data_type().clone();
    let mut values = Vec::new();
    let mut push = |value: ScalarValue| {
        if values.len() >= SET_LIMIT {
            return raise(
                "54000",
                format!("a set of more than {SET_LIMIT} rows beside a table is not possible here"),
            );
        }
        values.push(value);
        Ok(())
    };
    if item.is_integer() || matches!(item, DataType::Decimal128(..)) {
        let scale = if let DataType::Decimal128(_, scale) = item {
            scale
        } else {
            0
        };
        let exact = DataType::Decimal128(38, scale);
        let number = |at: usize| -> Result<i128> {
            match a.get(at).map(|value| value.cast_to(&exact)) {
                Some(Ok(ScalarValue::Decimal128(Some(value), ..))) => Ok(value),
                None => Ok(10_i128.pow(u32::try_from(scale).unwrap_or(0))),
                _ => raise("22P02", "a number is expected here"),
            }
        };
        let (mut next, stop, step) = (number(0)?, number(1)?, number(2)?);
        if step == 0 {
            return raise("22023", "step size cannot equal zero");
        }
        while if step > 0 { next <= stop } else { next >= stop } {
            push(ScalarValue::Decimal128(Some(next), 38, scale).cast_to(&item)?)?;
            next += step;
        }
    } else {
        let step = match a.get(2) {
            Some(step) => match Interval::of(step) {
                Some(step) => step,
                None => Interval::parse(&text(zone, a, 2))?,
            },
            None => return no_such_function("generate_series", &types),
        };
        if step.span() == 0 {
            return raise("22023", "step size cannot equal zero");
        }
        let zoned = item != TIMESTAMP;
        let (mut next, stop) = (clock(zone, &a[0])?, clock(zone, &a[1])?);
        let forwards = step.span() > 0;
        while if forwards { next <= stop } else { next >= stop } {
            push(match zoned {
                true => instant_value(instant(next, zone.0)),
                false => ScalarValue::TimestampMicrosecond(Some(micros(next)), None),
            })?;
            next = match zoned && step.months == 0 && step.days == 0 {
                // Hours of an instant are as long as they are, whatever the clock does.
                true => local(instant(next, zone.0) + step.micros, zone.0)?,
                false => step.add_to(next)?,
            };
        }
    }
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(&values, &item)))
}

fn keyword_fields() -> Fields {
    let field = |name: &str, ty: DataType| Field::new(name, ty, true);
    Fields::from(vec![
        field("word", DataType::Utf8),
        field("catcode", DataType::Utf8),
        field("barelabel", DataType::Boolean),
        field("catdesc", DataType::Utf8),
        field("baredesc", DataType::Utf8),
    ])
}

/// PostgreSQL 15's own list (`data/keywords.tsv`).
fn keywords() -> Result<ScalarValue> {
    use arrow::array::{BooleanArray, StringArray, StructArray};
    let rows: Vec<Vec<&str>> = include_str!("../pg_catalog/data/keywords.tsv")
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect())
        .collect();
    let texts =
        |at: usize| -> ArrayRef { Arc::new(rows.iter().map(|row| row.get(at).copied()).collect::<StringArray>()) };
    let bare: ArrayRef = Arc::new(
        rows.iter()
            .map(|row| row.get(2).map(|bare| *bare == "t"))
            .collect::<BooleanArray>(),
    );
    let rows = StructArray::try_new(
        keyword_fields(),
        vec![texts(0), texts(1), bare, texts(3), texts(4)],
        None,
    )?;
    let items: Vec<ScalarValue> = (0..rows.len())
        .map(|at| ScalarValue::try_from_array(&rows, at))
        .collect::<Result<_>>()?;
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(
        &items,
        rows.data_type(),
    )))
}
