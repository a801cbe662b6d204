-- name: attempt_name
-- grain: one row
-- reads: application_attempts
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id
SELECT name
FROM application_attempts
WHERE app_id = $1 AND attempt_id = $2
