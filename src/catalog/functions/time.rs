//! Dates, times, instants and intervals.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Decimal128Type, TimeUnit, TimestampMicrosecondType};
use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

use super::plain::{
    Plain, Zone, bool_type, date_type, float, float8_type, int, interval_type, no_such_function, plain, small, text,
    text_type, time_type, timestamp_type, timestamptz_type, utf8,
};
use crate::catalog::sql_error::{raise, sql_error};
use crate::catalog::values::{
    self, INTERVAL, Interval, TIMESTAMP, US_PER_DAY, US_PER_SECOND, date, instant, local, micros, naive,
};

pub(super) static FUNCTIONS: &[Plain] = &[
    plain(
        "age",
        1..=2,
        interval_type,
        age,
        "years, months and days between two times, or from one to today's midnight",
    ),
    plain(
        "date_trunc",
        2..=3,
        trunc_type,
        date_trunc,
        "a time cut to `microseconds` … `millennium`, in the session's or a given zone",
    )
    .by_column(trunc_column),
    plain(
        "date_part",
        2..=2,
        float8_type,
        |zone, a| part(zone, a).map(|(number, scale)| ScalarValue::Float64(Some(of_decimal(number, scale)))),
        "a field of a time as float8",
    ),
    plain(
        "extract__whole",
        2..=2,
        |_| Ok(DataType::Decimal128(20, 0)),
        |zone, a| {
            let (number, scale) = part(zone, a)?;
            Ok(ScalarValue::Decimal128(Some(number / 10_i128.pow(scale)), 20, 0))
        },
        "",
    )
    .by_column(part_column),
    plain(
        "extract__parts",
        2..=2,
        |_| Ok(DataType::Decimal128(26, 6)),
        |zone, a| {
            let (number, scale) = part(zone, a)?;
            Ok(ScalarValue::Decimal128(Some(number * 10_i128.pow(6 - scale)), 26, 6))
        },
        "",
    ),
    plain(
        "make_date",
        3..=3,
        date_type,
        |_, a| {
            let (year, month, day) = (small(a, 0)?, small(a, 1)?, small(a, 2)?);
            match ymd(year, month, day) {
                Some(date) => Ok(ScalarValue::Date32(Some(values::days(date)))),
                None => raise(
                    "22008",
                    format!("date field value out of range: {year}-{month:02}-{day:02}"),
                ),
            }
        },
        "a date of year, month, day",
    ),
    plain(
        "make_time",
        3..=3,
        time_type,
        |_, a| {
            let micros = clock_micros(a, 0)?;
            Ok(ScalarValue::Time64Microsecond(Some(micros)))
        },
        "a time of hour, minute, seconds",
    ),
    plain(
        "make_timestamp",
        6..=6,
        timestamp_type,
        |_, a| Ok(ScalarValue::TimestampMicrosecond(Some(micros(moment(a)?)), None)),
        "a timestamp of year, month, day, hour, minute, seconds",
    ),
    plain(
        "make_timestamptz",
        6..=7,
        timestamptz_type,
        |zone, a| {
            let zone = match a.get(6) {
                Some(_) => values::zone(&text(zone, a, 6))?,
                None => zone.0,
            };
            Ok(instant_value(instant(moment(a)?, zone)))
        },
        "an instant, in the session's or a given zone",
    ),
    plain(
        "make_interval",
        0..=7,
        interval_type,
        |_, a| {
            let whole = |at: usize| if at < a.len() { small(a, at) } else { Ok(0) };
            let seconds = if a.len() > 6 { float(a, 6)? } else { 0.0 };
            let time =
                (i64::from(whole(4)?) * 3600 + i64::from(whole(5)?) * 60) * US_PER_SECOND + float_micros(seconds)?;
            Interval {
                months: whole(0)? * 12 + whole(1)?,
                days: whole(2)? * 7 + whole(3)?,
                micros: time,
            }
            .value()
        },
        "an interval; with named arguments (`days => 10`) too",
    ),
    plain(
        "to_timestamp",
        1..=1,
        timestamptz_type,
        |_, a| Ok(instant_value(float_micros(float(a, 0)?)?.saturating_mul(1))),
        "an instant of seconds since 1970; with a template: see formatting",
    ),
    plain(
        "timezone",
        2..=2,
        |a| {
            Ok(match a.get(1) {
                Some(DataType::Timestamp(_, None)) => values::timestamptz_type(),
                _ => TIMESTAMP,
            })
        },
        at_time_zone,
        "`AT TIME ZONE` as a function",
    ),
    plain(
        "justify_hours",
        1..=1,
        interval_type,
        |zone, a| justified(zone, a, true, false),
        "24 hours as days",
    ),
    plain(
        "justify_days",
        1..=1,
        interval_type,
        |zone, a| justified(zone, a, false, true),
        "30 days as months",
    ),
    plain(
        "justify_interval",
        1..=1,
        interval_type,
        |zone, a| justified(zone, a, true, true),
        "both, with one sign",
    ),
    plain(
        "isfinite",
        1..=1,
        bool_type,
        |_, _| Ok(ScalarValue::Boolean(Some(true))),
        "true: there are no infinite times here",
    ),
    plain(
        "timeofday",
        0..=0,
        text_type,
        |zone, _| {
            let now = local(chrono::Utc::now().timestamp_micros(), zone.0)?;
            Ok(utf8(now.format("%a %b %d %H:%M:%S%.6f %Y").to_string()))
        },
        "the time as text",
    ),
    plain(
        "date_bin",
        3..=3,
        |a| {
            Ok(match a.get(1) {
                Some(DataType::Timestamp(_, Some(_))) => values::timestamptz_type(),
                _ => TIMESTAMP,
            })
        },
        date_bin,
        "the beginning of the bin of some width that a time is in",
    ),
    plain(
        "overlaps",
        4..=4,
        bool_type,
        |zone, a| {
            let mut ends = [(0_i64, 0_i64); 2];
            for (at, end) in ends.iter_mut().enumerate() {
                let start = clock(zone, &a[at * 2])?;
                let other = match Interval::of(&a[at * 2 + 1]) {
                    Some(interval) => interval.add_to(start)?,
                    None => clock(zone, &a[at * 2 + 1])?,
                };
                *end = (micros(start.min(other)), micros(start.max(other)));
            }
            let [(s1, e1), (s2, e2)] = ends;
            Ok(ScalarValue::Boolean(Some(if s1 == s2 {
                true
            } else {
                s1.max(s2) < e1.min(e2)
            })))
        },
        "",
    ),
    // What operators become
    plain(
        "interval__times",
        2..=2,
        interval_type,
        |_, a| {
            let interval = Interval::of(&a[0]).unwrap_or_default();
            times(interval, float(a, 1)?)
        },
        "",
    ),
    plain(
        "interval__over",
        2..=2,
        interval_type,
        |_, a| {
            let interval = Interval::of(&a[0]).unwrap_or_default();
            match float(a, 1)? {
                0.0 => raise("22012", "division by zero"),
                by => times(interval, 1.0 / by),
            }
        },
        "",
    ),
    plain(
        "interval__span",
        1..=1,
        |_| Ok(DataType::Decimal128(38, 0)),
        |_, a| Ok(ScalarValue::Decimal128(Interval::of(&a[0]).map(Interval::span), 38, 0)),
        "",
    ),
    // The difference of two times is in days and time, as PostgreSQL gives it.
    plain(
        "time__minus",
        2..=2,
        interval_type,
        |zone, a| {
            let (Some(x), Some(y)) = (point(zone, &a[0])?, point(zone, &a[1])?) else {
                return Ok(ScalarValue::Null);
            };
            let micros = x - y;
            Interval {
                months: 0,
                days: i32::try_from(micros / US_PER_DAY).unwrap_or(i32::MAX),
                micros: micros % US_PER_DAY,
            }
            .value()
        },
        "",
    ),
    plain(
        "clock__minus",
        2..=2,
        interval_type,
        |_, a| match (of_day(&a[0]), of_day(&a[1])) {
            (Some(x), Some(y)) => Interval::of_micros(x - y).value(),
            _ => Ok(ScalarValue::Null),
        },
        "",
    ),
    plain(
        "date__plus_time",
        2..=2,
        timestamp_type,
        |_, a| match (&a[0], of_day(&a[1])) {
            (ScalarValue::Date32(Some(days)), Some(time)) => Ok(ScalarValue::TimestampMicrosecond(
                Some(i64::from(*days) * US_PER_DAY + time),
                None,
            )),
            _ => Ok(ScalarValue::Null),
        },
        "",
    ),
    plain("time__plus", 2..=2, plus_type, plus, ""),
];

