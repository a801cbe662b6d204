-- name: stage_summary
-- schema: rollup
-- grain: one row per stage attempt with tasks
-- reads: tasks
-- freshness: stored with the rows that it reads, when those are made
-- parameters: none
-- notes:
--   sums are over all task attempts, whatever their end; null where the log has the metric of none
--   quantiles are 0, 5, 25, 50, 75, 95 and 100 % of the successful tasks, exact, by the rule of Spark's taskSummary; null where the log has the metric of none. A negative value (clocks that differ) is left out
--   Spark's taskSummary sorts durations, delays and result times of failed and killed tasks among the others, and is the same only where there are none
--   has_uniform_metrics is about successful tasks: where it is true, quantiles leave out no task or all of them, as taskSummary does
SELECT
  app_id,
  attempt_id,
  stage_id,
  stage_attempt_id,
  count(*) AS num_tasks,
  count(*) FILTER (WHERE status = 'SUCCESS') AS num_complete_tasks,
  count(*) FILTER (WHERE status = 'FAILED') AS num_failed_tasks,
  count(*) FILTER (WHERE status = 'KILLED') AS num_killed_tasks,
  sum(duration_ms) AS duration_ms,
  task_quantiles(duration_ms, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND duration_ms >= 0) AS duration_ms_quantiles,
  sum(scheduler_delay_ms) AS scheduler_delay_ms,
  task_quantiles(scheduler_delay_ms, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND scheduler_delay_ms >= 0) AS scheduler_delay_ms_quantiles,
  sum(getting_result_time_ms) AS getting_result_time_ms,
  task_quantiles(getting_result_time_ms, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND getting_result_time_ms >= 0) AS getting_result_time_ms_quantiles,
  sum(shuffle_read_bytes) AS shuffle_read_bytes,
  task_quantiles(shuffle_read_bytes, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_read_bytes >= 0) AS shuffle_read_bytes_quantiles,
  sum(executor_deserialize_time_ms) AS executor_deserialize_time_ms,
  task_quantiles(executor_deserialize_time_ms, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND executor_deserialize_time_ms >= 0) AS executor_deserialize_time_ms_quantiles,
  sum(executor_deserialize_cpu_time_ns) AS executor_deserialize_cpu_time_ns,
  task_quantiles(executor_deserialize_cpu_time_ns, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND executor_deserialize_cpu_time_ns >= 0) AS executor_deserialize_cpu_time_ns_quantiles,
  sum(executor_run_time_ms) AS executor_run_time_ms,
  task_quantiles(executor_run_time_ms, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND executor_run_time_ms >= 0) AS executor_run_time_ms_quantiles,
  sum(executor_cpu_time_ns) AS executor_cpu_time_ns,
  task_quantiles(executor_cpu_time_ns, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND executor_cpu_time_ns >= 0) AS executor_cpu_time_ns_quantiles,
  sum(result_size_bytes) AS result_size_bytes,
  task_quantiles(result_size_bytes, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND result_size_bytes >= 0) AS result_size_bytes_quantiles,
  sum(jvm_gc_time_ms) AS jvm_gc_time_ms,
  task_quantiles(jvm_gc_time_ms, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND jvm_gc_time_ms >= 0) AS jvm_gc_time_ms_quantiles,
  sum(result_serialization_time_ms) AS result_serialization_time_ms,
  task_quantiles(result_serialization_time_ms, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND result_serialization_time_ms >= 0) AS result_serialization_time_ms_quantiles,
  sum(memory_bytes_spilled) AS memory_bytes_spilled,
  task_quantiles(memory_bytes_spilled, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND memory_bytes_spilled >= 0) AS memory_bytes_spilled_quantiles,
  sum(disk_bytes_spilled) AS disk_bytes_spilled,
  task_quantiles(disk_bytes_spilled, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND disk_bytes_spilled >= 0) AS disk_bytes_spilled_quantiles,
  sum(peak_execution_memory_bytes) AS peak_execution_memory_bytes,
  task_quantiles(peak_execution_memory_bytes, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND peak_execution_memory_bytes >= 0) AS peak_execution_memory_bytes_quantiles,
  sum(input_bytes) AS input_bytes,
  task_quantiles(input_bytes, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND input_bytes >= 0) AS input_bytes_quantiles,
  sum(input_records) AS input_records,
  task_quantiles(input_records, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND input_records >= 0) AS input_records_quantiles,
  sum(output_bytes) AS output_bytes,
  task_quantiles(output_bytes, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND output_bytes >= 0) AS output_bytes_quantiles,
  sum(output_records) AS output_records,
  task_quantiles(output_records, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND output_records >= 0) AS output_records_quantiles,
  sum(shuffle_remote_blocks_fetched) AS shuffle_remote_blocks_fetched,
  task_quantiles(shuffle_remote_blocks_fetched, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_remote_blocks_fetched >= 0) AS shuffle_remote_blocks_fetched_quantiles,
  sum(shuffle_local_blocks_fetched) AS shuffle_local_blocks_fetched,
  task_quantiles(shuffle_local_blocks_fetched, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_local_blocks_fetched >= 0) AS shuffle_local_blocks_fetched_quantiles,
  sum(shuffle_fetch_wait_time_ms) AS shuffle_fetch_wait_time_ms,
  task_quantiles(shuffle_fetch_wait_time_ms, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_fetch_wait_time_ms >= 0) AS shuffle_fetch_wait_time_ms_quantiles,
  sum(shuffle_remote_bytes_read) AS shuffle_remote_bytes_read,
  task_quantiles(shuffle_remote_bytes_read, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_remote_bytes_read >= 0) AS shuffle_remote_bytes_read_quantiles,
  sum(shuffle_remote_bytes_read_to_disk) AS shuffle_remote_bytes_read_to_disk,
  task_quantiles(shuffle_remote_bytes_read_to_disk, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_remote_bytes_read_to_disk >= 0) AS shuffle_remote_bytes_read_to_disk_quantiles,
  sum(shuffle_local_bytes_read) AS shuffle_local_bytes_read,
  task_quantiles(shuffle_local_bytes_read, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_local_bytes_read >= 0) AS shuffle_local_bytes_read_quantiles,
  sum(shuffle_read_records) AS shuffle_read_records,
  task_quantiles(shuffle_read_records, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_read_records >= 0) AS shuffle_read_records_quantiles,
  sum(shuffle_remote_reqs_duration_ms) AS shuffle_remote_reqs_duration_ms,
  task_quantiles(shuffle_remote_reqs_duration_ms, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_remote_reqs_duration_ms >= 0) AS shuffle_remote_reqs_duration_ms_quantiles,
  sum(shuffle_corrupt_merged_block_chunks) AS shuffle_corrupt_merged_block_chunks,
  task_quantiles(shuffle_corrupt_merged_block_chunks, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_corrupt_merged_block_chunks >= 0) AS shuffle_corrupt_merged_block_chunks_quantiles,
  sum(shuffle_merged_fetch_fallback_count) AS shuffle_merged_fetch_fallback_count,
  task_quantiles(shuffle_merged_fetch_fallback_count, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_merged_fetch_fallback_count >= 0) AS shuffle_merged_fetch_fallback_count_quantiles,
  sum(shuffle_merged_remote_blocks_fetched) AS shuffle_merged_remote_blocks_fetched,
  task_quantiles(shuffle_merged_remote_blocks_fetched, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_merged_remote_blocks_fetched >= 0) AS shuffle_merged_remote_blocks_fetched_quantiles,
  sum(shuffle_merged_local_blocks_fetched) AS shuffle_merged_local_blocks_fetched,
  task_quantiles(shuffle_merged_local_blocks_fetched, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_merged_local_blocks_fetched >= 0) AS shuffle_merged_local_blocks_fetched_quantiles,
  sum(shuffle_merged_remote_chunks_fetched) AS shuffle_merged_remote_chunks_fetched,
  task_quantiles(shuffle_merged_remote_chunks_fetched, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_merged_remote_chunks_fetched >= 0) AS shuffle_merged_remote_chunks_fetched_quantiles,
  sum(shuffle_merged_local_chunks_fetched) AS shuffle_merged_local_chunks_fetched,
  task_quantiles(shuffle_merged_local_chunks_fetched, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_merged_local_chunks_fetched >= 0) AS shuffle_merged_local_chunks_fetched_quantiles,
  sum(shuffle_merged_remote_bytes_read) AS shuffle_merged_remote_bytes_read,
  task_quantiles(shuffle_merged_remote_bytes_read, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_merged_remote_bytes_read >= 0) AS shuffle_merged_remote_bytes_read_quantiles,
  sum(shuffle_merged_local_bytes_read) AS shuffle_merged_local_bytes_read,
  task_quantiles(shuffle_merged_local_bytes_read, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_merged_local_bytes_read >= 0) AS shuffle_merged_local_bytes_read_quantiles,
  sum(shuffle_merged_remote_reqs_duration_ms) AS shuffle_merged_remote_reqs_duration_ms,
  task_quantiles(shuffle_merged_remote_reqs_duration_ms, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_merged_remote_reqs_duration_ms >= 0) AS shuffle_merged_remote_reqs_duration_ms_quantiles,
  sum(shuffle_write_bytes) AS shuffle_write_bytes,
  task_quantiles(shuffle_write_bytes, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_write_bytes >= 0) AS shuffle_write_bytes_quantiles,
  sum(shuffle_write_time_ns) AS shuffle_write_time_ns,
  task_quantiles(shuffle_write_time_ns, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_write_time_ns >= 0) AS shuffle_write_time_ns_quantiles,
  sum(shuffle_write_records) AS shuffle_write_records,
  task_quantiles(shuffle_write_records, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_write_records >= 0) AS shuffle_write_records_quantiles,
  sum(shuffle_blocks_fetched) AS shuffle_blocks_fetched,
  task_quantiles(shuffle_blocks_fetched, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_blocks_fetched >= 0) AS shuffle_blocks_fetched_quantiles,
  count(*) FILTER (WHERE succeeded) = count(finish_time) FILTER (WHERE succeeded)
    AND count(duration_ms) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(duration_ms) FILTER (WHERE succeeded), 0) >= 0
    AND count(scheduler_delay_ms) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(scheduler_delay_ms) FILTER (WHERE succeeded), 0) >= 0
    AND count(getting_result_time_ms) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(getting_result_time_ms) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_read_bytes) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_read_bytes) FILTER (WHERE succeeded), 0) >= 0
    AND count(executor_deserialize_time_ms) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(executor_deserialize_time_ms) FILTER (WHERE succeeded), 0) >= 0
    AND count(executor_deserialize_cpu_time_ns) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(executor_deserialize_cpu_time_ns) FILTER (WHERE succeeded), 0) >= 0
    AND count(executor_run_time_ms) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(executor_run_time_ms) FILTER (WHERE succeeded), 0) >= 0
    AND count(executor_cpu_time_ns) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(executor_cpu_time_ns) FILTER (WHERE succeeded), 0) >= 0
    AND count(result_size_bytes) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(result_size_bytes) FILTER (WHERE succeeded), 0) >= 0
    AND count(jvm_gc_time_ms) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(jvm_gc_time_ms) FILTER (WHERE succeeded), 0) >= 0
    AND count(result_serialization_time_ms) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(result_serialization_time_ms) FILTER (WHERE succeeded), 0) >= 0
    AND count(memory_bytes_spilled) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(memory_bytes_spilled) FILTER (WHERE succeeded), 0) >= 0
    AND count(disk_bytes_spilled) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(disk_bytes_spilled) FILTER (WHERE succeeded), 0) >= 0
    AND count(peak_execution_memory_bytes) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(peak_execution_memory_bytes) FILTER (WHERE succeeded), 0) >= 0
    AND count(input_bytes) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(input_bytes) FILTER (WHERE succeeded), 0) >= 0
    AND count(input_records) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(input_records) FILTER (WHERE succeeded), 0) >= 0
    AND count(output_bytes) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(output_bytes) FILTER (WHERE succeeded), 0) >= 0
    AND count(output_records) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(output_records) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_remote_blocks_fetched) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_remote_blocks_fetched) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_local_blocks_fetched) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_local_blocks_fetched) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_fetch_wait_time_ms) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_fetch_wait_time_ms) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_remote_bytes_read) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_remote_bytes_read) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_remote_bytes_read_to_disk) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_remote_bytes_read_to_disk) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_local_bytes_read) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_local_bytes_read) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_read_records) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_read_records) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_remote_reqs_duration_ms) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_remote_reqs_duration_ms) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_corrupt_merged_block_chunks) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_corrupt_merged_block_chunks) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_merged_fetch_fallback_count) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_merged_fetch_fallback_count) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_merged_remote_blocks_fetched) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_merged_remote_blocks_fetched) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_merged_local_blocks_fetched) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_merged_local_blocks_fetched) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_merged_remote_chunks_fetched) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_merged_remote_chunks_fetched) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_merged_local_chunks_fetched) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_merged_local_chunks_fetched) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_merged_remote_bytes_read) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_merged_remote_bytes_read) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_merged_local_bytes_read) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_merged_local_bytes_read) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_merged_remote_reqs_duration_ms) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_merged_remote_reqs_duration_ms) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_write_bytes) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_write_bytes) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_write_time_ns) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_write_time_ns) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_write_records) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_write_records) FILTER (WHERE succeeded), 0) >= 0
    AND count(shuffle_blocks_fetched) FILTER (WHERE succeeded) IN (0, count(*) FILTER (WHERE succeeded)) AND coalesce(min(shuffle_blocks_fetched) FILTER (WHERE succeeded), 0) >= 0 AS has_uniform_metrics
FROM (
  SELECT
    *,
    status = 'SUCCESS' AS succeeded,
    shuffle_local_blocks_fetched + shuffle_remote_blocks_fetched AS shuffle_blocks_fetched
  FROM tasks
)
GROUP BY app_id, attempt_id, stage_id, stage_attempt_id
