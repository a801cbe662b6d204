//! Messages of the PostgreSQL protocol, version 3, as bytes.
//!
//! Reading and writing are ours rather than pgwire's codec for three reasons: pgwire 0.42 reads a malformed `Bind` past its end (a panic), refuses row
//! descriptions over 30 000 bytes after having written their first byte, and copies every row once more than needed. Here rows are encoded straight into
//! the buffer that goes to the socket.
//!
//! Invariant: every field is read through [`Body`], which knows where the message ends.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A statement or parameter larger than this is an attack or a mistake; PostgreSQL allows 1 GB.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// PostgreSQL's own limit on what may be sent before authentication.
const MAX_STARTUP_BYTES: usize = 10_000;
/// Unsent bytes at which writers wait for the socket.
pub(super) const FLUSH_AT: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the client closed the connection")]
    Closed,
    #[error("connection failed")]
    Io(#[from] std::io::Error),
    /// The framing cannot be trusted any more.
    #[error("{0}")]
    Violation(String),
}

/// What may arrive first.
#[derive(Debug)]
pub(super) enum Opening {
    Ssl,
    Gss,
    Cancel {
        pid: i32,
        secret: i32,
    },
    Startup {
        minor: u16,
        parameters: Vec<(String, String)>,
    },
}

/// What may arrive later.
#[derive(Debug)]
pub(super) enum Request {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind {
        portal: String,
        statement: String,
        formats: Vec<i16>,
        values: Vec<Option<Bytes>>,
        result_formats: Vec<i16>,
    },
    Describe {
        kind: u8,
        name: String,
    },
    Execute {
        portal: String,
        max_rows: i32,
    },
    Close {
        kind: u8,
        name: String,
    },
    Flush,
    Sync,
    Terminate,
    /// COPY data or passwords that nobody asked for: read over.
    Ignored,
    /// The frame is whole and its content is not: an error for this message, not for the connection.
    Malformed(&'static str),
}

/// A socket with its two buffers.
#[derive(Debug)]
pub(super) struct Wire<S> {
    socket: S,
    read: BytesMut,
    pub(super) out: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(socket: S) -> Self {
        Wire {
            socket,
            read: BytesMut::with_capacity(8 << 10),
            out: BytesMut::with_capacity(FLUSH_AT),
        }
    }

    pub(super) async fn opening(&mut self) -> Result<Opening, WireError> {
        loop {
            if self.read.len() >= 8 {
                let length = usize::try_from(peek_i32(&self.read, 0)).unwrap_or(0);
                if !(8..=MAX_STARTUP_BYTES).contains(&length) {
                    return Err(WireError::Violation("invalid length of startup packet".into()));
                }
                if self.read.len() >= length {
                    let mut body = Body(self.read.split_to(length).freeze());
                    body.0.advance(4);
                    return parse_opening(body).ok_or_else(|| WireError::Violation("invalid startup packet".into()));
                }
            }
            self.fill().await?;
        }
    }

    /// The next message. May be dropped and called again: what was read stays.
    pub(super) async fn request(&mut self) -> Result<Request, WireError> {
        loop {
            if self.read.len() >= 5 {
                let length = usize::try_from(peek_i32(&self.read, 1)).unwrap_or(0);
                if !(4..=MAX_MESSAGE_BYTES).contains(&length) {
                    return Err(WireError::Violation(format!("invalid message length {length}")));
                }
                if self.read.len() > length {
                    let mut frame = self.read.split_to(length + 1).freeze();
                    let kind = frame.get_u8();
                    frame.advance(4);
                    return parse_request(kind, Body(frame));
                }
            }
            self.fill().await?;
        }
    }

    /// Ends when the client is gone. Reads ahead meanwhile, up to a bound: a client that pipelines more is simply not watched.
    pub(super) async fn closed(&mut self) -> WireError {
        /// Requests a client may queue behind a running one.
        const READ_AHEAD: usize = 1 << 20;
        while self.read.len() < READ_AHEAD {
            if let Err(error) = self.fill().await {
                return error;
            }
        }
        std::future::pending().await
    }

    async fn fill(&mut self) -> Result<(), WireError> {
        match self.socket.read_buf(&mut self.read).await? {
            0 => Err(WireError::Closed),
            _ => Ok(()),
        }
    }

    /// Sends all there is. May be dropped half way: what was sent has left the buffer.
    pub(super) async fn flush(&mut self) -> Result<(), WireError> {
        while self.out.has_remaining() {
            if self.socket.write_buf(&mut self.out).await? == 0 {
                return Err(WireError::Closed);
            }
        }
        self.socket.flush().await?;
        // One huge value must not keep its memory for the life of the connection.
        if self.out.capacity() > 16 * FLUSH_AT {
            self.out = BytesMut::with_capacity(FLUSH_AT);
        }
        Ok(())
    }

