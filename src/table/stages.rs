//! `stages`.

use super::metrics::{METRIC_COUNT, PEAK_COUNT, STAGE_METRICS, STAGE_PEAKS, concat};
use super::{ACCUMULABLES, Column, TableDef, Type, keys};

const HEAD: [Column; 22] = [
    keys::APP_ID,
    keys::ATTEMPT_ID,
    keys::STAGE_ID,
    keys::STAGE_ATTEMPT_ID,
    Column::new("status", Type::Text, "status", "StageSubmitted, StageCompleted, JobEnd", "ACTIVE, COMPLETE, FAILED, PENDING or SKIPPED"),
    Column::null("name", Type::Text, "name", "Stage Info / Stage Name", "call site of the stage"),
    Column::null("description", Type::Text, "description", "StageSubmitted: Properties / spark.job.description", "description of the job that submitted it"),
    Column::null("details", Type::Text, "details", "Stage Info / Details", "call stack of the stage"),
    Column::new("scheduling_pool", Type::Text, "schedulingPool", "StageSubmitted: Properties / spark.scheduler.pool", "scheduler pool"),
    Column::null("submission_time", Type::Timestamp, "submissionTime", "Stage Info / Submission Time", "when the stage was submitted; null for a skipped one"),
    Column::null("first_task_launched_time", Type::Timestamp, "firstTaskLaunchedTime", "TaskStart: Task Info / Launch Time", "launch of the first task"),
    Column::null("completion_time", Type::Timestamp, "completionTime", "Stage Info / Completion Time", "when the stage ended; null until then"),
    Column::null("duration_ms", Type::Int64, "", "completion_time - submission_time", "null until the stage ended"),
    Column::null("failure_reason", Type::Text, "failureReason", "Stage Info / Failure Reason", "why the stage failed"),
    Column::new("num_tasks", Type::Int32, "numTasks", "Stage Info / Number of Tasks", "tasks of the stage"),
    Column::new("num_active_tasks", Type::Int32, "numActiveTasks", "TaskStart, TaskEnd", "task attempts that run"),
    Column::new("num_complete_tasks", Type::Int32, "numCompleteTasks", "TaskEnd", "task attempts that succeeded"),
    Column::new("num_failed_tasks", Type::Int32, "numFailedTasks", "TaskEnd", "task attempts that failed"),
    Column::new("num_killed_tasks", Type::Int32, "numKilledTasks", "TaskEnd", "task attempts that were killed, or denied to commit"),
    Column::new("num_completed_indices", Type::Int32, "numCompletedIndices", "TaskEnd: Task Info / Index", "distinct tasks that succeeded"),
    Column::null("task_duration_skew", Type::Float64, "", "maximum / median duration of successful tasks", "1 is even; null without successful tasks or with a median of 0"),
    Column::new("shuffle_read_bytes", Type::Int64, "shuffleReadBytes", "shuffle_local_bytes_read + shuffle_remote_bytes_read", "shuffle bytes read, local and remote"),
];

const TAIL: [Column; 13] = [
    Column::new("job_ids", Type::List(&Type::Int32), "", "JobStart: Stage Infos", "jobs that use the stage"),
    Column::new("parent_stage_ids", Type::List(&Type::Int32), "", "Stage Info / Parent IDs", "stages it reads from"),
    Column::new("rdd_ids", Type::List(&Type::Int32), "rddIds", "Stage Info / RDD Info / RDD ID", "RDDs computed in the stage"),
    Column::new("accumulables", ACCUMULABLES, "accumulatorUpdates", "Stage Info / Accumulables", "accumulators that are neither internal nor of SQL, as of the end of the stage"),
    Column::new("killed_tasks_summary", Type::Map(&Type::Int32), "killedTasksSummary", "TaskEnd: Task End Reason", "killed task attempts by reason"),
    Column::new("resource_profile_id", Type::Int32, "resourceProfileId", "Stage Info / Resource Profile Id", "resource profile; 0 is the default one"),
    Column::new("is_shuffle_push_enabled", Type::Bool, "isShufflePushEnabled", "Stage Info / Shuffle Push Enabled", "whether the stage pushes its shuffle blocks to mergers"),
    Column::new("shuffle_mergers_count", Type::Int32, "shuffleMergersCount", "Stage Info / Shuffle Push Mergers Count", "mergers of a push-based shuffle"),
    Column::null("speculation_num_tasks", Type::Int32, "speculationSummary.numTasks", "TaskStart: Task Info / Speculative", "speculative task attempts; null where there was none"),
    Column::null("speculation_num_active_tasks", Type::Int32, "speculationSummary.numActiveTasks", "TaskStart, TaskEnd", "speculative task attempts that run"),
    Column::null("speculation_num_completed_tasks", Type::Int32, "speculationSummary.numCompletedTasks", "TaskEnd", "speculative task attempts that won"),
    Column::null("speculation_num_failed_tasks", Type::Int32, "speculationSummary.numFailedTasks", "TaskEnd", "speculative task attempts that failed"),
    Column::null("speculation_num_killed_tasks", Type::Int32, "speculationSummary.numKilledTasks", "TaskEnd", "speculative task attempts that were killed"),
];

pub static STAGES: TableDef = TableDef {
    schema: "public",
    name: "stages",
    grain: "one row per stage attempt",
    sort_order: &["app_id", "attempt_id", "stage_id", "stage_attempt_id"],
    columns: &concat::<{ 22 + METRIC_COUNT + 13 + PEAK_COUNT }>(&[&HEAD, &STAGE_METRICS, &TAIL, &STAGE_PEAKS]),
};
