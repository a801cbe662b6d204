//! The Arrow Flight SQL door: connections, and what is served over them.
//!
//! A request goes through `gate` (who asks, and with which options), then through `arrow-flight`'s dispatch to `service`. What a client is
//! to fetch is described by a signed `ticket`, so that nothing is kept for results that nobody fetches: a statement is planned when a client
//! asks for its [`FlightInfo`](arrow_flight::FlightInfo), and planned again and run, on the newest snapshot, each time a ticket is fetched.
//!
//! Not here: updates, DDL, transactions, Substrait, bulk ingestion, `DoExchange`. Everything is read-only.

mod connection;
mod error;
mod gate;
mod metadata;
mod options;
mod parameters;
mod prepared;
mod running;
mod service;
mod session;
mod sql_info;
mod stream;
#[cfg(test)]
mod tests;
mod ticket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use futures::stream::poll_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;

use super::query::QueryEngine;
use super::security::Security;
use super::tls::Inside;
use connection::{Connection, Io};
use gate::Gate;

/// How long clients have to hear of a shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// Connections beyond the limit that are told so, at once; more are dropped unheard.
const MAX_EXTRA_CONNECTIONS: usize = 50;
/// Requests of a connection at one time; a client's further ones wait at the client.
const STREAMS: u32 = 100;
/// What a client may send as headers, before anybody knows who it is.
const LARGEST_HEAD: u32 = 64 << 10;
/// A client that vanished without a word is noticed after this and the time for its answer.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_ANSWER: Duration = Duration::from_secs(20);

/// Settings of the door.
#[derive(Debug, Clone)]
pub struct FlightOptions {
    /// Connections at once; calls of one more get RESOURCE_EXHAUSTED.
    pub max_connections: usize,
    /// Connections without a request for this long are closed; `None` closes none.
    pub idle_timeout: Option<Duration>,
    /// How long a client may take nothing of a result.
    pub stall_timeout: Duration,
    /// How long tokens, options of sessions and prepared statements are kept after their last use.
    pub token_lifetime: Duration,
    pub ticket_lifetime: Duration,
    /// The largest message that is taken from a client.
    pub max_message_bytes: usize,
}

impl Default for FlightOptions {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        FlightOptions {
            max_connections: 300,
            idle_timeout: None,
            stall_timeout: minutes(5),
            token_lifetime: minutes(60),
            ticket_lifetime: minutes(10),
            max_message_bytes: 16 << 20,
        }
    }
}

/// Serves until `shutdown` becomes true (or its sender is gone); running statements then end with 57P01.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<QueryEngine>,
    security: Arc<Security>,
    options: FlightOptions,
    shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let gate =
        Gate::new(engine, Arc::clone(&security), options.clone(), shutdown.clone()).map_err(std::io::Error::other)?;
    // Compressed messages are taken, and none is sent: what clients of gRPC say they take says nothing about what they want, and batches
    // have a compression of their own for those who ask (`compression`).
    let service = FlightServiceServer::new(gate)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(options.max_message_bytes);
    let (opened, mut connections) = mpsc::channel(1);
    let incoming = poll_fn(move |context| connections.poll_recv(context));
    let serving = Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(LARGEST_HEAD)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_ANSWER))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, stopped(shutdown.clone()));
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => return ended.map_err(std::io::Error::other),
        () = accept(listener, opened, security, options, shutdown) => {}
    }
    // Connections that do not close in time are left to the end of the runtime.
    match tokio::time::timeout(SHUTDOWN_GRACE, serving).await {
        Ok(ended) => ended.map_err(std::io::Error::other),
        Err(_) => Ok(()),
    }
}

/// Takes connections until the shutdown.
async fn accept(
    listener: TcpListener,
    opened: mpsc::Sender<Result<Io, std::io::Error>>,
    security: Arc<Security>,
    options: FlightOptions,
    shutdown: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(options.max_connections));
    let extra_places = Arc::new(Semaphore::new(MAX_EXTRA_CONNECTIONS));
    let mut opening = JoinSet::new();
    let mut stop = std::pin::pin!(stopped(shutdown));
    loop {
        tokio::select! {
            () = stop.as_mut() => break,
            Some(ended) = opening.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "a connection's task panicked");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => {
                    let (place, has_place) = match Arc::clone(&places).try_acquire_owned() {
                        Ok(place) => (place, true),
                        Err(_) => match Arc::clone(&extra_places).try_acquire_owned() {
                            Ok(place) => (place, false),
                            Err(_) => continue,
                        },
                    };
                    // Small answers must not wait for more; without it they are only slower.
                    let _ = socket.set_nodelay(true);
                    let (opened, security, options) = (opened.clone(), Arc::clone(&security), options.clone());
                    opening.spawn(async move {
                        let Some(connection) = open(socket, address, &security, has_place).await else { return };
                        let io = Io::new(connection, &security, &options, place);
                        // Nobody serves any more: the door is closing.
                        let _ = opened.send(Ok(io)).await;
                    });
                }
                Err(error) => {
                    // Out of descriptors, mostly: accepting again at once would spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn open(
    socket: TcpStream,
    address: SocketAddr,
    security: &Security,
    has_place: bool,
) -> Option<(super::tls::MaybeTls, Connection)> {
    let accepted = security.accept(socket, address.ip(), Inside::Grpc);
    match tokio::time::timeout(security.timeout, accepted).await {
        Ok(Ok((stream, peer))) => Some((stream, Connection::new(peer, has_place))),
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "no TLS");
            None
        }
        Err(_) => None,
    }
}

/// Ends when the server is to stop.
async fn stopped(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}
