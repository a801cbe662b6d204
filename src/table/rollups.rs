//! `rollup.stage_summary` and `rollup.executor_hourly`: sums and quantiles of an attempt, stored beside its other rows.
//!
//! What they are is said by `sql/rollups`, over the base tables; `crate::rollup` makes the rows, and a test holds them to that SQL.

use super::metrics::{METRIC_COUNT, METRICS, concat};
use super::{Column, TableDef, Type, keys};

/// The quantiles that `stage_summary` has of each measure, ascending.
pub const STAGE_QUANTILES: [f64; 7] = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0];

/// How many measures of tasks `stage_summary` has.
pub const MEASURE_COUNT: usize = METRIC_COUNT + 5;

/// The measure that is no column of `tasks` but the sum of two: shuffle blocks fetched, local and remote.
pub const BLOCKS_FETCHED: &str = "shuffle_blocks_fetched";

/// What is measured of a task, with its meaning: times of scheduling, every metric, and sums of metrics that REST shows.
const MEASURED: [(&str, &str); MEASURE_COUNT] = {
    let mut measured = [("", ""); MEASURE_COUNT];
    measured[0] = ("duration_ms", "from launch to finish");
    measured[1] = ("scheduler_delay_ms", "time the scheduler took");
    measured[2] = ("getting_result_time_ms", "time to fetch an indirect result");
    measured[3] = ("shuffle_read_bytes", "shuffle bytes read, local and remote");
    let mut i = 0;
    while i < METRIC_COUNT {
        measured[i + 4] = (METRICS[i].name, METRICS[i].doc);
        i += 1;
    }
    measured[MEASURE_COUNT - 1] = (BLOCKS_FETCHED, "shuffle blocks fetched, local and remote");
    measured
};

/// The measures of `stage_summary` by name: all but [`BLOCKS_FETCHED`] are columns of `tasks`.
pub const MEASURES: [&str; MEASURE_COUNT] = {
    let mut names = [""; MEASURE_COUNT];
    let mut i = 0;
    while i < MEASURE_COUNT {
        names[i] = MEASURED[i].0;
        i += 1;
    }
    names
};

const DOCS: [&str; MEASURE_COUNT] = {
    let mut docs = [""; MEASURE_COUNT];
    let mut i = 0;
    while i < MEASURE_COUNT {
        docs[i] = MEASURED[i].1;
        i += 1;
    }
    docs
};

/// `concat!` for texts that are no literals: `BYTES` is [`length`] of the same texts.
const fn joined<const BYTES: usize>(before: &str, texts: &[&str], after: &str) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let (mut text, mut at) = (0, 0);
    while text < texts.len() {
        let parts = [before.as_bytes(), texts[text].as_bytes(), after.as_bytes()];
        let mut part = 0;
        while part < parts.len() {
            let mut i = 0;
            while i < parts[part].len() {
                bytes[at] = parts[part][i];
                at += 1;
                i += 1;
            }
            part += 1;
        }
        text += 1;
    }
    bytes
}

const fn length(before: &str, texts: &[&str], after: &str) -> usize {
    let (mut bytes, mut text) = (0, 0);
    while text < texts.len() {
        bytes += before.len() + texts[text].len() + after.len();
        text += 1;
    }
    bytes
}

/// What [`joined`] put one after another, each by itself.
const fn apart(mut bytes: &'static [u8], before: &str, texts: &[&str], after: &str) -> [&'static str; MEASURE_COUNT] {
    let mut pieces = [""; MEASURE_COUNT];
    let mut text = 0;
    while text < texts.len() {
        let (piece, rest) = bytes.split_at(before.len() + texts[text].len() + after.len());
        pieces[text] = match std::str::from_utf8(piece) {
            Ok(piece) => piece,
            Err(_) => panic!("texts are joined whole"),
        };
        bytes = rest;
        text += 1;
    }
    pieces
}

