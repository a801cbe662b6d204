//! Values as PostgreSQL reads and writes them: texts to values of a type, values to text (`::text`, `||`, `concat`, `format`), values to
//! JSON and back. One value at a time; the wire has an encoder of its own for columns.
//!
//! Instants are microseconds, intervals months, days and microseconds. JSON that SQL computes is text of the type `LargeUtf8`
//! ([`JSON`]), which no table has; structs, maps and lists of those are JSON as they are.

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use serde_json::Value;

use super::pg_types;
use super::rewrite::array_items;
use super::sql_error::{raise, sql_error};

/// The type of JSON that SQL computes.
pub(super) const JSON: DataType = DataType::LargeUtf8;

pub(super) const US_PER_SECOND: i64 = 1_000_000;
pub(super) const US_PER_DAY: i64 = 86_400 * US_PER_SECOND;

/// What an instant has in SQL here.
pub(super) fn timestamptz_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(super) const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

pub(super) const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// A zone by its name or offset; PostgreSQL's sign of `UTC+2` is POSIX's, but nobody writes that here.
pub(super) fn zone(name: &str) -> Result<Tz> {
    let known = match name.to_ascii_lowercase().as_str() {
        "utc" | "gmt" | "z" | "zulu" | "utc0" => "+00:00",
        _ => name,
    };
    Tz::from_str(known).map_err(|_| sql_error("22023", format!("time zone \"{name}\" not recognized")))
}

/// Microseconds of a moment on a clock in UTC.
pub(super) fn micros(time: NaiveDateTime) -> i64 {
    time.and_utc().timestamp_micros()
}

pub(super) fn naive(micros: i64) -> Result<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros)
        .map(|time| time.naive_utc())
        .ok_or_else(|| sql_error("22008", "timestamp out of range"))
}

/// What a clock in the zone shows at an instant.
pub(super) fn local(micros_utc: i64, zone: Tz) -> Result<NaiveDateTime> {
    let utc = naive(micros_utc)?;
    Ok(utc + zone.offset_from_utc_datetime(&utc).fix())
}

/// The instant at which a clock in the zone shows a time: the earlier of two; in a gap, as if the offset before it went on.
pub(super) fn instant(clock: NaiveDateTime, zone: Tz) -> i64 {
    match zone.offset_from_local_datetime(&clock) {
        chrono::LocalResult::Single(offset) => micros(clock - offset.fix()),
        chrono::LocalResult::Ambiguous(_, later) => micros(clock - later.fix()),
        chrono::LocalResult::None => {
            let before = zone.offset_from_utc_datetime(&(clock - Duration::days(1)));
            micros(clock - before.fix())
        }
    }
}

/// An interval in PostgreSQL's three parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Interval {
    pub(super) months: i32,
    pub(super) days: i32,
    pub(super) micros: i64,
}

impl Interval {
    pub(super) fn of(value: &ScalarValue) -> Option<Interval> {
        Some(match value {
            ScalarValue::IntervalMonthDayNano(Some(v)) => Interval {
                months: v.months,
                days: v.days,
                micros: v.nanoseconds / 1000,
            },
            ScalarValue::IntervalYearMonth(Some(months)) => Interval {
                months: *months,
                ..Interval::default()
            },
            ScalarValue::IntervalDayTime(Some(v)) => Interval {
                days: v.days,
                micros: i64::from(v.milliseconds) * 1000,
                months: 0,
            },
            ScalarValue::DurationSecond(Some(v)) => Interval::of_micros(v * US_PER_SECOND),
            ScalarValue::DurationMillisecond(Some(v)) => Interval::of_micros(v * 1000),
            ScalarValue::DurationMicrosecond(Some(v)) => Interval::of_micros(*v),
            ScalarValue::DurationNanosecond(Some(v)) => Interval::of_micros(v / 1000),
            _ => return None,
        })
    }

    pub(super) fn of_micros(micros: i64) -> Interval {
        Interval {
            micros,
            ..Interval::default()
        }
    }

