//! `SparkListenerStageSubmitted`, `SparkListenerStageCompleted`, and what they share with jobs: stages, RDDs, accumulators.

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;

use super::{Properties, Text};

#[derive(Debug, Deserialize)]
pub struct StageSubmitted<'a> {
    #[serde(borrow, rename = "Stage Info")]
    pub info: StageInfo<'a>,
    #[serde(borrow, rename = "Properties", default)]
    pub properties: Option<Properties<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct StageCompleted<'a> {
    #[serde(borrow, rename = "Stage Info")]
    pub info: StageInfo<'a>,
}

#[derive(Debug, Deserialize)]
pub struct StageInfo<'a> {
    #[serde(rename = "Stage ID")]
    pub stage_id: i32,
    #[serde(rename = "Stage Attempt ID", default)]
    pub attempt_id: Option<i32>,
    #[serde(borrow, rename = "Stage Name")]
    pub name: Option<Text<'a>>,
    #[serde(rename = "Number of Tasks")]
    pub num_tasks: i32,
    #[serde(borrow, rename = "RDD Info")]
    pub rdds: Vec<RddInfo<'a>>,
    #[serde(rename = "Parent IDs", default)]
    pub parent_ids: Option<Vec<i32>>,
    #[serde(borrow, rename = "Details", default)]
    pub details: Option<Text<'a>>,
    #[serde(rename = "Submission Time", default)]
    pub submission_time: Option<i64>,
    #[serde(rename = "Completion Time", default)]
    pub completion_time: Option<i64>,
    #[serde(borrow, rename = "Failure Reason", default)]
    pub failure_reason: Option<Text<'a>>,
    #[serde(borrow, rename = "Accumulables", default)]
    pub accumulables: Option<Vec<Accumulable<'a>>>,
    #[serde(rename = "Resource Profile Id", default)]
    pub resource_profile_id: Option<i32>,
    #[serde(rename = "Shuffle Push Enabled", default)]
    pub shuffle_push_enabled: Option<bool>,
    #[serde(rename = "Shuffle Push Mergers Count", default)]
    pub shuffle_mergers_count: Option<i32>,
}

#[derive(Debug, Deserialize)]
pub struct RddInfo<'a> {
    #[serde(rename = "RDD ID")]
    pub id: i32,
    #[serde(borrow, rename = "Name")]
    pub name: Option<Text<'a>>,
    #[serde(rename = "Storage Level")]
    pub storage_level: StorageLevel,
    #[serde(rename = "Number of Partitions")]
    pub num_partitions: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct StorageLevel {
    #[serde(rename = "Use Disk")]
    pub use_disk: bool,
    #[serde(rename = "Use Memory")]
    pub use_memory: bool,
    /// Since Spark 3.4; before, an off-heap level was written as "Use ExternalBlockStore" or not at all.
    #[serde(rename = "Use Off Heap", default)]
    pub use_off_heap: bool,
    #[serde(rename = "Deserialized")]
    pub deserialized: bool,
    #[serde(rename = "Replication")]
    pub replication: i32,
}

impl StorageLevel {
    /// Spark's `StorageLevel.isValid`: it stores something somewhere.
    pub fn is_valid(self) -> bool {
        (self.use_memory || self.use_disk) && self.replication > 0
    }
}

/// One accumulator of a task or stage.
#[derive(Debug, Deserialize)]
pub struct Accumulable<'a> {
    #[serde(rename = "ID")]
    pub id: i64,
    #[serde(borrow, rename = "Name", default)]
    pub name: Option<Text<'a>>,
    #[serde(borrow, rename = "Update", default)]
    pub update: Option<&'a RawValue>,
    #[serde(borrow, rename = "Value", default)]
    pub value: Option<&'a RawValue>,
    #[serde(rename = "Internal", default, deserialize_with = "null_is_false")]
    pub internal: bool,
    #[serde(borrow, rename = "Metadata", default)]
    pub metadata: Option<Text<'a>>,
}

impl Accumulable<'_> {
    /// Shown with its task or stage: neither internal (its value is a task metric) nor of SQL (shown in the plan).
    pub fn is_shown(&self) -> bool {
        !self.internal && self.metadata.as_deref() != Some("sql")
    }

    /// Its id with the update, if it has one; `None` for one that is no whole number.
    pub fn whole_update(&self) -> Option<(i64, Option<i64>)> {
        let update = self.update?;
        Some((self.id, accumulator_text(update).parse().ok()))
    }
}

/// The text of an accumulator's value as Spark shows it: a string as it is, a number as written, other JSON as nothing
/// (`JsonNode.asText`).
pub fn accumulator_text(value: &RawValue) -> String {
    let json = value.get();
    if json.starts_with('"') {
        serde_json::from_str(json).unwrap_or_default()
    } else if json.starts_with(['{', '[']) {
        String::new()
    } else {
        json.to_owned()
    }
}

fn null_is_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or(false))
}
