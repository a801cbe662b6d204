//! The PostgreSQL door: connections, and what they may ask.
//!
//! Supported: protocol 3.0, simple and extended, text and binary; portals with row limits; cursors; `COPY … TO STDOUT`;
//! `PREPARE`/`EXECUTE`; `SET`/`SHOW`/`RESET`; transactions and savepoints, which hold settings, cursors and errors, and nothing else; cancel
//! requests; TLS, SCRAM-SHA-256 with channel binding, certificates of clients. Not here: `COPY … FROM`, notifications, function-call messages.
//! Everything is read-only.
//!
//! A connection is one task. It owns its session, so nothing is shared between clients but the engine and the list of cancel keys.

mod command;
mod encode;
mod error;
mod extended;
mod params;
mod rows;
mod scroll;
mod session;
mod settings;
mod simple;
mod startup;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::auth::{Peer, Refusal, Role};
use super::query::QueryEngine;
use super::security::Security;
use super::tls::{HANDSHAKE, Inside, MaybeTls};
use crate::catalog::SetConfig;
use crate::catalog::activity::{Client, Door as Entrance};
use error::{PgError, Stop};
use rows::Interrupts;
use session::{Session, Transaction};
use startup::Greeting;
use wire::{Request, Wire, WireError};

/// The one database there is.
pub const DATABASE: &str = "spark";

/// How long clients have to hear of a shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long a refused client has to read why.
const REFUSAL_GRACE: Duration = Duration::from_secs(5);
/// So many connections that have not logged in are no coincidence: they get less time, so that those who only hold places do not keep others out.
const CROWD: usize = MAX_EXTRA_CONNECTIONS / 2;
const CROWD_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that log in, were refused or carry a cancel request, at once; more are dropped unheard.
const MAX_EXTRA_CONNECTIONS: usize = 100;

/// Settings of the door.
#[derive(Debug, Clone)]
pub struct PgOptions {
    /// Sessions at once; one more gets 53300. Each costs a task and two buffers.
    pub max_connections: usize,
    /// How many of these are kept for users with the role `admin`; one is always left for others.
    pub reserved_connections: usize,
    /// Sessions that ask nothing for this long are closed; `None` closes none.
    pub idle_timeout: Option<Duration>,
}

impl Default for PgOptions {
    fn default() -> Self {
        PgOptions {
            max_connections: 200,
            reserved_connections: 0,
            idle_timeout: None,
        }
    }
}

impl PgOptions {
    /// Whether a session has room beside others, or why not.
    fn admit(&self, role: Role, others: usize) -> Result<(), &'static str> {
        if others >= self.max_connections {
            return Err("sorry, too many clients already");
        }
        let for_all = self.max_connections.saturating_sub(self.reserved_connections).max(1);
        if !role.is_admin() && others >= for_all {
            return Err("remaining connection slots are reserved for users with the role admin");
        }
        Ok(())
    }
}

