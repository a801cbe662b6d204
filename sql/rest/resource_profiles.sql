-- name: resource_profiles
-- grain: one row per resource profile
-- reads: resource_profiles
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id
SELECT
  resource_profile_id AS "id",
  executor_resources AS "executorResources",
  task_resources AS "taskResources"
FROM resource_profiles
WHERE app_id = $1 AND attempt_id = $2
ORDER BY resource_profile_id
