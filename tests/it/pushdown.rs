//! What a statement does not touch: other applications, tables whose size is known, lines behind a limit.

use std::fs;
use std::path::Path;

use crate::support::pg::Session;
use crate::support::{Server, copy_logs, fixtures};

const ALL_LINES: &str = "select count(json) from events";

async fn plan(session: &Session, sql: &str) -> String {
    session.rows(sql).await.join("\n")
}

/// Every `name=number` of the plan's lines with `operator`, added up.
fn sum(plan: &str, operator: &str, name: &str) -> u64 {
    let lines: Vec<&str> = plan.lines().filter(|line| line.contains(operator)).collect();
    assert!(!lines.is_empty(), "no {operator} in\n{plan}");
    let number = |line: &&str| {
        let (_, rest) = line
            .split_once(&format!("{name}="))
            .unwrap_or_else(|| panic!("no {name} in {line}"));
        let digits: String = rest
            .trim_start_matches('[')
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits
            .parse::<u64>()
            .unwrap_or_else(|_| panic!("{name} is no number in {line}"))
    };
    lines.iter().map(number).sum()
}

/// Rows that the plan's filter kept, of those that the scan below it gave: `selectivity=100% (65/65)`.
fn kept_and_read(plan: &str) -> (&str, &str) {
    let filter = plan
        .lines()
        .find(|line| line.contains("FilterExec"))
        .unwrap_or_else(|| panic!("no filter in\n{plan}"));
    let rows = filter
        .split_once("selectivity=")
        .and_then(|(_, rest)| rest.split_once('(')?.1.split_once(')'));
    let (kept, read) = rows
        .and_then(|(rows, _)| rows.split_once('/'))
        .unwrap_or_else(|| panic!("{filter}"));
    (kept, read)
}

/// A log in a directory of its own, served without further scans.
async fn serve_without_scans(logs: &Path) -> (Server, Session) {
    let server = Server::start_with(logs, &["--scan-interval", "1h"]);
    let session = Session::open(&server).await;
    (server, session)
}

