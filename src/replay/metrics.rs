//! Task metrics as numbers in a row, so that adding them up is a loop; and the peaks of executor metrics.

use crate::event::executor::ExecutorMetrics;
use crate::event::stage::Accumulable;
use crate::event::task::TaskMetrics;
use crate::table::Rows;
use crate::table::metrics::{METRIC_COUNT, PEAK_COUNT, index};

/// The metrics of a task, or their sum. A metric the log does not record counts as 0 and is not present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Metrics {
    values: [i64; METRIC_COUNT],
    present: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::ABSENT
    }
}

impl Metrics {
    /// What Spark makes of a task end without metrics: zeros, none of them recorded.
    pub(super) const ABSENT: Metrics = Metrics {
        values: [0; METRIC_COUNT],
        present: 0,
    };

    pub(super) fn of(event: &TaskMetrics) -> Self {
        let mut metrics = Metrics::ABSENT;
        let mut set = |at: usize, value: Option<i64>| {
            if let Some(value) = value {
                metrics.values[at] = value;
                metrics.present |= 1 << at;
            }
        };
        set(index::EXECUTOR_DESERIALIZE_TIME, Some(event.executor_deserialize_time));
        set(
            index::EXECUTOR_DESERIALIZE_CPU_TIME,
            event.executor_deserialize_cpu_time,
        );
        set(index::EXECUTOR_RUN_TIME, Some(event.executor_run_time));
        set(index::EXECUTOR_CPU_TIME, event.executor_cpu_time);
        set(index::RESULT_SIZE, Some(event.result_size));
        set(index::JVM_GC_TIME, Some(event.jvm_gc_time));
        set(index::RESULT_SERIALIZATION_TIME, Some(event.result_serialization_time));
        set(index::MEMORY_BYTES_SPILLED, Some(event.memory_bytes_spilled));
        set(index::DISK_BYTES_SPILLED, Some(event.disk_bytes_spilled));
        set(index::PEAK_EXECUTION_MEMORY, event.peak_execution_memory);
        // Before Spark 2.0 a part is absent when the task did nothing of its kind: that is 0, not unknown.
        let input = event.input.as_ref();
        set(index::INPUT_BYTES, Some(input.map_or(0, |input| input.bytes_read)));
        set(index::INPUT_RECORDS, input.map_or(Some(0), |input| input.records_read));
        let output = event.output.as_ref();
        set(
            index::OUTPUT_BYTES,
            Some(output.map_or(0, |output| output.bytes_written)),
        );
        set(
            index::OUTPUT_RECORDS,
            output.map_or(Some(0), |output| output.records_written),
        );
        let read = event.shuffle_read.as_ref();
        set(
            index::SHUFFLE_REMOTE_BLOCKS_FETCHED,
            Some(read.map_or(0, |read| read.remote_blocks_fetched)),
        );
        set(
            index::SHUFFLE_LOCAL_BLOCKS_FETCHED,
            Some(read.map_or(0, |read| read.local_blocks_fetched)),
        );
        set(
            index::SHUFFLE_FETCH_WAIT_TIME,
            Some(read.map_or(0, |read| read.fetch_wait_time)),
        );
        set(
            index::SHUFFLE_REMOTE_BYTES_READ,
            Some(read.map_or(0, |read| read.remote_bytes_read)),
        );
        set(
            index::SHUFFLE_REMOTE_BYTES_READ_TO_DISK,
            read.and_then(|read| read.remote_bytes_read_to_disk),
        );
        set(
            index::SHUFFLE_LOCAL_BYTES_READ,
            read.map_or(Some(0), |read| read.local_bytes_read),
        );
        set(
            index::SHUFFLE_READ_RECORDS,
            read.map_or(Some(0), |read| read.records_read),
        );
        set(
            index::SHUFFLE_REMOTE_REQS_DURATION,
            read.and_then(|read| read.remote_requests_duration),
        );
        if let Some(push) = read.and_then(|read| read.push.as_ref()) {
            let values = [
                push.corrupt_merged_block_chunks,
                push.merged_fetch_fallback_count,
                push.remote_blocks_fetched,
                push.local_blocks_fetched,
                push.remote_chunks_fetched,
                push.local_chunks_fetched,
                push.remote_bytes_read,
                push.local_bytes_read,
                push.remote_requests_duration,
            ];
            for (i, value) in values.into_iter().enumerate() {
                set(index::PUSH_FIRST + i, value);
            }
        }
        let write = event.shuffle_write.as_ref();
        set(
            index::SHUFFLE_WRITE_BYTES,
            Some(write.map_or(0, |write| write.bytes_written)),
        );
        set(
            index::SHUFFLE_WRITE_TIME,
            Some(write.map_or(0, |write| write.write_time)),
        );
        set(
            index::SHUFFLE_WRITE_RECORDS,
            write.map_or(Some(0), |write| write.records_written),
        );
        metrics
    }

    /// The value, 0 where the log has none: for sums.
    pub(super) fn value(&self, at: usize) -> i64 {
        self.values[at]
    }

    /// The value where the log has it.
    pub(super) fn get(&self, at: usize) -> Option<i64> {
        (self.present & (1 << at) != 0).then(|| self.values[at])
    }

    pub(super) fn set(&mut self, at: usize, value: i64) {
        self.values[at] = value;
        self.present |= 1 << at;
    }

