//! What an executor did for a stage attempt.

use super::job::Outcome;
use super::metrics::{Metrics, Peaks};
use super::stage::StageKey;
use crate::table::Rows;
use crate::table::metrics::index;

/// An executor as a stage that runs sees it.
#[derive(Debug, Default)]
pub(super) struct OnExecutor {
    active_tasks: i32,
    /// Spark makes one when a task ends, when a measure comes, or when the executor is excluded; not when a task starts.
    pub(super) summary: Option<ExecutorSummary>,
}

impl OnExecutor {
    pub(super) fn task_started(&mut self) {
        self.active_tasks += 1;
    }

    /// Counts an ended task; gives the summary if Spark writes it to its store, because none of its tasks runs there any more.
    pub(super) fn task_ended(
        &mut self,
        outcome: &Outcome<'_>,
        duration: i64,
        delta: Option<&Metrics>,
    ) -> (&mut ExecutorSummary, bool) {
        self.active_tasks -= outcome.active;
        let summary = self.summary.get_or_insert_default();
        summary.task_time = summary.task_time.wrapping_add(duration);
        summary.failed_tasks += outcome.failed;
        summary.succeeded_tasks += outcome.completed;
        summary.killed_tasks += outcome.killed;
        if let Some(delta) = delta {
            summary.add(delta);
        }
        (summary, self.active_tasks == 0)
    }
}

/// The sums that a summary has.
const SUMS: usize = 10;

/// Spark's `LiveExecutorStageSummary`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ExecutorSummary {
    task_time: i64,
    failed_tasks: i32,
    succeeded_tasks: i32,
    killed_tasks: i32,
    pub(super) is_excluded: bool,
    /// In the order of the columns.
    sums: [i64; SUMS],
    pub(super) peaks: Peaks,
}

impl ExecutorSummary {
    pub(super) fn add(&mut self, delta: &Metrics) {
        let values = [
            delta.value(index::INPUT_BYTES),
            delta.value(index::INPUT_RECORDS),
            delta.value(index::OUTPUT_BYTES),
            delta.value(index::OUTPUT_RECORDS),
            delta.shuffle_read_bytes(),
            delta.value(index::SHUFFLE_READ_RECORDS),
            delta.value(index::SHUFFLE_WRITE_BYTES),
            delta.value(index::SHUFFLE_WRITE_RECORDS),
            delta.value(index::MEMORY_BYTES_SPILLED),
            delta.value(index::DISK_BYTES_SPILLED),
        ];
        for (sum, value) in self.sums.iter_mut().zip(values) {
            *sum = sum.wrapping_add(value);
        }
    }

    pub(super) fn push_row(
        &self,
        (app_id, attempt_id): (&str, &str),
        stage: StageKey,
        executor_id: &str,
        rows: &mut Rows,
    ) {
        rows.push(app_id)
            .push(attempt_id)
            .push(stage.stage_id)
            .push(stage.stage_attempt_id)
            .push(executor_id);
        rows.push(self.task_time)
            .push(self.failed_tasks)
            .push(self.succeeded_tasks)
            .push(self.killed_tasks);
        for sum in self.sums {
            rows.push(sum);
        }
        rows.push(self.is_excluded);
        self.peaks.push(rows);
        rows.end_row();
    }
}