pub(super) fn instant_value(micros: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
}

fn ymd(year: i32, month: i32, day: i32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)
}

fn clock_micros(a: &[ScalarValue], at: usize) -> Result<i64> {
    let (hour, minute, seconds) = (int(a, at)?, int(a, at + 1)?, float(a, at + 2)?);
    if !(0..=24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..=60.0).contains(&seconds) {
        return raise(
            "22008",
            format!("time field value out of range: {hour}:{minute:02}:{seconds}"),
        );
    }
    Ok((hour * 3600 + minute * 60) * US_PER_SECOND + float_micros(seconds)?)
}

fn moment(a: &[ScalarValue]) -> Result<NaiveDateTime> {
    let (year, month, day) = (small(a, 0)?, small(a, 1)?, small(a, 2)?);
    let Some(date) = ymd(year, month, day) else {
        return raise(
            "22008",
            format!("date field value out of range: {year}-{month:02}-{day:02}"),
        );
    };
    Ok(date.and_time(NaiveTime::MIN) + Duration::microseconds(clock_micros(a, 3)?))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the bounds are checked"
)]
fn float_micros(seconds: f64) -> Result<i64> {
    let micros = (seconds * 1e6).round();
    if micros.abs() > i64::MAX as f64 / 2.0 || micros.is_nan() {
        return raise("22008", format!("timestamp out of range: \"{seconds}\""));
    }
    Ok(micros as i64)
}

