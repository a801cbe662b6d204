//! `SparkListenerEnvironmentUpdate`, `SparkListenerResourceProfileAdded`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Properties, Text};

#[derive(Debug, Deserialize)]
pub struct EnvironmentUpdate<'a> {
    #[serde(borrow, rename = "JVM Information")]
    pub jvm_information: Properties<'a>,
    #[serde(borrow, rename = "Spark Properties")]
    pub spark_properties: Properties<'a>,
    #[serde(borrow, rename = "Hadoop Properties", default)]
    pub hadoop_properties: Option<Properties<'a>>,
    #[serde(borrow, rename = "System Properties")]
    pub system_properties: Properties<'a>,
    /// Since Spark 3.4.
    #[serde(borrow, rename = "Metrics Properties", default)]
    pub metrics_properties: Option<Properties<'a>>,
    #[serde(borrow, rename = "Classpath Entries")]
    pub classpath_entries: Properties<'a>,
}

#[derive(Debug, Deserialize)]
pub struct ResourceProfileAdded<'a> {
    #[serde(rename = "Resource Profile Id")]
    pub id: i32,
    #[serde(borrow, rename = "Executor Resource Requests")]
    pub executor_resources: BTreeMap<Text<'a>, ExecutorResource<'a>>,
    #[serde(borrow, rename = "Task Resource Requests")]
    pub task_resources: BTreeMap<Text<'a>, TaskResource<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct ExecutorResource<'a> {
    #[serde(borrow, rename = "Resource Name")]
    pub resource_name: Option<Text<'a>>,
    #[serde(rename = "Amount", deserialize_with = "super::lenient::long")]
    pub amount: i64,
    #[serde(borrow, rename = "Discovery Script")]
    pub discovery_script: Option<Text<'a>>,
    #[serde(borrow, rename = "Vendor")]
    pub vendor: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct TaskResource<'a> {
    #[serde(borrow, rename = "Resource Name")]
    pub resource_name: Option<Text<'a>>,
    #[serde(rename = "Amount")]
    pub amount: f64,
}
