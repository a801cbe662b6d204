//! A cache that may not grow beyond a size: who was not asked for gives up rows, stays listed, and comes back when it is named.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::columns::{Columns, log_of, written_ago};
use crate::support::http::Client;
use crate::support::pg::Session;

const APPLICATIONS: usize = 12;
const SEEN_WITHIN: Duration = Duration::from_secs(30);
/// What is known of all applications whoever gave up rows: from the listing and from rollups.
const ALWAYS: &str = "select (select count(*) from applications), (select sum(num_tasks) from applications), \
                      (select count(*) from rollup.stage_summary), (select sum(executor_run_time_ms) from rollup.stage_summary), \
                      (select count(*) from rollup.executor_hourly)";

fn rows_of(app_id: &str) -> String {
    format!(
        "select (select count(*) from tasks where app_id = '{app_id}'), (select count(*) from stages where app_id = '{app_id}'), \
         (select count(*) from environment where app_id = '{app_id}'), \
         (select sum(executor_run_time_ms) from tasks where app_id = '{app_id}')"
    )
}

/// The older its number, the longer ago a log was written.
fn logs() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for number in 0..APPLICATIONS {
        let path = dir.path().join(format!("app-{number:02}"));
        fs::write(&path, log_of(&format!("app-{number:02}"))).expect("room");
        written_ago(&path, Duration::from_secs(7200 + 60 * (APPLICATIONS - number) as u64));
    }
    dir
}

/// A configuration that leaves a cache this part of its size, in percent.
fn limited(cache: &Columns, logs: &Path, dir: &Path, percent: u64) -> String {
    let bytes = cache.well(
        &["sql"],
        logs,
        &["--format", "csv", "-c", "select sum(size_bytes) from system.segments"],
    );
    let bytes: u64 = bytes
        .lines()
        .last()
        .and_then(|line| line.parse().ok())
        .expect("a number");
    let config = dir.join("limited.toml");
    fs::write(&config, format!("[cache]\nmax_bytes = \"{}\"\n", bytes * percent / 100)).expect("room");
    config.to_str().expect("UTF-8").to_owned()
}

