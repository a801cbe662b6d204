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
    /// The connection ends with it.
    pub(super) fatal: bool,
}

impl PgError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        PgError {
            code,
            message: message.into(),
            fatal: false,
        }
    }

    pub(super) fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        PgError {
            code,
            message: message.into(),
            fatal: true,
        }
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        let severity = if self.fatal { "FATAL" } else { "ERROR" };
        message(out, b'E', |out| {
            for (field, value) in [
                (b'S', severity),
                (b'V', severity),
                (b'C', self.code),
                (b'M', &self.message),
            ] {
                out.put_u8(field);
                put_text(out, value);
            }
            out.put_u8(0);
        });
    }
}

impl From<QueryError> for PgError {
    fn from(error: QueryError) -> Self {
        let status = error.status();
        PgError {
            code: status.sqlstate,
            message: error.to_string(),
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
