//! Task attempts: those that run are kept, those that ended become rows at once.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;

use super::metrics::Metrics;
use super::stage::{Accumulator, StageKey};
use crate::event::task::{TaskEnd, TaskInfo};
use crate::table::metrics::{METRIC_COUNT, index};
use crate::table::{Rows, TASKS, Value};

/// Rows a batch of tasks holds: DataFusion's own batch size.
const BATCH_ROWS: usize = 8192;

/// A task attempt that was launched and has not ended (Spark's `LiveTask`).
#[derive(Debug)]
pub(super) struct LiveTask {
    task_id: i64,
    stage: StageKey,
    index: i32,
    attempt: i32,
    partition_id: Option<i32>,
    launch_time: i64,
    getting_result_time: i64,
    finish_time: i64,
    failed: bool,
    killed: bool,
    executor_id: Option<Arc<str>>,
    host: Option<Arc<str>>,
    locality: Arc<str>,
    speculative: bool,
    /// From executor heartbeats, which only Spark's debugging writes to a log.
    pub(super) metrics: Option<Metrics>,
}

impl LiveTask {
    pub(super) fn task_id(&self) -> i64 {
        self.task_id
    }

    pub(super) fn new(stage: StageKey, info: &TaskInfo<'_>, intern: &mut impl FnMut(&str) -> Arc<str>) -> Self {
        LiveTask {
            task_id: info.task_id,
            stage,
            index: info.index,
            attempt: info.attempt.unwrap_or(1),
            partition_id: info.partition_id,
            launch_time: info.launch_time,
            getting_result_time: info.getting_result_time,
            finish_time: info.finish_time,
            failed: info.failed,
            killed: info.killed.unwrap_or(false),
            executor_id: info.executor_id.as_deref().map(&mut *intern),
            host: info.host.as_deref().map(&mut *intern),
            locality: intern(&info.locality),
            speculative: info.speculative.unwrap_or(false),
            metrics: None,
        }
    }
}

/// What a row of `tasks` says of a task attempt, running or ended.
#[derive(Debug)]
struct TaskRow<'a> {
    stage: StageKey,
    task_id: i64,
    index: i32,
    attempt: i32,
    partition_id: Option<i32>,
    launch_time: i64,
    getting_result_time: i64,
    finish_time: i64,
    failed: bool,
    killed: bool,
    executor_id: Option<&'a str>,
    host: Option<&'a str>,
    locality: &'a str,
    speculative: bool,
    error_message: Option<&'a str>,
    killed_reason: Option<&'a str>,
    metrics: Option<&'a Metrics>,
    accumulables: &'a [Accumulator],
}

impl TaskRow<'_> {
    fn push(&self, app_id: &str, attempt_id: &str, rows: &mut Rows) {
        let finished = self.finish_time != 0;
        let status = match (finished, self.failed, self.killed) {
            (false, ..) if self.getting_result_time != 0 => "GET RESULT",
            (false, ..) => "RUNNING",
            (true, true, _) => "FAILED",
            (true, false, true) => "KILLED",
            (true, false, false) => "SUCCESS",
        };
        let duration = finished.then(|| self.finish_time.wrapping_sub(self.launch_time));
        let fetched = self.getting_result_time > 0;
        let getting_result = duration.map(|_| {
            if fetched {
                self.finish_time - self.getting_result_time
            } else {
                0
            }
        });
        let delay = duration
            .zip(getting_result)
            .zip(self.metrics)
            .map(|((duration, getting_result), metrics)| {
                let busy = metrics.value(index::EXECUTOR_RUN_TIME)
                    + metrics.value(index::EXECUTOR_DESERIALIZE_TIME)
                    + metrics.value(index::RESULT_SERIALIZATION_TIME);
                (duration - busy - getting_result).max(0)
            });
        rows.push(app_id)
            .push(attempt_id)
            .push(self.stage.stage_id)
            .push(self.stage.stage_attempt_id);
        rows.push(self.task_id)
            .push(self.index)
            .push(self.attempt)
            .push(self.partition_id.filter(|id| *id >= 0));
        rows.push(Value::Millis(self.launch_time));
        rows.push(Value::millis(fetched.then_some(self.getting_result_time)));
        rows.push(Value::millis(finished.then_some(self.finish_time)))
            .push(duration);
        rows.push(self.executor_id)
            .push(self.host)
            .push(status)
            .push(self.locality)
            .push(self.speculative);
        rows.push(self.error_message)
            .push(self.killed_reason)
            .push(delay)
            .push(getting_result);
        match self.metrics {
            Some(metrics) => {
                let recorded = metrics.get(index::SHUFFLE_REMOTE_BYTES_READ).is_some();
                rows.push(recorded.then(|| metrics.shuffle_read_bytes()));
                for at in 0..METRIC_COUNT {
                    rows.push(metrics.get(at));
                }
            }
            None => {
                for _ in 0..=METRIC_COUNT {
                    rows.push(Value::Null);
                }
            }
        }
        rows.push(Value::List(
            self.accumulables.iter().map(Accumulator::as_value).collect(),
        ));
        rows.end_row();
    }
}

