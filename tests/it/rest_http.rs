//! The HTTP door answers as Jetty and Jersey do in Spark's history server: methods, Accept, encodings, odd paths, escapes, redirects.
//!
//! `make/http_probe.py` recorded what they say. What differs on purpose is [`KNOWN`], and nothing else does; `docs/rest.md` tells users
//! the same.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::rest_comparison::{body_differences, short};
use crate::support::wire::{Answer, exchange, in_parallel};
use crate::support::{self, Server};

/// Until a server that was asked to close has done so: debug build, loaded machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(120);
/// Until a server that keeps a connection has said everything.
const SILENT_FOR: Duration = Duration::from_secs(3);
/// Requests whose differences are shown.
const MOST_SHOWN: usize = 20;

/// A difference that is meant.
struct Known {
    /// Method and target, or `raw` and the first line; with `*` at the end, how it begins.
    requests: &'static [&'static str],
    /// `status`, `body` or names of headers. Each must differ for one of the requests at least.
    differs: &'static [&'static str],
    why: &'static str,
}

/// Headers of Spark's security filter and of its caching.
const NO_SPARK_HEADERS: &[&str] = &[
    "status",
    "body",
    "content-type",
    "cache-control",
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
];

const KNOWN: &[Known] = &[
    Known {
        requests: &["OPTIONS /api/v1/applications*"],
        differs: &["body"],
        why: "the WADL describes GET of the resource that was asked, without its parameters and the resources below it",
    },
    Known {
        requests: &["GET /api/application.wadl"],
        differs: &[
            "status",
            "body",
            "content-type",
            "cache-control",
            "last-modified",
            "vary",
        ],
        why: "there is no WADL of the whole API",
    },
    Known {
        requests: &["GET /api/executors/prometheus"],
        differs: &["status", "body"],
        why: "the endpoint of running applications, which fails in every history server, is not there",
    },
    Known {
        requests: &["GET /api/v1/<b>\"&'"],
        differs: NO_SPARK_HEADERS,
        why: "the HTTP library refuses a path with letters that no URI has: 400 without a body",
    },
    Known {
        requests: &[
            "GET /history/nosuch",
            "GET /history/nosuch/1/jobs?x=1",
            "GET /history/%3Cb%3E",
            "GET /history/a/../b",
            "GET /history/application_1795000000000_0002/9",
            "GET /history/application_1795000000000_0002/jobs",
        ],
        differs: &["body"],
        why: "an unknown application has a short page, not one of Spark's web UI",
    },
    Known {
        requests: &["GET /history/nosuch?x=%zz"],
        differs: &["body"],
        why: "the page about a malformed query shows no stack trace",
    },
    Known {
        requests: &[
            "GET /history/local-1795254648400",
            "GET /history/local-1795255005212",
            "GET /history/local-1795255037845/jobs",
            "GET /history/application_1795000000000_0002/2",
            "GET /history/application_1795000000000_0002/2/jobs",
        ],
        differs: &[
            "content-type",
            "cache-control",
            "x-content-type-options",
            "x-frame-options",
            "x-xss-protection",
        ],
        why: "Spark redirects to pages that it has loaded without its usual headers; here nothing is loaded",
    },
    Known {
        requests: &[
            "GET /history/local-1795255020907/?a=b",
            "GET /history/local-1795255037845/1?x=y",
        ],
        differs: &["location", "content-type"],
        why: "Spark redirects to the same page once it has loaded the application; here straight to its jobs",
    },
    Known {
        requests: &["raw GET /history/local-1795255005212 HTTP/1.0"],
        differs: &[
            "location",
            "content-type",
            "cache-control",
            "x-content-type-options",
            "x-frame-options",
            "x-xss-protection",
        ],
        why: "without a Host a redirect has no host either",
    },
    Known {
        requests: &[
            "GET /static*",
            "GET /?showIncomplete=bogus",
            "GET /logPage",
            "GET /metrics/json",
            "GET /nosuch",
        ],
        differs: &[
            "status",
            "body",
            "content-type",
            "cache-control",
            "location",
            "vary",
            "x-content-type-options",
            "x-frame-options",
            "x-xss-protection",
        ],
        why: "there is no web UI: 404 with a text that says where things are",
    },
    Known {
        requests: &[
            "raw GET /api/v1/version?x=aaaa*",
            "raw GET /api/v1/version HTTP/1.1 X: aaaa*",
        ],
        differs: &[
            "status",
            "body",
            "content-type",
            "cache-control",
            "vary",
            "x-content-type-options",
            "x-frame-options",
            "x-xss-protection",
        ],
        why: "request lines and headers may be longer than Jetty's 8 KiB",
    },
    Known {
        requests: &[
            "raw GET /api/v1/version",
            "raw GET /api/v1/version HTTP/1.2",
            "raw garbage",
        ],
        differs: &["status", "body", "content-type"],
        why: "the HTTP library refuses what is no HTTP/1: 400 without a body",
    },
];

