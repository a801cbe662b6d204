//! The REST door answers as Spark's own history server did: recorded answers replayed, and Spark's own suite.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, FileTimes};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::answers::decoded;
use crate::rest_comparison::{body_differences, short};
use crate::support::columns::Columns;
use crate::support::wire::{Answer, Connection, in_parallel};
use crate::support::{self, Server};

/// Answers whose differences are shown.
const MOST_SHOWN: usize = 20;

/// Copies the fixtures, as old as they were when a history server was asked about them.
pub(crate) fn copy_fixtures(to: &Path) -> Recording {
    let fixtures = support::fixtures();
    let recording = Recording::read(&fixtures.join("answers/answers.jsonl.gz"));
    support::copy_logs(&fixtures.join("logs"), to, &[]);
    set_modification_times(to, &recording);
    recording
}

#[test]
fn answers_equal_the_history_servers_about_the_fixtures() {
    let copy = tempfile::tempdir().expect("a temporary directory");
    let recording = copy_fixtures(copy.path());
    replay("tests/fixtures/logs", &Server::start(copy.path()), &recording, &[]);
    let cache = Columns::new();
    let restarted = cache.restarted_on_compacted(copy.path());
    replay(
        "tests/fixtures/logs, restarted on a compacted cache",
        &restarted,
        &recording,
        &[],
    );
}

/// Compares the answers about the fixtures of a server that `start` makes over a directory of theirs, wherever it puts them.
pub(crate) fn compare_fixtures(what: &str, start: impl FnOnce(&Path) -> Server) {
    let fixtures = support::fixtures();
    let recording = Recording::read(&fixtures.join("answers/answers.jsonl.gz"));
    let copy = tempfile::tempdir().expect("a temporary directory");
    support::copy_logs(&fixtures.join("logs"), copy.path(), &[]);
    set_modification_times(copy.path(), &recording);
    replay(what, &start(copy.path()), &recording, &[]);
}

#[test]
fn answers_equal_the_history_servers_about_the_shared_logs() {
    let Some(shared) = support::shared() else {
        return support::say("rest: no shared logs beside this checkout; only the fixtures were compared");
    };
    let recording = Recording::read(&shared.join("spark-logs-answers/answers.jsonl.gz"));
    let copy = tempfile::tempdir().expect("a temporary directory");
    support::copy_logs(
        &shared.join("spark-logs"),
        copy.path(),
        &["README.md", ".gitattributes"],
    );
    std::fs::create_dir(copy.path().join("eventlog_v2_local-empty-dev")).expect("a folder in a new directory");
    set_modification_times(copy.path(), &recording);
    // Damaged logs: Spark answers 500 or 404 about them, and lists them nevertheless.
    let damaged = ["local-cut-dev", "local-garbage", "local-blank-lines"];
    // Once, because it takes minutes: the fixtures are asked for in a new cache as well.
    let cache = Columns::new();
    let restarted = cache.restarted_on_compacted(copy.path());
    replay(
        "shared/spark-logs, restarted on a compacted cache",
        &restarted,
        &recording,
        &damaged,
    );
}

#[test]
fn sparks_own_suite_passes() {
    let Some(shared) = support::shared() else {
        return support::say("rest: no conformance suite beside this checkout");
    };
    let suite = shared.join("spark-conformance");
    let run = |logs: &str, arguments: &[&str], expected: &str| {
        let copy = tempfile::tempdir().expect("a temporary directory");
        support::copy_logs(&suite.join(logs), copy.path(), &[]);
        let server = Server::start(copy.path());
        let output = Command::new("python3")
            .arg(suite.join("run.py"))
            .args(["--base", &format!("http://{}/api/v1", server.http)])
            .args(arguments)
            .output()
            .expect("python3 is installed");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let closing = printed.lines().last().unwrap_or_default();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(closing, expected, "{logs}:\n{printed}{errors}");
        support::say(&format!("rest: Spark's own suite on {logs}: {closing}"));
    };
    run("events", &[], "70 passed, 0 failed");
    for logs in ["broken/last-attempt-incomplete", "broken/previous-attempt-incomplete"] {
        run(logs, &["--groups", "broken", "--logs", logs], "2 passed, 0 failed");
    }
}

/// What `make/rest_diff.py` recorded.
pub(crate) struct Recording {
    lines: Vec<Value>,
    /// The times of logs have no fractions of a second, and what runs is counted up to these.
    pub(crate) in_seconds: bool,
}

