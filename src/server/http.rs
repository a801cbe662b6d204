//! The HTTP door: Spark's REST API below `/api`, the redirects of `/history`, and health.
//!
//! Paths are matched by hand: Spark's server matches them encoded and refuses some before any resource sees them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

use super::health;
use super::query::QueryEngine;
use super::rest::{self, Rest};
use crate::config::RestConfig;
use crate::history::History;

/// Jetty's least size of a body that is worth compressing.
const LEAST_COMPRESSED: u16 = 32;

/// Serves until `shutdown` becomes true; answers that are under way are finished.
pub fn serve(
    listener: TcpListener,
    engine: Arc<QueryEngine>,
    history: Arc<History>,
    config: &RestConfig,
    mut shutdown: watch::Receiver<bool>,
) -> impl Future<Output = std::io::Result<()>> + Send + 'static {
    let rest = Arc::new(Rest::new(engine, history, config));
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
        .with_state(rest);
    let listener = listener.tap_io(|socket| {
        // Small answers must not wait for more; without it they are only slower.
        let _ = socket.set_nodelay(true);
    });
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        let _ = shutdown.wait_for(|stop| *stop).await;
    });
    server.into_future()
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

async fn answer(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    let is_get = parts.method == Method::GET;
    let mut response = dispatch(rest, parts).await;
    // As Jetty does: no error, and nothing that is only announced.
    if is_get && response.status().is_success() {
        let vary = HeaderValue::from_static("Accept-Encoding");
        response.headers_mut().insert(header::VARY, vary);
    } else {
        response.extensions_mut().insert(AsItIs);
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
