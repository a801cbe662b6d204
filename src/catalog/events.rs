//! The table `events`: the lines of the raw logs, read while the query runs.
//!
//! One partition a log, a bounded number of lines a batch; a log is never held as a whole, and reading stops when nobody wants more.
//! Filters on `app_id` and `attempt_id` choose the logs. Nothing of it is cached.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Int64Builder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use memchr::memmem;

use super::SnapshotSource;
use super::table::{Wanted, filter_support};
use crate::event_log::LogReader;
use crate::history::{AttemptRows, Snapshot};
use crate::table::{Column, TableDef, Type};

pub static EVENTS: TableDef = TableDef {
    schema: "public",
    name: "events",
    grain: "one row per line of a raw event log",
    sort_order: &["app_id", "attempt_id", "line_number"],
    columns: &[
        Column::new("app_id", Type::Text, "", "the log", "application the log belongs to"),
        Column::new(
            "attempt_id",
            Type::Text,
            "",
            "the log",
            "attempt of the application; '' where Spark has none",
        ),
        Column::new(
            "line_number",
            Type::Int64,
            "",
            "the log",
            "line within the log, from 1, over all its files in order",
        ),
        Column::null(
            "event",
            Type::Text,
            "",
            "first key of the line: Event",
            "name of the event; null for a line without one",
        ),
        Column::null(
            "time",
            Type::Timestamp,
            "",
            "Timestamp; Submission Time of jobs and stages that start, Completion Time of those that end; Launch Time, Getting Result \
             Time, Finish Time of tasks; time of SQL executions",
            "when it happened; null for events that do not say",
        ),
        Column::new("json", Type::Text, "", "the log", "the line as it was written"),
    ],
};

pub(crate) struct EventsTable {
    schema: SchemaRef,
    snapshot: Arc<Snapshot>,
    source: Arc<dyn SnapshotSource>,
}

impl fmt::Debug for EventsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsTable").finish_non_exhaustive()
    }
}

impl EventsTable {
    pub(crate) fn new(snapshot: Arc<Snapshot>, source: Arc<dyn SnapshotSource>) -> Self {
        EventsTable {
            schema: EVENTS.arrow_schema(),
            snapshot,
            source,
        }
    }
}

#[async_trait]
impl TableProvider for EventsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters.iter().map(|filter| filter_support(filter)).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = Wanted::from_filters(session, &EVENTS, &self.schema, filters)?;
        let logs: Vec<Arc<dyn PartitionStream>> = wanted
            .attempts(&self.snapshot)
            .into_iter()
            .map(|attempt| {
                let (schema, source, attempt) =
                    (Arc::clone(&self.schema), Arc::clone(&self.source), Arc::clone(attempt));
                Arc::new(LogStream {
                    schema,
                    source,
                    attempt,
                }) as _
            })
            .collect();
        if logs.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let limit = limit.filter(|_| filters.is_empty());
        let plan = StreamingTableExec::try_new(Arc::clone(&self.schema), logs, projection, None, false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// The lines of one log.
struct LogStream {
    schema: SchemaRef,
    source: Arc<dyn SnapshotSource>,
    attempt: Arc<AttemptRows>,
}

impl fmt::Debug for LogStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStream")
            .field("log", &self.attempt.log.path)
            .finish_non_exhaustive()
    }
}

impl PartitionStream for LogStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let lines = Lines {
            schema: Arc::clone(&self.schema),
            attempt: Arc::clone(&self.attempt),
            reader: self.source.open_log(&self.attempt.log),
            block: Vec::new(),
            at: 0,
            line_number: 0,
            batch_size: context.session_config().batch_size(),
            ended: false,
        };
        let batches = futures::stream::try_unfold(lines, |mut lines| async move {
            Ok(lines.next_batch().await?.map(|batch| (batch, lines)))
        });
        make_cooperative(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        )))
    }
}

struct Lines {
    schema: SchemaRef,
    attempt: Arc<AttemptRows>,
    reader: LogReader,
    /// Whole lines that were read; those before `at` are done.
    block: Vec<u8>,
    at: usize,
    line_number: i64,
    batch_size: usize,
    ended: bool,
}

