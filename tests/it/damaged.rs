//! Logs with something wrong: each is reported with what is wrong and where, and none keeps the others from being served.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::support::{check, copy_logs, fixtures, query, say, shared, text};

/// What `check` must say about a file of `tests/fixtures/damaged` (its README says what is wrong with each).
struct Case {
    file: &'static str,
    status: &'static str,
    /// Texts of which the reason must hold one; empty where nothing is wrong.
    reason: &'static [&'static str],
}

const fn case(file: &'static str, status: &'static str, reason: &'static [&'static str]) -> Case {
    Case { file, status, reason }
}

const CASES: &[Case] = &[
    case("local-good", "complete", &[]),
    case("local-empty", "not listed", &["empty"]),
    case("README.md", "not listed", &["md", "event log"]),
    case("NOTES", "not listed", &["event log", "SparkListenerApplicationStart"]),
    case(".local-hidden", "not listed", &["hidden"]),
    case("local-unknown.codec", "not listed", &["codec"]),
    case("local-no-start", "not listed", &["SparkListenerApplicationStart"]),
    case("local-cut-zstd.zstd", "damaged", CUT),
    case("local-cut-lz4.lz4", "damaged", CUT),
    case("local-cut-snappy.snappy", "damaged", CUT),
    case("local-cut-lzf.lzf", "damaged", CUT),
    case("local-cut-growing.zstd.inprogress", "in progress", &[]),
    case("local-torn-line", "damaged", CUT),
    case("local-torn-growing.inprogress", "in progress", &[]),
    case("local-garbage-line", "damaged", &["line"]),
    case("local-garbage-event", "damaged", &["SparkListenerTaskEnd"]),
    case("local-invalid-utf8", "damaged", &["line"]),
    case("local-unknown-event", "complete", &[]),
    case("local-blank-lines", "damaged", &["line 2: blank line"]),
    case("local-twice", "complete", &[]),
    case("local-twice.inprogress", "not listed", &["local-twice"]),
    case("eventlog_v2_local-no-status", "not listed", &["appstatus"]),
    case(
        "eventlog_v2_local-empty-folder",
        "not listed",
        &["without event files", "appstatus", "empty"],
    ),
    case("eventlog_v2_local-cut-middle", "damaged", &["line"]),
];

/// Words for a log that ends too early.
const CUT: &[&str] = &["ends", "cut", "torn", "truncated", "incomplete"];

/// The folder of damaged logs with the empty folder that git does not keep.
fn damaged_logs() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    copy_logs(&fixtures().join("damaged"), copy.path(), &[]);
    std::fs::create_dir(copy.path().join("eventlog_v2_local-empty-folder")).expect("a folder in a new directory");
    copy
}

