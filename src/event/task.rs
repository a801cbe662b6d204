//! `SparkListenerTaskStart`, `SparkListenerTaskEnd`: nearly all lines of a large log.
//!
//! Most bytes of a modern `TaskEnd` are accumulators. Internal ones repeat the task metrics, and of those of SQL only two
//! numbers count: [`compact`] leaves both out before the line is parsed, and takes the numbers on the way.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Text;
use super::executor::{BlockManagerId, ExecutorMetrics};
use super::stage::Accumulable;

#[derive(Debug, Deserialize)]
pub struct TaskStart<'a> {
    #[serde(rename = "Stage ID")]
    pub stage_id: i32,
    #[serde(rename = "Stage Attempt ID", default)]
    pub stage_attempt_id: Option<i32>,
    #[serde(borrow, rename = "Task Info")]
    pub info: TaskInfo<'a>,
}

#[derive(Debug, Deserialize)]
pub struct TaskInfo<'a> {
    #[serde(rename = "Task ID")]
    pub task_id: i64,
    #[serde(rename = "Index")]
    pub index: i32,
    /// Absent before Spark 1.1: then 1.
    #[serde(rename = "Attempt", default)]
    pub attempt: Option<i32>,
    /// Since Spark 3.3.
    #[serde(rename = "Partition ID", default)]
    pub partition_id: Option<i32>,
    /// Milliseconds since the epoch, as the other instants here; 0 is "not yet".
    #[serde(rename = "Launch Time")]
    pub launch_time: i64,
    #[serde(borrow, rename = "Executor ID")]
    pub executor_id: Option<Text<'a>>,
    #[serde(borrow, rename = "Host")]
    pub host: Option<Text<'a>>,
    #[serde(borrow, rename = "Locality")]
    pub locality: Text<'a>,
    #[serde(rename = "Speculative", default)]
    pub speculative: Option<bool>,
    #[serde(rename = "Getting Result Time")]
    pub getting_result_time: i64,
    #[serde(rename = "Finish Time")]
    pub finish_time: i64,
    #[serde(rename = "Failed")]
    pub failed: bool,
    #[serde(rename = "Killed", default)]
    pub killed: Option<bool>,
    #[serde(borrow, rename = "Accumulables", default)]
    pub accumulables: Option<Vec<Accumulable<'a>>>,
}

#[derive(Debug, Deserialize)]
pub struct TaskEnd<'a> {
    #[serde(rename = "Stage ID")]
    pub stage_id: i32,
    #[serde(rename = "Stage Attempt ID", default)]
    pub stage_attempt_id: Option<i32>,
    #[serde(borrow, rename = "Task End Reason", deserialize_with = "reason")]
    pub reason: TaskEndReason<'a>,
    #[serde(borrow, rename = "Task Info")]
    pub info: TaskInfo<'a>,
    /// Since Spark 3.0.
    #[serde(rename = "Task Executor Metrics", default)]
    pub executor_metrics: Option<ExecutorMetrics>,
    /// Null for a task whose metrics never reached the driver.
    #[serde(rename = "Task Metrics", default)]
    pub metrics: Option<TaskMetrics>,
    /// What [`compact`] took; [`TaskEnd::updates`] has them with the others.
    #[serde(skip)]
    pub sql_updates: &'a [SqlUpdate],
}

/// What a task added to an accumulator of SQL: its id and the number.
pub type SqlUpdate = (i64, i64);

impl TaskEnd<'_> {
    /// Updates of accumulators, by id; `None` where one is no whole number. Internal ones are left out.
    pub fn updates(&self) -> impl Iterator<Item = (i64, Option<i64>)> {
        let taken = self.sql_updates.iter().map(|(id, update)| (*id, Some(*update)));
        let parsed = self.info.accumulables.iter().flatten();
        taken.chain(parsed.filter_map(Accumulable::whole_update))
    }
}