/// Rows of an attempt are sorted, mostly, so a filter on what they are sorted by looks them up. That finds what a look at every row finds.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_on_the_key_finds_what_a_scan_finds() {
    let (_server, session) = serve_without_scans(&fixtures().join("logs")).await;
    let keys = [
        ("jobs", "job_id"),
        ("stages", "stage_id"),
        ("tasks", "stage_id"),
        ("stage_executors", "stage_id"),
        ("rdds", "rdd_id"),
        ("rdd_partitions", "rdd_id"),
        ("sql_executions", "execution_id"),
        ("sql_plan_nodes", "execution_id"),
        ("sql_plan_edges", "execution_id"),
    ];
    for (table, key) in keys {
        for value in [0, 1, 3, 7, 1000] {
            let count = async |filter: &str| {
                session
                    .rows(&format!(
                        "select count(*), count(distinct (app_id, {key})) from {table} where {filter}"
                    ))
                    .await
            };
            let found = count(&format!("{key} = {value}")).await;
            assert_eq!(found, count(&format!("{key} + 0 = {value}")).await, "{table}, {value}");
            let found = count(&format!("{key} in ({value}, 2)")).await;
            assert_eq!(
                found,
                count(&format!("{key} + 0 in ({value}, 2)")).await,
                "{table}, {value} and 2"
            );
        }
    }
    // Of one application, rows are looked up; of all, files and their parts are left out by their bounds.
    let app_id = session
        .rows("select max(app_id) from jobs where job_id = 1")
        .await
        .remove(0);
    let one = format!("explain analyze select job_id from jobs where job_id = 1 and app_id = '{app_id}'");
    let plan = plan(&session, &one).await;
    let (kept, read) = kept_and_read(&plan);
    assert_eq!(kept, read, "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_on_the_application_reads_the_rows_of_one() {
    let (_server, session) = serve_without_scans(&fixtures().join("logs")).await;
    let ids = "select app_id from applications where name = 'codec-zstd-4.1' and num_attempts = 1";
    let app_id = session.rows(ids).await.remove(0);
    // Those with less than a thousand rows an application: EXPLAIN rounds larger numbers.
    for table in ["application_attempts", "jobs", "stages", "tasks", "executors"] {
        let all = format!("select count(*), count(*) filter (where app_id = '{app_id}') from {table}");
        let counts = session.rows(&all).await.remove(0);
        let (of_all, of_one) = counts.split_once('|').expect("two columns");
        assert!(of_all != of_one && of_one != "0", "{table}: {counts}");

        let one = plan(
            &session,
            &format!("explain analyze select * from {table} where app_id = '{app_id}'"),
        )
        .await;
        assert_eq!(kept_and_read(&one), (of_one, of_one), "{table}:\n{one}");
        let none = plan(
            &session,
            &format!("explain select * from {table} where app_id = 'nobody'"),
        )
        .await;
        assert!(
            none.contains("EmptyExec") && !none.contains("DataSourceExec"),
            "{table}:\n{none}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_the_filter_that_name_applications_all_prune() {
    let (_server, session) = serve_without_scans(&fixtures().join("logs")).await;
    let ids = session
        .rows("select app_id from applications order by num_tasks desc limit 2")
        .await;
    let [one, two] = ids.as_slice() else {
        panic!("two applications in {ids:?}")
    };
    let rows = |app_ids: &str| format!("select count(*) from tasks where app_id || '' in ({app_ids})");
    let of_one = session.rows(&rows(&format!("'{one}'"))).await.remove(0);
    let of_both = session.rows(&rows(&format!("'{one}', '{two}'"))).await.remove(0);
    for (filter, expected) in [
        (
            format!("app_id = '{one}' and duration_ms >= 0 or app_id = '{one}' and duration_ms is null"),
            &of_one,
        ),
        (format!("'{one}' = app_id and attempt_id = ''"), &of_one),
        (format!("app_id in ('{one}', '{two}')"), &of_both),
        (format!("app_id = '{one}' or app_id = '{two}'"), &of_both),
    ] {
        let plan = plan(
            &session,
            &format!("explain analyze select task_id from tasks where {filter}"),
        )
        .await;
        assert_eq!(
            kept_and_read(&plan),
            (expected.as_str(), expected.as_str()),
            "{filter}:\n{plan}"
        );
    }

    // A prepared statement, as drivers send it, gives the same rows.
    let sql = "select count(*) from tasks where app_id = $1";
    let row = session.client.query_one(sql, &[one]).await.expect("an answer");
    assert_eq!(row.get::<_, i64>(0).to_string(), of_one);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_application_open_one_log() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    copy_logs(&fixtures().join("logs"), logs.path(), &[]);
    let (_server, session) = serve_without_scans(logs.path()).await;
    let paths = session
        .rows("select log_path from applications where name = 'codec-zstd-4.1'")
        .await;
    let one = paths.first().expect("an application");
    let app_id = session
        .rows("select app_id from applications where name = 'codec-zstd-4.1'")
        .await
        .remove(0);
    let sql = format!("select count(json) from events where app_id = '{app_id}'");
    let before = session.rows(&sql).await;
    assert!(session.rows(ALL_LINES).await != before && before != ["0"]);

    // Of the logs only this one is left, and nobody has looked since.
    for entry in fs::read_dir(logs.path())
        .expect("the logs")
        .map(|entry| entry.expect("an entry"))
    {
        let path = entry.path();
        match path {
            path if path.to_str() == Some(one) => {}
            path if path.is_dir() => fs::remove_dir_all(path).expect("ours"),
            path => fs::remove_file(path).expect("ours"),
        }
    }
    assert_eq!(session.rows(&sql).await, before);
    assert_ne!(
        session.code(ALL_LINES).await,
        "success",
        "the other logs are opened without the filter"
    );
    let plan = plan(
        &session,
        &format!("explain select * from events where app_id = '{app_id}'"),
    )
    .await;
    assert_eq!(sum(&plan, "StreamingTableExec", "partition_sizes"), 1, "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_a_whole_table_scans_nothing() {
    let (_server, session) = serve_without_scans(&fixtures().join("logs")).await;
    for table in sparkgate::table::all() {
        let sql = format!("select count(*) from {}", table.sql_name());
        let ids = format!("select count(app_id || '') from {}", table.sql_name());
        assert_eq!(session.rows(&sql).await, session.rows(&ids).await, "{}", table.name);
        // Its rows are packed: they are counted by what each section says it has.
        if table.name == "environment" {
            let plan = plan(&session, &format!("explain {sql}")).await;
            assert!(
                plan.contains("num_properties") || !plan.contains("projection="),
                "{plan}"
            );
            continue;
        }
        let plan = plan(&session, &format!("explain {sql}")).await;
        assert!(
            plan.contains("PlaceholderRowExec") && !plan.contains("DataSourceExec"),
            "{plan}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_events_stops_before_the_end_of_the_log() {
    // Two files of 300 000 lines each: many batches.
    let logs = tempfile::tempdir().expect("a temporary directory");
    let folder = logs.path().join("eventlog_v2_local-good");
    fs::create_dir(&folder).expect("a new directory");
    let good = fs::read_to_string(fixtures().join("damaged/local-good")).expect("the good log");
    let filler = "{\"Event\":\"SparkListenerNotInventedYet\",\"number\":1}\n".repeat(300_000);
    fs::write(folder.join("appstatus_local-good"), "").expect("room");
    fs::write(folder.join("events_1_local-good"), good.clone() + &filler).expect("room");
    let second = folder.join("events_2_local-good");
    fs::write(&second, filler).expect("room");
    let (_server, session) = serve_without_scans(logs.path()).await;
    assert_eq!(
        session.rows(ALL_LINES).await,
        [(good.lines().count() + 600_000).to_string()]
    );

    // The second file vanishes: who reads that far fails.
    fs::remove_file(second).expect("ours");
    assert_ne!(session.code(ALL_LINES).await, "success");
    for filter in [
        "",
        "where app_id = 'local-good'",
        "where event = 'SparkListenerTaskEnd'",
    ] {
        let sql = format!("select line_number from events {filter} limit 3");
        assert_eq!(session.rows(&sql).await.len(), 3, "{filter}");
    }
    let limited = "select line_number, event from events limit 3";
    let plan = plan(&session, &format!("explain analyze {limited}")).await;
    assert_eq!(sum(&plan, "StreamingTableExec", "output_rows"), 3, "{plan}");
    assert_eq!(session.rows(limited).await[0], "1|SparkListenerLogStart");
}