/// What a clock shows: of an instant, in the session's zone.
pub(super) fn clock(zone: Zone, value: &ScalarValue) -> Result<NaiveDateTime> {
    if let Some((micros, zoned)) = values::timestamp_micros(value) {
        return if zoned { local(micros, zone.0) } else { naive(micros) };
    }
    match value {
        ScalarValue::Date32(Some(days)) => Ok(date(*days)?.and_time(NaiveTime::MIN)),
        ScalarValue::Utf8(Some(text)) => match values::parse(text, &TIMESTAMP, zone.0)? {
            Some(value) => clock(zone, &value),
            None => raise("22007", format!("invalid input syntax for type timestamp: \"{text}\"")),
        },
        other => match of_day(other) {
            Some(micros) => Ok(NaiveDateTime::default() + Duration::microseconds(micros)),
            None => raise("42883", "a date or time is expected here"),
        },
    }
}

/// Microseconds for a difference: of instants as they are, of others on their clock.
fn point(zone: Zone, value: &ScalarValue) -> Result<Option<i64>> {
    Ok(match values::timestamp_micros(value) {
        Some((micros, _)) => Some(micros),
        None if value.is_null() => None,
        None => Some(micros(clock(zone, value)?)),
    })
}

fn of_day(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Time64Microsecond(micros) => *micros,
        ScalarValue::Time64Nanosecond(nanos) => nanos.map(|nanos| nanos / 1000),
        ScalarValue::Time32Second(seconds) => seconds.map(|seconds| i64::from(seconds) * US_PER_SECOND),
        ScalarValue::Time32Millisecond(millis) => millis.map(|millis| i64::from(millis) * 1000),
        _ => None,
    }
}

