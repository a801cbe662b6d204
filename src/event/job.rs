//! `SparkListenerJobStart`, `SparkListenerJobEnd`.

use serde::Deserialize;

use super::stage::StageInfo;
use super::{Properties, Text};

#[derive(Debug, Deserialize)]
pub struct JobStart<'a> {
    #[serde(rename = "Job ID")]
    pub job_id: i32,
    #[serde(rename = "Submission Time", default)]
    pub submission_time: Option<i64>,
    /// Since Spark 1.2.
    #[serde(borrow, rename = "Stage Infos", default)]
    pub stage_infos: Option<Vec<StageInfo<'a>>>,
    #[serde(rename = "Stage IDs")]
    pub stage_ids: Vec<i32>,
    #[serde(borrow, rename = "Properties", default)]
    pub properties: Option<Properties<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct JobEnd<'a> {
    #[serde(rename = "Job ID")]
    pub job_id: i32,
    #[serde(rename = "Completion Time", default)]
    pub completion_time: Option<i64>,
    #[serde(borrow, rename = "Job Result")]
    pub result: JobResult<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "Result")]
pub enum JobResult<'a> {
    JobSucceeded,
    JobFailed {
        #[serde(borrow, rename = "Exception")]
        exception: Exception<'a>,
    },
}

#[derive(Debug, Deserialize)]
pub struct Exception<'a> {
    #[serde(borrow, rename = "Message", default)]
    pub message: Option<Text<'a>>,
}
