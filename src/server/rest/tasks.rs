//! `taskList` and `taskTable` of a stage attempt: windows over its tasks in one of Spark's orders.

use std::fmt::Write;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::scalar::ScalarValue;

use super::answer::{Failure, JsonBody};
use super::executors::ExecutorLogs;
use super::request::{Choices, Request};
use super::routes::StageKey;
use super::rows::{Rows, number, text};
use super::{Attempt, Rest, optional_texts};

const TASKS: &str = include_str!("../../../sql/rest/tasks.sql");

/// Spark's `TaskStatus`.
pub(super) const STATUSES: [&str; 5] = ["RUNNING", "KILLED", "FAILED", "SUCCESS", "UNKNOWN"];

/// Spark's `TaskSorting` with the order each means; the later names are alternates.
const SORTINGS: [(&str, Order); 5] = [
    ("ID", Order::by_id()),
    ("INCREASING_RUNTIME", Order::by("executor_run_time_ms", true)),
    ("DECREASING_RUNTIME", Order::by("executor_run_time_ms", false)),
    ("runtime", Order::by("executor_run_time_ms", true)),
    ("-runtime", Order::by("executor_run_time_ms", false)),
];

/// The columns that Spark's task table sorts by (`ApiHelper.COLUMN_TO_INDEX`).
const TABLE_COLUMNS: [(&str, Key); 26] = [
    ("ID", Key::Plain("task_id")),
    ("Index", Key::Plain("coalesce(partition_id, -1)")),
    ("Attempt", Key::Plain("task_attempt")),
    ("Status", Key::Plain("status")),
    ("Locality Level", Key::Plain("task_locality")),
    ("Executor ID", Key::Plain("executor_id")),
    ("Host", Key::Plain("host")),
    ("Launch Time", Key::Plain("launch_time")),
    // As Spark does since SPARK-26109.
    ("Duration", Key::Metric("executor_run_time_ms")),
    ("Scheduler Delay", Key::OfMeasured("coalesce(scheduler_delay_ms, 0)")),
    ("Task Deserialization Time", Key::Metric("executor_deserialize_time_ms")),
    ("GC Time", Key::Metric("jvm_gc_time_ms")),
    ("Result Serialization Time", Key::Metric("result_serialization_time_ms")),
    (
        "Getting Result Time",
        Key::OfMeasured("coalesce(getting_result_time_ms, 0)"),
    ),
    ("Peak Execution Memory", Key::Metric("peak_execution_memory_bytes")),
    (
        "Accumulators",
        Key::Plain("coalesce(accumulables[1]['name'] || ':' || accumulables[1]['value'], '')"),
    ),
    ("Input Size / Records", Key::Metric("input_bytes")),
    ("Output Size / Records", Key::Metric("output_bytes")),
    (
        "Shuffle Read Fetch Wait Time",
        Key::Metric("shuffle_fetch_wait_time_ms"),
    ),
    (
        "Shuffle Read Size / Records",
        Key::OfMeasured(
            "CASE WHEN status = 'SUCCESS' THEN coalesce(shuffle_read_bytes, 0) ELSE -coalesce(shuffle_read_bytes, 0) - 2 END",
        ),
    ),
    ("Shuffle Remote Reads", Key::Metric("shuffle_remote_bytes_read")),
    ("Shuffle Write Time", Key::Metric("shuffle_write_time_ns")),
    ("Shuffle Write Size / Records", Key::Metric("shuffle_write_bytes")),
    ("Spill (Memory)", Key::Metric("memory_bytes_spilled")),
    ("Spill (Disk)", Key::Metric("disk_bytes_spilled")),
    ("Errors", Key::Plain("coalesce(error_message, '')")),
];

