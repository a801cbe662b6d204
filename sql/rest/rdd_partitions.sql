-- name: rdd_partitions
-- grain: one row per cached partition of the RDDs
-- reads: rdd_partitions
-- freshness: the snapshot of the request
-- parameters: $1 app_id, $2 attempt_id, $3 rdd_id or null for all
SELECT
  rdd_id AS "@rddId",
  block_name AS "blockName",
  storage_level AS "storageLevel",
  memory_used_bytes AS "memoryUsed",
  disk_used_bytes AS "diskUsed",
  executors
FROM rdd_partitions
WHERE app_id = $1 AND attempt_id = $2
  AND ($3::int IS NULL OR rdd_id = $3)
ORDER BY rdd_id, position
