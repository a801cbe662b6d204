-- name: sql_executions
-- grain: one row per SQL execution, oldest first
-- reads: sql_executions
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 execution_id or null for all, $4 rows to skip, $5 rows at most, $6 now (ms since the epoch)
SELECT
  execution_id AS "id",
  status,
  description,
  plan_description AS "@planDescription",
  NULL::boolean AS "#planDescription",
  coalesce(submission_time, to_timestamp_millis(-1)) AS "submissionTime",
  coalesce(
    duration_ms,
    coalesce(CAST(completion_time AS bigint) / 1000, $6) - coalesce(CAST(submission_time AS bigint) / 1000, -1)
  ) AS "duration",
  running_job_ids AS "runningJobIds",
  success_job_ids AS "successJobIds",
  failed_job_ids AS "failedJobIds"
FROM sql_executions
WHERE app_id = $1 AND attempt_id = $2
  AND ($3::bigint IS NULL OR execution_id = $3)
ORDER BY execution_id
LIMIT $5 OFFSET $4
