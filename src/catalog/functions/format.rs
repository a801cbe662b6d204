//! `to_char`, `to_date`, `to_timestamp`, `to_number`: PostgreSQL's template patterns.

use arrow::datatypes::DataType;
use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Timelike};
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use super::plain::{Plain, Zone, date_type, plain, text, text_type, timestamptz_type, utf8};
use super::time::{clock, instant_value};
use crate::catalog::sql_error::raise;
use crate::catalog::values::{self, Interval, US_PER_SECOND, decimal_text, instant};

pub(super) static FUNCTIONS: &[Plain] = &[
    plain(
        "to_char",
        2..=2,
        text_type,
        to_char,
        "a time, an interval or a number by a template",
    ),
    plain(
        "to_date",
        2..=2,
        date_type,
        |zone, a| {
            let clock = read_moment(&text(zone, a, 0), &text(zone, a, 1))?;
            Ok(ScalarValue::Date32(Some(values::days(clock.date()))))
        },
        "a text by a template as a date",
    ),
    plain(
        "to_timestamp__template",
        2..=2,
        timestamptz_type,
        |zone, a| {
            Ok(instant_value(instant(
                read_moment(&text(zone, a, 0), &text(zone, a, 1))?,
                zone.0,
            )))
        },
        "",
    ),
    plain(
        "to_number",
        2..=2,
        |_| Ok(DataType::Decimal128(38, 10)),
        to_number,
        "a text by a template as a number",
    ),
];

/// Template patterns of times, longer ones before their beginnings.
const PATTERNS: &[&str] = &[
    "Y,YYY", "YYYY", "IYYY", "SSSSS", "MONTH", "HH24", "HH12", "A.D.", "B.C.", "A.M.", "P.M.", "SSSS", "IDDD", "YYY",
    "IYY", "MON", "DDD", "DAY", "TZH", "TZM", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "YY", "IY", "MM", "MI", "MS",
    "DD", "DY", "HH", "SS", "US", "AM", "PM", "AD", "BC", "ID", "IW", "WW", "CC", "RM", "TZ", "OF", "Y", "I", "D", "W",
    "Q", "J",
];

enum Piece {
    Text(String),
    Pattern {
        name: &'static str,
        /// As it was written: `Mon`, `MON`, `mon`.
        written: String,
        fill: bool,
        ordinal: Option<String>,
    },
}

fn pieces(template: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut fill = true;
    while let Some(c) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            pieces.push(Piece::Text(quoted[..end].to_owned()));
            rest = quoted.get(end + 1..).unwrap_or_default();
            continue;
        }
        let begins = |word: &str| {
            rest.get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        if begins("FM") {
            fill = false;
            rest = &rest[2..];
            continue;
        }
        if begins("FX") || begins("TM") {
            rest = &rest[2..];
            continue;
        }
        if let Some(name) = PATTERNS.iter().find(|name| begins(name)) {
            let written = rest[..name.len()].to_owned();
            rest = &rest[name.len()..];
            let ordinal = rest
                .get(..2)
                .filter(|th| th.eq_ignore_ascii_case("th"))
                .map(str::to_owned);
            if ordinal.is_some() {
                rest = &rest[2..];
            }
            pieces.push(Piece::Pattern {
                name,
                written,
                fill,
                ordinal,
            });
            fill = true;
            continue;
        }
        pieces.push(Piece::Text(c.to_string()));
        rest = &rest[c.len_utf8()..];
    }
    pieces
}

/// A name in the case that the pattern was written in.
fn in_case(name: &str, written: &str) -> String {
    let mut letters = written.chars();
    let (first, second) = (letters.next(), letters.next());
    if first.is_some_and(char::is_lowercase) {
        name.to_lowercase()
    } else if second.is_some_and(char::is_lowercase) {
        name.to_owned()
    } else {
        name.to_uppercase()
    }
}

struct Shown {
    clock: NaiveDateTime,
    /// Seconds east of Greenwich and the zone's name, of an instant.
    zone: Option<(i32, String)>,
    /// Hours of an interval go beyond a day.
    interval: Option<Interval>,
}

