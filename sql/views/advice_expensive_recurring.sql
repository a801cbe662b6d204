-- name: advice_expensive_recurring
-- schema: advice
-- grain: one row per application name and user that ran often and held many core hours
-- reads: applications
-- freshness: the snapshot of the statement
-- parameters: none
-- columns:
--   name | text | name of the applications
--   spark_user | text | user that ran them
--   severity | text | info, warning or critical
--   evidence | text | the numbers in a sentence
--   recommendation | text | what to try
--   runs | bigint | applications
--   failed_runs | bigint | those with status FAILED
--   first_start_time | timestamp with time zone | start of the first
--   last_start_time | timestamp with time zone | start of the last
--   last_app_id | text | the last one, to look at
--   core_hours | double precision | cores x lifetime of their executors
--   core_hours_per_run | double precision | mean of a run
--   task_hours | double precision | run time of their tasks
--   used_share | double precision | task hours over core hours; null without core hours
--   avg_duration_ms | double precision | mean duration of the ended ones
-- notes:
--   at least 3 runs: twice may be chance
--   at least 10 core hours together; warning from 100, critical from 1000: where a tenth saved pays for the work on it
--   below half used, fewer executors do as well; above, the work itself has to become less
WITH recurring AS (
  SELECT
    name,
    spark_user,
    count(*) AS runs,
    count(*) FILTER (WHERE status = 'FAILED') AS failed_runs,
    min(start_time) AS first_start_time,
    max(start_time) AS last_start_time,
    first_value(app_id ORDER BY start_time DESC, app_id DESC) AS last_app_id,
    sum(executor_core_ms) / 3600000.0 AS core_hours,
    sum(executor_run_time_ms) / 3600000.0 AS task_hours,
    avg(duration_ms) AS avg_duration_ms
  FROM applications
  GROUP BY name, spark_user
),
expensive AS (
  SELECT
    *,
    core_hours / runs AS core_hours_per_run,
    task_hours / nullif(core_hours, 0) AS used_share
  FROM recurring
  WHERE runs >= 3 AND core_hours >= 10
)
SELECT
  name,
  spark_user,
  CASE WHEN core_hours >= 1000 THEN 'critical' WHEN core_hours >= 100 THEN 'warning' ELSE 'info' END AS severity,
  runs || ' runs (' || failed_runs || ' failed) held ' || round(core_hours, 1) || ' core hours, ' || round(core_hours_per_run, 1)
    || ' each; tasks used ' || round(used_share * 100, 1) || ' % of them' AS evidence,
  CASE
    WHEN failed_runs * 2 >= runs THEN 'most runs fail: see failed_work of ' || last_app_id || ' before anything else'
    WHEN used_share < 0.5 THEN 'executors mostly wait: lower spark.dynamicAllocation.maxExecutors or spark.executor.instances, see idle_executors of ' || last_app_id
    ELSE 'executors are busy: see skewed_stages, spilling_stages and small_partitions of ' || last_app_id || ' for work that can be saved'
  END AS recommendation,
  runs,
  failed_runs,
  first_start_time,
  last_start_time,
  last_app_id,
  core_hours,
  core_hours_per_run,
  task_hours,
  used_share,
  avg_duration_ms
FROM expensive
