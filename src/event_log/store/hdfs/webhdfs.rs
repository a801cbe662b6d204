//! WebHDFS: the only way to the bytes of a block that is still being written.
//!
//! `OPEN` at a NameNode redirects to a DataNode, which reads as any client of Hadoop does and says how long the file is now. The NameNode takes
//! no offset beyond the length that it lists, which stays behind; the DataNode does. So the NameNode is asked without one, what it answers is kept
//! for the file, and only new bytes are asked of the DataNode: one request for each look at a log that grows, and none to a NameNode.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;
use url::Url;

use super::negotiate::Negotiator;
use super::{Settings, Target, failure, threads};

/// Of the new bytes of a file, so many are taken along when its length is asked for.
const TAKEN_ALONG: usize = 8 << 20;
/// Longest wait for a connection: of a port behind a fire wall nothing comes back.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// After WebHDFS could not be used, it is left alone for a while, twice as long each time: logs are listed without it. A fail-over is over
/// after some seconds; what a fire wall hides is not asked with every scan.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// Of an answer that is an error.
const LONGEST_ERROR: usize = 64 << 10;

/// What was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) bytes: Bytes,
    /// Where the file ends; of a part of it, where that ends.
    pub(super) end: u64,
    /// For the next time.
    pub(super) redirect: Option<String>,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    #[error("the file does not exist")]
    NotFound,
    #[error("the file is shorter than it was")]
    BeyondEnd,
    #[error("WebHDFS at {place} does not answer: {message}")]
    Unreachable { place: String, message: String },
    #[error("WebHDFS at {place} refuses: {message}")]
    Refused { place: String, message: String },
    #[error("WebHDFS at {place} says {message}")]
    Other { place: String, message: String },
}

/// The WebHDFS of one cluster.
#[derive(Debug)]
pub(super) struct WebHdfs {
    http: reqwest::Client,
    /// Of its NameNodes: `http://host:port`.
    addresses: Vec<String>,
    /// The one that answered last.
    active: AtomicUsize,
    /// `user.name=…` where nobody has to prove who he is; with Kerberos `doas=…`, or nothing.
    user: String,
    negotiator: Option<Negotiator>,
    /// What NameNodes gave those who logged in.
    cookies: Mutex<Vec<Option<String>>>,
    resting: Mutex<Option<Rest>>,
}

/// It could not be used.
#[derive(Debug)]
struct Rest {
    until: Instant,
    length: Duration,
    why: String,
}

