//! The metrics of a task, once for all tables: `tasks` has each task's own, `stages` their sums, `applications` some of them.

use super::{Column, Type};

/// One number of Spark's `TaskMetrics`.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Column name in `tasks` and `stages`.
    pub name: &'static str,
    /// Field of REST's `StageData`.
    pub stage_rest: &'static str,
    /// Path in REST's `TaskData`.
    pub task_rest: &'static str,
    /// Path below `Task Metrics` of a `SparkListenerTaskEnd`.
    pub source: &'static str,
    pub doc: &'static str,
}

const fn m(
    name: &'static str,
    stage_rest: &'static str,
    task_rest: &'static str,
    source: &'static str,
    doc: &'static str,
) -> Metric {
    Metric {
        name,
        stage_rest,
        task_rest,
        source,
        doc,
    }
}

/// How many metrics a task has.
pub const METRIC_COUNT: usize = 34;

/// Positions in [`METRICS`] of those that the fold itself reads.
pub mod index {
    pub const EXECUTOR_DESERIALIZE_TIME: usize = 0;
    pub const EXECUTOR_DESERIALIZE_CPU_TIME: usize = 1;
    pub const EXECUTOR_RUN_TIME: usize = 2;
    pub const EXECUTOR_CPU_TIME: usize = 3;
    pub const RESULT_SIZE: usize = 4;
    pub const JVM_GC_TIME: usize = 5;
    pub const RESULT_SERIALIZATION_TIME: usize = 6;
    pub const MEMORY_BYTES_SPILLED: usize = 7;
    pub const DISK_BYTES_SPILLED: usize = 8;
    pub const PEAK_EXECUTION_MEMORY: usize = 9;
    pub const INPUT_BYTES: usize = 10;
    pub const INPUT_RECORDS: usize = 11;
    pub const OUTPUT_BYTES: usize = 12;
    pub const OUTPUT_RECORDS: usize = 13;
    pub const SHUFFLE_REMOTE_BLOCKS_FETCHED: usize = 14;
    pub const SHUFFLE_LOCAL_BLOCKS_FETCHED: usize = 15;
    pub const SHUFFLE_FETCH_WAIT_TIME: usize = 16;
    pub const SHUFFLE_REMOTE_BYTES_READ: usize = 17;
    pub const SHUFFLE_REMOTE_BYTES_READ_TO_DISK: usize = 18;
    pub const SHUFFLE_LOCAL_BYTES_READ: usize = 19;
    pub const SHUFFLE_READ_RECORDS: usize = 20;
    pub const SHUFFLE_REMOTE_REQS_DURATION: usize = 21;
    pub const PUSH_FIRST: usize = 22;
    pub const SHUFFLE_WRITE_BYTES: usize = 31;
    pub const SHUFFLE_WRITE_TIME: usize = 32;
    pub const SHUFFLE_WRITE_RECORDS: usize = 33;
}