    pub(super) fn value(self) -> Result<ScalarValue> {
        let nanoseconds = self
            .micros
            .checked_mul(1000)
            .ok_or_else(|| sql_error("22008", "interval out of range"))?;
        Ok(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano {
            months: self.months,
            days: self.days,
            nanoseconds,
        })))
    }

    /// Its length where a month has 30 days, by which PostgreSQL compares.
    pub(super) fn span(self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * i128::from(US_PER_DAY) + i128::from(self.micros)
    }

    pub(super) fn parse(text: &str) -> Result<Interval> {
        parse_interval(text)
            .ok_or_else(|| sql_error("22007", format!("invalid input syntax for type interval: \"{text}\"")))
    }

    /// Adds it to what a clock shows: months first, then days, then time.
    pub(super) fn add_to(self, clock: NaiveDateTime) -> Result<NaiveDateTime> {
        let months = clock.year() * 12 + clock.month0().cast_signed() + self.months;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12).cast_unsigned() + 1);
        let day = clock.day().min(days_in_month(year, month));
        NaiveDate::from_ymd_opt(year, month, day)
            .and_then(|date| date.checked_add_signed(Duration::days(self.days.into())))
            .and_then(|date| {
                date.and_time(clock.time())
                    .checked_add_signed(Duration::microseconds(self.micros))
            })
            .ok_or_else(|| sql_error("22008", "timestamp out of range"))
    }

    pub(super) fn negated(self) -> Interval {
        Interval {
            months: -self.months,
            days: -self.days,
            micros: -self.micros,
        }
    }

    /// Its text, as `IntervalStyle = postgres` has it.
    pub(super) fn text(self) -> String {
        let mut parts = Vec::new();
        let mut before_negative = false;
        let mut part = |count: i32, one: &str, many: &str| {
            if count != 0 {
                let sign = if before_negative && count > 0 { "+" } else { "" };
                before_negative = count < 0;
                parts.push(format!("{sign}{count} {}", if count == 1 { one } else { many }));
            }
        };
        part(self.months / 12, "year", "years");
        part(self.months % 12, "mon", "mons");
        part(self.days, "day", "days");
        if self.micros != 0 || parts.is_empty() {
            let sign = match (self.micros < 0, before_negative) {
                (true, _) => "-",
                (false, true) => "+",
                (false, false) => "",
            };
            let total = self.micros.unsigned_abs();
            let (seconds, fraction) = (total / 1_000_000, total % 1_000_000);
            let mut text = format!(
                "{sign}{:02}:{:02}:{:02}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            );
            text.push_str(&fraction_text(fraction));
            parts.push(text);
        }
        parts.join(" ")
    }
}

fn fraction_text(micros: u64) -> String {
    if micros == 0 {
        return String::new();
    }
    let digits = format!(".{micros:06}");
    digits.trim_end_matches('0').to_owned()
}

pub(super) fn days_in_month(year: i32, month: u32) -> u32 {
    let next = if month == 12 {
        NaiveDate::from_ymd_opt(year + 1, 1, 1)
    } else {
        NaiveDate::from_ymd_opt(year, month + 1, 1)
    };
    next.and_then(|date| date.pred_opt()).map_or(28, |date| date.day())
}