#[derive(Debug, Deserialize)]
pub struct TaskMetrics {
    #[serde(rename = "Executor Deserialize Time")]
    pub executor_deserialize_time: i64,
    #[serde(rename = "Executor Deserialize CPU Time", default)]
    pub executor_deserialize_cpu_time: Option<i64>,
    #[serde(rename = "Executor Run Time")]
    pub executor_run_time: i64,
    #[serde(rename = "Executor CPU Time", default)]
    pub executor_cpu_time: Option<i64>,
    #[serde(rename = "Peak Execution Memory", default)]
    pub peak_execution_memory: Option<i64>,
    #[serde(rename = "Result Size")]
    pub result_size: i64,
    #[serde(rename = "JVM GC Time")]
    pub jvm_gc_time: i64,
    #[serde(rename = "Result Serialization Time")]
    pub result_serialization_time: i64,
    #[serde(rename = "Memory Bytes Spilled")]
    pub memory_bytes_spilled: i64,
    #[serde(rename = "Disk Bytes Spilled")]
    pub disk_bytes_spilled: i64,
    #[serde(rename = "Shuffle Read Metrics", default)]
    pub shuffle_read: Option<ShuffleRead>,
    #[serde(rename = "Shuffle Write Metrics", default)]
    pub shuffle_write: Option<ShuffleWrite>,
    #[serde(rename = "Input Metrics", default)]
    pub input: Option<Input>,
    #[serde(rename = "Output Metrics", default)]
    pub output: Option<Output>,
}

#[derive(Debug, Deserialize)]
pub struct ShuffleRead {
    #[serde(rename = "Remote Blocks Fetched")]
    pub remote_blocks_fetched: i64,
    #[serde(rename = "Local Blocks Fetched")]
    pub local_blocks_fetched: i64,
    #[serde(rename = "Fetch Wait Time")]
    pub fetch_wait_time: i64,
    #[serde(rename = "Remote Bytes Read")]
    pub remote_bytes_read: i64,
    #[serde(rename = "Remote Bytes Read To Disk", default)]
    pub remote_bytes_read_to_disk: Option<i64>,
    #[serde(rename = "Local Bytes Read", default)]
    pub local_bytes_read: Option<i64>,
    #[serde(rename = "Total Records Read", default)]
    pub records_read: Option<i64>,
    #[serde(rename = "Remote Requests Duration", default)]
    pub remote_requests_duration: Option<i64>,
    /// Since Spark 3.5.
    #[serde(rename = "Push Based Shuffle", default)]
    pub push: Option<PushBasedShuffle>,
}

