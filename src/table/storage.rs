//! `rdds` and `rdd_partitions`.

use super::{Column, TableDef, Type, keys};

const DISTRIBUTION: Type = Type::Struct(&[
    ("address", Type::Text),
    ("memory_used_bytes", Type::Int64),
    ("memory_remaining_bytes", Type::Int64),
    ("disk_used_bytes", Type::Int64),
    ("on_heap_memory_used_bytes", Type::Int64),
    ("off_heap_memory_used_bytes", Type::Int64),
    ("on_heap_memory_remaining_bytes", Type::Int64),
    ("off_heap_memory_remaining_bytes", Type::Int64),
]);

pub static RDDS: TableDef = TableDef {
    schema: "public",
    name: "rdds",
    grain: "one row per RDD that a stage was to cache and that was not unpersisted since; Spark lists those with cached partitions",
    sort_order: &["app_id", "attempt_id", "rdd_id"],
    columns: &[
        keys::APP_ID,
        keys::ATTEMPT_ID,
        Column::new(
            "rdd_id",
            Type::Int32,
            "id",
            "StageSubmitted: Stage Info / RDD Info / RDD ID",
            "unique within an application attempt",
        ),
        Column::null(
            "name",
            Type::Text,
            "name",
            "StageSubmitted: Stage Info / RDD Info / Name",
            "name of the RDD",
        ),
        Column::new(
            "num_partitions",
            Type::Int32,
            "numPartitions",
            "StageSubmitted: Stage Info / RDD Info / Number of Partitions",
            "partitions of the RDD",
        ),
        Column::new(
            "num_cached_partitions",
            Type::Int32,
            "numCachedPartitions",
            "rows of rdd_partitions",
            "partitions that are stored somewhere; 0 without spark.eventLog.logBlockUpdates.enabled",
        ),
        Column::new(
            "storage_level",
            Type::Text,
            "storageLevel",
            "StageSubmitted: Stage Info / RDD Info / Storage Level",
            "storage level it was persisted with, as Spark describes it",
        ),
        Column::new(
            "memory_used_bytes",
            Type::Int64,
            "memoryUsed",
            "BlockUpdated: Memory Size",
            "memory its blocks take",
        ),
        Column::new(
            "disk_used_bytes",
            Type::Int64,
            "diskUsed",
            "BlockUpdated: Disk Size",
            "disk its blocks take",
        ),
        Column::null(
            "data_distribution",
            Type::List(&DISTRIBUTION),
            "dataDistribution",
            "BlockUpdated",
            "what each executor stores of it, and the storage memory left there at the last change of a cached block; null if no executor stores any",
        ),
    ],
};

pub static RDD_PARTITIONS: TableDef = TableDef {
    schema: "public",
    name: "rdd_partitions",
    grain: "one row per cached partition of an RDD",
    sort_order: &["app_id", "attempt_id", "rdd_id", "position"],
    columns: &[
        keys::APP_ID,
        keys::ATTEMPT_ID,
        Column::new(
            "rdd_id",
            Type::Int32,
            "",
            "BlockUpdated: Block ID",
            "RDD of the partition",
        ),
        Column::new(
            "position",
            Type::Int32,
            "",
            "order of BlockUpdated",
            "place in Spark's list, from 0: in the order in which they were stored",
        ),
        Column::new(
            "block_name",
            Type::Text,
            "blockName",
            "BlockUpdated: Block ID",
            "rdd_, id of the RDD, _, number of the partition",
        ),
        Column::new(
            "storage_level",
            Type::Text,
            "storageLevel",
            "BlockUpdated",
            "where it is stored now, and on how many executors, as Spark describes it",
        ),
        Column::new(
            "memory_used_bytes",
            Type::Int64,
            "memoryUsed",
            "BlockUpdated: Memory Size",
            "memory it takes, on all executors",
        ),
        Column::new(
            "disk_used_bytes",
            Type::Int64,
            "diskUsed",
            "BlockUpdated: Disk Size",
            "disk it takes, on all executors",
        ),
        Column::new(
            "executors",
            Type::List(&Type::Text),
            "executors",
            "BlockUpdated: Block Manager ID / Executor ID",
            "executors that store it",
        ),
    ],
};
