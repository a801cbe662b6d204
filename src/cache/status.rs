//! Numbers for `sparkgate cache status` and `system.segments`.

use super::compact::live_rows;
use super::manifest::Snapshot;
use super::{Cache, CacheReader};
use crate::table;

/// What a cache holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheStatus {
    pub location: String,
    /// Number of the last commit.
    pub commit: u64,
    pub attempts: usize,
    pub bytes: u64,
    pub segments: usize,
    /// Files of removed segments that wait to be deleted.
    pub removed_segments: usize,
    pub removed_bytes: u64,
    /// In the order of the documentation; tables without segments as well.
    pub tables: Vec<TableStatus>,
}

/// What a cache holds of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableStatus {
    pub table: String,
    /// Of level 0, 1 and 2.
    pub segments: [usize; 3],
    pub bytes: u64,
    pub rows: u64,
    /// Rows of attempts that were replaced or dropped, part of `rows`.
    pub dead_rows: u64,
}

impl Cache {
    pub fn status(&self) -> CacheStatus {
        self.snapshot().status(&self.storage.location)
    }
}

impl CacheReader {
    pub fn status(&self) -> CacheStatus {
        self.snapshot().status(&self.storage.location)
    }
}

impl Snapshot {
    fn status(&self, location: &str) -> CacheStatus {
        let mut status = CacheStatus {
            location: location.to_owned(),
            commit: self.seq(),
            attempts: self.attempt_count(),
            removed_segments: self.removed().count(),
            removed_bytes: self.removed().map(|removed| removed.bytes).sum(),
            ..CacheStatus::default()
        };
        for table in table::stored() {
            let mut of_table = TableStatus {
                table: table.name.to_owned(),
                ..TableStatus::default()
            };
            for segment in self.segments(table.name) {
                of_table.segments[usize::from(segment.level.min(2))] += 1;
                of_table.bytes += segment.bytes;
                of_table.rows += segment.rows;
                of_table.dead_rows += segment.rows - live_rows(self, segment);
            }
            status.segments += of_table.segments.iter().sum::<usize>();
            status.bytes += of_table.bytes;
            status.tables.push(of_table);
        }
        status
    }
}
