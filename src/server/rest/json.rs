//! JSON as Spark's server writes it: Jackson's `DefaultPrettyPrinter` over UTF-8.
//!
//! Two blanks for each open object and none for arrays, `"a" : 1`, `[ 1, 2 ]`, `{ }`, `[ ]`, no newline at the end; control characters and
//! characters beyond the basic plane as `\uXXXX`; doubles as Java's `Double.toString`.

use std::io::Write;

/// A document that is being written. What is finished can be taken out while it goes on.
#[derive(Debug, Default)]
pub(super) struct Json {
    out: Vec<u8>,
    /// For each open object or array: whether it is an object, and whether it has members yet.
    open: Vec<(bool, bool)>,
    /// Open objects.
    depth: usize,
}

const BLANKS: [u8; 64] = [b' '; 64];

impl Json {
    pub(super) fn begin_object(&mut self) {
        self.out.push(b'{');
        self.open.push((true, false));
        self.depth += 1;
    }

    pub(super) fn end_object(&mut self) {
        self.depth -= 1;
        if self.open.pop().is_some_and(|(_, has_members)| has_members) {
            self.new_line();
            self.out.push(b'}');
        } else {
            self.out.extend_from_slice(b" }");
        }
    }

    pub(super) fn begin_array(&mut self) {
        self.out.push(b'[');
        self.open.push((false, false));
    }

    pub(super) fn end_array(&mut self) {
        self.open.pop();
        self.out.extend_from_slice(b" ]");
    }

    /// The name of the next member of the open object.
    pub(super) fn key(&mut self, name: &str) {
        if self.next_member() {
            self.out.push(b',');
        }
        self.new_line();
        self.string(name);
        self.out.extend_from_slice(b" : ");
    }

    /// Before each element of the open array.
    pub(super) fn element(&mut self) {
        let separator: &[u8] = if self.next_member() { b", " } else { b" " };
        self.out.extend_from_slice(separator);
    }

    /// Whether the open object or array had a member before this one.
    fn next_member(&mut self) -> bool {
        self.open
            .last_mut()
            .is_some_and(|(_, has_members)| std::mem::replace(has_members, true))
    }

    fn new_line(&mut self) {
        self.out.push(b'\n');
        let mut left = 2 * self.depth;
        while left > 0 {
            let now = left.min(BLANKS.len());
            self.out.extend_from_slice(&BLANKS[..now]);
            left -= now;
        }
    }

    pub(super) fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(super) fn int(&mut self, value: i64) {
        self.display(format_args!("{value}"));
    }

    /// A double as Java prints it; what is no number is a text there.
    pub(super) fn double(&mut self, value: f64) {
        if value.is_nan() {
            self.out.extend_from_slice(b"\"NaN\"");
        } else if value.is_infinite() {
            self.out
                .extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
        } else if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
            self.display(format_args!("{value:?}"));
        } else {
            let text = format!("{value:E}");
            let (digits, exponent) = text.split_once('E').unwrap_or((&text, "0"));
            let point = if digits.contains('.') { "" } else { ".0" };
            self.display(format_args!("{digits}{point}E{exponent}"));
        }
    }

    fn display(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        self.out.write_fmt(text).ok();
    }

    /// `2015-02-03T16:42:40.000GMT`, from milliseconds since the epoch.
    pub(super) fn date(&mut self, millis: i64) {
        let (year, month, day) = calendar_date(millis.div_euclid(DAY_MS));
        let of_day = millis.rem_euclid(DAY_MS);
        // Java writes the year of the era, and nothing about which.
        let year = if year > 0 { year } else { 1 - year };
        self.display(format_args!(
            "\"{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}GMT\"",
            of_day / 3_600_000,
            of_day / 60_000 % 60,
            of_day / 1000 % 60,
            of_day % 1000
        ));
    }

    pub(super) fn string(&mut self, text: &str) {
        self.out.push(b'"');
        let bytes = text.as_bytes();
        let mut plain = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let escaped: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                0x08 => b"\\b",
                0x0c => b"\\f",
                0..0x20 | 0xf0.. => b"",
                _ => continue,
            };
            self.out.extend_from_slice(&bytes[plain..at]);
            plain = at + 1;
            if !escaped.is_empty() {
                self.out.extend_from_slice(escaped);
            } else if let Some(character) = text[at..].chars().next() {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    self.display(format_args!("\\u{unit:04X}"));
                }
                plain = at + character.len_utf8();
            }
        }
        self.out.extend_from_slice(&bytes[plain..]);
        self.out.push(b'"');
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// What has been written since the last time.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

