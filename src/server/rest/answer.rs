//! Answers: JSON that is sent while it is written, and everything that goes wrong in Spark's own words.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use tokio::sync::mpsc;

use super::json::Json;
use super::request::{PageForm, Request};
use crate::server::query::QueryError;

/// Answers below this size are sent whole, with their length; of larger ones this much is sent at a time.
const PIECE: usize = 256 << 10;
/// Pieces that may wait for a slow client.
const PIECES_IN_FLIGHT: usize = 2;

/// Why there is no answer, or another one.
#[derive(Debug)]
pub(super) enum Failure {
    /// Plain text, as Spark's resources answer.
    Text(StatusCode, String),
    /// Spark sends the text about a malformed date under the type of what it would have answered.
    Date(String),
    /// Jetty's error page.
    Page(StatusCode, &'static str),
    /// The statement failed.
    Query(QueryError),
    /// The client has gone away.
    ClientGone,
}

impl Failure {
    /// No resource takes this path or parameter.
    pub(super) const NO_RESOURCE: Failure = Failure::Page(StatusCode::NOT_FOUND, "Not Found");
    pub(super) const BAD_REQUEST: Failure = Failure::Page(StatusCode::BAD_REQUEST, "Bad Request");
    pub(super) const NOT_ACCEPTABLE: Failure = Failure::Page(StatusCode::NOT_ACCEPTABLE, "Not Acceptable");
    pub(super) const NOT_ALLOWED: Failure = Failure::Page(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    /// An exception of a resource that Jersey does not know.
    pub(super) const REQUEST_FAILED: Failure = Failure::Page(StatusCode::INTERNAL_SERVER_ERROR, "Request failed.");
    /// An answer that Jersey cannot write in the type that was asked for.
    pub(super) const NO_WRITER: Failure = Failure::Page(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");

    pub(super) fn not_found(text: impl Into<String>) -> Self {
        Failure::Text(StatusCode::NOT_FOUND, text.into())
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Failure::Query(error)
    }
}

/// The headers that Spark's security filter puts on everything.
pub(super) const SECURITY: [(&str, &str); 3] = [
    ("x-frame-options", "SAMEORIGIN"),
    ("x-xss-protection", "1; mode=block"),
    ("x-content-type-options", "nosniff"),
];
/// Spark's own answers.
const NO_CACHE: &str = "no-cache, no-store, must-revalidate";
/// Jetty's error pages.
const PAGE_NO_CACHE: &str = "must-revalidate,no-cache,no-store";

pub(super) fn respond(status: StatusCode, content_type: &str, body: impl Into<Body>) -> Response {
    let mut response = empty(status);
    forbid_caching(&mut response);
    if let Ok(content_type) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    *response.body_mut() = body.into();
    response
}

pub(super) fn forbid_caching(response: &mut Response) {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static(NO_CACHE));
}

pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    for (name, value) in SECURITY {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// An answer that went wrong before anything was sent.
pub(super) fn failed(failure: Failure, request: &Request, method: &Method, content_type: &str) -> Response {
    match failure {
        Failure::Text(status, text) => respond(status, "text/plain", text),
        Failure::Date(text) => respond(StatusCode::BAD_REQUEST, content_type, text),
        Failure::Page(status, message) => page(status, message, request, method),
        Failure::Query(error) => {
            let status = error.status().http;
            tracing::warn!(path = request.raw_path, %error, "a request failed");
            respond(
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                "text/plain",
                error.to_string(),
            )
        }
        Failure::ClientGone => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// What Jetty's error pages call the servlet that failed; real ones have a hash code after it.
fn servlet(path: &str) -> &'static str {
    match path.starts_with("/history") {
        true => "org.apache.spark.deploy.history.HistoryServer$$anon$1",
        false => "org.glassfish.jersey.servlet.ServletContainer",
    }
}

/// Jetty's error page, in the form that the client takes. Jetty writes it for GET, HEAD and POST only.
pub(super) fn page(status: StatusCode, message: &str, request: &Request, method: &Method) -> Response {
    let mut response = empty(status);
    let has_page = matches!(*method, Method::GET | Method::HEAD | Method::POST);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET,OPTIONS"));
    }
    if !has_page {
        return response;
    }
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static(PAGE_NO_CACHE));
    let (code, servlet) = (status.as_u16(), servlet(&request.raw_path));
    let (uri, message) = (escape(&request.raw_path), escape(message));
    let charset = match request.takes_utf8 {
        true => "utf-8",
        false => "iso-8859-1",
    };
    let (content_type, text) = match request.page_form() {
        Some(PageForm::Html) => (
            format!("text/html;charset={charset}"),
            format!(
                "<html>\n<head>\n<meta http-equiv=\"Content-Type\" content=\"text/html;charset={}\"/>\n\
                 <title>Error {code} {message}</title>\n</head>\n<body><h2>HTTP ERROR {code} {message}</h2>\n<table>\n\
                 <tr><th>URI:</th><td>{uri}</td></tr>\n<tr><th>STATUS:</th><td>{code}</td></tr>\n\
                 <tr><th>MESSAGE:</th><td>{message}</td></tr>\n<tr><th>SERVLET:</th><td>{servlet}</td></tr>\n</table>\n\n\
                 </body>\n</html>\n",
                charset.to_ascii_uppercase()
            ),
        ),
        Some(PageForm::Json(content_type)) => (
            content_type.to_owned(),
            format!(
                "{{\n\"servlet\":\"{servlet}\",\n\"message\":\"{message}\",\n\"url\":\"{uri}\",\n\"status\":\"{code}\"\n}}"
            ),
        ),
        Some(PageForm::Plain) => (
            format!("text/plain;charset={charset}"),
            format!(
                "HTTP ERROR {code} {message}\nURI: {}\nSTATUS: {code}\nMESSAGE: {message}\nSERVLET: {servlet}\n",
                request.raw_path
            ),
        ),
        None => return response,
    };
    let is_latin = content_type.ends_with("iso-8859-1");
    if let Ok(content_type) = HeaderValue::try_from(content_type) {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    *response.body_mut() = match is_latin {
        true => latin(&text).into(),
        false => text.into(),
    };
    response
}

/// ISO 8859-1 as Java writes it.
fn latin(text: &str) -> Vec<u8> {
    text.chars()
        .map(|letter| u8::try_from(u32::from(letter)).unwrap_or(b'?'))
        .collect()
}

/// What a request names must not become markup of the page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
}

/// JSON on its way to a client.
#[derive(Debug)]
pub(super) struct JsonBody {
    pub(super) json: Json,
    pieces: mpsc::Sender<Vec<u8>>,
}

impl JsonBody {
    /// Between rows: sends what there is if it is much, and waits while the client is slow.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        if self.json.len() < PIECE {
            return Ok(());
        }
        self.pieces
            .send(self.json.take())
            .await
            .map_err(|_| Failure::ClientGone)
    }
}

