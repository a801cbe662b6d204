//! While a first scan is still reading: every application is listed soon, and one that is asked for is read before the others.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::columns::{Columns, Dice, log_of, written_ago};
use crate::support::gated::{Gate, GatedOptions, GatedServer};
use crate::support::http::Client;
use crate::support::pg::Session;

const APPLICATIONS: usize = 40;
/// Reads of the large log wait behind its head.
const HEAD: u64 = 6 << 20;
/// Looking at heads begins after some seconds.
const LISTED_WITHIN: Duration = Duration::from_secs(60);

/// Many short logs, and one that is read first and takes long.
fn logs() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for number in 0..APPLICATIONS {
        let path = dir.path().join(format!("app-{number:02}"));
        fs::write(&path, log_of(&format!("app-{number:02}"))).expect("room");
        written_ago(&path, Duration::from_secs(7200 + number as u64));
    }
    fs::write(dir.path().join("large.zstd"), large()).expect("room");
    dir
}

/// A log that compresses badly, in some frames: its whole application first, but for the end.
fn large() -> Vec<u8> {
    let text = log_of("large");
    let (lines, end) = text.trim_end().rsplit_once('\n').expect("some lines");
    let mut dice = Dice::new(1);
    let mut all = zstd::encode_all(lines.as_bytes(), 1).expect("some text");
    all.extend(zstd::encode_all(&b"\n"[..], 1).expect("some text"));
    while all.len() < 10 << 20 {
        let mut frame = String::new();
        for _ in 0..4000 {
            let noise: String = (0..16).map(|_| format!("{:08x}", dice.roll(1 << 32))).collect();
            frame += &format!("{{\"Event\":\"SparkListenerOfNobody\",\"Noise\":\"{noise}\"}}\n");
        }
        all.extend(zstd::encode_all(frame.as_bytes(), 1).expect("some text"));
    }
    all.extend(zstd::encode_all(format!("{end}\n").as_bytes(), 1).expect("some text"));
    all
}

async fn while_a_long_scan_reads(logs: &Path, cache: Option<&Columns>) {
    let gate = Gate::at("large", HEAD);
    gate.close();
    let options = GatedOptions {
        threads: 1,
        wait_for_logs: Duration::from_secs(30),
        cache: cache.map(Columns::path),
    };
    let server = GatedServer::start_with(logs, &[&gate], options).await;
    let history = std::sync::Arc::clone(&server.history);
    let scan = tokio::spawn(async move { history.scan_once().await });
    let listed = tokio::time::timeout(LISTED_WITHIN, server.history.until_listed()).await;
    listed.expect("applications are listed while one log is still being read");
    assert!(!server.history.progress().is_complete && !scan.is_finished());

    let session = Session::connect(server.pg).await;
    let all = (APPLICATIONS + 1).to_string();
    assert_eq!(session.rows("select count(*) from applications").await, [all.as_str()]);
    let shown = session.rows("select count(*) from applications where completed").await[0].parse::<usize>();
    assert!(shown.expect("a number") >= APPLICATIONS, "ends stand in the tails");
    assert_eq!(server.history.progress().logs_read, 0, "nothing was read yet");

    // SQL, then REST: in full, and no more than these is read.
    let rows = "select count(*), sum(executor_run_time_ms) > 0 from tasks where app_id = 'app-31'";
    assert_eq!(session.rows(rows).await, ["4|t"]);
    assert!(
        server.history.progress().logs_read <= 2,
        "{:?}",
        server.history.progress()
    );
    let http = server.http;
    let stages = tokio::task::spawn_blocking(move || Client::open(http).rest("applications/app-07/stages")).await;
    assert_eq!(stages.expect("no panic").as_array().expect("a list").len(), 2);
    assert!(!scan.is_finished(), "the large log is still held");
    assert!(
        server.history.progress().logs_read <= 4,
        "{:?}",
        server.history.progress()
    );

    gate.open();
    let summary = scan.await.expect("no panic");
    assert_eq!((summary.new, summary.failed), (APPLICATIONS + 1, 0));
    let tasks = (4 * (APPLICATIONS + 1)).to_string();
    assert_eq!(session.rows("select count(*) from tasks").await, [tasks.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_is_asked_for_during_a_long_first_scan_is_read_at_once() {
    let logs = logs();
    let cache = Columns::new();
    tokio::join!(
        while_a_long_scan_reads(logs.path(), None),
        while_a_long_scan_reads(logs.path(), Some(&cache))
    );
    let (rows, scan) = cache.everything(logs.path(), &[]);
    scan.assert_idle("what was read on demand is in the cache");
    assert_eq!(rows.count("tasks"), 4 * (APPLICATIONS + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_want_to_wait_for_a_log_hears_how_far_reading_is() {
    let logs = logs();
    let gate = Gate::at("large", HEAD);
    gate.close();
    let options = GatedOptions {
        threads: 1,
        wait_for_logs: Duration::from_millis(100),
        cache: None,
    };
    let server = GatedServer::start_with(logs.path(), &[&gate], options).await;
    let history = std::sync::Arc::clone(&server.history);
    let scan = tokio::spawn(async move { history.scan_once().await });
    let listed = tokio::time::timeout(LISTED_WITHIN, server.history.until_listed()).await;
    listed.expect("applications are listed");

    let session = Session::connect(server.pg).await;
    let started = Instant::now();
    let error = session
        .client
        .simple_query("select count(*) from tasks where app_id = 'large'")
        .await;
    let error = error.expect_err("its log is held");
    let error = error.as_db_error().expect("an answer of the server");
    assert_eq!(error.code().code(), "57014", "{error}");
    let says_how_far = |text: &str| {
        text.contains("the log of application large is still being read") && text.contains("bytes of all logs")
    };
    assert!(says_how_far(error.message()), "{error}");
    let http = server.http;
    let answer = tokio::task::spawn_blocking(move || Client::open(http).get("/api/v1/applications/large/stages")).await;
    let answer = answer.expect("no panic");
    assert_eq!(answer.status(), 503, "{}", answer.text());
    assert!(says_how_far(&answer.text()), "{}", answer.text());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    gate.open();
    scan.await.expect("no panic");
    assert_eq!(
        session.rows("select count(*) from tasks where app_id = 'large'").await,
        ["4"]
    );
}
