//! A persisted RDD: which of its partitions lie where. For now only what executors need of it.

use std::collections::BTreeMap;

use crate::event::stage::StorageLevel;

/// Spark's `LiveRDD`.
#[derive(Debug)]
pub(super) struct LiveRdd {
    pub(super) storage_level: StorageLevel,
    pub(super) memory_used: i64,
    pub(super) disk_used: i64,
    /// By block name.
    pub(super) partitions: BTreeMap<String, Partition>,
    /// By executor id.
    pub(super) distributions: BTreeMap<String, Distribution>,
}

#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) executors: Vec<String>,
    pub(super) memory_used: i64,
    pub(super) disk_used: i64,
}

/// What one executor stores of an RDD.
#[derive(Debug, Default)]
pub(super) struct Distribution {
    pub(super) memory_used: i64,
    pub(super) disk_used: i64,
    pub(super) on_heap_used: i64,
    pub(super) off_heap_used: i64,
}

impl LiveRdd {
    pub(super) fn new(storage_level: StorageLevel) -> Self {
        LiveRdd {
            storage_level,
            memory_used: 0,
            disk_used: 0,
            partitions: BTreeMap::new(),
            distributions: BTreeMap::new(),
        }
    }
}
