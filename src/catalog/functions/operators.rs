//! What operators and casts become where DataFusion's own are not PostgreSQL's: [`crate::catalog::casts`] and
//! [`crate::catalog::planner`] plan them. Nobody calls them by name.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

use super::plain::{Plain, Zone, first_type, plain, text, text_type, utf8};
use crate::catalog::pg_types;
use crate::catalog::sql_error::{raise, sql_error};
use crate::catalog::values::{self, Interval};

pub(super) static FUNCTIONS: &[Plain] = &[
    plain("int__plus", 2..=2, first_type, |_, a| of_one(a, plus_column), "").by_column(plus_column),
    plain("int__minus", 2..=2, first_type, |_, a| of_one(a, minus_column), "").by_column(minus_column),
    plain("int__times", 2..=2, first_type, |_, a| of_one(a, times_column), "").by_column(times_column),
    plain("float__over", 2..=2, first_type, |_, a| of_one(a, over_column), "").by_column(over_column),
    plain(
        "numeric__over",
        2..=2,
        |_| Ok(DataType::Decimal128(38, 16)),
        |_, a| of_one(a, numeric_column),
        "",
    )
    .by_column(numeric_column),
    // The rows of a correlated subquery that may have one.
    plain(
        "single__of",
        1..=1,
        |a| {
            Ok(match &a[0] {
                DataType::List(item) => item.data_type().clone(),
                other => other.clone(),
            })
        },
        |_, a| match &a[0] {
            ScalarValue::List(list) if list.value(0).len() > 1 => raise(
                "21000",
                "more than one row returned by a subquery used as an expression",
            ),
            ScalarValue::List(list) if list.value(0).len() == 1 => ScalarValue::try_from_array(&list.value(0), 0),
            _ => Ok(ScalarValue::Null),
        },
        "",
    ),
    plain(
        "int__not",
        1..=1,
        first_type,
        |_, a| {
            Ok(match &a[0] {
                ScalarValue::Int16(Some(v)) => ScalarValue::Int16(Some(!v)),
                ScalarValue::Int32(Some(v)) => ScalarValue::Int32(Some(!v)),
                other => ScalarValue::Int64(Some(!super::plain::int(std::slice::from_ref(other), 0)?)),
            })
        },
        "",
    ),
    plain("text__of", 1..=1, text_type, |zone, a| Ok(utf8(text(zone, a, 0))), ""),
    plain(
        "char__of",
        2..=2,
        text_type,
        |zone, a| {
            let width = usize::try_from(super::plain::int(a, 1)?).unwrap_or(1);
            let cut: String = text(zone, a, 0).chars().take(width).collect();
            Ok(utf8(format!("{cut:<width$}")))
        },
        "",
    ),
    plain(
        "uuid__of",
        1..=1,
        text_type,
        |zone, a| {
            let given = text(zone, a, 0);
            let digits: String = given
                .trim()
                .trim_start_matches('{')
                .trim_end_matches('}')
                .chars()
                .filter(|c| *c != '-')
                .collect();
            if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return raise("22P02", format!("invalid input syntax for type uuid: \"{given}\""));
            }
            let d = digits.to_lowercase();
            Ok(utf8(format!(
                "{}-{}-{}-{}-{}",
                &d[..8],
                &d[8..12],
                &d[12..16],
                &d[16..20],
                &d[20..]
            )))
        },
        "",
    ),
    // The second argument is a null of the type.
    Plain {
        strict: false,
        ..plain("cast__to", 2..=2, |a| Ok(a[1].clone()), cast_to, "")
    },
    plain(
        "pg_typeof",
        1..=1,
        text_type,
        |_, a| Ok(utf8(pg_types::sql_name(pg_types::pg_type_oid(&a[0].data_type()), None))),
        "the type of a value",
    ),
];

fn out_of_range(ty: &DataType) -> datafusion::error::DataFusionError {
    sql_error("22003", format!("{} out of range", values::integer_name(ty)))
}

