-- name: executor_hourly
-- schema: rollup
-- grain: one row per UTC hour and application attempt in which it had an executor with cores, or ran a task
-- reads: executors, application_attempts, tasks
-- freshness: stored with the rows that it reads, when those are made
-- parameters: none
-- notes:
--   an executor without an end counts until the end of the application, or until the log's last event where there is none; so core_ms adds up to executor_core_ms of application_attempts
--   an executor that is gone before it came (clocks differ) counts in the hour of its begin, with no core time
--   the run time of a task is spread evenly from launch to finish, in whole milliseconds that add up to it; one that still runs has none yet
--   at most ten years of hours for one executor and 31 days for one task: a longer one is a damaged log
WITH lives AS (
  SELECT
    app_id,
    attempt_id,
    total_cores,
    CAST(add_time AS bigint) / 1000 AS begin_ms,
    CAST(greatest(add_time, coalesce(remove_time, end_time, last_event_time)) AS bigint) / 1000 AS end_ms
  FROM executors
  JOIN application_attempts USING (app_id, attempt_id)
  WHERE total_cores > 0
),
runs AS (
  SELECT
    app_id,
    attempt_id,
    executor_run_time_ms,
    CAST(launch_time AS bigint) / 1000 AS begin_ms,
    CAST(finish_time AS bigint) / 1000 AS end_ms
  FROM tasks
  WHERE finish_time IS NOT NULL AND executor_run_time_ms > 0
),
lived AS (
  SELECT
    app_id,
    attempt_id,
    total_cores,
    begin_ms,
    end_ms,
    unnest(generate_series(begin_ms / 3600000, greatest(begin_ms, least(end_ms - 1, begin_ms + 315576000000)) / 3600000)) AS hour
  FROM lives
),
ran AS (
  SELECT
    app_id,
    attempt_id,
    executor_run_time_ms,
    begin_ms,
    end_ms,
    unnest(generate_series(begin_ms / 3600000, greatest(begin_ms, least(end_ms - 1, begin_ms + 2678400000)) / 3600000)) AS hour
  FROM runs
),
parts AS (
  SELECT
    hour,
    app_id,
    attempt_id,
    1 AS executors,
    total_cores AS cores,
    total_cores * (least(end_ms, (hour + 1) * 3600000) - greatest(begin_ms, hour * 3600000)) AS core_ms,
    0 AS executor_run_time_ms
  FROM lived
  UNION ALL
  SELECT
    hour,
    app_id,
    attempt_id,
    0,
    0,
    0,
    CASE
      WHEN end_ms <= begin_ms THEN executor_run_time_ms
      ELSE CAST(floor(executor_run_time_ms * (CAST(least(end_ms, (hour + 1) * 3600000) - begin_ms AS double precision) / nullif(end_ms - begin_ms, 0))) AS bigint)
        - CAST(floor(executor_run_time_ms * (CAST(greatest(begin_ms, hour * 3600000) - begin_ms AS double precision) / nullif(end_ms - begin_ms, 0))) AS bigint)
    END
  FROM ran
)
SELECT
  arrow_cast(hour * 3600000000, 'Timestamp(Microsecond, Some("UTC"))') AS hour_start,
  app_id,
  attempt_id,
  sum(executors) AS executors,
  sum(cores) AS cores,
  sum(core_ms) AS core_ms,
  sum(executor_run_time_ms) AS executor_run_time_ms
FROM parts
GROUP BY hour, app_id, attempt_id
