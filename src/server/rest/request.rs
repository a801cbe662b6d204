//! A request as Spark's Jersey reads it: path, query parameters, accepted types.

use std::borrow::Cow;

use axum::http::header::{ACCEPT, ACCEPT_CHARSET, CONTENT_TYPE};
use axum::http::request::Parts;

use super::answer::Failure;

/// What handlers read of a request.
#[derive(Debug)]
pub(super) struct Request {
    /// The path as it was sent, without the query.
    pub(super) raw_path: String,
    query: Vec<(String, String)>,
    accept: Option<String>,
    /// Error pages need not be Latin-1.
    pub(super) takes_utf8: bool,
    /// A bad escape in the query, or one that is no UTF-8.
    pub(super) has_malformed_query: bool,
    /// The body, which is not read, has a type that is none.
    pub(super) has_malformed_type: bool,
}

impl Request {
    pub(super) fn new(parts: &Parts) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        let values = |name| -> Vec<&str> {
            let values = parts.headers.get_all(name).iter();
            values.filter_map(|value| value.to_str().ok()).collect()
        };
        let accept = values(ACCEPT);
        let takes_utf8 = |charset: &str| {
            let name = charset.split(';').next().unwrap_or_default().trim();
            name == "*" || name.eq_ignore_ascii_case("utf-8")
        };
        let is_type = |value: &&str| {
            let name = value.split(';').next().unwrap_or_default().trim();
            name.is_empty() || (name.contains('/') && is_media_range(name))
        };
        Request {
            takes_utf8: values(ACCEPT_CHARSET)
                .iter()
                .any(|value| value.split(',').any(takes_utf8)),
            has_malformed_query: !is_well_formed(query),
            has_malformed_type: !values(CONTENT_TYPE).iter().all(is_type),
            raw_path: parts.uri.path().to_owned(),
            query: url::form_urlencoded::parse(query.as_bytes())
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
            accept: (!accept.is_empty()).then(|| accept.join(",")),
        }
    }

    /// The first value of a parameter. Only the first counts, as in Jersey.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that the resource reads itself, and that must be there: Spark fails on a null.
    pub(super) fn needed(&self, name: &str) -> Result<&str, Failure> {
        self.text(name).ok_or(Failure::REQUEST_FAILED)
    }

    /// An `int` of Java; an empty one is the default.
    pub(super) fn int(&self, name: &str, default: i32) -> Result<i32, Failure> {
        Ok(self.optional_int(name)?.unwrap_or(default))
    }

    pub(super) fn optional_int(&self, name: &str) -> Result<Option<i32>, Failure> {
        match self.text(name).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| Failure::NO_RESOURCE),
        }
    }

    pub(super) fn optional_long(&self, name: &str) -> Result<Option<i64>, Failure> {
        match self.text(name).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| Failure::NO_RESOURCE),
        }
    }

    /// Everything but `true` is false; an empty one is the default.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        match self.text(name).filter(|text| !text.is_empty()) {
            None => default,
            Some(text) => text.eq_ignore_ascii_case("true"),
        }
    }

    /// All values of an enumeration, whatever their case, as REST writes them. An empty value is Java's null, which equals none.
    pub(super) fn choices(&self, name: &str, known: &[&'static str]) -> Result<Choices, Failure> {
        let mut choices = Choices::default();
        for (_, value) in self.query.iter().filter(|(key, _)| key == name) {
            if value.is_empty() {
                choices.has_null = true;
                continue;
            }
            let choice = known.iter().find(|choice| choice.eq_ignore_ascii_case(value));
            choices.values.push(choice.ok_or(Failure::NO_RESOURCE)?);
        }
        Ok(choices)
    }

    /// The type to answer with, of a resource that has one, or why there is none.
    pub(super) fn answer_type(&self, produces: &str) -> Result<String, Failure> {
        let Some(accept) = self.accept.as_deref() else {
            return Ok(produces.to_owned());
        };
        let mut accepted = false;
        for range in accept.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
            if !is_media_range(&media_type) {
                return Err(Failure::BAD_REQUEST);
            }
            let mut parameters = Vec::new();
            for parameter in parts {
                match parameter
                    .split_once('=')
                    .map(|(name, value)| (name.trim(), value.trim()))
                {
                    Some(("q" | "Q", quality)) => {
                        let quality: f64 = quality.parse().map_err(|_| Failure::BAD_REQUEST)?;
                        if !(0.0..=1.0).contains(&quality) {
                            return Err(Failure::BAD_REQUEST);
                        }
                    }
                    _ => parameters.push(parameter),
                }
            }
            if media_type == produces {
                parameters.insert(0, produces);
                return Ok(parameters.join(";"));
            }
            let (major, minor) = produces.split_once('/').unwrap_or_default();
            accepted |= matches!(&*media_type, "*/*" | "*")
                || media_type.strip_suffix("/*") == Some(major)
                || media_type.strip_prefix("*/") == Some(minor);
        }
        match accepted || accept.trim().is_empty() {
            true => Ok(produces.to_owned()),
            false => Err(Failure::NOT_ACCEPTABLE),
        }
    }

    /// How Jetty writes an error page for this client.
    pub(super) fn page_form(&self) -> Option<PageForm> {
        let Some(accept) = self.accept.as_deref() else {
            return Some(PageForm::Html);
        };
        let mut ranges: Vec<(f64, u8, &str)> = Vec::new();
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let (mut quality, mut has_parameters) = (1.0, false);
            for parameter in parts {
                match parameter.strip_prefix("q=") {
                    Some(value) => quality = value.parse().unwrap_or(0.0),
                    None => has_parameters = true,
                }
            }
            // Jetty compares texts: a parameter makes it another one.
            if quality > 0.0 && !has_parameters {
                let generality = match media_type {
                    "*/*" => 2,
                    media_type => u8::from(media_type.ends_with("/*")),
                };
                ranges.push((quality, generality, media_type));
            }
        }
        ranges.sort_by(|(a, general_a, _), (b, general_b, _)| b.total_cmp(a).then(general_a.cmp(general_b)));
        ranges.into_iter().find_map(|(_, _, media_type)| match media_type {
            "text/html" | "text/*" | "*/*" => Some(PageForm::Html),
            "application/json" => Some(PageForm::Json("application/json")),
            "text/json" => Some(PageForm::Json("text/json")),
            "text/plain" => Some(PageForm::Plain),
            _ => None,
        })
    }

    /// Whether the client would take this type.
    pub(super) fn takes(&self, media_type: &str) -> bool {
        self.accept
            .as_deref()
            .is_some_and(|accept| accept.split([',', ';']).any(|range| range.trim() == media_type))
    }
}

