//! The application attempt itself: who, when, how it ended, and its totals.

use arrow::array::RecordBatch;

use super::metrics::Metrics;
use crate::event::application::{ApplicationEnd, ApplicationStart, LogStart};
use crate::event_log::EventLog;
use crate::table::metrics::index;
use crate::table::{APPLICATION_ATTEMPTS, Rows, Value};

#[derive(Debug, Default)]
pub(super) struct Application {
    spark_version: Option<String>,
    app_id: Option<String>,
    attempt_id: String,
    name: Option<String>,
    user: Option<String>,
    start_time: i64,
    end_time: Option<i64>,
    exit_code: Option<i32>,
    /// Whether the job that ended last failed, and when it ended.
    last_job: Option<(i64, bool)>,
    last_time: Option<i64>,
    failed_tasks: i64,
    metrics: Metrics,
    peak_execution_memory: Option<i64>,
}

/// Totals that other parts of the replay count.
#[derive(Debug)]
pub(super) struct Totals {
    pub(super) jobs: usize,
    pub(super) failed_jobs: usize,
    pub(super) stages: usize,
    pub(super) failed_stages: usize,
    pub(super) tasks: usize,
    pub(super) executors: usize,
    pub(super) cores: i64,
    pub(super) core_ms: i64,
    pub(super) events: u64,
    pub(super) problems: u64,
}

impl Application {
    pub(super) fn log_start(&mut self, event: &LogStart<'_>) {
        self.spark_version = event.spark_version.as_deref().map(str::to_owned);
    }

    pub(super) fn start(&mut self, event: &ApplicationStart<'_>) {
        self.app_id = event.app_id.as_deref().map(str::to_owned);
        self.attempt_id = event.app_attempt_id.as_deref().unwrap_or_default().to_owned();
        self.name = event.app_name.as_deref().map(str::to_owned);
        self.user = event.spark_user.as_deref().map(str::to_owned);
        self.start_time = event.time;
        self.saw(event.time);
    }

    pub(super) fn end(&mut self, event: &ApplicationEnd) {
        self.end_time = Some(event.time);
        self.exit_code = event.exit_code;
        self.saw(event.time);
    }

    pub(super) fn job_ended(&mut self, failed: bool, time: Option<i64>) {
        let time = time.unwrap_or(i64::MIN);
        if self.last_job.is_none_or(|(last, _)| time >= last) {
            self.last_job = Some((time, failed));
        }
    }

    pub(super) fn task_ended(&mut self, failed: bool, metrics: &Metrics) {
        self.failed_tasks += i64::from(failed);
        self.metrics.add(metrics);
        self.peak_execution_memory = self
            .peak_execution_memory
            .max(metrics.get(index::PEAK_EXECUTION_MEMORY));
    }

    /// Something happened at `time`, milliseconds since the epoch.
    pub(super) fn saw(&mut self, time: i64) {
        if time > 0 {
            self.last_time = self.last_time.max(Some(time));
        }
    }

    /// Keys of rows, also before the application's start was seen (such rows are never shown).
    pub(super) fn key(&self) -> (&str, &str) {
        (self.app_id.as_deref().unwrap_or_default(), &self.attempt_id)
    }

    pub(super) fn id(&self) -> Option<(String, String)> {
        Some((self.app_id.clone()?, self.attempt_id.clone()))
    }

    /// Who runs it, as far as the log says.
    pub(super) fn user(&self) -> &str {
        self.user.as_deref().unwrap_or_default()
    }

    pub(super) fn start_time(&self) -> i64 {
        self.start_time
    }

    pub(super) fn duration(&self) -> Option<i64> {
        self.end_time.map(|end| end.wrapping_sub(self.start_time))
    }

    /// When what has no end of its own counts as over: the application's end, else the last event's time.
    pub(super) fn last_time(&self) -> i64 {
        self.end_time.or(self.last_time).unwrap_or(self.start_time)
    }

    fn status(&self) -> &'static str {
        let failed = match (self.end_time, self.exit_code, self.last_job) {
            (None, ..) => return "RUNNING",
            (_, Some(code), _) => code != 0,
            (_, None, last_job) => last_job.is_some_and(|(_, failed)| failed),
        };
        if failed { "FAILED" } else { "SUCCEEDED" }
    }

    pub(super) fn row(&self, log: &EventLog, totals: &Totals) -> RecordBatch {
        let long = |count: usize| i64::try_from(count).expect("far fewer");
        let mut rows = Rows::new(&APPLICATION_ATTEMPTS, 1);
        let (app_id, attempt_id) = self.key();
        rows.push(app_id)
            .push(attempt_id)
            .push(self.name.as_ref())
            .push(self.status());
        rows.push(Value::Millis(self.start_time))
            .push(Value::millis(self.end_time));
        rows.push(Value::Millis(log.modified_ms))
            .push(self.duration())
            .push(self.user.as_ref());
        rows.push(self.end_time.is_some())
            .push(self.spark_version.as_ref())
            .push(self.exit_code);
        rows.push(Value::Null)
            .push(Value::Null)
            .push(Value::Null)
            .push(Value::Null);
        rows.push(totals.cores)
            .push(long(totals.jobs))
            .push(long(totals.failed_jobs));
        rows.push(long(totals.stages)).push(long(totals.failed_stages));
        rows.push(long(totals.tasks))
            .push(self.failed_tasks)
            .push(long(totals.executors));
        rows.push(self.metrics.value(index::EXECUTOR_RUN_TIME))
            .push(self.metrics.value(index::EXECUTOR_CPU_TIME));
        rows.push(self.metrics.value(index::JVM_GC_TIME))
            .push(self.metrics.value(index::INPUT_BYTES));
        rows.push(self.metrics.value(index::OUTPUT_BYTES))
            .push(self.metrics.shuffle_read_bytes());
        rows.push(self.metrics.value(index::SHUFFLE_WRITE_BYTES));
        rows.push(self.metrics.value(index::MEMORY_BYTES_SPILLED));
        rows.push(self.metrics.value(index::DISK_BYTES_SPILLED))
            .push(self.peak_execution_memory);
        rows.push(totals.core_ms).push(1).push(&*log.path);
        rows.push(i64::try_from(log.size_bytes).unwrap_or(i64::MAX));
        rows.push(i64::try_from(totals.events).unwrap_or(i64::MAX));
        rows.push(i64::try_from(totals.problems).unwrap_or(i64::MAX));
        rows.push(Value::millis(self.last_time));
        rows.end_row();
        rows.finish()
    }
}
