//! Damaged logs over REST: what could be read is served, each such answer says what is wrong with its log, and no other does.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use serde_json::{Map, Value};

use crate::support::http::{Client, Response};
use crate::support::pg::Session;
use crate::support::{Server, check, copy_logs, fixtures, say, shared, text};

const PROBLEM: &str = "x-sparkgate-log-problem";

/// What each readable application answers 200 to.
const RESOURCES: [&str; 9] = [
    "",
    "/jobs",
    "/stages",
    "/stages?details=true",
    "/executors",
    "/allexecutors",
    "/environment",
    "/sql",
    "/storage/rdd",
];

/// The folder of damaged logs with the empty folder that git does not keep.
fn damaged_logs() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    copy_logs(&fixtures().join("damaged"), copy.path(), &[]);
    std::fs::create_dir(copy.path().join("eventlog_v2_local-empty-folder")).expect("a folder in a new directory");
    copy
}

/// Rows of `system.event_logs` by application, of logs that are listed.
async fn states(session: &Session) -> BTreeMap<String, Map<String, Value>> {
    let sql = "select * from system.event_logs where app_id is not null";
    let rows = session.objects(sql).await;
    rows.into_iter()
        .map(|row| (text(&row, "app_id").to_owned(), row))
        .collect()
}

fn rest(client: &mut Client, app_id: &str, resource: &str) -> Response {
    client.get(&format!("/api/v1/applications/{app_id}{resource}"))
}

/// Each application of the server, whatever its log, with the number of task attempts that REST lists.
fn tasks_of(client: &mut Client, app_id: &str) -> usize {
    let stages = rest(client, app_id, "/stages").json();
    let stages = stages.as_array().expect("a list").iter();
    let tasks = stages.map(|stage| {
        let path = format!(
            "/stages/{}/{}/taskList?length=1000",
            stage["stageId"], stage["attemptId"]
        );
        let tasks = rest(client, app_id, &path);
        assert_eq!(tasks.status(), 200, "{app_id}{path}");
        tasks.json().as_array().expect("a list").len()
    });
    tasks.sum()
}

/// Holds every application of a directory to what `check` says of its log; gives the number of damaged ones.
async fn hold(logs: &Path) -> usize {
    let checked = check(logs);
    let server = Server::start(logs);
    let session = Session::open(&server).await;
    let mut client = Client::open(server.http);
    let states = states(&session).await;
    let listed = client.rest("applications");
    let listed = listed.as_array().expect("a list");
    let mut ids: Vec<&str> = listed.iter().map(|app| app["id"].as_str().expect("an id")).collect();
    ids.sort_unstable();
    assert!(ids.iter().eq(states.keys()), "{ids:?}\n{:?}", states.keys());

    let mut damaged = 0;
    for (file, row) in checked.iter().filter(|(_, row)| !text(row, "app_id").is_empty()) {
        let app_id = text(row, "app_id");
        let state = &states[app_id];
        for field in ["status", "error"] {
            assert_eq!(text(state, field), text(row, field), "{file}");
        }
        let is_damaged = text(row, "status") == "damaged";
        damaged += usize::from(is_damaged);
        let problem = is_damaged.then(|| text(row, "error"));
        for resource in RESOURCES {
            let answer = rest(&mut client, app_id, resource);
            assert_eq!(answer.status(), 200, "{file}{resource}: {}", answer.text());
            assert_eq!(answer.header(PROBLEM), problem, "{file}{resource}");
            assert!(!answer.json().is_null(), "{file}{resource}");
        }
        let tasks = format!("select count(*) from tasks where app_id = '{app_id}'");
        let tasks = session.rows(&tasks).await;
        assert_eq!(tasks, [tasks_of(&mut client, app_id).to_string()], "{file}");
        zip_holds_the_log_as_it_lies(&rest(&mut client, app_id, "/logs"), &logs.join(file));
    }
    for path in ["/api/v1/applications", "/api/v1/version", "/health/ready"] {
        assert_eq!(client.get(path).header(PROBLEM), None, "{path} is about no log");
    }
    damaged
}

