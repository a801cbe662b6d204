//! Task attempts: those that run are kept, those that ended become rows at once, which may be given away.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};

use super::index_set::IndexSet;
use super::metrics::Metrics;
use super::stage::{Accumulator, StageKey};
use super::take::Attempt;
use crate::event::task::{TaskEnd, TaskInfo};
use crate::table::metrics::{METRIC_COUNT, index};
use crate::table::{Rows, TASKS, Value, repeated};

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
    /// Rows that a batch holds.
    batch_rows: usize,
    /// Tasks that a log tells of more than once, with how often they have ended: the last row holds, as in Spark's store.
    told_again: HashMap<i64, u32>,
    /// How many of the first rows of a task do not hold, from an earlier reading of the log: they are left out.
    left_out: HashMap<i64, u32>,
    /// Application and attempt that the rows name.
    key: Option<(String, String)>,
    taken: Taken,
}

/// What is known of the rows that were given away.
#[derive(Debug, Default)]
struct Taken {
    rows: usize,
    tasks: IndexSet,
    /// Whose they are.
    attempt: Option<Attempt>,
    /// The log told of one of the tasks again, or rows were taken for two attempts.
    in_vain: bool,
}

impl Default for TaskRows {
    fn default() -> Self {
        TaskRows {
            // Most applications are small: a batch grows to its size.
            open: Rows::new(&TASKS, 0),
            batches: Vec::new(),
            batch_rows: BATCH_ROWS,
            told_again: HashMap::new(),
            left_out: HashMap::new(),
            key: None,
            taken: Taken::default(),
        }
    }
}

impl TaskRows {
    /// Leaves out the first rows of these tasks.
    pub(super) fn leave_out(&mut self, rows: HashMap<i64, u32>) {
        self.left_out = rows;
    }

    pub(super) fn set_batch_rows(&mut self, rows: usize) {
        self.batch_rows = rows.max(1);
    }

    pub(super) fn end(
        &mut self,
        key: (&str, &str),
        stage: StageKey,
        event: &TaskEnd<'_>,
        (error_message, killed_reason): (Option<&str>, Option<&str>),
        metrics: &Metrics,
    ) {
        let info = &event.info;
        let mut ended = 1;
        if let Some(times) = self.told_again.get_mut(&info.task_id) {
            *times += 1;
            ended = *times;
        }
        if self
            .left_out
            .get(&info.task_id)
            .is_some_and(|left_out| ended <= *left_out)
        {
            return;
        }
        if self.names_other(key) {
            self.seal();
            self.rekey(key);
        }
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
        if self.open.len() == self.batch_rows {
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
                *column = repeated(key, batch.num_rows());
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
            Some(last) if last.num_rows() + batch.num_rows() <= self.batch_rows => {
                *last = concat_batches(&batch.schema(), [&*last, &batch]).expect("batches of one table");
            }
            _ => self.batches.push(batch),
        }
    }

    /// A row of this task exists; the next one replaces it.
    pub(super) fn supersede(&mut self, task_id: i64) {
        self.told_again.entry(task_id).or_insert(1);
        self.taken.in_vain |= self.taken.tasks.contains(task_id.cast_unsigned());
    }

    /// Rows in memory.
    pub(super) fn held(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum::<usize>() + self.open.len()
    }

    /// Gives away the batches that are complete. A task that runs has a row later, whatever it has now.
    pub(super) fn take(&mut self, attempt: &Attempt, is_running: impl Fn(i64) -> bool) -> Vec<RecordBatch> {
        if self.batches.is_empty() {
            return Vec::new();
        }
        if self.names_other(attempt.key()) {
            self.seal();
            self.rekey(attempt.key());
        }
        if !self.told_again.is_empty() {
            self.seal();
            let running = self
                .told_again
                .keys()
                .copied()
                .filter(|task| is_running(*task))
                .collect();
            self.batches = without_superseded(std::mem::take(&mut self.batches), &self.told_again, running);
            self.batches.retain(|batch| batch.num_rows() > 0);
        }
        // Later rows may be put to the last batch.
        let grows = self
            .batches
            .last()
            .is_some_and(|last| last.num_rows() < self.batch_rows);
        let complete = self.batches.len() - usize::from(grows);
        let batches: Vec<RecordBatch> = self.batches.drain(..complete).collect();
        for batch in &batches {
            for task in task_ids(batch) {
                self.taken.tasks.insert(task.cast_unsigned());
            }
            self.taken.rows += batch.num_rows();
        }
        if !batches.is_empty() {
            let before = self.taken.attempt.get_or_insert_with(|| attempt.clone());
            self.taken.in_vain |= before != attempt;
        }
        batches
    }

    /// Rows that were given away.
    pub(super) fn taken_rows(&self) -> usize {
        self.taken.rows
    }

    /// Whose rows were given away, if any were.
    pub(super) fn taken_for(&self) -> Option<&Attempt> {
        self.taken.attempt.as_ref()
    }

    /// Whether rows that were given away do not hold.
    pub(super) fn taken_in_vain(&self) -> bool {
        self.taken.in_vain
    }

    /// Whether a row was left out that holds after all: the log does not tell of the task as often as the earlier reading found.
    pub(super) fn left_out_in_vain(&self, has_ended: impl Fn(i64) -> bool, is_running: impl Fn(i64) -> bool) -> bool {
        self.left_out.iter().any(|(task, left_out)| {
            let once = u32::from(has_ended(*task));
            let ended = self.told_again.get(task).copied().unwrap_or(once);
            ended < *left_out || ended == *left_out && !is_running(*task)
        })
    }

    /// How many of the first rows of a task do not hold, of all tasks that the log tells of more than once.
    pub(super) fn superseded(&self, is_running: impl Fn(i64) -> bool) -> HashMap<i64, u32> {
        let rows = self.told_again.iter();
        rows.map(|(task, ended)| (*task, ended - u32::from(!is_running(*task))))
            .collect()
    }

    /// All rows as of now that were not given away: ended tasks, then those that run.
    pub(super) fn batches<'t>(
        &mut self,
        key: (&str, &str),
        running: impl Iterator<Item = &'t LiveTask>,
    ) -> Vec<RecordBatch> {
        self.seal();
        let mut rows = Rows::new(&TASKS, 0);
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
        if !self.told_again.is_empty() {
            batches = without_superseded(batches, &self.told_again, HashSet::new());
        }
        batches
    }
}

fn task_ids(batch: &RecordBatch) -> &[i64] {
    let ids = batch
        .column_by_name("task_id")
        .and_then(|ids| ids.as_any().downcast_ref::<Int64Array>());
    ids.expect("tasks have ids").values()
}

/// Leaves out all rows but the last of each task that is told of again, and that one too where a later one was `seen`.
fn without_superseded(
    batches: Vec<RecordBatch>,
    told_again: &HashMap<i64, u32>,
    mut seen: HashSet<i64>,
) -> Vec<RecordBatch> {
    let mut kept: Vec<RecordBatch> = batches
        .into_iter()
        .rev()
        .map(|batch| {
            let ids = task_ids(&batch);
            let mut keep = vec![true; ids.len()];
            for (row, id) in ids.iter().enumerate().rev() {
                keep[row] = !told_again.contains_key(id) || seen.insert(*id);
            }
            if keep.iter().all(|keep| *keep) {
                return batch;
            }
            filter_record_batch(&batch, &BooleanArray::from(keep)).expect("a mask as long as the batch")
        })
        .collect();
    kept.reverse();
    kept
}
