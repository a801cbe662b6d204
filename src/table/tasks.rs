//! `tasks`.

use super::metrics::{METRIC_COUNT, TASK_METRICS, concat};
use super::{ACCUMULABLES, Column, TableDef, Type, keys};

const HEAD: [Column; 22] = [
    keys::APP_ID,
    keys::ATTEMPT_ID,
    Column::new("stage_id", Type::Int32, "", "TaskStart: Stage ID", "stage of the task"),
    Column::new(
        "stage_attempt_id",
        Type::Int32,
        "",
        "TaskStart: Stage Attempt ID",
        "attempt of the stage",
    ),
    Column::new(
        "task_id",
        Type::Int64,
        "taskId",
        "TaskStart: Task Info / Task ID",
        "unique within an application attempt",
    ),
    Column::new(
        "task_index",
        Type::Int32,
        "index",
        "TaskStart: Task Info / Index",
        "number of the task in its stage",
    ),
    Column::new(
        "task_attempt",
        Type::Int32,
        "attempt",
        "TaskStart: Task Info / Attempt",
        "attempt of the task, from 0",
    ),
    Column::null(
        "partition_id",
        Type::Int32,
        "partitionId",
        "TaskStart: Task Info / Partition ID",
        "partition of the RDD; logs before Spark 3.3 lack it",
    ),
    Column::new(
        "launch_time",
        Type::Timestamp,
        "launchTime",
        "TaskStart: Task Info / Launch Time",
        "when the task was launched",
    ),
    Column::null(
        "result_fetch_start",
        Type::Timestamp,
        "resultFetchStart",
        "TaskEnd: Task Info / Getting Result Time",
        "when the driver began to fetch an indirect result",
    ),
    Column::null(
        "finish_time",
        Type::Timestamp,
        "",
        "TaskEnd: Task Info / Finish Time",
        "when the task finished; null while it runs",
    ),
    Column::null(
        "duration_ms",
        Type::Int64,
        "duration",
        "Finish Time - Launch Time",
        "null while the task runs",
    ),
    Column::null(
        "executor_id",
        Type::Text,
        "executorId",
        "TaskStart: Task Info / Executor ID",
        "executor that ran it",
    ),
    Column::null(
        "host",
        Type::Text,
        "host",
        "TaskStart: Task Info / Host",
        "host that ran it",
    ),
    Column::new(
        "status",
        Type::Text,
        "status",
        "TaskEnd: Task Info / Failed, Killed",
        "RUNNING, GET RESULT, SUCCESS, FAILED or KILLED",
    ),
    Column::null(
        "task_locality",
        Type::Text,
        "taskLocality",
        "TaskStart: Task Info / Locality",
        "PROCESS_LOCAL, NODE_LOCAL, NO_PREF, RACK_LOCAL or ANY",
    ),
    Column::new(
        "speculative",
        Type::Bool,
        "speculative",
        "TaskStart: Task Info / Speculative",
        "whether it was a speculative copy",
    ),
    Column::null(
        "error_message",
        Type::Text,
        "errorMessage",
        "TaskEnd: Task End Reason",
        "why it did not succeed, as Spark phrases it",
    ),
    Column::null(
        "killed_reason",
        Type::Text,
        "",
        "TaskEnd: Task End Reason / Kill Reason",
        "why it was killed or denied to commit",
    ),
    Column::null(
        "scheduler_delay_ms",
        Type::Int64,
        "schedulerDelay",
        "duration - run, deserialise, serialise and getting-result time",
        "time the scheduler took, never below 0; null while the task runs",
    ),
    Column::null(
        "getting_result_time_ms",
        Type::Int64,
        "gettingResultTime",
        "Finish Time - Getting Result Time",
        "time to fetch an indirect result, 0 for a direct one; null while the task runs",
    ),
    Column::null(
        "shuffle_read_bytes",
        Type::Int64,
        "",
        "shuffle_local_bytes_read + shuffle_remote_bytes_read",
        "shuffle bytes read, local and remote",
    ),
];

const TAIL: [Column; 1] = [Column::new(
    "accumulables",
    ACCUMULABLES,
    "accumulatorUpdates",
    "TaskEnd: Task Info / Accumulables",
    "accumulators that are neither internal nor of SQL",
)];

pub static TASKS: TableDef = TableDef {
    schema: "public",
    name: "tasks",
    grain: "one row per task attempt that was launched",
    sort_order: &["app_id", "attempt_id", "stage_id", "stage_attempt_id", "task_id"],
    columns: &concat::<{ 22 + METRIC_COUNT + 1 }>(&[&HEAD, &TASK_METRICS, &TAIL]),
};
