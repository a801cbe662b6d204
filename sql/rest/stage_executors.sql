-- name: stage_executors
-- grain: one row per executor of a stage attempt
-- reads: stage_executors
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 stage_id, $4 stage_attempt_id
SELECT
  executor_id AS "@executorId",
  task_time_ms AS "taskTime",
  failed_tasks AS "failedTasks",
  succeeded_tasks AS "succeededTasks",
  killed_tasks AS "killedTasks",
  input_bytes AS "inputBytes",
  input_records AS "inputRecords",
  output_bytes AS "outputBytes",
  output_records AS "outputRecords",
  shuffle_read_bytes AS "shuffleRead",
  shuffle_read_records AS "shuffleReadRecords",
  shuffle_write_bytes AS "shuffleWrite",
  shuffle_write_records AS "shuffleWriteRecords",
  memory_bytes_spilled AS "memoryBytesSpilled",
  disk_bytes_spilled AS "diskBytesSpilled",
  is_excluded_for_stage AS "isBlacklistedForStage",
  has_peak_metrics AS "peakMemoryMetrics.?",
  peak_jvm_heap_memory_bytes AS "peakMemoryMetrics.JVMHeapMemory",
  peak_jvm_off_heap_memory_bytes AS "peakMemoryMetrics.JVMOffHeapMemory",
  peak_on_heap_execution_memory_bytes AS "peakMemoryMetrics.OnHeapExecutionMemory",
  peak_off_heap_execution_memory_bytes AS "peakMemoryMetrics.OffHeapExecutionMemory",
  peak_on_heap_storage_memory_bytes AS "peakMemoryMetrics.OnHeapStorageMemory",
  peak_off_heap_storage_memory_bytes AS "peakMemoryMetrics.OffHeapStorageMemory",
  peak_on_heap_unified_memory_bytes AS "peakMemoryMetrics.OnHeapUnifiedMemory",
  peak_off_heap_unified_memory_bytes AS "peakMemoryMetrics.OffHeapUnifiedMemory",
  peak_direct_pool_memory_bytes AS "peakMemoryMetrics.DirectPoolMemory",
  peak_mapped_pool_memory_bytes AS "peakMemoryMetrics.MappedPoolMemory",
  peak_process_tree_jvm_v_memory_bytes AS "peakMemoryMetrics.ProcessTreeJVMVMemory",
  peak_process_tree_jvm_rss_memory_bytes AS "peakMemoryMetrics.ProcessTreeJVMRSSMemory",
  peak_process_tree_python_v_memory_bytes AS "peakMemoryMetrics.ProcessTreePythonVMemory",
  peak_process_tree_python_rss_memory_bytes AS "peakMemoryMetrics.ProcessTreePythonRSSMemory",
  peak_process_tree_other_v_memory_bytes AS "peakMemoryMetrics.ProcessTreeOtherVMemory",
  peak_process_tree_other_rss_memory_bytes AS "peakMemoryMetrics.ProcessTreeOtherRSSMemory",
  peak_minor_gc_count AS "peakMemoryMetrics.MinorGCCount",
  peak_minor_gc_time_ms AS "peakMemoryMetrics.MinorGCTime",
  peak_major_gc_count AS "peakMemoryMetrics.MajorGCCount",
  peak_major_gc_time_ms AS "peakMemoryMetrics.MajorGCTime",
  peak_total_gc_time_ms AS "peakMemoryMetrics.TotalGCTime",
  peak_concurrent_gc_count AS "peakMemoryMetrics.ConcurrentGCCount",
  peak_concurrent_gc_time_ms AS "peakMemoryMetrics.ConcurrentGCTime",
  is_excluded_for_stage AS "isExcludedForStage"
FROM stage_executors
WHERE app_id = $1 AND attempt_id = $2 AND stage_id = $3 AND stage_attempt_id = $4
ORDER BY executor_id
