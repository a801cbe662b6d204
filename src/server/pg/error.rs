//! An error as the wire carries it.

use bytes::{BufMut, BytesMut};

use super::wire::{WireError, message, put_text};
use crate::server::auth::Refusal;
use crate::server::query::QueryError;

/// What goes into an `ErrorResponse`.
#[derive(Debug, Clone)]
pub(super) struct PgError {
    pub(super) code: &'static str,
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: Option<&'static str>,
    /// The connection ends with it.
    pub(super) fatal: bool,
}

/// A warning: the statement goes on.
pub(super) fn warning(out: &mut BytesMut, code: &str, text: &str) {
    report(out, b'N', "WARNING", code, text, None);
}

fn report(out: &mut BytesMut, kind: u8, severity: &str, code: &str, text: &str, hint: Option<&str>) {
    message(out, kind, |out| {
        let fields = [(b'S', severity), (b'V', severity), (b'C', code), (b'M', text)];
        for (field, value) in fields.into_iter().chain(hint.map(|hint| (b'H', hint))) {
            out.put_u8(field);
            put_text(out, value);
        }
        out.put_u8(0);
    });
}

impl PgError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        PgError {
            code,
            message: message.into(),
            hint: None,
            fatal: false,
        }
    }

    pub(super) fn with_hint(self, hint: &'static str) -> Self {
        PgError {
            hint: Some(hint),
            ..self
        }
    }

    pub(super) fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        PgError {
            code,
            message: message.into(),
            hint: None,
            fatal: true,
        }
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        let severity = if self.fatal { "FATAL" } else { "ERROR" };
        report(out, b'E', severity, self.code, &self.message, self.hint);
    }
}

impl From<QueryError> for PgError {
    fn from(error: QueryError) -> Self {
        let status = error.status();
        PgError {
            code: status.sqlstate,
            message: error.to_string(),
            hint: None,
            fatal: status.fatal,
        }
    }
}

impl From<Refusal> for PgError {
    fn from(refusal: Refusal) -> Self {
        PgError::fatal(refusal.status().sqlstate, refusal.to_string())
    }
}

/// Why work for a client stops: it made an error and hears of it, or it is gone.
#[derive(Debug)]
pub(super) enum Stop {
    Error(PgError),
    Gone(WireError),
}

impl From<PgError> for Stop {
    fn from(error: PgError) -> Self {
        Stop::Error(error)
    }
}

impl From<QueryError> for Stop {
    fn from(error: QueryError) -> Self {
        Stop::Error(error.into())
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Error(refusal.into())
    }
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Stop::Gone(error)
    }
}