fn to_char(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let template = text(zone, a, 1);
    let value = &a[0];
    if let Some(interval) = Interval::of(value) {
        return Ok(utf8(shown_text(
            &template,
            &Shown {
                clock: NaiveDateTime::default(),
                zone: None,
                interval: Some(interval),
            },
        )));
    }
    let is_time = values::timestamp_micros(value).is_some()
        || matches!(
            value,
            ScalarValue::Date32(_) | ScalarValue::Time64Microsecond(_) | ScalarValue::Time64Nanosecond(_)
        );
    if is_time {
        let clock = clock(zone, value)?;
        let of_zone = match values::timestamp_micros(value) {
            Some((micros, true)) => {
                let utc = values::naive(micros)?;
                let offset = zone.0.offset_from_utc_datetime(&utc);
                let name = if offset.fix().local_minus_utc() == 0 && offset.to_string().starts_with('+') {
                    "UTC".into()
                } else {
                    offset.to_string()
                };
                Some((offset.fix().local_minus_utc(), name))
            }
            _ => None,
        };
        return Ok(utf8(shown_text(
            &template,
            &Shown {
                clock,
                zone: of_zone,
                interval: None,
            },
        )));
    }
    number_text(zone, value, &template).map(utf8)
}

fn shown_text(template: &str, shown: &Shown) -> String {
    let mut result = String::new();
    for piece in pieces(template) {
        match piece {
            Piece::Text(text) => result.push_str(&text),
            Piece::Pattern {
                name,
                written,
                fill,
                ordinal,
            } => {
                let item = shown_item(name, &written, fill, shown);
                result.push_str(&item);
                if let Some(written) = ordinal {
                    let number: u32 = item.trim().parse().unwrap_or(0);
                    let ending = match (number % 10, number % 100) {
                        (1, n) if n != 11 => "st",
                        (2, n) if n != 12 => "nd",
                        (3, n) if n != 13 => "rd",
                        _ => "th",
                    };
                    result.push_str(&if written.starts_with('T') {
                        ending.to_uppercase()
                    } else {
                        ending.to_owned()
                    });
                }
            }
        }
    }
    result
}

