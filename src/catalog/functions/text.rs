//! Text and bytes.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use super::plain::{
    Plain, Zone, bool_type, bytea_type, int, int4_type, lenient, plain, text, text_type, texts_type, utf8, utf8s,
};
use crate::catalog::sql_error::{raise, sql_error};
use crate::catalog::values;

pub(super) static FUNCTIONS: &[Plain] = &[
    plain(
        "md5",
        1..=1,
        text_type,
        |zone, a| Ok(utf8(values::hex(&md5(&bytes(zone, a, 0))))),
        "MD5 of a text or of bytes, in hexadecimal digits",
    ),
    plain(
        "encode",
        2..=2,
        text_type,
        encode,
        "bytes as text: `hex`, `base64`, `escape`",
    ),
    plain(
        "decode",
        2..=2,
        bytea_type,
        decode,
        "text as bytes: `hex`, `base64`, `escape`",
    ),
    plain(
        "convert_from",
        2..=2,
        text_type,
        |zone, a| {
            String::from_utf8(bytes(zone, a, 0))
                .map(utf8)
                .map_err(|_| sql_error("22021", "invalid byte sequence for encoding \"UTF8\""))
        },
        "bytes of UTF-8 as text",
    ),
    plain(
        "convert_to",
        2..=2,
        bytea_type,
        |zone, a| Ok(ScalarValue::Binary(Some(bytes(zone, a, 0)))),
        "text as bytes of UTF-8",
    ),
    plain(
        "get_byte",
        2..=2,
        int4_type,
        |zone, a| {
            let (bytes, at) = (bytes(zone, a, 0), int(a, 1)?);
            match usize::try_from(at).ok().and_then(|at| bytes.get(at)) {
                Some(byte) => Ok(ScalarValue::Int32(Some((*byte).into()))),
                None => raise(
                    "2202E",
                    format!("index {at} out of valid range, 0..{}", bytes.len().saturating_sub(1)),
                ),
            }
        },
        "a byte, counted from 0",
    ),
    plain(
        "to_hex",
        1..=1,
        text_type,
        |_, a| {
            Ok(utf8(match a.first() {
                Some(ScalarValue::Int64(Some(v))) => format!("{v:x}"),
                _ => format!("{:x}", super::plain::small(a, 0)?),
            }))
        },
        "hexadecimal digits of an integer",
    ),
    plain(
        "chr",
        1..=1,
        text_type,
        |_, a| {
            let code = int(a, 0)?;
            if code <= 0 {
                return raise(
                    if code == 0 { "54000" } else { "22023" },
                    if code == 0 {
                        "null character not permitted"
                    } else {
                        "character number must be positive"
                    },
                );
            }
            match u32::try_from(code).ok().and_then(char::from_u32) {
                Some(c) => Ok(utf8(c)),
                None => raise("54000", format!("requested character too large for encoding: {code}")),
            }
        },
        "the character of a code point",
    ),
    plain(
        "split_part",
        3..=3,
        text_type,
        |zone, a| {
            let (whole, by, field) = (text(zone, a, 0), text(zone, a, 1), int(a, 2)?);
            if field == 0 {
                return raise("22023", "field position must not be zero");
            }
            let fields: Vec<&str> = if by.is_empty() {
                vec![&whole]
            } else {
                whole.split(by.as_str()).collect()
            };
            let count = i64::try_from(fields.len()).unwrap_or(i64::MAX);
            let at = if field > 0 { field - 1 } else { count + field };
            Ok(utf8(
                usize::try_from(at)
                    .ok()
                    .and_then(|at| fields.get(at))
                    .copied()
                    .unwrap_or_default(),
            ))
        },
        "the n-th field between separators; negative: from the end",
    ),
    plain(
        "substring",
        2..=3,
        text_or_bytes_type,
        substring,
        "part of a text or of bytes, by position or by POSIX pattern",
    ),
    plain(
        "substr",
        2..=3,
        text_or_bytes_type,
        substring,
        "part of a text or of bytes",
    ),
    plain(
        "length",
        1..=1,
        int4_type,
        |zone, a| {
            Ok(ScalarValue::Int32(Some(
                match a.first() {
                    Some(ScalarValue::Binary(Some(bytes))) => bytes.len(),
                    _ => text(zone, a, 0).chars().count(),
                }
                .try_into()
                .unwrap_or(i32::MAX),
            )))
        },
        "characters of a text, or bytes",
    ),
    lenient(
        "num_nulls",
        1..=100,
        int4_type,
        |_, a| {
            Ok(ScalarValue::Int32(
                i32::try_from(a.iter().filter(|v| v.is_null()).count()).ok(),
            ))
        },
        "how many arguments are null",
    ),
    lenient(
        "num_nonnulls",
        1..=100,
        int4_type,
        |_, a| {
            Ok(ScalarValue::Int32(
                i32::try_from(a.iter().filter(|v| !v.is_null()).count()).ok(),
            ))
        },
        "how many arguments are not null",
    ),
    lenient(
        "concat",
        1..=100,
        text_type,
        |zone, a| Ok(utf8(a.iter().filter_map(|v| short_text(v, zone)).collect::<String>())),
        "the texts of all arguments, without nulls",
    ),
    lenient(
        "concat_ws",
        2..=100,
        text_type,
        |zone, a| {
            let Some(separator) = a.first().and_then(|v| short_text(v, zone)) else {
                return Ok(ScalarValue::Null);
            };
            let parts: Vec<String> = a.iter().skip(1).filter_map(|v| short_text(v, zone)).collect();
            Ok(utf8(parts.join(&separator)))
        },
        "the same with a separator between them",
    ),
    lenient(
        "format",
        1..=100,
        text_type,
        format,
        "`%s`, `%I`, `%L` with positions, widths and `%%`",
    ),
    plain(
        "starts_with",
        2..=2,
        bool_type,
        |zone, a| {
            Ok(ScalarValue::Boolean(Some(
                text(zone, a, 0).starts_with(&text(zone, a, 1)),
            )))
        },
        "does a text begin with another",
    ),
    plain(
        "unistr",
        1..=1,
        text_type,
        |zone, a| unistr(&text(zone, a, 0)),
        "resolves `\\XXXX` and `\\+XXXXXX`",
    ),
    plain(
        "similar__pattern",
        2..=2,
        text_type,
        |zone, a| Ok(utf8(similar_pattern(&text(zone, a, 0), &text(zone, a, 1))?)),
        "",
    ),
    plain(
        "regexp_matches",
        2..=3,
        |_| Ok(DataType::new_list(DataType::new_list(DataType::Utf8, true), true)),
        regexp_matches,
        "all matches of a pattern, a row each (with `g`)",
    ),
    plain(
        "regexp_split_to_array",
        2..=3,
        texts_type,
        |zone, a| Ok(utf8s(split(zone, a)?.into_iter().map(Some))),
        "a text, split at a pattern",
    ),
    plain(
        "regexp_split_to_table",
        2..=3,
        texts_type,
        |zone, a| Ok(utf8s(split(zone, a)?.into_iter().map(Some))),
        "a text, split at a pattern, a row each",
    ),
    plain(
        "regexp_substr",
        2..=6,
        text_type,
        |zone, a| {
            let pattern = text(zone, a, 1);
            Ok(ScalarValue::Utf8(
                first_match(&text(zone, a, 0), &pattern, "")?.map(|found| found.whole),
            ))
        },
        "the first match of a pattern",
    ),
];