/// Every metric, in the order of the columns.
pub const METRICS: [Metric; METRIC_COUNT] = [
    m(
        "executor_deserialize_time_ms",
        "executorDeserializeTime",
        "taskMetrics.executorDeserializeTime",
        "Executor Deserialize Time",
        "time on the executor to deserialise the task",
    ),
    m(
        "executor_deserialize_cpu_time_ns",
        "executorDeserializeCpuTime",
        "taskMetrics.executorDeserializeCpuTime",
        "Executor Deserialize CPU Time",
        "CPU time on the executor to deserialise the task; logs before Spark 2.1 lack it",
    ),
    m(
        "executor_run_time_ms",
        "executorRunTime",
        "taskMetrics.executorRunTime",
        "Executor Run Time",
        "wall time of the task body, shuffle fetches included",
    ),
    m(
        "executor_cpu_time_ns",
        "executorCpuTime",
        "taskMetrics.executorCpuTime",
        "Executor CPU Time",
        "CPU time of the task body, shuffle fetches included; logs before Spark 2.1 lack it",
    ),
    m(
        "result_size_bytes",
        "resultSize",
        "taskMetrics.resultSize",
        "Result Size",
        "size of the task's result as sent to the driver",
    ),
    m(
        "jvm_gc_time_ms",
        "jvmGcTime",
        "taskMetrics.jvmGcTime",
        "JVM GC Time",
        "garbage collection of the executor's JVM while the task ran",
    ),
    m(
        "result_serialization_time_ms",
        "resultSerializationTime",
        "taskMetrics.resultSerializationTime",
        "Result Serialization Time",
        "time to serialise the task's result",
    ),
    m(
        "memory_bytes_spilled",
        "memoryBytesSpilled",
        "taskMetrics.memoryBytesSpilled",
        "Memory Bytes Spilled",
        "bytes in memory of what was spilled",
    ),
    m(
        "disk_bytes_spilled",
        "diskBytesSpilled",
        "taskMetrics.diskBytesSpilled",
        "Disk Bytes Spilled",
        "bytes on disk of what was spilled",
    ),
    m(
        "peak_execution_memory_bytes",
        "peakExecutionMemory",
        "taskMetrics.peakExecutionMemory",
        "Peak Execution Memory",
        "sum of the peak sizes of the data structures of shuffles, aggregations and joins; logs before Spark 3.0 lack it",
    ),
    m(
        "input_bytes",
        "inputBytes",
        "taskMetrics.inputMetrics.bytesRead",
        "Input Metrics / Bytes Read",
        "bytes read from storage or a cached block",
    ),
    m(
        "input_records",
        "inputRecords",
        "taskMetrics.inputMetrics.recordsRead",
        "Input Metrics / Records Read",
        "records read from storage or a cached block",
    ),
    m(
        "output_bytes",
        "outputBytes",
        "taskMetrics.outputMetrics.bytesWritten",
        "Output Metrics / Bytes Written",
        "bytes written to storage",
    ),
    m(
        "output_records",
        "outputRecords",
        "taskMetrics.outputMetrics.recordsWritten",
        "Output Metrics / Records Written",
        "records written to storage",
    ),
    m(
        "shuffle_remote_blocks_fetched",
        "shuffleRemoteBlocksFetched",
        "taskMetrics.shuffleReadMetrics.remoteBlocksFetched",
        "Shuffle Read Metrics / Remote Blocks Fetched",
        "shuffle blocks fetched from other hosts",
    ),
    m(
        "shuffle_local_blocks_fetched",
        "shuffleLocalBlocksFetched",
        "taskMetrics.shuffleReadMetrics.localBlocksFetched",
        "Shuffle Read Metrics / Local Blocks Fetched",
        "shuffle blocks read from the same host",
    ),
    m(
        "shuffle_fetch_wait_time_ms",
        "shuffleFetchWaitTime",
        "taskMetrics.shuffleReadMetrics.fetchWaitTime",
        "Shuffle Read Metrics / Fetch Wait Time",
        "time the task waited for remote shuffle blocks",
    ),
    m(
        "shuffle_remote_bytes_read",
        "shuffleRemoteBytesRead",
        "taskMetrics.shuffleReadMetrics.remoteBytesRead",
        "Shuffle Read Metrics / Remote Bytes Read",
        "shuffle bytes read from other hosts",
    ),
    m(
        "shuffle_remote_bytes_read_to_disk",
        "shuffleRemoteBytesReadToDisk",
        "taskMetrics.shuffleReadMetrics.remoteBytesReadToDisk",
        "Shuffle Read Metrics / Remote Bytes Read To Disk",
        "remote shuffle bytes that went to disk, not to memory",
    ),
    m(
        "shuffle_local_bytes_read",
        "shuffleLocalBytesRead",
        "taskMetrics.shuffleReadMetrics.localBytesRead",
        "Shuffle Read Metrics / Local Bytes Read",
        "shuffle bytes read from the same host",
    ),
    m(
        "shuffle_read_records",
        "shuffleReadRecords",
        "taskMetrics.shuffleReadMetrics.recordsRead",
        "Shuffle Read Metrics / Total Records Read",
        "records read from shuffles",
    ),
    m(
        "shuffle_remote_reqs_duration_ms",
        "shuffleRemoteReqsDuration",
        "taskMetrics.shuffleReadMetrics.remoteReqsDuration",
        "Shuffle Read Metrics / Remote Requests Duration",
        "duration of the requests for remote shuffle blocks",
    ),
    m(
        "shuffle_corrupt_merged_block_chunks",
        "shuffleCorruptMergedBlockChunks",
        "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.corruptMergedBlockChunks",
        "Shuffle Read Metrics / Push Based Shuffle / Corrupt Merged Block Chunks",
        "corrupt chunks of push-merged blocks",
    ),
    m(
        "shuffle_merged_fetch_fallback_count",
        "shuffleMergedFetchFallbackCount",
        "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.mergedFetchFallbackCount",
        "Shuffle Read Metrics / Push Based Shuffle / Merged Fetch Fallback Count",
        "times a merged fetch fell back to the original blocks",
    ),
    m(
        "shuffle_merged_remote_blocks_fetched",
        "shuffleMergedRemoteBlocksFetched",
        "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.remoteMergedBlocksFetched",
        "Shuffle Read Metrics / Push Based Shuffle / Merged Remote Blocks Fetched",
        "push-merged blocks fetched from other hosts",
    ),
    m(
        "shuffle_merged_local_blocks_fetched",
        "shuffleMergedLocalBlocksFetched",
        "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.localMergedBlocksFetched",
        "Shuffle Read Metrics / Push Based Shuffle / Merged Local Blocks Fetched",
        "push-merged blocks read from the same host",
    ),
    m(
        "shuffle_merged_remote_chunks_fetched",
        "shuffleMergedRemoteChunksFetched",
        "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.remoteMergedChunksFetched",
        "Shuffle Read Metrics / Push Based Shuffle / Merged Remote Chunks Fetched",
        "chunks of push-merged blocks fetched from other hosts",
    ),
    m(
        "shuffle_merged_local_chunks_fetched",
        "shuffleMergedLocalChunksFetched",
        "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.localMergedChunksFetched",
        "Shuffle Read Metrics / Push Based Shuffle / Merged Local Chunks Fetched",
        "chunks of push-merged blocks read from the same host",
    ),
    m(
        "shuffle_merged_remote_bytes_read",
        "shuffleMergedRemoteBytesRead",
        "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.remoteMergedBytesRead",
        "Shuffle Read Metrics / Push Based Shuffle / Merged Remote Bytes Read",
        "push-merged bytes read from other hosts",
    ),
    m(
        "shuffle_merged_local_bytes_read",
        "shuffleMergedLocalBytesRead",
        "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.localMergedBytesRead",
        "Shuffle Read Metrics / Push Based Shuffle / Merged Local Bytes Read",
        "push-merged bytes read from the same host",
    ),
    m(
        "shuffle_merged_remote_reqs_duration_ms",
        "shuffleMergedRemoteReqsDuration",
        "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.remoteMergedReqsDuration",
        "Shuffle Read Metrics / Push Based Shuffle / Merged Remote Requests Duration",
        "duration of the requests for remote push-merged blocks",
    ),
    m(
        "shuffle_write_bytes",
        "shuffleWriteBytes",
        "taskMetrics.shuffleWriteMetrics.bytesWritten",
        "Shuffle Write Metrics / Shuffle Bytes Written",
        "bytes written for shuffles",
    ),
    m(
        "shuffle_write_time_ns",
        "shuffleWriteTime",
        "taskMetrics.shuffleWriteMetrics.writeTime",
        "Shuffle Write Metrics / Shuffle Write Time",
        "time blocked on writing shuffle data to disk or buffer cache",
    ),
    m(
        "shuffle_write_records",
        "shuffleWriteRecords",
        "taskMetrics.shuffleWriteMetrics.recordsWritten",
        "Shuffle Write Metrics / Shuffle Records Written",
        "records written for shuffles",
    ),
];

