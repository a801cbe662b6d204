//! `streaming_queries` and `streaming_batches`.

use super::{Column, TableDef, Type, keys};

const RUN_ID: Column = Column::new(
    "run_id",
    Type::Text,
    "",
    "QueryStarted, QueryProgress: runId",
    "one run of the query: each start has another",
);

const QUERY_ID: Column = Column::new(
    "query_id",
    Type::Text,
    "",
    "QueryStarted, QueryProgress: id",
    "the query over all its runs from one checkpoint",
);

const NAME: Column = Column::null(
    "name",
    Type::Text,
    "",
    "QueryStarted, QueryProgress: name",
    "name that the application gave the query",
);

pub static STREAMING_QUERIES: TableDef = TableDef {
    schema: "public",
    name: "streaming_queries",
    grain: "one row per run of a structured-streaming query that any event tells of",
    sort_order: &["app_id", "attempt_id", "run_id"],
    columns: &[
        keys::APP_ID,
        keys::ATTEMPT_ID,
        RUN_ID,
        QUERY_ID,
        NAME,
        Column::new(
            "status",
            Type::Text,
            "",
            "QueryTerminated: exception",
            "RUNNING until an end is seen; then FAILED with an exception, FINISHED without",
        ),
        Column::new(
            "is_active",
            Type::Bool,
            "",
            "QueryStarted, QueryTerminated",
            "whether no end was seen",
        ),
        Column::null(
            "start_time",
            Type::Timestamp,
            "",
            "QueryStarted: timestamp",
            "when the run began; null before Spark 3.0, or if the log lacks its start (Spark's page then leaves the run out)",
        ),
        Column::null(
            "end_time",
            Type::Timestamp,
            "",
            "QueryTerminated; newest QueryProgress: timestamp",
            "start of the last trigger of an ended run, where Spark's page lets it end: the end itself is logged without a time. Null until the end, and without progress",
        ),
        Column::null(
            "duration_ms",
            Type::Int64,
            "",
            "end_time - start_time",
            "as on Spark's page; null until the end, and without progress",
        ),
        Column::null(
            "exception",
            Type::Text,
            "",
            "QueryTerminated: exception",
            "why the run failed; null if it did not",
        ),
        Column::null(
            "error_class",
            Type::Text,
            "",
            "QueryTerminated: errorClassOnException",
            "Spark's class of the error; null if it has none, or before Spark 3.5",
        ),
        Column::new(
            "num_batches",
            Type::Int64,
            "",
            "QueryProgress: batchId",
            "different batches that progress was logged of",
        ),
        Column::new(
            "num_progress_updates",
            Type::Int64,
            "",
            "QueryProgress",
            "rows in streaming_batches: a trigger without data repeats its batch",
        ),
        Column::null(
            "latest_batch_id",
            Type::Int64,
            "",
            "newest QueryProgress: batchId",
            "batch of the last trigger; Spark's page counts one more as completed. Null without progress",
        ),
        Column::new(
            "num_input_rows",
            Type::Int64,
            "",
            "QueryProgress: sources / numInputRows",
            "rows read by all batches",
        ),
        Column::null(
            "input_rows_per_second",
            Type::Float64,
            "",
            "average of QueryProgress: sources / inputRowsPerSecond",
            "Avg Input /sec of Spark's page: the mean of the triggers' rates, where a rate that is no number counts as 0. Null without progress",
        ),
        Column::null(
            "processed_rows_per_second",
            Type::Float64,
            "",
            "average of QueryProgress: sources / processedRowsPerSecond",
            "Avg Process /sec of Spark's page, made in the same way",
        ),
        Column::null(
            "latest_progress_time",
            Type::Timestamp,
            "",
            "newest QueryProgress: timestamp",
            "start of the last trigger that progress was logged of",
        ),
        Column::null(
            "latest_idle_time",
            Type::Timestamp,
            "",
            "newest QueryIdle: timestamp",
            "last trigger that was logged as idle; null if none was, or before Spark 3.5",
        ),
        Column::null(
            "job_tags",
            Type::List(&Type::Text),
            "",
            "QueryStarted: jobTags",
            "tags of all jobs of the run, sorted; null before Spark 4.1",
        ),
    ],
};

const STATE_OPERATORS: Type = Type::List(&Type::Struct(&[
    ("operator_name", Type::Text),
    ("num_rows_total", Type::Int64),
    ("num_rows_updated", Type::Int64),
    ("all_updates_time_ms", Type::Int64),
    ("num_rows_removed", Type::Int64),
    ("all_removals_time_ms", Type::Int64),
    ("commit_time_ms", Type::Int64),
    ("memory_used_bytes", Type::Int64),
    ("num_rows_dropped_by_watermark", Type::Int64),
    ("num_shuffle_partitions", Type::Int64),
    ("num_state_store_instances", Type::Int64),
    ("custom_metrics", Type::Map(&Type::Int64)),
]));

/// Offsets are JSON text, each kind of source has its own.
const SOURCES: Type = Type::List(&Type::Struct(&[
    ("description", Type::Text),
    ("start_offset", Type::Text),
    ("end_offset", Type::Text),
    ("latest_offset", Type::Text),
    ("num_input_rows", Type::Int64),
    ("input_rows_per_second", Type::Float64),
    ("processed_rows_per_second", Type::Float64),
    ("metrics", Type::Map(&Type::Text)),
]));