type Kernel = fn(&dyn arrow::array::Datum, &dyn arrow::array::Datum) -> std::result::Result<ArrayRef, ArrowError>;

fn checked(arguments: &[ColumnarValue], kernel: Kernel) -> Result<Option<ArrayRef>> {
    let [left, right] = arguments else { return Ok(None) };
    let ty = left.data_type();
    let computed = match (left, right) {
        (ColumnarValue::Array(left), ColumnarValue::Array(right)) => kernel(left, right),
        (ColumnarValue::Array(left), ColumnarValue::Scalar(right)) => kernel(left, &right.to_scalar()?),
        (ColumnarValue::Scalar(left), ColumnarValue::Array(right)) => kernel(&left.to_scalar()?, right),
        (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)) => return Ok(None),
    };
    match computed {
        Ok(column) => Ok(Some(column)),
        Err(ArrowError::ArithmeticOverflow(_)) => Err(out_of_range(&ty)),
        Err(other) => Err(other.into()),
    }
}

fn plus_column(_: Zone, arguments: &[ColumnarValue]) -> Result<Option<ArrayRef>> {
    checked(arguments, |a, b| numeric::add(a, b))
}

fn minus_column(_: Zone, arguments: &[ColumnarValue]) -> Result<Option<ArrayRef>> {
    checked(arguments, |a, b| numeric::sub(a, b))
}

fn times_column(_: Zone, arguments: &[ColumnarValue]) -> Result<Option<ArrayRef>> {
    checked(arguments, |a, b| numeric::mul(a, b))
}

/// Division of floats: nothing is divided by zero.
fn over_column(_: Zone, arguments: &[ColumnarValue]) -> Result<Option<ArrayRef>> {
    let [left, right] = arguments else { return Ok(None) };
    let is_zero = match right {
        ColumnarValue::Scalar(ScalarValue::Float64(Some(by))) => *by == 0.0,
        ColumnarValue::Scalar(ScalarValue::Float32(Some(by))) => *by == 0.0,
        ColumnarValue::Scalar(_) => false,
        ColumnarValue::Array(by) => match by.data_type() {
            DataType::Float64 => {
                divides_by_zero(left, by.as_primitive::<Float64Type>().iter().map(|by| by == Some(0.0)))
            }
            DataType::Float32 => {
                divides_by_zero(left, by.as_primitive::<Float32Type>().iter().map(|by| by == Some(0.0)))
            }
            _ => false,
        },
    };
    if is_zero && !matches!(left, ColumnarValue::Scalar(value) if value.is_null()) {
        return raise("22012", "division by zero");
    }
    checked(arguments, |a, b| numeric::div(a, b))
}

/// Division of numerics: 16 digits behind the point, computed with more.
fn numeric_column(_: Zone, arguments: &[ColumnarValue]) -> Result<Option<ArrayRef>> {
    let [left, right] = arguments else { return Ok(None) };
    let scale = |ty: DataType| match ty {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => scale,
        _ => 0,
    };
    let rows = match (left, right) {
        (ColumnarValue::Array(array), _) | (_, ColumnarValue::Array(array)) => array.len(),
        _ => return Ok(None),
    };
    let right_scale = scale(right.data_type());
    let left = arrow::compute::cast(&left.to_array(rows)?, &DataType::Decimal256(76, 14))?;
    let right = arrow::compute::cast(&right.to_array(rows)?, &DataType::Decimal256(76, right_scale))?;
    let quotient = numeric::div(&left, &right)?;
    Ok(Some(arrow::compute::cast(&quotient, &DataType::Decimal128(38, 16))?))
}

/// Null divided by zero is null.
fn divides_by_zero(left: &ColumnarValue, mut zeros: impl Iterator<Item = bool>) -> bool {
    match left {
        ColumnarValue::Scalar(value) => !value.is_null() && zeros.any(|zero| zero),
        ColumnarValue::Array(left) => zeros.enumerate().any(|(at, zero)| zero && left.is_valid(at)),
    }
}