fn zip_holds_the_log_as_it_lies(answer: &Response, log: &Path) {
    assert_eq!(answer.status(), 200);
    let mut zip = zip::ZipArchive::new(Cursor::new(&answer.body)).expect("a zip");
    let name = log
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name")
        .to_owned();
    let files: Vec<String> = if log.is_dir() {
        let entries = std::fs::read_dir(log)
            .expect("the log")
            .map(|entry| entry.expect("an entry"));
        entries
            .map(|entry| format!("{name}/{}", entry.file_name().to_string_lossy()))
            .collect()
    } else {
        vec![name]
    };
    for file in files {
        let mut packed = Vec::new();
        let mut entry = zip.by_name(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        entry.read_to_end(&mut packed).expect("a whole entry");
        let lies = std::fs::read(log.parent().expect("a directory").join(&file)).expect("the log");
        assert!(
            packed == lies,
            "{file}: {} bytes, and {} in the zip",
            lies.len(),
            packed.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_applications_answer_with_what_could_be_read_and_say_what_is_wrong() {
    let logs = damaged_logs();
    assert_eq!(hold(logs.path()).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_names_the_line_and_what_is_wrong_with_it() {
    let logs = damaged_logs();
    let server = Server::start(logs.path());
    let mut client = Client::open(server.http);
    for (app_id, words) in [
        ("local-garbage-line", &["line 12", "JSON"][..]),
        ("local-garbage-event", &["line 12", "SparkListenerTaskEnd", "zero"]),
        ("local-invalid-utf8", &["line 12"]),
        ("local-blank-lines", &["line 2: blank line"]),
        ("local-torn-line", &["line 20", "cut off"]),
        ("local-cut-zstd", &["line 7", "cut off"]),
        ("local-cut-middle", &["line 11", "SparkListenerTaskEnd"]),
    ] {
        for resource in ["", "/jobs", "/stages/0/0/taskSummary", "/jobs/987", "/logs"] {
            let answer = rest(&mut client, app_id, resource);
            let problem = answer.header(PROBLEM);
            // An error is no answer from the log.
            assert_eq!(
                problem.is_some(),
                answer.status() == 200,
                "{app_id}{resource}: {}",
                answer.text()
            );
            let problem = problem.unwrap_or_default();
            let named = words.iter().all(|word| problem.contains(word));
            assert!(named || answer.status() != 200, "{app_id}{resource}: {problem:?}");
        }
    }
    // A leftover that is not listed says nothing about the application that is.
    for whole in ["local-good", "local-twice", "local-unknown-event", "local-torn-growing"] {
        assert_eq!(rest(&mut client, whole, "/jobs").header(PROBLEM), None, "{whole}");
    }
    assert_eq!(rest(&mut client, "local-no-start", "/jobs").status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_of_a_damaged_log_is_all_there() {
    let logs = damaged_logs();
    let server = Server::start(logs.path());
    let mut client = Client::open(server.http);
    let good = tasks_of(&mut client, "local-good");
    assert!(good > 0);
    let jobs = |client: &mut Client, app_id: &str| rest(client, app_id, "/jobs").json();
    let good_jobs = jobs(&mut client, "local-good");
    // Each has the lines of the good one, and some that cannot be read.
    for whole in [
        "local-blank-lines",
        "local-unknown-event",
        "local-twice",
        "local-garbage-line",
        "local-garbage-event",
        "local-invalid-utf8",
    ] {
        assert_eq!(jobs(&mut client, whole), good_jobs, "{whole}");
        assert_eq!(tasks_of(&mut client, whole), good, "{whole}");
    }
    // The line that is lost is how one task ended.
    assert_eq!(tasks_of(&mut client, "local-cut-middle"), good);
    assert_eq!(jobs(&mut client, "local-cut-middle")[0]["numCompletedTasks"], 3);
    // The end of the application is cut off: it still runs, and all before it is there.
    let torn = rest(&mut client, "local-torn-line", "").json();
    assert_eq!(torn["attempts"][0]["completed"], false);
    assert_eq!(jobs(&mut client, "local-torn-line")[0]["numCompletedTasks"], 4);
    assert_eq!(good_jobs[0]["numCompletedTasks"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_logs_of_the_shared_corpus_are_served_too() {
    let Some(shared) = shared() else {
        return say("damaged logs over REST: no shared logs beside this checkout; only the fixtures were served");
    };
    let logs = tempfile::tempdir().expect("a temporary directory");
    let mut copied = 0;
    for entry in std::fs::read_dir(shared.join("spark-logs")).expect("the shared logs") {
        let entry = entry.expect("a readable entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if ["local-cut-", "local-garbage-", "local-blank-lines"]
            .iter()
            .any(|start| name.starts_with(start))
        {
            std::fs::copy(entry.path(), logs.path().join(name)).expect("room for a copy");
            copied += 1;
        }
    }
    let damaged = hold(logs.path()).await;
    say(&format!(
        "damaged logs over REST: {damaged} of {copied} shared logs are damaged, and served"
    ));
    assert!(damaged >= 4, "{damaged} of {copied}");
}