/// Adds a number of some unit; what is less than a whole month or day goes on to the next smaller unit.
fn add_unit(total: &mut Interval, amount: f64, unit: &str) -> Option<()> {
    let months = |total: &mut Interval, months: f64| {
        total.months += whole(months.trunc())?;
        let days = (months - months.trunc()) * 30.0;
        total.days += whole(days.trunc())?;
        add_micros(total, (days - days.trunc()) * 86_400e6)
    };
    let days = |total: &mut Interval, days: f64| {
        total.days += whole(days.trunc())?;
        add_micros(total, (days - days.trunc()) * 86_400e6)
    };
    match unit {
        "millennium" | "millennia" | "millenniums" | "mil" | "mils" => months(total, amount * 12_000.0),
        "century" | "centuries" | "cent" | "c" => months(total, amount * 1200.0),
        "decade" | "decades" | "dec" | "decs" => months(total, amount * 120.0),
        "year" | "years" | "y" | "yr" | "yrs" => months(total, amount * 12.0),
        "month" | "months" | "mon" | "mons" => months(total, amount),
        "week" | "weeks" | "w" => days(total, amount * 7.0),
        "day" | "days" | "d" => days(total, amount),
        "hour" | "hours" | "h" | "hr" | "hrs" => add_micros(total, amount * 3600e6),
        "minute" | "minutes" | "m" | "min" | "mins" => add_micros(total, amount * 60e6),
        "second" | "seconds" | "s" | "sec" | "secs" | "" => add_micros(total, amount * 1e6),
        "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => add_micros(total, amount * 1e3),
        "microsecond" | "microseconds" | "us" | "usec" | "usecs" => add_micros(total, amount),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the bounds are checked before")]
fn whole(number: f64) -> Option<i32> {
    (number.abs() <= f64::from(i32::MAX)).then_some(number as i32)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the bounds are checked before"
)]
fn add_micros(total: &mut Interval, micros: f64) -> Option<()> {
    if micros.abs() > i64::MAX as f64 / 2.0 {
        return None;
    }
    total.micros = total.micros.checked_add(micros.round() as i64)?;
    Some(())
}

fn parse_interval(text: &str) -> Option<Interval> {
    let text = text.trim().to_ascii_lowercase();
    if let Some(iso) = text.strip_prefix('p') {
        return parse_iso_interval(iso);
    }
    let text = text.strip_prefix('@').unwrap_or(&text).trim();
    let (text, ago) = match text.strip_suffix("ago") {
        Some(rest) => (rest.trim(), true),
        None => (text, false),
    };
    let mut total = Interval::default();
    let mut tokens = split_units(text).into_iter().peekable();
    tokens.peek()?;
    while let Some(token) = tokens.next() {
        if token.contains(':') {
            total.micros = total.micros.checked_add(parse_clock(&token)?)?;
            continue;
        }
        // `1-2`: years and months.
        if let Some((years, months)) = token
            .trim_start_matches(['+', '-'])
            .split_once('-')
            .filter(|(years, months)| !years.is_empty() && !months.is_empty())
        {
            let sign = if token.starts_with('-') { -1 } else { 1 };
            total.months += sign * (years.parse::<i32>().ok()? * 12 + months.parse::<i32>().ok()?);
            continue;
        }
        let amount: f64 = token.parse().ok()?;
        let unit = match tokens.peek() {
            Some(next) if next.starts_with(|c: char| c.is_ascii_alphabetic()) => tokens.next()?,
            // `1 12:00:00`: days before a time.
            Some(next) if next.contains(':') => "day".into(),
            _ => String::new(),
        };
        add_unit(&mut total, amount, &unit)?;
    }
    Some(if ago { total.negated() } else { total })
}

/// `1day 2 hours` → `1`, `day`, `2`, `hours`.
fn split_units(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let mut token = String::new();
        for c in word.chars() {
            let starts_other = token
                .chars()
                .last()
                .is_some_and(|last| last.is_ascii_alphabetic() != c.is_ascii_alphabetic());
            if starts_other {
                tokens.push(std::mem::take(&mut token));
            }
            token.push(c);
        }
        tokens.push(token);
    }
    tokens
}

/// `[-]h:m[:s.f]` in microseconds.
fn parse_clock(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = text.split(':');
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let seconds = match parts.next() {
        Some(seconds) => seconds_to_micros(seconds)?,
        None => 0,
    };
    if parts.next().is_some() || minutes > 59 {
        return None;
    }
    Some(sign * ((hours * 3600 + minutes * 60) * US_PER_SECOND + seconds))
}

/// `ss[.ffffff…]`, rounded to microseconds.
fn seconds_to_micros(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    if !fraction.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("0000000".chars()).take(7).collect();
    let tenths: i64 = digits.parse().ok()?;
    Some(whole * US_PER_SECOND + (tenths + 5) / 10)
}

