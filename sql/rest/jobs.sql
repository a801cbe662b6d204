-- name: jobs
-- grain: one row per job, newest first
-- reads: jobs
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 job_id or null for all, $4 array of statuses or null for all
SELECT
  job_id AS "jobId",
  name,
  description,
  submission_time AS "submissionTime",
  completion_time AS "completionTime",
  stage_ids AS "stageIds",
  job_group AS "jobGroup",
  job_tags AS "jobTags",
  status,
  num_tasks AS "numTasks",
  num_active_tasks AS "numActiveTasks",
  num_completed_tasks AS "numCompletedTasks",
  num_skipped_tasks AS "numSkippedTasks",
  num_failed_tasks AS "numFailedTasks",
  num_killed_tasks AS "numKilledTasks",
  num_completed_indices AS "numCompletedIndices",
  num_active_stages AS "numActiveStages",
  num_completed_stages AS "numCompletedStages",
  num_skipped_stages AS "numSkippedStages",
  num_failed_stages AS "numFailedStages",
  killed_tasks_summary AS "killedTasksSummary"
FROM jobs
WHERE app_id = $1 AND attempt_id = $2
  AND ($3::int IS NULL OR job_id = $3)
  AND ($4::text[] IS NULL OR array_has($4, status))
ORDER BY job_id DESC
