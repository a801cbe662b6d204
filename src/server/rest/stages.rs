//! `stages`: the list, the attempts of a stage, one attempt, with tasks, executors and distributions on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::scalar::ScalarValue;

use super::answer::{Failure, JsonBody};
use super::executors::ExecutorLogs;
use super::request::{Choices, Request, java_double};
use super::routes::StageKey;
use super::rows::{Rows, number, text};
use super::tasks::{STATUSES as TASK_STATUSES, Window};
use super::{Attempt, Rest, optional_texts};
use crate::table::STAGE_QUANTILES;

const STAGES: &str = include_str!("../../../sql/rest/stages.sql");
const EXECUTORS: &str = include_str!("../../../sql/rest/stage_executors.sql");
const EXECUTOR_SUMMARY: &str = include_str!("../../../sql/rest/stage_executor_summary.sql");
const TASK_SUMMARY: &str = include_str!("../../../sql/rest/task_summary.sql");
const TASK_SUMMARY_STORED: &str = include_str!("../../../sql/rest/task_summary_stored.sql");
const TASK_SUMMARY_DELAYS: &str = include_str!("../../../sql/rest/task_summary_delays.sql");

/// Spark's `StageStatus`.
const STATUSES: [&str; 5] = ["ACTIVE", "COMPLETE", "FAILED", "PENDING", "SKIPPED"];

/// The quantiles of `withSummaries` where none are given.
const QUANTILES: &str = "0.0,0.25,0.5,0.75,1.0";
/// Those of `taskSummary`.
pub(super) const SUMMARY_QUANTILES: &str = "0.05,0.25,0.5,0.75,0.95";

/// What is asked for beyond the stage itself, without the quantiles: Spark reads those later, after it has found the application.
#[derive(Debug)]
pub(super) struct Flags {
    details: bool,
    summaries: bool,
    task_status: Choices,
}

/// What is asked for beyond the stage itself.
#[derive(Debug)]
pub(super) struct Details {
    flags: Flags,
    quantiles: Vec<f64>,
}

impl Flags {
    pub(super) fn of_stage(request: &Request) -> Result<Self, Failure> {
        Self::of(request, true)
    }

    fn of(request: &Request, details: bool) -> Result<Self, Failure> {
        Ok(Flags {
            details: request.flag("details", details),
            task_status: request.choices("taskStatus", &TASK_STATUSES)?,
            summaries: request.flag("withSummaries", false),
        })
    }

    pub(super) fn with_quantiles(self, request: &Request) -> Result<Details, Failure> {
        Ok(Details {
            flags: self,
            quantiles: quantiles(request, QUANTILES)?,
        })
    }
}

impl Details {
    pub(super) fn of_list(request: &Request) -> Result<(Choices, Self), Failure> {
        let statuses = request.choices("status", &STATUSES)?;
        let details = Flags::of(request, false)?.with_quantiles(request)?;
        Ok((statuses, details))
    }
}

/// The quantiles of a request, ascending. As Scala splits, empty ones at the end do not count.
pub(super) fn quantiles(request: &Request, default: &str) -> Result<Vec<f64>, Failure> {
    let given = request.text("quantiles").unwrap_or(default);
    let mut pieces: Vec<&str> = given.split(',').collect();
    while pieces.len() > 1 && pieces.last().is_some_and(|piece| piece.is_empty()) {
        pieces.pop();
    }
    if given.contains(',') && pieces == [""] {
        pieces.clear();
    }
    let mut quantiles = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let bad = || {
            let text = format!("Bad value for parameter \"quantiles\".  Expected a double, got \"{piece}\"");
            Failure::Text(axum::http::StatusCode::BAD_REQUEST, text)
        };
        quantiles.push(java_double(piece).ok_or_else(bad)?);
    }
    quantiles.sort_by(f64::total_cmp);
    Ok(quantiles)
}

fn doubles(values: &[f64]) -> ScalarValue {
    let items: Vec<ScalarValue> = values.iter().map(|value| ScalarValue::from(*value)).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Float64))
}

