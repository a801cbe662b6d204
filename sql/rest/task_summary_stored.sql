-- name: task_summary_stored
-- grain: one row; none where the stage attempt has no tasks
-- reads: rollup.stage_summary
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 stage_id, $4 stage_attempt_id
-- notes: what task_summary has, at all stored quantiles; the handler takes those that were asked for. Only where metrics are uniform, and of the first three that task_summary_delays has only where every task succeeded
SELECT
  ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0] AS "quantiles",
  duration_ms_quantiles AS "duration",
  executor_deserialize_time_ms_quantiles AS "executorDeserializeTime",
  executor_deserialize_cpu_time_ns_quantiles AS "executorDeserializeCpuTime",
  executor_run_time_ms_quantiles AS "executorRunTime",
  executor_cpu_time_ns_quantiles AS "executorCpuTime",
  result_size_bytes_quantiles AS "resultSize",
  jvm_gc_time_ms_quantiles AS "jvmGcTime",
  result_serialization_time_ms_quantiles AS "resultSerializationTime",
  getting_result_time_ms_quantiles AS "gettingResultTime",
  scheduler_delay_ms_quantiles AS "schedulerDelay",
  peak_execution_memory_bytes_quantiles AS "peakExecutionMemory",
  memory_bytes_spilled_quantiles AS "memoryBytesSpilled",
  disk_bytes_spilled_quantiles AS "diskBytesSpilled",
  input_bytes_quantiles AS "inputMetrics.bytesRead",
  input_records_quantiles AS "inputMetrics.recordsRead",
  output_bytes_quantiles AS "outputMetrics.bytesWritten",
  output_records_quantiles AS "outputMetrics.recordsWritten",
  shuffle_read_bytes_quantiles AS "shuffleReadMetrics.readBytes",
  shuffle_read_records_quantiles AS "shuffleReadMetrics.readRecords",
  shuffle_remote_blocks_fetched_quantiles AS "shuffleReadMetrics.remoteBlocksFetched",
  shuffle_local_blocks_fetched_quantiles AS "shuffleReadMetrics.localBlocksFetched",
  shuffle_fetch_wait_time_ms_quantiles AS "shuffleReadMetrics.fetchWaitTime",
  shuffle_remote_bytes_read_quantiles AS "shuffleReadMetrics.remoteBytesRead",
  shuffle_remote_bytes_read_to_disk_quantiles AS "shuffleReadMetrics.remoteBytesReadToDisk",
  shuffle_blocks_fetched_quantiles AS "shuffleReadMetrics.totalBlocksFetched",
  shuffle_remote_reqs_duration_ms_quantiles AS "shuffleReadMetrics.remoteReqsDuration",
  shuffle_corrupt_merged_block_chunks_quantiles AS "shuffleReadMetrics.shufflePushReadMetricsDist.corruptMergedBlockChunks",
  shuffle_merged_fetch_fallback_count_quantiles AS "shuffleReadMetrics.shufflePushReadMetricsDist.mergedFetchFallbackCount",
  shuffle_merged_remote_blocks_fetched_quantiles AS "shuffleReadMetrics.shufflePushReadMetricsDist.remoteMergedBlocksFetched",
  shuffle_merged_local_blocks_fetched_quantiles AS "shuffleReadMetrics.shufflePushReadMetricsDist.localMergedBlocksFetched",
  shuffle_merged_remote_chunks_fetched_quantiles AS "shuffleReadMetrics.shufflePushReadMetricsDist.remoteMergedChunksFetched",
  shuffle_merged_local_chunks_fetched_quantiles AS "shuffleReadMetrics.shufflePushReadMetricsDist.localMergedChunksFetched",
  shuffle_merged_remote_bytes_read_quantiles AS "shuffleReadMetrics.shufflePushReadMetricsDist.remoteMergedBytesRead",
  shuffle_merged_local_bytes_read_quantiles AS "shuffleReadMetrics.shufflePushReadMetricsDist.localMergedBytesRead",
  shuffle_merged_remote_reqs_duration_ms_quantiles AS "shuffleReadMetrics.shufflePushReadMetricsDist.remoteMergedReqsDuration",
  shuffle_write_bytes_quantiles AS "shuffleWriteMetrics.writeBytes",
  shuffle_write_records_quantiles AS "shuffleWriteMetrics.writeRecords",
  shuffle_write_time_ns_quantiles AS "shuffleWriteMetrics.writeTime",
  num_tasks AS "@numTasks",
  num_complete_tasks AS "@numCompleteTasks",
  has_uniform_metrics AS "@hasUniformMetrics"
FROM rollup.stage_summary
WHERE app_id = $1 AND attempt_id = $2 AND stage_id = $3 AND stage_attempt_id = $4
