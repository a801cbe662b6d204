-- name: retained_sql_executions
-- grain: one row per SQL execution that Spark's server would not have forgotten
-- reads: sql_executions
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id; {limit} is spark.sql.ui.retainedExecutions
-- notes: stands for `sql_executions` in other statements; those go first that ended first
SELECT *
FROM (
  SELECT
    *,
    completion_time IS NULL AS is_open,
    row_number() OVER (PARTITION BY completion_time IS NULL ORDER BY completion_time, execution_id) AS age,
    count(*) OVER () AS total
  FROM sql_executions
  WHERE app_id = $1 AND attempt_id = $2
)
WHERE is_open OR age > total - {limit}