/// Serves until `shutdown` becomes true (or its sender is gone); running statements then end with 57P01.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<QueryEngine>,
    security: Arc<Security>,
    options: PgOptions,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let door = Arc::new(Door {
        engine,
        security,
        options,
        keys: CancelKeys::default(),
        newcomers: Arc::default(),
    });
    let mut connections = JoinSet::new();
    let for_sessions = shutdown.clone();
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "a connection's task panicked");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    if connections.len() >= door.options.max_connections + MAX_EXTRA_CONNECTIONS {
                        continue;
                    }
                    // Small answers must not wait for more; without it they are only slower.
                    let _ = socket.set_nodelay(true);
                    tracing::debug!(%peer, "connected");
                    // Counted here: the tasks of connections begin in any order.
                    let newcomer = door.newcomer();
                    connections.spawn(Arc::clone(&door).connection(socket, peer.ip(), newcomer, for_sessions.clone()));
                }
                Err(error) => {
                    // Out of descriptors, mostly: accepting again at once would spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_GRACE, all).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// Ends when the server is to stop. The guard that `wait_for` gives must not be held while anything is awaited.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

#[derive(Debug)]
struct Door {
    engine: Arc<QueryEngine>,
    security: Arc<Security>,
    options: PgOptions,
    keys: CancelKeys,
    /// One reference for each connection that has not logged in, and ours.
    newcomers: Arc<()>,
}

/// A connection that has not logged in.
struct Newcomer {
    _counted: Arc<()>,
    /// When it must have.
    deadline: Instant,
}

impl Door {
    fn newcomer(&self) -> Newcomer {
        Newcomer {
            _counted: Arc::clone(&self.newcomers),
            deadline: Instant::now() + self.login_timeout(),
        }
    }

    fn login_timeout(&self) -> Duration {
        match Arc::strong_count(&self.newcomers) > CROWD {
            true => self.security.timeout.min(CROWD_TIMEOUT),
            false => self.security.timeout,
        }
    }

    async fn connection(
        self: Arc<Self>,
        socket: TcpStream,
        address: IpAddr,
        newcomer: Newcomer,
        shutdown: watch::Receiver<bool>,
    ) {
        let deadline = newcomer.deadline;
        let mut peer = Peer { address, tls: None };
        let opened = tokio::time::timeout_at(deadline, self.open(socket, &mut peer)).await;
        let Ok(Some(mut wire)) = opened else { return };
        let greeting = startup::greet(&mut wire, &mut peer.tls, &self.security);
        let introduction = match tokio::time::timeout_at(deadline, greeting).await {
            Ok(Ok(Greeting::Session(introduction))) => introduction,
            Ok(Ok(Greeting::Cancel { pid, secret })) => {
                if self.keys.secret(pid) == secret {
                    self.engine.activity().cancel(pid);
                }
                // Clients that asked in TLS take an end without its last word for a failure.
                let _ = tokio::time::timeout(REFUSAL_GRACE, wire.shutdown()).await;
                return;
            }
            Ok(Err(Stop::Error(error))) => return refuse(&mut wire, &error).await,
            Ok(Err(Stop::Gone(reason))) => {
                // A scan of ports, or a client that does not take our certificate.
                return tracing::debug!(%address, reason = ?reason.to_string(), "gone before a log-in");
            }
            Err(_) => return,
        };
        let log_in = startup::authenticate(&mut wire, &peer, &introduction, &self.security);
        let identity = match tokio::time::timeout_at(deadline, log_in).await {
            Ok(Ok(identity)) => identity,
            Ok(Err(Stop::Error(error))) => return refuse(&mut wire, &error).await,
            Ok(Err(Stop::Gone(_))) => return,
            Err(_) => {
                tracing::info!(%address, user = ?introduction.user, "a log-in took too long");
                return refuse(&mut wire, &Refusal::TimedOut.into()).await;
            }
        };
        let mut settings = match startup::start(&introduction) {
            Ok(settings) => settings,
            Err(error) => return refuse(&mut wire, &error).await,
        };
        let client = Client {
            door: Entrance::Pg,
            user: identity.user.clone(),
            is_admin: identity.role.is_admin(),
            address: Some(address),
            is_encrypted: peer.tls.is_some(),
        };
        let application_name = settings.get("application_name").unwrap_or_default();
        let admit = |others| self.options.admit(identity.role, others);
        let connected = match self.engine.activity().connect(client, application_name, admit) {
            Ok(connected) => connected,
            Err(full) => return refuse(&mut wire, &PgError::fatal("53300", full)).await,
        };
        drop(newcomer);
        let pid = connected.pid;
        startup::welcome(&mut wire.out, &mut settings, pid, self.keys.secret(pid));
        let mut session = Session {
            wire,
            interrupts: Interrupts::new(connected.signals.clone(), shutdown),
            engine: Arc::clone(&self.engine),
            settings,
            transaction: Transaction::Idle,
            born: 0,
            marks: Vec::new(),
            statements: HashMap::new(),
            portals: HashMap::new(),
            identity,
            idle_timeout: self.options.idle_timeout,
            address,
            connected,
            is_active: false,
            set_config: SetConfig::default(),
        };
        session.ready_for_query();
        match session.serve().await {
            Ok(()) | Err(Stop::Gone(WireError::Closed | WireError::Io(_))) => {}
            Err(Stop::Gone(WireError::Violation(what))) => {
                refuse(&mut session.wire, &PgError::fatal("08P01", what)).await
            }
            Err(Stop::Error(error)) => refuse(&mut session.wire, &error).await,
        }
    }

    /// The connection, in TLS if the client begins with that, as PostgreSQL 17's `sslnegotiation=direct` does.
    async fn open(&self, socket: TcpStream, peer: &mut Peer) -> Option<Wire<MaybeTls>> {
        if let Some(tls) = &self.security.tls {
            let mut first = [0];
            if socket.peek(&mut first).await.ok()? == 1 && first[0] == HANDSHAKE {
                // There is no request before it that says what is inside: the client has to name it, so that no other protocol's client is
                // led here.
                let (stream, tls_peer) = match tls.accept(socket, Inside::Postgres, true).await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::debug!(address = %peer.address, %error, "no TLS");
                        return None;
                    }
                };
                peer.tls = Some(tls_peer);
                return Some(Wire::new(stream));
            }
        }
        Some(Wire::new(MaybeTls::Plain(socket)))
    }
}

/// The last word to a client.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, error: &PgError) {
    error.write(&mut wire.out);
    // A client that does not listen is left.
    let _ = tokio::time::timeout(REFUSAL_GRACE, async {
        let _ = wire.flush().await;
        wire.shutdown().await;
    })
    .await;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    async fn serve(&mut self) -> Result<(), Stop> {
        self.wire.flush().await?;
        let mut skip_to_sync = false;
        loop {
            let idle = self.idle();
            let request = tokio::select! {
                biased;
                request = self.wire.request() => request?,
                error = idle => return Err(error.into()),
                error = self.interrupts.ended() => return Err(error.into()),
            };
            self.is_busy();
            match request {
                Request::Terminate => return Ok(()),
                Request::Sync => {
                    skip_to_sync = false;
                    self.on_sync().await?;
                }
                _ if skip_to_sync => {}
                Request::Query(sql) => self.on_query(&sql).await?,
                Request::Flush => self.wire.flush().await?,
                other => {
                    if let Err(stop) = self.on_extended(other).await {
                        self.report(stop)?;
                        skip_to_sync = true;
                        // Clients that sent Flush, not Sync, wait for the error before they say more.
                        self.wire.flush().await?;
                    }
                    // Whoever pipelines without end and reads nothing must not fill memory.
                    if self.wire.out.len() >= wire::FLUSH_AT {
                        self.wire.flush().await?;
                    }
                }
            }
        }
    }
}

/// The secret that a client shows to cancel what a session runs.
#[derive(Debug, Default)]
struct CancelKeys {
    /// The operating system's randomness, so one secret says nothing about another.
    secrets: RandomState,
}

impl CancelKeys {
    fn secret(&self, pid: i32) -> i32 {
        let hash = self.secrets.hash_one(pid).to_be_bytes();
        i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }
}
