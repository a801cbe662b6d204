-- name: retained_executors
-- grain: one row per executor that Spark's server would not have forgotten
-- reads: executors
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id; {limit} is spark.ui.retainedDeadExecutors, {step} a tenth of it, at least 1
-- notes: stands for `executors` in other statements; of removed ones those with the smallest ids go first
SELECT *
FROM (
  SELECT
    *,
    row_number() OVER (PARTITION BY is_active ORDER BY executor_id) AS age,
    count(*) OVER (PARTITION BY is_active) AS total
  FROM executors
  WHERE app_id = $1 AND attempt_id = $2
)
WHERE is_active OR age > CASE WHEN total > {limit} THEN ((total - {limit} - 1) / {step} + 1) * {step} ELSE 0 END
