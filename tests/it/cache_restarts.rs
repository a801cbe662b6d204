//! Rows outlive the process that read them: the next one reads no log, and what changed meanwhile it notices.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::support::columns::{
    Columns, all_logs, damaged_logs, everything_in_memory, idle_copy, log_of, states, written_ago,
};
use crate::support::pg::Session;

/// Longer ago than a log may rest before it counts as idle.
const LONG_AGO: Duration = Duration::from_secs(7200);

#[test]
fn rows_are_the_same_in_memory_in_a_new_cache_after_a_restart_and_after_compaction() {
    for (what, logs) in all_logs() {
        let logs = idle_copy(&logs);
        let (cache, logs) = (Columns::new(), logs.path());
        let in_memory = everything_in_memory(logs);
        assert!(in_memory.count("tasks") > 1, "{what}");

        let (cold, scan) = cache.everything(logs, &[]);
        cold.assert_same(&in_memory, &format!("{what}, a new cache"));
        assert!(
            scan.number("read_bytes") > 0 && scan.number("commits") > 0,
            "{what}: {scan:?}"
        );

        let (warm, scan) = cache.everything(logs, &[]);
        warm.assert_same(&in_memory, &format!("{what}, a restart"));
        scan.assert_idle(&format!("{what}, a restart"));

        cache.compact(logs);
        let (compacted, scan) = cache.everything(logs, &[]);
        compacted.assert_same(&in_memory, &format!("{what}, compacted"));
        scan.assert_idle(&format!("{what}, compacted"));

        let commit = cache.status(logs)["commit"];
        let (read_only, scan) = cache.everything(logs, &["--read-only"]);
        read_only.assert_same(&in_memory, &format!("{what}, compacted and read only"));
        scan.assert_idle(&format!("{what}, compacted and read only"));
        assert_eq!(cache.status(logs)["commit"], commit, "{what}: a reader wrote");
    }
}

/// One application a commit, so that there is something to merge.
#[test]
fn rows_are_the_same_after_many_commits_were_merged() {
    for (what, from) in all_logs() {
        let from = idle_copy(&from);
        let (cache, logs) = (Columns::new(), tempfile::tempdir().expect("a temporary directory"));
        let mut entries: Vec<_> = fs::read_dir(from.path())
            .expect("the copy")
            .map(|e| e.expect("an entry"))
            .collect();
        entries.sort_by_key(|entry| entry.file_name());
        let (first, last) = (entries.len() / 2, entries.len());
        for (at, entry) in entries.iter().enumerate() {
            fs::rename(entry.path(), logs.path().join(entry.file_name())).expect("the same file system");
            if at >= first && at % 2 == 0 || at + 1 == last {
                cache.run(&["ingest"], logs.path(), &[]);
            }
        }
        let in_memory = everything_in_memory(logs.path());
        let before = cache.files("t").len();
        let (many, scan) = cache.everything(logs.path(), &[]);
        many.assert_same(&in_memory, &format!("{what}, many commits"));
        scan.assert_idle(what);
        cache.compact(logs.path());
        let (merged, scan) = cache.everything(logs.path(), &[]);
        merged.assert_same(&in_memory, &format!("{what}, merged"));
        scan.assert_idle(what);
        let status = cache.status(logs.path());
        assert!(
            status["files"] < before as u64 || before < 8 * 20,
            "{what}: {before} files, then {status:?}"
        );
        // Those that were merged wait for readers that may still have them.
        assert!(cache.files("t").len() >= before, "{what}: a file was deleted too early");
    }
}

#[test]
fn after_an_ingest_no_log_is_read_whatever_is_wrong_with_it() {
    let logs = damaged_logs();
    let cache = Columns::new();
    let in_memory = everything_in_memory(logs.path());
    let seen: BTreeSet<String> = states(&in_memory).into_values().collect();
    let all = ["complete", "damaged", "failed", "in progress", "not listed"].map(str::to_owned);
    assert!(
        all.iter().filter(|state| seen.contains(*state)).count() >= 4,
        "{seen:?}"
    );

    // A log of an unknown codec cannot be read, which the exit code says.
    cache.run(&["ingest"], logs.path(), &[]);
    let (read, scan) = cache.everything(logs.path(), &[]);
    read.assert_same(&in_memory, "after an ingest");
    scan.assert_idle("after an ingest");
    let commit = cache.status(logs.path())["commit"];
    cache.run(&["ingest"], logs.path(), &[]);
    assert_eq!(cache.status(logs.path())["commit"], commit, "a second ingest wrote");
}

