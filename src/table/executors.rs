//! `executors`.

use super::metrics::{EXECUTOR_PEAKS, PEAK_COUNT, concat};
use super::{Column, TableDef, Type, keys};

const RESOURCE: Type = Type::Struct(&[("name", Type::Text), ("addresses", Type::List(&Type::Text))]);

const HEAD: [Column; 35] = [
    keys::APP_ID,
    keys::ATTEMPT_ID,
    Column::new("executor_id", Type::Text, "id", "ExecutorAdded: Executor ID", "unique within an application attempt; the driver is 'driver'"),
    Column::null("host_port", Type::Text, "hostPort", "BlockManagerAdded: Block Manager ID / Host, Port", "address of its block manager, its host where that is unknown"),
    Column::null("host", Type::Text, "", "ExecutorAdded: Executor Info / Host", "host it runs on"),
    Column::new("is_active", Type::Bool, "isActive", "ExecutorRemoved", "false once it was removed"),
    Column::new("rdd_blocks", Type::Int32, "rddBlocks", "BlockUpdated", "cached RDD blocks it holds"),
    Column::new("memory_used_bytes", Type::Int64, "memoryUsed", "BlockUpdated", "storage memory in use"),
    Column::new("disk_used_bytes", Type::Int64, "diskUsed", "BlockUpdated", "disk in use for blocks"),
    Column::new("total_cores", Type::Int32, "totalCores", "ExecutorAdded: Executor Info / Total Cores", "cores it offers"),
    Column::new("max_tasks", Type::Int32, "maxTasks", "total_cores / cores per task", "tasks it can run at a time"),
    Column::new("active_tasks", Type::Int32, "activeTasks", "TaskStart, TaskEnd", "task attempts that run"),
    Column::new("failed_tasks", Type::Int32, "failedTasks", "TaskEnd", "task attempts that failed"),
    Column::new("completed_tasks", Type::Int32, "completedTasks", "TaskEnd", "task attempts that succeeded"),
    Column::new("total_tasks", Type::Int32, "totalTasks", "TaskStart", "task attempts that were launched"),
    Column::null("total_duration_ms", Type::Int64, "totalDuration", "TaskEnd: Task Info", "sum of the durations of its tasks; of the driver, the duration of the application attempt, null until its end"),
    Column::new("total_gc_time_ms", Type::Int64, "totalGCTime", "TaskEnd: Task Metrics / JVM GC Time", "garbage collection while tasks ran; of the driver, its peak of TotalGCTime"),
    Column::new("total_input_bytes", Type::Int64, "totalInputBytes", "TaskEnd: Task Metrics", "bytes its tasks read"),
    Column::new("total_shuffle_read_bytes", Type::Int64, "totalShuffleRead", "TaskEnd: Task Metrics", "shuffle bytes its tasks read"),
    Column::new("total_shuffle_write_bytes", Type::Int64, "totalShuffleWrite", "TaskEnd: Task Metrics", "shuffle bytes its tasks wrote"),
    Column::new("is_excluded", Type::Bool, "isExcluded", "ExecutorExcluded, NodeExcluded and their Blacklisted forms", "whether it is excluded from the application"),
    Column::new("excluded_in_stages", Type::List(&Type::Int32), "excludedInStages", "ExecutorExcludedForStage, NodeExcludedForStage", "running stages it is excluded from"),
    Column::new("max_memory_bytes", Type::Int64, "maxMemory", "BlockManagerAdded: Maximum Memory", "memory for storage"),
    Column::new("add_time", Type::Timestamp, "addTime", "ExecutorAdded, BlockManagerAdded: Timestamp", "when it was added"),
    Column::null("remove_time", Type::Timestamp, "removeTime", "ExecutorRemoved: Timestamp", "when it was removed"),
    Column::null("remove_reason", Type::Text, "removeReason", "ExecutorRemoved: Removed Reason", "why it was removed"),
    Column::new("executor_logs", Type::Map(&Type::Text), "executorLogs", "ExecutorAdded: Log Urls; ApplicationStart: Driver Logs", "log URLs by name"),
    Column::null("used_on_heap_storage_memory_bytes", Type::Int64, "memoryMetrics.usedOnHeapStorageMemory", "BlockUpdated", "on-heap storage memory in use; null if the log has no memory sizes"),
    Column::null("used_off_heap_storage_memory_bytes", Type::Int64, "memoryMetrics.usedOffHeapStorageMemory", "BlockUpdated", "off-heap storage memory in use; null if the log has no memory sizes"),
    Column::null("total_on_heap_storage_memory_bytes", Type::Int64, "memoryMetrics.totalOnHeapStorageMemory", "BlockManagerAdded: Maximum Onheap Memory", "on-heap memory for storage"),
    Column::null("total_off_heap_storage_memory_bytes", Type::Int64, "memoryMetrics.totalOffHeapStorageMemory", "BlockManagerAdded: Maximum Offheap Memory", "off-heap memory for storage"),
    Column::new("attributes", Type::Map(&Type::Text), "attributes", "ExecutorAdded: Attributes; ApplicationStart: Driver Attributes", "attributes the cluster manager gave"),
    Column::new("resources", Type::Map(&RESOURCE), "resources", "ExecutorAdded: Resources", "resources such as GPUs, with their addresses"),
    Column::new("resource_profile_id", Type::Int32, "resourceProfileId", "ExecutorAdded: Resource Profile Id", "resource profile; 0 is the default one"),
    Column::new("core_ms", Type::Int64, "", "total_cores x lifetime", "core time offered; until the end of the application, or the last event of the log, where it was not removed"),
];

pub static EXECUTORS: TableDef = TableDef {
    schema: "public",
    name: "executors",
    grain: "one row per executor, the driver included",
    sort_order: &["app_id", "attempt_id", "executor_id"],
    columns: &concat::<{ 35 + PEAK_COUNT }>(&[&HEAD, &EXECUTOR_PEAKS]),
};
