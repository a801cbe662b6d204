//! The program's own statements: parsed, planned and optimised once, then run with parameters on the snapshot of each run.
//!
//! A client's statement is planned anew each time, because names may mean something else by then. These are ours: they name base tables
//! only, which are the same in every session, and a base table finds its snapshot when it is scanned.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::scalar::ScalarValue;

use super::error::QueryError;

/// An optimised plan with parameters in it.
#[derive(Debug)]
pub(super) struct Program {
    plan: LogicalPlan,
}

impl Program {
    pub(super) fn new(session: &SessionState, plan: &LogicalPlan) -> Result<Self, QueryError> {
        Ok(Program {
            plan: session.optimize(plan)?,
        })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::new(self.plan.schema().as_arrow().clone())
    }

    pub(super) async fn open(
        &self,
        session: &SessionState,
        memory: Arc<RuntimeEnv>,
        params: &[ScalarValue],
    ) -> Result<datafusion::execution::SendableRecordBatchStream, QueryError> {
        let values = params
            .iter()
            .map(|value| ScalarAndMetadata::new(value.clone(), None))
            .collect();
        let plan = self
            .plan
            .clone()
            .replace_params_with_values(&ParamValues::List(values))?;
        let plan = session.query_planner().create_physical_plan(&plan, session).await?;
        let context = TaskContext::from(session).with_runtime(memory);
        Ok(execute_stream(plan, Arc::new(context))?)
    }
}

/// Programs by their text. There are as many as the program has statements, so nothing is ever forgotten.
#[derive(Debug, Default)]
pub(super) struct Programs(RwLock<HashMap<String, Arc<Program>>>);

impl Programs {
    pub(super) fn get(&self, sql: &str) -> Option<Arc<Program>> {
        let programs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        programs.get(sql).cloned()
    }

    pub(super) fn insert(&self, sql: &str, program: Program) -> Arc<Program> {
        let mut programs = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(programs.entry(sql.to_owned()).or_insert_with(|| Arc::new(program)))
    }
}

/// The types of parameters as values say them.
pub(super) fn parameter_types(params: &[ScalarValue]) -> Vec<DataType> {
    params.iter().map(ScalarValue::data_type).collect()
}