fn parse_iso_interval(text: &str) -> Option<Interval> {
    let mut total = Interval::default();
    let (mut in_time, mut number) = (false, String::new());
    for c in text.chars() {
        match c {
            't' => in_time = true,
            c if c.is_ascii_digit() || matches!(c, '.' | '-' | '+') => number.push(c),
            c => {
                let amount: f64 = std::mem::take(&mut number).parse().ok()?;
                let unit = match (c, in_time) {
                    ('y', false) => "year",
                    ('m', false) => "month",
                    ('w', false) => "week",
                    ('d', false) => "day",
                    ('h', true) => "hour",
                    ('m', true) => "minute",
                    ('s', true) => "second",
                    _ => return None,
                };
                add_unit(&mut total, amount, unit)?;
            }
        }
    }
    number.is_empty().then_some(total)
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

enum Moment {
    Clock(NaiveDateTime, Option<Tz>),
    OutOfRange,
    Wrong,
}

/// A date, with or without a time of the day and a zone.
fn parse_moment(text: &str, session: Tz) -> Moment {
    let trimmed = text.trim();
    let now = || local(chrono::Utc::now().timestamp_micros(), session).unwrap_or_default();
    let midnight = |days: i64| (now().date() + Duration::days(days)).and_time(NaiveTime::MIN);
    match trimmed.to_ascii_lowercase().as_str() {
        "epoch" => return Moment::Clock(NaiveDateTime::default(), zone("UTC").ok()),
        "now" => return Moment::Clock(now(), None),
        "today" => return Moment::Clock(midnight(0), None),
        "tomorrow" => return Moment::Clock(midnight(1), None),
        "yesterday" => return Moment::Clock(midnight(-1), None),
        _ => {}
    }
    let (date, rest) = match split_date(trimmed) {
        Some(split) => split,
        None => return Moment::Wrong,
    };
    let Some(date) = date else { return Moment::OutOfRange };
    let rest = rest.trim_start_matches(['T', 't', ' ']);
    if rest.is_empty() {
        return Moment::Clock(date.and_time(NaiveTime::MIN), None);
    }
    let (micros_of_day, rest) = match split_time(rest) {
        Some(split) => split,
        // `2024-01-31 +02`
        None if rest.starts_with(['+', '-']) => (Some(0), rest),
        None => return Moment::Wrong,
    };
    let rest = rest.trim();
    let zone = match rest {
        "" => None,
        name => match zone(name) {
            Ok(zone) => Some(zone),
            Err(_) => return Moment::Wrong,
        },
    };
    match micros_of_day {
        Some(micros) => Moment::Clock(date.and_time(NaiveTime::MIN) + Duration::microseconds(micros), zone),
        None => Moment::OutOfRange,
    }
}

/// The date at the beginning of a text, and what follows it; no date if there is none such day.
fn split_date(text: &str) -> Option<(Option<NaiveDate>, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 8 && !text[8..].starts_with('-') {
        let part = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok();
        let date = NaiveDate::from_ymd_opt(i32::try_from(part(0, 4)?).ok()?, part(4, 6)?, part(6, 8)?);
        return Some((date, &text[8..]));
    }
    if digits >= 4 {
        let mark = text[digits..].chars().next().filter(|c| matches!(c, '-' | '/' | '.'))?;
        let year: i32 = text[..digits].parse().ok()?;
        let rest = &text[digits + 1..];
        let (month, rest) = rest.split_once(mark)?;
        let days = rest.bytes().take_while(u8::is_ascii_digit).count();
        let month: u32 = match month.parse() {
            Ok(month) => month,
            Err(_) => month_number(month)?,
        };
        let day: u32 = rest[..days].parse().ok()?;
        return Some((NaiveDate::from_ymd_opt(year, month, day), &rest[days..]));
    }
    // `Jan 31, 2024`, `31 Jan 2024`
    let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let (one, two, year) = (words.next()?, words.next()?, words.next()?);
    let (month, day) = match month_number(one) {
        Some(month) => (month, two.parse().ok()?),
        None => (month_number(two)?, one.parse().ok()?),
    };
    let end = text.find(year)? + year.len();
    Some((NaiveDate::from_ymd_opt(year.parse().ok()?, month, day), &text[end..]))
}

fn month_number(name: &str) -> Option<u32> {
    let name = name.to_ascii_lowercase();
    let at = MONTHS.iter().position(|month| name.starts_with(month))?;
    u32::try_from(at + 1).ok()
}

/// Microseconds of the day at the beginning of a text (nothing if there is no such time), and what follows.
fn split_time(text: &str) -> Option<(Option<i64>, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.')))
        .unwrap_or(text.len());
    let (clock, mut rest) = text.split_at(end);
    let mut micros = parse_clock(clock).or_else(|| {
        // `102030` or `10`
        let hours: i64 = clock.get(0..2)?.parse().ok()?;
        let minutes: i64 = clock.get(2..4).map_or(Some(0), |m| m.parse().ok())?;
        let seconds: i64 = clock.get(4..6).map_or(Some(0), |s| s.parse().ok())?;
        Some((hours * 3600 + minutes * 60 + seconds) * US_PER_SECOND)
    });
    micros?;
    let lower = rest.trim_start().to_ascii_lowercase();
    if lower.starts_with("am") || lower.starts_with("pm") {
        let noon = 12 * 3600 * US_PER_SECOND;
        micros = micros.map(|micros| micros % noon + if lower.starts_with("pm") { noon } else { 0 });
        rest = &rest.trim_start()[2..];
    }
    Some((micros.filter(|micros| (0..=US_PER_DAY).contains(micros)), rest))
}

/// What a client wrote in a text as a value of a type, times without a zone being in that of its session. Types that are not read from
/// text otherwise stay text. Errors have PostgreSQL's SQLSTATE (22P02, 22003, 22007, 22008).
pub fn read_text(text: &str, ty: &DataType, session_zone: &str) -> Result<ScalarValue> {
    Ok(parse(text, ty, zone(session_zone)?)?.unwrap_or_else(|| ScalarValue::Utf8(Some(text.to_owned()))))
}

/// The value that a text is of a type, as PostgreSQL's input functions read it; `None` for types that are none of ours.
pub(super) fn parse(text: &str, ty: &DataType, session: Tz) -> Result<Option<ScalarValue>> {
    let wrong =
        |name: &str, code: &'static str| raise(code, format!("invalid input syntax for type {name}: \"{text}\""));
    let trimmed = text.trim();
    Ok(Some(match ty {
        DataType::Boolean => match boolean(trimmed) {
            Some(value) => ScalarValue::Boolean(Some(value)),
            None => return wrong("boolean", "22P02"),
        },
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::UInt32 => {
            let name = integer_name(ty);
            let Ok(value) = trimmed.parse::<i128>() else {
                return wrong(name, "22P02");
            };
            let fitting = match ty {
                DataType::Int16 => i16::try_from(value).ok().map(|v| ScalarValue::Int16(Some(v))),
                DataType::Int32 => i32::try_from(value).ok().map(|v| ScalarValue::Int32(Some(v))),
                DataType::Int64 => i64::try_from(value).ok().map(|v| ScalarValue::Int64(Some(v))),
                _ => u32::try_from(value).ok().map(|v| ScalarValue::UInt32(Some(v))),
            };
            match fitting {
                Some(value) => value,
                None => return raise("22003", format!("value \"{text}\" is out of range for type {name}")),
            }
        }
        DataType::Float32 => match float(trimmed) {
            #[expect(clippy::cast_possible_truncation, reason = "real has the precision it has")]
            Some(value) => ScalarValue::Float32(Some(value as f32)),
            None => return wrong("real", "22P02"),
        },
        DataType::Float64 => match float(trimmed) {
            Some(value) => ScalarValue::Float64(Some(value)),
            None => return wrong("double precision", "22P02"),
        },
        DataType::Decimal128(precision, scale) => match decimal(trimmed, *scale) {
            Some(value) => ScalarValue::Decimal128(Some(value), *precision, *scale),
            None => return wrong("numeric", "22P02"),
        },
        DataType::Date32 => match parse_moment(text, session) {
            Moment::Clock(clock, _) => ScalarValue::Date32(Some(days(clock.date()))),
            Moment::OutOfRange => return out_of_range(text),
            Moment::Wrong => return wrong("date", "22007"),
        },
        DataType::Timestamp(unit, zoned) => {
            let clock = match parse_moment(text, session) {
                Moment::Clock(clock, zone) => match zoned {
                    Some(_) => instant(clock, zone.unwrap_or(session)),
                    None => micros(clock),
                },
                Moment::OutOfRange => return out_of_range(text),
                Moment::Wrong => {
                    let kind = if zoned.is_some() { "with" } else { "without" };
                    return wrong(&format!("timestamp {kind} time zone"), "22007");
                }
            };
            ScalarValue::TimestampMicrosecond(Some(clock), zoned.clone())
                .cast_to(&DataType::Timestamp(*unit, zoned.clone()))?
        }
        DataType::Time64(_) | DataType::Time32(_) => match split_time(trimmed) {
            Some((Some(micros), _)) => ScalarValue::Time64Microsecond(Some(micros)).cast_to(ty)?,
            Some((None, _)) => return out_of_range(text),
            None => return wrong("time", "22007"),
        },
        DataType::Interval(_) | DataType::Duration(_) => Interval::parse(text)?.value()?.cast_to(ty)?,
        DataType::Binary => ScalarValue::Binary(Some(bytes(text)?)),
        DataType::LargeUtf8 => ScalarValue::LargeUtf8(Some(json_text(&parse_json(text)?))),
        DataType::List(item) => {
            let Some(items) = array_items(text) else {
                return raise("22P02", format!("malformed array literal: \"{text}\""));
            };
            let items = items
                .into_iter()
                .map(|value| match value {
                    Some(value) => {
                        Ok(parse(&value, item.data_type(), session)?.unwrap_or(ScalarValue::Utf8(Some(value))))
                    }
                    None => ScalarValue::try_from(item.data_type()),
                })
                .collect::<Result<Vec<_>>>()?;
            ScalarValue::List(ScalarValue::new_list_nullable(&items, item.data_type()))
        }
        _ => return Ok(None),
    }))
}

fn out_of_range<T>(text: &str) -> Result<T> {
    raise("22008", format!("date/time field value out of range: \"{text}\""))
}

pub(super) fn integer_name(ty: &DataType) -> &'static str {
    match ty {
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::UInt32 => "oid",
        _ => "bigint",
    }
}

