//! Errors as gRPC sees them: a code, a message that names the SQLSTATE, and the SQLSTATE alone as a header.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::server::auth::Refusal;
use crate::server::query::QueryError;
use crate::server::status::{Grpc, WireStatus};

/// The header (or trailer) with the SQLSTATE, for programs.
const SQLSTATE: &str = "x-sparkgate-sqlstate";

pub(super) fn of_query(error: &QueryError) -> Status {
    status(error.status(), &error.to_string())
}

pub(super) fn of_refusal(refusal: &Refusal) -> Status {
    status(refusal.status(), &refusal.to_string())
}

/// Something of this door alone that a client did wrong.
pub(super) fn invalid(sqlstate: &'static str, message: &str) -> Status {
    with_sqlstate(Code::InvalidArgument, sqlstate, message)
}

/// Something that Flight SQL has, and this server does not.
pub(super) fn not_supported(message: &str) -> Status {
    with_sqlstate(Code::Unimplemented, "0A000", message)
}

pub(super) fn read_only(statement: &str) -> Status {
    of_query(&QueryError::ReadOnly {
        statement: statement.to_owned(),
    })
}

/// A defect of ours.
pub(super) fn internal(error: impl std::fmt::Display) -> Status {
    tracing::error!(%error, "a defect in the Flight SQL door");
    with_sqlstate(Code::Internal, "XX000", &error.to_string())
}

pub(super) fn with_sqlstate(code: Code, sqlstate: &'static str, message: &str) -> Status {
    // Control characters would not survive a header of HTTP, and nobody wants them in a message.
    let message: String = message
        .chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect();
    let mut status = Status::new(code, format!("{message} (SQLSTATE {sqlstate})"));
    status
        .metadata_mut()
        .insert(SQLSTATE, MetadataValue::from_static(sqlstate));
    status
}

fn status(wire: WireStatus, message: &str) -> Status {
    with_sqlstate(code(wire.grpc), wire.sqlstate, message)
}

fn code(grpc: Grpc) -> Code {
    Code::from_i32(grpc as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_our_table_are_those_of_grpc() {
        for (ours, theirs) in [
            (Grpc::Cancelled, Code::Cancelled),
            (Grpc::InvalidArgument, Code::InvalidArgument),
            (Grpc::DeadlineExceeded, Code::DeadlineExceeded),
            (Grpc::NotFound, Code::NotFound),
            (Grpc::PermissionDenied, Code::PermissionDenied),
            (Grpc::ResourceExhausted, Code::ResourceExhausted),
            (Grpc::FailedPrecondition, Code::FailedPrecondition),
            (Grpc::OutOfRange, Code::OutOfRange),
            (Grpc::Unimplemented, Code::Unimplemented),
            (Grpc::Internal, Code::Internal),
            (Grpc::Unavailable, Code::Unavailable),
            (Grpc::Unauthenticated, Code::Unauthenticated),
        ] {
            assert_eq!(code(ours), theirs);
        }
    }

    #[test]
    fn a_status_has_the_sqlstate_twice() {
        let status = of_query(&QueryError::UnknownTable {
            name: "no\twhere".into(),
        });
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(
            status.message(),
            "relation \"no where\" does not exist (SQLSTATE 42P01)"
        );
        assert_eq!(status.metadata().get(SQLSTATE).unwrap(), "42P01");
    }
}
