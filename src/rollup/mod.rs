//! The rows of schema `rollup` that are stored: what `sql/rollups` says over the base tables, made once for each application attempt.
//!
//! [`rollups`] takes the attempt's rows and gives those of [`STAGE_SUMMARY`] and [`EXECUTOR_HOURLY`]. Task rows may be too many for memory,
//! so they are passed over several times, a few columns each; what is held of them is `HELD_BYTES`, not less than one column of numbers.
//! There is no SQL here, no I/O and no clock.
//!
//! Invariant: the rows are those of the SQL, value for value (`tests/it/rollups.rs`), in whichever order and batches the tasks come.

mod columns;
mod executor_hourly;
pub(crate) mod quantile;
mod stage_summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::table::{EXECUTOR_HOURLY, STAGE_SUMMARY, TASKS};
use columns::Columns;
use executor_hourly::Hours;
use stage_summary::{StageCounts, StageKey};

/// Values of tasks that are held at a time: enough for all measures of 100,000 tasks in one pass, and for two of 2,000,000.
const HELD_BYTES: usize = 32 << 20;

/// The task rows of one attempt, a few columns at a time.
pub trait TaskColumns: Send + Sync {
    /// Batches that have at least the named columns of [`TASKS`], with its types. Batches and rows may come in any order, and in another
    /// one each time.
    fn columns<'a>(&'a self, names: &'a [&'static str]) -> BoxStream<'a, Result<RecordBatch, ReadFailure>>;
}

/// Why task rows could not be read.
pub type ReadFailure = Box<dyn std::error::Error + Send + Sync>;

/// Task rows in memory.
impl TaskColumns for Vec<RecordBatch> {
    fn columns<'a>(&'a self, _: &'a [&'static str]) -> BoxStream<'a, Result<RecordBatch, ReadFailure>> {
        in_memory(self)
    }
}

impl TaskColumns for &[RecordBatch] {
    fn columns<'a>(&'a self, _: &'a [&'static str]) -> BoxStream<'a, Result<RecordBatch, ReadFailure>> {
        in_memory(self)
    }
}

fn in_memory(batches: &[RecordBatch]) -> BoxStream<'_, Result<RecordBatch, ReadFailure>> {
    futures::stream::iter(batches.iter().cloned().map(Ok)).boxed()
}

/// Why an attempt has no rollups.
#[derive(Debug, thiserror::Error)]
pub enum RollupError {
    #[error("task rows cannot be read")]
    Read(#[source] ReadFailure),
    /// Rows of another release, or a defect of ours.
    #[error("{table} has no column {column} of type {ty}")]
    Column {
        table: &'static str,
        column: &'static str,
        ty: &'static str,
    },
    /// The rows were replaced while they were read.
    #[error("stage {stage_id} attempt {stage_attempt_id} has other tasks than a moment ago")]
    Changed { stage_id: i32, stage_attempt_id: i32 },
}

/// The rows of the rollup tables for one attempt, by table name and in the tables' sort order; no entry means no rows.
///
/// `tables` has the attempt's other rows, of which `executors` and `application_attempts` are read.
pub async fn rollups(
    app_id: &str,
    attempt_id: &str,
    tables: &BTreeMap<&'static str, Vec<RecordBatch>>,
    tasks: &dyn TaskColumns,
) -> Result<BTreeMap<&'static str, Vec<RecordBatch>>, RollupError> {
    rollups_within(HELD_BYTES, (app_id, attempt_id), tables, tasks).await
}

/// What the first pass reads: the stages of tasks, and when they ran.
const FIRST: &[&str] = &[
    "stage_id",
    "stage_attempt_id",
    "status",
    "finish_time",
    "launch_time",
    "executor_run_time_ms",
];

async fn rollups_within(
    held_bytes: usize,
    attempt: (&str, &str),
    tables: &BTreeMap<&'static str, Vec<RecordBatch>>,
    tasks: &dyn TaskColumns,
) -> Result<BTreeMap<&'static str, Vec<RecordBatch>>, RollupError> {
    let mut hours = Hours::default();
    hours.add_executors(tables)?;
    let mut stages: BTreeMap<StageKey, StageCounts> = BTreeMap::new();
    let mut batches = tasks.columns(FIRST);
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(RollupError::Read)?;
        let batch = Columns {
            table: TASKS.name,
            batch: &batch,
        };
        stage_summary::count(&batch, &mut stages)?;
        hours.add_tasks(&batch)?;
    }
    drop(batches);
    let summary = stage_summary::rows(held_bytes, attempt, &stages, tasks).await?;
    let rows = [
        (STAGE_SUMMARY.name, summary),
        (EXECUTOR_HOURLY.name, hours.rows(attempt)),
    ];
    let rows = rows.into_iter().filter_map(|(name, rows)| Some((name, vec![rows?])));
    Ok(rows.collect())
}
