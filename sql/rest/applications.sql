-- name: applications
-- grain: one row per attempt, newest first, of the applications that ended last
-- reads: applications, application_attempts
-- freshness: the snapshot of the request
-- parameters: $1 whether ended ones count, $2 whether others do, $3 and $4 first and last start, $5 and $6 first and last end (ms since
-- the epoch), $7 whether the last end lies ahead, $8 applications at most
SELECT
  a.app_id AS "id",
  a.name,
  a.cores_granted AS "coresGranted",
  a.max_cores AS "maxCores",
  a.cores_per_executor AS "coresPerExecutor",
  a.memory_per_executor_mb AS "memoryPerExecutorMB",
  NULL::boolean AS "#attempts",
  nullif(t.attempt_id, '') AS "attemptId",
  t.start_time AS "startTime",
  coalesce(t.end_time, to_timestamp_millis(-1)) AS "endTime",
  t.last_updated AS "lastUpdated",
  coalesce(t.duration_ms, 0) AS "duration",
  t.spark_user AS "sparkUser",
  t.completed,
  coalesce(t.app_spark_version, '') AS "appSparkVersion",
  CAST(t.start_time AS bigint) / 1000 AS "startTimeEpoch",
  coalesce(CAST(t.end_time AS bigint) / 1000, -1) AS "endTimeEpoch",
  CAST(t.last_updated AS bigint) / 1000 AS "lastUpdatedEpoch"
FROM (
  SELECT *, coalesce(end_time, to_timestamp_millis(-1)) AS last_end
  FROM applications
  WHERE CASE WHEN completed THEN $1 ELSE $2 END
    AND EXISTS (
      SELECT 1
      FROM application_attempts t
      WHERE t.app_id = applications.app_id
        AND CAST(t.start_time AS bigint) / 1000 BETWEEN $3 AND $4
        AND CASE
          WHEN applications.completed THEN coalesce(CAST(t.end_time AS bigint) / 1000, -1) BETWEEN $5 AND $6
          ELSE $7
        END
    )
  ORDER BY last_end DESC, app_id DESC
  LIMIT $8
) a
JOIN application_attempts t ON t.app_id = a.app_id
ORDER BY a.last_end DESC, a.app_id DESC, t.start_time DESC, t.attempt_id DESC
