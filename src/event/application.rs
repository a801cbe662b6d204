//! `SparkListenerLogStart`, `SparkListenerApplicationStart`, `SparkListenerApplicationEnd`.

use serde::Deserialize;

use super::{Properties, Text};

#[derive(Debug, Deserialize)]
pub struct LogStart<'a> {
    #[serde(borrow, rename = "Spark Version")]
    pub spark_version: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct ApplicationStart<'a> {
    #[serde(borrow, rename = "App Name")]
    pub app_name: Option<Text<'a>>,
    /// Absent in logs of Spark 1.0 to 1.2: such an application cannot be listed.
    #[serde(borrow, rename = "App ID", default)]
    pub app_id: Option<Text<'a>>,
    /// Milliseconds since the epoch.
    #[serde(rename = "Timestamp")]
    pub time: i64,
    #[serde(borrow, rename = "User")]
    pub spark_user: Option<Text<'a>>,
    #[serde(borrow, rename = "App Attempt ID", default)]
    pub app_attempt_id: Option<Text<'a>>,
    #[serde(borrow, rename = "Driver Logs", default)]
    pub driver_logs: Option<Properties<'a>>,
    #[serde(borrow, rename = "Driver Attributes", default)]
    pub driver_attributes: Option<Properties<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct ApplicationEnd {
    /// Milliseconds since the epoch.
    #[serde(rename = "Timestamp")]
    pub time: i64,
    /// Since Spark 4.0.
    #[serde(rename = "ExitCode", default)]
    pub exit_code: Option<i32>,
}