impl Recording {
    fn read(file: &Path) -> Self {
        let packed = File::open(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let unpacked = BufReader::new(flate2::read::GzDecoder::new(packed));
        let parse = |line: std::io::Result<String>| {
            serde_json::from_str(&line.expect("the recording is whole")).expect("a recorded answer is JSON")
        };
        Recording {
            lines: unpacked.lines().map(parse).collect(),
            in_seconds: false,
        }
    }

    /// The recorder writes a long text once, and then only says in which line it stands.
    fn text<'a>(&'a self, answer: &'a Value) -> &'a str {
        let answer = match answer["same"].as_u64() {
            Some(line) => &self.lines[usize::try_from(line).expect("a line number")]["a"],
            None => answer,
        };
        answer["text"].as_str().unwrap_or_default()
    }

    fn applications(&self) -> Vec<Value> {
        let listing = self.lines.iter().find(|line| line["path"] == "applications");
        let text = self.text(&listing.expect("the listing was recorded")["a"]);
        serde_json::from_str(text).expect("the listing is JSON")
    }

    /// Application and attempt ids (`''` for none) of the attempts that are not complete.
    fn unfinished(&self) -> BTreeSet<(String, String)> {
        let mut unfinished = BTreeSet::new();
        for application in self.applications() {
            let id = application["id"].as_str().expect("an id");
            for attempt in application["attempts"].as_array().expect("attempts") {
                if attempt["completed"] == false {
                    let attempt_id = attempt["attemptId"].as_str().unwrap_or_default();
                    unfinished.insert((id.to_owned(), attempt_id.to_owned()));
                }
            }
        }
        unfinished
    }
}

/// Spark counts the duration of a running task up to the time its log was last written.
fn set_modification_times(logs: &Path, recording: &Recording) {
    let mut modified = BTreeMap::new();
    for application in recording.applications() {
        let id = application["id"].as_str().expect("an id");
        for attempt in application["attempts"].as_array().expect("attempts") {
            let name = match attempt["attemptId"].as_str() {
                Some(attempt_id) => format!("{id}_{attempt_id}"),
                None => id.to_owned(),
            };
            modified.insert(name, attempt["lastUpdatedEpoch"].as_u64().expect("milliseconds"));
        }
    }
    let paths = |directory: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).expect("a directory");
        entries.map(|entry| entry.expect("a readable entry").path()).collect()
    };
    for log in paths(logs) {
        let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name
            .trim_start_matches("eventlog_v2_")
            .split('.')
            .next()
            .unwrap_or_default();
        let Some(ms) = modified.get(name) else { continue };
        let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_millis(*ms));
        let set = |path: &Path| File::open(path).and_then(|file| file.set_times(times));
        if log.is_dir() {
            for file in paths(&log) {
                set(&file).expect("the copy is ours");
            }
        }
        set(&log).expect("the copy is ours");
    }
}

/// Asks what was asked then, but nothing that names an application of `leave_out`.
pub(crate) fn replay(what: &str, server: &Server, recording: &Recording, leave_out: &[&str]) {
    let started = std::time::Instant::now();
    let path = |line: &Value| line["path"].as_str().expect("a path").to_owned();
    let asked: Vec<&Value> = recording
        .lines
        .iter()
        .filter(|line| !leave_out.iter().any(|app| path(line).contains(app)))
        .collect();
    let unfinished = recording.unfinished();
    let compared = in_parallel(
        &asked,
        || Connection::new(server.http),
        |connection, line| {
            let method = line["method"].as_str().expect("a method");
            let differences = match connection.ask(method, &format!("/api/v1/{}", path(line))) {
                Ok(got) => differences(recording, line, &got, &unfinished),
                Err(error) => vec![format!("no answer: {error}")],
            };
            (!differences.is_empty()).then(|| format!("{method} {}\n    {}", path(line), differences.join("\n    ")))
        },
    );
    let different: Vec<String> = compared.into_iter().flatten().collect();
    let shown = &different[..different.len().min(MOST_SHOWN)];
    let closing = format!(
        "rest: {what}: {} recorded answers compared, {} different ({:.0} s)",
        asked.len(),
        different.len(),
        started.elapsed().as_secs_f64()
    );
    support::say(&closing);
    assert!(different.is_empty(), "{}\n{closing}", shown.join("\n"));
    assert!(asked.len() > 2_000, "{closing}: the recording is not whole");
}

