//! The PostgreSQL door: connections, and what they may ask.
//!
//! Supported: protocol 3.0, simple and extended, text and binary; portals with row limits; cursors that move forward; `COPY … TO STDOUT`;
//! `PREPARE`/`EXECUTE`; `SET`/`SHOW`/`RESET`; transactions as words without effect; cancel requests. Not here: TLS, passwords, roles,
//! `COPY … FROM`, scrolling, notifications, function-call messages. Everything is read-only.
//!
//! A connection is one task. It owns its session, so nothing is shared between clients but the engine and the list of cancel keys.

mod command;
mod encode;
mod error;
mod extended;
mod params;
mod rows;
mod session;
mod settings;
mod simple;
mod startup;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::query::QueryEngine;
use error::{PgError, Stop};
use rows::Interrupts;
use session::{Session, Transaction};
use startup::Greeting;
use wire::{Request, Wire, WireError};

/// The one database there is.
pub const DATABASE: &str = "spark";

/// A client that connects and says nothing holds a slot no longer than this.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long clients have to hear of a shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long a refused client has to read why.
const REFUSAL_GRACE: Duration = Duration::from_secs(5);
/// Connections that were refused or carry a cancel request, at once; more are dropped unheard.
const MAX_EXTRA_CONNECTIONS: usize = 100;

/// Settings of the door.
#[derive(Debug, Clone)]
pub struct PgOptions {
    /// Sessions at once; one more gets 53300. Each costs a task and two buffers.
    pub max_connections: usize,
}

impl Default for PgOptions {
    fn default() -> Self {
        PgOptions { max_connections: 200 }
    }
}

/// Serves until `shutdown` becomes true (or its sender is gone); running statements then end with 57P01.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<QueryEngine>,
    options: PgOptions,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let door = Arc::new(Door {
        engine,
        options,
        keys: CancelKeys::default(),
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
                    connections.spawn(Arc::clone(&door).connection(socket, for_sessions.clone()));
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
    options: PgOptions,
    keys: CancelKeys,
}

impl Door {
    async fn connection<S>(self: Arc<Self>, socket: S, shutdown: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut wire = Wire::new(socket);
        let greeting = match tokio::time::timeout(STARTUP_TIMEOUT, startup::greet(&mut wire)).await {
            Ok(Ok(greeting)) => greeting,
            Ok(Err(Stop::Error(error))) => return refuse(&mut wire, &error).await,
            Ok(Err(Stop::Gone(_))) | Err(_) => return,
        };
        let (user, mut settings) = match greeting {
            Greeting::Session { user, settings } => (user, *settings),
            Greeting::Cancel { pid, secret } => return self.keys.cancel(pid, secret),
        };
        let Some(key) = self.keys.register(self.options.max_connections) else {
            return refuse(&mut wire, &PgError::fatal("53300", "sorry, too many clients already")).await;
        };
        startup::welcome(&mut wire.out, &mut settings, key.pid, key.secret);
        let mut session = Session {
            wire,
            interrupts: Interrupts {
                cancels: key.cancels.clone(),
                shutdown,
            },
            engine: Arc::clone(&self.engine),
            settings,
            transaction: Transaction::Idle,
            statements: HashMap::new(),
            portals: HashMap::new(),
            user,
            pid: key.pid,
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
            let request = tokio::select! {
                biased;
                request = self.wire.request() => request?,
                Ok(_) = self.interrupts.shutdown.wait_for(|stop| *stop) => {
                    return Err(super::query::QueryError::ShuttingDown.into());
                }
            };
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

/// Who may cancel what.
#[derive(Debug, Default)]
struct CancelKeys {
    next_pid: AtomicI32,
    /// Keyed by the operating system's randomness, so one secret says nothing about another.
    secrets: RandomState,
    sessions: Mutex<HashMap<i32, (i32, watch::Sender<u64>)>>,
}

#[derive(Debug)]
struct CancelKey<'a> {
    keys: &'a CancelKeys,
    pid: i32,
    secret: i32,
    cancels: watch::Receiver<u64>,
}

impl CancelKeys {
    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<i32, (i32, watch::Sender<u64>)>> {
        // The map is whole after each operation, so a panic elsewhere does not spoil it.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if `limit` sessions are there already.
    fn register(&self, limit: usize) -> Option<CancelKey<'_>> {
        let mut sessions = self.sessions();
        if sessions.len() >= limit {
            return None;
        }
        let pid = loop {
            let pid = self.next_pid.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if pid > 0 && !sessions.contains_key(&pid) {
                break pid;
            }
        };
        let hash = self.secrets.hash_one(pid).to_be_bytes();
        let secret = i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        let (sender, cancels) = watch::channel(0);
        sessions.insert(pid, (secret, sender));
        Some(CancelKey {
            keys: self,
            pid,
            secret,
            cancels,
        })
    }

    fn cancel(&self, pid: i32, secret: i32) {
        if let Some((expected, sender)) = self.sessions().get(&pid)
            && *expected == secret
        {
            sender.send_modify(|count| *count += 1);
        }
    }
}

impl Drop for CancelKey<'_> {
    fn drop(&mut self) {
        self.keys.sessions().remove(&self.pid);
    }
}