fn age(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let (later, earlier) = match a {
        [one] => {
            let today = local(chrono::Utc::now().timestamp_micros(), zone.0)?.date();
            (today.and_time(NaiveTime::MIN), clock(zone, one)?)
        }
        [later, earlier, ..] => (clock(zone, later)?, clock(zone, earlier)?),
        [] => return Ok(ScalarValue::Null),
    };
    let (from, to, sign) = if later >= earlier {
        (earlier, later, 1)
    } else {
        (later, earlier, -1)
    };
    let mut months = (to.year() - from.year()) * 12 + to.month().cast_signed() - from.month().cast_signed();
    let mut days = to.day().cast_signed() - from.day().cast_signed();
    let mut micros = micros_of_day(to) - micros_of_day(from);
    if micros < 0 {
        micros += US_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        // PostgreSQL borrows the days of the month that the earlier time is in; of the later one where the result is negative.
        let month = if sign > 0 {
            (from.year(), from.month())
        } else {
            let before = to.date() - chrono::Months::new(1);
            (before.year(), before.month())
        };
        days += values::days_in_month(month.0, month.1).cast_signed();
        months -= 1;
    }
    let interval = Interval { months, days, micros };
    (if sign < 0 { interval.negated() } else { interval }).value()
}

fn micros_of_day(clock: NaiveDateTime) -> i64 {
    micros(clock).rem_euclid(US_PER_DAY)
}

fn trunc_type(arguments: &[DataType]) -> Result<DataType> {
    Ok(match arguments.get(1) {
        Some(DataType::Interval(_) | DataType::Duration(_)) => INTERVAL,
        Some(DataType::Timestamp(_, None)) => TIMESTAMP,
        Some(DataType::Timestamp(_, Some(_)) | DataType::Date32 | DataType::Utf8 | DataType::Null) => {
            values::timestamptz_type()
        }
        _ => return no_such_function("date_trunc", arguments),
    })
}

/// Fields of a time, in PostgreSQL's order of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
}

fn unit(name: &str) -> Option<Unit> {
    Some(match name {
        "microseconds" | "microsecond" | "us" | "usec" | "usecs" => Unit::Microseconds,
        "milliseconds" | "millisecond" | "ms" | "msec" | "msecs" => Unit::Milliseconds,
        "second" | "seconds" | "s" | "sec" | "secs" => Unit::Second,
        "minute" | "minutes" | "m" | "min" | "mins" => Unit::Minute,
        "hour" | "hours" | "h" | "hr" | "hrs" => Unit::Hour,
        "day" | "days" | "d" => Unit::Day,
        "week" | "weeks" | "w" => Unit::Week,
        "month" | "months" | "mon" | "mons" => Unit::Month,
        "quarter" | "qtr" => Unit::Quarter,
        "year" | "years" | "y" | "yr" | "yrs" => Unit::Year,
        "decade" | "decades" | "dec" | "decs" => Unit::Decade,
        "century" | "centuries" | "cent" | "c" => Unit::Century,
        "millennium" | "millennia" | "mil" | "mils" => Unit::Millennium,
        _ => return None,
    })
}

fn truncated(clock: NaiveDateTime, unit: Unit) -> NaiveDateTime {
    let to = |step: i64| {
        let micros = micros(clock);
        naive(micros - micros.rem_euclid(step)).unwrap_or(clock)
    };
    let first = |year: i32, month: u32| {
        NaiveDate::from_ymd_opt(year, month, 1).map_or(clock, |date| date.and_time(NaiveTime::MIN))
    };
    let year = clock.year();
    match unit {
        Unit::Microseconds => clock,
        Unit::Milliseconds => to(1000),
        Unit::Second => to(US_PER_SECOND),
        Unit::Minute => to(60 * US_PER_SECOND),
        Unit::Hour => to(3600 * US_PER_SECOND),
        Unit::Day => to(US_PER_DAY),
        Unit::Week => {
            let monday = clock.date() - Duration::days(clock.weekday().num_days_from_monday().into());
            monday.and_time(NaiveTime::MIN)
        }
        Unit::Month => first(year, clock.month()),
        Unit::Quarter => first(year, clock.month0() / 3 * 3 + 1),
        Unit::Year => first(year, 1),
        Unit::Decade => first(year.div_euclid(10) * 10, 1),
        Unit::Century => first((year - 1).div_euclid(100) * 100 + 1, 1),
        Unit::Millennium => first((year - 1).div_euclid(1000) * 1000 + 1, 1),
    }
}

