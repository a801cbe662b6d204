//! Health for load balancers and orchestrators: alive as soon as the door is open, ready once every source was listed and read.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::history::History;

/// `/health/live`: 200 as long as the process answers at all.
pub(super) fn live() -> Response {
    respond(StatusCode::OK, &serde_json::json!({ "status": "live" }))
}

/// `/health/ready`: 200 once the listing is complete; before, 503 with how far it is. A source that cannot be listed is named, but does
/// not make the gateway unready: the others, and what was read before, are served. A column cache that cannot take the rows that were read
/// does: they are missing.
pub(super) fn ready(history: &History) -> Response {
    let progress = history.progress();
    let (status, word) = match (progress.is_complete, &progress.unwritten) {
        (true, None) => (StatusCode::OK, "ready"),
        (true, Some(_)) => (StatusCode::SERVICE_UNAVAILABLE, "rows are missing"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
    };
    let body = serde_json::json!({
        "status": word,
        "logs_seen": progress.logs_seen,
        "logs_read": progress.logs_read,
        "bytes_seen": progress.bytes_seen,
        "bytes_read": progress.bytes_read,
        "unreachable_sources": progress.unreachable,
        "stale_sources": progress.stale,
        "cache_error": progress.unwritten,
    });
    respond(status, &body)
}

fn respond(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