#[derive(Debug, Deserialize)]
pub struct PushBasedShuffle {
    #[serde(rename = "Corrupt Merged Block Chunks", default)]
    pub corrupt_merged_block_chunks: Option<i64>,
    #[serde(rename = "Merged Fetch Fallback Count", default)]
    pub merged_fetch_fallback_count: Option<i64>,
    #[serde(rename = "Merged Remote Blocks Fetched", default)]
    pub remote_blocks_fetched: Option<i64>,
    #[serde(rename = "Merged Local Blocks Fetched", default)]
    pub local_blocks_fetched: Option<i64>,
    #[serde(rename = "Merged Remote Chunks Fetched", default)]
    pub remote_chunks_fetched: Option<i64>,
    #[serde(rename = "Merged Local Chunks Fetched", default)]
    pub local_chunks_fetched: Option<i64>,
    #[serde(rename = "Merged Remote Bytes Read", default)]
    pub remote_bytes_read: Option<i64>,
    #[serde(rename = "Merged Local Bytes Read", default)]
    pub local_bytes_read: Option<i64>,
    #[serde(rename = "Merged Remote Requests Duration", default)]
    pub remote_requests_duration: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct ShuffleWrite {
    #[serde(rename = "Shuffle Bytes Written")]
    pub bytes_written: i64,
    #[serde(rename = "Shuffle Write Time")]
    pub write_time: i64,
    #[serde(rename = "Shuffle Records Written", default)]
    pub records_written: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct Input {
    #[serde(rename = "Bytes Read")]
    pub bytes_read: i64,
    #[serde(rename = "Records Read", default)]
    pub records_read: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct Output {
    #[serde(rename = "Bytes Written")]
    pub bytes_written: i64,
    #[serde(rename = "Records Written", default)]
    pub records_written: Option<i64>,
}

/// Why a task ended (Spark's `TaskEndReason`).
#[derive(Debug, Deserialize)]
#[serde(tag = "Reason")]
pub enum TaskEndReason<'a> {
    Success,
    Resubmitted,
    TaskResultLost,
    UnknownReason,
    FetchFailed {
        #[serde(borrow, rename = "Block Manager Address", default)]
        address: Option<BlockManagerId<'a>>,
        #[serde(rename = "Shuffle ID")]
        shuffle_id: i32,
        #[serde(rename = "Map ID")]
        map_id: i64,
        /// Since Spark 3.0.
        #[serde(rename = "Map Index", default)]
        map_index: Option<i32>,
        #[serde(rename = "Reduce ID")]
        reduce_id: i32,
        #[serde(borrow, rename = "Message", default)]
        message: Option<Text<'a>>,
    },
    ExceptionFailure {
        #[serde(borrow, rename = "Class Name")]
        class_name: Option<Text<'a>>,
        #[serde(borrow, rename = "Description")]
        description: Option<Text<'a>>,
        #[serde(borrow, rename = "Stack Trace", default)]
        stack_trace: Option<Vec<StackFrame<'a>>>,
        /// Since Spark 1.2.
        #[serde(borrow, rename = "Full Stack Trace", default)]
        full_stack_trace: Option<Text<'a>>,
    },
    TaskKilled {
        /// Since Spark 2.2.
        #[serde(borrow, rename = "Kill Reason", default)]
        reason: Option<Text<'a>>,
    },
    TaskCommitDenied {
        #[serde(rename = "Job ID", default)]
        job_id: Option<i32>,
        #[serde(rename = "Partition ID", default)]
        partition_id: Option<i32>,
        #[serde(rename = "Attempt Number", default)]
        attempt_number: Option<i32>,
    },
    ExecutorLostFailure {
        #[serde(borrow, rename = "Executor ID", default)]
        executor_id: Option<Text<'a>>,
        #[serde(rename = "Exit Caused By App", default)]
        exit_caused_by_app: Option<bool>,
        #[serde(borrow, rename = "Loss Reason", default)]
        loss_reason: Option<Text<'a>>,
    },
}

/// Nearly every task succeeds: that one text is recognised before anything is parsed.
fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TaskEndReason<'de>, D::Error> {
    let raw = <&'de RawValue>::deserialize(deserializer)?.get();
    if raw == r#"{"Reason":"Success"}"# {
        return Ok(TaskEndReason::Success);
    }
    serde_json::from_str(raw).map_err(serde::de::Error::custom)
}

#[derive(Debug, Deserialize)]
pub struct StackFrame<'a> {
    #[serde(borrow, rename = "Declaring Class")]
    pub declaring_class: Option<Text<'a>>,
    #[serde(borrow, rename = "Method Name")]
    pub method_name: Option<Text<'a>>,
    #[serde(borrow, rename = "File Name", default)]
    pub file_name: Option<Text<'a>>,
    #[serde(rename = "Line Number")]
    pub line_number: i32,
}

impl std::fmt::Display for StackFrame<'_> {
    /// As `java.lang.StackTraceElement.toString`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let class = self.declaring_class.as_deref().unwrap_or("null");
        let method = self.method_name.as_deref().unwrap_or("null");
        match (self.line_number, self.file_name.as_deref()) {
            (-2, _) => write!(f, "{class}.{method}(Native Method)"),
            (line, Some(file)) if line >= 0 => write!(f, "{class}.{method}({file}:{line})"),
            (_, Some(file)) => write!(f, "{class}.{method}({file})"),
            (_, None) => write!(f, "{class}.{method}(Unknown Source)"),
        }
    }
}

