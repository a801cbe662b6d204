//! Executors and block managers: added, removed, excluded, measured.

use std::collections::BTreeMap;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::stage::Accumulable;
use super::{Properties, Text};

#[derive(Debug, Deserialize)]
pub struct ExecutorAdded<'a> {
    #[serde(rename = "Timestamp")]
    pub time: i64,
    #[serde(borrow, rename = "Executor ID")]
    pub executor_id: Text<'a>,
    #[serde(borrow, rename = "Executor Info")]
    pub info: ExecutorInfo<'a>,
}

#[derive(Debug, Deserialize)]
pub struct ExecutorInfo<'a> {
    #[serde(borrow, rename = "Host")]
    pub host: Option<Text<'a>>,
    #[serde(rename = "Total Cores")]
    pub total_cores: i32,
    #[serde(borrow, rename = "Log Urls")]
    pub log_urls: Properties<'a>,
    #[serde(borrow, rename = "Attributes", default)]
    pub attributes: Option<Properties<'a>>,
    #[serde(borrow, rename = "Resources", default)]
    pub resources: Option<BTreeMap<Text<'a>, Resource<'a>>>,
    #[serde(rename = "Resource Profile Id", default)]
    pub resource_profile_id: Option<i32>,
}

#[derive(Debug, Deserialize)]
pub struct Resource<'a> {
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub addresses: Vec<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct ExecutorRemoved<'a> {
    #[serde(rename = "Timestamp")]
    pub time: i64,
    #[serde(borrow, rename = "Executor ID")]
    pub executor_id: Text<'a>,
    #[serde(borrow, rename = "Removed Reason")]
    pub reason: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct BlockManagerId<'a> {
    #[serde(borrow, rename = "Executor ID")]
    pub executor_id: Text<'a>,
    #[serde(borrow, rename = "Host")]
    pub host: Text<'a>,
    #[serde(rename = "Port")]
    pub port: i32,
}

#[derive(Debug, Deserialize)]
pub struct BlockManagerAdded<'a> {
    #[serde(borrow, rename = "Block Manager ID")]
    pub id: BlockManagerId<'a>,
    #[serde(rename = "Maximum Memory")]
    pub max_memory: i64,
    #[serde(rename = "Timestamp", default)]
    pub time: Option<i64>,
    #[serde(rename = "Maximum Onheap Memory", default)]
    pub max_on_heap_memory: Option<i64>,
    #[serde(rename = "Maximum Offheap Memory", default)]
    pub max_off_heap_memory: Option<i64>,
}

/// An executor, or all executors of a node, excluded from one stage attempt.
#[derive(Debug, Deserialize)]
pub struct ExcludedForStage<'a> {
    /// Executor id, or host, whichever the event is about.
    #[serde(borrow, alias = "executorId", rename = "hostId")]
    pub who: Text<'a>,
    #[serde(rename = "stageId")]
    pub stage_id: i32,
    #[serde(rename = "stageAttemptId", default)]
    pub stage_attempt_id: i32,
}

/// Spark's executor metrics in its own order (`ExecutorMetricType.metricToOffset` of 4.1).
pub const METRIC_NAMES: [&str; 23] = [
    "JVMHeapMemory",
    "JVMOffHeapMemory",
    "OnHeapExecutionMemory",
    "OffHeapExecutionMemory",
    "OnHeapStorageMemory",
    "OffHeapStorageMemory",
    "OnHeapUnifiedMemory",
    "OffHeapUnifiedMemory",
    "DirectPoolMemory",
    "MappedPoolMemory",
    "ProcessTreeJVMVMemory",
    "ProcessTreeJVMRSSMemory",
    "ProcessTreePythonVMemory",
    "ProcessTreePythonRSSMemory",
    "ProcessTreeOtherVMemory",
    "ProcessTreeOtherRSSMemory",
    "MinorGCCount",
    "MinorGCTime",
    "MajorGCCount",
    "MajorGCTime",
    "TotalGCTime",
    "ConcurrentGCCount",
    "ConcurrentGCTime",
];

/// Executor metrics in the order of [`METRIC_NAMES`]; what is absent is 0, as in Spark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutorMetrics(pub [i64; METRIC_NAMES.len()]);

impl<'de> Deserialize<'de> for ExecutorMetrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByName;
        impl<'de> Visitor<'de> for ByName {
            type Value = ExecutorMetrics;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of executor metrics")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut metrics = [0; METRIC_NAMES.len()];
                let mut expected = 0;
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    // Spark writes them in its own order, so that the next one is nearly always the expected one.
                    let at = (expected..METRIC_NAMES.len())
                        .chain(0..expected)
                        .find(|i| METRIC_NAMES[*i] == name);
                    match at {
                        Some(at) => {
                            metrics[at] = map.next_value::<Option<i64>>()?.unwrap_or(0);
                            expected = (at + 1) % METRIC_NAMES.len();
                        }
                        None => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(ExecutorMetrics(metrics))
            }
        }
        deserializer.deserialize_map(ByName)
    }
}

/// A process of the application that is neither driver nor executor: YARN's application master in client mode.
#[derive(Debug, Deserialize)]
pub struct MiscellaneousProcessAdded<'a> {
    #[serde(rename = "time")]
    pub time: i64,
    #[serde(borrow, rename = "processId")]
    pub process_id: Text<'a>,
    #[serde(borrow, rename = "info")]
    pub info: MiscellaneousProcessDetails<'a>,
}

#[derive(Debug, Deserialize)]
pub struct MiscellaneousProcessDetails<'a> {
    #[serde(borrow, rename = "hostPort")]
    pub host_port: Text<'a>,
    #[serde(rename = "cores", default)]
    pub cores: i32,
    #[serde(borrow, rename = "logUrlInfo", default)]
    pub log_urls: Properties<'a>,
}

#[derive(Debug, Deserialize)]
pub struct StageExecutorMetrics<'a> {
    #[serde(borrow, rename = "Executor ID")]
    pub executor_id: Text<'a>,
    #[serde(rename = "Stage ID")]
    pub stage_id: i32,
    #[serde(rename = "Stage Attempt ID")]
    pub stage_attempt_id: i32,
    #[serde(rename = "Executor Metrics")]
    pub metrics: Option<ExecutorMetrics>,
}

#[derive(Debug, Deserialize)]
pub struct ExecutorMetricsUpdate<'a> {
    #[serde(borrow, rename = "Executor ID")]
    pub executor_id: Text<'a>,
    #[serde(borrow, rename = "Metrics Updated")]
    pub task_updates: Vec<TaskUpdate<'a>>,
    #[serde(rename = "Executor Metrics Updated", default)]
    pub executor_updates: Option<Vec<StageUpdate>>,
}

#[derive(Debug, Deserialize)]
pub struct TaskUpdate<'a> {
    #[serde(rename = "Task ID")]
    pub task_id: i64,
    #[serde(rename = "Stage ID")]
    pub stage_id: i32,
    #[serde(rename = "Stage Attempt ID")]
    pub stage_attempt_id: i32,
    #[serde(borrow, rename = "Accumulator Updates")]
    pub accumulators: Vec<Accumulable<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct StageUpdate {
    #[serde(rename = "Stage ID")]
    pub stage_id: i32,
    #[serde(rename = "Stage Attempt ID")]
    pub stage_attempt_id: i32,
    #[serde(rename = "Executor Metrics")]
    pub metrics: Option<ExecutorMetrics>,
}
