//! `executors`, `allexecutors`, `allmiscellaneousprocess`, and the thread dumps that no history has.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use axum::http::StatusCode;

use super::answer::{Failure, JsonBody};
use super::json::Json;
use super::rows::text;
use super::shape::Shape;
use super::{Attempt, Rest, now_ms};

const EXECUTORS: &str = include_str!("../../../sql/rest/executors.sql");
const LOGS: &str = include_str!("../../../sql/rest/executor_logs.sql");
const PROCESSES: &str = include_str!("../../../sql/rest/miscellaneous_processes.sql");

const DRIVER: &str = "driver";

impl Rest {
    /// With removed ones by ascending id, without them by descending id: Spark walks another index.
    pub(super) async fn executors(
        &self,
        attempt: &Attempt,
        with_removed: bool,
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        // The driver of an application that runs has been there until now.
        let until_now = now_ms().saturating_sub(attempt.start_ms);
        let direction = if with_removed { "ASC" } else { "DESC" };
        let sql = EXECUTORS.replace("{direction}", direction);
        let params = attempt.params([until_now.into(), with_removed.into()]);
        self.write_list(body, &sql, params).await
    }

    pub(super) async fn miscellaneous_processes(&self, attempt: &Attempt, body: &mut JsonBody) -> Result<(), Failure> {
        self.write_list(body, PROCESSES, attempt.key()).await
    }

    /// The log URLs of executors, for their tasks.
    pub(super) async fn executor_logs(&self, attempt: &Attempt) -> Result<ExecutorLogs, Failure> {
        let mut rows = self.rows(LOGS, attempt.key()).await?;
        let batches = rows.all().await?;
        let mut places = HashMap::new();
        for (at, batch) in batches.iter().enumerate() {
            for row in 0..batch.num_rows() {
                places.insert(
                    text(batch, "@executorId", row).unwrap_or_default().to_owned(),
                    (at, row),
                );
            }
        }
        Ok(ExecutorLogs {
            shape: rows.shape,
            batches,
            places,
        })
    }
}

/// Log URLs by executor; of those that have any.
pub(super) struct ExecutorLogs {
    shape: Shape,
    batches: Vec<RecordBatch>,
    places: HashMap<String, (usize, usize)>,
}

impl ExecutorLogs {
    /// The member `executorLogs` of the task in this row.
    pub(super) fn write(&self, json: &mut Json, task: &RecordBatch, row: usize) {
        let executor = task
            .column_by_name("executorId")
            .and_then(|array| array.as_string_opt::<i32>())
            .filter(|array| array.is_valid(row))
            .and_then(|array| self.places.get(array.value(row)));
        match executor {
            Some((batch, row)) => self.shape.members(json, &self.batches[*batch], *row),
            None => {
                json.key("executorLogs");
                json.begin_object();
                json.end_object();
            }
        }
    }
}

/// There are thread dumps only while an application runs.
pub(super) fn threads(executor_id: &str) -> Result<(), Failure> {
    let known = executor_id == DRIVER || executor_id.chars().all(char::is_numeric);
    Err(if known {
        let text = "Thread dumps not available through the history server.";
        Failure::Text(StatusCode::SERVICE_UNAVAILABLE, text.into())
    } else {
        let text = "Invalid executorId: neither 'driver' nor number.";
        Failure::Text(StatusCode::BAD_REQUEST, text.into())
    })
}
