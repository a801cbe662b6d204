//! The HTTP door: Spark's REST API below `/api`, the redirects of `/history`, and health; in plain text and TLS on one port.
//!
//! Whoever asks for more than health has to be let in by [`crate::server::auth`]: by a rule alone, a password (`Basic`), a token (`Bearer`) or a
//! certificate.
//!
//! Paths are matched by hand: Spark's server matches them encoded and refuses some before any resource sees them.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

use super::auth::{Credentials, Identity, Peer, Refusal};
use super::health;
use super::pg::DATABASE;
use super::query::QueryEngine;
use super::rest::{self, Rest};
use super::security::Security;
use super::stall::Unstalled;
use super::tls::Inside;
use crate::config::RestConfig;
use crate::history::History;

/// Jetty's least size of a body that is worth compressing.
const LEAST_COMPRESSED: u16 = 32;
/// What a client may send before anybody knows who it is: eight times what Jetty takes.
const LARGEST_HEAD: usize = 64 << 10;

/// Settings of the door.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    pub rest: RestConfig,
    /// Connections at once; one more is answered with 503.
    pub max_connections: usize,
    /// From the end of an answer, or from the connection, to the end of the next request's head; and while a client takes nothing of an answer.
    pub idle_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            rest: RestConfig::default(),
            max_connections: 500,
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// Who asks: the rest is in the request.
#[derive(Debug, Clone)]
struct Asker(Arc<Peer>);

#[derive(Debug)]
struct Door {
    rest: Arc<Rest>,
    security: Arc<Security>,
}

/// Serves until `shutdown` becomes true; answers that are under way are finished.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<QueryEngine>,
    history: Arc<History>,
    security: Arc<Security>,
    options: HttpOptions,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let door = Arc::new(Door {
        rest: Arc::new(Rest::new(engine, history, &options.rest)),
        security: Arc::clone(&security),
    });
    let is_wanted = |_: StatusCode, _: axum::http::Version, _: &HeaderMap, extensions: &axum::http::Extensions| {
        extensions.get::<AsItIs>().is_none()
    };
    let compression = CompressionLayer::new()
        .gzip(true)
        .compress_when(SizeAbove::new(LEAST_COMPRESSED).and(is_wanted));
    let router = Router::new()
        .fallback(answer)
        .layer(compression)
        .layer(axum::middleware::map_request(name_gzip))
        .with_state(door);
    let places = Arc::new(Semaphore::new(options.max_connections));
    let for_connections = shutdown.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "a connection's task panicked");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        // Nobody waits for a client that may not listen; a client of TLS sees that there is none.
                        let _ = socket.try_write(FULL);
                        continue;
                    };
                    // Small answers must not wait for more; without it they are only slower.
                    let _ = socket.set_nodelay(true);
                    let connection = connection(
                        socket,
                        address,
                        router.clone(),
                        Arc::clone(&security),
                        options.idle_timeout,
                        for_connections.clone(),
                    );
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
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
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Ends when the server is to stop. The guard that `wait_for` gives must not be held while anything is awaited.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// One connection too many.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 32\r\nRetry-After: 1\r\nConnection: close\r\n\r\nsorry, too many clients already\n";

async fn connection(
    socket: TcpStream,
    address: SocketAddr,
    router: Router,
    security: Arc<Security>,
    idle_timeout: Duration,
    mut shutdown: watch::Receiver<bool>,
) {
    let deadline = Instant::now() + security.timeout.min(idle_timeout);
    let opened = tokio::select! {
        opened = tokio::time::timeout_at(deadline, security.accept(socket, address.ip(), Inside::Http)) => opened,
        () = stopped(&mut shutdown) => return,
    };
    let (stream, peer) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "no TLS"),
        Err(_) => return,
    };
    let asker = Asker(Arc::new(peer));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(asker.clone());
        router.call(request)
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .max_header_size(LARGEST_HEAD);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Unstalled::new(stream, idle_timeout)), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "a connection ended");
    }
}

/// An answer that is not compressed.
#[derive(Debug, Clone, Copy)]
struct AsItIs;

/// Jetty knows the coding by one name only: neither `x-gzip` nor `*` stand for it.
async fn name_gzip(mut request: Request) -> Request {
    let headers = request.headers_mut();
    let takes_gzip = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let quality = parts.find_map(|parameter| parameter.strip_prefix("q=")?.parse::<f64>().ok());
            is_gzip && quality.is_none_or(|quality| quality > 0.0)
        });
    headers.remove(header::ACCEPT_ENCODING);
    if takes_gzip {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    request
}

async fn answer(State(door): State<Arc<Door>>, request: Request) -> Response {
    let (mut parts, _body) = request.into_parts();
    let is_get = parts.method == Method::GET;
    let mut response = match let_in(&door.security, &parts).await {
        Ok(identity) => {
            if let Some(identity) = identity {
                parts.extensions.insert(identity);
            }
            dispatch(Arc::clone(&door.rest), parts).await
        }
        Err(refusal) => refused(&refusal),
    };
    // As Jetty does: no error, and nothing that is only announced.
    if is_get && response.status().is_success() {
        let vary = HeaderValue::from_static("Accept-Encoding");
        response.headers_mut().insert(header::VARY, vary);
    } else {
        response.extensions_mut().insert(AsItIs);
    }
    response
}

/// `None` is who asks about health only, which everybody may.
async fn let_in(security: &Security, parts: &Parts) -> Result<Option<Identity>, Refusal> {
    if parts.uri.path().starts_with("/health/") {
        return Ok(None);
    }
    let no_peer = || Refusal::Internal("a request came without its connection".into());
    let Asker(peer) = parts.extensions.get::<Asker>().ok_or_else(no_peer)?;
    if security.require_tls && peer.tls.is_none() {
        return Err(Refusal::NotEncrypted);
    }
    let header = parts.headers.get(header::AUTHORIZATION);
    let header = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut decoded = String::new();
    let credentials = Credentials::of_header(header, &mut decoded);
    let log_in = security.auth.log_in(peer, DATABASE, credentials);
    let in_time = tokio::time::timeout(security.timeout, log_in).await;
    in_time.unwrap_or(Err(Refusal::TimedOut)).map(Some)
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status().http).unwrap_or(StatusCode::FORBIDDEN);
    let mut response = rest::refusal(status, format!("{refusal}\n"));
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            for scheme in [
                "Basic realm=\"sparkgate\", charset=\"UTF-8\"",
                "Bearer realm=\"sparkgate\"",
            ] {
                headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("TLS/1.2"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

async fn dispatch(rest: Arc<Rest>, parts: Parts) -> Response {
    if let Some(refusal) = rest::refused(&parts) {
        return refusal;
    }
    let path = parts.uri.path();
    let below = |prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ';']))
    };
    if below("/api") {
        return rest::serve_api(State(rest), parts).await;
    }
    if below("/history") {
        return rest::serve_history(&rest, &parts);
    }
    match (&parts.method, path) {
        (&Method::OPTIONS, "*") => rest::methods_of_servlets(),
        (&Method::GET | &Method::HEAD, "/health/live") => health::live(),
        (&Method::GET | &Method::HEAD, "/health/ready") => health::ready(rest.history()),
        _ => not_found(path),
    }
}

fn not_found(path: &str) -> Response {
    let text =
        format!("nothing is at {path}; Spark's REST API is below /api/v1, health at /health/live and /health/ready\n");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain;charset=utf-8"),
    );
    response
}
