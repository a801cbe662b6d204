//! `logs`: the event logs of an application as one zip, sent while they are read, with the files as they lie.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_DISPOSITION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use super::Rest;
use super::answer::{Failure, respond};
use super::routes::Route;
use super::{attempt_in, no_such_app};
use crate::history::{AttemptRows, History};

/// Read at a time.
const BLOCK: u64 = 1 << 20;
/// Sent at a time.
const PIECE: usize = 128 << 10;
const PIECES_IN_FLIGHT: usize = 4;
/// The fastest that shrinks at all: most logs are compressed already.
const LEVEL: i64 = 1;
/// Sizes from here on need the long form of an entry, which some readers do not know.
const LARGE: u64 = 3 << 30;

/// As Spark does, an application without an attempt in the path stands for all of them, newest first.
pub(super) async fn zip(rest: &Arc<Rest>, route: &Route, is_head: bool) -> Result<Response, Failure> {
    let snapshot = rest.snapshot();
    let app_id = &route.app_id;
    let attempts: Vec<Arc<AttemptRows>> = match &route.attempt_id {
        Some(attempt_id) => vec![Arc::clone(attempt_in(&snapshot, app_id, Some(attempt_id))?)],
        None => snapshot.attempts_of(app_id).into_iter().cloned().collect(),
    };
    // Spark looks for an attempt without an id, then for the attempt "1", and names the second.
    let known = |id: &str| attempts.iter().any(|rows| *rows.attempt_id == *id);
    if route.attempt_id.is_none() && !known("") && !known("1") {
        return Err(no_such_app(app_id, Some("1")));
    }
    let name = match &route.attempt_id {
        Some(attempt_id) => format!("eventLogs-{app_id}-{attempt_id}.zip"),
        None => format!("eventLogs-{app_id}.zip"),
    };
    let body = match is_head {
        true => Body::empty(),
        false => stream(Arc::clone(&rest.history), attempts).await?,
    };
    let mut response = respond(StatusCode::OK, "application/octet-stream", body);
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename={name}")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// Packing takes the processor, so it has a thread of its own; it ends when the client goes away, or when a file cannot be read: as an error
/// while nothing is sent, and later with an answer that breaks off.
async fn stream(history: Arc<History>, attempts: Vec<Arc<AttemptRows>>) -> Result<Body, Failure> {
    let (sender, mut pieces) = mpsc::channel(PIECES_IN_FLIGHT);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let pipe = Pipe {
            buffer: Vec::with_capacity(PIECE),
            sender: sender.clone(),
        };
        if let Err(error) = pack(&runtime, &history, &attempts, pipe) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::warn!(%error, "a zip of event logs broke off");
            }
            // The client may be gone already.
            sender.blocking_send(Err(error)).ok();
        }
    });
    let first = match pieces.recv().await {
        Some(Err(_)) => return Err(Failure::REQUEST_FAILED),
        first => futures::stream::iter(first),
    };
    let rest = futures::stream::poll_fn(move |context| pieces.poll_recv(context));
    Ok(Body::from_stream(futures::StreamExt::chain(first, rest)))
}

fn pack(runtime: &Handle, history: &History, attempts: &[Arc<AttemptRows>], pipe: Pipe) -> io::Result<()> {
    let mut zip: ZipWriter<StreamWriter<Pipe>> = ZipWriter::new_stream(pipe);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(LEVEL));
    for attempt in attempts {
        let files = runtime
            .block_on(history.log_files(&attempt.log))
            .map_err(io::Error::other)?;
        if files.is_rolling {
            zip.add_directory(files.name.as_str(), SimpleFileOptions::default())?;
        }
        for file in &files.files {
            zip.start_file(file.name.as_str(), options.large_file(file.size_bytes >= LARGE))?;
            let mut at = 0;
            while at < file.size_bytes {
                let block = at..file.size_bytes.min(at + BLOCK);
                let read = history.read_log_file(&attempt.log, &file.path, block);
                let bytes = runtime.block_on(read).map_err(io::Error::other)?;
                if bytes.is_empty() {
                    break;
                }
                at += bytes.len() as u64;
                zip.write_all(&bytes)?;
            }
        }
    }
    zip.finish()?.into_inner().flush()
}

/// The way from the thread that packs to the connection.
struct Pipe {
    buffer: Vec<u8>,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    /// The zip writer flushes rarely; this is what sends.
    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.sender
            .blocking_send(Ok(piece.into()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