fn shown_item(name: &str, written: &str, fill: bool, shown: &Shown) -> String {
    let clock = shown.clock;
    let micros = i64::from(clock.and_utc().timestamp_subsec_micros());
    let number = |value: i64, width: usize| {
        if fill {
            format!("{value:0width$}")
        } else {
            value.to_string()
        }
    };
    let padded = |text: String, width: usize| if fill { format!("{text:<width$}") } else { text };
    let (years, months, days, hours, minutes, seconds, fraction) = match shown.interval {
        Some(i) => {
            let total = i.micros / US_PER_SECOND;
            (
                i64::from(i.months / 12),
                i64::from(i.months % 12),
                i64::from(i.days),
                total / 3600,
                total / 60 % 60,
                total % 60,
                (i.micros % US_PER_SECOND).abs(),
            )
        }
        None => (
            i64::from(clock.year()),
            i64::from(clock.month()),
            i64::from(clock.day()),
            i64::from(clock.hour()),
            i64::from(clock.minute()),
            i64::from(clock.second()),
            micros,
        ),
    };
    let last_digits = |value: i64, count: u32| value.rem_euclid(10_i64.pow(count));
    let iso_year = i64::from(clock.iso_week().year());
    let half = |dots: bool| match (hours % 24 >= 12, dots) {
        (true, false) => "PM",
        (false, false) => "AM",
        (true, true) => "P.M.",
        (false, true) => "A.M.",
    };
    match name {
        "YYYY" => number(years, 4),
        "Y,YYY" => format!("{},{:03}", years / 1000, years % 1000),
        "YYY" => number(last_digits(years, 3), 3),
        "YY" => number(last_digits(years, 2), 2),
        "Y" => number(last_digits(years, 1), 1),
        "IYYY" => number(iso_year, 4),
        "IYY" => number(last_digits(iso_year, 3), 3),
        "IY" => number(last_digits(iso_year, 2), 2),
        "I" => number(last_digits(iso_year, 1), 1),
        "MONTH" => padded(in_case(&clock.format("%B").to_string(), written), 9),
        "MON" => in_case(&clock.format("%b").to_string(), written),
        "MM" => number(months, 2),
        "RM" => padded(roman(u64::from(clock.month())), 4),
        "DAY" => padded(in_case(&clock.format("%A").to_string(), written), 9),
        "DY" => in_case(&clock.format("%a").to_string(), written),
        "DDD" => number(clock.ordinal().into(), 3),
        "IDDD" => number(
            i64::from(clock.iso_week().week0()) * 7 + i64::from(clock.weekday().number_from_monday()),
            3,
        ),
        "DD" => number(days, 2),
        "D" => (clock.weekday().num_days_from_sunday() + 1).to_string(),
        "ID" => clock.weekday().number_from_monday().to_string(),
        "W" => ((clock.day() - 1) / 7 + 1).to_string(),
        "WW" => number(i64::from((clock.ordinal() - 1) / 7 + 1), 2),
        "IW" => number(clock.iso_week().week().into(), 2),
        "Q" => (clock.month0() / 3 + 1).to_string(),
        "CC" => number((years - 1).div_euclid(100) + 1, 2),
        "J" => (i64::from(values::days(clock.date())) + 2_440_588).to_string(),
        "HH24" => number(hours, 2),
        "HH12" | "HH" => number(if hours % 12 == 0 { 12 } else { hours % 12 }, 2),
        "MI" => number(minutes, 2),
        "SS" => number(seconds, 2),
        "SSSS" | "SSSSS" => (hours * 3600 + minutes * 60 + seconds).to_string(),
        "MS" | "FF3" => format!("{:03}", fraction / 1000),
        "US" | "FF6" => format!("{fraction:06}"),
        "FF1" => format!("{:01}", fraction / 100_000),
        "FF2" => format!("{:02}", fraction / 10_000),
        "FF4" => format!("{:04}", fraction / 100),
        "FF5" => format!("{:05}", fraction / 10),
        "AM" | "PM" => in_case(
            half(false),
            &written
                .chars()
                .take(1)
                .chain(written.chars().take(1))
                .collect::<String>(),
        ),
        "A.M." | "P.M." => {
            if written.starts_with(char::is_lowercase) {
                half(true).to_lowercase()
            } else {
                half(true).to_owned()
            }
        }
        "AD" | "BC" => {
            if written.starts_with(char::is_lowercase) {
                "ad".into()
            } else {
                "AD".into()
            }
        }
        "A.D." | "B.C." => {
            if written.starts_with(char::is_lowercase) {
                "a.d.".into()
            } else {
                "A.D.".into()
            }
        }
        "TZ" => match &shown.zone {
            Some((_, name)) if written.starts_with(char::is_lowercase) => name.to_lowercase(),
            Some((_, name)) => name.clone(),
            None => String::new(),
        },
        "OF" => shown
            .zone
            .as_ref()
            .map(|(seconds, _)| values::offset_text(*seconds, true))
            .unwrap_or_else(|| "+00".into()),
        "TZH" => shown
            .zone
            .as_ref()
            .map(|(seconds, _)| values::offset_text(*seconds, false)[..3].to_owned())
            .unwrap_or_else(|| "+00".into()),
        "TZM" => format!(
            "{:02}",
            shown.zone.as_ref().map_or(0, |(seconds, _)| seconds.abs() / 60 % 60)
        ),
        _ => String::new(),
    }
}

