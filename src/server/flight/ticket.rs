//! What is to be fetched, in a form that clients carry and cannot make or change.
//!
//! A ticket holds all that a fetch needs, so the server keeps nothing for results that nobody fetches, and several readers of the same user
//! can fetch one. Each fetch is a statement of its own, on the newest snapshot.

use std::time::Duration;

use arrow_flight::Ticket;
use arrow_flight::sql::{Any, ProstMessageExt, TicketStatementQuery};
use prost::Message;
use tonic::{Code, Status};

use super::error;
use super::options::Options;
use crate::server::auth::{NoRandomness, Seal, random};

/// What a ticket says. Whoever has one can read it: it holds nothing but what its user sent.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Order {
    /// What is cancelled by cancelling a result.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) user: String,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "3")]
    pub(super) expires_ms: i64,
    #[prost(message, required, tag = "4")]
    pub(super) options: Options,
    /// A statement,
    #[prost(string, optional, tag = "5")]
    pub(super) sql: Option<String>,
    /// the values of its parameters (a stream of IPC with one row of the types that were bound),
    #[prost(bytes = "vec", tag = "6")]
    pub(super) parameters: Vec<u8>,
    /// and the prepared statement that may still be there;
    #[prost(bytes = "vec", tag = "7")]
    pub(super) prepared: Vec<u8>,
    /// The schema that was promised for it, which may say less than that of its rows: that of `?` can be null, that of `1` cannot.
    #[prost(bytes = "vec", tag = "9")]
    pub(super) schema: Vec<u8>,
    /// or else a command about metadata, as it came.
    #[prost(bytes = "vec", tag = "8")]
    pub(super) command: Vec<u8>,
}

impl Order {
    pub(super) fn expires_in(&self) -> Duration {
        let left = self.expires_ms - chrono::Utc::now().timestamp_millis();
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }
}

#[derive(Debug)]
pub(super) struct Tickets {
    seal: Seal,
    lifetime: Duration,
}

impl Tickets {
    pub(super) fn new(lifetime: Duration) -> Result<Tickets, NoRandomness> {
        Ok(Tickets {
            seal: Seal::new()?,
            lifetime,
        })
    }

    /// A ticket, and when it expires in seconds since the epoch.
    pub(super) fn issue(&self, mut order: Order) -> Result<(Ticket, i64), Status> {
        if order.id.is_empty() {
            order.id = random::<16>().map_err(error::internal)?.to_vec();
        }
        let lifetime = i64::try_from(self.lifetime.as_millis()).unwrap_or(i64::MAX);
        order.expires_ms = chrono::Utc::now().timestamp_millis().saturating_add(lifetime);
        let handle = TicketStatementQuery {
            statement_handle: self.seal.close(&order.encode_to_vec()).into(),
        };
        let ticket = Ticket {
            ticket: handle.as_any().encode_to_vec().into(),
        };
        Ok((ticket, order.expires_ms / 1000))
    }

    /// What a ticket orders, if it is ours, of this user, and still good.
    pub(super) fn read(&self, ticket: &Ticket, user: &str) -> Result<Order, Status> {
        let order = self.open(ticket, user)?;
        if order.expires_in().is_zero() {
            return Err(error::with_sqlstate(
                Code::FailedPrecondition,
                "26000",
                "the ticket has expired ([flight] ticket_lifetime): get another with GetFlightInfo",
            ));
        }
        Ok(order)
    }

    /// As [`Tickets::read`], whether it is still good or not.
    pub(super) fn open(&self, ticket: &Ticket, user: &str) -> Result<Order, Status> {
        let unknown = || {
            error::invalid(
                "26000",
                "this is no ticket of this server: get another with GetFlightInfo",
            )
        };
        let any = Any::decode(&*ticket.ticket).map_err(|_| unknown())?;
        let handle: TicketStatementQuery = any.unpack().ok().flatten().ok_or_else(unknown)?;
        let body = self.seal.open(&handle.statement_handle).ok_or_else(unknown)?;
        let order = Order::decode(body).map_err(|_| unknown())?;
        if order.user != user {
            return Err(error::with_sqlstate(
                Code::PermissionDenied,
                "42501",
                "the ticket is another user's",
            ));
        }
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order {
            user: "alice".into(),
            sql: Some("select 1".into()),
            ..Order::default()
        }
    }

    #[test]
    fn a_ticket_comes_back_as_it_went() {
        let tickets = Tickets::new(Duration::from_secs(60)).unwrap();
        let (ticket, expires) = tickets.issue(order()).unwrap();
        let now = chrono::Utc::now().timestamp();
        assert!((now + 59..=now + 61).contains(&expires), "{expires}");
        for _ in 0..2 {
            let read = tickets.read(&ticket, "alice").unwrap();
            assert_eq!((read.sql.as_deref(), read.id.len()), (Some("select 1"), 16));
        }
        assert_eq!(tickets.read(&ticket, "bob").unwrap_err().code(), Code::PermissionDenied);
    }

    #[test]
    fn changed_and_expired_tickets_and_those_of_others_are_refused() {
        let tickets = Tickets::new(Duration::from_millis(50)).unwrap();
        let (ticket, _) = tickets.issue(order()).unwrap();
        let mut changed = ticket.ticket.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        let changed = Ticket { ticket: changed.into() };
        let other = Tickets::new(Duration::from_secs(60)).unwrap();
        let nonsense = Ticket {
            ticket: b"nonsense".to_vec().into(),
        };
        for (tickets, ticket) in [(&tickets, &changed), (&other, &ticket), (&tickets, &nonsense)] {
            let refused = tickets.read(ticket, "alice").unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
            assert!(refused.message().contains("GetFlightInfo"), "{refused}");
        }
        std::thread::sleep(Duration::from_millis(60));
        let expired = tickets.read(&ticket, "alice").unwrap_err();
        assert_eq!(expired.code(), Code::FailedPrecondition);
        assert!(expired.message().contains("expired"), "{expired}");
    }
}
