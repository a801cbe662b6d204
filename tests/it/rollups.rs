//! The rows of the schema `rollup` that are stored are those of the SQL that defines them, over the base tables, value for value.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sparkgate::table::{self, TableDef};

use crate::support::http::Client;
use crate::support::pg::Session;
use crate::support::{Server, fixtures, say, shared};

fn stored() -> Vec<&'static TableDef> {
    let rollups = table::all().iter().filter(|table| table.schema == "rollup");
    rollups.copied().collect()
}

/// The statement of `sql/rollups` that says what a table's rows are.
fn definition(table: &TableDef) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("sql/rollups/{}.sql", table.name));
    std::fs::read_to_string(path).expect("every stored rollup has a definition")
}

fn all_logs() -> Vec<PathBuf> {
    let mut all = vec![fixtures().join("logs"), fixtures().join("damaged")];
    match shared() {
        Some(shared) => all.extend([shared.join("spark-logs"), shared.join("spark-conformance/events")]),
        None => say("rollups: nothing shared beside the checkout"),
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_rows_are_those_of_the_sql_that_defines_them() {
    for logs in all_logs() {
        let server = Server::start(&logs);
        let session = Session::open(&server).await;
        for (table, rows) in assert_stored_is_defined(&session, &logs.display().to_string()).await {
            assert!(rows > 1, "{rows} rows of {table}, {}", logs.display());
        }
    }
}

/// Compares every stored rollup with its definition; the number of rows of each.
pub(crate) async fn assert_stored_is_defined(session: &Session, what: &str) -> Vec<(&'static str, usize)> {
    let mut compared = Vec::new();
    for table in stored() {
        let order = table.sort_order.join(", ");
        let stored = format!("select * from {} order by {order}", table.sql_name());
        let defined = format!("select * from ({}) as defined order by {order}", definition(table));
        let (stored, defined) = (session.objects(&stored).await, session.objects(&defined).await);
        for (stored, defined) in stored.iter().zip(&defined) {
            assert_eq!(stored, defined, "{} of {what}", table.name);
        }
        assert_eq!(stored.len(), defined.len(), "{} of {what}", table.name);
        compared.push((table.name, stored.len()));
    }
    compared
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_has_the_columns_of_its_table() {
    let server = Server::start(&fixtures().join("logs"));
    let session = Session::open(&server).await;
    for table in stored() {
        let mut columns = Vec::new();
        for sql in [format!("select * from {}", table.sql_name()), definition(table)] {
            let statement = session.client.prepare(&sql).await.expect("it can be planned");
            let described = statement.columns().iter();
            columns.push(
                described
                    .map(|c| (c.name().to_owned(), c.type_().clone()))
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(columns[0], columns[1], "{}", table.name);
        let names: Vec<&str> = columns[0].iter().map(|(name, _)| name.as_str()).collect();
        let documented: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(names, documented, "{}", table.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn task_summary_is_the_same_from_stored_quantiles_and_from_tasks() {
    const STORED: [&str; 7] = ["0.0", "0.05", "0.25", "0.5", "0.75", "0.95", "1.0"];
    let mut stages_of = [0; 2];
    for logs in all_logs() {
        let server = Server::start(&logs);
        let session = Session::open(&server).await;
        let mut rest = Client::open(server.http);
        let stages = "select app_id, attempt_id, stage_id, stage_attempt_id, num_complete_tasks < num_tasks as some_failed, \
                      has_uniform_metrics and num_complete_tasks > 0 as is_stored from rollup.stage_summary order by 1, 2, 3, 4";
        // A few applications have hundreds of stages of one kind.
        for stage in session.objects(stages).await.into_iter().step_by(3) {
            let id = |column: &str| stage[column].to_string().trim_matches('"').to_owned();
            let attempt = [id("app_id"), id("attempt_id")].join("/");
            let attempt = attempt.trim_end_matches('/');
            let [stage_id, stage_attempt_id] = ["stage_id", "stage_attempt_id"].map(id);
            let mut answer = |quantiles: &[&str]| {
                let quantiles = quantiles.join(",");
                let path = format!(
                    "/api/v1/applications/{attempt}/stages/{stage_id}/{stage_attempt_id}/taskSummary?quantiles={quantiles}"
                );
                let answer = rest.get(&path);
                match answer.status() == 200 {
                    true => answer.json(),
                    false => json!({"status": answer.status(), "text": answer.text()}),
                }
            };
            let stored = answer(&STORED);
            // One that is not stored, so that all of them come from tasks; it sorts last.
            let mut from_tasks = answer(&[&STORED[..], &["1.5"]].concat());
            drop_last(&mut from_tasks);
            assert_eq!(stored, from_tasks, "{attempt} {stage_id} {stage_attempt_id}");
            if stage["is_stored"] == true {
                stages_of[usize::from(stage["some_failed"] == true)] += 1;
            }
        }
    }
    assert!(stages_of.iter().all(|stages| *stages > 1), "{stages_of:?}");
}

/// Drops the last item of every list.
fn drop_last(value: &mut Value) {
    match value {
        Value::Array(items) => drop(items.pop()),
        Value::Object(members) => members.values_mut().for_each(drop_last),
        _ => {}
    }
}
