-- name: miscellaneous_processes
-- grain: one row per process
-- reads: miscellaneous_processes
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id
SELECT
  process_id AS "id",
  host_port AS "hostPort",
  is_active AS "isActive",
  total_cores AS "totalCores",
  add_time AS "addTime",
  remove_time AS "removeTime",
  process_logs AS "processLogs"
FROM miscellaneous_processes
WHERE app_id = $1 AND attempt_id = $2
ORDER BY process_id
