//! Dates in query parameters, as Spark's `SimpleDateParam` reads them: `SimpleDateFormat` (Java 17, `Locale.US`,
//! lenient, process in UTC) with `yyyy-MM-dd'T'HH:mm:ss.SSSz`, else with `yyyy-MM-dd` in GMT. Text after a match is
//! ignored.
//!
//! Differs from Java in one thing: a zone's name has one offset for all dates, that of 2026 (`zones.tsv`). Java follows
//! the zone's history, so a named zone can be off between 1900 and 2024. Since 2014 that is 107 of 587 names: those of
//! regions that moved (Russia until 2016, Turkey, Kazakhstan), and summer names where summer time has ended. `GMT`,
//! `UTC`, `GMT+h:mm` and `+hhmm` are exact.

/// Every name Java knows, in the order it tries them.
const ZONES: &str = include_str!("zones.tsv");

const MILLIS_PER_DAY: i64 = 86_400_000;
/// 1970-01-01, counted in days from 0001-01-01, which is day 1.
const EPOCH: i64 = 719_163;
/// 1582-10-15, the first day that is not Julian.
const GREGORIAN_START: i64 = 577_736;
const GREGORIAN_START_YEAR: i32 = 1582;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub(super) fn parse(text: &str) -> Option<i64> {
    // Both formats begin with the day, so what has no day is in neither.
    let (date, rest) = Date::read(text)?;
    Some(match time_and_zone(rest) {
        Some((time, offset)) => date.millis(time).wrapping_sub(offset),
        None => date.millis(0),
    })
}

/// `'T'HH:mm:ss.SSSz` as milliseconds since midnight and milliseconds east of Greenwich.
fn time_and_zone(text: &str) -> Option<(i64, i64)> {
    let (hour, rest) = number(text.strip_prefix('T')?)?;
    let (minute, rest) = number(rest.strip_prefix(':')?)?;
    let (second, rest) = number(rest.strip_prefix(':')?)?;
    let (milli, rest) = number(rest.strip_prefix('.')?)?;
    let minutes = i64::from(hour) * 60 + i64::from(minute);
    let seconds = minutes * 60 + i64::from(second);
    Some((seconds * 1000 + i64::from(milli), zone_offset(rest)?))
}

/// A day as it was written: no field need be in its range.
#[derive(Debug, Clone, Copy)]
struct Date {
    year: i32,
    month: i32,
    day: i32,
}

impl Date {
    fn read(text: &str) -> Option<(Self, &str)> {
        let (year, rest) = number(text)?;
        let (month, rest) = number(rest.strip_prefix('-')?)?;
        let (day, rest) = number(rest.strip_prefix('-')?)?;
        Some((Date { year, month, day }, rest))
    }

    /// Java's arithmetic: what is too large wraps.
    fn millis(self, time: i64) -> i64 {
        let month = self.month.wrapping_sub(1);
        let year = self.year.wrapping_add(month.div_euclid(12));
        let month = i64::from(month.rem_euclid(12));
        let days = i64::from(self.day) - 1 + time.div_euclid(MILLIS_PER_DAY);

        let gregorian = gregorian_month(year, month) + days;
        // The year as written decides, whatever the month adds to it.
        let fixed = if self.year >= GREGORIAN_START_YEAR && gregorian >= GREGORIAN_START {
            gregorian
        } else {
            julian_month(year, month) + days
        };
        (fixed - EPOCH)
            .wrapping_mul(MILLIS_PER_DAY)
            .wrapping_add(time.rem_euclid(MILLIS_PER_DAY))
    }
}

/// The first of a month (0 is January) in days from 0001-01-01.
fn gregorian_month(year: i32, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let past = i64::from(year) - 1;
    let leap_days = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    past * 365 + leap_days + days_before_month(month, leap) + 1
}

fn julian_month(year: i32, month: i64) -> i64 {
    let past = i64::from(year) - 1;
    past * 365 + past.div_euclid(4) + days_before_month(month, year % 4 == 0) - 1
}