/// Where these quantiles stand among those of `rollup.stage_summary`; `None` if one is not stored.
fn stored_places(quantiles: &[f64]) -> Option<Vec<usize>> {
    // By their bits: an answer repeats the quantiles, and -0.0 is written as such.
    let place = |asked: &f64| {
        STAGE_QUANTILES
            .iter()
            .position(|stored| stored.to_bits() == asked.to_bits())
    };
    quantiles.iter().map(place).collect()
}

/// Of the one list in each column of stored quantiles those at `places`. A list that is null is of a metric that the log lacks, which
/// Spark takes as 0.
fn at_places(batch: &RecordBatch, places: &[usize]) -> RecordBatch {
    let taken = |column: &ArrayRef| -> ArrayRef {
        let (Some(lists), DataType::List(item)) = (column.as_list_opt::<i32>(), column.data_type()) else {
            return Arc::clone(column);
        };
        let stored = lists.is_valid(0).then(|| lists.value(0));
        let stored = stored
            .as_ref()
            .and_then(|stored| stored.as_primitive_opt::<Float64Type>());
        let value = |place: &usize| stored.map_or(0.0, |stored| stored.value(*place));
        let values: Float64Array = places.iter().map(value).collect();
        let offsets = OffsetBuffer::from_lengths([places.len()]);
        Arc::new(ListArray::new(Arc::clone(item), offsets, Arc::new(values), None))
    };
    with_columns(batch, batch.columns().iter().map(taken).collect())
}

/// The batch with the columns that `other`, also of one row, has under the same names.
fn replaced(batch: &RecordBatch, other: Option<&RecordBatch>) -> RecordBatch {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let other = other.and_then(|other| other.column_by_name(field.name()));
        Arc::clone(other.unwrap_or(column))
    });
    with_columns(batch, columns.collect())
}

fn with_columns(batch: &RecordBatch, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(batch.schema(), columns).expect("columns are replaced by others of their type and length")
}

fn is_true(batch: &RecordBatch, column: &str) -> bool {
    let column = batch.column_by_name(column).and_then(|column| column.as_boolean_opt());
    column.is_some_and(|column| column.is_valid(0) && column.value(0))
}

/// Parameters of `sql/rest/stages.sql`.
fn stage_params(
    attempt: &Attempt,
    stage: Option<i32>,
    stage_attempt: Option<i32>,
    statuses: ScalarValue,
    order: i32,
) -> Vec<ScalarValue> {
    attempt.params([
        ScalarValue::Int32(stage),
        ScalarValue::Int32(stage_attempt),
        statuses,
        order.into(),
    ])
}

fn any_status() -> ScalarValue {
    optional_texts(&Choices::default())
}

/// In [`stage_params`].
const OLDEST_FIRST: i32 = 1;
const NEWEST_FIRST: i32 = -1;

impl Rest {
    pub(super) async fn stages(
        &self,
        attempt: &Attempt,
        (statuses, details): (Choices, Details),
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        let params = stage_params(attempt, None, None, optional_texts(&statuses), NEWEST_FIRST);
        let asked = &details.flags.task_status;
        let met_null = AtomicBool::new(false);
        self.write_stages(attempt, params, &details, body, |batch, row| {
            if details.flags.details && asked.has_null {
                met_null.store(true, Ordering::Relaxed);
                return false;
            }
            !details.flags.details || asked.is_empty() || has_tasks(batch, row, asked)
        })
        .await?;
        // Spark counts the tasks of each stage by status and has no count for a null.
        match met_null.into_inner() {
            true => Err(Failure::REQUEST_FAILED),
            false => Ok(()),
        }
    }

    pub(super) async fn stage(
        &self,
        attempt: &Attempt,
        stage_id: i32,
        details: Details,
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        let params = stage_params(attempt, Some(stage_id), None, any_status(), OLDEST_FIRST);
        let written = self.write_stages(attempt, params, &details, body, |_, _| true).await?;
        match written {
            0 => Err(Failure::not_found(format!("unknown stage: {stage_id}"))),
            _ => Ok(()),
        }
    }