/// Whether Jersey can read it. A word without a slash it takes, and finds that it fits nothing.
fn is_media_range(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "!#$&-^_.+*".contains(letter))
    };
    match text.split_once('/') {
        Some((major, minor)) => token(major) && token(minor),
        None => token(text),
    }
}

/// Whether Jetty can decode a query: whole escapes, and UTF-8 behind them.
fn is_well_formed(query: &str) -> bool {
    query.split(['&', '=']).all(|piece| {
        let (mut bytes, mut rest) = (Vec::with_capacity(piece.len()), piece);
        while let Some((before, after)) = rest.split_once('%') {
            bytes.extend_from_slice(before.as_bytes());
            match after.get(..2).map(|digits| (digits, u8::from_str_radix(digits, 16))) {
                Some((digits, Ok(byte))) if !digits.starts_with('+') => bytes.push(byte),
                _ => return false,
            }
            rest = &after[2..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        std::str::from_utf8(&bytes).is_ok()
    })
}

/// What an error page is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageForm {
    Html,
    Json(&'static str),
    Plain,
}

/// The values of a list parameter.
#[derive(Debug, Default)]
pub(super) struct Choices {
    pub(super) values: Vec<&'static str>,
    pub(super) has_null: bool,
}

impl Choices {
    /// Nothing was asked for, so everything is.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && !self.has_null
    }

    pub(super) fn contains(&self, value: &str) -> bool {
        self.values.contains(&value)
    }
}

/// The segments of a path below `/api`, as Jersey matches them: still encoded, without `;name=value`.
pub(super) fn segments(path: &str) -> Vec<&str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/')
        .skip(1)
        .map(|segment| segment.split(';').next().unwrap_or_default())
        .collect()
}