fn known_unit(name: &str, kind: &str) -> Result<Unit> {
    unit(&name.to_lowercase()).ok_or_else(|| {
        sql_error(
            "22023",
            format!("unit \"{}\" not recognized for type {kind}", name.to_lowercase()),
        )
    })
}

fn kind_of(value: &ScalarValue) -> &'static str {
    match value {
        ScalarValue::Date32(_) => "date",
        ScalarValue::Time64Microsecond(_) | ScalarValue::Time64Nanosecond(_) => "time without time zone",
        other => match values::timestamp_micros(other) {
            Some((_, true)) => "timestamp with time zone",
            Some((_, false)) => "timestamp without time zone",
            None => "interval",
        },
    }
}

fn date_trunc(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let name = text(zone, a, 0);
    let value = &a[1];
    let unit = known_unit(&name, kind_of(value))?;
    if let Some(interval) = Interval::of(value) {
        let years = |years: i32| Interval {
            months: interval.months / (years * 12) * (years * 12),
            ..Interval::default()
        };
        let days = Interval { micros: 0, ..interval };
        let time = |step: i64| Interval {
            micros: interval.micros / step * step,
            ..interval
        };
        return match unit {
            Unit::Microseconds => interval,
            Unit::Milliseconds => time(1000),
            Unit::Second => time(US_PER_SECOND),
            Unit::Minute => time(60 * US_PER_SECOND),
            Unit::Hour => time(3600 * US_PER_SECOND),
            Unit::Day => days,
            Unit::Week => return raise("0A000", "unit \"week\" not supported for type interval"),
            Unit::Month => Interval { days: 0, ..days },
            Unit::Quarter => Interval {
                months: interval.months / 3 * 3,
                ..Interval::default()
            },
            Unit::Year => years(1),
            Unit::Decade => years(10),
            Unit::Century => years(100),
            Unit::Millennium => years(1000),
        }
        .value();
    }
    let zone_of = match a.get(2) {
        Some(_) => Zone(values::zone(&text(zone, a, 2))?),
        None => zone,
    };
    match values::timestamp_micros(value) {
        Some((micros_of, false)) => Ok(ScalarValue::TimestampMicrosecond(
            Some(micros(truncated(naive(micros_of)?, unit))),
            None,
        )),
        _ => {
            let value = match value {
                ScalarValue::Utf8(Some(text)) => {
                    values::parse(text, &values::timestamptz_type(), zone.0)?.unwrap_or(ScalarValue::Null)
                }
                other => other.clone(),
            };
            Ok(instant_value(instant(
                truncated(clock(zone_of, &value)?, unit),
                zone_of.0,
            )))
        }
    }
}

/// Columns of microseconds, without a value in between for each row.
fn trunc_column(zone: Zone, arguments: &[ColumnarValue]) -> Result<Option<ArrayRef>> {
    let [
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(name))),
        ColumnarValue::Array(times),
    ] = arguments
    else {
        return Ok(None);
    };
    let DataType::Timestamp(TimeUnit::Microsecond, zoned) = times.data_type() else {
        return Ok(None);
    };
    let kind = if zoned.is_some() {
        "timestamp with time zone"
    } else {
        "timestamp without time zone"
    };
    let unit = known_unit(name, kind)?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let cut = times.try_unary::<_, TimestampMicrosecondType, datafusion::error::DataFusionError>(|value| {
        Ok(match zoned {
            Some(_) => instant(truncated(local(value, zone.0)?, unit), zone.0),
            None => micros(truncated(naive(value)?, unit)),
        })
    })?;
    Ok(Some(Arc::new(cut.with_timezone_opt(zoned.as_ref().map(|_| "UTC")))))
}