const DAY_MS: i64 = 86_400_000;

/// Days from the epoch to 15 October 1582, where Java's calendar becomes the Gregorian one.
const GREGORIAN_FROM: i64 = -141_427;

/// Year, month and day of a day since the epoch, by Java's `GregorianCalendar`, for every day that a `long` of milliseconds has.
fn calendar_date(days: i64) -> (i64, i64, i64) {
    // Richards' algorithm, over the Julian day number.
    let mut f = days + 2_440_588 + 1401;
    if days >= GREGORIAN_FROM {
        f += (4 * (days + 2_440_588) + 274_277).div_euclid(146_097) * 3 / 4 - 38;
    }
    let e = 4 * f + 3;
    let h = 5 * (e.rem_euclid(1461) / 4) + 2;
    let day = h % 153 / 5 + 1;
    let month = (h / 153 + 2) % 12 + 1;
    let year = e.div_euclid(1461) - 4716 + (14 - month) / 12;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::default();
        write(&mut json);
        String::from_utf8(json.take()).unwrap()
    }

    #[test]
    fn documents_look_as_jackson_writes_them() {
        let text = written(|json| {
            json.begin_array();
            json.element();
            json.begin_object();
            json.key("a");
            json.int(1);
            json.key("empty");
            json.begin_object();
            json.end_object();
            json.key("list");
            json.begin_array();
            for value in 1..3 {
                json.element();
                json.int(value);
            }
            json.end_array();
            json.key("objects");
            json.begin_array();
            json.element();
            json.begin_object();
            json.key("x");
            json.bool(true);
            json.end_object();
            json.end_array();
            json.end_object();
            json.element();
            json.begin_array();
            json.end_array();
            json.end_array();
        });
        let expected = "[ {\n  \"a\" : 1,\n  \"empty\" : { },\n  \"list\" : [ 1, 2 ],\n  \"objects\" : [ {\n    \"x\" : true\n  } ]\n}, [ ] ]";
        assert_eq!(text, expected);
    }

    #[test]
    fn strings_are_escaped_as_jackson_does() {
        let text = written(|json| json.string("a\"\\/\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}é€\u{2028}😀b"));
        assert_eq!(
            text,
            "\"a\\\"\\\\/\\n\\r\\t\\b\\f\\u0001\\u001F\u{7f}é€\u{2028}\\uD83D\\uDE00b\""
        );
    }

    #[test]
    fn doubles_are_printed_as_java_does() {
        let doubles = [
            0.0,
            -0.0,
            0.25,
            146.0,
            9999999.0,
            1e7,
            10070127.0,
            118252622.5,
            0.001,
            0.0001,
            1.5e-7,
            f64::NAN,
        ];
        let texts = doubles.map(|value| written(|json| json.double(value)));
        let expected = [
            "0.0",
            "-0.0",
            "0.25",
            "146.0",
            "9999999.0",
            "1.0E7",
            "1.0070127E7",
            "1.182526225E8",
            "0.001",
            "1.0E-4",
            "1.5E-7",
            "\"NaN\"",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn dates_are_gmt() {
        let millis = [
            -1,
            1_422_981_760_000,
            0,
            9_999_999_999_999_999,
            -12_219_292_800_000,
            -12_219_292_800_001,
            -62_135_596_800_000,
            -62_135_769_600_001,
            951_782_400_000,
        ];
        let texts = millis.map(|millis| written(|json| json.date(millis)));
        // As Java's SimpleDateFormat writes them.
        let expected = [
            "\"1969-12-31T23:59:59.999GMT\"",
            "\"2015-02-03T16:42:40.000GMT\"",
            "\"1970-01-01T00:00:00.000GMT\"",
            "\"318857-05-20T17:46:39.999GMT\"",
            "\"1582-10-15T00:00:00.000GMT\"",
            "\"1582-10-04T23:59:59.999GMT\"",
            "\"0001-01-03T00:00:00.000GMT\"",
            "\"0001-12-31T23:59:59.999GMT\"",
            "\"2000-02-29T00:00:00.000GMT\"",
        ];
        assert_eq!(texts, expected);
    }
}
