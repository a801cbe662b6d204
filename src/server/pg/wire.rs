//! Messages of the PostgreSQL protocol, version 3, as bytes.
//!
//! Reading and writing are ours rather than the pgwire crate's codec for three reasons: pgwire 0.42 reads a malformed `Bind` past its end (a panic), refuses row
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
/// As in PostgreSQL: more is no answer to a question of a log-in.
const MAX_LOGIN_BYTES: usize = 1024;
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

    /// What the client has sent and nobody has read yet.
    pub(super) fn has_unread(&self) -> bool {
        !self.read.is_empty()
    }

    /// Puts another stream in the place of the socket, which is given.
    pub(super) fn replace(&mut self, socket: S) -> S {
        std::mem::replace(&mut self.socket, socket)
    }

    /// The client's next message of a log-in.
    pub(super) async fn login_message(&mut self) -> Result<Bytes, WireError> {
        loop {
            // What it is comes first: a client that goes on as if there were no log-in hears so at once.
            if self.read.first().is_some_and(|kind| *kind != b'p') {
                return Err(WireError::Violation("expected SASL response".into()));
            }
            if self.read.len() >= 5 {
                let length = usize::try_from(peek_i32(&self.read, 1)).unwrap_or(0);
                if !(4..=MAX_LOGIN_BYTES).contains(&length) {
                    return Err(WireError::Violation("invalid length of a message of the log-in".into()));
                }
                if self.read.len() > length {
                    let mut frame = self.read.split_to(length + 1).freeze();
                    frame.advance(5);
                    return Ok(frame);
                }
            }
            self.fill().await?;
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

/// The mechanism that a client chose, and its first message.
pub(super) fn parse_sasl_initial(message: Bytes) -> Option<(String, String)> {
    let mut body = Body(message);
    let mechanism = body.text()?;
    let length = usize::try_from(body.i32()?).ok()?;
    let first = body.bytes(length)?;
    body.0.is_empty().then_some(())?;
    Some((mechanism, String::from_utf8(first.to_vec()).ok()?))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic bytes; the same at every run.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, limit: u64) -> u64 {
            self.next() % limit
        }

        fn bytes(&mut self, length: u64) -> Vec<u8> {
            (0..length).map(|_| self.next().to_be_bytes()[3]).collect()
        }
    }

    fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
        let mut body = (3u32 << 16).to_be_bytes().to_vec();
        for (name, value) in parameters {
            for text in [name, value] {
                body.extend(text.bytes());
                body.push(0);
            }
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4).unwrap();
        [length.to_be_bytes().to_vec(), body].concat()
    }

    /// All that a client sends before it is gone.
    async fn read_all(bytes: &[u8]) -> Wire<tokio::io::DuplexStream> {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(bytes).await.unwrap();
        drop(client);
        Wire::new(server)
    }

    /// More than this of a client that has not logged in is never kept.
    const MOST_BEFORE_LOGIN: usize = 64 << 10;

    #[tokio::test]
    async fn no_bytes_before_the_log_in_cause_a_panic_or_much_memory() {
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        let good = startup(&[("user", "test"), ("database", "spark"), ("options", "-c a=b")]);
        for round in 0..20_000u64 {
            let mut bytes = match round % 4 {
                0 => {
                    let length = noise.below(64);
                    noise.bytes(length)
                }
                // A good length, and anything after it.
                1 => {
                    let length = noise.below(200);
                    let body = noise.bytes(length);
                    [&u32::try_from(length + 4).unwrap().to_be_bytes()[..], &body].concat()
                }
                // The codes that mean something, with all sorts of ends.
                2 => {
                    let code =
                        [80_877_102u32, 80_877_103, 80_877_104, 3 << 16, (3 << 16) + 9999][noise.below(5) as usize];
                    let length = noise.below(40);
                    let rest = noise.bytes(length);
                    let said = noise.below(60) as u32;
                    [&said.to_be_bytes()[..], &code.to_be_bytes(), &rest].concat()
                }
                _ => {
                    let mut bytes = good.clone();
                    for _ in 0..=noise.below(4) {
                        let at = noise.below(bytes.len() as u64) as usize;
                        bytes[at] = noise.bytes(1)[0];
                    }
                    bytes
                }
            };
            if noise.below(3) == 0 {
                bytes.truncate(noise.below(bytes.len() as u64 + 1) as usize);
            }
            let mut wire = read_all(&bytes).await;
            let _ = wire.opening().await;
            assert!(wire.read.capacity() <= MOST_BEFORE_LOGIN);
            let mut wire = read_all(&bytes).await;
            if let Ok(message) = wire.login_message().await {
                let _ = parse_sasl_initial(message);
            }
            let _ = parse_sasl_initial(bytes.into());
        }
    }

    #[tokio::test]
    async fn a_huge_length_is_refused_before_anything_is_read_for_it() {
        for length in [10_001, 1 << 20, i32::MAX.cast_unsigned(), u32::MAX, 3, 0] {
            let bytes = [&length.to_be_bytes()[..], &[0; 100_000]].concat();
            let mut wire = read_all(&bytes).await;
            assert!(matches!(wire.opening().await, Err(WireError::Violation(_))), "{length}");
            assert!(wire.read.capacity() <= MOST_BEFORE_LOGIN);
            let bytes = [&b"p"[..], &bytes].concat();
            let mut wire = read_all(&bytes).await;
            assert!(
                matches!(wire.login_message().await, Err(WireError::Violation(_))),
                "{length}"
            );
            assert!(wire.read.capacity() <= MOST_BEFORE_LOGIN);
        }
    }

    #[tokio::test]
    async fn a_truncated_message_is_the_end_of_the_client() {
        let good = startup(&[("user", "test")]);
        for length in 0..good.len() {
            let mut wire = read_all(&good[..length]).await;
            assert!(matches!(wire.opening().await, Err(WireError::Closed)), "{length}");
        }
        let mut wire = read_all(&good).await;
        assert!(matches!(wire.opening().await, Ok(Opening::Startup { minor: 0, .. })));
    }

    #[tokio::test]
    async fn requests_of_any_bytes_cause_no_panic() {
        let mut noise = Noise(42);
        for _ in 0..20_000 {
            let kind = b"QPBDCEHSXdcfpZ\0"[noise.below(15) as usize];
            let length = noise.below(60);
            let body = noise.bytes(length);
            let said = match noise.below(4) {
                0 => noise.next() as u32,
                _ => u32::try_from(length).unwrap() + 4,
            };
            let bytes = [&[kind][..], &said.to_be_bytes(), &body].concat();
            let mut wire = read_all(&bytes).await;
            let _ = wire.request().await;
            assert!(wire.read.capacity() <= MOST_BEFORE_LOGIN);
        }
    }
}
