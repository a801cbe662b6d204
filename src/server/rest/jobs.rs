//! `jobs`: the list, newest first, and one job.

use datafusion::scalar::ScalarValue;

use super::answer::{Failure, JsonBody};
use super::request::Choices;
use super::{Attempt, Rest, optional_texts};

const JOBS: &str = include_str!("../../../sql/rest/jobs.sql");

/// Spark's `JobExecutionStatus`.
pub(super) const STATUSES: [&str; 4] = ["RUNNING", "SUCCEEDED", "FAILED", "UNKNOWN"];

impl Rest {
    pub(super) async fn jobs(&self, attempt: &Attempt, statuses: &Choices, body: &mut JsonBody) -> Result<(), Failure> {
        let params = attempt.params([ScalarValue::Int32(None), optional_texts(statuses)]);
        self.write_list(body, JOBS, params).await
    }

    pub(super) async fn job(&self, attempt: &Attempt, job_id: i32, body: &mut JsonBody) -> Result<(), Failure> {
        let params = attempt.params([job_id.into(), optional_texts(&Choices::default())]);
        let missing = || Failure::not_found(format!("unknown job: {job_id}"));
        self.write_one(body, JOBS, params, missing).await
    }
}