    pub(super) async fn stage_attempt(
        &self,
        attempt: &Attempt,
        (stage_id, stage_attempt_id): StageKey,
        details: Details,
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        let params = |stage_attempt| stage_params(attempt, Some(stage_id), stage_attempt, any_status(), OLDEST_FIRST);
        let mut stages = self.rows(STAGES, params(Some(stage_attempt_id))).await?;
        if let Some(batch) = stages.next().await? {
            let logs = self.logs_for(attempt, &details).await?;
            return self
                .write_stage(attempt, &stages, &batch, 0, &details, logs.as_ref(), body)
                .await;
        }
        let mut found = Vec::new();
        for batch in self.rows(STAGES, params(None)).await?.all().await? {
            found.extend((0..batch.num_rows()).filter_map(|row| number(&batch, "attemptId", row)));
        }
        let found: Vec<String> = found.iter().map(i64::to_string).collect();
        Err(Failure::not_found(match found.is_empty() {
            true => format!("unknown stage: {stage_id}"),
            false => format!(
                "unknown attempt for stage {stage_id}.  Found attempts: [{}]",
                found.join(",")
            ),
        }))
    }

    pub(super) async fn task_summary(
        &self,
        attempt: &Attempt,
        (stage_id, stage_attempt_id): StageKey,
        quantiles: &[f64],
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        let key = (stage_id, stage_attempt_id);
        match self.task_distributions(attempt, key, quantiles).await? {
            Some((rows, batch)) => {
                rows.shape.object(&mut body.json, &batch, 0);
                Ok(())
            }
            None => Err(Failure::not_found(format!(
                "No tasks reported metrics for {stage_id} / {stage_attempt_id} yet."
            ))),
        }
    }

    /// `None` if no task of the stage succeeded. From the stored quantiles where those are what Spark shows, else from the tasks.
    async fn task_distributions(
        &self,
        attempt: &Attempt,
        (stage_id, stage_attempt_id): StageKey,
        quantiles: &[f64],
    ) -> Result<Option<(Rows, RecordBatch)>, Failure> {
        let params = attempt.params([
            stage_id.into(),
            stage_attempt_id.into(),
            attempt.last_updated_ms.into(),
            doubles(quantiles),
        ]);
        if let Some(places) = stored_places(quantiles).filter(|_| self.retention.keeps_all("tasks")) {
            let mut stored = self.rows(TASK_SUMMARY_STORED, params[..4].to_vec()).await?;
            if let Some(batch) = stored.next().await? {
                let count = |column| number(&batch, column, 0).unwrap_or_default();
                let (tasks, complete) = (count("@numTasks"), count("@numCompleteTasks"));
                if complete == 0 {
                    return Ok(None);
                }
                if is_true(&batch, "@hasUniformMetrics") {
                    let batch = at_places(&batch, &places);
                    let batch = match complete == tasks {
                        true => batch,
                        false => {
                            let delays = self.rows(TASK_SUMMARY_DELAYS, params).await?.next().await?;
                            replaced(&batch, delays.as_ref())
                        }
                    };
                    return Ok(Some((stored, batch)));
                }
            }
        }
        let mut rows = self.rows(TASK_SUMMARY, params).await?;
        let batch = rows.next().await?;
        let counted = |batch: &RecordBatch| {
            let times = batch.column_by_name("executorRunTime");
            times.is_some_and(|times| times.is_valid(0))
        };
        Ok(batch.filter(counted).map(|batch| (rows, batch)))
    }

    /// `None` if no executor took part.
    async fn executor_distributions(
        &self,
        attempt: &Attempt,
        (stage_id, stage_attempt_id): StageKey,
        quantiles: &[f64],
    ) -> Result<Option<(Rows, RecordBatch)>, Failure> {
        let params = attempt.params([
            stage_id.into(),
            stage_attempt_id.into(),
            doubles(quantiles),
            doubles(&vec![0.0; quantiles.len()]),
        ]);
        let mut rows = self.rows(EXECUTOR_SUMMARY, params).await?;
        let batch = rows.next().await?;
        Ok(batch
            .filter(|batch| text(batch, "@anyExecutor", 0).is_some())
            .map(|batch| (rows, batch)))
    }