/// A recorded request with its answer.
struct Probe {
    /// As [`Known`] names it.
    name: String,
    method: String,
    bytes: Vec<u8>,
    recorded: Value,
}

#[test]
fn statuses_headers_and_odd_requests_are_answered_as_the_history_server_does() {
    let fixtures = support::fixtures();
    let copy = tempfile::tempdir().expect("a temporary directory");
    support::copy_logs(&fixtures.join("logs"), copy.path(), &[]);
    let server = Server::start(copy.path());
    let packed = std::fs::File::open(fixtures.join("answers/http.jsonl.gz")).expect("the recording");
    let probes: Vec<Probe> = BufReader::new(flate2::read::GzDecoder::new(packed))
        .lines()
        .map(|line| probe(&line.expect("the recording is whole"), server.http))
        .collect();
    let found = in_parallel(&probes, || (), |(), probe| differences(probe, server.http));

    let (mut unexpected, mut seen) = (Vec::new(), BTreeSet::new());
    let mut meant = 0;
    for (probe, differences) in probes.iter().zip(found) {
        let known: Vec<usize> = (0..KNOWN.len())
            .filter(|at| KNOWN[*at].requests.iter().any(|request| matches(request, &probe.name)))
            .collect();
        meant += usize::from(!differences.is_empty());
        for (what, text) in differences {
            match known.iter().find(|at| KNOWN[**at].differs.contains(&what.as_str())) {
                Some(at) => {
                    seen.insert((*at, what));
                    let request = KNOWN[*at].requests.iter().find(|request| matches(request, &probe.name));
                    seen.insert((*at, request.map_or(String::new(), |request| (*request).to_owned())));
                }
                None => unexpected.push(format!(
                    "{} {}\n    {what}: {text}",
                    probe.name, probe.recorded["headers"]
                )),
            }
        }
    }
    let shown = unexpected.len().min(MOST_SHOWN);
    assert!(
        unexpected.is_empty(),
        "{}\n{} differences that nobody meant, in {} requests",
        unexpected[..shown].join("\n"),
        unexpected.len(),
        probes.len()
    );
    for (at, known) in KNOWN.iter().enumerate() {
        for what in known.differs.iter().chain(known.requests) {
            assert!(
                seen.contains(&(at, (*what).to_owned())),
                "nothing differs any more in {what:?} of {:?}; strike it from KNOWN and docs/rest.md ({})",
                known.requests,
                known.why
            );
        }
    }
    assert!(probes.len() > 300, "the recording is not whole");
    support::say(&format!(
        "rest: HTTP: {} recorded requests compared, {meant} differ as meant, none otherwise",
        probes.len()
    ));
}

