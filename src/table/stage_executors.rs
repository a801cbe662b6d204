//! `stage_executors`.

use super::metrics::{EXECUTOR_PEAKS, PEAK_COLUMNS, concat};
use super::{Column, TableDef, Type, keys};

const HEAD: [Column; 20] = [
    keys::APP_ID,
    keys::ATTEMPT_ID,
    keys::STAGE_ID,
    keys::STAGE_ATTEMPT_ID,
    Column::new(
        "executor_id",
        Type::Text,
        "",
        "TaskEnd: Task Info / Executor ID; StageExecutorMetrics: Executor ID",
        "executor that a task of the stage ended on, that was measured in it, or that was excluded from it",
    ),
    Column::new(
        "task_time_ms",
        Type::Int64,
        "taskTime",
        "TaskEnd: Task Info / Finish Time - Launch Time",
        "sum over ended task attempts",
    ),
    Column::new(
        "failed_tasks",
        Type::Int32,
        "failedTasks",
        "TaskEnd",
        "task attempts that failed",
    ),
    Column::new(
        "succeeded_tasks",
        Type::Int32,
        "succeededTasks",
        "TaskEnd",
        "task attempts that succeeded",
    ),
    Column::new(
        "killed_tasks",
        Type::Int32,
        "killedTasks",
        "TaskEnd",
        "task attempts that were killed, or denied to commit",
    ),
    Column::new(
        "input_bytes",
        Type::Int64,
        "inputBytes",
        "Input Metrics / Bytes Read",
        "bytes read from storage or a cached block",
    ),
    Column::new(
        "input_records",
        Type::Int64,
        "inputRecords",
        "Input Metrics / Records Read",
        "records read from storage or a cached block",
    ),
    Column::new(
        "output_bytes",
        Type::Int64,
        "outputBytes",
        "Output Metrics / Bytes Written",
        "bytes written to storage",
    ),
    Column::new(
        "output_records",
        Type::Int64,
        "outputRecords",
        "Output Metrics / Records Written",
        "records written to storage",
    ),
    Column::new(
        "shuffle_read_bytes",
        Type::Int64,
        "shuffleRead",
        "Shuffle Read Metrics / Local Bytes Read + Remote Bytes Read",
        "shuffle bytes read, local and remote",
    ),
    Column::new(
        "shuffle_read_records",
        Type::Int64,
        "shuffleReadRecords",
        "Shuffle Read Metrics / Total Records Read",
        "records read from shuffles",
    ),
    Column::new(
        "shuffle_write_bytes",
        Type::Int64,
        "shuffleWrite",
        "Shuffle Write Metrics / Shuffle Bytes Written",
        "bytes written for shuffles",
    ),
    Column::new(
        "shuffle_write_records",
        Type::Int64,
        "shuffleWriteRecords",
        "Shuffle Write Metrics / Shuffle Records Written",
        "records written for shuffles",
    ),
    Column::new(
        "memory_bytes_spilled",
        Type::Int64,
        "memoryBytesSpilled",
        "Memory Bytes Spilled",
        "bytes in memory of what was spilled",
    ),
    Column::new(
        "disk_bytes_spilled",
        Type::Int64,
        "diskBytesSpilled",
        "Disk Bytes Spilled",
        "bytes on disk of what was spilled",
    ),
    Column::new(
        "is_excluded_for_stage",
        Type::Bool,
        "isExcludedForStage",
        "ExecutorExcludedForStage, NodeExcludedForStage",
        "whether the stage stopped using the executor after failures",
    ),
];

pub static STAGE_EXECUTORS: TableDef = TableDef {
    schema: "public",
    name: "stage_executors",
    grain: "one row per stage attempt and executor: what the executor did for it",
    sort_order: &["app_id", "attempt_id", "stage_id", "stage_attempt_id", "executor_id"],
    columns: &concat::<{ 20 + PEAK_COLUMNS }>(&[&HEAD, &EXECUTOR_PEAKS]),
};
