//! Numbers.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use super::plain::{Plain, Zone, float, float8_type, int, int4_type, plain};
use crate::catalog::sql_error::raise;

pub(super) static FUNCTIONS: &[Plain] = &[
    plain(
        "mod",
        2..=2,
        number_type,
        modulo,
        "remainder, with the sign of the first",
    ),
    plain("div", 2..=2, div_type, div, "whole quotient, towards zero"),
    plain(
        "sign",
        1..=1,
        |a| Ok(decimal_or_float(a)),
        |_, a| {
            Ok(match float(a, 0)? {
                v if v > 0.0 => ScalarValue::Float64(Some(1.0)),
                v if v < 0.0 => ScalarValue::Float64(Some(-1.0)),
                _ => ScalarValue::Float64(Some(0.0)),
            })
        },
        "-1, 0 or 1",
    ),
    plain(
        "width_bucket",
        2..=4,
        int4_type,
        width_bucket,
        "in which of equal parts, or between which of given bounds",
    ),
    plain(
        "round__even",
        1..=1,
        float8_type,
        |_, a| Ok(ScalarValue::Float64(Some(float(a, 0)?.round_ties_even()))),
        "",
    ),
    plain(
        "scale",
        1..=1,
        int4_type,
        |_, a| {
            Ok(ScalarValue::Int32(match a.first() {
                Some(ScalarValue::Decimal128(Some(_), _, scale)) => Some((*scale).into()),
                _ => Some(0),
            }))
        },
        "digits behind the point",
    ),
    plain(
        "min_scale",
        1..=1,
        int4_type,
        |_, a| {
            Ok(ScalarValue::Int32(match a.first() {
                Some(ScalarValue::Decimal128(Some(value), _, scale)) => {
                    let (mut value, mut scale) = (*value, *scale);
                    while scale > 0 && value % 10 == 0 {
                        value /= 10;
                        scale -= 1;
                    }
                    Some(scale.into())
                }
                _ => Some(0),
            }))
        },
        "digits behind the point that are needed",
    ),
    plain(
        "sind",
        1..=1,
        float8_type,
        |_, a| degrees(a, f64::sin),
        "sine of degrees",
    ),
    plain(
        "cosd",
        1..=1,
        float8_type,
        |_, a| degrees(a, f64::cos),
        "cosine of degrees",
    ),
    plain(
        "tand",
        1..=1,
        float8_type,
        |_, a| degrees(a, f64::tan),
        "tangent of degrees",
    ),
    plain(
        "ln",
        1..=1,
        |a| Ok(float_like(a)),
        |_, a| logarithm(float(a, 0)?, f64::ln),
        "natural logarithm",
    ),
    plain(
        "log10",
        1..=1,
        |a| Ok(float_like(a)),
        |_, a| logarithm(float(a, 0)?, f64::log10),
        "logarithm to the base 10",
    ),
    plain(
        "sqrt",
        1..=1,
        |a| Ok(float_like(a)),
        |_, a| match float(a, 0)? {
            value if value < 0.0 => raise("2201F", "cannot take square root of a negative number"),
            value => Ok(ScalarValue::Float64(Some(value.sqrt()))),
        },
        "square root",
    ),
    plain(
        "power",
        2..=2,
        |a| Ok(float_like(a)),
        power,
        "a number to the power of another",
    ),
    plain("pow", 2..=2, |a| Ok(float_like(a)), power, "the same"),
    plain(
        "factorial",
        1..=1,
        |_| Ok(DataType::Decimal128(38, 0)),
        |_, a| {
            let n = int(a, 0)?;
            if n < 0 {
                return raise("22003", "factorial of a negative number is undefined");
            }
            let product = (1..=i128::from(n)).try_fold(1_i128, i128::checked_mul);
            match product {
                Some(product) => Ok(ScalarValue::Decimal128(Some(product), 38, 0)),
                None => raise("22003", "value overflows numeric format"),
            }
        },
        "product of 1 to n, up to 33",
    ),
];

fn number_type(arguments: &[DataType]) -> Result<DataType> {
    use DataType::{Decimal128, Int16, Int32, Int64};
    Ok(match arguments {
        [Int16, Int16] => Int16,
        [Int16 | Int32, Int16 | Int32] => Int32,
        [Int16 | Int32 | Int64, Int16 | Int32 | Int64] => Int64,
        [Decimal128(_, a), Decimal128(_, b)] => Decimal128(38, *a.max(b)),
        [Decimal128(_, scale), _] | [_, Decimal128(_, scale)] => Decimal128(38, *scale),
        _ => DataType::Float64,
    })
}

fn div_type(arguments: &[DataType]) -> Result<DataType> {
    match number_type(arguments)? {
        DataType::Float64 => Ok(DataType::Float64),
        _ => Ok(DataType::Decimal128(38, 0)),
    }
}

/// Whole numbers and decimals give numeric where PostgreSQL computes with float8 or numeric.
fn decimal_or_float(arguments: &[DataType]) -> DataType {
    match arguments.first() {
        Some(DataType::Decimal128(..)) => DataType::Decimal128(38, 0),
        _ => DataType::Float64,
    }
}