    /// Gives how many stages `shown` left.
    async fn write_stages(
        &self,
        attempt: &Attempt,
        params: Vec<ScalarValue>,
        details: &Details,
        body: &mut JsonBody,
        shown: impl Fn(&RecordBatch, usize) -> bool + Send,
    ) -> Result<usize, Failure> {
        let mut stages = self.rows(STAGES, params).await?;
        let mut written = 0;
        body.json.begin_array();
        let mut logs = None;
        while let Some(batch) = stages.next().await? {
            if logs.is_none() {
                logs = self.logs_for(attempt, details).await?;
            }
            for row in 0..batch.num_rows() {
                if shown(&batch, row) {
                    body.json.element();
                    self.write_stage(attempt, &stages, &batch, row, details, logs.as_ref(), body)
                        .await?;
                    body.flush().await?;
                    written += 1;
                }
            }
        }
        body.json.end_array();
        Ok(written)
    }

    async fn logs_for(&self, attempt: &Attempt, details: &Details) -> Result<Option<ExecutorLogs>, Failure> {
        match details.flags.details {
            true => self.executor_logs(attempt).await.map(Some),
            false => Ok(None),
        }
    }

    /// `logs` are there if details were asked for.
    #[expect(
        clippy::too_many_arguments,
        reason = "a row is a statement's rows, a batch and a number"
    )]
    async fn write_stage(
        &self,
        attempt: &Attempt,
        stages: &Rows,
        batch: &RecordBatch,
        row: usize,
        details: &Details,
        logs: Option<&ExecutorLogs>,
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        let part = |column| {
            number(batch, column, row)
                .and_then(|id| i32::try_from(id).ok())
                .unwrap_or_default()
        };
        let key = (part("stageId"), part("attemptId"));
        body.json.begin_object();
        stages.shape.part(0, &mut body.json, batch, row);
        if let Some(logs) = logs {
            let window = Window::all(&details.flags.task_status)?;
            body.json.key("tasks");
            self.write_tasks_by_id(attempt, key, &window, logs, body).await?;
            body.json.key("executorSummary");
            self.write_stage_executors(attempt, key, body).await?;
            stages.shape.part(1, &mut body.json, batch, row);
        }
        stages.shape.part(2, &mut body.json, batch, row);
        if details.flags.summaries {
            if let Some((rows, batch)) = self.task_distributions(attempt, key, &details.quantiles).await? {
                body.json.key("taskMetricsDistributions");
                rows.shape.object(&mut body.json, &batch, 0);
            }
            if let Some((rows, batch)) = self.executor_distributions(attempt, key, &details.quantiles).await? {
                body.json.key("executorMetricsDistributions");
                rows.shape.object(&mut body.json, &batch, 0);
            }
        }
        stages.shape.part(3, &mut body.json, batch, row);
        body.json.end_object();
        Ok(())
    }

    async fn write_stage_executors(
        &self,
        attempt: &Attempt,
        (stage_id, stage_attempt_id): StageKey,
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        let params = attempt.params([stage_id.into(), stage_attempt_id.into()]);
        let mut executors = self.rows(EXECUTORS, params).await?;
        body.json.begin_object();
        while let Some(batch) = executors.next().await? {
            for row in 0..batch.num_rows() {
                body.json.key(text(&batch, "@executorId", row).unwrap_or_default());
                executors.shape.object(&mut body.json, &batch, row);
                body.flush().await?;
            }
        }
        body.json.end_object();
        Ok(())
    }
}

/// Whether a stage has tasks of one of these statuses, as far as its counters say.
fn has_tasks(batch: &RecordBatch, row: usize, asked: &Choices) -> bool {
    let count = |column| number(batch, column, row).unwrap_or_default();
    let (failed, killed) = (count("numFailedTasks"), count("numKilledTasks"));
    let (active, complete) = (count("numActiveTasks"), count("numCompleteTasks"));
    asked.values.iter().any(|status| {
        let tasks = match *status {
            "FAILED" => failed,
            "KILLED" => killed,
            "RUNNING" => active,
            "SUCCESS" => complete,
            _ => count("numTasks") - failed - killed - active - complete,
        };
        tasks > 0
    })
}
