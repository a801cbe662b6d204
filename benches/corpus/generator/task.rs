//! `SparkListenerTaskStart` and `SparkListenerTaskEnd`, nine tenths of every log: prepared text around a task's numbers.

use serde_json::{Value, json};

use super::Spark;

/// The numbers of one task. Each place in a line that shows one refers to it by this name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// What these tasks never have: push-based shuffle, off-heap memory, spills to disk.
    Zero,
    DeserializeTime,
    DeserializeCpuTime,
    RunTime,
    CpuTime,
    ResultSize,
    GcTime,
    SerializationTime,
    PeakMemory,
    MemorySpilled,
    RemoteBlocks,
    LocalBlocks,
    RemoteBytes,
    LocalBytes,
    FetchWaitTime,
    RecordsRead,
    RemoteDuration,
    BytesWritten,
    RecordsWritten,
    WriteTime,
    InputBytes,
    InputRecords,
    OutputBytes,
    OutputRecords,
    HashProbes,
    JvmHeap,
    JvmOffHeap,
    StorageMemory,
    DirectPool,
    VirtualMemory,
    ResidentMemory,
    MinorGcCount,
    MinorGcTime,
    /// Number of slots; not one itself.
    Count,
}

#[derive(Clone)]
pub(crate) struct TaskNumbers([u64; Slot::Count as usize]);

impl TaskNumbers {
    pub(crate) fn new() -> Self {
        TaskNumbers([0; Slot::Count as usize])
    }

    pub(crate) fn get(&self, slot: Slot) -> u64 {
        self.0[slot as usize]
    }

    pub(crate) fn set(&mut self, slot: Slot, value: u64) {
        self.0[slot as usize] = value;
    }
}

/// `Task Executor Metrics`, `Executor Metrics`: (name, number, not in 3.5).
pub(crate) const EXECUTOR_METRICS: [(&str, Slot, bool); 23] = [
    ("JVMHeapMemory", Slot::JvmHeap, false),
    ("JVMOffHeapMemory", Slot::JvmOffHeap, false),
    ("OnHeapExecutionMemory", Slot::PeakMemory, false),
    ("OffHeapExecutionMemory", Slot::Zero, false),
    ("OnHeapStorageMemory", Slot::StorageMemory, false),
    ("OffHeapStorageMemory", Slot::Zero, false),
    ("OnHeapUnifiedMemory", Slot::StorageMemory, false),
    ("OffHeapUnifiedMemory", Slot::Zero, false),
    ("DirectPoolMemory", Slot::DirectPool, false),
    ("MappedPoolMemory", Slot::Zero, false),
    ("ProcessTreeJVMVMemory", Slot::VirtualMemory, false),
    ("ProcessTreeJVMRSSMemory", Slot::ResidentMemory, false),
    ("ProcessTreePythonVMemory", Slot::Zero, false),
    ("ProcessTreePythonRSSMemory", Slot::Zero, false),
    ("ProcessTreeOtherVMemory", Slot::Zero, false),
    ("ProcessTreeOtherRSSMemory", Slot::Zero, false),
    ("MinorGCCount", Slot::MinorGcCount, false),
    ("MinorGCTime", Slot::MinorGcTime, false),
    ("MajorGCCount", Slot::Zero, false),
    ("MajorGCTime", Slot::Zero, false),
    ("TotalGCTime", Slot::MinorGcTime, false),
    ("ConcurrentGCCount", Slot::Zero, true),
    ("ConcurrentGCTime", Slot::Zero, true),
];

