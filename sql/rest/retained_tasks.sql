-- name: retained_tasks
-- grain: one row per task attempt of a stage attempt that Spark's server would not have forgotten
-- reads: tasks
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 stage_id, $4 stage_attempt_id; {limit} is spark.ui.retainedTasks, {step} a tenth of it, at least 1
-- notes: stands for `tasks` in other statements; those go first that ended first
SELECT *
FROM (
  SELECT
    *,
    row_number() OVER (ORDER BY finish_time NULLS LAST, task_id) AS age,
    count(*) OVER () AS total
  FROM tasks
  WHERE app_id = $1 AND attempt_id = $2 AND stage_id = $3 AND stage_attempt_id = $4
)
WHERE age > CASE WHEN total > {limit} THEN ((total - {limit} - 1) / {step} + 1) * {step} ELSE 0 END