/// What rows are sorted by.
#[derive(Debug, Clone, Copy)]
enum Key {
    /// An expression.
    Plain(&'static str),
    /// A metric. Spark stores those of unsuccessful tasks as `-value - 1` and missing ones as -1, and sorts them so.
    Metric(&'static str),
    /// An expression that is -1 for tasks without metrics.
    OfMeasured(&'static str),
}

#[derive(Debug, Clone, Copy)]
struct Order {
    key: Key,
    ascending: bool,
}

impl Order {
    const fn by_id() -> Self {
        Order {
            key: Key::Plain("task_id"),
            ascending: true,
        }
    }

    const fn by(metric: &'static str, ascending: bool) -> Self {
        Order {
            key: Key::Metric(metric),
            ascending,
        }
    }

    /// The statement in this order: equal ones by task id, both in one direction, as Spark walks its index.
    fn statement(self) -> String {
        let key = match self.key {
            Key::Plain(key) => key.to_owned(),
            Key::Metric(metric) => format!(
                "CASE WHEN NOT has_metrics THEN -1 WHEN status = 'SUCCESS' THEN coalesce({metric}, 0) \
                 ELSE -coalesce({metric}, 0) - 1 END"
            ),
            Key::OfMeasured(key) => format!("CASE WHEN NOT has_metrics THEN -1 ELSE {key} END"),
        };
        let direction = if self.ascending { "ASC" } else { "DESC" };
        TASKS.replace("{key}", &key).replace("{direction}", direction)
    }
}

/// Which tasks of a stage are shown, and in which order.
#[derive(Debug)]
pub(super) struct Window {
    order: Order,
    statuses: ScalarValue,
    offset: i64,
    length: i64,
}

impl Window {
    pub(super) fn of(request: &Request) -> Result<Self, Failure> {
        let (offset, length) = (request.int("offset", 0)?, request.int("length", 20)?);
        let order = match request.text("sortBy").filter(|name| !name.is_empty()) {
            None => Order::by_id(),
            Some(name) => {
                let known = SORTINGS.iter().find(|(sorting, _)| sorting.eq_ignore_ascii_case(name));
                known.ok_or(Failure::NO_RESOURCE)?.1
            }
        };
        let statuses = request.choices("status", &STATUSES)?;
        Ok(Window {
            order,
            statuses: status_filter(&statuses)?,
            offset: offset.max(0).into(),
            length: length.into(),
        })
    }

    pub(super) fn all(statuses: &Choices) -> Result<Self, Failure> {
        Ok(Window {
            order: Order {
                ascending: false,
                ..Order::by_id()
            },
            statuses: status_filter(statuses)?,
            offset: 0,
            length: i64::from(i32::MAX),
        })
    }
}

/// Spark compares the names of statuses here, and a null has none.
fn status_filter(statuses: &Choices) -> Result<ScalarValue, Failure> {
    match statuses.has_null {
        true => Err(Failure::REQUEST_FAILED),
        false => Ok(optional_texts(statuses)),
    }
}

impl Rest {
    pub(super) async fn task_list(
        &self,
        attempt: &Attempt,
        key: StageKey,
        window: &Window,
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        if window.length <= 0 {
            // Spark's store refuses it.
            return Err(Failure::REQUEST_FAILED);
        }
        let mut tasks = self.task_rows(attempt, key, window).await?;
        let mut logs = None;
        body.json.begin_array();
        while let Some(batch) = tasks.next().await? {
            if logs.is_none() {
                logs = Some(self.executor_logs(attempt).await?);
            }
            for row in 0..batch.num_rows() {
                body.json.element();
                write_task(body, &tasks, &batch, row, logs.as_ref());
                body.flush().await?;
            }
        }
        body.json.end_array();
        Ok(())
    }

    /// As an object by task id, as `details` of a stage show them.
    pub(super) async fn write_tasks_by_id(
        &self,
        attempt: &Attempt,
        key: StageKey,
        window: &Window,
        logs: &ExecutorLogs,
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        let mut tasks = self.task_rows(attempt, key, window).await?;
        body.json.begin_object();
        while let Some(batch) = tasks.next().await? {
            for row in 0..batch.num_rows() {
                let id = number(&batch, "taskId", row).unwrap_or_default();
                body.json.key(&id.to_string());
                write_task(body, &tasks, &batch, row, Some(logs));
                body.flush().await?;
            }
        }
        body.json.end_object();
        Ok(())
    }

    async fn task_rows(
        &self,
        attempt: &Attempt,
        (stage_id, stage_attempt_id): StageKey,
        window: &Window,
    ) -> Result<Rows, Failure> {
        let params = attempt.params([
            stage_id.into(),
            stage_attempt_id.into(),
            attempt.last_updated_ms.into(),
            window.statuses.clone(),
            window.offset.into(),
            window.length.into(),
        ]);
        self.rows(&window.order.statement(), params).await
    }

    /// What the stage page of Spark's UI asks for: a page of tasks, sorted and searched on the server.
    pub(super) async fn task_table(
        &self,
        attempt: &Attempt,
        key: StageKey,
        request: &Request,
        body: &mut JsonBody,
    ) -> Result<(), Failure> {
        let asked = Table::of(request)?;
        let window = match &asked.search {
            None => asked.window(asked.start()?, asked.length()?)?,
            // All of them are searched, as far as the page says that there are.
            Some(_) => asked.window(0, asked.total)?,
        };
        let mut tasks = self.task_rows(attempt, key, &window).await?;
        let batches = tasks.all().await?;
        let mut found = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                if asked
                    .search
                    .as_ref()
                    .is_none_or(|text| matches_search(batch, row, text))
                {
                    found.push((batch, row));
                }
            }
        }
        let filtered = match (&asked.search, batches.is_empty()) {
            (Some(_), false) => found.len().to_string(),
            _ => asked.total_text.clone(),
        };
        if asked.search.is_some() && !found.is_empty() {
            let (start, length) = (i64::from(asked.start()?), i64::from(asked.length()?));
            let end = usize::try_from(start + length).unwrap_or(0).min(found.len());
            found.truncate(end);
            found.drain(..usize::try_from(start).unwrap_or(0).min(end));
        }
        let logs = match found.is_empty() {
            true => None,
            false => Some(self.executor_logs(attempt).await?),
        };
        body.json.begin_object();
        body.json.key("recordsFiltered");
        body.json.string(&filtered);
        body.json.key("aaData");
        body.json.begin_array();
        for (batch, row) in found {
            body.json.element();
            write_task(body, &tasks, batch, row, logs.as_ref());
            body.flush().await?;
        }
        body.json.end_array();
        body.json.key("recordsTotal");
        body.json.string(&asked.total_text);
        body.json.end_object();
        Ok(())
    }
}

fn write_task(body: &mut JsonBody, tasks: &Rows, batch: &RecordBatch, row: usize, logs: Option<&ExecutorLogs>) {
    let json = &mut body.json;
    json.begin_object();
    tasks.shape.part(0, json, batch, row);
    if let Some(logs) = logs {
        logs.write(json, batch, row);
    }
    tasks.shape.part(1, json, batch, row);
    json.end_object();
}

/// The parameters of a task table.
#[derive(Debug)]
struct Table {
    total: i32,
    total_text: String,
    order: Order,
    search: Option<String>,
    start: Option<String>,
    length: Option<String>,
}

impl Table {
    fn of(request: &Request) -> Result<Self, Failure> {
        let text = |name: &str| request.text(name).map(decoded_again);
        let total_text = text("numTasks").ok_or(Failure::REQUEST_FAILED)?;
        let total = java_int(Some(&total_text))?;
        let column = text("columnNameToSort").ok_or(Failure::REQUEST_FAILED)?;
        let column = match column.eq_ignore_ascii_case("Logs") {
            true => "Index".to_owned(),
            false => column,
        };
        let known = TABLE_COLUMNS.iter().find(|(name, _)| *name == column);
        let ascending = text("order[0][dir]").is_some_and(|direction| direction.eq_ignore_ascii_case("asc"));
        Ok(Table {
            total,
            total_text,
            order: Order {
                key: known.ok_or(Failure::REQUEST_FAILED)?.1,
                ascending,
            },
            search: text("search[value]")
                .filter(|text| !text.is_empty())
                .map(|text| text.to_lowercase()),
            start: text("start"),
            length: text("length"),
        })
    }