fn of_one(a: &[ScalarValue], columns: super::plain::Columns) -> Result<ScalarValue> {
    let arguments = [
        ColumnarValue::Array(a[0].to_array()?),
        ColumnarValue::Scalar(a[1].clone()),
    ];
    let zone = Zone(values::zone("UTC")?);
    match columns(zone, &arguments)? {
        Some(column) => ScalarValue::try_from_array(&column, 0),
        None => Ok(ScalarValue::Null),
    }
}

/// A cast as PostgreSQL has it: texts are read by its rules, fractions are rounded, what does not fit is an error.
fn cast_to(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let (value, target) = (&a[0], a[1].data_type());
    if value.is_null() {
        return ScalarValue::try_from(&target);
    }
    if let ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) =
        value
    {
        if let Some(value) = values::parse(text, &target, zone.0)? {
            return Ok(value);
        }
    } else if let Some((micros, true)) = values::timestamp_micros(value) {
        let clock = values::local(micros, zone.0)?;
        let on_clock = ScalarValue::TimestampMicrosecond(Some(values::micros(clock)), None);
        if !matches!(target, DataType::Timestamp(_, Some(_))) {
            return on_clock.cast_to(&target);
        }
    } else if matches!(target, DataType::Timestamp(_, Some(_))) {
        let clock = super::time::clock(zone, value)?;
        return ScalarValue::TimestampMicrosecond(Some(values::instant(clock, zone.0)), Some("UTC".into()))
            .cast_to(&target);
    } else if let (Some(interval), DataType::Time64(_)) = (Interval::of(value), &target) {
        let micros = interval.micros.rem_euclid(values::US_PER_DAY);
        return ScalarValue::Time64Microsecond(Some(micros)).cast_to(&target);
    }
    if target.is_integer() {
        return to_integer(value, &target);
    }
    if let DataType::Decimal128(..) = target {
        let text = values::text_of(value, zone.0).unwrap_or_default();
        return match values::parse(&text, &target, zone.0)? {
            Some(value) => Ok(value),
            None => value.cast_to(&target),
        };
    }
    value.cast_to(&target)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the bounds are checked before"
)]
fn to_integer(value: &ScalarValue, target: &DataType) -> Result<ScalarValue> {
    let whole: i128 = match value {
        ScalarValue::Float64(Some(value)) if value.is_finite() && value.abs() < i64::MAX as f64 * 2.0 => {
            value.round_ties_even() as i128
        }
        ScalarValue::Float32(Some(value)) if value.is_finite() => f64::from(*value).round_ties_even() as i128,
        ScalarValue::Float64(_) | ScalarValue::Float32(_) => return Err(out_of_range(target)),
        ScalarValue::Decimal128(Some(value), _, scale) => {
            let divisor = 10_i128.pow(u32::try_from(*scale).unwrap_or(0));
            let half = divisor / 2 * value.signum();
            (value + half) / divisor
        }
        ScalarValue::Boolean(Some(value)) => i128::from(*value),
        other => match other.cast_to(&DataType::Int64)? {
            ScalarValue::Int64(Some(value)) => value.into(),
            _ => return Err(out_of_range(target)),
        },
    };
    let fitting = match target {
        DataType::Int16 => i16::try_from(whole).ok().map(|v| ScalarValue::Int16(Some(v))),
        DataType::Int32 => i32::try_from(whole).ok().map(|v| ScalarValue::Int32(Some(v))),
        DataType::Int64 => i64::try_from(whole).ok().map(|v| ScalarValue::Int64(Some(v))),
        DataType::UInt32 => u32::try_from(whole).ok().map(|v| ScalarValue::UInt32(Some(v))),
        other => return ScalarValue::Int64(i64::try_from(whole).ok()).cast_to(other),
    };
    fitting.ok_or_else(|| out_of_range(target))
}