fn days_before_month(month: i64, leap: bool) -> i64 {
    let days = (367 * month + 5) / 12;
    match (month > 1, leap) {
        (false, _) => days,
        (true, true) => days - 1,
        (true, false) => days - 2,
    }
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// An integer at the start of the text, as `DecimalFormat` reads it and `Number.intValue` narrows it.
fn number(text: &str) -> Option<(i32, &str)> {
    let text = skip_blanks(text);
    if let Some(rest) = text.strip_prefix("NaN") {
        return Some((0, rest));
    }
    let (sign, text) = sign(text);
    if let Some(rest) = text.strip_prefix('∞') {
        return Some((if sign.is_empty() { i32::MAX } else { i32::MIN }, rest));
    }
    let (digits, rest) = digits(text)?;
    let point = i32::try_from(digits.len()).ok()?;
    let (point, rest) = match rest.strip_prefix('E').and_then(exponent) {
        Some((exponent, rest)) => (point.wrapping_add(exponent), rest),
        None => (point, rest),
    };
    let digits = digits.trim_end_matches('0');
    let value = match whole(sign, digits, point) {
        Some(value) => low_bits(value),
        // `as` rounds towards zero and stops at the limits: Java's rule for doubles.
        None => format!("{sign}0.{digits}E{point}").parse::<f64>().ok()? as i32,
    };
    Some((value, rest))
}

fn exponent(text: &str) -> Option<(i32, &str)> {
    let (sign, text) = sign(text);
    let (digits, rest) = digits(text)?;
    let point = i32::try_from(digits.len()).ok()?;
    let value = whole(sign, digits.trim_end_matches('0'), point)?;
    Some((low_bits(value), rest))
}

fn sign(text: &str) -> (&str, &str) {
    text.split_at(usize::from(text.starts_with('-')))
}

/// Decimal digits of any script as ASCII, without leading zeros, so perhaps none for a zero.
fn digits(text: &str) -> Option<(String, &str)> {
    let rest = text.trim_start_matches(|character| digit(character).is_some());
    if rest.len() == text.len() {
        return None;
    }
    let digits = text
        .chars()
        .map_while(digit)
        .skip_while(|digit| *digit == '0')
        .collect();
    Some((digits, rest))
}

fn digit(character: char) -> Option<char> {
    /// Java looks at UTF-16 units, so digits above U+FFFF are none.
    const ZEROS: [char; 37] = [
        '0', '\u{660}', '\u{6F0}', '\u{7C0}', '\u{966}', '\u{9E6}', '\u{A66}', '\u{AE6}', '\u{B66}', '\u{BE6}',
        '\u{C66}', '\u{CE6}', '\u{D66}', '\u{DE6}', '\u{E50}', '\u{ED0}', '\u{F20}', '\u{1040}', '\u{1090}',
        '\u{17E0}', '\u{1810}', '\u{1946}', '\u{19D0}', '\u{1A80}', '\u{1A90}', '\u{1B50}', '\u{1BB0}', '\u{1C40}',
        '\u{1C50}', '\u{A620}', '\u{A8D0}', '\u{A900}', '\u{A9D0}', '\u{A9F0}', '\u{AA50}', '\u{ABF0}', '\u{FF10}',
    ];
    ZEROS
        .iter()
        .find_map(|zero| char::from_digit(u32::from(character).checked_sub(u32::from(*zero))?, 10))
}

/// 0.`digits` times ten to the power of `point`, if that is a whole number and a Java `long`. `digits` end in no zero.
fn whole(sign: &str, digits: &str, point: i32) -> Option<i64> {
    if digits.is_empty() {
        return Some(0);
    }
    let width = usize::try_from(point).ok()?;
    if width < digits.len() || width > 19 {
        return None;
    }
    format!("{sign}{digits:0<width$}").parse().ok()
}

/// `Long.intValue`: the cast drops the upper half, as Java does.
fn low_bits(value: i64) -> i32 {
    value as i32
}

/// Milliseconds east of Greenwich.
fn zone_offset(text: &str) -> Option<i64> {
    let zone = skip_blanks(text);
    if let Some(rest) = zone.strip_prefix('+') {
        return numeric_offset(rest, false);
    }
    if let Some(rest) = zone.strip_prefix('-') {
        return Some(-numeric_offset(rest, false)?);
    }
    // Not `zone`: after blanks Java knows GMT as a name only, which takes no offset.
    if let Some(rest) = strip_name(text, "GMT") {
        return match (rest.strip_prefix('+'), rest.strip_prefix('-')) {
            (Some(rest), _) => numeric_offset(rest, true),
            (_, Some(rest)) => Some(-numeric_offset(rest, true)?),
            (None, None) => Some(0),
        };
    }
    zones().find_map(|(name, offset)| strip_name(zone, name).and(Some(offset)))
}

/// `hhmm`, or with a colon `h:mm` and `hh:mm`. ASCII digits only.
fn numeric_offset(text: &str, colon: bool) -> Option<i64> {
    let (hours, rest) = if colon {
        text.split_once(':')
    } else {
        text.split_at_checked(2)
    }?;
    let minutes = rest.get(..2)?;
    if hours.len() > 2 || !hours.bytes().chain(minutes.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 23 && minutes <= 59).then_some((hours * 60 + minutes) * 60_000)
}

fn zones() -> impl Iterator<Item = (&'static str, i64)> {
    ZONES.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, seconds) = line.split_once('\t')?;
        Some((name, seconds.parse::<i64>().ok()? * 1000))
    })
}