/// The text of `Task Metrics` before each number, not in 3.5 where the third is true.
const TASK_METRICS: [(&str, Slot, bool); 36] = [
    (
        r#""Task Metrics":{"Executor Deserialize Time":"#,
        Slot::DeserializeTime,
        false,
    ),
    (r#","Executor Deserialize CPU Time":"#, Slot::DeserializeCpuTime, false),
    (r#","Executor Run Time":"#, Slot::RunTime, false),
    (r#","Executor CPU Time":"#, Slot::CpuTime, false),
    (r#","Peak Execution Memory":"#, Slot::PeakMemory, false),
    (r#","Peak On Heap Execution Memory":"#, Slot::PeakMemory, true),
    (r#","Peak Off Heap Execution Memory":"#, Slot::Zero, true),
    (r#","Result Size":"#, Slot::ResultSize, false),
    (r#","JVM GC Time":"#, Slot::GcTime, false),
    (r#","Result Serialization Time":"#, Slot::SerializationTime, false),
    (r#","Memory Bytes Spilled":"#, Slot::MemorySpilled, false),
    (r#","Disk Bytes Spilled":"#, Slot::Zero, false),
    (
        r#","Shuffle Read Metrics":{"Remote Blocks Fetched":"#,
        Slot::RemoteBlocks,
        false,
    ),
    (r#","Local Blocks Fetched":"#, Slot::LocalBlocks, false),
    (r#","Fetch Wait Time":"#, Slot::FetchWaitTime, false),
    (r#","Remote Bytes Read":"#, Slot::RemoteBytes, false),
    (r#","Remote Bytes Read To Disk":"#, Slot::Zero, false),
    (r#","Local Bytes Read":"#, Slot::LocalBytes, false),
    (r#","Total Records Read":"#, Slot::RecordsRead, false),
    (r#","Remote Requests Duration":"#, Slot::RemoteDuration, false),
    (
        r#","Push Based Shuffle":{"Corrupt Merged Block Chunks":"#,
        Slot::Zero,
        false,
    ),
    (r#","Merged Fetch Fallback Count":"#, Slot::Zero, false),
    (r#","Merged Remote Blocks Fetched":"#, Slot::Zero, false),
    (r#","Merged Local Blocks Fetched":"#, Slot::Zero, false),
    (r#","Merged Remote Chunks Fetched":"#, Slot::Zero, false),
    (r#","Merged Local Chunks Fetched":"#, Slot::Zero, false),
    (r#","Merged Remote Bytes Read":"#, Slot::Zero, false),
    (r#","Merged Local Bytes Read":"#, Slot::Zero, false),
    (r#","Merged Remote Requests Duration":"#, Slot::Zero, false),
    (
        r#"}},"Shuffle Write Metrics":{"Shuffle Bytes Written":"#,
        Slot::BytesWritten,
        false,
    ),
    (r#","Shuffle Write Time":"#, Slot::WriteTime, false),
    (r#","Shuffle Records Written":"#, Slot::RecordsWritten, false),
    (r#"},"Input Metrics":{"Bytes Read":"#, Slot::InputBytes, false),
    (r#","Records Read":"#, Slot::InputRecords, false),
    (r#"},"Output Metrics":{"Bytes Written":"#, Slot::OutputBytes, false),
    (r#","Records Written":"#, Slot::OutputRecords, false),
];

/// The internal accumulators of a stage in the order of their ids (`InternalAccumulator`, `TaskMetrics.nameToAccums`):
/// (name, number, shown although zero where a task reads a shuffle, not in 3.5). An empty name takes an id and is never shown.
const INTERNAL: [(&str, Slot, bool, bool); 37] = [
    ("executorDeserializeTime", Slot::DeserializeTime, false, false),
    ("executorDeserializeCpuTime", Slot::DeserializeCpuTime, false, false),
    ("executorRunTime", Slot::RunTime, false, false),
    ("executorCpuTime", Slot::CpuTime, false, false),
    ("resultSize", Slot::ResultSize, false, false),
    ("jvmGCTime", Slot::GcTime, false, false),
    ("resultSerializationTime", Slot::SerializationTime, false, false),
    ("memoryBytesSpilled", Slot::MemorySpilled, false, false),
    ("diskBytesSpilled", Slot::Zero, false, false),
    ("peakExecutionMemory", Slot::PeakMemory, false, false),
    ("peakOnHeapExecutionMemory", Slot::PeakMemory, false, true),
    ("peakOffHeapExecutionMemory", Slot::Zero, false, true),
    ("", Slot::Zero, false, false),
    ("shuffle.read.remoteBlocksFetched", Slot::RemoteBlocks, true, false),
    ("shuffle.read.localBlocksFetched", Slot::LocalBlocks, true, false),
    ("shuffle.read.remoteBytesRead", Slot::RemoteBytes, true, false),
    ("shuffle.read.remoteBytesReadToDisk", Slot::Zero, true, false),
    ("shuffle.read.localBytesRead", Slot::LocalBytes, true, false),
    ("shuffle.read.fetchWaitTime", Slot::FetchWaitTime, true, false),
    ("shuffle.read.recordsRead", Slot::RecordsRead, true, false),
    ("shuffle.push.read.corruptMergedBlockChunks", Slot::Zero, true, false),
    ("shuffle.push.read.mergedFetchFallbackCount", Slot::Zero, true, false),
    ("shuffle.push.read.remoteMergedBlocksFetched", Slot::Zero, true, false),
    ("shuffle.push.read.localMergedBlocksFetched", Slot::Zero, true, false),
    ("shuffle.push.read.remoteMergedChunksFetched", Slot::Zero, true, false),
    ("shuffle.push.read.localMergedChunksFetched", Slot::Zero, true, false),
    ("shuffle.push.read.remoteMergedBytesRead", Slot::Zero, true, false),
    ("shuffle.push.read.localMergedBytesRead", Slot::Zero, true, false),
    ("shuffle.read.remoteReqsDuration", Slot::RemoteDuration, true, false),
    ("shuffle.push.read.remoteMergedReqsDuration", Slot::Zero, true, false),
    ("shuffle.write.bytesWritten", Slot::BytesWritten, false, false),
    ("shuffle.write.recordsWritten", Slot::RecordsWritten, false, false),
    ("shuffle.write.writeTime", Slot::WriteTime, false, false),
    ("input.bytesRead", Slot::InputBytes, false, false),
    ("input.recordsRead", Slot::InputRecords, false, false),
    ("output.bytesWritten", Slot::OutputBytes, false, false),
    ("output.recordsWritten", Slot::OutputRecords, false, false),
];

/// A line under construction.
pub(crate) trait Line {
    fn text(&mut self, text: &str);
    fn number(&mut self, number: u64);
}

impl Line for Vec<u8> {
    fn text(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }

    /// As `write!` would, several times faster: a log has a hundred numbers a task.
    fn number(&mut self, mut number: u64) {
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.extend_from_slice(&digits[at..]);
    }
}

/// One accumulator of a stage, with its running total as the driver has it.
struct Accumulator {
    sql: bool,
    slot: Slot,
    /// Shown although its update is zero.
    always: bool,
    total: u64,
    updated: bool,
    /// `{"ID":…,"Name":"…","Update":`
    head: String,
}

/// Which task ran where and when.
pub(crate) struct TaskRun<'a> {
    pub(crate) task_id: u64,
    pub(crate) index: u64,
    pub(crate) attempt: u64,
    pub(crate) launch_ms: u64,
    pub(crate) executor_id: u64,
    pub(crate) host: &'a str,
    pub(crate) locality: &'static str,
}

/// Writes the task events of one stage attempt, and knows the accumulators it leaves behind.
pub(crate) struct TaskWriter {
    stage_id: u64,
    task_type: &'static str,
    accumulators: Vec<Accumulator>,
    spark: Spark,
    failure: String,
}

/// How many ids the internal accumulators of one stage take.
pub(crate) fn internal_accumulators(spark: Spark) -> u64 {
    INTERNAL
        .iter()
        .filter(|(_, _, _, new)| spark.has_new_fields() || !new)
        .count() as u64
}

impl TaskWriter {
    /// `sql`: (id, name, number) of the SQL metrics its tasks update, by id; `first_internal_id`: where the others begin.
    pub(crate) fn new(
        spark: Spark,
        stage_id: u64,
        result_stage: bool,
        reads_shuffle: bool,
        sql: &[(u64, &'static str, Slot)],
        first_internal_id: u64,
    ) -> Self {
        let mut accumulators: Vec<Accumulator> = sql
            .iter()
            .map(|&(id, name, slot)| Accumulator::new(id, name.to_owned(), true, slot, true))
            .collect();
        let internal = INTERNAL.iter().filter(|(_, _, _, new)| spark.has_new_fields() || !new);
        for (id, &(name, slot, shuffle_read, _)) in (first_internal_id..).zip(internal) {
            if !name.is_empty() && (slot != Slot::Zero || shuffle_read && reads_shuffle) {
                let name = format!("internal.metrics.{name}");
                accumulators.push(Accumulator::new(id, name, false, slot, shuffle_read && reads_shuffle));
            }
        }
        let run_time_id = first_internal_id + 2;
        TaskWriter {
            stage_id,
            task_type: if result_stage { "ResultTask" } else { "ShuffleMapTask" },
            accumulators,
            spark,
            failure: failure_reason(run_time_id),
        }
    }

    pub(crate) fn start(&self, line: &mut Vec<u8>, run: &TaskRun<'_>) {
        line.text(r#"{"Event":"SparkListenerTaskStart","Stage ID":"#);
        line.number(self.stage_id);
        line.text(r#","Stage Attempt ID":0,"#);
        task_info(line, run, 0, false);
        line.text("]}}\n");
    }

    pub(crate) fn end(
        &mut self,
        line: &mut Vec<u8>,
        run: &TaskRun<'_>,
        finish_ms: u64,
        failed: bool,
        numbers: &TaskNumbers,
    ) {
        line.text(r#"{"Event":"SparkListenerTaskEnd","Stage ID":"#);
        line.number(self.stage_id);
        line.text(r#","Stage Attempt ID":0,"Task Type":""#);
        line.text(self.task_type);
        line.text(r#"","Task End Reason":"#);
        if failed {
            line.text(&self.failure);
            line.number(numbers.get(Slot::RunTime));
            line.text(r#"","Internal":false,"Count Failed Values":true}]},"#);
        } else {
            line.text(r#"{"Reason":"Success"},"#);
        }
        task_info(line, run, finish_ms, failed);
        let mut comma = "";
        for accumulator in &mut self.accumulators {
            let update = numbers.get(accumulator.slot);
            // A failed task reports only what counts for failed tasks and is not zero: its run time.
            let shown = if failed {
                accumulator.slot == Slot::RunTime && !accumulator.sql
            } else {
                accumulator.always || update != 0
            };
            if shown {
                line.text(comma);
                accumulator.update(line, update);
                comma = ",";
            }
        }
        line.text("]},");
        executor_metrics(line, "Task Executor Metrics", self.spark, numbers);
        line.text(",");
        for (text, slot, new) in TASK_METRICS {
            if new && !self.spark.has_new_fields() {
                continue;
            }
            line.text(text);
            line.number(numbers.get(slot));
        }
        line.text("},\"Updated Blocks\":[]}}\n");
    }

    /// What is in `Accumulables` of `SparkListenerStageCompleted`.
    pub(crate) fn accumulables(&self, line: &mut Vec<u8>) {
        let mut comma = "";
        for accumulator in self.accumulators.iter().filter(|accumulator| accumulator.updated) {
            line.text(comma);
            accumulator.total(line);
            comma = ",";
        }
    }
}

impl Accumulator {
    fn new(id: u64, name: String, sql: bool, slot: Slot, always: bool) -> Self {
        let head = format!(r#"{{"ID":{id},"Name":"{name}","Update":"#);
        Accumulator {
            sql,
            slot,
            always,
            total: 0,
            updated: false,
            head,
        }
    }

    /// SQL metrics come as strings, internal ones as numbers (`JsonProtocol.accumValueToJson`).
    fn update(&mut self, line: &mut Vec<u8>, update: u64) {
        self.total += update;
        self.updated = true;
        line.text(&self.head);
        if self.sql {
            line.text("\"");
            line.number(update);
            line.text(r#"","Value":""#);
            line.number(self.total);
            line.text(r#"","Internal":true,"Count Failed Values":true,"Metadata":"sql"}"#);
        } else {
            line.number(update);
            line.text(r#","Value":"#);
            line.number(self.total);
            line.text(r#","Internal":true,"Count Failed Values":true}"#);
        }
    }

    fn total(&self, line: &mut Vec<u8>) {
        line.text(self.head.trim_end_matches(r#""Update":"#));
        line.text(if self.sql { r#""Value":""# } else { r#""Value":"# });
        line.number(self.total);
        line.text(if self.sql {
            r#"","Internal":true,"Count Failed Values":true,"Metadata":"sql"}"#
        } else {
            r#","Internal":true,"Count Failed Values":true}"#
        });
    }
}

/// `Task Info` up to the opening bracket of its accumulables.
fn task_info(line: &mut Vec<u8>, run: &TaskRun<'_>, finish_ms: u64, failed: bool) {
    line.text(r#""Task Info":{"Task ID":"#);
    line.number(run.task_id);
    line.text(r#","Index":"#);
    line.number(run.index);
    line.text(r#","Attempt":"#);
    line.number(run.attempt);
    line.text(r#","Partition ID":"#);
    line.number(run.index);
    line.text(r#","Launch Time":"#);
    line.number(run.launch_ms);
    line.text(r#","Executor ID":""#);
    line.number(run.executor_id);
    line.text(r#"","Host":""#);
    line.text(run.host);
    line.text(r#"","Locality":""#);
    line.text(run.locality);
    line.text(r#"","Speculative":false,"Getting Result Time":0,"Finish Time":"#);
    line.number(finish_ms);
    line.text(if failed {
        r#","Failed":true"#
    } else {
        r#","Failed":false"#
    });
    line.text(r#","Killed":false,"Accumulables":["#);
}

/// `"<key>":{"JVMHeapMemory":…}`
pub(crate) fn executor_metrics(line: &mut Vec<u8>, key: &str, spark: Spark, numbers: &TaskNumbers) {
    let mut before = "{\"";
    line.text("\"");
    line.text(key);
    line.text("\":");
    for (name, slot, new) in EXECUTOR_METRICS {
        if new && !spark.has_new_fields() {
            continue;
        }
        line.text(before);
        line.text(name);
        line.text("\":");
        line.number(numbers.get(slot));
        before = ",\"";
    }
    line.text("}");
}

/// `Task End Reason` of a task that threw, up to the run time in its accumulator updates.
fn failure_reason(run_time_id: u64) -> String {
    let frames: Vec<Value> = (0..24)
        .map(|i| {
            json!({"Declaring Class": "org.apache.spark.executor.Executor$TaskRunner", "Method Name": "$anonfun$run$5",
                "File Name": "Executor.scala", "Line Number": 640 + i})
        })
        .collect();
    let mut trace = "java.lang.IllegalStateException: synthetic failure\n".to_owned();
    for i in 0..24 {
        trace.push_str(&format!(
            "\tat org.apache.spark.executor.Executor$TaskRunner.$anonfun$run$5(Executor.scala:{})\n",
            640 + i
        ));
    }
    format!(
        r#"{{"Reason":"ExceptionFailure","Class Name":"java.lang.IllegalStateException","Description":"synthetic failure","Stack Trace":{},"Full Stack Trace":{},"Accumulator Updates":[{{"ID":{run_time_id},"Update":""#,
        Value::from(frames),
        Value::from(trace)
    )
}