    pub(super) fn shuffle_read_bytes(&self) -> i64 {
        self.values[index::SHUFFLE_LOCAL_BYTES_READ].wrapping_add(self.values[index::SHUFFLE_REMOTE_BYTES_READ])
    }

    /// Adds as Spark's `LiveEntityHelpers.addMetrics`; overflow wraps as in Java.
    pub(super) fn add(&mut self, other: &Metrics) {
        for (sum, value) in self.values.iter_mut().zip(&other.values) {
            *sum = sum.wrapping_add(*value);
        }
        self.present |= other.present;
    }

    /// What `self` has more than `old`.
    pub(super) fn minus(&self, old: &Metrics) -> Metrics {
        let mut delta = *self;
        for (value, old) in delta.values.iter_mut().zip(&old.values) {
            *value = value.wrapping_sub(*old);
        }
        delta
    }
}

/// The metrics in the accumulators of an executor's heartbeat (Spark's `TaskMetrics.fromAccumulatorInfos`).
pub(super) fn of_accumulators(accumulators: &[Accumulable<'_>]) -> Metrics {
    const NAMES: [(&str, usize); 25] = [
        ("executorDeserializeTime", index::EXECUTOR_DESERIALIZE_TIME),
        ("executorDeserializeCpuTime", index::EXECUTOR_DESERIALIZE_CPU_TIME),
        ("executorRunTime", index::EXECUTOR_RUN_TIME),
        ("executorCpuTime", index::EXECUTOR_CPU_TIME),
        ("resultSize", index::RESULT_SIZE),
        ("jvmGCTime", index::JVM_GC_TIME),
        ("resultSerializationTime", index::RESULT_SERIALIZATION_TIME),
        ("memoryBytesSpilled", index::MEMORY_BYTES_SPILLED),
        ("diskBytesSpilled", index::DISK_BYTES_SPILLED),
        ("peakExecutionMemory", index::PEAK_EXECUTION_MEMORY),
        ("input.bytesRead", index::INPUT_BYTES),
        ("input.recordsRead", index::INPUT_RECORDS),
        ("output.bytesWritten", index::OUTPUT_BYTES),
        ("output.recordsWritten", index::OUTPUT_RECORDS),
        ("shuffle.read.remoteBlocksFetched", index::SHUFFLE_REMOTE_BLOCKS_FETCHED),
        ("shuffle.read.localBlocksFetched", index::SHUFFLE_LOCAL_BLOCKS_FETCHED),
        ("shuffle.read.fetchWaitTime", index::SHUFFLE_FETCH_WAIT_TIME),
        ("shuffle.read.remoteBytesRead", index::SHUFFLE_REMOTE_BYTES_READ),
        (
            "shuffle.read.remoteBytesReadToDisk",
            index::SHUFFLE_REMOTE_BYTES_READ_TO_DISK,
        ),
        ("shuffle.read.localBytesRead", index::SHUFFLE_LOCAL_BYTES_READ),
        ("shuffle.read.recordsRead", index::SHUFFLE_READ_RECORDS),
        ("shuffle.read.remoteReqsDuration", index::SHUFFLE_REMOTE_REQS_DURATION),
        ("shuffle.write.bytesWritten", index::SHUFFLE_WRITE_BYTES),
        ("shuffle.write.writeTime", index::SHUFFLE_WRITE_TIME),
        ("shuffle.write.recordsWritten", index::SHUFFLE_WRITE_RECORDS),
    ];
    let mut metrics = Metrics::ABSENT;
    for accumulator in accumulators {
        let name = accumulator
            .name
            .as_deref()
            .and_then(|name| name.strip_prefix("internal.metrics."));
        let at = name.and_then(|name| NAMES.iter().find(|(other, _)| *other == name));
        let value = accumulator.update.and_then(|value| value.get().parse().ok());
        if let (Some((_, at)), Some(value)) = (at, value) {
            metrics.set(*at, value);
        }
    }
    metrics
}

/// Highest executor metrics seen so far (Spark's `ExecutorMetrics` with `compareAndUpdatePeakValues`).
///
/// Spark marks metrics that were never measured with -1 in the first place. Where the log has none at all, Spark takes zeros; we
/// keep them unknown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peaks {
    values: [i64; PEAK_COUNT],
    /// Spark took zeros at least once.
    took_zeros: bool,
}

impl Default for Peaks {
    fn default() -> Self {
        let mut unset = [0; PEAK_COUNT];
        unset[0] = -1;
        Peaks {
            values: unset,
            took_zeros: false,
        }
    }
}

impl Peaks {
    /// Whether Spark saw a new peak.
    pub(super) fn raise(&mut self, metrics: Option<&ExecutorMetrics>) -> bool {
        let Some(ExecutorMetrics(metrics)) = metrics else {
            return !std::mem::replace(&mut self.took_zeros, true) && self.values[0] == -1;
        };
        let mut raised = false;
        for (peak, value) in self.values.iter_mut().zip(metrics) {
            raised |= *value > *peak;
            *peak = (*peak).max(*value);
        }
        raised
    }

    pub(super) fn get(&self, at: usize) -> Option<i64> {
        (self.values[0] > -1).then(|| self.values[at])
    }

    /// The cells of the columns of peaks.
    pub(super) fn push(&self, rows: &mut Rows) {
        rows.push(self.took_zeros || self.values[0] > -1);
        for at in 0..PEAK_COUNT {
            rows.push(self.get(at));
        }
    }
}
