-- name: advice_small_partitions
-- schema: advice
-- grain: one row per stage attempt of many short tasks that read little
-- reads: stages
-- freshness: the snapshot of the statement
-- parameters: none
-- columns:
--   app_id | text | application id
--   attempt_id | text | attempt of the application
--   stage_id | integer | stage
--   stage_attempt_id | integer | attempt of the stage
--   stage_name | text | call site of the stage
--   severity | text | info, warning or critical
--   evidence | text | the numbers in a sentence
--   recommendation | text | what to try
--   num_tasks | integer | tasks that succeeded
--   read_bytes | bigint | input and shuffle bytes read
--   read_bytes_per_task | bigint | mean of a task
--   executor_run_time_ms | bigint | wall time of the task bodies, summed
--   run_time_per_task_ms | double precision | mean of a task
--   suggested_tasks | bigint | tasks of 64 MiB each
-- notes:
--   at least 200 tasks: the default of spark.sql.shuffle.partitions, and of stages that nobody sized
--   mean run time below 200 ms: Spark's tuning guide names it as the shortest task that pays for its start
--   something read, but on average less than 4 MiB: what Spark takes opening a file to cost (spark.sql.files.openCostInBytes)
--   warning from 1000 tasks, critical from 10000: the driver schedules them one by one
--   suggested: 64 MiB a task, the default of spark.sql.adaptive.advisoryPartitionSizeInBytes
WITH sizes AS (
  SELECT
    *,
    input_bytes + shuffle_read_bytes AS read_bytes
  FROM stages
  WHERE num_complete_tasks >= 200
),
small AS (
  SELECT
    *,
    read_bytes / nullif(num_complete_tasks, 0) AS read_bytes_per_task,
    CAST(executor_run_time_ms AS double precision) / nullif(num_complete_tasks, 0) AS run_time_per_task_ms,
    (read_bytes + 67108863) / 67108864 AS suggested_tasks
  FROM sizes
  WHERE read_bytes > 0
    AND read_bytes < 4194304 * CAST(num_complete_tasks AS bigint)
    AND executor_run_time_ms < 200 * CAST(num_complete_tasks AS bigint)
)
SELECT
  app_id,
  attempt_id,
  stage_id,
  stage_attempt_id,
  name AS stage_name,
  CASE WHEN num_complete_tasks >= 10000 THEN 'critical' WHEN num_complete_tasks >= 1000 THEN 'warning' ELSE 'info' END AS severity,
  num_complete_tasks || ' tasks read ' || round(read_bytes_per_task / 1024.0, 1) || ' KiB and ran ' || round(run_time_per_task_ms, 1)
    || ' ms on average' AS evidence,
  CASE
    WHEN shuffle_read_bytes >= input_bytes
      THEN 'merge partitions with spark.sql.adaptive.coalescePartitions.enabled, or set spark.sql.shuffle.partitions to about ' || suggested_tasks
    ELSE 'compact the input files, or put more of them into a task with spark.sql.files.maxPartitionBytes and a lower spark.sql.files.openCostInBytes: about ' || suggested_tasks || ' tasks would do'
  END AS recommendation,
  num_complete_tasks AS num_tasks,
  read_bytes,
  read_bytes_per_task,
  executor_run_time_ms,
  run_time_per_task_ms,
  suggested_tasks
FROM small
