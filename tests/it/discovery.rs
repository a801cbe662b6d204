//! What happens in a directory of logs while it is served: files come, go, are replaced, move and cannot be read.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use crate::support::pg::Session;
use crate::support::{Server, check, fixtures, query, text};

/// Some scans of 200 ms, on a loaded machine.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Several scans: what has not happened by then does not happen.
const SOME_SCANS: Duration = Duration::from_millis(1200);
const APPS: &str = "select app_id from applications order by 1";

async fn serve(logs: &Path) -> (Server, Session) {
    let server = Server::start_with(logs, &["--scan-interval", "200ms"]);
    let session = Session::open(&server).await;
    (server, session)
}

/// A short, whole application with another id.
fn log_of(app_id: &str) -> String {
    let text = fs::read_to_string(fixtures().join("damaged/local-good")).expect("the good log is there");
    text.replace("\"App ID\":\"local-good\"", &format!("\"App ID\":\"{app_id}\""))
}

fn write(dir: &Path, name: impl AsRef<OsStr>, text: &str) {
    fs::write(dir.join(name.as_ref()), text).expect("room in a temporary directory");
}

/// State and reason of one file.
fn state(name: &str) -> String {
    format!("select status, error from system.event_logs where path like '%/{name}'")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_log_appears_and_a_deleted_one_disappears() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    write(logs.path(), "first", &log_of("first"));
    let (_server, session) = serve(logs.path()).await;
    assert_eq!(session.rows(APPS).await, ["first"]);

    write(logs.path(), "second", &log_of("second"));
    session.answers_within(SEEN_WITHIN, APPS, &["first", "second"]).await;
    fs::remove_file(logs.path().join("first")).expect("it is there");
    session.answers_within(SEEN_WITHIN, APPS, &["second"]).await;
    for table in sparkgate::table::all() {
        let sql = format!("select count(*) from {} where app_id <> 'second'", table.sql_name());
        assert_eq!(session.rows(&sql).await, ["0"], "{}", table.name);
    }
    assert_eq!(
        session.rows("select count(*) from events where app_id = 'first'").await,
        ["0"]
    );
    assert_eq!(session.rows("select app_id from system.event_logs").await, ["second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_deleted_logs_stay_where_the_configuration_says_so() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).expect("a new directory");
    write(dir.path(), "gate.toml", "[sources]\nfollow_log_deletion = false\n");
    write(&logs, "first", &log_of("first"));
    let config = dir.path().join("gate.toml");
    let options = ["--scan-interval", "200ms", "--config", config.to_str().expect("UTF-8")];
    let server = Server::start_with(&logs, &options);
    let session = Session::open(&server).await;
    fs::remove_file(logs.join("first")).expect("it is there");
    let told = "select error like 'the log was deleted; its rows stay%' from system.event_logs";
    session.answers_within(SEEN_WITHIN, told, &["t"]).await;
    assert_eq!(
        session.rows("select app_id, num_tasks from applications").await,
        ["first|4"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_replaced_by_a_smaller_one_is_read_anew() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    write(logs.path(), "log", &log_of("before"));
    let (_server, session) = serve(logs.path()).await;
    assert_eq!(session.rows(APPS).await, ["before"]);

    // The first lines up to the start of the stage: another application, which runs.
    let text = log_of("after");
    let smaller: String = text.split_inclusive('\n').take(8).collect();
    write(logs.path(), "log", &smaller);
    session.answers_within(SEEN_WITHIN, APPS, &["after"]).await;
    let lines = "select status, lines from system.event_logs";
    session.answers_within(SEEN_WITHIN, lines, &["in progress|8"]).await;
    assert_eq!(session.rows("select count(*) from tasks").await, ["0"]);
    assert_eq!(session.rows("select count(*) from events").await, ["8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_growing_log_that_was_replaced_by_a_smaller_one_is_read_anew() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let some = |app_id, lines| -> String { log_of(app_id).split_inclusive('\n').take(lines).collect() };
    write(logs.path(), "log.inprogress", &some("before", 15));
    let (_server, session) = serve(logs.path()).await;
    assert_eq!(session.rows(APPS).await, ["before"]);
    let new = logs.path().join(".new");
    fs::write(&new, some("after", 9)).expect("room");
    fs::rename(&new, logs.path().join("log.inprogress")).expect("the same directory");
    session.answers_within(SEEN_WITHIN, APPS, &["after"]).await;
    assert_eq!(session.rows("select lines from system.event_logs").await, ["9"]);
    assert_eq!(
        session.rows("select count(*), min(app_id) from tasks").await,
        ["1|after"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_stay_while_the_whole_directory_is_away_and_it_recovers_by_itself() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (logs, away) = (dir.path().join("logs"), dir.path().join("away"));
    fs::create_dir(&logs).expect("a new directory");
    write(&logs, "first", &log_of("first"));
    let (_server, session) = serve(&logs).await;
    for round in ["first", "second"] {
        fs::rename(&logs, &away).expect("the same directory");
        let failed = "select distinct status, error like 'the source cannot be listed, rows read before stay: %does not exist%' \
                      from system.event_logs";
        session.answers_within(SEEN_WITHIN, failed, &["failed|t"]).await;
        tokio::time::sleep(SOME_SCANS).await;
        assert_eq!(session.rows(failed).await, ["failed|t"]);
        assert_eq!(
            session
                .rows("select num_tasks from applications where app_id = 'first'")
                .await,
            ["4"]
        );

        // What came meanwhile is seen when the directory is back.
        write(
            &away,
            format!("while-away-{round}"),
            &log_of(&format!("while-away-{round}")),
        );
        fs::rename(&away, &logs).expect("the same directory");
        let back = "select count(*) > 1, min(status), max(status), max(error) from system.event_logs";
        session
            .answers_within(SEEN_WITHIN, back, &["t|complete|complete|"])
            .await;
        let here = format!("select count(*) from applications where app_id in ('first', 'while-away-{round}')");
        session.answers_within(SEEN_WITHIN, &here, &["2"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_that_come_and_go_while_they_are_scanned_stop_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).expect("a new directory");
    write(&logs, "steady", &log_of("steady"));
    let server = Server::start_with(&logs, &["--scan-interval", "100ms"]);
    let session = Session::open(&server).await;
    let text = log_of("rolling");
    for round in 0..300 {
        let folder = logs.join("eventlog_v2_rolling");
        fs::create_dir(&folder).expect("a new directory");
        write(&folder, "appstatus_rolling", "");
        write(&folder, "events_1_rolling", &text);
        // At times it is there long enough to be read.
        tokio::time::sleep(Duration::from_millis(if round % 50 == 0 { 150 } else { 3 })).await;
        fs::remove_dir_all(&folder).expect("it is there");
        if round % 10 == 0 {
            let steady = session
                .rows("select num_tasks from applications where app_id = 'steady'")
                .await;
            assert_eq!(steady, ["4"]);
        }
    }
    session.answers_within(SEEN_WITHIN, APPS, &["steady"]).await;
    let states = "select status, error from system.event_logs";
    session.answers_within(SEEN_WITHIN, states, &["complete|"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_files_with_the_same_attempt_one_is_served_and_the_other_says_why_not() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let whole = log_of("same");
    let running: String = whole.split_inclusive('\n').take(12).collect();
    write(logs.path(), "running", &running);
    let (_server, session) = serve(logs.path()).await;
    assert_eq!(session.rows("select completed from applications").await, ["f"]);
    write(logs.path(), "whole", &whole);
    session
        .answers_within(SEEN_WITHIN, "select completed from applications", &["t"])
        .await;

    assert_eq!(session.rows("select count(*) from application_attempts").await, ["1"]);
    assert_eq!(
        session
            .rows("select count(*), count(distinct task_id) from tasks")
            .await,
        ["4|4"]
    );
    assert_eq!(session.rows("select count(*) from events").await, ["21"]);
    assert_eq!(session.rows(&state("whole")).await, ["complete|"]);
    let told = "select status, error like 'same is served from %/whole, which has the application''s end' \
                from system.event_logs where path like '%/running'";
    assert_eq!(session.rows(told).await, ["not listed|t"]);

    // The other one takes over when the served one goes.
    fs::remove_file(logs.path().join("whole")).expect("it is there");
    session
        .answers_within(SEEN_WITHIN, "select completed from applications", &["f"])
        .await;
    assert_eq!(session.rows(&state("running")).await, ["in progress|"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_listed_with_a_reason_and_stops_nothing() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    write(logs.path(), "good", &log_of("good"));
    symlink("nowhere", logs.path().join("dangling")).expect("a new link");
    symlink("loop", logs.path().join("loop")).expect("a new link");
    symlink("eventlog_v2_loop", logs.path().join("eventlog_v2_loop")).expect("a new link");
    fs::create_dir(logs.path().join("directory")).expect("a new directory");
    let (_server, session) = serve(logs.path()).await;
    assert_eq!(session.rows(APPS).await, ["good"]);
    for name in ["dangling", "loop", "eventlog_v2_loop", "directory"] {
        let entry = format!("select status, length(error) > 10 from system.event_logs where path like '%/{name}'");
        assert_eq!(session.rows(&entry).await, ["not listed|t"], "{name}");
    }

    // The end of a link that appears makes a log of it.
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    write(elsewhere.path(), "linked", &log_of("linked"));
    symlink(elsewhere.path().join("linked"), logs.path().join("link")).expect("a new link");
    session.answers_within(SEEN_WITHIN, APPS, &["good", "linked"]).await;

    if rustix::process::geteuid().is_root() {
        // Nothing is denied to root.
        return;
    }
    write(logs.path(), "denied", &log_of("denied"));
    let denied = logs.path().join("denied");
    fs::set_permissions(&denied, fs::Permissions::from_mode(0o000)).expect("our file");
    let told = "select status, error like '%permission denied%' from system.event_logs where path like '%/denied'";
    session.answers_within(SEEN_WITHIN, told, &["failed|t"]).await;
    fs::set_permissions(&denied, fs::Permissions::from_mode(0o600)).expect("our file");
    session
        .answers_within(SEEN_WITHIN, APPS, &["denied", "good", "linked"])
        .await;
}

#[test]
fn names_of_files_and_directories_are_taken_as_they_are() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let logs = dir.path().join("my logs%20+ñ");
    fs::create_dir(&logs).expect("a new directory");
    let names = [
        "with space",
        "with%20percent",
        "with+plus",
        "naïve-名前-🚀",
        "100%",
        "quote'd",
        "a#b?c",
        "back\\slash",
    ];
    for (number, name) in names.iter().enumerate() {
        write(&logs, name, &log_of(&format!("app-{number}")));
    }
    // No UTF-8, which file systems do not ask for.
    write(&logs, OsStr::from_bytes(b"odd-\xff"), &log_of("app-odd"));

    let checked = check(&logs);
    for (number, name) in names.iter().enumerate() {
        let row = checked
            .get(*name)
            .unwrap_or_else(|| panic!("{name} in {:?}", checked.keys()));
        assert_eq!(text(row, "status"), "complete", "{name}: {row:?}");
        assert_eq!(text(row, "app_id"), format!("app-{number}"), "{name}");
    }
    // Read again, for the raw lines.
    let rows = query(
        &logs,
        "select app_id, count(*) as lines from events group by 1 order by 1",
    );
    assert_eq!(rows.len(), names.len() + 1);
    assert!(rows.iter().all(|row| row["lines"] == 21), "{rows:?}");

    let uri = url::Url::from_directory_path(&logs)
        .expect("an absolute path")
        .to_string();
    assert!(uri.contains("%2520"), "{uri}");
    let by_uri = query(Path::new(&uri), "select count(*) as n from applications");
    assert_eq!(by_uri[0]["n"], names.len() + 1);
    let one = query(&logs.join("with%20percent"), "select app_id from applications");
    assert_eq!(text(&one[0], "app_id"), "app-1");
}
