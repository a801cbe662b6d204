//! An executor, the driver included: its cores and memory, its tasks, what it stores.

use std::collections::{BTreeMap, BTreeSet};

use super::metrics::Peaks;
use super::rdd::Remaining;
use crate::event::Properties;
use crate::event::executor::{BlockManagerAdded, ExecutorAdded, ExecutorRemoved};
use crate::event::stage::StorageLevel;
use crate::table::{Rows, Value};

/// The driver's executor id.
pub(super) const DRIVER: &str = "driver";
/// Spark's stand-in for shuffle data in fall-back storage: no executor.
pub(super) const FALLBACK: &str = "fallback";
/// Position of `TotalGCTime` in the executor metrics.
const TOTAL_GC_TIME: usize = 20;

/// Adds a delta without going below zero (Spark's `addDeltaToValue`).
pub(super) fn add_delta(value: &mut i64, delta: i64) {
    *value = value.wrapping_add(delta).max(0);
}

/// Spark's `LiveExecutor`.
#[derive(Debug)]
pub(super) struct LiveExecutor {
    pub(super) executor_id: String,
    pub(super) host_port: Option<String>,
    pub(super) host: Option<String>,
    is_active: bool,
    pub(super) total_cores: i32,
    max_tasks: i32,
    pub(super) add_time: i64,
    pub(super) remove_time: Option<i64>,
    remove_reason: Option<String>,
    pub(super) rdd_blocks: i32,
    pub(super) memory_used: i64,
    disk_used: i64,
    max_memory: i64,
    pub(super) total_tasks: i32,
    pub(super) active_tasks: i32,
    pub(super) completed_tasks: i32,
    pub(super) failed_tasks: i32,
    pub(super) total_duration: i64,
    pub(super) total_gc_time: i64,
    pub(super) total_input_bytes: i64,
    pub(super) total_shuffle_read: i64,
    pub(super) total_shuffle_write: i64,
    pub(super) is_excluded: bool,
    pub(super) excluded_in_stages: BTreeSet<i32>,
    logs: BTreeMap<String, Option<String>>,
    attributes: BTreeMap<String, Option<String>>,
    resources: BTreeMap<String, (Option<String>, Vec<String>)>,
    /// Sizes of the on-heap and off-heap storage memory, and how much of each is used; old logs do not have them.
    heap: Option<Heap>,
    resource_profile_id: i32,
    pub(super) peaks: Peaks,
    /// Spark took executor metrics from an event, zeros where the log has none.
    pub(super) has_metrics: bool,
}

#[derive(Debug, Clone, Copy)]
struct Heap {
    total_on: i64,
    total_off: i64,
    used_on: i64,
    used_off: i64,
}

pub(super) fn owned(map: &Properties<'_>) -> BTreeMap<String, Option<String>> {
    map.iter()
        .map(|(key, value)| (key.clone().into_owned(), value.as_deref().map(str::to_owned)))
        .collect()
}

impl LiveExecutor {
    pub(super) fn new(executor_id: &str, add_time: i64) -> Self {
        LiveExecutor {
            executor_id: executor_id.to_owned(),
            host_port: None,
            host: None,
            is_active: true,
            total_cores: 0,
            max_tasks: 0,
            add_time,
            remove_time: None,
            remove_reason: None,
            rdd_blocks: 0,
            memory_used: 0,
            disk_used: 0,
            max_memory: 0,
            total_tasks: 0,
            active_tasks: 0,
            completed_tasks: 0,
            failed_tasks: 0,
            total_duration: 0,
            total_gc_time: 0,
            total_input_bytes: 0,
            total_shuffle_read: 0,
            total_shuffle_write: 0,
            is_excluded: false,
            excluded_in_stages: BTreeSet::new(),
            logs: BTreeMap::new(),
            attributes: BTreeMap::new(),
            resources: BTreeMap::new(),
            heap: None,
            resource_profile_id: 0,
            peaks: Peaks::default(),
            has_metrics: false,
        }
    }

    pub(super) fn added(&mut self, event: &ExecutorAdded<'_>, cpus_per_task: i32) {
        let info = &event.info;
        self.host = info.host.as_deref().map(str::to_owned);
        self.is_active = true;
        self.total_cores = info.total_cores;
        self.max_tasks = info.total_cores.checked_div(cpus_per_task).unwrap_or(0);
        self.logs = owned(&info.log_urls);
        self.attributes = info.attributes.as_ref().map(owned).unwrap_or_default();
        self.resources = info
            .resources
            .iter()
            .flatten()
            .map(|(key, resource)| {
                let addresses = resource
                    .addresses
                    .iter()
                    .map(|address| address.clone().into_owned())
                    .collect();
                (
                    key.clone().into_owned(),
                    (resource.name.as_deref().map(str::to_owned), addresses),
                )
            })
            .collect();
        self.resource_profile_id = info.resource_profile_id.unwrap_or(0);
    }

    pub(super) fn removed(&mut self, event: &ExecutorRemoved<'_>) {
        self.is_active = false;
        self.remove_time = Some(event.time);
        self.remove_reason = event.reason.as_deref().map(str::to_owned);
    }

