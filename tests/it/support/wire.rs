//! HTTP/1.1 over plain sockets: what is sent is what a test says, and nothing of an answer is interpreted but its framing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// No answer takes this long, not even in a debug build on a loaded machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);

/// Requests under way at once: more than most machines' cores here, so that neither side waits for the other.
const CONNECTIONS: usize = 4;

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in the order they came.
    pub(crate) headers: Vec<(String, String)>,
    /// Without the framing of chunks.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// `""` where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(of, _)| of == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// A connection that is kept for the next request, and opened again where the server closed it.
#[derive(Debug)]
pub(crate) struct Connection {
    server: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Connection {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Connection { server, stream: None }
    }

    /// Sends a request without a body and waits for its answer.
    pub(crate) fn ask(&mut self, method: &str, target: &str) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => open(self.server, ANSWERED_WITHIN)?,
        };
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.server);
        stream.get_mut().write_all(request.as_bytes())?;
        let answer = read_answer(&mut stream, method)?;
        if answer.header("connection") != "close" {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

/// Sends these bytes on a connection of their own; the answers until the server closes it or is silent for `patience`.
pub(crate) fn exchange(
    server: SocketAddr,
    request: &[u8],
    method: &str,
    patience: Duration,
) -> io::Result<Vec<Answer>> {
    let mut stream = open(server, patience)?;
    // A server may refuse and close before it has read everything.
    let _ = stream.get_mut().write_all(request);
    let mut answers = vec![read_answer(&mut stream, method)?];
    while let Ok(answer) = read_answer(&mut stream, "GET") {
        answers.push(answer);
    }
    Ok(answers)
}

/// Does something with each item, several at a time, each with a state of its own, such as a connection. Results in order.
pub(crate) fn in_parallel<Item: Sync, State, Result: Send>(
    items: &[Item],
    state: impl Fn() -> State + Sync,
    each: impl Fn(&mut State, &Item) -> Result + Sync,
) -> Vec<Result> {
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut state, mut done) = (state(), Vec::new());
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            done.push((at, each(&mut state, item)));
        }
    };
    let mut results: Vec<(usize, Result)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no thread panicked"))
            .collect()
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

fn open(server: SocketAddr, patience: Duration) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

fn read_answer(stream: &mut BufReader<TcpStream>, method: &str) -> io::Result<Answer> {
    let status_line = line(stream)?;
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status line: {status_line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = line(stream)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
    };
    if (100..200).contains(&status) {
        return read_answer(stream, method);
    }
    if method == "HEAD" || matches!(status, 204 | 304) {
        return Ok(answer);
    }
    if answer.header("transfer-encoding") == "chunked" {
        loop {
            let size = line(stream)?;
            let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
            let at = answer.body.len();
            answer.body.resize(at + size, 0);
            stream.read_exact(&mut answer.body[at..])?;
            line(stream)?;
            if size == 0 {
                return Ok(answer);
            }
        }
    }
    match answer.header("content-length").parse() {
        Ok(length) => {
            answer.body.resize(length, 0);
            stream.read_exact(&mut answer.body)?;
        }
        // Ended by the end of the connection; a connection that stays open has no body then.
        Err(_) => match stream.read_to_end(&mut answer.body) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        },
    }
    Ok(answer)
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // Jetty writes Latin-1 where a header is not ASCII.
    let text: String = line.iter().map(|byte| char::from(*byte)).collect();
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