    pub(super) async fn shutdown(&mut self) {
        // The answer to a goodbye changes nothing.
        let _ = self.socket.shutdown().await;
    }
}

fn peek_i32(bytes: &[u8], at: usize) -> i32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(four)
}

/// The rest of one message.
struct Body(Bytes);

impl Body {
    fn u8(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }
    fn i16(&mut self) -> Option<i16> {
        self.0.try_get_i16().ok()
    }
    fn u16(&mut self) -> Option<u16> {
        self.0.try_get_u16().ok()
    }
    fn i32(&mut self) -> Option<i32> {
        self.0.try_get_i32().ok()
    }
    fn text(&mut self) -> Option<String> {
        let end = memchr::memchr(0, &self.0)?;
        let text = std::str::from_utf8(&self.0[..end]).ok()?.to_string();
        self.0.advance(end + 1);
        Some(text)
    }
    fn bytes(&mut self, length: usize) -> Option<Bytes> {
        (self.0.len() >= length).then(|| self.0.split_to(length))
    }
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.u16()?;
        (0..count).map(|_| item(self)).collect()
    }
}

fn parse_opening(mut body: Body) -> Option<Opening> {
    let (major, minor) = (body.u16()?, body.u16()?);
    match (major, minor) {
        (1234, 5679) => Some(Opening::Ssl),
        (1234, 5680) => Some(Opening::Gss),
        (1234, 5678) => Some(Opening::Cancel {
            pid: body.i32()?,
            secret: body.i32()?,
        }),
        (3, minor) => {
            let mut parameters = Vec::new();
            loop {
                let name = body.text()?;
                if name.is_empty() {
                    return Some(Opening::Startup { minor, parameters });
                }
                parameters.push((name, body.text()?));
            }
        }
        _ => None,
    }
}

fn parse_request(kind: u8, mut body: Body) -> Result<Request, WireError> {
    let parsed = match kind {
        b'Q' => body.text().map(Request::Query),
        b'P' => parse_parse(&mut body),
        b'B' => parse_bind(&mut body),
        b'D' => body
            .u8()
            .zip(body.text())
            .map(|(kind, name)| Request::Describe { kind, name }),
        b'C' => body
            .u8()
            .zip(body.text())
            .map(|(kind, name)| Request::Close { kind, name }),
        b'E' => body
            .text()
            .zip(body.i32())
            .map(|(portal, max_rows)| Request::Execute { portal, max_rows }),
        b'H' => Some(Request::Flush),
        b'S' => Some(Request::Sync),
        b'X' => Some(Request::Terminate),
        b'd' | b'c' | b'f' | b'p' => Some(Request::Ignored),
        other => return Err(WireError::Violation(format!("invalid frontend message type {other}"))),
    };
    Ok(parsed.unwrap_or(Request::Malformed("invalid message format")))
}

fn parse_parse(body: &mut Body) -> Option<Request> {
    Some(Request::Parse {
        name: body.text()?,
        sql: body.text()?,
        types: body.list(|body| body.i32().map(i32::cast_unsigned))?,
    })
}

fn parse_bind(body: &mut Body) -> Option<Request> {
    Some(Request::Bind {
        portal: body.text()?,
        statement: body.text()?,
        formats: body.list(Body::i16)?,
        values: body.list(|body| match body.i32()? {
            -1 => Some(None),
            length => body.bytes(usize::try_from(length).ok()?).map(Some),
        })?,
        result_formats: body.list(Body::i16)?,
    })
}

/// Writes one message: its type, and its length when `body` is done.
pub(super) fn message(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind);
    let at = out.len();
    out.put_i32(0);
    body(out);
    patch_length(out, at, at);
}

/// Puts the length of what follows `from` at `at`.
pub(super) fn patch_length(out: &mut BytesMut, at: usize, from: usize) {
    let length = u32::try_from(out.len() - from).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

pub(super) fn put_text(out: &mut BytesMut, text: &str) {
    // A zero byte would end the string early and shift all that follows.
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.put_u8(0);
}

pub(super) fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |out| {
        put_text(out, name);
        put_text(out, value);
    });
}

pub(super) fn command_complete(out: &mut BytesMut, tag: &str) {
    message(out, b'C', |out| put_text(out, tag));
}

/// Messages without a body: `1` parsed, `2` bound, `3` closed, `n` no data, `s` suspended, `I` empty query, `c` copy done.
pub(super) fn bare(out: &mut BytesMut, kind: u8) {
    message(out, kind, |_| {});
}
