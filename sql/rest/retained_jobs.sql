-- name: retained_jobs
-- grain: one row per job that Spark's server would not have forgotten
-- reads: jobs
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id; {limit} is spark.ui.retainedJobs, {step} a tenth of it, at least 1
-- notes: stands for `jobs` in other statements; beyond the limit Spark forgets a tenth at a time, the jobs that ended first
SELECT *
FROM (
  SELECT
    *,
    status IN ('RUNNING', 'UNKNOWN') AS is_open,
    row_number() OVER (PARTITION BY status IN ('RUNNING', 'UNKNOWN') ORDER BY completion_time, job_id) AS age,
    count(*) OVER (PARTITION BY status IN ('RUNNING', 'UNKNOWN')) AS total
  FROM jobs
  WHERE app_id = $1 AND attempt_id = $2
)
WHERE is_open OR age > CASE WHEN total > {limit} THEN ((total - {limit} - 1) / {step} + 1) * {step} ELSE 0 END
