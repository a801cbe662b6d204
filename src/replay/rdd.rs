//! A persisted RDD: which of its partitions lie where.

use std::collections::BTreeMap;

use super::executor::{LiveExecutor, add_delta};
use super::scala::{Slots, hash_of_text};
use crate::event::stage::{RddInfo, StorageLevel};
use crate::table::{Rows, Value};

/// Spark's `LiveRDD`. Spark writes it to its store after each event that changes it.
#[derive(Debug)]
pub(super) struct LiveRdd {
    name: Option<String>,
    num_partitions: i32,
    pub(super) storage_level: StorageLevel,
    memory_used: i64,
    disk_used: i64,
    /// By block name.
    pub(super) partitions: BTreeMap<String, Partition>,
    /// Partitions added so far: the place of the next one. A partition that comes back comes last.
    added: u64,
    /// By executor id.
    pub(super) distributions: BTreeMap<String, Distribution>,
    slots: Slots,
}

#[derive(Debug)]
pub(super) struct Partition {
    place: u64,
    pub(super) executors: Vec<String>,
    memory_used: i64,
    disk_used: i64,
}

/// What one executor stores of an RDD.
#[derive(Debug, Default)]
pub(super) struct Distribution {
    pub(super) memory_used: i64,
    pub(super) disk_used: i64,
    pub(super) on_heap_used: i64,
    pub(super) off_heap_used: i64,
    /// The executor as of the last event about a cached block there: Spark keeps the view of it that it took then.
    executor: Remaining,
}

/// What an executor has left for storage.
#[derive(Debug, Clone, Default)]
pub(super) struct Remaining {
    pub(super) address: Option<String>,
    pub(super) memory: i64,
    /// On and off the heap, where the log has the sizes.
    pub(super) heap: Option<(i64, i64)>,
}

impl LiveRdd {
    pub(super) fn new(info: &RddInfo<'_>) -> Self {
        LiveRdd {
            name: info.name.as_deref().map(str::to_owned),
            num_partitions: info.num_partitions,
            storage_level: info.storage_level,
            memory_used: 0,
            disk_used: 0,
            partitions: BTreeMap::new(),
            added: 0,
            distributions: BTreeMap::new(),
            slots: Slots::default(),
        }
    }

    /// A block of it is stored on an executor, or (with a level that is not valid) no longer; gives by how much that changes the
    /// number of the executor's blocks.
    pub(super) fn update_block(
        &mut self,
        block: &str,
        executor_id: &str,
        level: StorageLevel,
        (memory, disk): (i64, i64),
    ) -> i32 {
        add_delta(&mut self.memory_used, memory);
        add_delta(&mut self.disk_used, disk);
        let added = &mut self.added;
        let partition = self.partitions.entry(block.to_owned()).or_insert_with(|| {
            *added += 1;
            Partition {
                place: *added,
                executors: Vec::new(),
                memory_used: 0,
                disk_used: 0,
            }
        });
        let here = partition.executors.iter().position(|executor| executor == executor_id);
        let mut blocks = 0;
        match (level.is_valid(), here) {
            (true, Some(_)) => {}
            (true, None) => {
                blocks = 1;
                partition.executors.push(executor_id.to_owned());
            }
            (false, here) => {
                blocks = -1;
                if let Some(here) = here {
                    partition.executors.remove(here);
                }
            }
        }
        if partition.executors.is_empty() {
            self.partitions.remove(block);
        } else {
            add_delta(&mut partition.memory_used, memory);
            add_delta(&mut partition.disk_used, disk);
        }
        blocks
    }

    /// What `executor` stores of it, when a block there changes; `blocks` is how many it stores afterwards, of all RDDs.
    pub(super) fn update_distribution(
        &mut self,
        executor: &LiveExecutor,
        blocks: i32,
        level: StorageLevel,
        (memory, disk): (i64, i64),
    ) {
        let id = &executor.executor_id;
        if blocks <= 0 {
            self.distributions.remove(id);
            return;
        }
        if !self.distributions.contains_key(id) {
            self.distributions.insert(id.clone(), Distribution::default());
            self.slots.inserted(self.distributions.len());
        }
        let Some(distribution) = self.distributions.get_mut(id) else {
            return;
        };
        add_delta(&mut distribution.memory_used, memory);
        add_delta(&mut distribution.disk_used, disk);
        if executor.has_heap() {
            let used = if level.use_off_heap {
                &mut distribution.off_heap_used
            } else {
                &mut distribution.on_heap_used
            };
            add_delta(used, memory);
        }
    }