#[expect(clippy::cast_precision_loss, reason = "float8 is what PostgreSQL gives")]
fn of_decimal(number: i128, scale: u32) -> f64 {
    number as f64 / 10_f64.powi(scale.cast_signed())
}

/// A field of a time: a number, and how many of its digits are behind the point.
fn part(zone: Zone, a: &[ScalarValue]) -> Result<(i128, u32)> {
    let field = text(zone, a, 0).to_lowercase();
    let value = &a[1];
    if let Some(interval) = Interval::of(value) {
        return interval_part(interval, &field);
    }
    let clock = clock(zone, value)?;
    let epoch = match values::timestamp_micros(value) {
        Some((micros, _)) => micros,
        None => micros(clock),
    };
    let is_date = matches!(value, ScalarValue::Date32(_));
    let is_zoned = matches!(values::timestamp_micros(value), Some((_, true)));
    moment_part(clock, epoch, is_zoned, is_date, &field).ok_or_else(|| {
        sql_error(
            "22023",
            format!("unit \"{field}\" not recognized for type {}", kind_of(value)),
        )
    })
}

fn moment_part(clock: NaiveDateTime, epoch: i64, is_zoned: bool, is_date: bool, field: &str) -> Option<(i128, u32)> {
    let second = i64::from(clock.second()) * US_PER_SECOND + i64::from(clock.and_utc().timestamp_subsec_micros());
    let year = clock.year();
    let whole = |number: i32| (i128::from(number), 0);
    Some(match field {
        "epoch" if is_date => (i128::from(epoch / US_PER_SECOND), 0),
        "epoch" => (epoch.into(), 6),
        "dow" => whole(clock.weekday().num_days_from_sunday().cast_signed()),
        "isodow" => whole(clock.weekday().number_from_monday().cast_signed()),
        "doy" => whole(clock.ordinal().cast_signed()),
        "isoyear" => whole(clock.iso_week().year()),
        "week" | "w" => whole(clock.iso_week().week().cast_signed()),
        "julian" => {
            let days = i128::from(values::days(clock.date())) + 2_440_588;
            (
                days * 1_000_000 + i128::from(micros_of_day(clock)) * 1_000_000 / i128::from(US_PER_DAY),
                6,
            )
        }
        "timezone" if is_zoned => ((i128::from(micros(clock)) - i128::from(epoch)) / 1_000_000, 0),
        "timezone_hour" if is_zoned => ((i128::from(micros(clock)) - i128::from(epoch)) / 3_600_000_000, 0),
        "timezone_minute" if is_zoned => ((i128::from(micros(clock)) - i128::from(epoch)) / 60_000_000 % 60, 0),
        other => match unit(other)? {
            Unit::Microseconds => (second.into(), 0),
            Unit::Milliseconds => (second.into(), 3),
            Unit::Second => (second.into(), 6),
            Unit::Minute => whole(clock.minute().cast_signed()),
            Unit::Hour => whole(clock.hour().cast_signed()),
            Unit::Day => whole(clock.day().cast_signed()),
            Unit::Week => whole(clock.iso_week().week().cast_signed()),
            Unit::Month => whole(clock.month().cast_signed()),
            Unit::Quarter => whole((clock.month0() / 3 + 1).cast_signed()),
            Unit::Year => whole(year),
            Unit::Decade => whole(year.div_euclid(10)),
            Unit::Century => whole((year - 1).div_euclid(100) + 1),
            Unit::Millennium => whole((year - 1).div_euclid(1000) + 1),
        },
    })
}