/// What follows `name`, as `String.regionMatches` ignores case.
fn strip_name<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut characters = text.chars();
    name.chars()
        .all(|wanted| characters.next().is_some_and(|found| fold(found) == fold(wanted)))
        .then_some(characters.as_str())
}

/// One character to one, as Java: `ß` has no upper case, `ı` and `İ` are `i`.
fn fold(character: char) -> char {
    let mut upper = character.to_uppercase();
    let upper = match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => character,
    };
    upper.to_lowercase().next().unwrap_or(upper)
}

#[cfg(test)]
mod tests {
    use super::{ZONES, parse, zones};

    /// Java's answers.
    const CASES: &[(&str, Option<i64>)] = &[
        // the two formats
        ("2026-11-21T10:14:41.294GMT", Some(1_795_256_081_294)),
        ("2026-11-21", Some(1_795_219_200_000)),
        ("2026-11-21T10:14:41.294", Some(1_795_219_200_000)),
        ("2026-11-21garbage", Some(1_795_219_200_000)),
        ("2026-11-21T10:14GMT", Some(1_795_219_200_000)),
        ("2026-11-21 10:14:41.294GMT", Some(1_795_219_200_000)),
        ("2026-11-21t10:14:41.294GMT", Some(1_795_219_200_000)),
        ("2026-11-21T10:14:41.GMT", Some(1_795_219_200_000)),
        ("2026-11", None),
        ("20261121", None),
        ("2026/11/21", None),
        ("2026-Nov-21", None),
        ("", None),
        ("x", None),
        // offsets
        ("2026-11-21T10:14:41.294+0100", Some(1_795_252_481_294)),
        ("2026-11-21T10:14:41.294-0800", Some(1_795_284_881_294)),
        ("2026-11-21T10:14:41.294 -0800", Some(1_795_284_881_294)),
        ("2026-11-21T10:14:41.294+2359", Some(1_795_169_741_294)),
        ("2026-11-21T10:14:41.294+2400", Some(1_795_219_200_000)),
        ("2026-11-21T10:14:41.294+1234567", Some(1_795_210_841_294)),
        ("2026-11-21T10:14:41.294+01:00", Some(1_795_219_200_000)),
        ("2026-11-21T10:14:41.294+01", Some(1_795_219_200_000)),
        ("2026-11-21T10:14:41.294+100", Some(1_795_219_200_000)),
        (
            "2026-11-21T10:14:41.294+\u{660}\u{661}\u{660}\u{660}",
            Some(1_795_219_200_000),
        ),
        ("2026-11-21T10:14:41.294GMT+1:00", Some(1_795_252_481_294)),
        ("2026-11-21T10:14:41.294gmt-08:30z", Some(1_795_286_681_294)),
        ("2026-11-21T10:14:41.294GMT+24:00", Some(1_795_219_200_000)),
        ("2026-11-21T10:14:41.294GMT+0100", Some(1_795_219_200_000)),
        ("2026-11-21T10:14:41.294GMT+", Some(1_795_219_200_000)),
        ("2026-11-21T10:14:41.294GMTfoo", Some(1_795_256_081_294)),
        ("2026-11-21T10:14:41.294\t GMT", Some(1_795_256_081_294)),
        ("2026-11-21T10:14:41.294 GMT+1:00", Some(1_795_256_081_294)),
        ("2026-11-21T10:14:41.294\u{2212}0800", Some(1_795_219_200_000)),
        // names
        ("2026-11-21T10:14:41.294UTC", Some(1_795_256_081_294)),
        ("2026-11-21T10:14:41.294utc+01:00", Some(1_795_256_081_294)),
        ("2026-11-21T10:14:41.294UT", Some(1_795_219_200_000)),
        ("2026-11-21T10:14:41.294Z", Some(1_795_219_200_000)),
        ("2026-11-21T10:14:41.294PST", Some(1_795_284_881_294)),
        ("2026-11-21T10:14:41.294pdt", Some(1_795_281_281_294)),
        ("2026-11-21T10:14:41.294  EST5EDT", Some(1_795_274_081_294)),
        ("2026-11-21T10:14:41.294IST", Some(1_795_248_881_294)),
        (
            "2026-11-21T10:14:41.294Central European Summer Time",
            Some(1_795_248_881_294),
        ),
        ("2026-11-21T10:14:41.294\u{131}ST", Some(1_795_248_881_294)),
        ("2026-11-21T10:14:41.294R\u{c9}UNION TIME", Some(1_795_241_681_294)),
        (
            "2026-11-21T10:14:41.294Dumont-d\u{2019}Urville Time",
            Some(1_795_220_081_294),
        ),
        ("2026-11-21T10:14:41.294Dumont-d'Urville Time", Some(1_795_219_200_000)),
        ("2026-11-21T10:14:41.294America/Los_Angeles", Some(1_795_219_200_000)),
        ("2026-07-01T12:00:00.000PST", Some(1_782_936_000_000)),
        ("2026-01-01T12:00:00.000CEST", Some(1_767_261_600_000)),
        // blanks, signs and lenient fields
        (" \t2026- 11-\t21", Some(1_795_219_200_000)),
        ("2026 -11-21", None),
        ("\u{a0}2026-11-21", None),
        ("+2026-11-21", None),
        ("-2026-11-21", Some(-126_075_052_800_000)),
        ("2026--1-01", Some(1_761_955_200_000)),
        ("2026-11--1", Some(1_793_318_400_000)),
        ("2026-13-01", Some(1_798_761_600_000)),
        ("2026-00-01", Some(1_764_547_200_000)),
        ("2026-11-00", Some(1_793_404_800_000)),
        ("2026-02-30", Some(1_772_409_600_000)),
        ("2024-02-29", Some(1_709_164_800_000)),
        ("1900-02-29", Some(-2_203_891_200_000)),
        ("2026-11-21T25:61:61.000GMT", Some(1_795_312_921_000)),
        ("2026-11-21T-1:00:00.000GMT", Some(1_795_215_600_000)),
        ("2026-11-21T 1: 2: 3.-4GMT", Some(1_795_222_922_996)),
        // numbers
        ("2026-11-21T10:14:41.1GMT", Some(1_795_256_081_001)),
        ("2026-11-21T10:14:41.123456GMT", Some(1_795_256_204_456)),
        ("2026-11-21T10:14:41.12345678901GMT", Some(1_794_716_858_013)),
        ("2026-11-21T10:14:41.9223372036854775808GMT", Some(1_797_403_564_647)),
        ("2026-11-21E3", Some(3_607_804_800_000)),
        ("2026-11-21E-1", Some(1_793_577_600_000)),
        ("2026-11-2E+1", Some(1_793_577_600_000)),
        ("2026-11-1E4294967297", Some(1_794_268_800_000)),
        ("2026-11-1E9223372036854775808", Some(1_793_491_200_000)),
        ("2026-11-99999999999999999999E-20", Some(1_793_491_200_000)),
        ("2026-NaN-\u{221e}", Some(185_544_351_561_600_000)),
        ("-\u{221e}-11-21", Some(6_017_484_185_401_406_464)),
        ("2026-11-2,1", Some(1_793_577_600_000)),
        ("2,026-11-21", None),
        ("\u{662}\u{660}\u{662}\u{ff16}-11-21", Some(1_795_219_200_000)),
        ("2026-11-\u{1d7d9}", None),
        // calendar
        ("26-11-21", Some(-61_318_857_600_000)),
        ("0-1-1", Some(-62_167_392_000_000)),
        ("-1-01-01", Some(-62_198_928_000_000)),
        ("1500-02-29", Some(-14_825_894_400_000)),
        ("1582-10-04", Some(-12_219_379_200_000)),
        ("1582-10-05", Some(-12_219_292_800_000)),
        ("1582-10-10", Some(-12_218_860_800_000)),
        ("1582-10-15", Some(-12_219_292_800_000)),
        ("1583-01--100", Some(-12_220_416_000_000)),
        ("1581-24-99", Some(-12_205_900_800_000)),
        ("1582-10-04T24:00:00.000GMT", Some(-12_219_292_800_000)),
        ("12026-11-21", Some(317_364_739_200_000)),
        ("292278994-08-17", Some(9_223_372_036_828_800_000)),
        ("292278995-01-01", Some(-9_223_372_025_043_951_616)),
        ("2147483648-01-01", Some(6_017_484_157_321_406_464)),
        ("2026-11-2147483647", Some(185_544_380_505_600_000)),
    ];

    #[test]
    fn as_java() {
        for (text, millis) in CASES {
            assert_eq!(parse(text), *millis, "{text:?}");
        }
    }

    #[test]
    fn every_zone_is_read() {
        assert_eq!(
            zones().count(),
            ZONES.lines().filter(|line| !line.starts_with('#')).count()
        );
        assert!(zones().all(|(name, _)| !name.is_empty()));
    }
}
