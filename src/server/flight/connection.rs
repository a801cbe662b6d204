//! One connection: who is at its other end, whether anything is asked of it, and when it is closed because nothing is.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::transport::server::Connected;

use super::FlightOptions;
use super::session::Session;
use crate::server::auth::Peer;
use crate::server::security::Security;
use crate::server::stall::Unstalled;
use crate::server::tls::MaybeTls;

/// Users with a session on one connection: a proxy may bring several, and nobody many.
const SESSIONS: usize = 100;
/// How often a connection is looked at that is busy, or never closed for being idle.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What requests of one connection share.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    /// Without one, nothing is answered but that there is none.
    pub(super) has_place: bool,
    use_: Mutex<Use>,
    /// Of users who did not get a token here, by their names.
    sessions: Mutex<HashMap<String, Arc<Session>>>,
}

#[derive(Debug)]
struct Use {
    /// Requests and results that are under way.
    open: usize,
    /// When there was one last; before the first, when the connection began.
    last: Instant,
    /// Somebody was let in.
    is_known: bool,
}

/// A request that is under way, or its result.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open -= 1;
        state.last = Instant::now();
    }
}

impl Connection {
    pub(super) fn new(peer: Peer, has_place: bool) -> Self {
        Connection {
            peer,
            has_place,
            use_: Mutex::new(Use {
                open: 0,
                last: Instant::now(),
                is_known: false,
            }),
            sessions: Mutex::default(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Use> {
        self.use_.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody was let in, and asks something.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        let mut state = self.state();
        state.open += 1;
        state.is_known = true;
        drop(state);
        Busy(Arc::clone(self))
    }

    /// The session of a user on this connection. `None`: there are too many of others.
    pub(super) fn session(&self, user: &str, begin: impl FnOnce() -> Session) -> Option<Arc<Session>> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        // Who comes with a password at each call has a new session where one was ended.
        if let Some(session) = sessions.get(user).filter(|session| !session.is_terminated()) {
            return Some(Arc::clone(session));
        }
        if sessions.len() >= SESSIONS && !sessions.contains_key(user) {
            return None;
        }
        let session = Arc::new(begin());
        sessions.insert(user.to_owned(), Arc::clone(&session));
        Some(session)
    }

    pub(super) fn end_session(&self, user: &str) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(user);
    }

    /// When it is to be closed, as far as is known now.
    fn closes_at(&self, login: Duration, idle: Option<Duration>) -> Option<Instant> {
        let state = self.state();
        match (state.is_known, state.open) {
            (false, _) => Some(state.last + login),
            (true, 0) => idle.map(|idle| state.last + idle),
            (true, _) => None,
        }
    }
}

/// The bytes of a connection. Reading ends once nothing was asked for too long; writing fails once the client takes nothing for too long.
#[derive(Debug)]
pub(super) struct Io {
    stream: Unstalled<MaybeTls>,
    connection: Arc<Connection>,
    login: Duration,
    idle: Option<Duration>,
    timer: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Io {
    pub(super) fn new(
        (stream, connection): (MaybeTls, Connection),
        security: &Security,
        options: &FlightOptions,
        place: OwnedSemaphorePermit,
    ) -> Io {
        let connection = Arc::new(connection);
        let first_look = connection.closes_at(security.timeout, options.idle_timeout);
        Io {
            stream: Unstalled::new(stream, options.stall_timeout),
            connection,
            login: security.timeout,
            idle: options.idle_timeout,
            timer: Box::pin(sleep_until(first_look.unwrap_or_else(Instant::now))),
            _place: place,
        }
    }

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            match self.connection.closes_at(self.login, self.idle) {
                Some(at) if at <= now => return true,
                Some(at) => self.timer.as_mut().reset(at),
                None => {
                    let again = self.idle.map_or(LOOK_AGAIN, |idle| idle.min(LOOK_AGAIN));
                    self.timer.as_mut().reset(now + again);
                }
            }
        }
        false
    }
}

impl Connected for Io {
    type ConnectInfo = Arc<Connection>;

    fn connect_info(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            return Poll::Ready(read);
        }
        match self.is_over(context) {
            // As if the client had closed it.
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
