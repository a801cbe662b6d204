//! Task attempts: those that run are kept, those that ended become rows at once.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch};

use super::metrics::Metrics;
use super::stage::{Accumulator, StageKey};
use crate::event::task::{TaskEnd, TaskInfo};
use crate::table::metrics::{METRIC_COUNT, index};
use crate::table::{Rows, TASKS, Value};

/// Rows a batch of tasks holds: DataFusion's own batch size.
const BATCH_ROWS: usize = 8192;

/// What Spark's `TaskInfo` says of a task attempt. `S` holds names: borrowed from an event, or kept while the task runs.
#[derive(Debug)]
struct TaskFacts<S> {
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
    executor_id: Option<S>,
    host: Option<S>,
    locality: S,
    speculative: bool,
}

impl<'e, S> TaskFacts<S> {
    fn of(stage: StageKey, info: &'e TaskInfo<'_>, mut keep: impl FnMut(&'e str) -> S) -> Self {
        TaskFacts {
            stage,
            task_id: info.task_id,
            index: info.index,
            attempt: info.attempt.unwrap_or(1),
            partition_id: info.partition_id,
            launch_time: info.launch_time,
            getting_result_time: info.getting_result_time,
            finish_time: info.finish_time,
            failed: info.failed,
            killed: info.killed.unwrap_or(false),
            executor_id: info.executor_id.as_deref().map(&mut keep),
            host: info.host.as_deref().map(&mut keep),
            locality: keep(&info.locality),
            speculative: info.speculative.unwrap_or(false),
        }
    }
}

/// How a task attempt ended, and what it measured.
#[derive(Debug, Default)]
struct TaskResult<'a> {
    error_message: Option<&'a str>,
    killed_reason: Option<&'a str>,
    metrics: Option<&'a Metrics>,
    accumulables: &'a [Accumulator],
}

impl<S: AsRef<str>> TaskFacts<S> {
    fn push_row(&self, (app_id, attempt_id): (&str, &str), result: &TaskResult<'_>, rows: &mut Rows) {
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
        let fetching = || self.finish_time.wrapping_sub(self.getting_result_time);
        let getting_result = duration.map(|_| if fetched { fetching() } else { 0 });
        let delay = duration
            .zip(getting_result)
            .zip(result.metrics)
            .map(|((duration, getting_result), metrics)| {
                let busy = metrics
                    .value(index::EXECUTOR_RUN_TIME)
                    .wrapping_add(metrics.value(index::EXECUTOR_DESERIALIZE_TIME))
                    .wrapping_add(metrics.value(index::RESULT_SERIALIZATION_TIME));
                duration.wrapping_sub(busy).wrapping_sub(getting_result).max(0)
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
        rows.push(self.executor_id.as_ref().map(S::as_ref))
            .push(self.host.as_ref().map(S::as_ref))
            .push(status);
        rows.push(self.locality.as_ref()).push(self.speculative);
        rows.push(result.error_message)
            .push(result.killed_reason)
            .push(delay)
            .push(getting_result);
        match result.metrics {
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
            result.accumulables.iter().map(Accumulator::as_value).collect(),
        ));
        rows.end_row();
    }
}

/// A task attempt that was launched and has not ended (Spark's `LiveTask`).
#[derive(Debug)]
pub(super) struct LiveTask {
    facts: TaskFacts<Arc<str>>,
    /// From executor heartbeats, which only Spark's debugging writes to a log.
    pub(super) metrics: Option<Metrics>,
}

impl LiveTask {
    pub(super) fn new(stage: StageKey, info: &TaskInfo<'_>, intern: impl FnMut(&str) -> Arc<str>) -> Self {
        LiveTask {
            facts: TaskFacts::of(stage, info, intern),
            metrics: None,
        }
    }

    /// The stage attempt that it was launched for.
    pub(super) fn stage(&self) -> StageKey {
        self.facts.stage
    }