/// What the first argument is.
fn text_or_bytes_type(arguments: &[DataType]) -> Result<DataType> {
    Ok(match arguments.first() {
        Some(DataType::Binary) => DataType::Binary,
        _ => DataType::Utf8,
    })
}

/// `t` and `f`, as PostgreSQL's output function writes booleans where it is not a cast to text.
fn short_text(value: &ScalarValue, zone: Zone) -> Option<String> {
    match value {
        ScalarValue::Boolean(Some(value)) => Some(if *value { "t" } else { "f" }.into()),
        other => values::text_of(other, zone.0),
    }
}

fn bytes(zone: Zone, arguments: &[ScalarValue], at: usize) -> Vec<u8> {
    match arguments.get(at) {
        Some(ScalarValue::Binary(Some(bytes)) | ScalarValue::LargeBinary(Some(bytes))) => bytes.clone(),
        _ => text(zone, arguments, at).into_bytes(),
    }
}

/// RFC 1321. No crate of this program has it, and clients use it for keys, not for secrets.
fn md5(message: &[u8]) -> [u8; 16] {
    const SHIFTS: [u32; 16] = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut data = message.to_vec();
    data.push(0x80);
    while data.len() % 64 != 56 {
        data.push(0);
    }
    data.extend((message.len() as u64 * 8).to_le_bytes());
    for block in data.chunks_exact(64) {
        let word =
            |at: usize| u32::from_le_bytes([block[at * 4], block[at * 4 + 1], block[at * 4 + 2], block[at * 4 + 3]]);
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64_u32 {
            let round = step / 16;
            let (mixed, at) = match round {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), (7 * step) % 16),
            };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "below 2^32 and positive"
            )]
            let constant = (f64::from(step + 1).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a
                .wrapping_add(mixed)
                .wrapping_add(constant)
                .wrapping_add(word(at as usize));
            let shift = SHIFTS[(round * 4 + step % 4) as usize];
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(shift)));
        }
        for (old, new) in state.iter_mut().zip([a, b, c, d]) {
            *old = old.wrapping_add(new);
        }
    }
    let mut result = [0; 16];
    for (place, word) in result.chunks_exact_mut(4).zip(state) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    result
}

