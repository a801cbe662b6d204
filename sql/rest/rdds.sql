-- name: rdds
-- grain: one row per RDD with cached partitions, or the one that is asked for
-- reads: rdds
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 rdd_id or null for all
SELECT
  rdd_id AS "id",
  name,
  num_partitions AS "numPartitions",
  num_cached_partitions AS "numCachedPartitions",
  storage_level AS "storageLevel",
  memory_used_bytes AS "memoryUsed",
  disk_used_bytes AS "diskUsed",
  data_distribution AS "dataDistribution"
FROM rdds
WHERE app_id = $1 AND attempt_id = $2
  AND CASE WHEN $3::int IS NULL THEN num_cached_partitions > 0 ELSE rdd_id = $3 END
ORDER BY rdd_id
