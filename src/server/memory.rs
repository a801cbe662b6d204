//! Memory of statements: a share for each, and a bound for all together.
//!
//! A share is fair among the operators of its statement ([`FairSpillPool`]). The bound matters where statements hold memory without a place
//! to run in, because their clients are slow; then the others spill or fail earlier.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};

use crate::catalog::activity::MemoryUse;

/// Of the machine's memory, what statements may hold together: DataFusion does not count all that it uses.
const SHARE_OF_MACHINE: f64 = 0.6;

/// What all statements hold.
#[derive(Debug)]
pub(super) struct SharedMemory {
    used: AtomicUsize,
    limit: usize,
}

impl SharedMemory {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(SharedMemory {
            used: AtomicUsize::new(0),
            limit,
        })
    }

    fn try_grow(&self, bytes: usize) -> bool {
        let grown = |used: usize| used.checked_add(bytes).filter(|all| *all <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .is_ok()
    }
}

/// The pool of one statement.
#[derive(Debug)]
pub(super) struct StatementPool {
    own: FairSpillPool,
    shared: Arc<SharedMemory>,
    shown: Arc<MemoryUse>,
}

impl StatementPool {
    pub(super) fn new(limit: usize, shared: Arc<SharedMemory>, shown: Arc<MemoryUse>) -> Self {
        StatementPool {
            own: FairSpillPool::new(limit),
            shared,
            shown,
        }
    }
}

impl fmt::Display for StatementPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.own.fmt(f)
    }
}

impl MemoryPool for StatementPool {
    fn name(&self) -> &str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.shared.used.fetch_add(additional, Ordering::Relaxed);
        self.shown.grow(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.shared.used.fetch_sub(shrink, Ordering::Relaxed);
        self.shown.shrink(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if !self.shared.try_grow(additional) {
            let limit = human_readable_size(self.shared.limit);
            return Err(resources_datafusion_err!(
                "all statements together hold as much as they may ({limit})"
            ));
        }
        let grown = self.own.try_grow(reservation, additional);
        match &grown {
            Ok(()) => self.shown.grow(additional),
            Err(_) => {
                self.shared.used.fetch_sub(additional, Ordering::Relaxed);
            }
        }
        grown
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.own.memory_limit()
    }
}

/// The share of one of `places` statements of the memory that this process may use.
pub(super) fn share_of_machine(places: usize) -> usize {
    let machine = rustix::system::sysinfo();
    let physical = u128::from(machine.totalram) * u128::from(machine.mem_unit);
    let physical = usize::try_from(physical).unwrap_or(usize::MAX);
    share_of(cgroup_limit().map_or(physical, |limit| limit.min(physical)), places)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of memory need not be exact"
)]
fn share_of(memory: usize, places: usize) -> usize {
    (memory as f64 * SHARE_OF_MACHINE / places.max(1) as f64) as usize
}

/// What a container may use: <https://docs.kernel.org/admin-guide/cgroup-v2.html>, and the same of version 1.
fn cgroup_limit() -> Option<usize> {
    [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .iter()
    .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_bound_by_its_share_and_by_what_all_hold() {
        let shared = SharedMemory::new(100);
        let (one_use, other_use) = (Arc::<MemoryUse>::default(), Arc::<MemoryUse>::default());
        let one: Arc<dyn MemoryPool> = Arc::new(StatementPool::new(80, Arc::clone(&shared), Arc::clone(&one_use)));
        let other: Arc<dyn MemoryPool> = Arc::new(StatementPool::new(80, Arc::clone(&shared), other_use));
        let held = MemoryConsumer::new("one").register(&one);
        held.try_grow(70).unwrap();
        assert!(held.try_grow(20).is_err(), "more than its own share");
        let more = MemoryConsumer::new("other").register(&other);
        let refused = more.try_grow(40).unwrap_err().to_string();
        assert!(refused.contains("all statements together"), "{refused}");
        more.try_grow(30).unwrap();
        drop(held);
        more.try_grow(40).unwrap();
        drop(more);
        assert_eq!(shared.used.load(Ordering::Relaxed), 0);
        assert_eq!((one_use.now(), one_use.peak()), (0, 70));
    }

    #[test]
    fn a_share_is_of_what_the_machine_has() {
        assert_eq!(share_of(2_000_000_000, 8), 150_000_000);
        assert!(share_of_machine(1) > share_of_machine(8));
    }
}
