//! The HTTP door as the simplest client sees it: HTTP/1.1 over one connection, nothing decoded but what the transport adds.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No answer takes this long, not even on a loaded machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at something that is to change.
const POLL: Duration = Duration::from_millis(50);

/// Status line and headers.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(of, _)| of == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }
}

/// One whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON: {e}: {:?} {}", self.head, self.text()))
    }
}

/// One connection, kept open between requests.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Client {
    pub(crate) fn open(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the HTTP door is open");
        stream
            .set_read_timeout(Some(ANSWERED_WITHIN))
            .expect("a socket takes a time limit");
        Client {
            stream: BufReader::new(stream),
            address,
        }
    }

    /// The answer to GET.
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(path);
        let head = self.head();
        let mut body = Vec::new();
        if head.is_chunked() {
            while let Some(mut chunk) = self.chunk() {
                body.append(&mut chunk);
            }
        } else {
            let length = head.header("content-length").and_then(|text| text.parse().ok());
            body.resize(length.unwrap_or_else(|| panic!("{path}: no length: {head:?}")), 0);
            self.stream.read_exact(&mut body).expect("a whole answer");
        }
        Response { head, body }
    }

    /// JSON of a path below `/api/v1/`, which must be there.
    pub(crate) fn rest(&mut self, path: &str) -> Value {
        let answer = self.get(&format!("/api/v1/{path}"));
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Asks for a path below `/api/v1/` until the answer is as it should be.
    pub(crate) fn rest_within(
        &mut self,
        limit: Duration,
        path: &str,
        expected: impl Fn(&Response) -> bool,
    ) -> Duration {
        let started = Instant::now();
        loop {
            let answer = self.get(&format!("/api/v1/{path}"));
            if expected(&answer) {
                return started.elapsed();
            }
            let waited = started.elapsed();
            assert!(
                waited < limit,
                "{path}: not as expected within {limit:?}: {}",
                answer.text()
            );
            std::thread::sleep(POLL);
        }
    }

    /// Asks without waiting for the answer.
    pub(crate) fn send(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        self.stream
            .get_mut()
            .write_all(request.as_bytes())
            .expect("the server listens");
    }

    /// Status line and headers of the next answer.
    pub(crate) fn head(&mut self) -> Head {
        let line = self.line();
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Head {
            status: status.unwrap_or_else(|| panic!("no status line: {line:?}")),
            headers,
        }
    }

    /// The next piece of a chunked answer; `None` is its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line(), 16).expect("the size of a chunk");
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk).expect("a whole chunk");
        assert_eq!(self.line(), "", "a chunk ends with a line end");
        (size > 0).then_some(chunk)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line of an answer");
        line.trim_end().to_owned()
    }
}