    /// Takes a new view of the executor, if it stores anything of the RDD.
    pub(super) fn see(&mut self, executor_id: &str, remaining: &Remaining) {
        if let Some(distribution) = self.distributions.get_mut(executor_id) {
            distribution.executor.clone_from(remaining);
        }
    }

    /// The executor was removed: what it stored is gone.
    pub(super) fn remove_executor(&mut self, id: &str) {
        self.distributions.remove(id);
        let (rdd_memory, rdd_disk) = (&mut self.memory_used, &mut self.disk_used);
        self.partitions.retain(|_, partition| {
            if !partition.executors.iter().any(|executor| executor == id) {
                return true;
            }
            let sharers = i64::try_from(partition.executors.len()).unwrap_or(1);
            let (memory, disk) = (partition.memory_used / sharers, partition.disk_used / sharers);
            add_delta(rdd_memory, -memory);
            add_delta(rdd_disk, -disk);
            partition.executors.retain(|executor| executor != id);
            add_delta(&mut partition.memory_used, -memory);
            add_delta(&mut partition.disk_used, -disk);
            !partition.executors.is_empty()
        });
    }

    pub(super) fn push_row(&self, (app_id, attempt_id): (&str, &str), rdd_id: i32, rows: &mut Rows) {
        rows.push(app_id).push(attempt_id).push(rdd_id);
        rows.push(self.name.as_ref())
            .push(self.num_partitions)
            .push(i64::try_from(self.partitions.len()).unwrap_or(i64::MAX));
        rows.push(&description(self.storage_level));
        rows.push(self.memory_used).push(self.disk_used);
        let mut distributions: Vec<_> = self.distributions.iter().collect();
        distributions.sort_by_key(|(id, _)| self.slots.place(hash_of_text(id)));
        rows.push(if distributions.is_empty() {
            Value::Null
        } else {
            Value::List(distributions.into_iter().map(|(_, shown)| shown.as_value()).collect())
        });
        rows.end_row();
    }

    pub(super) fn push_partitions(&self, (app_id, attempt_id): (&str, &str), rdd_id: i32, rows: &mut Rows) {
        let mut partitions: Vec<_> = self.partitions.iter().collect();
        partitions.sort_by_key(|(_, partition)| partition.place);
        for (position, (block, partition)) in (0_i64..).zip(partitions) {
            rows.push(app_id)
                .push(attempt_id)
                .push(rdd_id)
                .push(position)
                .push(block);
            rows.push(&description(partition.level(self.storage_level)));
            rows.push(partition.memory_used)
                .push(partition.disk_used)
                .push(Value::list(&partition.executors));
            rows.end_row();
        }
    }
}

impl Partition {
    /// The level that the partition has in fact, whatever was asked for.
    fn level(&self, asked: StorageLevel) -> StorageLevel {
        StorageLevel {
            use_disk: self.disk_used > 0,
            use_memory: self.memory_used > 0,
            use_off_heap: asked.use_off_heap,
            deserialized: self.memory_used > 0 && asked.deserialized,
            replication: i32::try_from(self.executors.len()).unwrap_or(i32::MAX),
        }
    }
}

impl Distribution {
    fn as_value(&self) -> Value<'_> {
        let Remaining { address, memory, heap } = &self.executor;
        Value::Struct(vec![
            address.as_ref().into(),
            self.memory_used.into(),
            (*memory).into(),
            self.disk_used.into(),
            heap.map(|_| self.on_heap_used).into(),
            heap.map(|_| self.off_heap_used).into(),
            heap.map(|(on, _)| on).into(),
            heap.map(|(_, off)| off).into(),
        ])
    }
}

/// Spark's `StorageLevel.description`.
fn description(level: StorageLevel) -> String {
    let memory = match (level.use_memory, level.use_off_heap) {
        (true, true) => "Memory (off heap) ",
        (true, false) => "Memory ",
        (false, _) => "",
    };
    format!(
        "{}{memory}{} {}x Replicated",
        if level.use_disk { "Disk " } else { "" },
        if level.deserialized {
            "Deserialized"
        } else {
            "Serialized"
        },
        level.replication,
    )
}
