//! Parameters of a `Bind`: bytes of a declared type to a value, text and binary. Nothing is trusted: every length is checked.

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use bytes::{Buf, Bytes};
use datafusion::scalar::ScalarValue;

use super::error::PgError;
use crate::catalog::pg_types::{JSONB, REGCLASS, REGTYPE, UUID, parameter_type};
use crate::catalog::read_text;
use crate::server::query::QueryError;

const EPOCH_2000_US: i64 = 946_684_800_000_000;
const EPOCH_2000_DAYS: i32 = 10_957;

/// `number` counts from one, for messages; `zone` is that of the session, for times that come as text.
pub(super) fn parameter(
    number: usize,
    oid: u32,
    binary: bool,
    value: Option<&Bytes>,
    zone: &str,
) -> Result<ScalarValue, PgError> {
    let target = parameter_type(oid).unwrap_or(DataType::Utf8);
    let Some(value) = value else {
        return ScalarValue::try_from(&target).map_err(|error| PgError::new("0A000", error.to_string()));
    };
    if binary {
        let wrong = || {
            PgError::new(
                "22P03",
                format!("incorrect binary data format in bind parameter {number}"),
            )
        };
        let mut bytes = value.clone();
        let scalar = from_binary(oid, &target, &mut bytes).ok_or_else(wrong)?;
        return if bytes.has_remaining() {
            Err(wrong())
        } else {
            Ok(scalar)
        };
    }
    let text =
        std::str::from_utf8(value).map_err(|_| PgError::new("22021", "invalid byte sequence for encoding \"UTF8\""))?;
    Ok(read_text(text, &target, zone).map_err(QueryError::from)?)
}

fn from_binary(oid: u32, target: &DataType, bytes: &mut Bytes) -> Option<ScalarValue> {
    Some(match target {
        DataType::Boolean => ScalarValue::Boolean(Some(bytes.try_get_u8().ok()? != 0)),
        DataType::Int16 => ScalarValue::Int16(Some(bytes.try_get_i16().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(bytes.try_get_i32().ok()?)),
        // An oid is four bytes of a type that we keep as bigint.
        DataType::Int64 if bytes.len() == 4 => ScalarValue::Int64(Some(i64::from(bytes.try_get_u32().ok()?))),
        DataType::Int64 => ScalarValue::Int64(Some(bytes.try_get_i64().ok()?)),
        DataType::Float32 => ScalarValue::Float32(Some(bytes.try_get_f32().ok()?)),
        DataType::Float64 => ScalarValue::Float64(Some(bytes.try_get_f64().ok()?)),
        DataType::Decimal128(..) => {
            let text = numeric_text(bytes)?;
            ScalarValue::Utf8(Some(text)).cast_to(target).ok()?
        }
        DataType::Binary => ScalarValue::Binary(Some(bytes.split_off(0).to_vec())),
        DataType::Date32 => ScalarValue::Date32(Some(bytes.try_get_i32().ok()?.checked_add(EPOCH_2000_DAYS)?)),
        DataType::Time64(_) => ScalarValue::Time64Nanosecond(Some(bytes.try_get_i64().ok()?.checked_mul(1000)?)),
        DataType::Timestamp(_, zone) => ScalarValue::TimestampMicrosecond(
            Some(bytes.try_get_i64().ok()?.checked_add(EPOCH_2000_US)?),
            zone.clone(),
        ),
        DataType::Interval(_) => {
            let nanoseconds = bytes.try_get_i64().ok()?.checked_mul(1000)?;
            let days = bytes.try_get_i32().ok()?;
            let months = bytes.try_get_i32().ok()?;
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano {
                months,
                days,
                nanoseconds,
            }))
        }
        DataType::List(item) => return array_from_binary(item.data_type(), bytes),
        _ => ScalarValue::Utf8(Some(text_from_binary(oid, bytes)?)),
    })
}

fn text_from_binary(oid: u32, bytes: &mut Bytes) -> Option<String> {
    let mut all = bytes.split_off(0);
    if oid == UUID {
        let hex: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
        return (hex.len() == 32).then(|| {
            format!(
                "{}-{}-{}-{}-{}",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            )
        });
    }
    if matches!(oid, REGCLASS | REGTYPE) {
        let number = all.try_get_u32().ok()?;
        return all.is_empty().then(|| number.to_string());
    }
    if oid == JSONB && all.try_get_u8().ok()? != 1 {
        return None;
    }
    String::from_utf8(all.to_vec()).ok()
}

fn array_from_binary(item: &DataType, bytes: &mut Bytes) -> Option<ScalarValue> {
    let dimensions = bytes.try_get_i32().ok()?;
    let _has_nulls = bytes.try_get_i32().ok()?;
    let item_oid = bytes.try_get_u32().ok()?;
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = usize::try_from(bytes.try_get_i32().ok()?).ok()?;
            let _lower_bound = bytes.try_get_i32().ok()?;
            count
        }
        _ => return None,
    };
    let mut items = Vec::new();
    for _ in 0..count {
        let length = bytes.try_get_i32().ok()?;
        if length == -1 {
            items.push(ScalarValue::try_from(item).ok()?);
            continue;
        }
        let length = usize::try_from(length).ok()?;
        if bytes.len() < length {
            return None;
        }
        let mut one = bytes.split_to(length);
        items.push(from_binary(item_oid, item, &mut one)?);
    }
    Some(ScalarValue::List(ScalarValue::new_list_nullable(&items, item)))
}

/// `numeric_recv`'s digits of base 10 000 as decimal text.
fn numeric_text(bytes: &mut Bytes) -> Option<String> {
    let groups = bytes.try_get_u16().ok()?;
    let weight = bytes.try_get_i16().ok()?;
    let sign = bytes.try_get_u16().ok()?;
    let scale = usize::from(bytes.try_get_u16().ok()?);
    if sign != 0 && sign != 0x4000 {
        return None;
    }
    let digits: Vec<u16> = (0..groups)
        .map(|_| bytes.try_get_u16().ok().filter(|digit| *digit < 10_000))
        .collect::<Option<_>>()?;
    let group = |index: i32| {
        usize::try_from(index)
            .ok()
            .and_then(|index| digits.get(index))
            .copied()
            .unwrap_or(0)
    };
    let mut text = if sign == 0 { String::new() } else { "-".to_string() };
    for index in 0..=i32::from(weight) {
        text.push_str(&format!("{:04}", group(index)));
    }
    if weight < 0 {
        text.push('0');
    }
    if scale > 0 {
        let mut part = String::new();
        let mut index = i32::from(weight) + 1;
        while part.len() < scale {
            part.push_str(&format!("{:04}", group(index)));
            index += 1;
        }
        text.push('.');
        text.push_str(&part[..scale]);
    }
    Some(text)
}