#[test]
fn the_page_for_users_names_every_difference() {
    let page = include_str!("../../docs/rest.md");
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for known in KNOWN {
        assert!(page.contains(known.why), "docs/rest.md does not say: {}", known.why);
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

/// What `http_probe.py` sent, with the address of this server.
fn probe(line: &str, server: SocketAddr) -> Probe {
    let recorded: Value = serde_json::from_str(line).expect("a recorded answer is JSON");
    let host = server.to_string();
    let text = |name: &str| recorded[name].as_str().unwrap_or_default().replace("{host}", &host);
    if !recorded["raw"].is_null() {
        let raw = text("raw");
        // The request line, and the first header that is not about the connection.
        let mut name = format!("raw {}", raw.lines().next().unwrap_or_default());
        let telling = |line: &&str| line.starts_with("X: ");
        if let Some(line) = raw.lines().find(telling) {
            name = format!("{name} {line}");
        }
        return Probe {
            name,
            method: raw.split(' ').next().unwrap_or_default().to_owned(),
            bytes: raw
                .chars()
                .map(|letter| u8::try_from(letter).expect("Latin-1"))
                .collect(),
            recorded,
        };
    }
    let headers: Vec<(String, Option<String>)> = match &recorded["headers"] {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().map(str::to_owned)))
            .collect(),
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| {
                let name = pair[0].as_str().expect("a name").to_owned();
                (name, pair[1].as_str().map(str::to_owned))
            })
            .collect(),
        _ => Vec::new(),
    };
    let has = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    let method = match recorded["method"].as_str() {
        Some(method) => method.to_owned(),
        None => "GET".to_owned(),
    };
    let name = format!("{method} {}", text("path"));
    let body = recorded["request_body"].as_str();
    let mut request = format!("{name} HTTP/1.1\r\n");
    if !has("host") {
        request += &format!("Host: {host}\r\n");
    }
    if !has("connection") {
        request += "Connection: close\r\n";
    }
    if let Some(body) = body
        && !has("content-length")
        && !has("transfer-encoding")
    {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in &headers {
        if let Some(value) = value {
            request += &format!("{name}: {}\r\n", value.replace("{host}", &host));
        }
    }
    request += "\r\n";
    request += body.unwrap_or_default();
    Probe {
        name,
        method,
        bytes: request.into_bytes(),
        recorded,
    }
}

/// What differs, and how.
fn differences(probe: &Probe, server: SocketAddr) -> Vec<(String, String)> {
    let closes = String::from_utf8_lossy(&probe.bytes)
        .to_ascii_lowercase()
        .contains("connection: close");
    let patience = match closes {
        true => CLOSED_WITHIN,
        false => SILENT_FOR,
    };
    let answers = match exchange(server, &probe.bytes, &probe.method, patience) {
        Ok(answers) => answers,
        Err(error) => return vec![("status".into(), format!("no answer: {error}"))],
    };
    let recorded = &probe.recorded;
    let mut differences = Vec::new();
    let mut differs = |what: &str, expected: &str, got: &str| {
        if expected != got {
            let text = format!("expected {:?}, got {:?}", short(expected), short(got));
            differences.push((what.to_owned(), text));
        }
    };
    let first = &answers[0];
    differs("status", &recorded["status"].to_string(), &first.status.to_string());
    let expected = recorded_headers(&recorded["response_headers"]);
    let got = steady_headers(first, server);
    let names: BTreeSet<&String> = expected.iter().chain(&got).map(|(name, _)| name).collect();
    for name in names {
        let value = |headers: &[(String, String)]| {
            let values = headers.iter().filter(|(of, _)| of == name);
            values.map(|(_, value)| value.clone()).collect::<Vec<_>>().join(" | ")
        };
        differs(name, &value(&expected), &value(&got));
    }
    // A second answer on the same connection: its status line and its body.
    let after = recorded["after"].as_str().unwrap_or_default();
    let second = answers
        .get(1)
        .map(|answer| (answer.status.to_string(), steady_body(answer, server)));
    let (status, body) = second.unwrap_or_default();
    differs("second status", after.split(' ').nth(1).unwrap_or_default(), &status);
    let expected = after.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    differs("second body", &without_hashes(expected), &body);

    let is_json = first.header("content-type").starts_with("application/json");
    let body_difference = match &recorded["zip"] {
        Value::Null => {
            let expected = without_hashes(recorded["body"].as_str().unwrap_or_default());
            let expected = expected.replace("\"lastUpdatedEpoch\" : {ms}", "\"lastUpdatedEpoch\" : 0");
            let texts = match recorded["body_base64"].as_str() {
                Some(bytes) => vec![format!("recorded as bytes: {bytes}")],
                None => body_differences(&expected, &steady_body(first, server), is_json, None),
            };
            texts.join("\n    ")
        }
        members => zip_difference(members, first),
    };
    if !body_difference.is_empty() {
        differences.push(("body".into(), body_difference));
    }
    differences
}

