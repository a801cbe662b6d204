-- name: rollup_stage_summary
-- schema: rollup
-- grain: one row per stage attempt with tasks
-- reads: tasks
-- freshness: the snapshot of the statement
-- parameters: none
-- columns:
--   app_id | text | application id
--   attempt_id | text | attempt of the application
--   stage_id | integer | stage
--   stage_attempt_id | integer | attempt of the stage
--   num_tasks | bigint | task attempts that were launched
--   num_complete_tasks | bigint | task attempts that succeeded
--   num_failed_tasks | bigint | task attempts that failed
--   num_killed_tasks | bigint | task attempts that were killed
--   duration_ms | bigint | sum over task attempts: from launch to finish
--   duration_ms_quantiles | double precision[] | of successful tasks: from launch to finish
--   scheduler_delay_ms | bigint | sum over task attempts: time the scheduler took
--   scheduler_delay_ms_quantiles | double precision[] | of successful tasks: time the scheduler took
--   getting_result_time_ms | bigint | sum over task attempts: time to fetch an indirect result
--   getting_result_time_ms_quantiles | double precision[] | of successful tasks: time to fetch an indirect result
--   shuffle_read_bytes | bigint | sum over task attempts: shuffle bytes read, local and remote
--   shuffle_read_bytes_quantiles | double precision[] | of successful tasks: shuffle bytes read, local and remote
--   executor_deserialize_time_ms | bigint | sum over task attempts: time on the executor to deserialise the task
--   executor_deserialize_time_ms_quantiles | double precision[] | of successful tasks: time on the executor to deserialise the task
--   executor_deserialize_cpu_time_ns | bigint | sum over task attempts: CPU time on the executor to deserialise the task
--   executor_deserialize_cpu_time_ns_quantiles | double precision[] | of successful tasks: CPU time on the executor to deserialise the task
--   executor_run_time_ms | bigint | sum over task attempts: wall time of the task body, shuffle fetches included
--   executor_run_time_ms_quantiles | double precision[] | of successful tasks: wall time of the task body, shuffle fetches included
--   executor_cpu_time_ns | bigint | sum over task attempts: CPU time of the task body, shuffle fetches included
--   executor_cpu_time_ns_quantiles | double precision[] | of successful tasks: CPU time of the task body, shuffle fetches included
--   result_size_bytes | bigint | sum over task attempts: size of the task's result as sent to the driver
--   result_size_bytes_quantiles | double precision[] | of successful tasks: size of the task's result as sent to the driver
--   jvm_gc_time_ms | bigint | sum over task attempts: garbage collection of the executor's JVM while the task ran
--   jvm_gc_time_ms_quantiles | double precision[] | of successful tasks: garbage collection of the executor's JVM while the task ran
--   result_serialization_time_ms | bigint | sum over task attempts: time to serialise the task's result
--   result_serialization_time_ms_quantiles | double precision[] | of successful tasks: time to serialise the task's result
--   memory_bytes_spilled | bigint | sum over task attempts: bytes in memory of what was spilled
--   memory_bytes_spilled_quantiles | double precision[] | of successful tasks: bytes in memory of what was spilled
--   disk_bytes_spilled | bigint | sum over task attempts: bytes on disk of what was spilled
--   disk_bytes_spilled_quantiles | double precision[] | of successful tasks: bytes on disk of what was spilled
--   peak_execution_memory_bytes | bigint | sum over task attempts: sum of the peak sizes of the data structures of shuffles, aggregations and joins
--   peak_execution_memory_bytes_quantiles | double precision[] | of successful tasks: sum of the peak sizes of the data structures of shuffles, aggregations and joins
--   input_bytes | bigint | sum over task attempts: bytes read from storage or a cached block
--   input_bytes_quantiles | double precision[] | of successful tasks: bytes read from storage or a cached block
--   input_records | bigint | sum over task attempts: records read from storage or a cached block
--   input_records_quantiles | double precision[] | of successful tasks: records read from storage or a cached block
--   output_bytes | bigint | sum over task attempts: bytes written to storage
--   output_bytes_quantiles | double precision[] | of successful tasks: bytes written to storage
--   output_records | bigint | sum over task attempts: records written to storage
--   output_records_quantiles | double precision[] | of successful tasks: records written to storage
--   shuffle_remote_blocks_fetched | bigint | sum over task attempts: shuffle blocks fetched from other hosts
--   shuffle_remote_blocks_fetched_quantiles | double precision[] | of successful tasks: shuffle blocks fetched from other hosts
--   shuffle_local_blocks_fetched | bigint | sum over task attempts: shuffle blocks read from the same host
--   shuffle_local_blocks_fetched_quantiles | double precision[] | of successful tasks: shuffle blocks read from the same host
--   shuffle_fetch_wait_time_ms | bigint | sum over task attempts: time the task waited for remote shuffle blocks
--   shuffle_fetch_wait_time_ms_quantiles | double precision[] | of successful tasks: time the task waited for remote shuffle blocks
--   shuffle_remote_bytes_read | bigint | sum over task attempts: shuffle bytes read from other hosts
--   shuffle_remote_bytes_read_quantiles | double precision[] | of successful tasks: shuffle bytes read from other hosts
--   shuffle_remote_bytes_read_to_disk | bigint | sum over task attempts: remote shuffle bytes that went to disk, not to memory
--   shuffle_remote_bytes_read_to_disk_quantiles | double precision[] | of successful tasks: remote shuffle bytes that went to disk, not to memory
--   shuffle_local_bytes_read | bigint | sum over task attempts: shuffle bytes read from the same host
--   shuffle_local_bytes_read_quantiles | double precision[] | of successful tasks: shuffle bytes read from the same host
--   shuffle_read_records | bigint | sum over task attempts: records read from shuffles
--   shuffle_read_records_quantiles | double precision[] | of successful tasks: records read from shuffles
--   shuffle_remote_reqs_duration_ms | bigint | sum over task attempts: duration of the requests for remote shuffle blocks
--   shuffle_remote_reqs_duration_ms_quantiles | double precision[] | of successful tasks: duration of the requests for remote shuffle blocks
--   shuffle_corrupt_merged_block_chunks | bigint | sum over task attempts: corrupt chunks of push-merged blocks
--   shuffle_corrupt_merged_block_chunks_quantiles | double precision[] | of successful tasks: corrupt chunks of push-merged blocks
--   shuffle_merged_fetch_fallback_count | bigint | sum over task attempts: times a merged fetch fell back to the original blocks
--   shuffle_merged_fetch_fallback_count_quantiles | double precision[] | of successful tasks: times a merged fetch fell back to the original blocks
--   shuffle_merged_remote_blocks_fetched | bigint | sum over task attempts: push-merged blocks fetched from other hosts
--   shuffle_merged_remote_blocks_fetched_quantiles | double precision[] | of successful tasks: push-merged blocks fetched from other hosts
--   shuffle_merged_local_blocks_fetched | bigint | sum over task attempts: push-merged blocks read from the same host
--   shuffle_merged_local_blocks_fetched_quantiles | double precision[] | of successful tasks: push-merged blocks read from the same host
--   shuffle_merged_remote_chunks_fetched | bigint | sum over task attempts: chunks of push-merged blocks fetched from other hosts
--   shuffle_merged_remote_chunks_fetched_quantiles | double precision[] | of successful tasks: chunks of push-merged blocks fetched from other hosts
--   shuffle_merged_local_chunks_fetched | bigint | sum over task attempts: chunks of push-merged blocks read from the same host
--   shuffle_merged_local_chunks_fetched_quantiles | double precision[] | of successful tasks: chunks of push-merged blocks read from the same host
--   shuffle_merged_remote_bytes_read | bigint | sum over task attempts: push-merged bytes read from other hosts
--   shuffle_merged_remote_bytes_read_quantiles | double precision[] | of successful tasks: push-merged bytes read from other hosts
--   shuffle_merged_local_bytes_read | bigint | sum over task attempts: push-merged bytes read from the same host
--   shuffle_merged_local_bytes_read_quantiles | double precision[] | of successful tasks: push-merged bytes read from the same host
--   shuffle_merged_remote_reqs_duration_ms | bigint | sum over task attempts: duration of the requests for remote push-merged blocks
--   shuffle_merged_remote_reqs_duration_ms_quantiles | double precision[] | of successful tasks: duration of the requests for remote push-merged blocks
--   shuffle_write_bytes | bigint | sum over task attempts: bytes written for shuffles
--   shuffle_write_bytes_quantiles | double precision[] | of successful tasks: bytes written for shuffles
--   shuffle_write_time_ns | bigint | sum over task attempts: time blocked on writing shuffle data to disk or buffer cache
--   shuffle_write_time_ns_quantiles | double precision[] | of successful tasks: time blocked on writing shuffle data to disk or buffer cache
--   shuffle_write_records | bigint | sum over task attempts: records written for shuffles
--   shuffle_write_records_quantiles | double precision[] | of successful tasks: records written for shuffles
-- notes:
--   sums are over all task attempts, whatever their end; null where the log has the metric of none
--   quantiles are 0, 5, 25, 50, 75, 95 and 100 % of the successful tasks, exact, by the rule of Spark's taskSummary; null where the log has the metric of none. A negative value (clocks that differ) is left out
--   Spark's taskSummary sorts durations, delays and result times of failed and killed tasks among the others, and is the same only where there are none
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
  task_quantiles(shuffle_write_records, true, ARRAY[0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) FILTER (WHERE status = 'SUCCESS' AND shuffle_write_records >= 0) AS shuffle_write_records_quantiles
FROM tasks
GROUP BY app_id, attempt_id, stage_id, stage_attempt_id
