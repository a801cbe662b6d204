//! SQL executions with their plans and metrics equal what Spark's history server answers, as text and in order.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::support;

/// Application, its attempt, execution.
pub(crate) type Key = (String, String, i64);

type Row = Map<String, Value>;

/// What [`shown`] puts together.
pub(crate) const EXECUTIONS: &str = "select * from sql_executions";
pub(crate) const NODES: &str = "select * from sql_plan_nodes order by app_id, attempt_id, execution_id, node_id desc";
pub(crate) const EDGES: &str = "select * from sql_plan_edges order by app_id, attempt_id, execution_id, edge_index";

#[test]
fn sql_executions_and_their_plans_equal_the_history_servers_answers_about_the_fixtures() {
    let fixtures = support::fixtures();
    hold_against(&fixtures.join("answers/answers.jsonl.gz"), &fixtures.join("logs"), 50);
}

#[test]
fn sql_executions_and_their_plans_equal_the_history_servers_answers_about_the_shared_logs() {
    let Some(shared) = support::shared() else {
        return support::say("parity of SQL: no shared logs beside this checkout; only the fixtures were compared");
    };
    let copy = tempfile::tempdir().expect("a temporary directory");
    support::copy_logs(
        &shared.join("spark-logs"),
        copy.path(),
        &["README.md", ".gitattributes"],
    );
    hold_against(&shared.join("spark-logs-answers/answers.jsonl.gz"), copy.path(), 80);
}

fn hold_against(answers: &Path, logs: &Path, at_least: usize) {
    let ours = executions(logs);
    let (mut compared, mut metrics) = (0, 0);
    for (path, key, theirs) in recorded(answers) {
        // Spark stops reading at the damaged line; `damaged.rs` looks at that log.
        if path.contains("local-garbage-json-dev") {
            continue;
        }
        let mine = ours
            .get(&key)
            .unwrap_or_else(|| panic!("{path}: {key:?} is not in the table"));
        for (field, expected) in theirs.as_object().expect("an execution is an object") {
            let got = &mine[field];
            let by_the_clock = field == "duration" && theirs["status"] == "RUNNING";
            let same = if by_the_clock { got.is_null() } else { got == expected };
            assert!(same, "{path} {key:?} {field}:\nexpected {expected}\ngot      {got}");
        }
        compared += 1;
        let nodes = theirs["nodes"].as_array().into_iter().flatten();
        metrics += nodes
            .map(|node| node["metrics"].as_array().map_or(0, Vec::len))
            .sum::<usize>();
    }
    support::say(&format!(
        "parity of SQL, {}: {compared} executions with {metrics} metrics equal",
        answers.display()
    ));
    assert!(compared >= at_least, "only {compared} executions");
}

/// Executions of the tables of a directory.
fn executions(logs: &Path) -> HashMap<Key, Value> {
    let rows = |sql| support::query(logs, sql);
    shown(rows(EXECUTIONS), rows(NODES), rows(EDGES))
}

/// Executions as REST would show them, from rows of [`EXECUTIONS`], [`NODES`] and [`EDGES`].
pub(crate) fn shown(executions: Vec<Row>, nodes: Vec<Row>, edges: Vec<Row>) -> HashMap<Key, Value> {
    let keyed = |rows: Vec<Row>| {
        rows.into_iter().map(|row| {
            let text = |name: &str| row[name].as_str().expect("a key").to_owned();
            let id = row["execution_id"].as_i64().expect("a key");
            ((text("app_id"), text("attempt_id"), id), row)
        })
    };
    let mut nodes_of: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
    for (key, row) in keyed(nodes) {
        let metrics = row["metrics"].as_array().expect("a list").iter();
        let metrics: Vec<Value> = metrics
            .map(|metric| json!({"name": metric["name"], "value": metric["value"]}))
            .collect();
        let mut node = json!({"nodeId": row["node_id"], "nodeName": row["node_name"], "metrics": metrics});
        if !row["whole_stage_codegen_id"].is_null() {
            node["wholeStageCodegenId"] = row["whole_stage_codegen_id"].clone();
        }
        nodes_of.entry(key).or_default().push(node);
    }
    let mut edges_of: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
    for (key, row) in keyed(edges) {
        let edge = json!({"fromId": row["from_id"], "toId": row["to_id"]});
        edges_of.entry(key).or_default().push(edge);
    }
    let executions = keyed(executions).map(|(key, row)| {
        let submitted = row["submission_time"].as_str().expect("an instant").replace('Z', "GMT");
        let shown = json!({
            "id": row["execution_id"],
            "status": row["status"],
            "description": row["description"],
            "planDescription": row["plan_description"],
            "submissionTime": submitted,
            "duration": row["duration_ms"],
            "runningJobIds": row["running_job_ids"],
            "successJobIds": row["success_job_ids"],
            "failedJobIds": row["failed_job_ids"],
            "nodes": nodes_of.remove(&key).unwrap_or_default(),
            "edges": edges_of.remove(&key).unwrap_or_default(),
        });
        (key, shown)
    });
    executions.collect()
}

/// The executions of the answers that show them whole, with the path of the answer.
fn recorded(file: &Path) -> Vec<(String, Key, Value)> {
    let packed = std::fs::File::open(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let lines = BufReader::new(flate2::read::GzDecoder::new(packed)).lines();
    let lines: Vec<String> = lines.map(|line| line.expect("the recording is whole")).collect();
    let read = |line: &str| -> Value { serde_json::from_str(line).expect("a recorded answer is JSON") };
    let mut found = Vec::new();
    for line in &lines {
        let wanted = ["{\"kind\": \"sql\",", "{\"kind\": \"sql/N\","];
        if !wanted.iter().any(|start| line.starts_with(start)) {
            continue;
        }
        let answer = read(line);
        if answer["a"]["status"] != 200 {
            continue;
        }
        // An answer that came before is named by its line.
        let same = answer["a"]["same"]
            .as_u64()
            .map(|at| usize::try_from(at).expect("a line"));
        let body = same.map_or_else(
            || answer["a"]["text"].clone(),
            |at| read(&lines[at])["a"]["text"].clone(),
        );
        let body = read(body.as_str().expect("an answer has a body"));
        let path = answer["path"].as_str().expect("an answer has its path");
        let Some(attempt) = attempt(path) else { continue };
        let one = std::slice::from_ref(&body);
        for execution in body.as_array().map_or(one, Vec::as_slice) {
            let id = execution["id"].as_i64().expect("an execution has an id");
            found.push((
                path.to_owned(),
                (attempt.0.clone(), attempt.1.clone(), id),
                execution.clone(),
            ));
        }
    }
    found
}

/// Application and attempt of `applications/<id>[/<attempt>]/sql…`.
fn attempt(path: &str) -> Option<(String, String)> {
    let mut segments = path.strip_prefix("applications/")?.split('/');
    let app_id = segments.next()?.replace("%3A", ":");
    let attempt_id = segments.next().filter(|segment| *segment != "sql").unwrap_or_default();
    Some((app_id, attempt_id.to_owned()))
}