impl TaskEndReason<'_> {
    /// What Spark shows as the task's error; `None` for success.
    pub fn error_message(&self) -> Option<String> {
        let text = |text: &Option<Text<'_>>, absent: &str| text.as_deref().unwrap_or(absent).to_owned();
        Some(match self {
            TaskEndReason::Success => return None,
            TaskEndReason::Resubmitted => "Resubmitted (resubmitted due to lost executor)".to_owned(),
            TaskEndReason::TaskResultLost => "TaskResultLost (result lost from block manager)".to_owned(),
            TaskEndReason::UnknownReason => "UnknownReason".to_owned(),
            TaskEndReason::FetchFailed {
                address,
                shuffle_id,
                map_id,
                map_index,
                reduce_id,
                message,
            } => {
                let address = match address {
                    Some(id) => format!("BlockManagerId({}, {}, {}, None)", id.executor_id, id.host, id.port),
                    None => "null".to_owned(),
                };
                let map_index = map_index
                    .filter(|index| *index != i32::MIN)
                    .map_or("Unknown".to_owned(), |index| index.to_string());
                let message = text(message, "Unknown reason");
                format!(
                    "FetchFailed({address}, shuffleId={shuffle_id}, mapIndex={map_index}, mapId={map_id}, \
                     reduceId={reduce_id}, message=\n{message}\n)"
                )
            }
            TaskEndReason::ExceptionFailure {
                full_stack_trace: Some(trace),
                ..
            } => trace.clone().into_owned(),
            TaskEndReason::ExceptionFailure {
                class_name,
                description,
                stack_trace,
                ..
            } => {
                let frames: Vec<String> = stack_trace
                    .iter()
                    .flatten()
                    .map(|frame| format!("        {frame}"))
                    .collect();
                format!(
                    "{}: {}\n{}",
                    text(class_name, "null"),
                    text(description, ""),
                    frames.join("\n")
                )
            }
            TaskEndReason::TaskKilled { reason } => text(reason, "unknown reason"),
            TaskEndReason::TaskCommitDenied { .. } => self.killed_reason().expect("a denied commit has one"),
            TaskEndReason::ExecutorLostFailure {
                executor_id,
                exit_caused_by_app,
                loss_reason,
            } => {
                let cause = if exit_caused_by_app.unwrap_or(true) {
                    "caused by one of the running tasks"
                } else {
                    "unrelated to the running tasks"
                };
                let reason = loss_reason
                    .as_deref()
                    .map_or(String::new(), |reason| format!(" Reason: {reason}"));
                format!(
                    "ExecutorLostFailure (executor {} exited {cause}){reason}",
                    text(executor_id, "Unknown")
                )
            }
        })
    }

    /// What the task counts under in a summary of killed tasks; `None` if it was not killed.
    pub fn killed_reason(&self) -> Option<String> {
        match self {
            TaskEndReason::TaskKilled { .. } => self.error_message(),
            TaskEndReason::TaskCommitDenied {
                job_id,
                partition_id,
                attempt_number,
            } => Some(format!(
                "TaskCommitDenied (Driver denied task commit) for job: {}, partition: {}, attemptNumber: {}",
                job_id.unwrap_or(-1),
                partition_id.unwrap_or(-1),
                attempt_number.unwrap_or(-1)
            )),
            _ => None,
        }
    }
}

/// Copies a `TaskEnd` line to the end of `out`, without the accumulators that no table shows; updates of those of SQL go to
/// `sql_updates`. `false` if the line has no list of accumulators: then nothing is copied.
///
/// The list of accumulators stands between two quoted keys. A quote inside a JSON string is escaped, so that `"…":` with
/// the character before it can only be a key: the search cannot be misled by the text of an accumulator. Whatever does not
/// look as expected is copied as it is, and parsed in full.
pub fn compact(line: &[u8], out: &mut Vec<u8>, sql_updates: &mut Vec<SqlUpdate>) -> bool {
    let Some((start, end)) = accumulables(line) else {
        return false;
    };
    out.extend_from_slice(&line[..start]);
    let mut first = true;
    for item in items(&line[start..end]) {
        // Spark marks accumulators of SQL as internal too, and writes the mark of SQL last.
        if item.ends_with(SQL_END) {
            if let Some(update) = sql_update(item) {
                sql_updates.push(update);
                continue;
            }
        } else if FINDERS.internal.find(item).is_some() {
            continue;
        }
        if !first {
            out.push(b',');
        }
        out.extend_from_slice(item);
        first = false;
    }
    out.extend_from_slice(&line[end..]);
    true
}