fn encode(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    use base64::Engine as _;
    let bytes = bytes(zone, a, 0);
    Ok(utf8(match text(zone, a, 1).to_lowercase().as_str() {
        "hex" => values::hex(&bytes),
        "base64" => {
            // Lines of 76 characters, as MIME and PostgreSQL have them.
            let whole = base64::engine::general_purpose::STANDARD.encode(bytes);
            let lines: Vec<&str> = whole
                .as_bytes()
                .chunks(76)
                .filter_map(|line| std::str::from_utf8(line).ok())
                .collect();
            lines.join("\n")
        }
        "escape" => bytes
            .iter()
            .map(|byte| match byte {
                b'\\' => "\\\\".into(),
                0 | 128.. => format!("\\{byte:03o}"),
                byte => char::from(*byte).to_string(),
            })
            .collect(),
        other => return raise("22023", format!("unrecognized encoding: \"{other}\"")),
    }))
}

fn decode(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    use base64::Engine as _;
    let (from, encoding) = (text(zone, a, 0), text(zone, a, 1).to_lowercase());
    let bytes = match encoding.as_str() {
        "hex" => values::unhex(&from).ok_or_else(|| sql_error("22023", "invalid hexadecimal data"))?,
        "base64" => {
            let digits: String = from.chars().filter(|c| !c.is_whitespace()).collect();
            let decoded = base64::engine::general_purpose::STANDARD.decode(digits);
            decoded.map_err(|_| sql_error("22023", "invalid base64 end sequence"))?
        }
        "escape" => match values::parse(&from, &DataType::Binary, zone.0)? {
            Some(ScalarValue::Binary(Some(bytes))) => bytes,
            _ => Vec::new(),
        },
        other => return raise("22023", format!("unrecognized encoding: \"{other}\"")),
    };
    Ok(ScalarValue::Binary(Some(bytes)))
}

