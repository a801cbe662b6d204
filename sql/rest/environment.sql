-- name: environment
-- grain: one row per property
-- reads: environment
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id
SELECT section, name, value
FROM environment
WHERE app_id = $1 AND attempt_id = $2
ORDER BY section, name
