//! SQL and REST of one server agree: every value of REST is in its column, and what REST counts and sums is what SQL counts and sums over
//! `tasks`. A statement of `sql/rest` that filters, sums or sorts wrongly fails here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};
use sparkgate::table;

use crate::answers::{Answer, answered};
use crate::comparison::{Comparison, ENTITIES, ENVIRONMENT, Tables};
use crate::sql_parity::{EDGES, EXECUTIONS, NODES, shown};
use crate::support::http::Client;
use crate::support::pg::Session;
use crate::support::{Server, fixtures, say, text};

type Row = Map<String, Value>;

/// An attempt of an application, with its path below `/api/v1/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Attempt {
    app_id: String,
    attempt_id: String,
    path: String,
}

/// Both doors of one server.
struct Doors {
    sql: Session,
    rest: Client,
    attempts: Vec<Attempt>,
    _server: Server,
}

impl Doors {
    async fn open() -> Doors {
        let server = Server::start(&fixtures().join("logs"));
        let sql = Session::open(&server).await;
        let rows = sql
            .objects("select app_id, attempt_id from application_attempts order by 1, 2")
            .await;
        let attempts = rows.iter().map(|row| {
            let (app_id, attempt_id) = (text(row, "app_id").to_owned(), text(row, "attempt_id").to_owned());
            let path = match attempt_id.as_str() {
                "" => format!("applications/{app_id}"),
                id => format!("applications/{app_id}/{id}"),
            };
            Attempt {
                app_id,
                attempt_id,
                path,
            }
        });
        let attempts: Vec<Attempt> = attempts.collect();
        assert!(attempts.len() >= 30, "{} attempts", attempts.len());
        Doors {
            sql,
            rest: Client::open(server.http),
            attempts,
            _server: server,
        }
    }

    /// An answer about an attempt.
    fn rest(&mut self, attempt: &Attempt, resource: &str) -> Value {
        self.rest.rest(&format!("{}/{resource}", attempt.path))
    }

    /// Rows by attempt.
    async fn by_attempt(&self, sql: &str) -> HashMap<(String, String), Vec<Row>> {
        let mut rows: HashMap<_, Vec<Row>> = HashMap::new();
        for row in self.sql.objects(sql).await {
            let key = (text(&row, "app_id").to_owned(), text(&row, "attempt_id").to_owned());
            rows.entry(key).or_default().push(row);
        }
        rows
    }
}

/// Rows of an attempt of [`Doors::by_attempt`].
fn of<'a>(rows: &'a HashMap<(String, String), Vec<Row>>, attempt: &Attempt) -> &'a [Row] {
    let key = (attempt.app_id.clone(), attempt.attempt_id.clone());
    rows.get(&key).map_or(&[], Vec::as_slice)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn number(row: &Row, column: &str) -> i64 {
    row[column].as_i64().unwrap_or_default()
}

/// Columns that are named as fields of REST are equal to these fields. Gives how many.
fn assert_fields(what: &str, rest: &Value, row: &Row) -> usize {
    let fields = row.iter().filter(|(name, _)| !name.contains('_'));
    let compared = fields.map(|(name, expected)| {
        let expected = if expected.is_null() { &json!(0) } else { expected };
        assert_eq!(&rest[name], expected, "{what}: {name}");
    });
    compared.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_rest_is_in_its_column_and_its_totals_are_sums_over_tasks() {
    let mut doors = Doors::open().await;
    let mut tables = Tables::new();
    let names = ENTITIES.iter().map(|entity| entity.table).chain([ENVIRONMENT]);
    for name in names {
        let mut rows = doors.sql.objects(&format!("select * from {name}")).await;
        rows.iter_mut().flat_map(|row| row.values_mut()).for_each(make_plain);
        tables.insert(name.to_owned(), rows);
    }
    let mut answers = Vec::new();
    let mut ask = |path: &str| {
        let mut body = doors.rest.rest(path);
        make_plain(&mut body);
        answers.push(answered(path, body).expect("a path about entities"));
    };
    ask("applications");
    let ids: BTreeSet<&str> = doors.attempts.iter().map(|attempt| attempt.app_id.as_str()).collect();
    for id in ids {
        ask(&format!("applications/{id}"));
    }
    for attempt in &doors.attempts {
        if !attempt.attempt_id.is_empty() {
            ask(&attempt.path);
        }
        for resource in [
            "jobs",
            "stages?details=true",
            "executors",
            "allexecutors",
            "allmiscellaneousprocess",
            "storage/rdd",
            "environment",
        ] {
            ask(&format!("{}/{resource}", attempt.path));
        }
        let is_of_attempt = |row: &&Row| {
            (text(row, "app_id"), text(row, "attempt_id")) == (attempt.app_id.as_str(), attempt.attempt_id.as_str())
        };
        for row in tables["rdds"].iter().filter(is_of_attempt) {
            ask(&format!("{}/storage/rdd/{}", attempt.path, row["rdd_id"]));
        }
    }
    let columns = |name: &str| table::all().iter().find(|def| def.name == name).map(|def| def.columns);
    let comparison = Comparison::run(&answers, &tables, &["miscellaneous_processes"], columns);
    say(&format!("REST and SQL: {}", comparison.summary()));
    assert!(comparison.is_clean(), "REST differs from SQL:\n{}", comparison.report());

    applications_stand_in_the_order_of_their_ends(&answers[0].body, &tables);
    let compared = stages_are_sums_over_tasks(&doors, &answers).await
        + jobs_are_sums_over_the_tasks_of_their_stages(&doors, &answers).await
        + executors_are_sums_over_their_tasks(&doors, &answers).await;
    say(&format!(
        "REST and SQL: {compared} totals of REST equal sums over tasks"
    ));
    assert!(compared > 5000, "{compared}");
}

/// The wire writes `1.0` inside of JSON as `1`, which is the same number.
fn make_plain(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|n| number.is_f64() && n.fract() == 0.0) {
                *value = serde_json::from_str(&format!("{whole:.0}")).expect("a number");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_plain),
        Value::Object(fields) => fields.values_mut().for_each(make_plain),
        _ => {}
    }
}