fn interval_part(interval: Interval, field: &str) -> Result<(i128, u32)> {
    let Interval { months, days, micros } = interval;
    let second = micros % (60 * US_PER_SECOND);
    let whole = |number: i64| Ok((i128::from(number), 0));
    if field == "epoch" {
        // A year has 365.25 days here, as in PostgreSQL.
        let years = i128::from(months / 12) * 31_557_600_000_000;
        let rest = (i128::from(months % 12) * 30 + i128::from(days)) * i128::from(US_PER_DAY);
        return Ok((years + rest + i128::from(micros), 6));
    }
    match known_unit(field, "interval")? {
        Unit::Microseconds => whole(second),
        Unit::Milliseconds => Ok((second.into(), 3)),
        Unit::Second => Ok((second.into(), 6)),
        Unit::Minute => whole(micros / (60 * US_PER_SECOND) % 60),
        Unit::Hour => whole(micros / (3600 * US_PER_SECOND)),
        Unit::Day => whole(days.into()),
        Unit::Week => raise("0A000", "unit \"week\" not supported for type interval"),
        Unit::Month => whole((months % 12).into()),
        Unit::Quarter => whole((months % 12 / 3 + 1).into()),
        Unit::Year => whole((months / 12).into()),
        Unit::Decade => whole((months / 120).into()),
        Unit::Century => whole((months / 1200).into()),
        Unit::Millennium => whole((months / 12_000).into()),
    }
}

fn part_column(zone: Zone, arguments: &[ColumnarValue]) -> Result<Option<ArrayRef>> {
    let [
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(field))),
        ColumnarValue::Array(times),
    ] = arguments
    else {
        return Ok(None);
    };
    let DataType::Timestamp(TimeUnit::Microsecond, zoned) = times.data_type() else {
        return Ok(None);
    };
    let field = field.to_lowercase();
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let mut numbers = Vec::with_capacity(times.len());
    for time in times {
        numbers.push(match time {
            None => None,
            Some(value) => {
                let clock = if zoned.is_some() {
                    local(value, zone.0)?
                } else {
                    naive(value)?
                };
                match moment_part(clock, value, zoned.is_some(), false, &field) {
                    Some((number, scale)) => Some(number / 10_i128.pow(scale)),
                    None => return raise("22023", format!("unit \"{field}\" not recognized for type timestamp")),
                }
            }
        });
    }
    let numbers = numbers
        .into_iter()
        .collect::<PrimitiveArray<Decimal128Type>>()
        .with_precision_and_scale(20, 0)?;
    Ok(Some(Arc::new(numbers)))
}

fn at_time_zone(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let of = match Interval::of(&a[0]) {
        Some(interval) => {
            let seconds = i32::try_from(interval.micros / US_PER_SECOND).unwrap_or(0);
            values::zone(&values::offset_text(seconds, false))?
        }
        None => values::zone(&text(zone, a, 0))?,
    };
    match values::timestamp_micros(&a[1]) {
        Some((micros, false)) => Ok(instant_value(instant(naive(micros)?, of))),
        Some((value, true)) => Ok(ScalarValue::TimestampMicrosecond(Some(micros(local(value, of)?)), None)),
        None => {
            let value = instant(clock(zone, &a[1])?, zone.0);
            Ok(ScalarValue::TimestampMicrosecond(Some(micros(local(value, of)?)), None))
        }
    }
}

fn interval_argument(zone: Zone, value: &ScalarValue) -> Result<Interval> {
    match Interval::of(value) {
        Some(interval) => Ok(interval),
        None => Interval::parse(&values::text_of(value, zone.0).unwrap_or_default()),
    }
}