/// The rows of ended task attempts, in batches.
#[derive(Debug)]
pub(super) struct TaskRows {
    open: Rows,
    full: Vec<RecordBatch>,
    rows: usize,
    /// Tasks that a log tells of twice: the later row holds, as in Spark's store.
    superseded: HashSet<i64>,
}

impl Default for TaskRows {
    fn default() -> Self {
        TaskRows {
            open: Rows::new(&TASKS, BATCH_ROWS),
            full: Vec::new(),
            rows: 0,
            superseded: HashSet::new(),
        }
    }
}

impl TaskRows {
    pub(super) fn end(
        &mut self,
        (app_id, attempt_id): (&str, &str),
        event: &TaskEnd<'_>,
        (error_message, killed_reason): (Option<&str>, Option<&str>),
        metrics: &Metrics,
    ) {
        let info = &event.info;
        let shown = info
            .accumulables
            .iter()
            .flatten()
            .filter(|accumulable| accumulable.is_shown());
        let accumulables: Vec<Accumulator> = shown.map(Accumulator::of).collect();
        let row = TaskRow {
            stage: StageKey {
                stage_id: event.stage_id,
                stage_attempt_id: event.stage_attempt_id.unwrap_or(0),
            },
            task_id: info.task_id,
            index: info.index,
            attempt: info.attempt.unwrap_or(1),
            partition_id: info.partition_id,
            launch_time: info.launch_time,
            getting_result_time: info.getting_result_time,
            finish_time: info.finish_time,
            failed: info.failed,
            killed: info.killed.unwrap_or(false),
            executor_id: info.executor_id.as_deref(),
            host: info.host.as_deref(),
            locality: &info.locality,
            speculative: info.speculative.unwrap_or(false),
            error_message,
            killed_reason,
            metrics: Some(metrics),
            accumulables: &accumulables,
        };
        row.push(app_id, attempt_id, &mut self.open);
        self.rows += 1;
        if self.open.len() == BATCH_ROWS {
            self.full.push(self.open.finish());
        }
    }

    /// A row of this task exists; the next one replaces it.
    pub(super) fn supersede(&mut self, task_id: i64) {
        self.superseded.insert(task_id);
    }

    /// All rows as of now: ended tasks, then those that run.
    pub(super) fn batches<'t>(
        &mut self,
        (app_id, attempt_id): (&str, &str),
        running: impl Iterator<Item = &'t LiveTask>,
    ) -> Vec<RecordBatch> {
        if !self.open.is_empty() {
            self.full.push(self.open.finish());
        }
        let mut rows = Rows::new(&TASKS, 16);
        let mut again = HashSet::new();
        for task in running {
            if self.superseded.contains(&task.task_id) {
                again.insert(task.task_id);
            }
            let row = TaskRow {
                stage: task.stage,
                task_id: task.task_id,
                index: task.index,
                attempt: task.attempt,
                partition_id: task.partition_id,
                launch_time: task.launch_time,
                getting_result_time: task.getting_result_time,
                finish_time: task.finish_time,
                failed: task.failed,
                killed: task.killed,
                executor_id: task.executor_id.as_deref(),
                host: task.host.as_deref(),
                locality: &task.locality,
                speculative: task.speculative,
                error_message: None,
                killed_reason: None,
                metrics: task.metrics.as_ref(),
                accumulables: &[],
            };
            row.push(app_id, attempt_id, &mut rows);
        }
        let mut batches = self.full.clone();
        if !rows.is_empty() {
            batches.push(rows.finish());
        }
        if !self.superseded.is_empty() {
            batches = without_superseded(batches, &self.superseded);
        }
        batches
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}

/// Leaves out all rows but the last of each superseded task.
fn without_superseded(batches: Vec<RecordBatch>, superseded: &HashSet<i64>) -> Vec<RecordBatch> {
    let mut seen = HashSet::new();
    let mut kept: Vec<RecordBatch> = batches
        .into_iter()
        .rev()
        .map(|batch| {
            let ids = batch
                .column_by_name("task_id")
                .and_then(|ids| ids.as_any().downcast_ref::<Int64Array>());
            let ids = ids.expect("tasks have ids").values();
            let mut keep = vec![true; ids.len()];
            for (row, id) in ids.iter().enumerate().rev() {
                keep[row] = !superseded.contains(id) || seen.insert(*id);
            }
            filter_record_batch(&batch, &BooleanArray::from(keep)).expect("a mask as long as the batch")
        })
        .collect();
    kept.reverse();
    kept
}