/// As PostgreSQL reads it: unique beginnings of the words count.
fn boolean(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let begins = |word: &str| !text.is_empty() && word.starts_with(&text);
    match text.as_str() {
        "1" | "on" => Some(true),
        "0" => Some(false),
        "of" | "off" => Some(false),
        _ if begins("true") || begins("yes") => Some(true),
        _ if begins("false") || begins("no") => Some(false),
        _ => None,
    }
}

fn float(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "infinity" | "+infinity" | "inf" | "+inf" => Some(f64::INFINITY),
        "-infinity" | "-inf" => Some(f64::NEG_INFINITY),
        plain if plain.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) => plain.parse().ok(),
        _ => None,
    }
}

/// A number with digits after the point as many as there may be, rounded half away from zero.
fn decimal(text: &str, scale: i8) -> Option<i128> {
    let (text, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all: String = whole.chars().chain(fraction.chars()).collect();
    if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let shift = i32::from(scale) + exponent - i32::try_from(fraction.len()).ok()?;
    let value: i128 = all.parse().ok()?;
    let value = if shift >= 0 {
        value.checked_mul(10_i128.checked_pow(shift.cast_unsigned())?)?
    } else {
        match 10_i128.checked_pow(shift.unsigned_abs()) {
            Some(divisor) => (value + divisor / 2) / divisor,
            None => 0,
        }
    };
    Some(if negative { -value } else { value })
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        return unhex(hex).ok_or_else(|| sql_error("22023", "invalid hexadecimal data"));
    }
    let mut result = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'\\' {
            result.push(*first);
        } else if let Some((b'\\', tail)) = rest.split_first() {
            result.push(b'\\');
            rest = tail;
        } else {
            let octal = rest.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
            let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) else {
                return raise("22P02", "invalid input syntax for type bytea");
            };
            result.push(byte);
            rest = &rest[3..];
        }
    }
    Ok(result)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