    fn start(&self) -> Result<i32, Failure> {
        java_int(self.start.as_deref())
    }

    fn length(&self) -> Result<i32, Failure> {
        java_int(self.length.as_deref())
    }

    fn window(&self, start: i32, length: i32) -> Result<Window, Failure> {
        if length <= 0 {
            return Err(Failure::REQUEST_FAILED);
        }
        Ok(Window {
            order: self.order,
            offset: start.max(0).into(),
            length: length.into(),
            ..Window::all(&Choices::default())?
        })
    }
}

fn java_int(text: Option<&str>) -> Result<i32, Failure> {
    text.and_then(|text| text.parse().ok()).ok_or(Failure::REQUEST_FAILED)
}

/// Spark's UI encodes twice, so the server decodes until nothing changes. A text that is encoded more often than anybody would is left
/// at that: each time costs its length.
fn decoded_again(text: &str) -> String {
    const MOST_TIMES: usize = 16;
    let mut text = text.to_owned();
    for _ in 0..MOST_TIMES {
        let once: String = url::form_urlencoded::parse(format!("={}", text.replace('&', "%26")).as_bytes())
            .map(|(_, value)| value.into_owned())
            .collect();
        if once == text {
            break;
        }
        text = once;
    }
    text
}

/// Whether the table would show the text anywhere in the row (`StagesResource.filterTaskList`).
fn matches_search(batch: &RecordBatch, row: usize, search: &str) -> bool {
    let is_in = |text: &str| text.to_lowercase().contains(search);
    let of_number = |column: &str| number(batch, column, row).map(|value| value.to_string());
    let plain = ["taskId", "index", "attempt"];
    if plain
        .iter()
        .any(|column| of_number(column).is_some_and(|text| is_in(&text)))
    {
        return true;
    }
    let texts = ["executorId", "host", "status", "taskLocality"];
    if texts.iter().any(|column| text(batch, column, row).is_some_and(is_in)) {
        return true;
    }
    // What is not there is searched as "d".
    if is_in(text(batch, "errorMessage", row).unwrap_or("d")) {
        return true;
    }
    let instant = |column: &str| {
        let array = batch
            .column_by_name(column)?
            .as_primitive_opt::<TimestampMicrosecondType>()?;
        let micros = array.is_valid(row).then(|| array.value(row))?;
        chrono::DateTime::from_timestamp_micros(micros)
    };
    let launched = instant("launchTime").map(|time| time.format("%Y/%m/%d %H:%M:%S").to_string());
    let fetched = instant("resultFetchStart").map(|time| time.format("%a %b %d %H:%M:%S UTC %Y").to_string());
    if launched.is_some_and(|text| is_in(&text)) || is_in(fetched.as_deref().unwrap_or("d")) {
        return true;
    }
    let speculative = batch
        .column_by_name("speculative")
        .and_then(|array| array.as_boolean_opt())
        .is_some_and(|array| array.value(row));
    if is_in(&speculative.to_string()) {
        return true;
    }
    let delays = ["schedulerDelay", "gettingResultTime"];
    if delays
        .iter()
        .any(|column| is_in(&duration_text(number(batch, column, row).unwrap_or_default())))
    {
        return true;
    }
    let has_metrics = batch
        .column_by_name("taskMetrics.?")
        .and_then(|array| array.as_boolean_opt())
        .is_some_and(|array| array.value(row));
    has_metrics && metrics_match(batch, row, &is_in)
}

fn metrics_match(batch: &RecordBatch, row: usize, is_in: &dyn Fn(&str) -> bool) -> bool {
    let metric = |name: &str| number(batch, &format!("taskMetrics.{name}"), row).unwrap_or_default();
    let durations = [
        metric("executorDeserializeTime"),
        metric("executorRunTime"),
        metric("jvmGcTime"),
        metric("resultSerializationTime"),
        metric("shuffleReadMetrics.fetchWaitTime"),
        metric("shuffleWriteMetrics.writeTime") / 1_000_000,
    ];
    let remote = metric("shuffleReadMetrics.remoteBytesRead");
    let sizes = [
        metric("memoryBytesSpilled"),
        metric("diskBytesSpilled"),
        metric("peakExecutionMemory"),
        metric("inputMetrics.bytesRead"),
        metric("outputMetrics.bytesWritten"),
        remote,
        metric("shuffleReadMetrics.localBytesRead").saturating_add(remote),
        metric("shuffleWriteMetrics.bytesWritten"),
    ];
    let counts = [
        metric("inputMetrics.recordsRead"),
        metric("outputMetrics.recordsWritten"),
        metric("shuffleReadMetrics.recordsRead"),
        metric("shuffleWriteMetrics.recordsWritten"),
    ];
    durations.iter().any(|value| is_in(&duration_text(*value)))
        || sizes.iter().any(|value| is_in(&size_text(*value)))
        || counts.iter().any(|value| is_in(&value.to_string()))
}

/// Spark's `UIUtils.formatDuration`.
#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn duration_text(millis: i64) -> String {
    if millis < 100 {
        return format!("{millis} ms");
    }
    let seconds = millis as f64 / 1000.0;
    let (minutes, hours) = (seconds / 60.0, seconds / 3600.0);
    let mut text = String::new();
    let written = if seconds < 1.0 {
        write!(text, "{seconds:.1} s")
    } else if seconds < 60.0 {
        write!(text, "{seconds:.0} s")
    } else if minutes < 10.0 {
        write!(text, "{minutes:.1} min")
    } else if minutes < 60.0 {
        write!(text, "{minutes:.0} min")
    } else {
        write!(text, "{hours:.1} h")
    };
    // Writing to memory does not fail.
    written.ok();
    text
}

/// Spark's `Utils.bytesToString`.
#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn size_text(bytes: i64) -> String {
    let units = [
        ("EiB", 60),
        ("PiB", 50),
        ("TiB", 40),
        ("GiB", 30),
        ("MiB", 20),
        ("KiB", 10),
    ];
    for (unit, shift) in units {
        if bytes >> shift >= 2 {
            return format!("{:.1} {unit}", bytes as f64 / (1_i64 << shift) as f64);
        }
    }
    format!("{:.1} B", bytes as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_ui_writes_them() {
        let durations = [5, 100, 950, 12_300, 90_000, 1_800_000, 9_000_000].map(duration_text);
        assert_eq!(
            durations,
            ["5 ms", "0.1 s", "0.9 s", "12 s", "1.5 min", "30 min", "2.5 h"]
        );
        let sizes = [0, 2047, 2048, 5 << 20].map(size_text);
        assert_eq!(sizes, ["0.0 B", "2047.0 B", "2.0 KiB", "5.0 MiB"]);
    }

    #[test]
    fn parameters_are_decoded_until_nothing_changes() {
        assert_eq!(decoded_again("Launch%252520Time"), "Launch Time");
        assert_eq!(decoded_again("a&b"), "a&b");
    }
}