#[test]
fn check_says_of_every_damaged_log_what_is_wrong_with_it() {
    let logs = damaged_logs();
    let checked = check(logs.path());
    let mut wrong = Vec::new();
    for Case { file, status, reason } in CASES {
        let Some(row) = checked.get(*file) else {
            wrong.push(format!("{file}: not reported"));
            continue;
        };
        let (got, error) = (text(row, "status"), text(row, "error"));
        if got != *status {
            wrong.push(format!("{file}: expected {status:?}, got {got:?} ({error})"));
        } else if reason.is_empty() != error.is_empty()
            || !(reason.is_empty() || reason.iter().any(|r| error.contains(r)))
        {
            wrong.push(format!(
                "{file}: expected a reason with one of {reason:?}, got {error:?}"
            ));
        }
    }
    let unknown: Vec<_> = checked
        .keys()
        .filter(|name| !CASES.iter().any(|case| case.file == name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "no case for {unknown:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn malformed_lines_are_counted_and_named_by_number() {
    let logs = damaged_logs();
    let checked = check(logs.path());
    for file in ["local-garbage-line", "local-garbage-event", "local-invalid-utf8"] {
        let row = &checked[file];
        assert_eq!(row["malformed_lines"], 1, "{file}: {row:?}");
        let number = malformed_line(&logs.path().join(file));
        assert!(
            text(row, "error").contains(&number.to_string()),
            "{file}: line {number} is not named: {row:?}"
        );
    }
    let row = &checked["local-unknown-event"];
    assert_eq!(
        (&row["unknown_events"], &row["malformed_lines"]),
        (&Value::from(1), &Value::from(0)),
        "{row:?}"
    );
    let row = &checked["local-good"];
    assert_eq!(
        (&row["format"], &row["codec"]),
        (&"single".into(), &"none".into()),
        "{row:?}"
    );
    assert_eq!(row["lines"], row["events"], "{row:?}");
}

/// The line of a file that the good log beside it does not have, counted from 1.
fn malformed_line(path: &Path) -> usize {
    let good = std::fs::read(path.with_file_name("local-good")).expect("the good log");
    let good: Vec<&[u8]> = good.split(|b| *b == b'\n').collect();
    let bytes = std::fs::read(path).expect("the damaged log");
    let start = b"{\"Event\":\"SparkListenerApplicationStart\"";
    let differs = |line: &[u8]| !line.starts_with(start) && !good.contains(&line);
    bytes
        .split(|b| *b == b'\n')
        .position(differs)
        .expect("one line differs")
        + 1
}

#[test]
fn good_logs_beside_damaged_ones_are_served_and_damaged_ones_as_far_as_they_go() {
    let logs = damaged_logs();
    let rows = query(
        logs.path(),
        "select a.app_id, a.completed, count(t.task_id) as tasks from applications a left join tasks t using (app_id) group by 1, 2",
    );
    let served: BTreeMap<&str, (bool, i64)> = rows
        .iter()
        .map(|row| {
            (
                text(row, "app_id"),
                (row["completed"] == true, row["tasks"].as_i64().unwrap_or_default()),
            )
        })
        .collect();
    let good = served.get("local-good").copied().expect("the good log is served");
    assert!(good.0 && good.1 > 0, "{good:?}");
    for whole in [
        "local-unknown-event",
        "local-blank-lines",
        "local-twice",
        "local-garbage-line",
        "local-garbage-event",
    ] {
        assert_eq!(served.get(whole), Some(&good), "{whole}");
    }
    for cut in [
        "local-cut-zstd",
        "local-cut-lz4",
        "local-cut-snappy",
        "local-cut-lzf",
        "local-cut-growing",
        "local-torn-line",
    ] {
        assert_eq!(
            served.get(cut).map(|(completed, _)| *completed),
            Some(false),
            "{cut}: {served:?}"
        );
    }
    for left_out in ["local-no-start", "local-hidden", "local-unknown", "local-no-status"] {
        assert!(!served.contains_key(left_out), "{left_out} is served");
    }
}

#[test]
fn a_damaged_log_fails_check_only_when_asked_to_be_strict() {
    let logs = damaged_logs();
    let lenient = crate::support::sparkgate(["check".as_ref(), logs.path().as_os_str()]);
    assert_eq!(lenient.status.code(), Some(0), "{}", lenient.stderr);
    let strict = crate::support::sparkgate(["check".as_ref(), "--strict".as_ref(), logs.path().as_os_str()]);
    assert_eq!(strict.status.code(), Some(1), "{}", strict.stderr);
}

#[test]
fn check_agrees_with_the_history_server_about_the_shared_logs() {
    let Some(shared) = shared() else {
        return say("check: no shared logs beside this checkout");
    };
    let readme = std::fs::read_to_string(shared.join("spark-logs/README.md")).expect("the shared logs have a README");
    let copy = tempfile::tempdir().expect("a temporary directory");
    copy_logs(
        &shared.join("spark-logs"),
        copy.path(),
        &["README.md", ".gitattributes"],
    );
    std::fs::create_dir(copy.path().join("eventlog_v2_local-empty-dev")).expect("a folder in a new directory");
    let checked = check(copy.path());
    let jobs = jobs_by_status(copy.path());
    let mut wrong = Vec::new();
    let mut compared = 0;
    for line in readme.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [file, app, _name, _spark, state, jobs_cell, ..] = cells.as_slice() else {
            panic!("not a row: {line}")
        };
        let file = file.trim_matches('`');
        let (app_id, attempt_id) = match app.split_once(" attempt ") {
            Some((app_id, attempt_id)) => (app_id.trim_matches('`'), attempt_id),
            None => (app.trim_matches('`'), ""),
        };
        compared += 1;
        let Some(row) = checked.get(file) else {
            wrong.push(format!("{file}: not reported"));
            continue;
        };
        if (text(row, "app_id"), text(row, "attempt_id")) != (app_id, attempt_id) {
            wrong.push(format!("{file}: expected {app_id} {attempt_id:?}, got {row:?}"));
        }
        let status = text(row, "status");
        let expected = if *state == "complete" {
            "complete"
        } else {
            "in progress"
        };
        if status != expected && status != "damaged" {
            wrong.push(format!(
                "{file}: expected {expected:?}, got {status:?} ({})",
                text(row, "error")
            ));
        }
        // Where Spark stopped reading, or answered with an error, we go on; an empty table cell is an application without jobs.
        let stopped = jobs_cell.bytes().all(|b| b.is_ascii_digit()) || file.starts_with("local-garbage");
        let got = jobs
            .get(&(app_id.to_owned(), attempt_id.to_owned()))
            .cloned()
            .unwrap_or_default();
        if !stopped && got != *jobs_cell {
            wrong.push(format!("{file}: expected jobs {jobs_cell:?}, got {got:?}"));
        }
    }
    let not_shown = readme
        .lines()
        .find_map(|line| line.strip_prefix("Not shown by the server: "))
        .expect("that line");
    for file in not_shown.split(", ").map(|name| name.trim_matches('`')) {
        compared += 1;
        let status = checked.get(file).map(|row| text(row, "status"));
        if status != Some("not listed") {
            wrong.push(format!("{file}: expected \"not listed\", got {status:?}"));
        }
    }
    say(&format!(
        "check: {compared} logs of shared/spark-logs against its table, {} different",
        wrong.len()
    ));
    assert!(compared > 40 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `2 failed, 1 running` for each attempt, as the README's table writes it.
fn jobs_by_status(logs: &Path) -> BTreeMap<(String, String), String> {
    let rows = query(
        logs,
        "select app_id, attempt_id, lower(status) as status, count(*) as n from jobs group by 1, 2, 3 order by 1, 2, 3",
    );
    let mut jobs: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for row in &rows {
        let key = (text(row, "app_id").to_owned(), text(row, "attempt_id").to_owned());
        jobs.entry(key)
            .or_default()
            .push(format!("{} {}", row["n"], text(row, "status")));
    }
    jobs.into_iter().map(|(key, counts)| (key, counts.join(", "))).collect()
}

#[test]
fn an_incomplete_attempt_is_in_progress_whichever_of_two_it_is() {
    let Some(shared) = shared() else {
        return say("check: no conformance suite beside this checkout");
    };
    for (folder, incomplete) in [("last-attempt-incomplete", "2"), ("previous-attempt-incomplete", "1")] {
        let logs = shared.join("spark-conformance/broken").join(folder);
        let checked = check(&logs);
        let status = |row: &Map<String, Value>| (text(row, "attempt_id").to_owned(), text(row, "status").to_owned());
        let got: BTreeMap<_, _> = checked.values().map(status).collect();
        let state = |attempt: &str| {
            if attempt == incomplete {
                "in progress"
            } else {
                "complete"
            }
        };
        let expected: BTreeMap<_, _> = ["1", "2"]
            .map(|attempt| (attempt.to_owned(), state(attempt).to_owned()))
            .into();
        assert_eq!(got, expected, "{folder}");
    }
}