fn float_like(_: &[DataType]) -> DataType {
    DataType::Float64
}

fn modulo(_: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let types: Vec<DataType> = a.iter().map(ScalarValue::data_type).collect();
    let ty = number_type(&types)?;
    match (a[0].cast_to(&ty)?, a[1].cast_to(&ty)?) {
        (ScalarValue::Decimal128(Some(x), p, s), ScalarValue::Decimal128(Some(y), ..)) if y != 0 => {
            Ok(ScalarValue::Decimal128(Some(x % y), p, s))
        }
        (ScalarValue::Float64(Some(x)), ScalarValue::Float64(Some(y))) if y != 0.0 => {
            Ok(ScalarValue::Float64(Some(x % y)))
        }
        (ScalarValue::Decimal128(..) | ScalarValue::Float64(_), _) => raise("22012", "division by zero"),
        _ => match int(a, 1)? {
            0 => raise("22012", "division by zero"),
            divisor => ScalarValue::Int64(int(a, 0)?.checked_rem(divisor).or(Some(0))).cast_to(&ty),
        },
    }
}

fn div(_: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let scale = |value: &ScalarValue| match value {
        ScalarValue::Decimal128(_, _, scale) => *scale,
        _ => 0,
    };
    let (x, y) = (&a[0], &a[1]);
    if matches!(x, ScalarValue::Float64(_)) || matches!(y, ScalarValue::Float64(_)) {
        return match float(a, 1)? {
            0.0 => raise("22012", "division by zero"),
            divisor => Ok(ScalarValue::Float64(Some((float(a, 0)? / divisor).trunc()))),
        };
    }
    let ty = DataType::Decimal128(38, scale(x).max(scale(y)));
    match (x.cast_to(&ty)?, y.cast_to(&ty)?) {
        (_, ScalarValue::Decimal128(Some(0), ..)) => raise("22012", "division by zero"),
        (ScalarValue::Decimal128(Some(x), ..), ScalarValue::Decimal128(Some(y), ..)) => {
            Ok(ScalarValue::Decimal128(Some(x / y), 38, 0))
        }
        _ => Ok(ScalarValue::Null),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a bucket is a small number"
)]
fn width_bucket(_: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    if let [value, ScalarValue::List(bounds)] = a {
        let value = match value.cast_to(&DataType::Float64)? {
            ScalarValue::Float64(Some(value)) => value,
            _ => return Ok(ScalarValue::Null),
        };
        let bounds = arrow::compute::cast(&bounds.value(0), &DataType::Float64)?;
        let bounds = arrow::array::AsArray::as_primitive::<arrow::datatypes::Float64Type>(&bounds).clone();
        let below = bounds.values().iter().filter(|bound| **bound <= value).count();
        return Ok(ScalarValue::Int32(i32::try_from(below).ok()));
    }
    if a.len() != 4 {
        return raise("42883", "function width_bucket does not exist");
    }
    let (value, low, high, count) = (float(a, 0)?, float(a, 1)?, float(a, 2)?, int(a, 3)?);
    if count <= 0 {
        return raise("2201G", "count must be greater than zero");
    }
    if low == high {
        return raise("2201G", "lower bound cannot equal upper bound");
    }
    let count_of = count as f64;
    let place = if low < high {
        (value - low) / (high - low)
    } else {
        (low - value) / (low - high)
    };
    let bucket = if place < 0.0 {
        0.0
    } else if place >= 1.0 {
        count_of + 1.0
    } else {
        (place * count_of).floor() + 1.0
    };
    Ok(ScalarValue::Int32(Some(bucket as i32)))
}

fn degrees(a: &[ScalarValue], of: fn(f64) -> f64) -> Result<ScalarValue> {
    let value = of(float(a, 0)?.to_radians());
    // Exact where the result is: sind(30) is 0.5.
    let rounded = (value * 1e15).round() / 1e15;
    Ok(ScalarValue::Float64(Some(rounded)))
}

fn logarithm(value: f64, of: fn(f64) -> f64) -> Result<ScalarValue> {
    if value == 0.0 {
        return raise("2201E", "cannot take logarithm of zero");
    }
    if value < 0.0 {
        return raise("2201E", "cannot take logarithm of a negative number");
    }
    Ok(ScalarValue::Float64(Some(of(value))))
}

fn power(_: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let (base, exponent) = (float(a, 0)?, float(a, 1)?);
    if base == 0.0 && exponent < 0.0 {
        return raise("2201F", "zero raised to a negative power is undefined");
    }
    if base < 0.0 && exponent.fract() != 0.0 {
        return raise(
            "2201F",
            "a negative number raised to a non-integer power yields a complex result",
        );
    }
    let value = base.powf(exponent);
    if value.is_infinite() && base.is_finite() && exponent.is_finite() {
        return raise("22003", "value out of range: overflow");
    }
    Ok(ScalarValue::Float64(Some(value)))
}
