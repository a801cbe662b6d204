//! Rows of `rollup.executor_hourly`: `sql/rollups/executor_hourly.sql`, number by number.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;

use super::RollupError;
use super::columns::{Columns, value};
use crate::table::{APPLICATION_ATTEMPTS, EXECUTOR_HOURLY, EXECUTORS};

const HOUR_MS: i64 = 3_600_000;
/// Ten years for an executor, 31 days for a task, of which there are many more: whatever takes longer is of a damaged log, and gets no
/// more hours than these.
const LONGEST_EXECUTOR_MS: i64 = 315_576_000_000;
const LONGEST_TASK_MS: i64 = 2_678_400_000;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| EXECUTOR_HOURLY.arrow_schema());

#[derive(Debug, Default)]
struct Hour {
    executors: i64,
    cores: i64,
    core_ms: i64,
    executor_run_time_ms: i64,
}

/// The hours of an attempt so far, by their number since the epoch.
#[derive(Debug, Default)]
pub(super) struct Hours(BTreeMap<i64, Hour>);

/// The hours that something from `begin` to `end` was in; that of `begin` if it took no time.
fn hours(begin_ms: i64, end_ms: i64, longest_ms: i64) -> RangeInclusive<i64> {
    let last_ms = begin_ms.max((end_ms - 1).min(begin_ms + longest_ms));
    begin_ms / HOUR_MS..=last_ms / HOUR_MS
}

impl Hours {
    /// The executors of the attempt, each until it was removed, the attempt ended or its log did.
    pub(super) fn add_executors(
        &mut self,
        tables: &BTreeMap<&'static str, Vec<RecordBatch>>,
    ) -> Result<(), RollupError> {
        let batches = |table| tables.get(table).into_iter().flatten();
        let mut attempt_end = None;
        for batch in batches(APPLICATION_ATTEMPTS.name).filter(|batch| batch.num_rows() > 0) {
            let attempt = Columns {
                table: APPLICATION_ATTEMPTS.name,
                batch,
            };
            let (end, last_event) = (attempt.instant("end_time")?, attempt.instant("last_event_time")?);
            attempt_end = Some(value(end, 0).or(value(last_event, 0)));
        }
        // Without a row of the attempt its executors join nothing.
        let Some(attempt_end) = attempt_end else { return Ok(()) };
        for batch in batches(EXECUTORS.name) {
            let executors = Columns {
                table: EXECUTORS.name,
                batch,
            };
            let cores = executors.int32("total_cores")?;
            let (add, remove) = (executors.instant("add_time")?, executors.instant("remove_time")?);
            for row in 0..executors.rows() {
                let (Some(cores), Some(added)) = (value(cores, row).filter(|cores| *cores > 0), value(add, row)) else {
                    continue;
                };
                let gone = value(remove, row).or(attempt_end).map_or(added, |gone| gone.max(added));
                self.add_executor(cores.into(), added / 1000, gone / 1000);
            }
        }
        Ok(())
    }

    fn add_executor(&mut self, cores: i64, begin_ms: i64, end_ms: i64) {
        for at in hours(begin_ms, end_ms, LONGEST_EXECUTOR_MS) {
            let lived_ms = end_ms.min((at + 1) * HOUR_MS) - begin_ms.max(at * HOUR_MS);
            let hour = self.0.entry(at).or_default();
            hour.executors += 1;
            hour.cores += cores;
            hour.core_ms = hour.core_ms.wrapping_add(cores.wrapping_mul(lived_ms));
        }
    }

    pub(super) fn add_tasks(&mut self, tasks: &Columns<'_>) -> Result<(), RollupError> {
        let (launch, finish) = (tasks.instant("launch_time")?, tasks.instant("finish_time")?);
        let run_time = tasks.int64("executor_run_time_ms")?;
        for row in 0..tasks.rows() {
            let run_ms = value(run_time, row).filter(|run_ms| *run_ms > 0);
            if let (Some(run_ms), Some(launch), Some(finish)) = (run_ms, value(launch, row), value(finish, row)) {
                self.add_task(run_ms, launch / 1000, finish / 1000);
            }
        }
        Ok(())
    }

    fn add_task(&mut self, run_ms: i64, begin_ms: i64, end_ms: i64) {
        for at in hours(begin_ms, end_ms, LONGEST_TASK_MS) {
            let part = if end_ms <= begin_ms {
                run_ms
            } else {
                let until = end_ms.min((at + 1) * HOUR_MS) - begin_ms;
                let before = begin_ms.max(at * HOUR_MS) - begin_ms;
                share(run_ms, until, end_ms - begin_ms) - share(run_ms, before, end_ms - begin_ms)
            };
            let hour = self.0.entry(at).or_default();
            hour.executor_run_time_ms = hour.executor_run_time_ms.wrapping_add(part);
        }
    }

    /// `None` if there was no hour.
    pub(super) fn rows(&self, (app_id, attempt_id): (&str, &str)) -> Option<RecordBatch> {
        if self.0.is_empty() {
            return None;
        }
        let starts = self.0.keys().map(|hour| hour * HOUR_MS * 1000);
        let starts = TimestampMicrosecondArray::from_iter_values(starts).with_timezone("UTC");
        let count = self.0.len();
        let sums = |of: fn(&Hour) -> i64| Arc::new(Int64Array::from_iter_values(self.0.values().map(of))) as ArrayRef;
        let columns = vec![
            Arc::new(starts) as ArrayRef,
            Arc::new(StringArray::new_repeated(app_id, count)),
            Arc::new(StringArray::new_repeated(attempt_id, count)),
            sums(|hour| hour.executors),
            sums(|hour| hour.cores),
            sums(|hour| hour.core_ms),
            sums(|hour| hour.executor_run_time_ms),
        ];
        Some(RecordBatch::try_new(Arc::clone(&SCHEMA), columns).expect("the columns follow the table's definition"))
    }
}

/// The whole milliseconds of `run_ms` that fall into the first `part_ms` of `whole_ms`, in doubles, as SQL has it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the casts of the SQL"
)]
fn share(run_ms: i64, part_ms: i64, whole_ms: i64) -> i64 {
    (run_ms as f64 * (part_ms as f64 / whole_ms as f64)).floor() as i64
}
