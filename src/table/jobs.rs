//! `jobs`.

use super::{Column, TableDef, Type, keys};

pub static JOBS: TableDef = TableDef {
    schema: "public",
    name: "jobs",
    grain: "one row per job",
    sort_order: &["app_id", "attempt_id", "job_id"],
    columns: &[
        keys::APP_ID,
        keys::ATTEMPT_ID,
        Column::new("job_id", Type::Int32, "jobId", "JobStart: Job ID", "unique within an application attempt"),
        Column::null("name", Type::Text, "name", "JobStart: Stage Infos / Stage Name", "name of the job's last stage"),
        Column::null("description", Type::Text, "description", "JobStart: Properties / spark.job.description", "description set by the application"),
        Column::null("submission_time", Type::Timestamp, "submissionTime", "JobStart: Submission Time", "when the job was submitted"),
        Column::null("completion_time", Type::Timestamp, "completionTime", "JobEnd: Completion Time", "when the job ended; null until then"),
        Column::null("duration_ms", Type::Int64, "", "completion_time - submission_time", "null until the job ended"),
        Column::new("status", Type::Text, "status", "JobEnd: Job Result", "RUNNING, SUCCEEDED, FAILED or UNKNOWN"),
        Column::new("stage_ids", Type::List(&Type::Int32), "stageIds", "JobStart: Stage IDs", "stages of the job, those of other jobs that it reuses included"),
        Column::null("job_group", Type::Text, "jobGroup", "JobStart: Properties / spark.jobGroup.id", "job group"),
        Column::new("job_tags", Type::List(&Type::Text), "jobTags", "JobStart: Properties / spark.job.tags", "job tags, sorted"),
        Column::new("num_tasks", Type::Int32, "numTasks", "JobStart: Stage Infos / Number of Tasks", "tasks of the stages that had not completed when the job started; skipped ones included"),
        Column::new("num_active_tasks", Type::Int32, "numActiveTasks", "TaskStart, TaskEnd", "task attempts that run"),
        Column::new("num_completed_tasks", Type::Int32, "numCompletedTasks", "TaskEnd", "task attempts that succeeded"),
        Column::new("num_skipped_tasks", Type::Int32, "numSkippedTasks", "JobEnd, StageCompleted", "tasks of skipped stages"),
        Column::new("num_failed_tasks", Type::Int32, "numFailedTasks", "TaskEnd", "task attempts that failed"),
        Column::new("num_killed_tasks", Type::Int32, "numKilledTasks", "TaskEnd", "task attempts that were killed, or denied to commit"),
        Column::new("num_completed_indices", Type::Int32, "numCompletedIndices", "TaskEnd: Task Info / Index", "distinct tasks that succeeded"),
        Column::new("num_active_stages", Type::Int32, "numActiveStages", "StageSubmitted, StageCompleted", "stages that run"),
        Column::new("num_completed_stages", Type::Int32, "numCompletedStages", "StageCompleted", "stages that completed"),
        Column::new("num_skipped_stages", Type::Int32, "numSkippedStages", "JobEnd, StageCompleted", "stages that were skipped because their output was there"),
        Column::new("num_failed_stages", Type::Int32, "numFailedStages", "StageCompleted: Failure Reason", "stage attempts that failed"),
        Column::new("killed_tasks_summary", Type::Map(&Type::Int32), "killedTasksSummary", "TaskEnd: Task End Reason", "killed task attempts by reason"),
        Column::null("execution_id", Type::Int64, "", "JobStart: Properties / spark.sql.execution.id", "SQL execution the job belongs to"),
        Column::null("failure_reason", Type::Text, "", "JobEnd: Job Result / Exception / Message", "why the job failed"),
    ],
};
