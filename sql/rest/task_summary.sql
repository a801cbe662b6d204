-- name: task_summary
-- grain: one row, of nulls where no task succeeded
-- reads: tasks
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 stage_id, $4 stage_attempt_id, $5 when the log was last written (ms since the epoch), $6 array of quantiles, ascending
-- notes: quantiles are over successful tasks; Spark sorts the durations and delays of the others among theirs (see task_quantiles)
SELECT
  $6 AS "quantiles",
  task_quantiles(elapsed_ms, counted, $6) AS "duration",
  task_quantiles(executor_deserialize_time_ms, counted, $6) FILTER (WHERE counted) AS "executorDeserializeTime",
  task_quantiles(executor_deserialize_cpu_time_ns, counted, $6) FILTER (WHERE counted) AS "executorDeserializeCpuTime",
  task_quantiles(executor_run_time_ms, counted, $6) FILTER (WHERE counted) AS "executorRunTime",
  task_quantiles(executor_cpu_time_ns, counted, $6) FILTER (WHERE counted) AS "executorCpuTime",
  task_quantiles(result_size_bytes, counted, $6) FILTER (WHERE counted) AS "resultSize",
  task_quantiles(jvm_gc_time_ms, counted, $6) FILTER (WHERE counted) AS "jvmGcTime",
  task_quantiles(result_serialization_time_ms, counted, $6) FILTER (WHERE counted) AS "resultSerializationTime",
  task_quantiles(getting_result_time_ms, counted, $6) FILTER (WHERE has_metrics) AS "gettingResultTime",
  task_quantiles(scheduler_delay_ms, counted, $6) FILTER (WHERE has_metrics) AS "schedulerDelay",
  task_quantiles(peak_execution_memory_bytes, counted, $6) FILTER (WHERE counted) AS "peakExecutionMemory",
  task_quantiles(memory_bytes_spilled, counted, $6) FILTER (WHERE counted) AS "memoryBytesSpilled",
  task_quantiles(disk_bytes_spilled, counted, $6) FILTER (WHERE counted) AS "diskBytesSpilled",
  task_quantiles(input_bytes, counted, $6) FILTER (WHERE counted) AS "inputMetrics.bytesRead",
  task_quantiles(input_records, counted, $6) FILTER (WHERE counted) AS "inputMetrics.recordsRead",
  task_quantiles(output_bytes, counted, $6) FILTER (WHERE counted) AS "outputMetrics.bytesWritten",
  task_quantiles(output_records, counted, $6) FILTER (WHERE counted) AS "outputMetrics.recordsWritten",
  task_quantiles(shuffle_read_bytes, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.readBytes",
  task_quantiles(shuffle_read_records, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.readRecords",
  task_quantiles(shuffle_remote_blocks_fetched, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.remoteBlocksFetched",
  task_quantiles(shuffle_local_blocks_fetched, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.localBlocksFetched",
  task_quantiles(shuffle_fetch_wait_time_ms, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.fetchWaitTime",
  task_quantiles(shuffle_remote_bytes_read, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.remoteBytesRead",
  task_quantiles(shuffle_remote_bytes_read_to_disk, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.remoteBytesReadToDisk",
  task_quantiles(shuffle_local_blocks_fetched + shuffle_remote_blocks_fetched, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.totalBlocksFetched",
  task_quantiles(shuffle_remote_reqs_duration_ms, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.remoteReqsDuration",
  task_quantiles(shuffle_corrupt_merged_block_chunks, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.shufflePushReadMetricsDist.corruptMergedBlockChunks",
  task_quantiles(shuffle_merged_fetch_fallback_count, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.shufflePushReadMetricsDist.mergedFetchFallbackCount",
  task_quantiles(shuffle_merged_remote_blocks_fetched, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.shufflePushReadMetricsDist.remoteMergedBlocksFetched",
  task_quantiles(shuffle_merged_local_blocks_fetched, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.shufflePushReadMetricsDist.localMergedBlocksFetched",
  task_quantiles(shuffle_merged_remote_chunks_fetched, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.shufflePushReadMetricsDist.remoteMergedChunksFetched",
  task_quantiles(shuffle_merged_local_chunks_fetched, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.shufflePushReadMetricsDist.localMergedChunksFetched",
  task_quantiles(shuffle_merged_remote_bytes_read, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.shufflePushReadMetricsDist.remoteMergedBytesRead",
  task_quantiles(shuffle_merged_local_bytes_read, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.shufflePushReadMetricsDist.localMergedBytesRead",
  task_quantiles(shuffle_merged_remote_reqs_duration_ms, counted, $6) FILTER (WHERE counted) AS "shuffleReadMetrics.shufflePushReadMetricsDist.remoteMergedReqsDuration",
  task_quantiles(shuffle_write_bytes, counted, $6) FILTER (WHERE counted) AS "shuffleWriteMetrics.writeBytes",
  task_quantiles(shuffle_write_records, counted, $6) FILTER (WHERE counted) AS "shuffleWriteMetrics.writeRecords",
  task_quantiles(shuffle_write_time_ns, counted, $6) FILTER (WHERE counted) AS "shuffleWriteMetrics.writeTime"
FROM (
  SELECT *, has_metrics AND status = 'SUCCESS' AS counted
  FROM (
    SELECT
      *,
      coalesce(duration_ms, $5 - CAST(launch_time AS bigint) / 1000) AS elapsed_ms,
      finish_time IS NOT NULL AND coalesce(executor_deserialize_time_ms, 0) >= 0 AS has_metrics
    FROM tasks
    WHERE app_id = $1 AND attempt_id = $2 AND stage_id = $3 AND stage_attempt_id = $4
  )
)