/// The answer about a resource of an attempt.
fn answer<'a>(answers: &'a [Answer], attempt: &Attempt, resource: &str) -> &'a [Value] {
    let path = format!("{}/{resource}", attempt.path);
    let found = answers.iter().find(|answer| answer.path == path);
    list(&found.unwrap_or_else(|| panic!("{path} was not asked")).body)
}

/// Newest end first, then by descending id; attempts by descending start. `lastUpdated` is the log's, which no recorded answer can hold.
fn applications_stand_in_the_order_of_their_ends(applications: &Value, tables: &Tables) {
    let mut rows: Vec<&Row> = tables["applications"].iter().collect();
    rows.sort_by_key(|row| (text(row, "end_time"), text(row, "app_id")));
    rows.reverse();
    let expected: Vec<&str> = rows.iter().map(|row| text(row, "app_id")).collect();
    let got: Vec<&str> = list(applications)
        .iter()
        .map(|app| app["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(got, expected);
    for application in list(applications) {
        let mut attempts: Vec<&Row> = tables["application_attempts"].iter().collect();
        attempts.retain(|row| row["app_id"] == application["id"]);
        attempts.sort_by_key(|row| std::cmp::Reverse(text(row, "start_time")));
        let expected: Vec<String> = attempts
            .iter()
            .map(|row| {
                format!(
                    "{} {}",
                    text(row, "attempt_id"),
                    text(row, "last_updated").replace('Z', "GMT")
                )
            })
            .collect();
        let field = |attempt: &Value, name: &str| attempt[name].as_str().unwrap_or_default().to_owned();
        let got: Vec<String> = list(&application["attempts"])
            .iter()
            .map(|attempt| format!("{} {}", field(attempt, "attemptId"), field(attempt, "lastUpdated")))
            .collect();
        assert_eq!(got, expected, "{}", application["id"]);
    }
}

/// What a stage or an executor of a stage adds up over `tasks`, as SQL, by field of REST. Every attempt of a task counts, whether it succeeded or
/// ended after its stage: Spark takes the metrics from the end of the task.
const STAGE_SUMS: &[(&str, &str)] = &[
    ("numActiveTasks", "count(*) filter (where status = 'RUNNING')"),
    ("numCompleteTasks", "count(*) filter (where status = 'SUCCESS')"),
    ("numFailedTasks", "count(*) filter (where status = 'FAILED')"),
    ("numKilledTasks", "count(*) filter (where status = 'KILLED')"),
    (
        "numCompletedIndices",
        "count(distinct task_index) filter (where status = 'SUCCESS')",
    ),
    ("executorDeserializeTime", "sum(executor_deserialize_time_ms)"),
    ("executorDeserializeCpuTime", "sum(executor_deserialize_cpu_time_ns)"),
    ("executorRunTime", "sum(executor_run_time_ms)"),
    ("executorCpuTime", "sum(executor_cpu_time_ns)"),
    ("resultSize", "sum(result_size_bytes)"),
    ("jvmGcTime", "sum(jvm_gc_time_ms)"),
    ("resultSerializationTime", "sum(result_serialization_time_ms)"),
    ("memoryBytesSpilled", "sum(memory_bytes_spilled)"),
    ("diskBytesSpilled", "sum(disk_bytes_spilled)"),
    ("peakExecutionMemory", "sum(peak_execution_memory_bytes)"),
    ("inputBytes", "sum(input_bytes)"),
    ("inputRecords", "sum(input_records)"),
    ("outputBytes", "sum(output_bytes)"),
    ("outputRecords", "sum(output_records)"),
    ("shuffleRemoteBlocksFetched", "sum(shuffle_remote_blocks_fetched)"),
    ("shuffleLocalBlocksFetched", "sum(shuffle_local_blocks_fetched)"),
    ("shuffleFetchWaitTime", "sum(shuffle_fetch_wait_time_ms)"),
    ("shuffleRemoteBytesRead", "sum(shuffle_remote_bytes_read)"),
    ("shuffleRemoteBytesReadToDisk", "sum(shuffle_remote_bytes_read_to_disk)"),
    ("shuffleLocalBytesRead", "sum(shuffle_local_bytes_read)"),
    (
        "shuffleReadBytes",
        "sum(shuffle_remote_bytes_read + shuffle_local_bytes_read)",
    ),
    ("shuffleReadRecords", "sum(shuffle_read_records)"),
    ("shuffleWriteBytes", "sum(shuffle_write_bytes)"),
    ("shuffleWriteTime", "sum(shuffle_write_time_ns)"),
    ("shuffleWriteRecords", "sum(shuffle_write_records)"),
];

const EXECUTOR_OF_STAGE_SUMS: &[(&str, &str)] = &[
    ("taskTime", "sum(duration_ms)"),
    ("failedTasks", "count(*) filter (where status = 'FAILED')"),
    ("succeededTasks", "count(*) filter (where status = 'SUCCESS')"),
    ("killedTasks", "count(*) filter (where status = 'KILLED')"),
    ("inputBytes", "sum(input_bytes)"),
    ("inputRecords", "sum(input_records)"),
    ("outputBytes", "sum(output_bytes)"),
    ("outputRecords", "sum(output_records)"),
    (
        "shuffleRead",
        "sum(shuffle_remote_bytes_read + shuffle_local_bytes_read)",
    ),
    ("shuffleReadRecords", "sum(shuffle_read_records)"),
    ("shuffleWrite", "sum(shuffle_write_bytes)"),
    ("shuffleWriteRecords", "sum(shuffle_write_records)"),
    ("memoryBytesSpilled", "sum(memory_bytes_spilled)"),
    ("diskBytesSpilled", "sum(disk_bytes_spilled)"),
];

const EXECUTOR_SUMS: &[(&str, &str)] = &[
    ("activeTasks", "count(*) filter (where status = 'RUNNING')"),
    ("failedTasks", "count(*) filter (where status = 'FAILED')"),
    ("completedTasks", "count(*) filter (where status = 'SUCCESS')"),
    ("totalTasks", "count(*)"),
    ("totalDuration", "sum(duration_ms)"),
    ("totalGCTime", "sum(jvm_gc_time_ms)"),
    ("totalInputBytes", "sum(input_bytes)"),
    (
        "totalShuffleRead",
        "sum(shuffle_remote_bytes_read + shuffle_local_bytes_read)",
    ),
    ("totalShuffleWrite", "sum(shuffle_write_bytes)"),
];

/// `select` over tasks, grouped by `keys`, with a column for each field.
fn sums(keys: &str, fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(field, sum)| format!("{sum} as \"{field}\""))
        .collect();
    format!("select {keys}, {} from tasks group by {keys}", fields.join(", "))
}

async fn stages_are_sums_over_tasks(doors: &Doors, answers: &[Answer]) -> usize {
    let keys = "app_id, attempt_id, stage_id, stage_attempt_id";
    let sums_of_stages = doors.by_attempt(&sums(keys, STAGE_SUMS)).await;
    let keys = format!("{keys}, executor_id");
    let sums_of_executors = doors.by_attempt(&sums(&keys, EXECUTOR_OF_STAGE_SUMS)).await;
    let mut compared = 0;
    for attempt in &doors.attempts {
        for stage in answer(answers, attempt, "stages?details=true") {
            let what = format!("{} stage {}/{}", attempt.path, stage["stageId"], stage["attemptId"]);
            let is_of_stage =
                |row: &&Row| row["stage_id"] == stage["stageId"] && row["stage_attempt_id"] == stage["attemptId"];
            match of(&sums_of_stages, attempt).iter().find(is_of_stage) {
                Some(row) => compared += assert_fields(&what, stage, row),
                None => {
                    for (field, _) in STAGE_SUMS {
                        assert_eq!(stage[*field], 0, "{what} has no tasks: {field}");
                    }
                }
            }
            let executors = stage["executorSummary"].as_object().expect("details");
            let rows: Vec<&Row> = of(&sums_of_executors, attempt).iter().filter(is_of_stage).collect();
            for row in &rows {
                let id = text(row, "executor_id");
                // One whose only task runs has done nothing yet.
                if let Some(executor) = executors.get(id) {
                    compared += assert_fields(&format!("{what}, executor {id}"), executor, row);
                } else {
                    let ended = ["failedTasks", "succeededTasks", "killedTasks"];
                    assert!(ended.iter().all(|field| row[*field] == 0), "{what}: no executor {id}");
                }
            }
            // The driver's memory is measured in each stage although it runs no tasks of a cluster.
            let without_tasks = executors
                .keys()
                .filter(|id| !rows.iter().any(|row| text(row, "executor_id") == *id));
            for id in without_tasks {
                let done = EXECUTOR_OF_STAGE_SUMS.iter().map(|(field, _)| &executors[id][*field]);
                assert!(done.clone().all(|value| value == 0), "{what}, executor {id}: {done:?}");
            }
        }
    }
    compared
}

/// A job counts the tasks of its stages but those that had completed before it started. A stage that is tried again counts once
/// when it completes, its tasks' places too.
const JOB_SUMS: &str = r#"
with tasks_of_stages as (
  select s.app_id, s.attempt_id, s.stage_id, s.stage_attempt_id, s.status, s.num_tasks, s.completion_time,
    t.task_id, t.task_index, t.status as task_status
  from stages s
  left join tasks t on t.app_id = s.app_id and t.attempt_id = s.attempt_id
    and t.stage_id = s.stage_id and t.stage_attempt_id = s.stage_attempt_id
), stages_of_jobs as (
  select app_id, attempt_id, job_id, submission_time, unnest(stage_ids) as stage_id from jobs
), planned as (
  select j.app_id, j.attempt_id, j.job_id, sum(s.num_tasks) as tasks,
    sum(case when s.status = 'SKIPPED' then s.num_tasks else 0 end) as skipped
  from stages_of_jobs j
  join stages s on s.app_id = j.app_id and s.attempt_id = j.attempt_id and s.stage_id = j.stage_id
  where s.stage_attempt_id = 0 and (s.completion_time is null or s.completion_time > j.submission_time)
  group by 1, 2, 3
), done as (
  select j.app_id, j.attempt_id, j.job_id,
    count(*) filter (where task_status = 'RUNNING') as active,
    count(*) filter (where task_status = 'SUCCESS') as completed,
    count(*) filter (where task_status = 'FAILED') as failed,
    count(*) filter (where task_status = 'KILLED') as killed,
    count(distinct cast(j.stage_id as text) || '/' || cast(task_index as text)) filter (where task_status = 'SUCCESS') as indices,
    count(distinct j.stage_id) filter (where t.status = 'COMPLETE') as complete_stages,
    count(distinct j.stage_id) filter (where t.status = 'ACTIVE') as active_stages,
    count(distinct j.stage_id) filter (where t.status = 'SKIPPED') as skipped_stages,
    count(distinct cast(j.stage_id as text) || '/' || cast(t.stage_attempt_id as text)) filter (where t.status = 'FAILED') as failed_stages
  from stages_of_jobs j
  join tasks_of_stages t on t.app_id = j.app_id and t.attempt_id = j.attempt_id and t.stage_id = j.stage_id
  where t.completion_time is null or t.completion_time > j.submission_time
  group by 1, 2, 3
)
select p.app_id, p.attempt_id, p.job_id,
  tasks as "numTasks", skipped as "numSkippedTasks", active as "numActiveTasks", completed as "numCompletedTasks",
  failed as "numFailedTasks", killed as "numKilledTasks", indices as "numCompletedIndices",
  active_stages as "numActiveStages", complete_stages as "numCompletedStages", skipped_stages as "numSkippedStages",
  failed_stages as "numFailedStages"
from planned p
join done d on d.app_id = p.app_id and d.attempt_id = p.attempt_id and d.job_id = p.job_id"#;

async fn jobs_are_sums_over_the_tasks_of_their_stages(doors: &Doors, answers: &[Answer]) -> usize {
    let rows = doors.by_attempt(JOB_SUMS).await;
    let mut compared = 0;
    for attempt in &doors.attempts {
        let jobs = answer(answers, attempt, "jobs");
        let newest_first: Vec<i64> = jobs.iter().map(|job| job["jobId"].as_i64().expect("an id")).collect();
        assert!(
            newest_first.is_sorted_by(|a, b| a > b),
            "{}: {newest_first:?}",
            attempt.path
        );
        for job in jobs {
            let row = of(&rows, attempt).iter().find(|row| row["job_id"] == job["jobId"]);
            let what = format!("{} job {}", attempt.path, job["jobId"]);
            let row = row.unwrap_or_else(|| panic!("{what} has no stages"));
            compared += assert_fields(&what, job, row);
        }
    }
    compared
}

async fn executors_are_sums_over_their_tasks(doors: &Doors, answers: &[Answer]) -> usize {
    let rows = doors
        .by_attempt(&sums("app_id, attempt_id, executor_id", EXECUTOR_SUMS))
        .await;
    let all = doors
        .by_attempt("select app_id, attempt_id, executor_id, is_active from executors")
        .await;
    let durations = doors
        .by_attempt("select app_id, attempt_id, duration_ms from application_attempts")
        .await;
    let mut compared = 0;
    for attempt in &doors.attempts {
        let executors = answer(answers, attempt, "allexecutors");
        for executor in executors {
            let id = executor["id"].as_str().expect("an id");
            let what = format!("{} executor {id}", attempt.path);
            let no_tasks: Row = EXECUTOR_SUMS
                .iter()
                .map(|(field, _)| ((*field).to_owned(), json!(0)))
                .collect();
            let row = of(&rows, attempt).iter().find(|row| text(row, "executor_id") == id);
            let mut row = row.unwrap_or(&no_tasks).clone();
            if id == "driver" {
                // Spark takes the driver's life for its duration, and its collections from executor metrics.
                row.remove("totalGCTime");
                row.remove("totalDuration");
                let duration = &of(&durations, attempt)[0]["duration_ms"];
                assert!(duration.is_null() || executor["totalDuration"] == *duration, "{what}");
            }
            compared += assert_fields(&what, executor, &row);
        }
        let mut active: Vec<&str> = of(&all, attempt)
            .iter()
            .filter(|row| row["is_active"] == true)
            .map(|row| text(row, "executor_id"))
            .collect();
        active.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(
            ids(answer(answers, attempt, "executors"), "id"),
            active,
            "{}",
            attempt.path
        );
    }
    compared
}

fn ids<'a>(items: &'a [Value], field: &str) -> Vec<&'a str> {
    items.iter().map(|item| item[field].as_str().expect("an id")).collect()
}