fn recorded_headers(headers: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, value) in headers.as_object().into_iter().flatten() {
        match value {
            Value::Array(values) => {
                let values = values.iter().filter_map(Value::as_str);
                all.extend(values.map(|value| (name.clone(), value.to_owned())));
            }
            value => all.push((name.clone(), value.as_str().unwrap_or_default().to_owned())),
        }
    }
    all
}

/// Without what frames the answer and the date.
fn steady_headers(answer: &Answer, server: SocketAddr) -> Vec<(String, String)> {
    const FRAMING: &[&str] = &["date", "content-length", "transfer-encoding"];
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !FRAMING.contains(&name.as_str()));
    headers
        .map(|(name, value)| match name.as_str() {
            "last-modified" => (name.clone(), "{now}".to_owned()),
            _ => (name.clone(), without_address(value, server)),
        })
        .collect()
}

/// A body as the recorder writes it: unpacked, without this server's address.
fn steady_body(answer: &Answer, server: SocketAddr) -> String {
    without_address(&String::from_utf8_lossy(&unpacked(answer)), server)
}

fn unpacked(answer: &Answer) -> Vec<u8> {
    if answer.header("content-encoding") != "gzip" || answer.body.is_empty() {
        return answer.body.clone();
    }
    let mut unpacked = Vec::new();
    let mut packed = flate2::read::GzDecoder::new(answer.body.as_slice());
    packed
        .read_to_end(&mut unpacked)
        .expect("the body is what its header says");
    unpacked
}

fn without_address(text: &str, server: SocketAddr) -> String {
    text.replace(&format!("http://{server}"), "{base}")
        .replace(&server.to_string(), "{host}")
}

/// Jetty's names of servlets have a hash that is another one in each run; ours have none.
fn without_hashes(text: &str) -> String {
    text.replace("-{hash}", "")
}

/// Names and lengths of a zip's members, in whatever order the file system gave them to Spark.
fn zip_difference(recorded: &Value, answer: &Answer) -> String {
    let mut archive = match zip::ZipArchive::new(std::io::Cursor::new(unpacked(answer))) {
        Ok(archive) => archive,
        Err(error) => return format!("no zip: {error}"),
    };
    let mut got: Vec<Value> = (0..archive.len())
        .map(|at| {
            let member = archive.by_index(at).expect("a member of the zip");
            serde_json::json!([member.name().expect("a name in UTF-8"), member.size()])
        })
        .collect();
    let mut expected = recorded.as_array().cloned().unwrap_or_default();
    expected.sort_by_key(Value::to_string);
    got.sort_by_key(Value::to_string);
    match expected == got {
        true => String::new(),
        false => format!("expected {expected:?}, got {got:?}"),
    }
}

#[test]
fn a_known_difference_names_requests_by_their_beginnings() {
    assert!(matches("GET /static*", "GET /static/nosuch"));
    assert!(matches("GET /static", "GET /static"));
    assert!(!matches("GET /static", "GET /static/nosuch"));
}
