-- name: advice_spilling_stages
-- schema: advice
-- grain: one row per stage attempt that spilled to disk
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
--   num_tasks | integer | tasks of the stage
--   disk_bytes_spilled | bigint | bytes on disk of what was spilled
--   memory_bytes_spilled | bigint | bytes in memory of what was spilled
--   read_bytes | bigint | input and shuffle bytes read
--   spilled_bytes_per_task | bigint | bytes on disk over tasks of the stage
-- notes:
--   at least 128 MiB on disk: one partition of the default size (spark.sql.files.maxPartitionBytes); less is noise
--   warning from 1 GiB, or when as much was spilled as read: every byte is written and read once more
--   critical when as much was spilled as read, and at least 10 GiB
WITH spilling AS (
  SELECT
    *,
    input_bytes + shuffle_read_bytes AS read_bytes
  FROM stages
  WHERE disk_bytes_spilled >= 134217728
)
SELECT
  app_id,
  attempt_id,
  stage_id,
  stage_attempt_id,
  name AS stage_name,
  CASE
    WHEN disk_bytes_spilled >= 10737418240 AND disk_bytes_spilled >= read_bytes THEN 'critical'
    WHEN disk_bytes_spilled >= 1073741824 OR disk_bytes_spilled >= read_bytes THEN 'warning'
    ELSE 'info'
  END AS severity,
  round(disk_bytes_spilled / 1048576.0, 1) || ' MiB were spilled to disk (' || round(memory_bytes_spilled / 1048576.0, 1)
    || ' MiB in memory) by ' || num_tasks || ' tasks that read ' || round(read_bytes / 1048576.0, 1) || ' MiB' AS evidence,
  CASE
    WHEN shuffle_read_bytes >= input_bytes THEN 'give each task less with more spark.sql.shuffle.partitions, or more memory with spark.executor.memory or fewer spark.executor.cores'
    ELSE 'give each task less with a smaller spark.sql.files.maxPartitionBytes, or more memory with spark.executor.memory or fewer spark.executor.cores'
  END AS recommendation,
  num_tasks,
  disk_bytes_spilled,
  memory_bytes_spilled,
  read_bytes,
  disk_bytes_spilled / nullif(num_tasks, 0) AS spilled_bytes_per_task
FROM spilling