fn numbers(items: &[Value], field: &str) -> Vec<i64> {
    items
        .iter()
        .map(|item| item[field].as_i64().expect("a number"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_executions_of_rest_are_the_rows_of_the_tables() {
    let mut doors = Doors::open().await;
    let executions = shown(
        doors.sql.objects(EXECUTIONS).await,
        doors.sql.objects(NODES).await,
        doors.sql.objects(EDGES).await,
    );
    let mut metrics = 0;
    for attempt in doors.attempts.clone() {
        let of_attempt = |(app_id, attempt_id, _): &&(String, String, i64)| {
            (app_id, attempt_id) == (&attempt.app_id, &attempt.attempt_id)
        };
        let mut keys: Vec<_> = executions.keys().filter(of_attempt).collect();
        keys.sort();
        let all = doors.rest(&attempt, "sql?length=1000");
        assert_eq!(list(&all).len(), keys.len(), "{}", attempt.path);
        for (got, key) in list(&all).iter().zip(&keys) {
            for (field, expected) in executions[*key].as_object().expect("an execution") {
                // Of one that runs, REST shows the time until now.
                if !(field == "duration" && expected.is_null()) {
                    assert_eq!(&got[field], expected, "{key:?} {field}");
                }
            }
            let nodes = list(&got["nodes"]).iter();
            metrics += nodes.map(|node| list(&node["metrics"]).len()).sum::<usize>();
        }
        let Some((_, _, last)) = keys.last() else { continue };
        let ids: Vec<i64> = keys.iter().map(|key| key.2).collect();
        let page = doors.rest(&attempt, "sql?details=false&planDescription=false&offset=1&length=2");
        let expected: Vec<i64> = ids.iter().copied().skip(1).take(2).collect();
        assert_eq!(numbers(list(&page), "id"), expected, "{}", attempt.path);
        for execution in list(&page) {
            assert_eq!(
                (&execution["nodes"], &execution["planDescription"]),
                (&json!([]), &json!(""))
            );
        }
        let one = doors.rest(&attempt, &format!("sql/{last}"));
        let of_list = list(&all).last().expect("one");
        let is_running = one["status"] == "RUNNING";
        assert!(
            is_running || one == *of_list,
            "{} {last}: {one}\n{of_list}",
            attempt.path
        );
    }
    assert!(
        executions.len() > 50 && metrics > 500,
        "{} executions, {metrics} metrics",
        executions.len()
    );
}

/// Fields of `taskSummary` that are metrics of successful tasks, with their columns.
const TASK_METRICS: &[(&str, &[&str])] = &[
    ("executorDeserializeTime", &["executor_deserialize_time_ms"]),
    ("executorDeserializeCpuTime", &["executor_deserialize_cpu_time_ns"]),
    ("executorRunTime", &["executor_run_time_ms"]),
    ("executorCpuTime", &["executor_cpu_time_ns"]),
    ("resultSize", &["result_size_bytes"]),
    ("jvmGcTime", &["jvm_gc_time_ms"]),
    ("resultSerializationTime", &["result_serialization_time_ms"]),
    ("peakExecutionMemory", &["peak_execution_memory_bytes"]),
    ("memoryBytesSpilled", &["memory_bytes_spilled"]),
    ("diskBytesSpilled", &["disk_bytes_spilled"]),
    ("inputMetrics.bytesRead", &["input_bytes"]),
    ("inputMetrics.recordsRead", &["input_records"]),
    ("outputMetrics.bytesWritten", &["output_bytes"]),
    ("outputMetrics.recordsWritten", &["output_records"]),
    (
        "shuffleReadMetrics.readBytes",
        &["shuffle_remote_bytes_read", "shuffle_local_bytes_read"],
    ),
    ("shuffleReadMetrics.readRecords", &["shuffle_read_records"]),
    (
        "shuffleReadMetrics.remoteBlocksFetched",
        &["shuffle_remote_blocks_fetched"],
    ),
    (
        "shuffleReadMetrics.localBlocksFetched",
        &["shuffle_local_blocks_fetched"],
    ),
    ("shuffleReadMetrics.fetchWaitTime", &["shuffle_fetch_wait_time_ms"]),
    ("shuffleReadMetrics.remoteBytesRead", &["shuffle_remote_bytes_read"]),
    (
        "shuffleReadMetrics.remoteBytesReadToDisk",
        &["shuffle_remote_bytes_read_to_disk"],
    ),
    (
        "shuffleReadMetrics.totalBlocksFetched",
        &["shuffle_remote_blocks_fetched", "shuffle_local_blocks_fetched"],
    ),
    (
        "shuffleReadMetrics.remoteReqsDuration",
        &["shuffle_remote_reqs_duration_ms"],
    ),
    (
        "shuffleReadMetrics.shufflePushReadMetricsDist.localMergedBytesRead",
        &["shuffle_merged_local_bytes_read"],
    ),
    ("shuffleWriteMetrics.writeBytes", &["shuffle_write_bytes"]),
    ("shuffleWriteMetrics.writeRecords", &["shuffle_write_records"]),
    ("shuffleWriteMetrics.writeTime", &["shuffle_write_time_ns"]),
];

/// Fields of `executorMetricsDistributions`, with the columns of `stage_executors`.
const EXECUTOR_METRICS: &[(&str, &str)] = &[
    ("taskTime", "task_time_ms"),
    ("failedTasks", "failed_tasks"),
    ("succeededTasks", "succeeded_tasks"),
    ("killedTasks", "killed_tasks"),
    ("inputBytes", "input_bytes"),
    ("inputRecords", "input_records"),
    ("outputBytes", "output_bytes"),
    ("outputRecords", "output_records"),
    ("shuffleRead", "shuffle_read_bytes"),
    ("shuffleReadRecords", "shuffle_read_records"),
    ("shuffleWrite", "shuffle_write_bytes"),
    ("shuffleWriteRecords", "shuffle_write_records"),
    ("memoryBytesSpilled", "memory_bytes_spilled"),
    ("diskBytesSpilled", "disk_bytes_spilled"),
];

/// Spark's rule: of `n` that count, the quantile `q` is the value at place `min(floor(q * n), n - 1)` of the sorted ones.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "some tasks"
)]
fn quantiles(mut values: Vec<i64>, counted: usize, quantiles: &[f64]) -> Value {
    values.sort_unstable();
    let place = |q: &f64| ((q * counted as f64) as usize).min(counted - 1);
    quantiles.iter().map(|q| values[place(q)] as f64).collect()
}

/// The value of `a.b.c`.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| &value[name])
}

