-- name: stage_executor_summary
-- grain: one row, of nulls where no executor took part
-- reads: stage_executors
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 stage_id, $4 stage_attempt_id, $5 array of quantiles, ascending, $6 as many zeros
SELECT
  max(executor_id) AS "@anyExecutor",
  $5 AS "quantiles",
  task_quantiles(task_time_ms, true, $5) AS "taskTime",
  task_quantiles(failed_tasks, true, $5) AS "failedTasks",
  task_quantiles(succeeded_tasks, true, $5) AS "succeededTasks",
  task_quantiles(killed_tasks, true, $5) AS "killedTasks",
  task_quantiles(input_bytes, true, $5) AS "inputBytes",
  task_quantiles(input_records, true, $5) AS "inputRecords",
  task_quantiles(output_bytes, true, $5) AS "outputBytes",
  task_quantiles(output_records, true, $5) AS "outputRecords",
  task_quantiles(shuffle_read_bytes, true, $5) AS "shuffleRead",
  task_quantiles(shuffle_read_records, true, $5) AS "shuffleReadRecords",
  task_quantiles(shuffle_write_bytes, true, $5) AS "shuffleWrite",
  task_quantiles(shuffle_write_records, true, $5) AS "shuffleWriteRecords",
  task_quantiles(memory_bytes_spilled, true, $5) AS "memoryBytesSpilled",
  task_quantiles(disk_bytes_spilled, true, $5) AS "diskBytesSpilled",
  coalesce(task_quantiles(peak_jvm_heap_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.JVMHeapMemory",
  coalesce(task_quantiles(peak_jvm_off_heap_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.JVMOffHeapMemory",
  coalesce(task_quantiles(peak_on_heap_execution_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.OnHeapExecutionMemory",
  coalesce(task_quantiles(peak_off_heap_execution_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.OffHeapExecutionMemory",
  coalesce(task_quantiles(peak_on_heap_storage_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.OnHeapStorageMemory",
  coalesce(task_quantiles(peak_off_heap_storage_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.OffHeapStorageMemory",
  coalesce(task_quantiles(peak_on_heap_unified_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.OnHeapUnifiedMemory",
  coalesce(task_quantiles(peak_off_heap_unified_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.OffHeapUnifiedMemory",
  coalesce(task_quantiles(peak_direct_pool_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.DirectPoolMemory",
  coalesce(task_quantiles(peak_mapped_pool_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.MappedPoolMemory",
  coalesce(task_quantiles(peak_process_tree_jvm_v_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.ProcessTreeJVMVMemory",
  coalesce(task_quantiles(peak_process_tree_jvm_rss_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.ProcessTreeJVMRSSMemory",
  coalesce(task_quantiles(peak_process_tree_python_v_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.ProcessTreePythonVMemory",
  coalesce(task_quantiles(peak_process_tree_python_rss_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.ProcessTreePythonRSSMemory",
  coalesce(task_quantiles(peak_process_tree_other_v_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.ProcessTreeOtherVMemory",
  coalesce(task_quantiles(peak_process_tree_other_rss_memory_bytes, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.ProcessTreeOtherRSSMemory",
  coalesce(task_quantiles(peak_minor_gc_count, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.MinorGCCount",
  coalesce(task_quantiles(peak_minor_gc_time_ms, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.MinorGCTime",
  coalesce(task_quantiles(peak_major_gc_count, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.MajorGCCount",
  coalesce(task_quantiles(peak_major_gc_time_ms, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.MajorGCTime",
  coalesce(task_quantiles(peak_total_gc_time_ms, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.TotalGCTime",
  coalesce(task_quantiles(peak_concurrent_gc_count, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.ConcurrentGCCount",
  coalesce(task_quantiles(peak_concurrent_gc_time_ms, measured, $5) FILTER (WHERE measured), $6) AS "peakMemoryMetrics.ConcurrentGCTime"
FROM (
  SELECT
    *,
    has_peak_metrics AS measured
  FROM stage_executors
  WHERE app_id = $1 AND attempt_id = $2 AND stage_id = $3 AND stage_attempt_id = $4
)
