//! The rows of `applications` and `application_attempts` of all applications together, in few batches.
//!
//! Each application gives these tables a row or two. Asked about all of them, a statement would handle as many batches as there are
//! applications, and that, not their rows, would be its work. So they are kept once more, joined; an application that changes joins one
//! shard anew.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use super::snapshot::AttemptRows;
use crate::table::{APPLICATION_ATTEMPTS, APPLICATIONS};

/// Applications in a shard, about: enough that a batch is worth its handling, few enough to be joined at every scan of a growing log.
const SHARD: usize = 2048;

/// Shards by a hash of the application, which stays while the number of shards does.
#[derive(Debug, Default)]
pub(super) struct Listing {
    applications: Vec<Vec<RecordBatch>>,
    attempts: Vec<Vec<RecordBatch>>,
}

impl Listing {
    /// Joins the shards of what changed anew.
    pub(super) fn update(
        &mut self,
        applications: &BTreeMap<String, RecordBatch>,
        attempts: &BTreeMap<(String, String), Arc<AttemptRows>>,
        changed: &BTreeSet<String>,
    ) {
        let shards = (applications.len() / SHARD + 1).next_power_of_two();
        let stale: BTreeSet<usize> = if shards == self.applications.len() {
            changed.iter().map(|app_id| shard_of(app_id, shards)).collect()
        } else {
            self.applications = vec![Vec::new(); shards];
            self.attempts = vec![Vec::new(); shards];
            (0..shards).collect()
        };
        if stale.is_empty() {
            return;
        }
        let mut rows: BTreeMap<usize, (Vec<&RecordBatch>, Vec<&RecordBatch>)> =
            stale.iter().map(|shard| (*shard, Default::default())).collect();
        for (app_id, batch) in applications {
            if let Some((applications, _)) = rows.get_mut(&shard_of(app_id, shards)) {
                applications.push(batch);
            }
        }
        for ((app_id, _), attempt) in attempts {
            if let Some((_, attempts)) = rows.get_mut(&shard_of(app_id, shards)) {
                attempts.extend(attempt.tables.get(APPLICATION_ATTEMPTS.name).into_iter().flatten());
            }
        }
        for (shard, (applications, attempts)) in rows {
            self.applications[shard] = joined(&applications);
            self.attempts[shard] = joined(&attempts);
        }
    }

    /// The rows of all applications, by table.
    pub(super) fn rows(&self) -> BTreeMap<&'static str, Vec<RecordBatch>> {
        BTreeMap::from([
            (APPLICATIONS.name, self.applications.concat()),
            (APPLICATION_ATTEMPTS.name, self.attempts.concat()),
        ])
    }
}

fn shard_of(app_id: &str, shards: usize) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(app_id);
    usize::try_from(hash % shards as u64).unwrap_or_default()
}

fn joined(batches: &[&RecordBatch]) -> Vec<RecordBatch> {
    let Some(first) = batches.first() else {
        return Vec::new();
    };
    match concat_batches(&first.schema(), batches.iter().copied()) {
        Ok(joined) => vec![joined],
        Err(error) => {
            tracing::error!(%error, "rows of applications cannot be joined, which is a defect in sparkgate");
            batches.iter().copied().cloned().collect()
        }
    }
}
