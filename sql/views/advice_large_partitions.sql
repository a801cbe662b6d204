-- name: advice_large_partitions
-- schema: advice
-- grain: one row per stage attempt whose tasks read too much each
-- reads: rollup.stage_summary, stages, tasks
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
--   num_tasks | bigint | tasks that succeeded
--   median_read_bytes | bigint | median of input and shuffle bytes that a task read
--   max_read_bytes | bigint | most that one read
--   read_bytes | bigint | what they read together
--   disk_bytes_spilled | bigint | bytes on disk of what they spilled
--   suggested_tasks | bigint | tasks of 128 MiB each
-- notes:
--   median of a task at least 256 MiB: twice the default of spark.sql.files.maxPartitionBytes; one large task among small ones is in skewed_stages
--   warning from 512 MiB, or when tasks spilled: then a partition does not fit into the memory of a task
--   critical from 2 GiB: blocks that large cannot be fetched or cached as one piece in older versions, and retries cost a lot
--   suggested: 128 MiB a task, the default of spark.sql.files.maxPartitionBytes
WITH candidates AS (
  SELECT
    app_id,
    attempt_id,
    stage_id,
    stage_attempt_id
  FROM rollup.stage_summary
  WHERE coalesce(input_bytes_quantiles[7], 0) + coalesce(shuffle_read_bytes_quantiles[7], 0) >= 268435456
),
spread AS (
  SELECT
    app_id,
    attempt_id,
    stage_id,
    stage_attempt_id,
    count(*) AS num_tasks,
    CAST(task_quantiles(read_bytes, true, ARRAY[0.5])[1] AS bigint) AS median_read_bytes,
    max(read_bytes) AS max_read_bytes,
    sum(read_bytes) AS read_bytes,
    coalesce(sum(disk_bytes_spilled), 0) AS disk_bytes_spilled,
    coalesce(sum(shuffle_read_bytes), 0) AS shuffle_read_bytes
  FROM (
    SELECT
      *,
      coalesce(input_bytes + shuffle_read_bytes, input_bytes, shuffle_read_bytes) AS read_bytes
    FROM tasks
    JOIN candidates USING (app_id, attempt_id, stage_id, stage_attempt_id)
    WHERE status = 'SUCCESS'
  )
  WHERE read_bytes >= 0
  GROUP BY app_id, attempt_id, stage_id, stage_attempt_id
),
large AS (
  SELECT
    *,
    (read_bytes + 134217727) / 134217728 AS suggested_tasks
  FROM spread
  WHERE median_read_bytes >= 268435456
)
SELECT
  large.app_id,
  large.attempt_id,
  large.stage_id,
  large.stage_attempt_id,
  stages.name AS stage_name,
  CASE
    WHEN median_read_bytes >= 2147483648 THEN 'critical'
    WHEN median_read_bytes >= 536870912 OR large.disk_bytes_spilled > 0 THEN 'warning'
    ELSE 'info'
  END AS severity,
  large.num_tasks || ' tasks read ' || round(median_read_bytes / 1048576.0, 1) || ' MiB in the median and at most '
    || round(max_read_bytes / 1048576.0, 1) || ' MiB, and spilled ' || round(large.disk_bytes_spilled / 1048576.0, 1) || ' MiB to disk' AS evidence,
  CASE
    WHEN large.shuffle_read_bytes * 2 >= read_bytes
      THEN 'raise spark.sql.shuffle.partitions (or lower spark.sql.adaptive.advisoryPartitionSizeInBytes): about ' || suggested_tasks || ' tasks read 128 MiB each'
    ELSE 'lower spark.sql.files.maxPartitionBytes, or write the input in files that can be split: about ' || suggested_tasks || ' tasks read 128 MiB each'
  END AS recommendation,
  large.num_tasks,
  median_read_bytes,
  max_read_bytes,
  read_bytes,
  large.disk_bytes_spilled,
  suggested_tasks
FROM large
JOIN stages USING (app_id, attempt_id, stage_id, stage_attempt_id)