pub(super) fn days(date: NaiveDate) -> i32 {
    date.signed_duration_since(NaiveDate::default())
        .num_days()
        .try_into()
        .unwrap_or(i32::MAX)
}

pub(super) fn date(days: i32) -> Result<NaiveDate> {
    NaiveDate::default()
        .checked_add_signed(Duration::days(days.into()))
        .ok_or_else(|| sql_error("22008", "date out of range"))
}

/// Microseconds of a timestamp of any unit, and whether it is an instant.
pub(super) fn timestamp_micros(value: &ScalarValue) -> Option<(i64, bool)> {
    match value {
        ScalarValue::TimestampSecond(Some(v), zone) => Some((v * US_PER_SECOND, zone.is_some())),
        ScalarValue::TimestampMillisecond(Some(v), zone) => Some((v * 1000, zone.is_some())),
        ScalarValue::TimestampMicrosecond(Some(v), zone) => Some((*v, zone.is_some())),
        ScalarValue::TimestampNanosecond(Some(v), zone) => Some((v.div_euclid(1000), zone.is_some())),
        _ => None,
    }
}

/// The text of a value as PostgreSQL prints it; `None` for null.
pub(super) fn text_of(value: &ScalarValue, session: Tz) -> Option<String> {
    if value.is_null() {
        return None;
    }
    if let Some(interval) = Interval::of(value) {
        return Some(interval.text());
    }
    if let Some((micros, zoned)) = timestamp_micros(value) {
        return Some(match zoned {
            true => instant_text(micros, session),
            false => naive(micros).map(clock_text).unwrap_or_default(),
        });
    }
    Some(match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => text.clone()?,
        ScalarValue::Boolean(value) => value.map(|value| value.to_string())?,
        ScalarValue::Float32(value) => float_text((*value)?.into(), &format!("{:e}", (*value)?), 6),
        ScalarValue::Float64(value) => float_text((*value)?, &format!("{:e}", (*value)?), 15),
        ScalarValue::Date32(days) => date((*days)?).map(|date| date.format("%Y-%m-%d").to_string()).ok()?,
        ScalarValue::Time64Microsecond(micros) => time_text((*micros)?),
        ScalarValue::Time64Nanosecond(nanos) => time_text((*nanos)? / 1000),
        ScalarValue::Binary(bytes) | ScalarValue::LargeBinary(bytes) | ScalarValue::BinaryView(bytes) => {
            format!("\\x{}", hex(bytes.as_deref()?))
        }
        ScalarValue::List(list) if pg_types::pg_type_oid(list.data_type()) != pg_types::JSONB => {
            array_text(&list.value(0), session)
        }
        ScalarValue::Decimal128(Some(value), _, scale) => decimal_text(*value, *scale),
        ScalarValue::List(_)
        | ScalarValue::LargeList(_)
        | ScalarValue::FixedSizeList(_)
        | ScalarValue::Struct(_)
        | ScalarValue::Map(_) => json_text(&json_of(value, session)),
        other => other.to_string(),
    })
}

