-- name: rdd
-- grain: one row
-- reads: rdds
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 rdd_id
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
WHERE app_id = $1 AND attempt_id = $2 AND rdd_id = $3
