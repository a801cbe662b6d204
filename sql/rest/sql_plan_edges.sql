-- name: sql_plan_edges
-- grain: one row per edge
-- reads: sql_plan_edges
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 and $4 first and last execution_id
SELECT
  execution_id AS "@executionId",
  from_id AS "fromId",
  to_id AS "toId"
FROM sql_plan_edges
WHERE app_id = $1 AND attempt_id = $2 AND execution_id BETWEEN $3 AND $4
ORDER BY execution_id, edge_index
