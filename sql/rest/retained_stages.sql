-- name: retained_stages
-- grain: one row per stage attempt that Spark's server would not have forgotten
-- reads: stages
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id; {limit} is spark.ui.retainedStages, {step} a tenth of it, at least 1
-- notes: stands for `stages` in other statements; skipped stages go first, then those that ended first
SELECT *
FROM (
  SELECT
    *,
    status IN ('ACTIVE', 'PENDING') AS is_open,
    row_number() OVER (
      PARTITION BY status IN ('ACTIVE', 'PENDING')
      ORDER BY completion_time NULLS FIRST, stage_id, stage_attempt_id
    ) AS age,
    count(*) OVER (PARTITION BY status IN ('ACTIVE', 'PENDING')) AS total
  FROM stages
  WHERE app_id = $1 AND attempt_id = $2
)
WHERE is_open OR age > CASE WHEN total > {limit} THEN ((total - {limit} - 1) / {step} + 1) * {step} ELSE 0 END
