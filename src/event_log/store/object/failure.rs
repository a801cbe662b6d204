//! What went wrong with a request, in words for the one who can put it right.
//!
//! The client of the store gives its errors as text, so what they are is found in it: the HTTP status, and the code that S3 writes into its
//! answer. Nothing of the answer is passed on but its code and, where we have no words of our own, its message: some servers write what they
//! were sent into the rest.

use std::error::Error as StdError;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use super::super::StoreError;

/// Letters of a message of the store that are passed on.
const LONGEST_MESSAGE: usize = 200;

/// Where requests go, as errors name it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// `S3`, `Google Cloud Storage`, `Azure Blob Storage`.
    pub(super) kind: &'static str,
    pub(super) bucket: String,
    /// `https://minio.example:9000`; empty where the store's own holds.
    pub(super) endpoint: String,
}

/// Whether a read began behind the end of an object.
pub(super) fn is_past_the_end(error: &Error) -> bool {
    status_in(&chain(error)) == Some(416)
}

impl Place {
    fn server(&self) -> String {
        match self.endpoint.as_str() {
            "" => self.kind.to_owned(),
            endpoint => format!("{} at {endpoint}", self.kind),
        }
    }

    /// The error of a request about `path`.
    pub(super) fn store_error(&self, path: &str, error: &Error) -> StoreError {
        let text = chain(error);
        let refused = |message: String| StoreError::refused(path, message);
        let unavailable = |message: String| StoreError::unavailable(path, message);
        let (bucket, server) = (&self.bucket, self.server());
        if let Some(text) = text_of_metadata_service(&text) {
            return refused(format!(
                "there are no credentials for {server}: give [s3] access_key_id and secret_access_key, AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or say credentials = \"anonymous\" ({text})"
            ));
        }
        if let Error::InvalidPath { .. } = error {
            return refused(format!(
                "the listing of {bucket} has a name that cannot be handled, with an empty part, a part `.` or `..`, or a control \
                 character: move that object away ({error})"
            ));
        }
        let code = code_in(&text).unwrap_or_default();
        let named = |status: u16| match code.as_str() {
            "" => format!("HTTP status {status}"),
            code => format!("{code}, HTTP status {status}"),
        };
        let Some(status) = status_in(&text) else {
            return self.without_answer(path, error, &text);
        };
        match (code.as_str(), status) {
            ("NoSuchBucket" | "ContainerNotFound", _) => refused(format!(
                "{server} has no bucket {bucket} ({}); check the name, and [s3] endpoint and region",
                named(status)
            )),
            ("InvalidBucketName", _) => refused(format!("{bucket} cannot be the name of a bucket ({})", named(status))),
            // The latter is versitygw's, with status 404.
            ("InvalidAccessKeyId" | "XAdminUserNotFound", _) => refused(format!(
                "{server} does not know the access key ({}); check [s3] access_key_id or AWS_ACCESS_KEY_ID",
                named(status)
            )),
            ("SignatureDoesNotMatch", _) => refused(format!(
                "the secret does not belong to the access key ({}); check [s3] secret_access_key or AWS_SECRET_ACCESS_KEY",
                named(status)
            )),
            ("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken", _) => {
                refused(format!(
                    "the session token does not hold any more ({}); give new temporary keys, or let them be renewed with [s3] credentials = \
                 \"web-identity\" or \"instance-profile\"",
                    named(status)
                ))
            }
            ("RequestTimeTooSkewed", _) => refused(format!(
                "the clock of this machine differs from that of {server} ({}); set it right",
                named(status)
            )),
            ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException", _)
            | (_, 301 | 307) => refused(format!(
                "the bucket {bucket} is in another region ({}){}; set [s3] region",
                named(status),
                said(&text)
            )),
            ("SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable", _)
            | (_, 408 | 429 | 500..=599) => unavailable(format!("{server} answers {}", named(status))),
            ("" | "NoSuchKey" | "NotFound" | "BlobNotFound", 404) => StoreError::NotFound { path: path.to_owned() },
            (_, 401) => refused(format!(
                "{server} wants credentials ({}); see [s3] credentials",
                named(status)
            )),
            (_, 403) => refused(format!(
                "{server} denies access to {bucket} ({}); the credentials need s3:ListBucket for the bucket and s3:GetObject for what is in \
                 it",
                named(status)
            )),
            _ => refused(format!("{server} refuses ({}){}", named(status), said(&text))),
        }
    }

