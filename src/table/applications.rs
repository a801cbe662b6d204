//! `applications` and `application_attempts`.

use super::{Column, TableDef, Type};

const N: usize = 41;

const COLUMNS: [Column; N] = [
    Column::new("app_id", Type::Text, "id", "ApplicationStart: App ID", "application id"),
    Column::new("attempt_id", Type::Text, "attempts.attemptId", "ApplicationStart: App Attempt ID", "attempt of the application, '' where the cluster manager has none"),
    Column::null("name", Type::Text, "name", "ApplicationStart: App Name", "name of the application"),
    Column::new("status", Type::Text, "", "ApplicationEnd: ExitCode; JobEnd: Job Result", "RUNNING until an end is seen; then by exit code where the log has one, else FAILED if the job that ended last failed, else SUCCEEDED"),
    Column::new("start_time", Type::Timestamp, "attempts.startTime", "ApplicationStart: Timestamp", "when the attempt started"),
    Column::null("end_time", Type::Timestamp, "attempts.endTime", "ApplicationEnd: Timestamp", "when the attempt ended; null until then"),
    Column::new("last_updated", Type::Timestamp, "attempts.lastUpdated", "modification time of the log", "when the log last changed"),
    Column::null("duration_ms", Type::Int64, "attempts.duration", "ApplicationEnd: Timestamp - ApplicationStart: Timestamp", "from start to end; null until the end"),
    Column::null("spark_user", Type::Text, "attempts.sparkUser", "ApplicationStart: User", "user that ran the application"),
    Column::new("completed", Type::Bool, "attempts.completed", "ApplicationEnd", "whether an end was seen"),
    Column::null("app_spark_version", Type::Text, "attempts.appSparkVersion", "LogStart: Spark Version", "Spark version that wrote the log"),
    Column::null("exit_code", Type::Int32, "", "ApplicationEnd: ExitCode", "exit code of the driver; logs before Spark 4.0 lack it"),
    Column::null("cores_granted", Type::Int32, "coresGranted", "none", "part of Spark's model, set by a standalone master only: always null in histories"),
    Column::null("max_cores", Type::Int32, "maxCores", "none", "part of Spark's model, set by a standalone master only: always null in histories"),
    Column::null("cores_per_executor", Type::Int32, "coresPerExecutor", "none", "part of Spark's model, set by a standalone master only: always null in histories"),
    Column::null("memory_per_executor_mb", Type::Int32, "memoryPerExecutorMB", "none", "part of Spark's model, set by a standalone master only: always null in histories"),
    Column::new("cores", Type::Int32, "", "ExecutorAdded: Total Cores; ExecutorRemoved", "most cores that executors offered at one time"),
    Column::new("num_jobs", Type::Int64, "", "rows of jobs", "jobs"),
    Column::new("num_failed_jobs", Type::Int64, "", "rows of jobs", "jobs with status FAILED"),
    Column::new("num_stages", Type::Int64, "", "rows of stages", "stage attempts, skipped ones included"),
    Column::new("num_failed_stages", Type::Int64, "", "rows of stages", "stage attempts with status FAILED"),
    Column::new("num_tasks", Type::Int64, "", "rows of tasks", "task attempts that were launched"),
    Column::new("num_failed_tasks", Type::Int64, "", "rows of tasks", "task attempts with status FAILED"),
    Column::new("num_executors", Type::Int64, "", "rows of executors", "executors over the whole life, the driver included"),
    Column::new("executor_run_time_ms", Type::Int64, "", "sum over tasks", "wall time of task bodies"),
    Column::new("executor_cpu_time_ns", Type::Int64, "", "sum over tasks", "CPU time of task bodies"),
    Column::new("jvm_gc_time_ms", Type::Int64, "", "sum over tasks", "garbage collection while tasks ran"),
    Column::new("input_bytes", Type::Int64, "", "sum over tasks", "bytes read from storage or cached blocks"),
    Column::new("output_bytes", Type::Int64, "", "sum over tasks", "bytes written to storage"),
    Column::new("shuffle_read_bytes", Type::Int64, "", "sum over tasks", "shuffle bytes read, local and remote"),
    Column::new("shuffle_write_bytes", Type::Int64, "", "sum over tasks", "shuffle bytes written"),
    Column::new("memory_bytes_spilled", Type::Int64, "", "sum over tasks", "bytes in memory of what was spilled"),
    Column::new("disk_bytes_spilled", Type::Int64, "", "sum over tasks", "bytes on disk of what was spilled"),
    Column::null("peak_execution_memory_bytes", Type::Int64, "", "maximum over tasks", "largest peak execution memory of a task; null if no task has one"),
    Column::new("executor_core_ms", Type::Int64, "", "ExecutorAdded, ExecutorRemoved", "sum over executors of cores x lifetime; without an end of its own an executor lives until the end of the application, or the last event of the log"),
    Column::new("num_attempts", Type::Int64, "", "rows of application_attempts", "attempts of the application"),
    Column::new("log_path", Type::Text, "", "the log", "where the log lies"),
    Column::new("log_bytes", Type::Int64, "", "the log", "size of the log as stored"),
    Column::new("log_events", Type::Int64, "", "the log", "events read from the log"),
    Column::new("log_problems", Type::Int64, "", "the log", "lines of the log that could not be read; 0 for a sound log"),
    Column::null("last_event_time", Type::Timestamp, "", "largest time of any event", "how far the log tells the story"),
];

/// What the totals of an application do with those of its attempts; columns not named describe the newest attempt.
pub(crate) const SUMMED: [&str; 21] = [
    "num_jobs",
    "num_failed_jobs",
    "num_stages",
    "num_failed_stages",
    "num_tasks",
    "num_failed_tasks",
    "num_executors",
    "executor_run_time_ms",
    "executor_cpu_time_ns",
    "jvm_gc_time_ms",
    "input_bytes",
    "output_bytes",
    "shuffle_read_bytes",
    "shuffle_write_bytes",
    "memory_bytes_spilled",
    "disk_bytes_spilled",
    "executor_core_ms",
    "num_attempts",
    "log_bytes",
    "log_events",
    "log_problems",
];
pub(crate) const MAXIMA: [&str; 2] = ["cores", "peak_execution_memory_bytes"];

pub static APPLICATIONS: TableDef = TableDef {
    schema: "public",
    name: "applications",
    grain: "one row per application: its newest attempt by start time, with totals over all attempts (maxima for peaks and cores)",
    sort_order: &["start_time", "app_id"],
    columns: &COLUMNS,
};

pub static APPLICATION_ATTEMPTS: TableDef = TableDef {
    schema: "public",
    name: "application_attempts",
    grain: "one row per attempt of an application, with the attempt's own totals",
    sort_order: &["app_id", "attempt_id"],
    columns: &COLUMNS,
};
