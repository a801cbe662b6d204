-- name: tasks
-- grain: one row per task attempt of a stage attempt
-- reads: tasks
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 stage_id, $4 stage_attempt_id, $5 when the log was last written (ms since the epoch: a running task is as old as
-- its log), $6 array of statuses or null for all, $7 rows to skip, $8 rows at most; {key} is an expression to sort by, {direction} ASC or DESC
SELECT
  task_id AS "taskId",
  task_index AS "index",
  task_attempt AS "attempt",
  coalesce(partition_id, -1) AS "partitionId",
  launch_time AS "launchTime",
  result_fetch_start AS "resultFetchStart",
  CASE WHEN elapsed_ms > 0 THEN elapsed_ms END AS "duration",
  executor_id AS "executorId",
  host,
  status,
  task_locality AS "taskLocality",
  speculative,
  accumulables AS "accumulatorUpdates",
  error_message AS "errorMessage",
  has_metrics AS "taskMetrics.?",
  executor_deserialize_time_ms AS "taskMetrics.executorDeserializeTime",
  executor_deserialize_cpu_time_ns AS "taskMetrics.executorDeserializeCpuTime",
  executor_run_time_ms AS "taskMetrics.executorRunTime",
  executor_cpu_time_ns AS "taskMetrics.executorCpuTime",
  result_size_bytes AS "taskMetrics.resultSize",
  jvm_gc_time_ms AS "taskMetrics.jvmGcTime",
  result_serialization_time_ms AS "taskMetrics.resultSerializationTime",
  memory_bytes_spilled AS "taskMetrics.memoryBytesSpilled",
  disk_bytes_spilled AS "taskMetrics.diskBytesSpilled",
  peak_execution_memory_bytes AS "taskMetrics.peakExecutionMemory",
  input_bytes AS "taskMetrics.inputMetrics.bytesRead",
  input_records AS "taskMetrics.inputMetrics.recordsRead",
  output_bytes AS "taskMetrics.outputMetrics.bytesWritten",
  output_records AS "taskMetrics.outputMetrics.recordsWritten",
  shuffle_remote_blocks_fetched AS "taskMetrics.shuffleReadMetrics.remoteBlocksFetched",
  shuffle_local_blocks_fetched AS "taskMetrics.shuffleReadMetrics.localBlocksFetched",
  shuffle_fetch_wait_time_ms AS "taskMetrics.shuffleReadMetrics.fetchWaitTime",
  shuffle_remote_bytes_read AS "taskMetrics.shuffleReadMetrics.remoteBytesRead",
  shuffle_remote_bytes_read_to_disk AS "taskMetrics.shuffleReadMetrics.remoteBytesReadToDisk",
  shuffle_local_bytes_read AS "taskMetrics.shuffleReadMetrics.localBytesRead",
  shuffle_read_records AS "taskMetrics.shuffleReadMetrics.recordsRead",
  shuffle_remote_reqs_duration_ms AS "taskMetrics.shuffleReadMetrics.remoteReqsDuration",
  shuffle_corrupt_merged_block_chunks AS "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.corruptMergedBlockChunks",
  shuffle_merged_fetch_fallback_count AS "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.mergedFetchFallbackCount",
  shuffle_merged_remote_blocks_fetched AS "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.remoteMergedBlocksFetched",
  shuffle_merged_local_blocks_fetched AS "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.localMergedBlocksFetched",
  shuffle_merged_remote_chunks_fetched AS "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.remoteMergedChunksFetched",
  shuffle_merged_local_chunks_fetched AS "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.localMergedChunksFetched",
  shuffle_merged_remote_bytes_read AS "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.remoteMergedBytesRead",
  shuffle_merged_local_bytes_read AS "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.localMergedBytesRead",
  shuffle_merged_remote_reqs_duration_ms AS "taskMetrics.shuffleReadMetrics.shufflePushReadMetrics.remoteMergedReqsDuration",
  shuffle_write_bytes AS "taskMetrics.shuffleWriteMetrics.bytesWritten",
  shuffle_write_time_ns AS "taskMetrics.shuffleWriteMetrics.writeTime",
  shuffle_write_records AS "taskMetrics.shuffleWriteMetrics.recordsWritten",
  NULL::boolean AS "#executorLogs",
  CASE WHEN has_metrics THEN scheduler_delay_ms ELSE 0 END AS "schedulerDelay",
  coalesce(getting_result_time_ms, $5 - CAST(result_fetch_start AS bigint) / 1000, 0) AS "gettingResultTime"
FROM (
  SELECT *, {key} AS sort_key
  FROM (
    SELECT
      *,
      coalesce(duration_ms, $5 - CAST(launch_time AS bigint) / 1000) AS elapsed_ms,
      finish_time IS NOT NULL AND coalesce(executor_deserialize_time_ms, 0) >= 0 AS has_metrics
    FROM tasks
    WHERE app_id = $1 AND attempt_id = $2 AND stage_id = $3 AND stage_attempt_id = $4
  )
)
WHERE $6::text[] IS NULL OR array_has($6, status)
ORDER BY sort_key {direction}, task_id {direction}
LIMIT $8 OFFSET $7
