//! The codes of an error, decided once for every door.
//!
//! PostgreSQL's SQLSTATE and HTTP statuses are here; gRPC codes (Flight SQL) become a further column of this table when that door opens.
//! Clients branch on these codes. `XX000` means a bug of ours and nothing else.

use super::auth::{Refusal, ScramError};
use super::error::QueryError;

/// How an error looks on each wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireStatus {
    /// Five characters, <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
    pub sqlstate: &'static str,
    /// The connection ends with this error.
    pub fatal: bool,
    /// REST runs statements of its own, so an error is never the client's: 503 where trying again later may help, else 500.
    pub http: u16,
}

const fn error(sqlstate: &'static str) -> WireStatus {
    WireStatus {
        sqlstate,
        fatal: false,
        http: 500,
    }
}

const fn for_now(sqlstate: &'static str) -> WireStatus {
    WireStatus {
        http: 503,
        ..error(sqlstate)
    }
}

const fn fatal(sqlstate: &'static str) -> WireStatus {
    WireStatus {
        fatal: true,
        ..for_now(sqlstate)
    }
}

impl QueryError {
    /// The one table.
    pub fn status(&self) -> WireStatus {
        match self {
            QueryError::Syntax { .. } => error("42601"),
            QueryError::TooComplex => error("54001"),
            QueryError::UnknownTable { .. } => error("42P01"),
            QueryError::UnknownColumn { .. } => error("42703"),
            QueryError::UnknownFunction { .. } => error("42883"),
            QueryError::UnknownParameter { .. } => error("42P02"),
            QueryError::AmbiguousColumn { .. } => error("42702"),
            QueryError::DuplicateColumn { .. } => error("42701"),
            QueryError::Grouping { .. } => error("42803"),
            QueryError::TypeMismatch { .. } => error("42804"),
            QueryError::Invalid { .. } => error("42000"),
            QueryError::DivisionByZero => error("22012"),
            QueryError::InvalidText { .. } => error("22P02"),
            QueryError::InvalidDatetime { .. } => error("22007"),
            QueryError::OutOfRange { .. } => error("22003"),
            QueryError::InvalidParameter { .. } => error("22023"),
            QueryError::Data { .. } => error("22000"),
            QueryError::TimedOut { .. } | QueryError::NotReadYet { .. } | QueryError::Cancelled => for_now("57014"),
            QueryError::ReadOnly { .. } => error("25006"),
            QueryError::Forbidden { .. } => error("42501"),
            QueryError::NotSupported { .. } => error("0A000"),
            QueryError::TooLarge { .. } => error("54000"),
            QueryError::OutOfMemory { .. } => for_now("53200"),
            QueryError::Overloaded { .. } => for_now("53300"),
            QueryError::Storage { .. } => for_now("58030"),
            QueryError::ShuttingDown => fatal("57P01"),
            QueryError::Internal { .. } => error("XX000"),
        }
    }
}

impl Refusal {
    /// Here it is the client who is wrong: 401 if it may try again with something else, 403 if that is of no use.
    pub fn status(&self) -> WireStatus {
        let refused = |sqlstate, http| WireStatus {
            http,
            ..fatal(sqlstate)
        };
        match self {
            Refusal::WrongPassword(_) => refused("28P01", 401),
            Refusal::WrongToken | Refusal::PasswordNeeded => refused("28000", 401),
            Refusal::NoRule(_) | Refusal::Rejected(_) => refused("28000", 403),
            Refusal::CertificateNeeded | Refusal::WrongCertificate(_) => refused("28000", 403),
            Refusal::Scram(ScramError::Malformed(_)) => refused("08P01", 400),
            Refusal::Scram(ScramError::NoRandomness(_)) | Refusal::Internal(_) => fatal("XX000"),
            Refusal::Scram(ScramError::ChannelBinding | ScramError::WrongProof) => refused("28000", 401),
            // Too Many Requests: it waited because of wrong passwords before.
            Refusal::TimedOut => refused("57014", 429),
            // Upgrade Required.
            Refusal::NotEncrypted => refused("28000", 426),
        }
    }
}