fn differences(
    recording: &Recording,
    line: &Value,
    got: &Answer,
    unfinished: &BTreeSet<(String, String)>,
) -> Vec<String> {
    let recorded = &line["a"];
    let field = |name: &str| recorded[name].as_str().unwrap_or_default();
    let body = || String::from_utf8_lossy(&got.body).into_owned();
    if recorded["status"] != got.status {
        let text = short(&body());
        return vec![format!(
            "status: expected {}, got {}: {text:?}",
            recorded["status"], got.status
        )];
    }
    let mut differences = Vec::new();
    let (expected_type, got_type) = (media_type(field("ct")), media_type(got.header("content-type")));
    // Jetty's pages name a character set by what the client takes.
    let is_html = expected_type.first().is_some_and(|name| name == "text/html");
    let is_same_type = match is_html {
        true => expected_type.first() == got_type.first(),
        false => expected_type == got_type,
    };
    if !is_same_type {
        differences.push(format!("content type: expected {expected_type:?}, got {got_type:?}"));
    }
    let disposition = got.header("content-disposition");
    if field("cd") != disposition {
        differences.push(format!(
            "content disposition: expected {:?}, got {disposition:?}",
            field("cd")
        ));
    }
    if !recorded["zip"].is_null() {
        differences.extend(zip_differences(&recorded["zip"], &got.body));
    } else if !is_html {
        let path = line["path"].as_str().unwrap_or_default();
        let counts_on = is_below(path, unfinished);
        let clock_ms = counts_on.then(|| now_ms() - recorded["t"].as_i64().expect("the time of the answer"));
        let is_json = got_type.first().is_some_and(|name| name == "application/json");
        let (expected, got) = (without_port(recording.text(recorded)), without_port(&body()));
        let mut of_body = body_differences(&expected, &got, is_json, clock_ms);
        of_body.retain(|difference| !(recording.in_seconds && is_lost_fraction(difference)));
        differences.extend(of_body);
    }
    differences
}

/// `….duration: expected 1500, got 1000`: less than a second is missing of the duration of what still ran.
fn is_lost_fraction(difference: &str) -> bool {
    let numbers = difference
        .split_once("duration: expected ")
        .and_then(|(_, rest)| rest.split_once(", got "));
    let parsed = numbers.and_then(|(expected, got)| Some(expected.parse::<i64>().ok()? - got.parse::<i64>().ok()?));
    parsed.is_some_and(|missing| (1..1000).contains(&missing))
}

/// Whether a path is about one of these attempts.
fn is_below(path: &str, attempts: &BTreeSet<(String, String)>) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let mut segments = path.split('/').skip(1).map(decoded);
    let Some(app_id) = segments.next() else { return false };
    let second = segments.next().unwrap_or_default();
    attempts.contains(&(app_id.clone(), String::new())) || attempts.contains(&(app_id, second))
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since_epoch.as_millis()).expect("a time in this era")
}

/// The type, then its parameters in order of name.
fn media_type(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = text.split(';').map(|part| part.trim().to_ascii_lowercase()).collect();
    parts[1..].sort();
    parts
}

/// Resources are described with the server's own address.
fn without_port(text: &str) -> String {
    const HOST: &str = "http://127.0.0.1:";
    let mut pieces = text.split(HOST);
    let mut all = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        all.push_str(HOST);
        all.push_str(piece.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    }
    all
}

/// Members: name, length, hash. Attempts must come in order; the files of a rolling folder come as the file system lists them.
fn zip_differences(expected: &Value, body: &[u8]) -> Vec<String> {
    let mut archive = match zip::ZipArchive::new(std::io::Cursor::new(body)) {
        Ok(archive) => archive,
        Err(error) => return vec![format!("no zip: {error}")],
    };
    let mut got = Vec::new();
    for at in 0..archive.len() {
        let mut member = archive.by_index(at).expect("a member of the zip");
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).expect("a whole member");
        let hash: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name = member.name().expect("a name in UTF-8").into_owned();
        got.push((name, bytes.len() as u64, hash));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut wanted: Vec<(String, u64, String)> = expected
        .as_array()
        .expect("a list of members")
        .iter()
        .map(|member| {
            (
                text(&member[0]),
                member[1].as_u64().unwrap_or_default(),
                text(&member[2]),
            )
        })
        .collect();
    let tops = |members: &[(String, u64, String)]| {
        let mut tops: Vec<String> = members
            .iter()
            .map(|(name, ..)| name.split('/').next().unwrap_or_default().to_owned())
            .collect();
        tops.dedup();
        tops
    };
    let in_order = tops(&wanted) == tops(&got);
    wanted.sort();
    got.sort();
    match in_order && wanted == got {
        true => Vec::new(),
        false => vec![format!("zip: expected {wanted:?}, got {got:?}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_difference_and_a_parameter_of_a_type_is() {
        assert_eq!(without_port("a http://127.0.0.1:80/x b"), "a http://127.0.0.1:/x b");
        assert_eq!(
            media_type("Application/JSON; v=2;charset=utf-8"),
            ["application/json", "charset=utf-8", "v=2"]
        );
    }

    #[test]
    fn paths_of_an_attempt_without_end_follow_the_clock() {
        let attempts = BTreeSet::from([("a b".to_owned(), String::new()), ("app_1".to_owned(), "2".to_owned())]);
        assert!(is_below("applications/a%20b/sql?length=1", &attempts));
        assert!(is_below("applications/app_1/2/executors", &attempts));
        assert!(!is_below("applications/app_1/1/executors", &attempts));
        assert!(!is_below("applications", &attempts));
    }
}