type Writing = Pin<Box<dyn Future<Output = Result<JsonBody, Failure>> + Send>>;

/// Runs a handler. A small answer is whole when this ends, so that it may still become an error; of a large one the first piece is
/// there. Dropping the body stops the handler.
pub(super) async fn written<F>(handler: impl FnOnce(JsonBody) -> F) -> Result<Body, Failure>
where
    F: Future<Output = Result<JsonBody, Failure>> + Send + 'static,
{
    let (sender, pieces) = mpsc::channel(PIECES_IN_FLIGHT);
    let body = JsonBody {
        json: Json::default(),
        pieces: sender,
    };
    let mut answer = Answer {
        writing: Some(Box::pin(handler(body))),
        pieces,
    };
    let first = poll_fn(|context| answer.next_piece(context)).await;
    match first {
        Some(Err(failure)) => Err(failure),
        Some(Ok(piece)) if answer.writing.is_none() => Ok(Body::from(piece)),
        Some(Ok(piece)) => {
            let rest = futures::stream::poll_fn(move |context| answer.next_piece(context));
            let all = futures::StreamExt::chain(futures::stream::iter([Ok(piece)]), rest);
            Ok(Body::from_stream(futures::StreamExt::map(all, |piece| {
                piece.map(Bytes::from).map_err(|failure| {
                    // Half an answer is sent: all that is left is to end it so that the client sees it is no whole one.
                    tracing::warn!(?failure, "an answer broke off");
                    std::io::Error::other("the answer broke off")
                })
            })))
        }
        None => Ok(Body::empty()),
    }
}

/// The handler that writes and the pieces that it has written.
struct Answer {
    /// `None` once it has ended.
    writing: Option<Writing>,
    pieces: mpsc::Receiver<Vec<u8>>,
}

impl Answer {
    fn next_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        if let Poll::Ready(Some(piece)) = self.pieces.poll_recv(context) {
            return Poll::Ready(Some(Ok(piece)));
        }
        let Some(writing) = &mut self.writing else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(ended) = writing.as_mut().poll(context) {
            self.writing = None;
            return match ended {
                Err(failure) => Poll::Ready(Some(Err(failure))),
                Ok(mut body) => {
                    // What was sent while the handler ended comes first.
                    let mut rest = Vec::new();
                    while let Ok(piece) = self.pieces.try_recv() {
                        rest.extend_from_slice(&piece);
                    }
                    rest.extend_from_slice(&body.json.take());
                    Poll::Ready(Some(Ok(rest)))
                }
            };
        }
        // The handler may just have sent something; it is woken when there is room again.
        self.pieces.poll_recv(context).map(|piece| piece.map(Ok))
    }
}
