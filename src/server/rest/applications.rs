//! `applications`: the list with its filters, one application, one attempt.

use arrow::array::RecordBatch;

use super::answer::{Failure, JsonBody};
use super::json::Json;
use super::request::Request;
use super::rows::text;
use super::shape::Shape;
use super::{Rest, dates, now_ms};

const LIST: &str = include_str!("../../../sql/rest/applications.sql");
const ONE: &str = include_str!("../../../sql/rest/application.sql");

const COMPLETED: &str = "COMPLETED";
const RUNNING: &str = "RUNNING";

impl Rest {
    pub(super) async fn applications(&self, request: &Request, body: &mut JsonBody) -> Result<(), Failure> {
        let statuses = request.choices("status", &[COMPLETED, RUNNING])?;
        let date = |name: &str, default: &str| {
            let text = request.text(name).filter(|text| !text.is_empty()).unwrap_or(default);
            dates::parse(text).ok_or_else(|| Failure::Date(format!("Couldn't parse date: {text}")))
        };
        let (first_start, last_start) = (date("minDate", "2010-01-01")?, date("maxDate", "3000-01-01")?);
        let (first_end, last_end) = (date("minEndDate", "2010-01-01")?, date("maxEndDate", "3000-01-01")?);
        let limit = request.optional_int("limit")?.unwrap_or(i32::MAX).max(0);
        if limit == 0 {
            body.json.begin_array();
            body.json.end_array();
            return Ok(());
        }
        let params = vec![
            (statuses.is_empty() || statuses.contains(COMPLETED)).into(),
            (statuses.is_empty() || statuses.contains(RUNNING)).into(),
            first_start.into(),
            last_start.into(),
            first_end.into(),
            last_end.into(),
            (last_end > now_ms()).into(),
            i64::from(limit).into(),
        ];
        let mut rows = self.rows(LIST, params).await?;
        let mut open = None;
        body.json.begin_array();
        while let Some(batch) = rows.next().await? {
            for row in 0..batch.num_rows() {
                let id = text(&batch, "id", row).unwrap_or_default();
                if open.as_deref() != Some(id) {
                    if open.is_some() {
                        end_application(&mut body.json);
                        body.flush().await?;
                    }
                    body.json.element();
                    begin_application(&mut body.json, &rows.shape, &batch, row);
                    open = Some(id.to_owned());
                }
                body.json.element();
                write_attempt(&mut body.json, &rows.shape, &batch, row);
            }
        }
        if open.is_some() {
            end_application(&mut body.json);
        }
        body.json.end_array();
        Ok(())
    }

    pub(super) async fn application(&self, app_id: &str, body: &mut JsonBody) -> Result<(), Failure> {
        let (shape, batches) = self.attempts(app_id).await?;
        let Some(newest) = batches.first() else {
            return Err(Failure::not_found(format!("unknown app: {app_id}")));
        };
        begin_application(&mut body.json, &shape, newest, 0);
        for batch in &batches {
            for row in 0..batch.num_rows() {
                body.json.element();
                write_attempt(&mut body.json, &shape, batch, row);
            }
        }
        end_application(&mut body.json);
        Ok(())
    }

    pub(super) async fn application_attempt(
        &self,
        app_id: &str,
        attempt_id: &str,
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        let (shape, batches) = self.attempts(app_id).await?;
        for batch in &batches {
            if let Some(row) = (0..batch.num_rows()).find(|row| text(batch, "attemptId", *row) == Some(attempt_id)) {
                write_attempt(&mut body.json, &shape, batch, row);
                return Ok(());
            }
        }
        Err(Failure::not_found(format!(
            "unknown app {app_id}, attempt {attempt_id}"
        )))
    }

    async fn attempts(&self, app_id: &str) -> Result<(Shape, Vec<RecordBatch>), Failure> {
        let mut rows = self.rows(ONE, vec![app_id.into()]).await?;
        let batches = rows.all().await?;
        Ok((rows.shape, batches))
    }
}

/// The part of a row that is about the application, up to its attempts.
fn begin_application(json: &mut Json, shape: &Shape, batch: &RecordBatch, row: usize) {
    json.begin_object();
    shape.part(0, json, batch, row);
    json.key("attempts");
    json.begin_array();
}

fn write_attempt(json: &mut Json, shape: &Shape, batch: &RecordBatch, row: usize) {
    json.begin_object();
    shape.part(1, json, batch, row);
    json.end_object();
}

fn end_application(json: &mut Json) {
    json.end_array();
    json.end_object();
}
