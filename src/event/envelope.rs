//! The name of a line's event, found without parsing the rest.

use std::borrow::Cow;

use serde::Deserialize;

use super::{ParseError, Text};

const PREFIX: &[u8] = b"{\"Event\":\"";

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, rename = "Event")]
    event: Text<'a>,
}

/// The value of `"Event"`. Spark writes it first; a line in another order is parsed for it.
pub fn event_name(line: &[u8]) -> Result<Text<'_>, ParseError> {
    if let Some(rest) = line.strip_prefix(PREFIX) {
        let end = memchr::memchr2(b'"', b'\\', rest);
        if let Some(end) = end.filter(|end| rest[*end] == b'"')
            && let Ok(name) = std::str::from_utf8(&rest[..end])
        {
            return Ok(Cow::Borrowed(name));
        }
    }
    match serde_json::from_slice::<Named<'_>>(line) {
        Ok(named) => Ok(named.event),
        Err(source) => Err(ParseError::NoEvent { source: Some(source) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_first_or_anywhere() {
        assert_eq!(
            event_name(br#"{"Event":"SparkListenerLogStart","Spark Version":"4.1.0"}"#).unwrap(),
            "SparkListenerLogStart"
        );
        assert_eq!(
            event_name(br#"{"Timestamp":1,"Event":"SparkListenerApplicationEnd"}"#).unwrap(),
            "SparkListenerApplicationEnd"
        );
        for bad in [
            &b""[..],
            b"{}",
            b"garbage",
            b"{\"Event\":\"cut",
            b"[1]",
            b"{\"Event\":1}",
            b"\xff\xfe",
        ] {
            assert!(event_name(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