macro_rules! each {
    ($name:ident, $before:literal, $texts:ident, $after:literal) => {
        const $name: [&str; MEASURE_COUNT] = {
            const BYTES: usize = length($before, &$texts, $after);
            const ALL: [u8; BYTES] = joined($before, &$texts, $after);
            apart(&ALL, $before, &$texts, $after)
        };
    };
}
each!(QUANTILE_NAMES, "", MEASURES, "_quantiles");
each!(SUM_DOCS, "sum over task attempts: ", DOCS, "");
each!(
    QUANTILE_DOCS,
    "0, 5, 25, 50, 75, 95 and 100 % of successful tasks: ",
    DOCS,
    ""
);

/// Sum and quantiles of each measure.
const MEASURE_COLUMNS: [Column; 2 * MEASURE_COUNT] = {
    let mut columns = [counted("", ""); 2 * MEASURE_COUNT];
    let mut i = 0;
    while i < MEASURE_COUNT {
        columns[2 * i] = Column::null(
            MEASURES[i],
            Type::Int64,
            "",
            "sum over tasks; null where the log has it of none",
            SUM_DOCS[i],
        );
        columns[2 * i + 1] = Column::null(
            QUANTILE_NAMES[i],
            Type::List(&Type::Float64),
            "",
            "exact, by the rule of Spark's taskSummary; null where the log has it of none",
            QUANTILE_DOCS[i],
        );
        i += 1;
    }
    columns
};

const fn counted(name: &'static str, doc: &'static str) -> Column {
    Column::new(name, Type::Int64, "", "tasks", doc)
}

const STAGE_HEAD: [Column; 8] = [
    keys::APP_ID,
    keys::ATTEMPT_ID,
    Column::new("stage_id", Type::Int32, "", "tasks", "stage"),
    Column::new("stage_attempt_id", Type::Int32, "", "tasks", "attempt of the stage"),
    counted("num_tasks", "task attempts that were launched"),
    counted("num_complete_tasks", "task attempts that succeeded"),
    counted("num_failed_tasks", "task attempts that failed"),
    counted("num_killed_tasks", "task attempts that were killed"),
];

const STAGE_TAIL: [Column; 1] = [Column::new(
    "has_uniform_metrics",
    Type::Bool,
    "",
    "tasks",
    "whether all successful tasks finished, and each measure is there for all of them or none, and never negative: then quantiles are Spark's",
)];

pub static STAGE_SUMMARY: TableDef = TableDef {
    schema: "rollup",
    name: "stage_summary",
    grain: "one row per stage attempt with tasks",
    sort_order: &["app_id", "attempt_id", "stage_id", "stage_attempt_id"],
    columns: &concat::<{ 8 + 2 * MEASURE_COUNT + 1 }>(&[&STAGE_HEAD, &MEASURE_COLUMNS, &STAGE_TAIL]),
};

pub static EXECUTOR_HOURLY: TableDef = TableDef {
    schema: "rollup",
    name: "executor_hourly",
    grain: "one row per UTC hour and application attempt in which it had an executor with cores, or ran a task",
    sort_order: &["app_id", "attempt_id", "hour_start"],
    columns: &[
        Column::new(
            "hour_start",
            Type::Timestamp,
            "",
            "executors, tasks",
            "begin of the hour, UTC",
        ),
        keys::APP_ID,
        keys::ATTEMPT_ID,
        Column::new(
            "executors",
            Type::Int64,
            "",
            "executors",
            "executors with cores that lived in the hour; a driver has cores in local mode only",
        ),
        Column::new(
            "cores",
            Type::Int64,
            "",
            "executors",
            "their cores, however short they lived",
        ),
        Column::new(
            "core_ms",
            Type::Int64,
            "",
            "executors",
            "core time they offered in the hour",
        ),
        Column::new(
            "executor_run_time_ms",
            Type::Int64,
            "",
            "tasks",
            "run time of tasks, in the hours that they ran in",
        ),
    ],
};
