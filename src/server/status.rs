//! The codes of an error, decided once for every door.
//!
//! PostgreSQL's SQLSTATE, HTTP statuses and the codes of gRPC (Flight SQL) are columns of one table.
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
    pub grpc: Grpc,
}

/// The codes of gRPC that errors have here, <https://grpc.io/docs/guides/status-codes/>; the numbers are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Grpc {
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

const fn error(sqlstate: &'static str) -> WireStatus {
    WireStatus {
        sqlstate,
        fatal: false,
        http: 500,
        grpc: Grpc::InvalidArgument,
    }
}

const fn for_now(sqlstate: &'static str) -> WireStatus {
    WireStatus {
        http: 503,
        grpc: Grpc::Unavailable,
        ..error(sqlstate)
    }
}

const fn fatal(sqlstate: &'static str) -> WireStatus {
    WireStatus {
        fatal: true,
        ..for_now(sqlstate)
    }
}

impl WireStatus {
    const fn grpc(self, grpc: Grpc) -> WireStatus {
        WireStatus { grpc, ..self }
    }
}

impl QueryError {
    /// The one table.
    pub fn status(&self) -> WireStatus {
        match self {
            QueryError::Syntax { .. } => error("42601"),
            QueryError::TooComplex => error("54001"),
            QueryError::UnknownTable { .. } => error("42P01").grpc(Grpc::NotFound),
            QueryError::UnknownColumn { .. } => error("42703").grpc(Grpc::NotFound),
            QueryError::UnknownFunction { .. } => error("42883").grpc(Grpc::NotFound),
            QueryError::UnknownParameter { .. } => error("42P02"),
            QueryError::AmbiguousColumn { .. } => error("42702"),
            QueryError::DuplicateColumn { .. } => error("42701"),
            QueryError::Grouping { .. } => error("42803"),
            QueryError::TypeMismatch { .. } => error("42804"),
            QueryError::Invalid { .. } => error("42000"),
            QueryError::DivisionByZero => error("22012"),
            QueryError::InvalidText { .. } => error("22P02"),
            QueryError::InvalidDatetime { .. } => error("22007"),
            QueryError::OutOfRange { .. } => error("22003").grpc(Grpc::OutOfRange),
            QueryError::InvalidParameter { .. } => error("22023"),
            QueryError::Data { .. } => error("22000"),
            QueryError::Raised { code: "42501", .. } => error("42501").grpc(Grpc::PermissionDenied),
            QueryError::Raised { code, .. } => error(code),
            QueryError::TimedOut { .. } => for_now("57014").grpc(Grpc::DeadlineExceeded),
            QueryError::NotReadYet { .. } => for_now("57014"),
            QueryError::Cancelled => for_now("57014").grpc(Grpc::Cancelled),
            QueryError::ReadOnly { .. } => error("25006").grpc(Grpc::FailedPrecondition),
            QueryError::NotSupported { .. } => error("0A000").grpc(Grpc::Unimplemented),
            QueryError::TooLarge { .. } => error("54000").grpc(Grpc::ResourceExhausted),
            QueryError::OutOfMemory { .. } => for_now("53200").grpc(Grpc::ResourceExhausted),
            QueryError::Overloaded { .. } => for_now("53300").grpc(Grpc::ResourceExhausted),
            QueryError::Storage { .. } => for_now("58030"),
            QueryError::ShuttingDown => fatal("57P01"),
            QueryError::Internal { .. } => error("XX000").grpc(Grpc::Internal),
        }
    }
}

impl Refusal {
    /// Here it is the client who is wrong: 401 if it may try again with something else, 403 if that is of no use.
    pub fn status(&self) -> WireStatus {
        let refused = |sqlstate, http, grpc| WireStatus {
            http,
            grpc,
            ..fatal(sqlstate)
        };
        match self {
            Refusal::WrongPassword(_) => refused("28P01", 401, Grpc::Unauthenticated),
            Refusal::WrongToken | Refusal::PasswordNeeded => refused("28000", 401, Grpc::Unauthenticated),
            Refusal::NoRule(_) | Refusal::Rejected(_) => refused("28000", 403, Grpc::PermissionDenied),
            Refusal::CertificateNeeded | Refusal::WrongCertificate(_) => refused("28000", 403, Grpc::Unauthenticated),
            Refusal::Scram(ScramError::Malformed(_)) => refused("08P01", 400, Grpc::InvalidArgument),
            Refusal::Scram(ScramError::NoRandomness(_)) | Refusal::Internal(_) => fatal("XX000").grpc(Grpc::Internal),
            Refusal::Scram(ScramError::ChannelBinding | ScramError::WrongProof) => {
                refused("28000", 401, Grpc::Unauthenticated)
            }
            // Too Many Requests: it waited because of wrong passwords before.
            Refusal::TimedOut => refused("57014", 429, Grpc::DeadlineExceeded),
            // Upgrade Required.
            Refusal::NotEncrypted => refused("28000", 426, Grpc::PermissionDenied),
        }
    }
}