    pub(super) fn block_manager_added(&mut self, event: &BlockManagerAdded<'_>) {
        self.host_port = Some(format!("{}:{}", event.id.host, event.id.port));
        if let Some(total_on) = event.max_on_heap_memory.filter(|total| *total >= 0) {
            // All blocks of a block manager are reported after it registers, so counting starts anew (SPARK-30594).
            self.heap = Some(Heap {
                total_on,
                total_off: event.max_off_heap_memory.unwrap_or(0),
                used_on: 0,
                used_off: 0,
            });
        }
        self.is_active = true;
        self.max_memory = event.max_memory;
    }

    pub(super) fn driver_logs(&mut self, logs: &Properties<'_>, attributes: Option<&Properties<'_>>) {
        self.logs = owned(logs);
        self.attributes = attributes.map(owned).unwrap_or_default();
    }

    /// Spark's `LiveExecutor.hostname`.
    pub(super) fn hostname(&self) -> Option<&str> {
        let from_port = || {
            self.host_port
                .as_deref()
                .and_then(|at| at.rsplit_once(':'))
                .map(|(host, _)| host)
        };
        self.host.as_deref().or_else(from_port)
    }

    pub(super) fn store(&mut self, level: StorageLevel, memory: i64, disk: i64) {
        if let Some(heap) = &mut self.heap {
            add_delta(
                if level.use_off_heap {
                    &mut heap.used_off
                } else {
                    &mut heap.used_on
                },
                memory,
            );
        }
        add_delta(&mut self.memory_used, memory);
        add_delta(&mut self.disk_used, disk);
    }

    /// Takes away what an unpersisted RDD stored.
    pub(super) fn unpersist(&mut self, level: StorageLevel, dist: &super::rdd::Distribution) {
        if let Some(heap) = &mut self.heap {
            if level.use_off_heap {
                add_delta(&mut heap.used_off, -dist.off_heap_used);
            } else {
                add_delta(&mut heap.used_on, -dist.on_heap_used);
            }
        }
        add_delta(&mut self.memory_used, -dist.memory_used);
        add_delta(&mut self.disk_used, -dist.disk_used);
    }

    pub(super) fn has_heap(&self) -> bool {
        self.heap.is_some()
    }

    /// What is left for storage, for the RDDs that are stored here.
    pub(super) fn remaining(&self) -> Remaining {
        Remaining {
            address: self.host_port.as_ref().or(self.host.as_ref()).cloned(),
            memory: self.max_memory.wrapping_sub(self.memory_used),
            heap: self.heap.map(|heap| {
                let (on, off) = (heap.total_on, heap.total_off);
                (on.wrapping_sub(heap.used_on), off.wrapping_sub(heap.used_off))
            }),
        }
    }

    /// Core time offered until it was removed, or until `end`, milliseconds.
    pub(super) fn core_ms(&self, end: i64) -> i64 {
        let lifetime = self.remove_time.unwrap_or(end).saturating_sub(self.add_time).max(0);
        lifetime.saturating_mul(i64::from(self.total_cores))
    }

    /// `app_duration`: of the attempt, `None` until its end; `end`: when an executor without an end counts as gone.
    pub(super) fn push_row(
        &self,
        app_id: &str,
        attempt_id: &str,
        app_duration: Option<i64>,
        end: i64,
        rows: &mut Rows,
    ) {
        let is_driver = self.executor_id == DRIVER;
        rows.push(app_id).push(attempt_id).push(&self.executor_id);
        rows.push(self.host_port.as_ref().or(self.host.as_ref()))
            .push(self.hostname());
        rows.push(self.is_active)
            .push(self.rdd_blocks)
            .push(self.memory_used)
            .push(self.disk_used);
        rows.push(self.total_cores)
            .push(self.max_tasks)
            .push(self.active_tasks)
            .push(self.failed_tasks);
        rows.push(self.completed_tasks).push(self.total_tasks);
        rows.push(if is_driver {
            app_duration
        } else {
            Some(self.total_duration)
        });
        let peak_gc = self.peaks.get(TOTAL_GC_TIME).unwrap_or(0);
        rows.push(if is_driver && self.has_metrics {
            peak_gc
        } else {
            self.total_gc_time
        });
        rows.push(self.total_input_bytes)
            .push(self.total_shuffle_read)
            .push(self.total_shuffle_write);
        rows.push(self.is_excluded)
            .push(Value::list(self.excluded_in_stages.iter().copied()));
        rows.push(self.max_memory)
            .push(Value::Millis(self.add_time))
            .push(Value::millis(self.remove_time));
        rows.push(self.remove_reason.as_ref()).push(text_map(&self.logs));
        rows.push(self.heap.map(|heap| heap.used_on))
            .push(self.heap.map(|heap| heap.used_off));
        rows.push(self.heap.map(|heap| heap.total_on))
            .push(self.heap.map(|heap| heap.total_off));
        rows.push(text_map(&self.attributes));
        rows.push(Value::map(self.resources.iter().map(|(key, (name, addresses))| {
            (
                key.as_str(),
                Value::Struct(vec![name.as_ref().into(), Value::list(addresses)]),
            )
        })));
        rows.push(self.resource_profile_id).push(self.core_ms(end));
        self.peaks.push(rows);
        rows.end_row();
    }
}

pub(super) fn text_map(map: &BTreeMap<String, Option<String>>) -> Value<'_> {
    Value::map(map.iter().map(|(key, value)| (key.as_str(), value.as_ref())))
}