#[test]
fn what_changed_between_two_processes_is_noticed() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| logs.path().join(name);
    let write = |name: &str, text: &str| {
        fs::write(path(name), text).expect("room");
        written_ago(&path(name), LONG_AGO);
    };
    let part = |text: &str, lines: usize| text.split_inclusive('\n').take(lines).collect::<String>();
    let attempt = |app_id: &str, attempt: u32| {
        let named = format!("\"App ID\":\"{app_id}\",");
        log_of(app_id).replace(&named, &format!("{named}\"App Attempt ID\":\"{attempt}\","))
    };
    write("steady", &log_of("steady"));
    write("grows.inprogress", &part(&log_of("grows"), 12));
    write("idle.inprogress", &part(&log_of("idle"), 12));
    write("replaced", &log_of("before"));
    write("deleted", &log_of("deleted"));
    write("renamed.inprogress", &log_of("renamed"));
    write("cut", &part(&log_of("cut"), 14));
    write("retried_1", &attempt("retried", 1));
    write("beaten.inprogress", &part(&log_of("twice"), 9));
    write("twice", &log_of("twice"));
    write(
        "no-start",
        "{\"Event\":\"SparkListenerLogStart\",\"Spark Version\":\"4.1.0\"}\n",
    );
    let folder = path("eventlog_v2_rolling");
    fs::create_dir(&folder).expect("a new directory");
    fs::write(folder.join("appstatus_rolling.inprogress"), "").expect("room");
    fs::write(folder.join("events_1_rolling"), part(&log_of("rolling"), 10)).expect("room");

    let cache = Columns::new();
    cache.ingest(logs.path());
    let before = everything_in_memory(logs.path());
    let (same, _) = cache.everything(logs.path(), &[]);
    same.assert_same(&before, "nothing changed");

    let all: String = log_of("grows");
    let grown = part(&all, 12).len();
    let mut file = OpenOptions::new()
        .append(true)
        .open(path("grows.inprogress"))
        .expect("it is there");
    file.write_all(&all.as_bytes()[grown..grown + 700]).expect("room");
    drop(file);
    fs::write(path("replaced"), log_of("after")).expect("room");
    fs::remove_file(path("deleted")).expect("it is there");
    fs::rename(path("renamed.inprogress"), path("renamed")).expect("the same directory");
    fs::write(path("cut"), log_of("cut")).expect("room");
    write("retried_2", &attempt("retried", 2));
    fs::remove_file(path("twice")).expect("it is there");
    fs::write(path("no-start"), log_of("started")).expect("room");
    let first = part(&log_of("rolling"), 1);
    let rest = log_of("rolling")[part(&log_of("rolling"), 10).len()..].to_owned();
    fs::write(folder.join("events_2_rolling"), first + &rest).expect("room");
    fs::rename(
        folder.join("appstatus_rolling.inprogress"),
        folder.join("appstatus_rolling"),
    )
    .expect("the same folder");

    let after = everything_in_memory(logs.path());
    assert_ne!(before, after);
    let commit = cache.status(logs.path())["commit"];
    let (read_only, _) = cache.everything(logs.path(), &["--read-only"]);
    read_only.assert_same(&after, "a reader of the cache as it was");
    assert_eq!(cache.status(logs.path())["commit"], commit, "a reader wrote");
    let (noticed, scan) = cache.everything(logs.path(), &[]);
    noticed.assert_same(&after, "the next process");
    assert!(scan.number("restored_logs") >= 4, "{scan:?}");
    let (again, _) = cache.everything(logs.path(), &[]);
    again.assert_same(&after, "the one after that");
    cache.compact(logs.path());
    let (compacted, _) = cache.everything(logs.path(), &[]);
    compacted.assert_same(&after, "compacted");
}