const EMPTY: Column = Column::new("", Type::Int64, "", "", "");

/// The metrics as columns of `tasks`: null where the log does not have them.
pub(super) const TASK_METRICS: [Column; METRIC_COUNT] = {
    let mut columns = [EMPTY; METRIC_COUNT];
    let mut i = 0;
    while i < METRIC_COUNT {
        columns[i] = Column::null(
            METRICS[i].name,
            Type::Int64,
            METRICS[i].task_rest,
            METRICS[i].source,
            METRICS[i].doc,
        );
        i += 1;
    }
    columns
};

/// The metrics as columns of `stages`: sums over the tasks that have them.
pub(super) const STAGE_METRICS: [Column; METRIC_COUNT] = {
    let mut columns = [EMPTY; METRIC_COUNT];
    let mut i = 0;
    while i < METRIC_COUNT {
        columns[i] = Column::new(
            METRICS[i].name,
            Type::Int64,
            METRICS[i].stage_rest,
            METRICS[i].source,
            METRICS[i].doc,
        );
        i += 1;
    }
    columns
};

/// How many executor metrics Spark 4.1 has (`ExecutorMetricType`).
pub const PEAK_COUNT: usize = 23;

/// Executor metrics in Spark's order: name in logs and REST, column name.
pub const PEAKS: [(&str, &str); PEAK_COUNT] = [
    ("JVMHeapMemory", "peak_jvm_heap_memory_bytes"),
    ("JVMOffHeapMemory", "peak_jvm_off_heap_memory_bytes"),
    ("OnHeapExecutionMemory", "peak_on_heap_execution_memory_bytes"),
    ("OffHeapExecutionMemory", "peak_off_heap_execution_memory_bytes"),
    ("OnHeapStorageMemory", "peak_on_heap_storage_memory_bytes"),
    ("OffHeapStorageMemory", "peak_off_heap_storage_memory_bytes"),
    ("OnHeapUnifiedMemory", "peak_on_heap_unified_memory_bytes"),
    ("OffHeapUnifiedMemory", "peak_off_heap_unified_memory_bytes"),
    ("DirectPoolMemory", "peak_direct_pool_memory_bytes"),
    ("MappedPoolMemory", "peak_mapped_pool_memory_bytes"),
    ("ProcessTreeJVMVMemory", "peak_process_tree_jvm_v_memory_bytes"),
    ("ProcessTreeJVMRSSMemory", "peak_process_tree_jvm_rss_memory_bytes"),
    ("ProcessTreePythonVMemory", "peak_process_tree_python_v_memory_bytes"),
    (
        "ProcessTreePythonRSSMemory",
        "peak_process_tree_python_rss_memory_bytes",
    ),
    ("ProcessTreeOtherVMemory", "peak_process_tree_other_v_memory_bytes"),
    ("ProcessTreeOtherRSSMemory", "peak_process_tree_other_rss_memory_bytes"),
    ("MinorGCCount", "peak_minor_gc_count"),
    ("MinorGCTime", "peak_minor_gc_time_ms"),
    ("MajorGCCount", "peak_major_gc_count"),
    ("MajorGCTime", "peak_major_gc_time_ms"),
    ("TotalGCTime", "peak_total_gc_time_ms"),
    ("ConcurrentGCCount", "peak_concurrent_gc_count"),
    ("ConcurrentGCTime", "peak_concurrent_gc_time_ms"),
];