    pub(super) fn task_id(&self) -> i64 {
        self.facts.task_id
    }
}

/// The rows of ended task attempts, in batches.
#[derive(Debug)]
pub(super) struct TaskRows {
    open: Rows,
    batches: Vec<RecordBatch>,
    /// Tasks that a log tells of twice: the later row holds, as in Spark's store.
    superseded: HashSet<i64>,
    /// Application and attempt that the rows name.
    key: Option<(String, String)>,
}

impl Default for TaskRows {
    fn default() -> Self {
        TaskRows {
            // Most applications are small: a batch grows to its size.
            open: Rows::new(&TASKS, 64),
            batches: Vec::new(),
            superseded: HashSet::new(),
            key: None,
        }
    }
}

impl TaskRows {
    pub(super) fn end(
        &mut self,
        key: (&str, &str),
        stage: StageKey,
        event: &TaskEnd<'_>,
        (error_message, killed_reason): (Option<&str>, Option<&str>),
        metrics: &Metrics,
    ) {
        if self.names_other(key) {
            self.seal();
            self.rekey(key);
        }
        let info = &event.info;
        let shown = info
            .accumulables
            .iter()
            .flatten()
            .filter(|accumulable| accumulable.is_shown());
        let accumulables: Vec<Accumulator> = shown.map(Accumulator::of).collect();
        let result = TaskResult {
            error_message,
            killed_reason,
            metrics: Some(metrics),
            accumulables: &accumulables,
        };
        TaskFacts::of(stage, info, |name| name).push_row(key, &result, &mut self.open);
        if self.open.len() == BATCH_ROWS {
            self.seal();
        }
    }

    /// Whether the rows so far, if any, name another application or attempt.
    fn names_other(&self, key: (&str, &str)) -> bool {
        self.key
            .as_ref()
            .is_none_or(|(app, attempt)| (app.as_str(), attempt.as_str()) != key)
    }

    /// Gives all rows the keys of the application: tasks that ended before its start was seen have others.
    fn rekey(&mut self, (app_id, attempt_id): (&str, &str)) {
        self.key = Some((app_id.to_owned(), attempt_id.to_owned()));
        for batch in &mut self.batches {
            let mut columns = batch.columns().to_vec();
            for (column, key) in columns.iter_mut().zip([app_id, attempt_id]) {
                *column = Arc::new(StringArray::from(vec![key; batch.num_rows()]));
            }
            *batch = RecordBatch::try_new(batch.schema(), columns).expect("the keys are the first columns, and text");
        }
    }

    /// Makes a batch of the open rows. A log that grows slowly is asked for its rows often: small batches are put together.
    fn seal(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let batch = self.open.finish();
        match self.batches.last_mut() {
            Some(last) if last.num_rows() + batch.num_rows() <= BATCH_ROWS => {
                *last = concat_batches(&batch.schema(), [&*last, &batch]).expect("batches of one table");
            }
            _ => self.batches.push(batch),
        }
    }

    /// A row of this task exists; the next one replaces it.
    pub(super) fn supersede(&mut self, task_id: i64) {
        self.superseded.insert(task_id);
    }

    /// All rows as of now: ended tasks, then those that run.
    pub(super) fn batches<'t>(
        &mut self,
        key: (&str, &str),
        running: impl Iterator<Item = &'t LiveTask>,
    ) -> Vec<RecordBatch> {
        self.seal();
        let mut rows = Rows::new(&TASKS, 16);
        for task in running {
            let result = TaskResult {
                metrics: task.metrics.as_ref(),
                ..TaskResult::default()
            };
            task.facts.push_row(key, &result, &mut rows);
        }
        if self.names_other(key) {
            self.rekey(key);
        }
        let mut batches = self.batches.clone();
        if !rows.is_empty() {
            batches.push(rows.finish());
        }
        if !self.superseded.is_empty() {
            batches = without_superseded(batches, &self.superseded);
        }
        batches
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