impl WebHdfs {
    pub(super) fn new(
        addresses: Vec<String>,
        user: &str,
        target: &Target,
        settings: &Settings,
    ) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            // The offset in a redirect is not ours.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(settings.timeout.min(CONNECT_WITHIN))
            .read_timeout(settings.timeout)
            .build()
            .map_err(|error| error.to_string())?;
        let user = match (target.secure, &settings.user) {
            (false, _) => format!("user.name={}", encoded(user, "")),
            (true, Some(user)) => format!("doas={}", encoded(user, "")),
            (true, None) => String::new(),
        };
        Ok(WebHdfs {
            http,
            cookies: Mutex::new(vec![None; addresses.len()]),
            addresses: addresses
                .into_iter()
                .map(|address| address.trim_end_matches('/').to_owned())
                .collect(),
            active: AtomicUsize::new(0),
            user,
            negotiator: target.secure.then(|| Negotiator::new(target)),
            resting: Mutex::default(),
        })
    }

    /// Why it is left alone for the moment.
    pub(super) fn is_resting(&self) -> Option<String> {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = resting.as_ref().filter(|rest| Instant::now() < rest.until)?;
        Some(rest.why.clone())
    }

    /// Reads from `from` on: `length` bytes, or as many as fit of all there are.
    pub(super) async fn read(
        &self,
        path: &str,
        from: u64,
        length: Option<u64>,
        redirect: Option<String>,
    ) -> Result<Answer, WebError> {
        if let Some(place) = redirect {
            match self.ask_datanode(&place, path, from, length).await {
                // The DataNode is gone, or what the NameNode gave us for it is no longer good. Where the file is now, that one says.
                Err(WebError::Unreachable { .. } | WebError::Refused { .. } | WebError::Other { .. }) => {}
                answer => return answer,
            }
        }
        let answer = self.ask_namenodes(path, "OPEN").await?;
        let location = header(&answer, LOCATION.as_str());
        let place = location.ok_or_else(|| WebError::Other {
            place: answer.url().origin().ascii_serialization(),
            message: format!("{} and names no DataNode", answer.status()),
        })?;
        self.ask_datanode(&place, path, from, length).await
    }

    /// Whether somebody is writing a file.
    pub(super) async fn is_open(&self, path: &str) -> Result<bool, WebError> {
        let answer = self.ask_namenodes(path, "GET_BLOCK_LOCATIONS").await?;
        let place = answer.url().origin().ascii_serialization();
        let body = body(answer, usize::MAX)
            .await
            .map_err(|message| WebError::Unreachable {
                place: place.clone(),
                message,
            })?;
        let open = serde_json::from_slice::<Value>(&body).ok();
        let open = open.and_then(|body| body["LocatedBlocks"]["isUnderConstruction"].as_bool());
        open.ok_or(WebError::Other {
            place,
            message: "nothing about the file being open".to_owned(),
        })
    }

    /// Asks one NameNode after the other until one is active.
    async fn ask_namenodes(&self, path: &str, operation: &str) -> Result<Response, WebError> {
        let first = self.active.load(Ordering::Relaxed);
        let mut last = None;
        for n in 0..self.addresses.len() {
            let at = (first + n) % self.addresses.len();
            match self.ask_namenode(at, path, operation).await {
                Ok(answer) => {
                    self.active.store(at, Ordering::Relaxed);
                    *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    return Ok(answer);
                }
                Err(error @ (WebError::NotFound | WebError::BeyondEnd)) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        let error = last.unwrap_or(WebError::NotFound);
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let length = resting
            .as_ref()
            .map_or(FIRST_REST, |rest| (rest.length * 2).min(LONGEST_REST));
        *resting = Some(Rest {
            until: Instant::now() + length,
            length,
            why: error.to_string(),
        });
        Err(error)
    }

    async fn ask_namenode(&self, at: usize, path: &str, operation: &str) -> Result<Response, WebError> {
        let base = &self.addresses[at];
        let and = if self.user.is_empty() { "" } else { "&" };
        let url = format!(
            "{base}/webhdfs/v1{}?op={operation}{and}{}",
            encoded(path, "/"),
            self.user
        );
        let cookie = self.cookies.lock().unwrap_or_else(PoisonError::into_inner)[at].clone();
        let mut request = self.http.get(&url);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        let answer = self.send(base, request).await?;
        let answer = match (&self.negotiator, answer.status()) {
            (Some(negotiator), StatusCode::UNAUTHORIZED) => {
                let host = Url::parse(base)
                    .ok()
                    .and_then(|url| url.host_str().map(str::to_owned))
                    .unwrap_or_default();
                let shown = negotiator.header(&host).await.map_err(|message| WebError::Refused {
                    place: base.clone(),
                    message,
                })?;
                self.send(base, self.http.get(&url).header(AUTHORIZATION, shown))
                    .await?
            }
            _ => answer,
        };
        if self.negotiator.is_some()
            && let Some(cookie) = header(&answer, SET_COOKIE.as_str())
            && cookie.starts_with("hadoop.auth=")
        {
            let cookie = cookie.split(';').next().map(str::to_owned);
            self.cookies.lock().unwrap_or_else(PoisonError::into_inner)[at] = cookie;
        }
        if answer.status().is_success() || answer.status().is_redirection() {
            Ok(answer)
        } else {
            Err(remote_error(base, answer).await)
        }
    }

    async fn ask_datanode(&self, place: &str, path: &str, from: u64, length: Option<u64>) -> Result<Answer, WebError> {
        let bad = |message: String| WebError::Other {
            place: place.split('?').next().unwrap_or_default().to_owned(),
            message,
        };
        let url = datanode_url(place, path, from, length).ok_or_else(|| bad("no URL of a DataNode".to_owned()))?;
        let datanode = url.origin().ascii_serialization();
        let answer = self.send(&datanode, self.http.get(url)).await?;
        if !answer.status().is_success() {
            return Err(remote_error(&datanode, answer).await);
        }
        let promised = header(&answer, CONTENT_LENGTH.as_str()).and_then(|length| length.parse::<u64>().ok());
        let promised = promised.ok_or_else(|| bad("not how long its answer is".to_owned()))?;
        let most = match length {
            Some(_) => usize::MAX,
            None => TAKEN_ALONG,
        };
        let bytes = body(answer, most).await.map_err(|message| WebError::Unreachable {
            place: datanode.clone(),
            message,
        })?;
        if (bytes.len() as u64) < promised && bytes.len() < most {
            return Err(bad(format!(
                "less than it promised: {} bytes of {promised}",
                bytes.len()
            )));
        }
        Ok(Answer {
            bytes,
            end: from + promised,
            redirect: Some(place.to_owned()),
        })
    }

    /// Sends a request from a thread that stays, because the connection is kept there.
    async fn send(&self, place: &str, request: reqwest::RequestBuilder) -> Result<Response, WebError> {
        let unreachable = |message: String| WebError::Unreachable {
            place: place.to_owned(),
            message,
        };
        let threads = threads().map_err(|error| unreachable(error.to_string()))?;
        let mut task = JoinSet::new();
        task.spawn_on(request.send(), threads.handle());
        match task.join_next().await {
            Some(Ok(answer)) => answer.map_err(|error| unreachable(cause(&error))),
            _ => Err(unreachable("a defect of its client; please report it".to_owned())),
        }
    }
}

/// The innermost cause, which says what happened, without the URL: that may hold a token.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match error.is_timeout() {
        true => "no answer in time".to_owned(),
        false => cause.to_string(),
    }
}