/// A path parameter.
pub(super) fn decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let hex = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push(hex(*high).unwrap_or_default() << 4 | hex(*low).unwrap_or_default());
                rest = after;
            }
            _ => bytes.push(*byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Why Jetty refuses a path before anybody looks at it.
pub(super) fn refused_path(path: &str) -> Option<&'static str> {
    let mut rest = path.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1..at + 3) {
            Some([b'0', b'0']) | None => return Some("Bad Request"),
            Some([b'u', _]) => return Some("UTF16 encoding"),
            Some(digits) if !digits.iter().all(u8::is_ascii_hexdigit) => return Some("Bad Request"),
            Some(_) => rest = &rest[at + 3..],
        }
    }
    if path.contains("//") {
        return Some("Ambiguous URI empty segment");
    }
    let mut depth = 0;
    for segment in path.split('/').skip(1) {
        depth += if segment == ".." { -1 } else { 1 };
        if depth < 0 {
            return Some("Bad Request");
        }
        let (name, parameter) = segment
            .split_once(';')
            .map_or((segment, None), |(name, rest)| (name, Some(rest)));
        let plain = name.to_ascii_lowercase().replace("%2e", ".");
        if matches!(&*plain, "." | "..") && plain != name.to_ascii_lowercase() {
            return Some("Ambiguous URI path segment");
        }
        if matches!(name, "." | "..") && parameter.is_some() {
            return Some("Ambiguous URI path parameter");
        }
    }
    None
}

/// Java's `Double.parseDouble`.
pub(super) fn java_double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|letter: char| letter <= ' ');
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    match digits {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(sign * f64::INFINITY),
        _ => {}
    }
    let digits = digits.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(digits);
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return hexadecimal(hex).map(|value| sign * value);
    }
    // Rust knows `inf`, `nan` and their kin as well, Java does not.
    let first = digits.trim_start_matches('.').as_bytes().first()?;
    if !first.is_ascii_digit() || digits.starts_with(['+', '-']) {
        return None;
    }
    digits.parse::<f64>().ok().map(|value| sign * value)
}

/// `1.8p-1` of `0x1.8p-1`. Only as exact as a double needs it for digits that fit.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let places = i32::try_from(fraction.len()).ok()?;
    Some(value * 2_f64.powi(exponent.checked_sub(4 * places)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_read_as_java_reads_them() {
        let good = [
            "0.5", " 0.5 ", "+0.5", "5e-1", "0.5d", "0.5F", ".5", "0x1p-1", "0x.8p0", "5.E-1",
        ];
        for text in good {
            assert_eq!(java_double(text), Some(0.5), "{text}");
        }
        assert_eq!(java_double("-Infinity"), Some(f64::NEG_INFINITY));
        assert!(java_double("NaN").is_some_and(f64::is_nan));
        for text in [
            "", " ", "infinity", "nan", "inf", "0.5x", "0x1", "+-1", "--1", ",", ".", "d",
        ] {
            assert_eq!(java_double(text), None, "{text}");
        }
    }

    #[test]
    fn paths_are_cut_and_decoded_as_jersey_does() {
        assert_eq!(segments("/v1/version;a=b/"), ["v1", "version"]);
        assert_eq!(segments("/v1/applications/"), ["v1", "applications"]);
        assert_eq!(decoded("a%2Fb+%E4%BD%A0%ff%"), "a/b+你\u{fffd}%");
        assert_eq!(refused_path("/api//v1"), Some("Ambiguous URI empty segment"));
        assert_eq!(refused_path("/api/%2e%2E/v1"), Some("Ambiguous URI path segment"));
        assert_eq!(refused_path("/api/..;/v1"), Some("Ambiguous URI path parameter"));
        assert_eq!(refused_path("/api/%zz"), Some("Bad Request"));
        assert_eq!(refused_path("/api/%00"), Some("Bad Request"));
        assert_eq!(refused_path("/api/%u0041"), Some("UTF16 encoding"));
        assert_eq!(refused_path("/../api"), Some("Bad Request"));
        assert_eq!(refused_path("/api/v1/applications/../%20"), None);
    }

    #[test]
    fn queries_that_jetty_cannot_decode_are_known() {
        for query in ["", "a=b&c", "a=%C3%A9+x", "a=%25&%3d=1", "a=é"] {
            assert!(is_well_formed(query), "{query}");
        }
        for query in [
            "a=%",
            "a=%4",
            "%zz=1",
            "a=%ff",
            "a=%C3&b=%A9",
            "a=%u1234",
            "a=%+1",
            "a=%é",
        ] {
            assert!(!is_well_formed(query), "{query}");
        }
    }
}
