//! `sql`: SQL executions with the operators of their plans.

use arrow::array::{Array, AsArray, RecordBatch};
use datafusion::scalar::ScalarValue;

use super::answer::{Failure, JsonBody};
use super::json::Json;
use super::request::Request;
use super::rows::{Cursor, Rows, id, text};
use super::{Attempt, Rest, now_ms};

const EXECUTIONS: &str = include_str!("../../../sql/rest/sql_executions.sql");
const NODES: &str = include_str!("../../../sql/rest/sql_plan_nodes.sql");
const EDGES: &str = include_str!("../../../sql/rest/sql_plan_edges.sql");

/// Which parts of an execution are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    details: bool,
    plan_description: bool,
}

impl Shown {
    pub(super) fn of(request: &Request) -> Self {
        Shown {
            details: request.flag("details", true),
            plan_description: request.flag("planDescription", true),
        }
    }
}

/// Which executions are shown.
#[derive(Debug)]
pub(super) struct Page {
    shown: Shown,
    offset: i32,
    length: i32,
}

impl Page {
    pub(super) fn of(request: &Request) -> Result<Self, Failure> {
        Ok(Page {
            shown: Shown::of(request),
            offset: request.int("offset", 0)?,
            length: request.int("length", 20)?,
        })
    }
}

impl Rest {
    pub(super) async fn sql_executions(
        &self,
        attempt: &Attempt,
        page: &Page,
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        if page.length <= 0 {
            return Err(Failure::REQUEST_FAILED);
        }
        let params = attempt.params([
            ScalarValue::Int64(None),
            i64::from(page.offset.max(0)).into(),
            i64::from(page.length).into(),
            now_ms().into(),
        ]);
        let mut executions = self.rows(EXECUTIONS, params).await?;
        body.json.begin_array();
        while let Some(batch) = executions.next().await? {
            let mut plans = self.plans(attempt, page.shown, &batch).await?;
            for row in 0..batch.num_rows() {
                body.json.element();
                write_execution(body, &executions, &batch, row, page.shown, &mut plans).await?;
            }
        }
        body.json.end_array();
        Ok(())
    }

    pub(super) async fn sql_execution(
        &self,
        attempt: &Attempt,
        execution_id: i64,
        shown: Shown,
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        let params = attempt.params([execution_id.into(), 0_i64.into(), 1_i64.into(), now_ms().into()]);
        let mut executions = self.rows(EXECUTIONS, params).await?;
        let Some(batch) = executions.next().await? else {
            let text = format!("unknown query execution id: {execution_id}");
            return Err(Failure::not_found(text));
        };
        let mut plans = self.plans(attempt, shown, &batch).await?;
        write_execution(body, &executions, &batch, 0, shown, &mut plans).await
    }

    /// The plans of a batch of executions, which stand in the order of their ids.
    async fn plans(&self, attempt: &Attempt, shown: Shown, batch: &RecordBatch) -> Result<Option<Plans>, Failure> {
        if !shown.details {
            return Ok(None);
        }
        let (first, last) = (id(batch, "id", 0), id(batch, "id", batch.num_rows() - 1));
        let params = attempt.params([first.into(), last.into()]);
        Ok(Some(Plans {
            nodes: Cursor::of(self.rows(NODES, params.clone()).await?, "@executionId"),
            edges: Cursor::of(self.rows(EDGES, params).await?, "@executionId"),
        }))
    }
}

async fn write_execution(
    body: &mut JsonBody,
    executions: &Rows,
    batch: &RecordBatch,
    row: usize,
    shown: Shown,
    plans: &mut Option<Plans>,
) -> Result<(), Failure> {
    let execution_id = id(batch, "id", row);
    body.json.begin_object();
    executions.shape.part(0, &mut body.json, batch, row);
    body.json.key("planDescription");
    let plan = text(batch, "@planDescription", row).filter(|_| shown.plan_description);
    body.json.string(plan.unwrap_or_default());
    executions.shape.part(1, &mut body.json, batch, row);

    body.json.key("nodes");
    body.json.begin_array();
    if let Some(plans) = plans {
        while plans.nodes.is_of(execution_id).await? {
            body.json.element();
            plans.nodes.write(&mut body.json, write_metrics);
            body.flush().await?;
        }
    }
    body.json.end_array();
    body.json.key("edges");
    body.json.begin_array();
    if let Some(plans) = plans {
        while plans.edges.is_of(execution_id).await? {
            body.json.element();
            plans.edges.write(&mut body.json, |_, _, _| {});
        }
    }
    body.json.end_array();
    body.json.end_object();
    body.flush().await
}

/// REST shows the texts of a metric; its numbers are for SQL.
fn write_metrics(json: &mut Json, batch: &RecordBatch, row: usize) {
    json.key("metrics");
    json.begin_array();
    let metrics = batch
        .column_by_name("@metrics")
        .and_then(|array| array.as_list_opt::<i32>())
        .filter(|array| array.is_valid(row))
        .map(|array| array.value(row));
    if let Some(metrics) = metrics {
        let metrics = metrics.as_struct();
        for at in 0..metrics.len() {
            json.element();
            json.begin_object();
            for name in ["name", "value"] {
                let texts = metrics
                    .column_by_name(name)
                    .and_then(|array| array.as_string_opt::<i32>());
                if let Some(texts) = texts.filter(|texts| texts.is_valid(at)) {
                    json.key(name);
                    json.string(texts.value(at));
                }
            }
            json.end_object();
        }
    }
    json.end_array();
}

struct Plans {
    nodes: Cursor,
    edges: Cursor,
}
