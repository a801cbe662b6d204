-- name: sql_plan_nodes
-- grain: one row per operator, the last one of an execution first
-- reads: sql_plan_nodes
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 and $4 first and last execution_id
SELECT
  execution_id AS "@executionId",
  node_id AS "nodeId",
  node_name AS "nodeName",
  whole_stage_codegen_id AS "wholeStageCodegenId",
  metrics AS "@metrics"
FROM sql_plan_nodes
WHERE app_id = $1 AND attempt_id = $2 AND execution_id BETWEEN $3 AND $4
ORDER BY execution_id, node_id DESC
