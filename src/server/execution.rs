//! A planned statement at work: its physical plan, the rows it gives under the names the client knows, and a second try where memory did
//! not suffice.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{EmptyRecordBatchStream, ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::error::QueryError;
use super::explain;
use super::statement::{Explains, Parsed};

/// How long what ran out of memory has to release it, and how often that is looked at.
const RELEASE_CHECKS: usize = 100;
const RELEASE_CHECK: Duration = Duration::from_millis(10);

/// A statement whose plan runs.
pub(super) struct Execution {
    pub(super) schema: SchemaRef,
    batches: SendableRecordBatchStream,
    explains: Explains,
    /// `None` for what is not planned as a client's statement is.
    plan: Option<Arc<dyn ExecutionPlan>>,
    /// To plan it again for less memory, as long as no row was given.
    again: Option<(SessionState, LogicalPlan)>,
}

impl Execution {
    pub(super) async fn open(session: &SessionState, parsed: &Parsed, plan: LogicalPlan) -> Result<Self, QueryError> {
        let physical = session.create_physical_plan(&plan).await?;
        if parsed.explains == Explains::Estimates {
            let schema = parsed.client_schema(&physical.schema());
            let rows = explain::estimates(&physical, &schema)?;
            let batches = SessionContext::new().read_batch(rows)?.execute_stream().await?;
            return Ok(Execution {
                schema,
                batches,
                explains: Explains::Nothing,
                plan: None,
                again: None,
            });
        }
        let batches = execute_stream(Arc::clone(&physical), session.task_ctx())?;
        Ok(Execution {
            schema: parsed.client_schema(&batches.schema()),
            batches,
            explains: parsed.explains,
            plan: Some(physical),
            again: Some((session.clone(), plan)),
        })
    }

    /// Of one of the program's own statements.
    pub(super) fn of_own(schema: SchemaRef, batches: SendableRecordBatchStream) -> Self {
        Execution {
            schema,
            batches,
            explains: Explains::Nothing,
            plan: None,
            again: None,
        }
    }

    /// Bytes its operators have written to disk.
    pub(super) fn spilled_bytes(&self) -> usize {
        fn of(plan: &Arc<dyn ExecutionPlan>) -> usize {
            let own = plan.metrics().and_then(|metrics| metrics.spilled_bytes()).unwrap_or(0);
            own + plan.children().into_iter().map(of).sum::<usize>()
        }
        self.plan.as_ref().map_or(0, of)
    }

    pub(super) async fn next(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        let mut next = self.batches.next().await;
        let again = self.again.take();
        if let (Some(Err(error)), Some((session, plan))) = (&next, again)
            && let QueryError::OutOfMemory { .. } = QueryError::from_datafusion(error)
        {
            match self.with_less_memory(session, &plan).await {
                Ok(()) => next = self.batches.next().await,
                Err(error) => return Some(Err(error)),
            }
        }
        let batch = match next? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error.into())),
        };
        Some(if self.explains == Explains::Nothing {
            self.under_client_names(batch)
        } else {
            self.plan_lines(&batch)
        })
    }

    /// The build side of a hash join cannot spill; sorted inputs of a merge join can. Nor can what a sort merges, and several sorts side by side
    /// do not leave each other room for that; one alone has it.
    async fn with_less_memory(&mut self, mut session: SessionState, plan: &LogicalPlan) -> Result<(), QueryError> {
        tracing::debug!("out of memory; trying again with merge joins or in one partition");
        let has_hash_join = self.plan.as_ref().is_some_and(has_hash_join);
        // What was tried lets go of its memory first. Its tasks end by themselves soon after nobody waits for them.
        self.batches = Box::pin(EmptyRecordBatchStream::new(self.batches.schema()));
        self.plan = None;
        for _ in 0..RELEASE_CHECKS {
            if session.runtime_env().memory_pool.reserved() == 0 {
                break;
            }
            tokio::time::sleep(RELEASE_CHECK).await;
        }
        let options = session.config_mut().options_mut();
        if has_hash_join {
            // DataFusion plans merge joins only where there is more than one partition.
            options.optimizer.prefer_hash_join = false;
            options.execution.target_partitions = options.execution.target_partitions.max(2);
        } else {
            options.execution.target_partitions = 1;
        }
        let physical = session.create_physical_plan(plan).await?;
        self.batches = execute_stream(Arc::clone(&physical), session.task_ctx())?;
        self.plan = Some(physical);
        Ok(())
    }

    fn under_client_names(&self, batch: RecordBatch) -> Result<RecordBatch, QueryError> {
        if batch.schema() == self.schema {
            return Ok(batch);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        // Names only differ; a schema that also relaxes nullability would be refused, so the types are the batch's own.
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options).map_err(
            |error| QueryError::Internal {
                message: error.to_string(),
            },
        )
    }

    /// DataFusion explains in rows of (kind, text); PostgreSQL in one column of lines.
    fn plan_lines(&self, batch: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let text = |column: usize| -> Result<ArrayRef, QueryError> {
            cast(batch.column(column), &DataType::Utf8).map_err(|error| QueryError::Internal {
                message: error.to_string(),
            })
        };
        let (kinds, plans) = (text(0)?, text(1)?);
        let as_text = |array: &ArrayRef, row: usize| {
            array
                .as_any()
                .downcast_ref::<StringArray>()
                .map(|array| array.value(row).to_string())
                .unwrap_or_default()
        };
        let mut lines: Vec<String> = Vec::new();
        for row in 0..batch.num_rows() {
            let (kind, plan) = (as_text(&kinds, row), as_text(&plans, row));
            if plan.trim_start().starts_with('[') && plan.trim_end().ends_with(']') {
                // FORMAT JSON is one document, which clients parse as one value.
                lines.push(plan);
                continue;
            }
            lines.push(format!("{}:", kind.replace('_', " ")));
            lines.extend(plan.lines().map(|line| format!("  {line}")));
        }
        let column: ArrayRef = Arc::new(StringArray::from(lines));
        RecordBatch::try_new(Arc::clone(&self.schema), vec![column]).map_err(|error| QueryError::Internal {
            message: error.to_string(),
        })
    }
}

fn has_hash_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.name() == "HashJoinExec" || plan.children().into_iter().any(has_hash_join)
}
