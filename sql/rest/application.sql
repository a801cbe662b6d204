-- name: application
-- grain: one row per attempt of an application, newest first
-- reads: application_attempts
-- freshness: the snapshot of the request
-- parameters: $1 app_id
SELECT
  app_id AS "id",
  name,
  cores_granted AS "coresGranted",
  max_cores AS "maxCores",
  cores_per_executor AS "coresPerExecutor",
  memory_per_executor_mb AS "memoryPerExecutorMB",
  NULL::boolean AS "#attempts",
  nullif(attempt_id, '') AS "attemptId",
  start_time AS "startTime",
  coalesce(end_time, to_timestamp_millis(-1)) AS "endTime",
  last_updated AS "lastUpdated",
  coalesce(duration_ms, 0) AS "duration",
  spark_user AS "sparkUser",
  completed,
  coalesce(app_spark_version, '') AS "appSparkVersion",
  CAST(start_time AS bigint) / 1000 AS "startTimeEpoch",
  coalesce(CAST(end_time AS bigint) / 1000, -1) AS "endTimeEpoch",
  CAST(last_updated AS bigint) / 1000 AS "lastUpdatedEpoch"
FROM application_attempts
WHERE app_id = $1
ORDER BY start_time DESC, attempt_id DESC