fn header(answer: &Response, name: &str) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// The body of an answer, or its first bytes, at least `most` of them.
async fn body(mut answer: Response, most: usize) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new();
    while bytes.len() < most {
        match answer.chunk().await {
            Ok(Some(some)) => bytes.extend_from_slice(&some),
            Ok(None) => break,
            Err(error) => return Err(cause(&error)),
        }
    }
    Ok(bytes.freeze())
}

/// `{"RemoteException": {"exception": …, "message": …}}`
async fn remote_error(place: &str, answer: Response) -> WebError {
    let status = answer.status();
    let place = place.to_owned();
    let body = body(answer, LONGEST_ERROR).await.unwrap_or_default();
    let value = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let remote = &value["RemoteException"];
    let text = |field: &str| remote[field].as_str().unwrap_or_default();
    let message = failure::first_line(text("message"));
    match text("exception") {
        "FileNotFoundException" => WebError::NotFound,
        "EOFException" => WebError::BeyondEnd,
        "AccessControlException" | "SecurityException" | "InvalidToken" => WebError::Refused { place, message },
        "" if status == StatusCode::UNAUTHORIZED => WebError::Refused {
            place,
            message: "it wants to know who asks (401)".to_owned(),
        },
        "" => WebError::Other {
            place,
            message: format!("{status} (is this WebHDFS?)"),
        },
        exception => WebError::Other {
            place,
            message: format!("{exception}: {message}"),
        },
    }
}

/// Where the bytes of `path` are, from what a NameNode said where those of the first block are: it gives an offset of its own, and some versions
/// a path in which `+` is not what it was.
fn datanode_url(place: &str, path: &str, from: u64, length: Option<u64>) -> Option<Url> {
    let url = Url::parse(place).ok()?;
    let (before, _) = url.path().split_once("/webhdfs/v1")?;
    let others = url.query().unwrap_or_default().split('&');
    let others = others.filter(|pair| !pair.starts_with("offset=") && !pair.starts_with("length=") && !pair.is_empty());
    let mut query: Vec<String> = others.map(str::to_owned).collect();
    query.push(format!("offset={from}"));
    query.extend(length.map(|length| format!("length={length}")));
    let origin = url.origin().ascii_serialization();
    Url::parse(&format!(
        "{origin}{before}/webhdfs/v1{}?{}",
        encoded(path, "/"),
        query.join("&")
    ))
    .ok()
}

/// Text in a URL, with all but the plainest characters and `literal` ones as `%XX`.
fn encoded(text: &str, literal: &str) -> String {
    let mut url = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || literal.contains(c) {
            url.push(c);
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_becomes_the_place_of_the_new_bytes() {
        let place =
            "http://node:9864/webhdfs/v1/logs/a%20b+c?op=OPEN&delegation=x%2By&namenoderpcaddress=nn:8020&offset=0";
        let url = datanode_url(place, "/logs/a b+c%20ü", 70, Some(5)).unwrap();
        assert_eq!(
            url.as_str(),
            "http://node:9864/webhdfs/v1/logs/a%20b%2Bc%2520%C3%BC?op=OPEN&delegation=x%2By&namenoderpcaddress=nn:8020&offset=70&length=5"
        );
        assert!(datanode_url("http://node:9864/other", "/a", 0, None).is_none());
    }
}