fn millis(row: &Row, column: &str) -> Option<i64> {
    let time = chrono::DateTime::parse_from_rfc3339(row[column].as_str()?).expect("an instant");
    Some(time.timestamp_millis())
}

/// Every distribution of a stage, recomputed from its tasks; `last_updated` stands for the end of those that run.
fn assert_distributions(what: &str, got: &Value, tasks: &[&Row], last_updated: i64, places: &[f64]) {
    let succeeded: Vec<&&Row> = tasks.iter().filter(|row| text(row, "status") == "SUCCESS").collect();
    let n = succeeded.len();
    assert_eq!(got["quantiles"], json!(places), "{what}");
    for (field, columns) in TASK_METRICS {
        let value = |row: &&&Row| columns.iter().map(|column| number(row, column)).sum();
        let expected = quantiles(succeeded.iter().map(value).collect(), n, places);
        assert_eq!(at(got, field), &expected, "{what}: {field}");
    }
    // What Spark knows of tasks that did not succeed stands among the others, but does not count.
    let duration = |row: &&Row| {
        let until_now = || last_updated - millis(row, "launch_time").expect("each task was launched");
        row["duration_ms"].as_i64().unwrap_or_else(until_now)
    };
    let durations = tasks.iter().map(duration).filter(|duration| *duration >= 0).collect();
    assert_eq!(got["duration"], quantiles(durations, n, places), "{what}: duration");
    for (field, column) in [
        ("schedulerDelay", "scheduler_delay_ms"),
        ("gettingResultTime", "getting_result_time_ms"),
    ] {
        let ended = tasks.iter().filter(|row| !row["finish_time"].is_null());
        let value = |row: &&Row| match row[column].as_i64() {
            None if text(row, "status") == "SUCCESS" => Some(0),
            value => value,
        };
        let expected = quantiles(ended.filter_map(value).collect(), n, places);
        assert_eq!(got[field], expected, "{what}: {field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quantiles_of_rest_are_those_of_the_rows_of_tasks_and_executors() {
    let mut doors = Doors::open().await;
    let tasks = doors.by_attempt("select * from tasks").await;
    let executors = doors.by_attempt("select * from stage_executors").await;
    let updated = doors
        .by_attempt("select app_id, attempt_id, last_updated from application_attempts")
        .await;
    let default = [0.0, 0.25, 0.5, 0.75, 1.0];
    let given = [0.01, 0.1, 0.34, 0.5, 0.67, 0.99];
    let (mut distributions, mut executors_compared) = (0, 0);
    // Those in which something went wrong or several executors worked, and some others: each answer takes long.
    let mut attempts = doors.attempts.clone();
    let is_plain = |attempt: &Attempt| {
        let on: BTreeSet<&str> = of(&executors, attempt)
            .iter()
            .map(|row| text(row, "executor_id"))
            .collect();
        let succeeded = |row: &Row| text(row, "status") == "SUCCESS";
        on.len() < 2 && of(&tasks, attempt).iter().all(succeeded)
    };
    let mut plain_ones = 0;
    attempts.retain(|attempt| {
        plain_ones += usize::from(is_plain(attempt));
        !is_plain(attempt) || plain_ones % 6 == 1
    });
    for attempt in attempts {
        let last_updated = millis(&of(&updated, &attempt)[0], "last_updated").expect("each log has it");
        for stage in list(&doors.rest(&attempt, "stages?withSummaries=true")) {
            let (id, stage_attempt) = (&stage["stageId"], &stage["attemptId"]);
            let what = format!("{} stage {id}/{stage_attempt}", attempt.path);
            let is_of_stage = |row: &&Row| &row["stage_id"] == id && &row["stage_attempt_id"] == stage_attempt;
            let tasks: Vec<&Row> = of(&tasks, &attempt).iter().filter(is_of_stage).collect();
            let succeeded = tasks.iter().filter(|row| text(row, "status") == "SUCCESS").count();
            let got = stage.get("taskMetricsDistributions");
            assert_eq!(got.is_some(), succeeded > 0, "{what}");
            let resource = format!("stages/{id}/{stage_attempt}/taskSummary");
            if let Some(got) = got {
                assert_distributions(&what, got, &tasks, last_updated, &default);
                // Some, and all in which tasks did not succeed.
                if succeeded < tasks.len() || distributions % 30 == 0 {
                    let got = doors.rest(&attempt, &format!("{resource}?quantiles={}", joined(&given)));
                    assert_distributions(&what, &got, &tasks, last_updated, &given);
                }
                distributions += 1;
            } else {
                let answer = doors.rest.get(&format!("/api/v1/{}/{resource}", attempt.path));
                assert_eq!(answer.status(), 404, "{what}: {}", answer.text());
            }
            let rows: Vec<&Row> = of(&executors, &attempt).iter().filter(is_of_stage).collect();
            let got = stage.get("executorMetricsDistributions");
            assert_eq!(got.is_some(), !rows.is_empty(), "{what}");
            let Some(got) = got else { continue };
            executors_compared += 1;
            for (field, column) in EXECUTOR_METRICS {
                let values = rows.iter().map(|row| number(row, column)).collect();
                let expected = quantiles(values, rows.len(), &default);
                assert_eq!(&got[*field], &expected, "{what}, executors: {field}");
            }
            let peaks: Vec<i64> = rows
                .iter()
                .filter_map(|row| row["peak_jvm_heap_memory_bytes"].as_i64())
                .collect();
            let measured = peaks.len();
            let expected = if measured == 0 {
                json!(&[0.0; 5])
            } else {
                quantiles(peaks, measured, &default)
            };
            assert_eq!(got["peakMemoryMetrics"]["JVMHeapMemory"], expected, "{what}");
        }
    }
    assert!(
        distributions > 80 && executors_compared > 80,
        "{distributions} and {executors_compared}"
    );
}

fn joined(quantiles: &[f64]) -> String {
    quantiles.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_pages_of_rest_are_those_of_sql() {
    let mut doors = Doors::open().await;
    let jobs = doors.by_attempt("select * from jobs order by job_id desc").await;
    let stages = doors
        .by_attempt("select * from stages order by stage_id desc, stage_attempt_id desc")
        .await;
    let tasks = doors.by_attempt("select * from tasks order by task_id").await;
    let mut kinds = BTreeMap::new();
    for attempt in doors.attempts.clone() {
        let (jobs, stages) = (of(&jobs, &attempt), of(&stages, &attempt));
        let statuses = |rows: &[Row]| {
            rows.iter()
                .map(|row| text(row, "status").to_owned())
                .collect::<BTreeSet<_>>()
        };
        // Others have nothing to tell apart.
        if statuses(jobs).len() < 2 && statuses(stages).len() < 3 {
            continue;
        }
        for status in ["RUNNING", "SUCCEEDED", "FAILED", "UNKNOWN"] {
            let rows = jobs.iter().filter(|row| text(row, "status") == status);
            let expected: Vec<i64> = rows.map(|row| number(row, "job_id")).collect();
            let got = doors.rest(&attempt, &format!("jobs?status={}", status.to_lowercase()));
            assert_eq!(numbers(list(&got), "jobId"), expected, "{} {status}", attempt.path);
            *kinds.entry(format!("jobs {status}")).or_insert(0) += expected.len();
        }
        for status in ["ACTIVE", "COMPLETE", "FAILED", "PENDING", "SKIPPED"] {
            let rows = stages.iter().filter(|row| text(row, "status") == status);
            let expected: Vec<(i64, i64)> = rows
                .map(|row| (number(row, "stage_id"), number(row, "stage_attempt_id")))
                .collect();
            let got = doors.rest(&attempt, &format!("stages?status={}", status.to_lowercase()));
            let got: Vec<_> = numbers(list(&got), "stageId")
                .into_iter()
                .zip(numbers(list(&got), "attemptId"))
                .collect();
            assert_eq!(got, expected, "{} {status}", attempt.path);
            *kinds.entry(format!("stages {status}")).or_insert(0) += expected.len();
        }
        for stage in stages {
            let (id, stage_attempt) = (&stage["stage_id"], &stage["stage_attempt_id"]);
            let is_of_stage = |row: &&Row| &row["stage_id"] == id && &row["stage_attempt_id"] == stage_attempt;
            let rows: Vec<&Row> = of(&tasks, &attempt).iter().filter(is_of_stage).collect();
            if rows.iter().all(|row| text(row, "status") == "SUCCESS") {
                continue;
            }
            let list_of = format!("stages/{id}/{stage_attempt}/taskList");
            let mut is = |parameters: &str, expected: Vec<&&Row>| {
                let expected: Vec<i64> = expected.iter().map(|row| number(row, "task_id")).collect();
                let got = doors.rest(&attempt, &format!("{list_of}?{parameters}"));
                assert_eq!(
                    numbers(list(&got), "taskId"),
                    expected,
                    "{} {list_of} {parameters}",
                    attempt.path
                );
            };
            is("offset=1&length=2", rows.iter().skip(1).take(2).collect());
            for status in ["FAILED", "KILLED", "RUNNING", "SUCCESS"] {
                let mut those: Vec<&&Row> = rows.iter().filter(|row| text(row, "status") == status).collect();
                is(&format!("status={}", status.to_lowercase()), those.clone());
                *kinds.entry(format!("tasks {status}")).or_insert(0) += those.len();
                if status == "SUCCESS" {
                    those.sort_by_key(|row| (number(row, "executor_run_time_ms"), number(row, "task_id")));
                    is("status=success&sortBy=runtime", those.clone());
                    those.reverse();
                    is(
                        "status=success&sortBy=-runtime&length=3",
                        those.into_iter().take(3).collect(),
                    );
                }
            }
        }
    }
    let never: Vec<&String> = kinds.iter().filter(|(_, n)| **n == 0).map(|(kind, _)| kind).collect();
    assert_eq!(
        never,
        ["jobs UNKNOWN"],
        "these were compared with nothing at all: {kinds:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_of_rest_are_filtered_as_sql_filters_their_attempts() {
    let mut doors = Doors::open().await;
    let middle = |rows: &[String]| rows[rows.len() / 2].clone();
    let starts = doors
        .sql
        .rows("select start_time from application_attempts order by 1")
        .await;
    let ends = doors
        .sql
        .rows("select end_time from application_attempts where end_time is not null order by 1")
        .await;
    let (start, end) = (middle(&starts), middle(&ends));
    let instant = |text: &str| {
        let time = chrono::DateTime::parse_from_str(text, "%F %T%.f%#z").expect("an instant");
        time.to_utc().format("%FT%T%.3fGMT").to_string()
    };
    let (rest_start, rest_end) = (instant(&start), instant(&end));
    // Whether an application counts is about any of its attempts. One that runs has no end that could be too early; a lost attempt of
    // one that has ended is left out, because Spark takes 1969 for its end and 2010 for the earliest.
    for (parameters, of_attempts, of_application) in [
        (String::new(), "true".into(), "true"),
        ("status=completed".into(), "true".into(), "a.completed"),
        ("status=running".into(), "true".into(), "not a.completed"),
        (
            format!("minDate={rest_start}"),
            format!("t.start_time >= '{start}'"),
            "true",
        ),
        (
            format!("maxDate={rest_start}"),
            format!("t.start_time <= '{start}'"),
            "true",
        ),
        (
            format!("minEndDate={rest_end}"),
            format!("(not a.completed or t.end_time >= '{end}')"),
            "true",
        ),
        (
            format!("maxEndDate={rest_end}"),
            format!("t.end_time <= '{end}'"),
            "a.completed",
        ),
        (
            format!("status=completed&minDate={rest_start}&limit=4"),
            format!("t.start_time >= '{start}'"),
            "a.completed",
        ),
    ] {
        let limit = if parameters.contains("limit=4") { "limit 4" } else { "" };
        let sql = format!(
            "select a.app_id, a.end_time from applications a where {of_application} and exists (select 1 from application_attempts t \
             where t.app_id = a.app_id and (not a.completed or t.end_time is not null) and {of_attempts}) order by coalesce(a.end_time, to_timestamp_millis(-1)) desc, a.app_id desc {limit}"
        );
        let expected: Vec<String> = doors
            .sql
            .objects(&sql)
            .await
            .iter()
            .map(|row| text(row, "app_id").to_owned())
            .collect();
        let got = doors.rest.rest(&format!("applications?{parameters}"));
        assert_eq!(ids(list(&got), "id"), expected, "{parameters}");
        assert!(!expected.is_empty(), "{parameters}: nothing to compare");
    }
}