    /// No answer came, or none that could be understood.
    fn without_answer(&self, path: &str, error: &Error, text: &str) -> StoreError {
        let server = self.server();
        let refused = |message: String| StoreError::refused(path, message);
        let unavailable = |message: String| StoreError::unavailable(path, message);
        let has = |word: &str| text.contains(word);
        if has("redirect without LOCATION") {
            return refused(format!(
                "the bucket {} is in another region; set [s3] region",
                self.bucket
            ));
        }
        if has("UnknownIssuer") || has("unable to get local issuer") {
            return refused(format!(
                "the certificate of {server} is signed by an authority that is not known here; name the file of the authority's in \
                 [storage] ca_file"
            ));
        }
        if has("invalid peer certificate") || has("certificate") && has("not valid for name") {
            return refused(format!(
                "the certificate of {server} does not hold ({}); check the name in [s3] endpoint",
                last_cause(error)
            ));
        }
        if has("InvalidContentType") || has("CorruptMessage") || has("wrong version number") {
            return refused(format!(
                "{server} does not speak TLS; write http:// in [s3] endpoint and set [s3] allow_http"
            ));
        }
        if has("URL scheme is not allowed") {
            return refused(format!(
                "{server} is not https://; set [s3] allow_http if that is meant"
            ));
        }
        if has("dns error") || has("failed to lookup") {
            return unavailable(format!("the name of {server} is not known; check [s3] endpoint"));
        }
        if has("onnection refused") {
            return unavailable(format!(
                "{server} refuses connections; is it running, and is [s3] endpoint right?"
            ));
        }
        let what = match http_kind(error) {
            Some(HttpErrorKind::Timeout) => "did not answer in time".to_owned(),
            Some(HttpErrorKind::Connect) => format!("cannot be reached: {}", last_cause(error)),
            Some(_) => format!("broke off: {}", last_cause(error)),
            None => format!("gave no answer that can be understood: {}", last_cause(error)),
        };
        unavailable(format!("{server} {what}"))
    }
}

/// The request was for credentials, to the service that machines in a cloud have.
fn text_of_metadata_service(text: &str) -> Option<&'static str> {
    let asked = text.contains("latest/api/token") || text.contains("latest/meta-data");
    asked.then_some("the metadata service of the machine was asked in vain")
}

/// What an error and its causes say.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn last_cause(error: &Error) -> String {
    let mut last: &dyn StdError = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    shortened(&last.to_string())
}

fn http_kind(error: &Error) -> Option<HttpErrorKind> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(http) = cause.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        next = cause.source();
    }
    None
}

fn status_in(text: &str) -> Option<u16> {
    let after = text.split("non-2xx status code: ").nth(1)?;
    after.get(..3)?.parse().ok()
}

/// `<Code>…</Code>` of the answer.
fn code_in(text: &str) -> Option<String> {
    element(text, "Code").filter(|code| code.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// What the store said, if it said something.
fn said(text: &str) -> String {
    element(text, "Message").map_or(String::new(), |message| format!(": {}", shortened(&message)))
}

fn element(text: &str, name: &str) -> Option<String> {
    let after = text.split_once(&format!("<{name}>"))?.1;
    let (inside, _) = after.split_once(&format!("</{name}>"))?;
    Some(inside.to_owned())
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_MESSAGE) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(text: &str) -> StoreError {
        let place = Place {
            kind: "S3",
            bucket: "logs".into(),
            endpoint: "https://s3.example".into(),
        };
        let error = Error::Generic {
            store: "S3",
            source: text.to_owned().into(),
        };
        place.store_error("s3://logs/x", &error)
    }

    fn status(status: &str, code: &str) -> StoreError {
        said_of(&format!(
            "Server returned non-2xx status code: {status}: <Error><Code>{code}</Code><Message>m</Message>\
             <StringToSign>hidden</StringToSign></Error>"
        ))
    }

    #[test]
    fn an_answer_that_someone_has_to_put_right_says_how() {
        for (answer, code, expected) in [
            ("404 Not Found", "NoSuchBucket", "no bucket logs"),
            ("403 Forbidden", "InvalidAccessKeyId", "[s3] access_key_id"),
            ("403 Forbidden", "SignatureDoesNotMatch", "[s3] secret_access_key"),
            ("400 Bad Request", "ExpiredToken", "new temporary keys"),
            ("403 Forbidden", "AccessDenied", "s3:ListBucket"),
            ("403 Forbidden", "RequestTimeTooSkewed", "clock"),
            ("301 Moved Permanently", "PermanentRedirect", "[s3] region"),
            ("400 Bad Request", "AuthorizationHeaderMalformed", "[s3] region"),
            ("400 Bad Request", "SomethingNew", "SomethingNew"),
        ] {
            let error = status(answer, code);
            let text = error.to_string();
            assert!(matches!(error, StoreError::Refused { .. }), "{code}: {text}");
            assert!(text.contains(expected) && !text.contains("hidden"), "{code}: {text}");
        }
    }

    #[test]
    fn an_answer_that_passes_is_tried_again() {
        for (answer, code) in [
            ("503 Slow Down", "SlowDown"),
            ("500 Internal Server Error", "InternalError"),
            ("429 Too Many Requests", ""),
            ("502 Bad Gateway", ""),
        ] {
            let error = status(answer, code);
            assert!(error.is_transient(), "{error}");
        }
        for text in [
            "tcp connect error: Connection refused (os error 111)",
            "dns error: failed to lookup address information",
            "Got invalid list response: unexpected end of xml",
        ] {
            assert!(said_of(text).is_transient(), "{text}");
        }
        assert!(!said_of("invalid peer certificate: UnknownIssuer").is_transient());
        assert!(matches!(
            status("404 Not Found", "NoSuchKey"),
            StoreError::NotFound { .. }
        ));
    }
}