/// Commands that end put away what they read of a log that is being written; a server that finds it there goes on from its start.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_being_written_is_read_once_by_commands_and_followed_by_a_server() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let path = logs.path().join("growing.inprogress");
    let lines: Vec<String> = log_of("growing").split_inclusive('\n').map(str::to_owned).collect();
    let write = |lines: &[String]| {
        let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("room");
        file.write_all(lines.concat().as_bytes()).expect("room");
    };
    let cache = Columns::new();
    write(&lines[..13]);
    cache.ingest(logs.path());
    let (rows, scan) = cache.everything(logs.path(), &[]);
    rows.assert_same(&everything_in_memory(logs.path()), "after an ingest");
    scan.assert_idle("after an ingest");
    write(&lines[13..15]);
    let (rows, _) = cache.everything(logs.path(), &[]);
    rows.assert_same(&everything_in_memory(logs.path()), "grown");

    let within = Duration::from_secs(20);
    let read = "select sum(lines), min(status) from system.event_logs";
    let server = cache.serve(logs.path(), &["--scan-interval", "100ms"]);
    let session = Session::open(&server).await;
    session.answers_within(within, read, &["15|in progress"]).await;
    for at in 15..lines.len() {
        write(&lines[at..=at]);
        let state = if at + 1 == lines.len() {
            "complete"
        } else {
            "in progress"
        };
        session
            .answers_within(within, read, &[&format!("{}|{state}", at + 1)])
            .await;
        let tasks = session
            .rows("select count(*), count(distinct task_id) from tasks")
            .await;
        let (all, distinct) = tasks[0].split_once('|').expect("two columns");
        assert_eq!(all, distinct, "after line {at}");
        // A process beside it sees no row twice either.
        if at == 17 {
            let (rows, _) = cache.everything(logs.path(), &[]);
            rows.assert_same(&everything_in_memory(logs.path()), "beside a server");
        }
    }
    fs::rename(&path, logs.path().join("growing")).expect("the same directory");
    let named = "select path like '%/growing', status from system.event_logs";
    session.answers_within(within, named, &["t|complete"]).await;
    drop(server);
    let in_memory = everything_in_memory(logs.path());
    let (rows, _) = cache.everything(logs.path(), &[]);
    rows.assert_same(&in_memory, "after the server was killed");
    let (rows, scan) = cache.everything(logs.path(), &[]);
    rows.assert_same(&in_memory, "at last");
    scan.assert_idle("at last");
}

#[test]
fn a_log_of_the_same_size_and_another_time_is_read_again() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let cache = Columns::new();
    let log = logs.path().join("log");
    fs::write(&log, log_of("one")).expect("room");
    written_ago(&log, LONG_AGO);
    cache.ingest(logs.path());
    fs::write(&log, log_of("two")).expect("room");
    let (noticed, _) = cache.everything(logs.path(), &[]);
    noticed.assert_same(&everything_in_memory(logs.path()), "rewritten");
}

/// A damaged log is tried again after some scans, and its rows are there all the time.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_damaged_logs_stay_while_their_logs_are_tried_again() {
    let logs = damaged_logs();
    let counts = "select (select count(*) from tasks), (select count(*) from jobs), (select count(*) from executors)";
    let cache = Columns::new();
    for run in ["cold", "warm"] {
        let server = cache.serve(logs.path(), &["--scan-interval", "100ms"]);
        let session = Session::open(&server).await;
        let in_memory = everything_in_memory(logs.path());
        let expected = ["tasks", "jobs", "executors"]
            .map(|table| in_memory.count(table).to_string())
            .join("|");
        assert_eq!(session.rows(counts).await, [expected.as_str()], "{run}");
        // Tries come 1, 2, 4 and 8 scans after one another.
        let scans = session.rows("select count(*) from system.scans").await[0]
            .parse::<u64>()
            .expect("a number");
        for at_least in [2, 4, 9, 18] {
            loop {
                let now = session.rows("select count(*) from system.scans").await[0]
                    .parse::<u64>()
                    .expect("a number");
                if now >= scans + at_least {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(
                session.rows(counts).await,
                [expected.as_str()],
                "{run}, after {at_least} scans"
            );
        }
        let commits = "select max(commits) from (select commits from system.scans order by start_time desc limit 10)";
        assert_eq!(
            session.rows(commits).await,
            ["0"],
            "{run}: what did not change is written again"
        );
    }
    let (after, _) = cache.everything(logs.path(), &[]);
    after.assert_same(&everything_in_memory(logs.path()), "afterwards");
}

#[test]
fn the_default_cache_is_one_for_each_set_of_sources() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = dir.path().join("home");
    fs::create_dir(&home).expect("a new directory");
    for name in ["one", "two"] {
        fs::create_dir(dir.path().join(name)).expect("a new directory");
        fs::write(dir.path().join(name).join("log"), log_of(name)).expect("room");
    }
    let ask = |logs: &Path| {
        let output = crate::support::program(&home)
            .args(["sql".as_ref(), logs.as_os_str()])
            .args(["--format", "ndjson", "-c", "select app_id, num_tasks from applications"])
            .output()
            .expect("the program starts");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    for _ in 0..2 {
        for name in ["one", "two"] {
            assert_eq!(
                ask(&dir.path().join(name)),
                format!("{{\"app_id\":\"{name}\",\"num_tasks\":4}}\n")
            );
        }
    }
    let caches = fs::read_dir(home.join("sparkgate")).expect("the caches").count();
    assert_eq!(caches, 2);
}