fn substring(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let is_text = |at: usize| {
        matches!(
            a.get(at),
            Some(ScalarValue::Utf8(_) | ScalarValue::LargeUtf8(_) | ScalarValue::Utf8View(_))
        )
    };
    if is_text(1) && a.len() == 2 {
        let found = first_match(&text(zone, a, 0), &text(zone, a, 1), "")?;
        return Ok(ScalarValue::Utf8(found.and_then(|found| match found.groups.first() {
            Some(group) => group.clone(),
            None => Some(found.whole),
        })));
    }
    if is_text(1) {
        return raise("0A000", "substring with an SQL regular expression is not supported");
    }
    let start = int(a, 1)?;
    let end = match a.get(2) {
        Some(_) => {
            let count = int(a, 2)?;
            if count < 0 {
                return raise("22011", "negative substring length not allowed");
            }
            start.saturating_add(count)
        }
        None => i64::MAX,
    };
    let from = usize::try_from(start.max(1) - 1).unwrap_or(usize::MAX);
    let to = usize::try_from(end.max(1) - 1).unwrap_or(usize::MAX).max(from);
    if let Some(ScalarValue::Binary(Some(bytes))) = a.first() {
        let to = to.min(bytes.len());
        return Ok(ScalarValue::Binary(Some(
            bytes.get(from.min(to)..to).unwrap_or_default().to_vec(),
        )));
    }
    Ok(utf8(
        text(zone, a, 0).chars().skip(from).take(to - from).collect::<String>(),
    ))
}

/// `format('%s %1$I %-10L %%', …)`.
fn format(zone: Zone, arguments: &[ScalarValue]) -> Result<ScalarValue> {
    let Some(pattern) = arguments.first().and_then(|v| values::text_of(v, zone.0)) else {
        return Ok(ScalarValue::Null);
    };
    let mut result = String::new();
    let mut next = 1;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            result.push(c);
            continue;
        }
        if chars.next_if_eq(&'%').is_some() {
            result.push('%');
            continue;
        }
        let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            digits.parse::<usize>().ok()
        };
        let mut width = number(&mut chars);
        let mut at = next;
        if chars.next_if_eq(&'$').is_some() {
            at = width.take().unwrap_or_default();
            if at == 0 {
                return raise(
                    "22023",
                    "format specifies argument 0, but arguments are numbered from 1",
                );
            }
        }
        let left = chars.next_if_eq(&'-').is_some();
        if width.is_none() {
            width = number(&mut chars);
        }
        let Some(value) = arguments.get(at) else {
            return raise("22023", "too few arguments for format()");
        };
        next = at + 1;
        let shown = values::text_of(value, zone.0);
        let item = match chars.next() {
            Some('s') => shown.unwrap_or_default(),
            Some('I') => match shown {
                Some(name) => crate::catalog::pg_catalog::quote_identifier(&name),
                None => return raise("22004", "null values cannot be formatted as an SQL identifier"),
            },
            Some('L') => quote_literal(shown.as_deref()),
            Some(other) => return raise("22023", format!("unrecognized format() type specifier \"{other}\"")),
            None => return raise("22023", "unterminated format() type specifier"),
        };
        let width = width.unwrap_or(0);
        let padding = " ".repeat(width.saturating_sub(item.chars().count()));
        if left {
            result.push_str(&item);
            result.push_str(&padding);
        } else {
            result.push_str(&padding);
            result.push_str(&item);
        }
    }
    Ok(utf8(result))
}

pub(super) fn quote_literal(value: Option<&str>) -> String {
    match value {
        None => "NULL".into(),
        Some(value) => {
            let quoted = value.replace('\'', "''").replace('\\', "\\\\");
            let mark = if value.contains('\\') { "E" } else { "" };
            format!("{mark}'{quoted}'")
        }
    }
}

fn unistr(text: &str) -> Result<ScalarValue> {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('\\') {
            result.push('\\');
            rest = after;
            continue;
        }
        let (digits, after) = match rest.chars().next() {
            Some('+') => (rest.get(1..7), rest.get(7..)),
            Some('u') => (rest.get(1..5), rest.get(5..)),
            Some('U') => (rest.get(1..9), rest.get(9..)),
            _ => (rest.get(..4), rest.get(4..)),
        };
        let c = digits
            .and_then(|d| u32::from_str_radix(d, 16).ok())
            .and_then(char::from_u32);
        let (Some(c), Some(after)) = (c, after) else {
            return raise("42601", "invalid Unicode escape");
        };
        result.push(c);
        rest = after;
    }
    result.push_str(rest);
    Ok(utf8(result))
}