pub(super) fn decimal_text(value: i128, scale: i8) -> String {
    let scale = usize::try_from(scale).unwrap_or(0);
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

fn clock_text(clock: NaiveDateTime) -> String {
    let fraction = u64::from(clock.and_utc().timestamp_subsec_micros());
    format!("{}{}", clock.format("%Y-%m-%d %H:%M:%S"), fraction_text(fraction))
}

fn instant_text(micros: i64, zone: Tz) -> String {
    let Ok(utc) = naive(micros) else { return String::new() };
    let offset = zone.offset_from_utc_datetime(&utc).fix();
    format!(
        "{}{}",
        clock_text(utc + offset),
        offset_text(offset.local_minus_utc(), true)
    )
}

/// `+05:30`, or `+05` where there are no minutes and they may be left out.
pub(super) fn offset_text(seconds: i32, short: bool) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    if short && minutes % 60 == 0 {
        format!("{sign}{:02}", minutes / 60)
    } else {
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

fn time_text(micros: i64) -> String {
    let seconds = micros / US_PER_SECOND;
    let fraction = (micros % US_PER_SECOND).unsigned_abs();
    format!(
        "{:02}:{:02}:{:02}{}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        fraction_text(fraction)
    )
}

/// The shortest digits that read back as the same number, with an exponent where PostgreSQL writes one.
fn float_text(value: f64, scientific: &str, precision: i32) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 {
            "Infinity".into()
        } else {
            "-Infinity".into()
        };
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..precision).contains(&exponent) {
        return match scientific.starts_with('-') && value == 0.0 {
            true => "-0".into(),
            // Plain notation of the same digits.
            false if precision == 6 => scientific
                .parse::<f32>()
                .map_or_else(|_| value.to_string(), |v| v.to_string()),
            false => value.to_string(),
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// `{1,"a b",NULL}`
pub(super) fn array_text(items: &ArrayRef, session: Tz) -> String {
    let mut text = String::from("{");
    for at in 0..items.len() {
        if at > 0 {
            text.push(',');
        }
        let value = ScalarValue::try_from_array(items, at).unwrap_or(ScalarValue::Null);
        if let ScalarValue::List(inner) = &value
            && !value.is_null()
        {
            text.push_str(&array_text(&inner.value(0), session));
            continue;
        }
        match text_of(&value, session) {
            None => text.push_str("NULL"),
            Some(item) if matches!(value, ScalarValue::Boolean(_)) => text.push_str(&item[..1]),
            Some(item) => {
                let plain = !item.is_empty()
                    && !item.eq_ignore_ascii_case("null")
                    && !item.contains(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | ',' | '"' | '\\'));
                if plain {
                    text.push_str(&item);
                } else {
                    let _ = write!(text, "\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\""));
                }
            }
        }
    }
    text.push('}');
    text
}

// JSON

/// The JSON a text is.
pub(super) fn parse_json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|_| sql_error("22P02", "invalid input syntax for type json"))
}

