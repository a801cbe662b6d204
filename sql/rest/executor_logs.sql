-- name: executor_logs
-- grain: one row per executor that has log URLs
-- reads: executors
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id
SELECT executor_id AS "@executorId", executor_logs AS "executorLogs"
FROM executors
WHERE app_id = $1 AND attempt_id = $2 AND cardinality(executor_logs) > 0