fn roman(mut number: u64) -> String {
    const DIGITS: [(u64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut text = String::new();
    for (value, digits) in DIGITS {
        while number >= value {
            text.push_str(digits);
            number -= value;
        }
    }
    text
}

// Reading times

/// Up to so many digits, and how many there were; nothing at the end of the text.
fn take_number(rest: &mut &str, width: usize, written: &str) -> Result<(i64, usize)> {
    let count = rest.bytes().take(width).take_while(u8::is_ascii_digit).count();
    let digits = &rest[..count];
    if digits.is_empty() {
        if rest.is_empty() {
            return Ok((-1, 0));
        }
        let wrong: String = rest.chars().take(width).collect();
        return raise("22007", format!("invalid value \"{wrong}\" for \"{written}\""));
    }
    *rest = &rest[count..];
    Ok((digits.parse().unwrap_or(0), count))
}

/// One of some names by its beginning; which, counted from 1.
fn take_word(rest: &mut &str, names: &[&str], written: &str) -> Result<u32> {
    let lower = rest.to_lowercase();
    match names.iter().position(|name| lower.starts_with(name)) {
        Some(at) => {
            let count = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let count = if written.len() == 3 { 3.min(count) } else { count };
            *rest = &rest[count..];
            Ok(u32::try_from(at).unwrap_or(0) + 1)
        }
        None => {
            let wrong: String = rest.chars().take(3).collect();
            raise("22007", format!("invalid value \"{wrong}\" for \"{written}\""))
        }
    }
}

fn read_moment(from: &str, template: &str) -> Result<NaiveDateTime> {
    let mut rest = from.trim_start();
    let (mut year, mut month, mut day) = (0_i32, 1_u32, 1_u32);
    let (mut hour, mut minute, mut second, mut micros) = (0_i64, 0_i64, 0_i64, 0_i64);
    let (mut afternoon, mut of_year, mut is_iso, mut week, mut weekday) = (None, None, false, None, None);
    for piece in pieces(template) {
        let (name, written) = match piece {
            Piece::Text(text) => {
                // Separators match separators and spaces; other text is skipped as long as it is.
                let is_mark = |c: char| c.is_whitespace() || c.is_ascii_punctuation();
                if text.chars().all(is_mark) {
                    rest = match rest.chars().next() {
                        Some(c) if is_mark(c) && !(c == '-' && text.trim().is_empty()) => &rest[c.len_utf8()..],
                        _ => rest,
                    };
                } else {
                    let skipped: usize = rest.chars().take(text.chars().count()).map(char::len_utf8).sum();
                    rest = &rest[skipped..];
                }
                continue;
            }
            Piece::Pattern { name, written, .. } => (name, written),
        };
        rest = rest.trim_start();
        let width = match name {
            "YYYY" | "IYYY" => 4,
            "YYY" | "DDD" | "MS" => 3,
            "US" => 6,
            "SSSS" | "SSSSS" => 5,
            "Y" | "D" | "ID" | "Q" | "W" | "I" => 1,
            _ => 2,
        };
        const MONTHS: [&str; 12] = [
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ];
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        match name {
            "MONTH" | "MON" => month = take_word(&mut rest, &MONTHS, &written)?,
            "DAY" | "DY" => {
                take_word(&mut rest, &DAYS, &written)?;
            }
            "AM" | "PM" | "A.M." | "P.M." => {
                afternoon = Some(rest.to_lowercase().starts_with('p'));
                rest = rest.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '.');
            }
            "TZ" | "OF" | "TZH" | "TZM" => rest = rest.trim_start_matches(|c: char| !c.is_whitespace()),
            _ => {
                let (number, digits) = take_number(&mut rest, width, &written)?;
                if number < 0 {
                    continue;
                }
                let small = u32::try_from(number).unwrap_or(u32::MAX);
                match name {
                    "YYYY" | "IYYY" => {
                        is_iso = name == "IYYY";
                        year = i32::try_from(number).unwrap_or(i32::MAX);
                    }
                    "YYY" | "YY" | "Y" => {
                        let number = i32::try_from(number).unwrap_or(0);
                        year = if number < 70 { 2000 + number } else { 1900 + number };
                    }
                    "MM" => month = small,
                    "DD" => day = small,
                    "DDD" => of_year = Some(small),
                    "IW" | "WW" => week = Some(small),
                    "ID" | "D" => weekday = Some(small),
                    "HH24" => hour = number,
                    "HH12" | "HH" => {
                        hour = number;
                        afternoon = afternoon.or(Some(false));
                    }
                    "MI" => minute = number,
                    "SS" => second = number,
                    "SSSS" | "SSSSS" => second = number,
                    "MS" => micros = number * 10_i64.pow(u32::try_from(6 - digits).unwrap_or(0)),
                    "US" => micros = number * 10_i64.pow(u32::try_from(6 - digits).unwrap_or(0)),
                    _ => {}
                }
            }
        }
    }
    if let Some(afternoon) = afternoon {
        hour = hour % 12 + if afternoon { 12 } else { 0 };
    }
    let year = if year == 0 { 1 } else { year };
    let date = match (of_year, week) {
        (Some(of_year), _) => NaiveDate::from_yo_opt(year, of_year),
        (None, Some(week)) if is_iso => {
            let weekday = weekday.unwrap_or(1).clamp(1, 7);
            NaiveDate::from_isoywd_opt(
                year,
                week,
                chrono::Weekday::try_from(u8::try_from(weekday - 1).unwrap_or(0)).unwrap_or(chrono::Weekday::Mon),
            )
        }
        _ => NaiveDate::from_ymd_opt(year, month, day),
    };
    let fits = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..86_400).contains(&second);
    match date.filter(|_| fits) {
        Some(date) => Ok(date.and_time(NaiveTime::MIN)
            + Duration::seconds(hour * 3600 + minute * 60 + second)
            + Duration::microseconds(micros)),
        None => raise("22008", format!("date/time field value out of range: \"{from}\"")),
    }
}