const fn phase(name: &'static str, source: &'static str, doc: &'static str) -> Column {
    Column::null(name, Type::Int64, "", source, doc)
}

pub static STREAMING_BATCHES: TableDef = TableDef {
    schema: "public",
    name: "streaming_batches",
    grain: "one row per progress update of a structured-streaming run: a micro-batch, or a trigger without data",
    sort_order: &["app_id", "attempt_id", "run_id", "batch_time", "batch_id"],
    columns: &[
        keys::APP_ID,
        keys::ATTEMPT_ID,
        RUN_ID,
        QUERY_ID,
        NAME,
        Column::new(
            "batch_id",
            Type::Int64,
            "",
            "QueryProgress: batchId",
            "counts on from run to run; a trigger without data has that of the batch before",
        ),
        Column::new(
            "batch_time",
            Type::Timestamp,
            "",
            "QueryProgress: timestamp",
            "when the trigger began; of two updates with this and the batch equal the later holds, as with Spark",
        ),
        Column::null(
            "batch_duration_ms",
            Type::Int64,
            "",
            "QueryProgress: batchDuration",
            "the whole trigger; null before Spark 3.0",
        ),
        Column::null(
            "num_input_rows",
            Type::Int64,
            "",
            "QueryProgress: sources / numInputRows",
            "rows read from all sources",
        ),
        Column::null(
            "input_rows_per_second",
            Type::Float64,
            "",
            "QueryProgress: sources / inputRowsPerSecond",
            "rows read per second since the trigger before, of all sources; null where that is no number",
        ),
        Column::null(
            "processed_rows_per_second",
            Type::Float64,
            "",
            "QueryProgress: sources / processedRowsPerSecond",
            "rows read per second of the trigger, of all sources; null where that is no number",
        ),
        phase(
            "trigger_execution_ms",
            "QueryProgress: durationMs / triggerExecution",
            "the whole trigger, as its phases were timed",
        ),
        phase(
            "latest_offset_ms",
            "QueryProgress: durationMs / latestOffset",
            "asking the sources how far they go",
        ),
        phase(
            "wal_commit_ms",
            "QueryProgress: durationMs / walCommit",
            "writing the batch's offsets to the checkpoint",
        ),
        phase(
            "get_batch_ms",
            "QueryProgress: durationMs / getBatch",
            "asking the sources for the batch, without reading it",
        ),
        phase(
            "query_planning_ms",
            "QueryProgress: durationMs / queryPlanning",
            "planning the batch",
        ),
        phase(
            "add_batch_ms",
            "QueryProgress: durationMs / addBatch",
            "running the batch: reading, computing, writing to the sink",
        ),
        phase(
            "commit_offsets_ms",
            "QueryProgress: durationMs / commitOffsets",
            "writing to the checkpoint that the batch is done",
        ),
        Column::null(
            "durations_ms",
            Type::Map(&Type::Int64),
            "",
            "QueryProgress: durationMs",
            "milliseconds by Spark's name of the phase, those without a column too",
        ),
        Column::null(
            "min_event_time",
            Type::Timestamp,
            "",
            "QueryProgress: eventTime / min",
            "lowest event time in the batch; null without a watermark or data",
        ),
        Column::null(
            "max_event_time",
            Type::Timestamp,
            "",
            "QueryProgress: eventTime / max",
            "highest event time in the batch",
        ),
        Column::null(
            "avg_event_time",
            Type::Timestamp,
            "",
            "QueryProgress: eventTime / avg",
            "mean event time in the batch",
        ),
        Column::null(
            "watermark_time",
            Type::Timestamp,
            "",
            "QueryProgress: eventTime / watermark",
            "watermark that the batch ran with, 1970-01-01 until data has set it; null if the query has none",
        ),
        Column::null(
            "state_operators",
            STATE_OPERATORS,
            "",
            "QueryProgress: stateOperators",
            "state of each stateful operator, its fields as Spark names them, null where an old version lacks them (before 3.2); custom metrics in their own units",
        ),
        Column::null(
            "sources",
            SOURCES,
            "",
            "QueryProgress: sources",
            "each source with its offsets (JSON text of the source's own form), rows, rates and metrics; a rate that is no number is null",
        ),
        Column::null(
            "sink_description",
            Type::Text,
            "",
            "QueryProgress: sink / description",
            "where the batch was written",
        ),
        Column::null(
            "sink_num_output_rows",
            Type::Int64,
            "",
            "QueryProgress: sink / numOutputRows",
            "rows written; null where the sink does not count them (-1 in the log), or before Spark 3.0",
        ),
        Column::null(
            "sink_metrics",
            Type::Map(&Type::Text),
            "",
            "QueryProgress: sink / metrics",
            "the sink's own metrics; null before Spark 3.4",
        ),
        Column::null(
            "observed_metrics",
            Type::Text,
            "",
            "QueryProgress: observedMetrics",
            "what Dataset.observe() collected, by name: JSON as it was logged; null before Spark 3.0",
        ),
    ],
};