macro_rules! peak_rests {
    ($name:ident, $prefix:literal) => {
        const $name: [&str; PEAK_COUNT] = [
            concat!($prefix, ".JVMHeapMemory"),
            concat!($prefix, ".JVMOffHeapMemory"),
            concat!($prefix, ".OnHeapExecutionMemory"),
            concat!($prefix, ".OffHeapExecutionMemory"),
            concat!($prefix, ".OnHeapStorageMemory"),
            concat!($prefix, ".OffHeapStorageMemory"),
            concat!($prefix, ".OnHeapUnifiedMemory"),
            concat!($prefix, ".OffHeapUnifiedMemory"),
            concat!($prefix, ".DirectPoolMemory"),
            concat!($prefix, ".MappedPoolMemory"),
            concat!($prefix, ".ProcessTreeJVMVMemory"),
            concat!($prefix, ".ProcessTreeJVMRSSMemory"),
            concat!($prefix, ".ProcessTreePythonVMemory"),
            concat!($prefix, ".ProcessTreePythonRSSMemory"),
            concat!($prefix, ".ProcessTreeOtherVMemory"),
            concat!($prefix, ".ProcessTreeOtherRSSMemory"),
            concat!($prefix, ".MinorGCCount"),
            concat!($prefix, ".MinorGCTime"),
            concat!($prefix, ".MajorGCCount"),
            concat!($prefix, ".MajorGCTime"),
            concat!($prefix, ".TotalGCTime"),
            concat!($prefix, ".ConcurrentGCCount"),
            concat!($prefix, ".ConcurrentGCTime"),
        ];
    };
}
peak_rests!(EXECUTOR_PEAK_RESTS, "peakMemoryMetrics");
peak_rests!(STAGE_PEAK_RESTS, "peakExecutorMetrics");

/// Columns of peaks: whether there are any, then each.
pub(super) const PEAK_COLUMNS: usize = PEAK_COUNT + 1;

const fn peaks(rests: [&'static str; PEAK_COUNT]) -> [Column; PEAK_COLUMNS] {
    let mut columns = [EMPTY; PEAK_COLUMNS];
    columns[0] = Column::new(
        "has_peak_metrics",
        Type::Bool,
        "",
        "StageExecutorMetrics, TaskEnd",
        "whether Spark shows peaks: zeros where a log has no executor metrics, which are null here",
    );
    let mut i = 0;
    while i < PEAK_COUNT {
        columns[i + 1] = Column::null(
            PEAKS[i].1,
            Type::Int64,
            rests[i],
            "StageExecutorMetrics: Executor Metrics; TaskEnd: Task Executor Metrics",
            "highest value of the executor metric of this name; null if the log has no executor metrics",
        );
        i += 1;
    }
    columns
}

/// Peaks as columns of `executors`.
pub(super) const EXECUTOR_PEAKS: [Column; PEAK_COLUMNS] = peaks(EXECUTOR_PEAK_RESTS);
/// Peaks as columns of `stages`.
pub(super) const STAGE_PEAKS: [Column; PEAK_COLUMNS] = peaks(STAGE_PEAK_RESTS);

/// Joins lists of columns in a constant; `N` is the sum of the lengths, checked by the compiler.
pub(super) const fn concat<const N: usize>(parts: &[&[Column]]) -> [Column; N] {
    let mut columns = [EMPTY; N];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            columns[at] = parts[part][i];
            at += 1;
            i += 1;
        }
        part += 1;
    }
    assert!(at == N, "N is the number of columns of all parts");
    columns
}
