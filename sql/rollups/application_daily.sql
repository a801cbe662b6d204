-- name: application_daily
-- schema: rollup
-- grain: one row per UTC day of start, user, name and status of applications
-- reads: applications
-- freshness: the snapshot of the statement
-- parameters: none
-- columns:
--   day_start | timestamp with time zone | midnight, UTC, of the day that the applications started on
--   spark_user | text | user that ran them
--   name | text | name of the applications
--   status | text | RUNNING, SUCCEEDED or FAILED
--   applications | bigint | applications
--   num_attempts | bigint | attempts of them
--   sum_duration_ms | bigint | sum of their durations; null if none has ended
--   min_duration_ms | bigint | shortest; null if none has ended
--   max_duration_ms | bigint | longest; null if none has ended
--   num_jobs | bigint | jobs
--   num_failed_jobs | bigint | jobs with status FAILED
--   num_stages | bigint | stage attempts, skipped ones included
--   num_failed_stages | bigint | stage attempts with status FAILED
--   num_tasks | bigint | task attempts that were launched
--   num_failed_tasks | bigint | task attempts with status FAILED
--   num_executors | bigint | executors, drivers included
--   executor_run_time_ms | bigint | wall time of task bodies
--   executor_cpu_time_ns | bigint | CPU time of task bodies
--   jvm_gc_time_ms | bigint | garbage collection while tasks ran
--   input_bytes | bigint | bytes read from storage or cached blocks
--   output_bytes | bigint | bytes written to storage
--   shuffle_read_bytes | bigint | shuffle bytes read
--   shuffle_write_bytes | bigint | shuffle bytes written
--   memory_bytes_spilled | bigint | bytes in memory of what was spilled
--   disk_bytes_spilled | bigint | bytes on disk of what was spilled
--   peak_execution_memory_bytes | bigint | largest peak execution memory of a task; null if no task has one
--   executor_core_ms | bigint | cores x lifetime of executors
--   log_bytes | bigint | size of the logs as stored
-- notes:
--   the day is of UTC whatever the time zone of the session
SELECT
  date_trunc('day', start_time) AS day_start,
  spark_user,
  name,
  status,
  count(*) AS applications,
  sum(num_attempts) AS num_attempts,
  sum(duration_ms) AS sum_duration_ms,
  min(duration_ms) AS min_duration_ms,
  max(duration_ms) AS max_duration_ms,
  sum(num_jobs) AS num_jobs,
  sum(num_failed_jobs) AS num_failed_jobs,
  sum(num_stages) AS num_stages,
  sum(num_failed_stages) AS num_failed_stages,
  sum(num_tasks) AS num_tasks,
  sum(num_failed_tasks) AS num_failed_tasks,
  sum(num_executors) AS num_executors,
  sum(executor_run_time_ms) AS executor_run_time_ms,
  sum(executor_cpu_time_ns) AS executor_cpu_time_ns,
  sum(jvm_gc_time_ms) AS jvm_gc_time_ms,
  sum(input_bytes) AS input_bytes,
  sum(output_bytes) AS output_bytes,
  sum(shuffle_read_bytes) AS shuffle_read_bytes,
  sum(shuffle_write_bytes) AS shuffle_write_bytes,
  sum(memory_bytes_spilled) AS memory_bytes_spilled,
  sum(disk_bytes_spilled) AS disk_bytes_spilled,
  max(peak_execution_memory_bytes) AS peak_execution_memory_bytes,
  sum(executor_core_ms) AS executor_core_ms,
  sum(log_bytes) AS log_bytes
FROM applications
GROUP BY date_trunc('day', start_time), spark_user, name, status