fn justified(zone: Zone, a: &[ScalarValue], hours: bool, days: bool) -> Result<ScalarValue> {
    let mut interval = interval_argument(zone, &a[0])?;
    if hours {
        interval.days += i32::try_from(interval.micros / US_PER_DAY).unwrap_or(0);
        interval.micros %= US_PER_DAY;
    }
    if days {
        interval.months += interval.days / 30;
        interval.days %= 30;
    }
    if hours && days {
        if interval.months > 0 && (interval.days < 0 || (interval.days == 0 && interval.micros < 0)) {
            interval.days += 30;
            interval.months -= 1;
        } else if interval.months < 0 && (interval.days > 0 || (interval.days == 0 && interval.micros > 0)) {
            interval.days -= 30;
            interval.months += 1;
        }
    }
    if hours {
        if interval.days > 0 && interval.micros < 0 {
            interval.micros += US_PER_DAY;
            interval.days -= 1;
        } else if interval.days < 0 && interval.micros > 0 {
            interval.micros -= US_PER_DAY;
            interval.days += 1;
        }
    }
    interval.value()
}

fn date_bin(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let width = interval_argument(zone, &a[0])?;
    if width.months != 0 {
        return raise(
            "0A000",
            "timestamps cannot be binned into intervals containing months or years",
        );
    }
    let step = i64::from(width.days) * US_PER_DAY + width.micros;
    if step <= 0 {
        return raise("22008", "stride must be greater than zero");
    }
    let zoned = matches!(values::timestamp_micros(&a[1]), Some((_, true)));
    let (Some(value), Some(origin)) = (point(zone, &a[1])?, point(zone, &a[2])?) else {
        return Ok(ScalarValue::Null);
    };
    let bin = origin + (value - origin).div_euclid(step) * step;
    Ok(if zoned {
        instant_value(bin)
    } else {
        ScalarValue::TimestampMicrosecond(Some(bin), None)
    })
}

/// A number of times an interval: what is less than a month or a day goes on as days and time.
#[expect(clippy::cast_possible_truncation, reason = "the bounds are checked")]
fn times(interval: Interval, by: f64) -> Result<ScalarValue> {
    let months = f64::from(interval.months) * by;
    let days = f64::from(interval.days) * by;
    if !(months.abs() < f64::from(i32::MAX) && days.abs() < f64::from(i32::MAX)) {
        return raise("22008", "interval out of range");
    }
    let month_days = ((months - months.trunc()) * 30.0 * 1e6).round() / 1e6;
    let all_days = days.trunc() + month_days.trunc();
    let left = (days - days.trunc()) + (month_days - month_days.trunc());
    #[expect(clippy::cast_precision_loss, reason = "as PostgreSQL computes it")]
    let micros = (interval.micros as f64 * by + left * 86_400e6).round();
    Interval {
        months: months.trunc() as i32,
        days: all_days as i32,
        micros: float_micros(micros / 1e6)?,
    }
    .value()
}

fn plus_type(arguments: &[DataType]) -> Result<DataType> {
    Ok(match arguments.first() {
        Some(DataType::Timestamp(_, Some(_))) => values::timestamptz_type(),
        Some(DataType::Time64(_) | DataType::Time32(_)) => DataType::Time64(TimeUnit::Microsecond),
        _ => TIMESTAMP,
    })
}

/// A time and an interval: months and days by the clock of the session's zone.
fn plus(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let interval = Interval::of(&a[1]).unwrap_or_default();
    if let Some(time) = of_day(&a[0]) {
        return Ok(ScalarValue::Time64Microsecond(Some(
            (time + interval.micros).rem_euclid(US_PER_DAY),
        )));
    }
    let by_clock = Interval { micros: 0, ..interval };
    match values::timestamp_micros(&a[0]) {
        Some((value, true)) => {
            let days = if by_clock == Interval::default() {
                value
            } else {
                instant(by_clock.add_to(local(value, zone.0)?)?, zone.0)
            };
            Ok(instant_value(days + interval.micros))
        }
        _ => Ok(ScalarValue::TimestampMicrosecond(
            Some(micros(interval.add_to(clock(zone, &a[0])?)?)),
            None,
        )),
    }
}