impl Lines {
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.at >= self.block.len() {
            if self.ended {
                return Ok(None);
            }
            self.at = 0;
            match self
                .reader
                .next_block()
                .await
                .map_err(|error| DataFusionError::External(Box::new(error)))?
            {
                Some(block) => self.block = block.bytes,
                None => {
                    self.ended = true;
                    self.block = self.last_line();
                }
            }
        }
        self.build().map(Some)
    }

    /// The rest behind the last newline is a line of its own, unless the log still grows and it is only half a line.
    fn last_line(&self) -> Vec<u8> {
        let tail = self.reader.tail();
        let whole = || serde_json::from_slice::<serde::de::IgnoredAny>(tail).is_ok();
        if tail.is_empty() || (self.attempt.log.in_progress && !whole()) {
            Vec::new()
        } else {
            tail.to_vec()
        }
    }

    fn build(&mut self) -> Result<RecordBatch> {
        let mut numbers = Int64Builder::new();
        let mut events = StringBuilder::new();
        let mut times = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        let mut json = StringBuilder::new();
        let mut rows = 0;
        while rows < self.batch_size && self.at < self.block.len() {
            let rest = self.block.get(self.at..).unwrap_or_default();
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest.get(..end).unwrap_or_default();
            self.at += end + 1;
            self.line_number += 1;
            rows += 1;
            let event = event_name(line);
            numbers.append_value(self.line_number);
            times.append_option(
                event
                    .and_then(|event| event_time_ms(event, line))
                    .and_then(|ms| ms.checked_mul(1000)),
            );
            events.append_option(event);
            json.append_value(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)));
        }
        let repeat = |text: &str| Arc::new(std::iter::repeat_n(Some(text), rows).collect::<StringArray>());
        let columns: Vec<arrow::array::ArrayRef> = vec![
            repeat(&self.attempt.app_id),
            repeat(&self.attempt.attempt_id),
            Arc::new(numbers.finish()),
            Arc::new(events.finish()),
            Arc::new(times.finish()),
            Arc::new(json.finish()),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// The value of the first key if that is `Event`, which Spark always writes first. Names of events have no escapes.
fn event_name(line: &[u8]) -> Option<&str> {
    let rest = line
        .trim_ascii_start()
        .strip_prefix(b"{")?
        .trim_ascii_start()
        .strip_prefix(b"\"Event\"")?;
    let rest = rest
        .trim_ascii_start()
        .strip_prefix(b":")?
        .trim_ascii_start()
        .strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', rest)?;
    std::str::from_utf8(rest.get(..end)?).ok()
}

/// When an event happened, in milliseconds since the epoch. Spark writes 0 or -1 for what has not happened: that is none.
///
/// A key is found by its text `"Key":`, which cannot occur inside a string (the quotes would be escaped there); of nested keys with
/// the same name the first is the event's own.
fn event_time_ms(event: &str, line: &[u8]) -> Option<i64> {
    let name = event.rsplit('.').next().unwrap_or(event);
    let key = match name {
        "SparkListenerJobStart" | "SparkListenerStageSubmitted" => "\"Submission Time\":",
        "SparkListenerJobEnd" | "SparkListenerStageCompleted" => "\"Completion Time\":",
        "SparkListenerTaskStart" | "SparkListenerSpeculativeTaskSubmitted" => "\"Launch Time\":",
        "SparkListenerTaskGettingResult" => "\"Getting Result Time\":",
        "SparkListenerTaskEnd" => "\"Finish Time\":",
        "SparkListenerSQLExecutionStart" | "SparkListenerSQLExecutionEnd" => "\"time\":",
        "SparkListenerExecutorExcluded"
        | "SparkListenerExecutorUnexcluded"
        | "SparkListenerNodeExcluded"
        | "SparkListenerNodeUnexcluded"
        | "SparkListenerExecutorBlacklisted"
        | "SparkListenerExecutorUnblacklisted"
        | "SparkListenerNodeBlacklisted"
        | "SparkListenerNodeUnblacklisted"
        | "SparkListenerExecutorExcludedForStage"
        | "SparkListenerNodeExcludedForStage"
        | "SparkListenerExecutorBlacklistedForStage"
        | "SparkListenerNodeBlacklistedForStage"
        | "SparkListenerMiscellaneousProcessAdded" => "\"time\":",
        _ => "\"Timestamp\":",
    };
    let at = memmem::find(line, key.as_bytes())? + key.len();
    let digits = line.get(at..)?.trim_ascii_start();
    let end = digits
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(digits.len());
    let time: i64 = std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()?;
    (time > 0).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_event_is_where_spark_writes_it() {
        let line = br#"{"Event":"SparkListenerTaskEnd","Task Info":{"Launch Time":10,"Finish Time":20}}"#;
        assert_eq!(event_name(line), Some("SparkListenerTaskEnd"));
        assert_eq!(event_time_ms("SparkListenerTaskEnd", line), Some(20));
        let sql = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart";
        assert_eq!(
            event_time_ms(sql, br#"{"Event":"x","description":"\"time\":1","time":7}"#),
            Some(7)
        );
        assert_eq!(
            event_time_ms("SparkListenerTaskEnd", br#"{"Event":"x","Finish Time":0}"#),
            None
        );
        assert_eq!(event_name(b"not json"), None);
    }
}
