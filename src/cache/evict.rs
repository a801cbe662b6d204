//! Eviction: attempts give up most of their rows where the cache has become larger than it may be.
//!
//! An attempt that is evicted is put once more, with the rows of a few small tables alone; compaction and collection free the rest. The log is
//! still there, so nothing is lost: who needs the rows reads it again. Which attempts go is for the caller to say, who knows what is asked for.

use std::collections::HashMap;

use super::manifest::{AttemptInfo, AttemptOrd, AttemptState, Snapshot};
use super::{Cache, CacheError, Changes};
use crate::table::TableDef;

impl Snapshot {
    /// About how many bytes of segments each live attempt takes: its share of the rows.
    pub fn bytes_of_attempts(&self) -> HashMap<AttemptOrd, u64> {
        let mut bytes: HashMap<AttemptOrd, u64> = HashMap::with_capacity(self.attempt_count());
        for segment in self.all_segments() {
            for range in segment.attempts.iter().filter(|range| self.by_ord(range.ord).is_some()) {
                let rows = u128::from(range.rows.end - range.rows.start);
                let share = u128::from(segment.bytes) * rows / u128::from(segment.rows.max(1));
                *bytes.entry(range.ord).or_default() += u64::try_from(share).unwrap_or(u64::MAX);
            }
        }
        bytes
    }

    /// Bytes of all segments, with the rows in them that are not to be seen any more.
    pub fn bytes(&self) -> u64 {
        self.all_segments().map(|segment| segment.bytes).sum()
    }
}

impl Cache {
    /// Leaves attempts the rows of some tables. Gives the number that they have from then on, for each that is still live.
    pub async fn evict(
        &self,
        attempts: &[AttemptOrd],
        kept: &[&'static TableDef],
    ) -> Result<HashMap<AttemptOrd, AttemptOrd>, CacheError> {
        let snapshot = self.snapshot();
        let mut changes = Changes::default();
        let mut evicted = HashMap::new();
        for attempt in attempts.iter().filter_map(|ord| snapshot.by_ord(*ord)) {
            let mut writer = self.attempt(&attempt.app_id, &attempt.attempt_id, attempt.start_ms, attempt.acl_id);
            for table in kept {
                for batch in self.read(&snapshot, table, attempt.ord).await? {
                    writer.push(table, batch).await?;
                }
            }
            evicted.insert(attempt.ord, writer.ord());
            changes.put.push(writer.finish(AttemptInfo {
                state: AttemptState::Evicted,
                ..attempt.info.clone()
            }));
        }
        Box::pin(self.commit(changes)).await?;
        Ok(evicted)
    }
}