/// A pattern of SIMILAR TO as a POSIX one for the whole text.
fn similar_pattern(pattern: &str, escape: &str) -> Result<String> {
    let mut escapes = escape.chars();
    let (escape, None) = (escapes.next(), escapes.next()) else {
        return raise("22019", "invalid escape string");
    };
    let mut result = String::from("^(?:");
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => {
                if let Some(kept) = chars.next() {
                    if !kept.is_alphanumeric() {
                        result.push('\\');
                    }
                    result.push(kept);
                }
            }
            '[' => {
                in_class = true;
                result.push('[');
            }
            ']' => {
                in_class = false;
                result.push(']');
            }
            c if in_class => result.push(c),
            '%' => result.push_str("(?s:.*)"),
            '_' => result.push_str("(?s:.)"),
            '.' | '^' | '$' | '\\' => {
                result.push('\\');
                result.push(c);
            }
            c => result.push(c),
        }
    }
    result.push_str(")$");
    Ok(result)
}

// Patterns, with Arrow's kernel: the engine that `~` has too

struct Match {
    whole: String,
    groups: Vec<Option<String>>,
    rest: String,
    before: String,
}

/// The first match of a pattern, and what is left behind it.
fn first_match(text: &str, pattern: &str, flags: &str) -> Result<Option<Match>> {
    use arrow::array::{Array, AsArray, Scalar, StringArray};
    let around = format!("^((?s:.*?))({pattern})((?s:.*))$");
    let flags: String = flags.chars().filter(|c| *c != 'g').collect();
    let subject = StringArray::from(vec![text]);
    let around = if flags.is_empty() {
        around
    } else {
        format!("(?{flags}){around}")
    };
    let pattern = Scalar::new(StringArray::from(vec![around]));
    let found = arrow::compute::regexp_match(&subject, &pattern, None);
    let found = found.map_err(|error| {
        sql_error(
            "2201B",
            format!("invalid regular expression: {}", last_line(&error.to_string())),
        )
    })?;
    let list = found.as_list::<i32>();
    if list.is_null(0) {
        return Ok(None);
    }
    let values = list.value(0);
    let groups: Vec<Option<String>> = values
        .as_string::<i32>()
        .iter()
        .map(|group| group.map(str::to_owned))
        .collect();
    let [before, whole, inner @ .., rest] = groups.as_slice() else {
        return Ok(None);
    };
    Ok(Some(Match {
        whole: whole.clone().unwrap_or_default(),
        groups: inner.to_vec(),
        rest: rest.clone().unwrap_or_default(),
        before: before.clone().unwrap_or_default(),
    }))
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

fn regexp_matches(zone: Zone, a: &[ScalarValue]) -> Result<ScalarValue> {
    let (mut rest, pattern, flags) = (text(zone, a, 0), text(zone, a, 1), text(zone, a, 2));
    let mut rows = Vec::new();
    while let Some(found) = first_match(&rest, &pattern, &flags)? {
        rows.push(match found.groups.is_empty() {
            true => utf8s([Some(found.whole.clone())]),
            false => utf8s(found.groups),
        });
        if !flags.contains('g') || found.rest.is_empty() || found.whole.is_empty() {
            break;
        }
        rest = found.rest;
    }
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(
        &rows,
        &DataType::new_list(DataType::Utf8, true),
    )))
}

fn split(zone: Zone, a: &[ScalarValue]) -> Result<Vec<String>> {
    let (mut rest, pattern, flags) = (text(zone, a, 0), text(zone, a, 1), text(zone, a, 2));
    let mut parts = Vec::new();
    loop {
        match first_match(&rest, &pattern, &flags)? {
            // A match of nothing is behind the first character.
            Some(found) if found.whole.is_empty() => {
                let mut chars = rest.chars();
                match chars.next() {
                    Some(first) if !chars.as_str().is_empty() => {
                        parts.push(first.to_string());
                        rest = chars.as_str().to_owned();
                    }
                    _ => break,
                }
            }
            Some(found) => {
                parts.push(found.before);
                rest = found.rest;
            }
            None => break,
        }
    }
    parts.push(rest);
    Ok(parts)
}