/// A cache whose older half has given up its rows, and a configuration with that limit and little patience.
fn evicted_in_part(logs: &Path, dir: &Path) -> (Columns, String) {
    let cache = Columns::new();
    cache.ingest(logs);
    let config = limited(&cache, logs, dir, 50);
    cache.well(&["ingest"], logs, &["--config", &config]);
    let text = fs::read_to_string(&config).expect("ours");
    fs::write(&config, format!("{text}\n[query]\nwait_for_logs = \"1s\"\n")).expect("room");
    (cache, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_give_up_rows_stay_listed_and_come_back_when_they_are_named() {
    let (logs, dir) = (logs(), tempfile::tempdir().expect("a temporary directory"));
    let cache = Columns::new();
    cache.ingest(logs.path());
    let config = limited(&cache, logs.path(), dir.path(), 60);
    let (always, rows) = {
        let whole = cache.serve(logs.path(), &[]);
        let session = Session::open(&whole).await;
        (session.rows(ALWAYS).await, session.rows(&rows_of("app-00")).await)
    };
    assert!(rows[0].starts_with("4|"), "{rows:?}");

    let server = cache.serve(logs.path(), &["--config", &config, "--scan-interval", "200ms"]);
    let session = Session::open(&server).await;
    let evicted = "select count(*) > 0 and count(*) < 12 from system.event_logs where status = 'evicted'";
    session.answers_within(SEEN_WITHIN, evicted, &["t"]).await;
    // The one whose log was written the longest time ago is among them, and the newest is not.
    let order = "select max(path) filter (where status = 'evicted') < min(path) filter (where status = 'complete') from system.event_logs";
    assert_eq!(session.rows(order).await, ["t"]);
    assert_eq!(session.rows(ALWAYS).await, always);
    let oldest = "select status from system.event_logs where app_id = 'app-00'";
    assert_eq!(session.rows(oldest).await, ["evicted"]);

    assert_eq!(
        session.rows(&rows_of("app-00")).await,
        rows,
        "it is read again when it is named"
    );
    assert_eq!(session.rows(oldest).await, ["complete"]);
    let http = server.http;
    let stages = tokio::task::spawn_blocking(move || Client::open(http).rest("applications/app-01/stages")).await;
    assert!(!stages.expect("no panic").as_array().expect("a list").is_empty());
    assert_eq!(session.rows(ALWAYS).await, always);
    drop(server);
    // Files of so few rows are mostly footers; the rows themselves are gone.
    cache.compact(logs.path());
    let left = "select coalesce(sum(rows), 0) from system.segments where table_name = 'tasks'";
    let left = cache.well(&["sql"], logs.path(), &["--format", "csv", "-c", left, "--read-only"]);
    let left: usize = left
        .lines()
        .last()
        .and_then(|line| line.parse().ok())
        .expect("a number");
    assert!(left < 4 * APPLICATIONS, "{left} rows of tasks are left");

    // What was evicted stays so, also for a process that reads only or runs one statement, and comes back there too.
    for options in [&[][..], &["--read-only"]] {
        let sql = format!(
            "select count(*) from system.event_logs where status = 'evicted'; {ALWAYS}; {}",
            rows_of("app-02")
        );
        let arguments = [&["--config", &config, "--format", "csv", "-c", &sql], options].concat();
        let said = cache.well(&["sql"], logs.path(), &arguments);
        let lines: Vec<String> = said.lines().map(|line| line.replace(',', "|")).collect();
        assert_ne!(lines[1], "0", "{said}");
        assert!(
            lines.contains(&always[0]) && lines.contains(&rows[0]),
            "{options:?}: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_application_whose_log_is_away_is_an_error_and_not_fewer_rows() {
    let (logs, dir) = (logs(), tempfile::tempdir().expect("a temporary directory"));
    let (cache, config) = evicted_in_part(logs.path(), dir.path());
    let server = cache.serve(logs.path(), &["--config", &config, "--scan-interval", "200ms"]);
    let session = Session::open(&server).await;
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(logs.path(), &elsewhere).expect("the same file system");
    let is_away = "select count(*) = 12 from system.event_logs where status = 'failed'";
    session.answers_within(SEEN_WITHIN, is_away, &["t"]).await;
    let error = session.client.simple_query(&rows_of("app-00")).await;
    let error = error.expect_err("the log cannot be read");
    let message = error.as_db_error().expect("of the server").message();
    assert!(message.contains("app-00"), "{message}");
    assert_eq!(session.rows("select count(*) from applications").await, ["12"]);
    fs::rename(&elsewhere, logs.path()).expect("the same file system");
    session
        .answers_within(
            SEEN_WITHIN,
            "select count(*) = 0 from system.event_logs where status = 'failed'",
            &["t"],
        )
        .await;
    session
        .answers_within(
            SEEN_WITHIN,
            "select count(*) from tasks where app_id = 'app-00'",
            &["4"],
        )
        .await;
}

/// A log that is deleted after the last listing fails the statements that name it, and holds up nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_read_again_holds_up_nothing_else() {
    let (logs, dir) = (logs(), tempfile::tempdir().expect("a temporary directory"));
    let (cache, config) = evicted_in_part(logs.path(), dir.path());
    let server = cache.serve(logs.path(), &["--config", &config, "--scan-interval", "5s"]);
    let session = Session::open(&server).await;
    let evicted = "select count(*) from system.event_logs where status = 'evicted' and app_id in ('app-00', 'app-01')";
    assert_eq!(session.rows(evicted).await, ["2"]);
    fs::remove_file(logs.path().join("app-00")).expect("it is there");
    let error = session.client.simple_query(&rows_of("app-00")).await;
    let error = error.expect_err("there is nothing to read");
    assert_eq!(crate::support::pg::code(&error), "57014", "{error:?}");
    assert_eq!(
        session.rows("select count(*) from tasks where app_id = 'app-01'").await,
        ["4"]
    );
    // The next listings see that it is gone, and what is new.
    fs::write(logs.path().join("another"), log_of("another")).expect("room");
    session
        .answers_within(
            SEEN_WITHIN,
            "select count(*) from tasks where app_id = 'another'",
            &["4"],
        )
        .await;
    session
        .answers_within(
            SEEN_WITHIN,
            "select count(*) from applications where app_id = 'app-00'",
            &["0"],
        )
        .await;
}