/// Any value as JSON.
pub(super) fn json_of(value: &ScalarValue, session: Tz) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    match value {
        ScalarValue::LargeUtf8(Some(text)) => parse_json(text).unwrap_or_else(|_| text.clone().into()),
        ScalarValue::Boolean(Some(value)) => (*value).into(),
        ScalarValue::Float32(Some(_)) | ScalarValue::Float64(Some(_)) | ScalarValue::Decimal128(Some(_), ..) => {
            let text = text_of(value, session).unwrap_or_default();
            number(&text).unwrap_or(Value::String(text))
        }
        other => other_json(other, session),
    }
}

fn other_json(value: &ScalarValue, session: Tz) -> Value {
    if let Some((micros, zoned)) = timestamp_micros(value) {
        let text = match zoned {
            true => {
                let offset = local(micros, session).map_or(0, |clock| (self::micros(clock) - micros) / US_PER_SECOND);
                let offset = offset_text(i32::try_from(offset).unwrap_or(0), false);
                format!("{}{offset}", local(micros, session).map(clock_text).unwrap_or_default())
            }
            false => naive(micros).map(clock_text).unwrap_or_default(),
        };
        return text.replacen(' ', "T", 1).into();
    }
    match value {
        ScalarValue::List(list) => items_json(&list.value(0), session),
        ScalarValue::LargeList(list) => items_json(&list.value(0), session),
        ScalarValue::FixedSizeList(list) => items_json(&list.value(0), session),
        ScalarValue::Struct(row) => {
            let fields = row.fields().iter().zip(row.columns());
            let field = |(field, column): (&Arc<arrow::datatypes::Field>, &ArrayRef)| {
                (field.name().clone(), item_json(column, 0, session))
            };
            Value::Object(fields.map(field).collect())
        }
        ScalarValue::Map(map) => {
            let entries = map.value(0);
            let key = |at: usize| match item_json(entries.column(0), at, session) {
                Value::String(key) => key,
                other => other.to_string(),
            };
            Value::Object(
                (0..entries.len())
                    .map(|at| (key(at), item_json(entries.column(1), at, session)))
                    .collect(),
            )
        }
        other if other.data_type().is_integer() => match other.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(Some(number))) => number.into(),
            _ => Value::Null,
        },
        other => text_of(other, session).map_or(Value::Null, Value::String),
    }
}

fn items_json(items: &ArrayRef, session: Tz) -> Value {
    Value::Array((0..items.len()).map(|at| item_json(items, at, session)).collect())
}

fn item_json(items: &ArrayRef, at: usize, session: Tz) -> Value {
    ScalarValue::try_from_array(items, at).map_or(Value::Null, |value| json_of(&value, session))
}

/// A number from its digits.
pub(super) fn number(text: &str) -> Option<Value> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Number(_)) => Some(value),
        _ => None,
    }
}

/// As `jsonb` prints: spaces after colons and commas, keys by length and then by bytes.
pub(super) fn json_text(value: &Value) -> String {
    let mut text = String::new();
    write_json(&mut text, value);
    text
}

fn write_json(text: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push_str(", ");
                }
                write_json(text, item);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
            text.push('{');
            for (at, (key, item)) in fields.into_iter().enumerate() {
                if at > 0 {
                    text.push_str(", ");
                }
                let _ = write!(text, "{}: ", Value::String(key.clone()));
                write_json(text, item);
            }
            text.push('}');
        }
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

/// The JSON of a value that is an argument for JSON: a text is read, everything else is turned into it.
pub(super) fn json_argument(value: &ScalarValue, session: Tz) -> Result<Option<Value>> {
    Ok(match value {
        value if value.is_null() => None,
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            Some(parse_json(text)?)
        }
        other => Some(json_of(other, session)),
    })
}

/// A value of JSON as text, as `->>` gives it: a string without quotes, null for null.
pub(super) fn json_as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(json_text(other)),
    }
}