const SQL_END: &[u8] = b",\"Metadata\":\"sql\"}";

/// Id and update of an accumulator as it is written: `{"ID":1,"Name":"…","Update":"2",…}`.
fn sql_update(item: &[u8]) -> Option<SqlUpdate> {
    let (id, rest) = whole_number(item.strip_prefix(b"{\"ID\":")?)?;
    let update = FINDERS.update.find(rest)? + FINDERS.update.needle().len();
    let rest = &rest[update..];
    let (update, rest) = whole_number(rest.strip_prefix(b"\"").unwrap_or(rest))?;
    matches!(rest.first(), Some(b'"' | b',')).then_some((id, update))
}

/// The number at the start of `text`, and what follows it.
fn whole_number(text: &[u8]) -> Option<(i64, &[u8])> {
    let sign = usize::from(text.first() == Some(&b'-'));
    let digits = text[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(sign + digits);
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

/// Searches made ready once: making one costs as much as a short search.
struct Finders {
    open: Finder<'static>,
    close: [Finder<'static>; 2],
    border: Finder<'static>,
    internal: Finder<'static>,
    update: Finder<'static>,
}

static FINDERS: LazyLock<Finders> = LazyLock::new(|| Finders {
    open: Finder::new(",\"Accumulables\":["),
    close: [
        Finder::new("]},\"Task Executor Metrics\":"),
        Finder::new("]},\"Task Metrics\":"),
    ],
    border: Finder::new("},{\"ID\":"),
    internal: Finder::new(",\"Internal\":true"),
    update: Finder::new(",\"Update\":"),
});

/// Bounds of what stands between the brackets of `Task Info / Accumulables`.
fn accumulables(line: &[u8]) -> Option<(usize, usize)> {
    let start = FINDERS.open.find(line)? + FINDERS.open.needle().len();
    let end = FINDERS.close.iter().find_map(|close| close.find(&line[start..]))?;
    Some((start, start + end))
}

/// The accumulators of a list, as they are written.
fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(list).filter(|list| !list.is_empty());
    std::iter::from_fn(move || {
        let current = rest?;
        match FINDERS.border.find(current) {
            Some(border) => {
                rest = Some(&current[border + 2..]);
                Some(&current[..=border])
            }
            None => {
                rest = None;
                Some(current)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compacted(accumulables: &str) -> String {
        let line = format!(
            r#"{{"Event":"SparkListenerTaskEnd","Task Info":{{"Task ID":1,"Accumulables":[{accumulables}]}},"Task Metrics":{{}}}}"#
        );
        let (mut out, mut updates) = (Vec::new(), Vec::new());
        assert!(compact(line.as_bytes(), &mut out, &mut updates));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        value["Task Info"]["Accumulables"].to_string()
    }

    #[test]
    fn internal_and_sql_accumulators_go_and_users_stay() {
        let internal = r#"{"ID":1,"Name":"internal.metrics.resultSize","Update":7,"Value":7,"Internal":true,"Count Failed Values":true}"#;
        let sql = r#"{"ID":2,"Name":"rows","Update":"7","Value":"7","Internal":false,"Count Failed Values":true,"Metadata":"sql"}"#;
        let user = r#"{"ID":3,"Name":"seen","Update":"7","Value":"9","Internal":false,"Count Failed Values":false}"#;
        // Spark 1.x: neither key; and a value that looks like JSON.
        let old = r#"{"ID":4,"Name":"a \"},{\"ID\":9,\"Internal\":true","Update":"x]},\"Task Metrics\":","Value":"y"}"#;
        assert_eq!(compacted(""), "[]");
        assert_eq!(compacted(internal), "[]");
        assert_eq!(compacted(&[internal, sql].join(",")), "[]");
        for order in [
            [internal, user, sql, old],
            [user, internal, old, sql],
            [old, sql, internal, user],
        ] {
            let kept: Vec<&str> = order.into_iter().filter(|one| [user, old].contains(one)).collect();
            let expected: serde_json::Value = serde_json::from_str(&format!("[{}]", kept.join(","))).unwrap();
            assert_eq!(compacted(&order.join(",")), expected.to_string());
        }
    }

    #[test]
    fn updates_of_sql_accumulators_are_taken_and_what_reads_otherwise_stays() {
        let sql = |id: i64, update: &str| {
            format!(
                r#"{{"ID":{id},"Name":"a \",\"Update\":\"9\"","Update":{update},"Value":"7","Internal":true,"Count Failed Values":true,"Metadata":"sql"}}"#
            )
        };
        let list = [sql(1, "\"5\""), sql(2, "-1"), sql(3, "\"x\""), sql(4, "\"1.5\"")].join(",");
        let line = format!(r#"{{"Task Info":{{"Task ID":1,"Accumulables":[{list}]}},"Task Metrics":{{}}}}"#);
        let (mut out, mut updates) = (Vec::new(), Vec::new());
        assert!(compact(line.as_bytes(), &mut out, &mut updates));
        assert_eq!(updates, [(1, 5), (2, -1)]);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let kept: Vec<_> = value["Task Info"]["Accumulables"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["ID"])
            .collect();
        assert_eq!(kept, [3, 4]);
    }

    #[test]
    fn a_line_that_is_cut_or_lacks_accumulators_is_left_as_it_is() {
        for line in [
            &b"{\"Task Info\":{\"Task ID\":1,\"Accumulables\":[{\"ID\":1"[..],
            b"{}",
            b"",
        ] {
            let (mut out, mut updates) = (vec![1], Vec::new());
            assert!(!compact(line, &mut out, &mut updates));
            assert_eq!((out, updates), (vec![1], Vec::new()));
        }
    }

    #[test]
    fn reasons_read_as_spark_phrases_them() {
        let message = |json: &str| serde_json::from_str::<TaskEndReason<'_>>(json).unwrap().error_message();
        assert_eq!(message(r#"{"Reason":"Success"}"#), None);
        let fetch = r#"{"Reason":"FetchFailed","Block Manager Address":{"Executor ID":"1","Host":"h","Port":2},
            "Shuffle ID":3,"Map ID":4,"Reduce ID":5,"Message":"m"}"#;
        let expected = "FetchFailed(BlockManagerId(1, h, 2, None), shuffleId=3, mapIndex=Unknown, mapId=4, reduceId=5, message=\nm\n)";
        assert_eq!(message(fetch).unwrap(), expected);
        let old = r#"{"Reason":"ExceptionFailure","Class Name":"E","Description":"d","Stack Trace":[
            {"Declaring Class":"C","Method Name":"m","File Name":"F.java","Line Number":7},
            {"Declaring Class":"C","Method Name":"n","File Name":"F.java","Line Number":-2}]}"#;
        assert_eq!(
            message(old).unwrap(),
            "E: d\n        C.m(F.java:7)\n        C.n(Native Method)"
        );
        assert_eq!(message(r#"{"Reason":"TaskKilled"}"#).unwrap(), "unknown reason");
        let lost =
            r#"{"Reason":"ExecutorLostFailure","Executor ID":"3","Exit Caused By App":false,"Loss Reason":"gone"}"#;
        let expected = "ExecutorLostFailure (executor 3 exited unrelated to the running tasks) Reason: gone";
        assert_eq!(message(lost).unwrap(), expected);
    }
}