// Numbers

/// What a template of a number says.
#[derive(Default)]
struct NumberTemplate {
    before: Vec<char>,
    after: Vec<char>,
    has_point: bool,
    fill: bool,
    sign: Option<&'static str>,
    sign_in_front: bool,
    percent: bool,
}

fn number_text(zone: Zone, value: &ScalarValue, template: &str) -> Result<String> {
    if template.to_uppercase().trim_start_matches("FM") == "RN" {
        let number = super::plain::int(std::slice::from_ref(value), 0)?;
        let text = if (1..4000).contains(&number) {
            roman(number.unsigned_abs())
        } else {
            "#".repeat(15)
        };
        return Ok(if template.to_uppercase().starts_with("FM") {
            text
        } else {
            format!("{text:>15}")
        });
    }
    let mut t = NumberTemplate {
        fill: true,
        ..NumberTemplate::default()
    };
    let mut prefix = String::new();
    let mut suffix = String::new();
    let upper = template.to_uppercase();
    let mut rest = upper.as_str();
    let mut currency = false;
    while let Some(c) = rest.chars().next() {
        let two = rest.get(..2).unwrap_or_default();
        let mut length = c.len_utf8();
        match (two, c) {
            ("FM", _) => {
                t.fill = false;
                length = 2;
            }
            ("MI" | "PL" | "SG" | "PR", _) => {
                t.sign = Some(match two {
                    "MI" => "MI",
                    "PL" => "PL",
                    "SG" => "SG",
                    _ => "PR",
                });
                t.sign_in_front = t.before.is_empty();
                length = 2;
            }
            ("TH", _) => length = 2,
            (_, 'S') => {
                t.sign = Some("S");
                t.sign_in_front = t.before.is_empty();
            }
            (_, 'L' | '$') => currency = true,
            (_, '9' | '0') if t.has_point => t.after.push(c),
            (_, '9' | '0') => t.before.push(c),
            (_, ',' | 'G') => {
                if t.has_point {
                    t.after.push(',')
                } else {
                    t.before.push(',')
                }
            }
            (_, '.' | 'D') => t.has_point = true,
            (_, '%') => t.percent = true,
            (_, '"') => {
                let quoted = &rest[1..];
                let end = quoted.find('"').unwrap_or(quoted.len());
                let text = &template[template.len() - rest.len() + 1..][..end];
                if t.before.is_empty() {
                    prefix.push_str(text)
                } else {
                    suffix.push_str(text)
                }
                length = (end + 2).min(rest.len());
            }
            (_, other) => {
                if t.before.is_empty() {
                    prefix.push(other)
                } else {
                    suffix.push(other)
                }
            }
        }
        rest = &rest[length..];
    }
    let digits_after = t.after.iter().filter(|c| **c != ',').count();
    let exact = match value {
        ScalarValue::Decimal128(Some(value), _, scale) => decimal_text(*value, *scale),
        ScalarValue::Float64(Some(value)) => format!("{value:.*}", digits_after.max(1) + 2),
        ScalarValue::Float32(Some(value)) => format!("{value:.*}", digits_after.max(1) + 2),
        other => values::text_of(other, zone.0).unwrap_or_default(),
    };
    let scale = i8::try_from(digits_after).unwrap_or(0);
    let rounded = match values::parse(&exact, &DataType::Decimal128(38, scale), zone.0)? {
        Some(ScalarValue::Decimal128(Some(value), ..)) => value,
        _ => return raise("22P02", format!("invalid input syntax for type numeric: \"{exact}\"")),
    };
    let negative = rounded < 0;
    let text = decimal_text(rounded.abs(), scale);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let places = t.before.iter().filter(|c| **c != ',').count();
    let whole = if whole == "0" && !(t.before.contains(&'0') || places > 0 && digits_after == 0) {
        ""
    } else {
        whole
    };
    let first_zero = t.before.iter().position(|c| *c == '0');
    let too_long = whole.len() > places;
    let mut digits = if too_long {
        "#".repeat(places).chars().collect::<Vec<_>>()
    } else {
        format!("{whole:>places$}").chars().collect::<Vec<_>>()
    };
    digits.reverse();
    let mut shown = String::new();
    let mut seen_digit = false;
    for (at, c) in t.before.iter().enumerate() {
        if *c == ',' {
            shown.push(if seen_digit { ',' } else { ' ' });
            continue;
        }
        let digit = digits.pop().unwrap_or(' ');
        let digit = match digit {
            ' ' if first_zero.is_some_and(|zero| at >= zero) => '0',
            other => other,
        };
        seen_digit |= digit != ' ';
        shown.push(digit);
    }
    let mut tail = String::new();
    if t.has_point {
        tail.push('.');
        if too_long {
            tail.push_str(&"#".repeat(digits_after));
        } else {
            tail.push_str(fraction);
        }
        if !t.fill {
            let needed = t.after.iter().rposition(|c| *c == '0').map_or(0, |at| at + 1);
            let kept = tail.trim_end_matches('0').len().max(needed + 1);
            tail.truncate(kept);
        }
    }
    let blank = shown.len() - shown.trim_start().len();
    let body = format!("{}{tail}", shown.trim_start());
    let mark = if negative { "-" } else { " " };
    let padding = " ".repeat(blank);
    let currency = if currency { " " } else { "" };
    let mut result = match (t.sign, t.sign_in_front) {
        (None, _) => format!("{padding}{mark}{currency}{body}"),
        (Some("S" | "SG"), true) => format!("{padding}{}{body}", if negative { "-" } else { "+" }),
        (Some("S" | "SG"), false) => format!("{padding}{body}{}", if negative { "-" } else { "+" }),
        (Some("MI"), true) => format!("{mark}{padding}{body}"),
        (Some("MI"), false) => format!("{padding}{body}{mark}"),
        (Some("PL"), true) => format!("{}{padding}{mark}{body}", if negative { " " } else { "+" }),
        (Some("PL"), false) => format!("{padding}{mark}{body}{}", if negative { " " } else { "+" }),
        (Some(_), _) if negative => format!("{padding}<{body}>"),
        (Some(_), _) => format!("{padding} {body} "),
    };
    if t.percent {
        result.push('%');
    }
    result = format!("{prefix}{result}{suffix}");
    Ok(if t.fill { result } else { result.trim().to_owned() })
}

fn to_number(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let (from, template) = (text(zone, a, 0), text(zone, a, 1));
    let digits: String = from.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    if digits.is_empty() {
        return raise("22P02", format!("invalid input syntax for type numeric: \"{from}\""));
    }
    let negative = from.contains('-') || (from.contains('<') && template.to_uppercase().contains("PR"));
    let number = if negative { format!("-{digits}") } else { digits };
    match values::parse(&number, &DataType::Decimal128(38, 10), zone.0)? {
        Some(value) => Ok(value),
        None => Ok(ScalarValue::Null),
    }
}
