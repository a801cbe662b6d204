//! Takes the rows of attempts and makes segments of them.
//!
//! An [`AttemptWriter`] holds what it was given until that is a segment's worth: then it writes a segment of this attempt alone. What is
//! left of many attempts goes into one segment a table when they are committed together. Until then nobody sees any of it: files of an
//! attempt that is never committed are orphans.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::arrange::{self, Internal};
use super::commit::Action;
use super::manifest::{Attempt, AttemptInfo, AttemptOrd, Segment, Snapshot};
use super::segment::SegmentWriter;
use super::store::Storage;
use super::{CacheError, CacheOptions};
use crate::table::{self, TableDef};

const MS_PER_DAY: i64 = 86_400_000;
/// Rows that are handed to Parquet at once.
const WRITE_ROWS: usize = 65_536;

/// Rows of one attempt on their way into the cache.
#[derive(Debug)]
pub struct AttemptWriter {
    storage: Arc<Storage>,
    options: CacheOptions,
    key: AttemptKey,
    tables: BTreeMap<&'static str, Part>,
    segments: Vec<Segment>,
}

/// Whose rows they are.
#[derive(Debug, Clone)]
pub(super) struct AttemptKey {
    pub(super) ord: AttemptOrd,
    pub(super) app_id: String,
    pub(super) attempt_id: String,
    pub(super) acl_id: i32,
    pub(super) start_ms: i64,
    /// Rows are added to those of a live attempt.
    pub(super) extends: bool,
}

/// Rows of one table that are not in a segment yet.
#[derive(Debug)]
struct Part {
    table: &'static TableDef,
    batches: Vec<RecordBatch>,
    bytes: usize,
}

/// All rows of an attempt, to be committed.
#[derive(Debug)]
pub struct Written {
    key: AttemptKey,
    info: AttemptInfo,
    tables: BTreeMap<&'static str, Part>,
    segments: Vec<Segment>,
}

/// What becomes visible in one commit.
#[derive(Debug, Default)]
pub struct Changes {
    /// New attempts, and others in place of those with the same ids.
    pub put: Vec<Written>,
    /// Attempts that go, by application and attempt id. One that is not there is none.
    pub drop: Vec<(String, String)>,
}

impl AttemptKey {
    fn internal(&self) -> Internal {
        Internal {
            ord: self.ord,
            acl_id: self.acl_id,
            day: i32::try_from(self.start_ms.div_euclid(MS_PER_DAY)).unwrap_or_default(),
        }
    }
}

impl AttemptWriter {
    pub(super) fn new(storage: Arc<Storage>, options: CacheOptions, key: AttemptKey) -> Self {
        AttemptWriter {
            storage,
            options,
            key,
            tables: BTreeMap::new(),
            segments: Vec::new(),
        }
    }

    /// Takes rows of a table, in any order. Writes a segment when there are enough.
    pub async fn push(&mut self, table: &'static TableDef, batch: RecordBatch) -> Result<(), CacheError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let part = self.tables.entry(table.name).or_insert_with(|| Part {
            table,
            batches: Vec::new(),
            bytes: 0,
        });
        part.bytes += batch.get_array_memory_size();
        part.batches.push(batch);
        if part.bytes >= self.options.part_bytes
            && let Some(part) = self.tables.remove(table.name)
        {
            let mut writer = SegmentWriter::start(&self.storage, table, 0, &self.options)?;
            write_part(&mut writer, &part, self.key.internal()).await?;
            self.segments.push(writer.finish().await?);
        }
        Ok(())
    }

    /// Takes the rows of all tables, as `history::snapshot::AttemptRows` holds them.
    pub async fn push_tables(&mut self, tables: &BTreeMap<&'static str, Vec<RecordBatch>>) -> Result<(), CacheError> {
        for table in table::all() {
            for batch in tables.get(table.name).into_iter().flatten() {
                self.push(table, batch.clone()).await?;
            }
        }
        Ok(())
    }

    /// Rows that wait in memory, in bytes.
    pub fn buffered_bytes(&self) -> usize {
        self.tables.values().map(|part| part.bytes).sum()
    }

    /// There will be no more rows.
    pub fn finish(self, info: AttemptInfo) -> Written {
        Written {
            key: self.key,
            info,
            tables: self.tables,
            segments: self.segments,
        }
    }
}

impl Written {
    /// Rows that wait in memory, in bytes: what a commit has still to write.
    pub fn buffered_bytes(&self) -> usize {
        self.tables.values().map(|part| part.bytes).sum()
    }
}

async fn write_part(writer: &mut SegmentWriter, part: &Part, internal: Internal) -> Result<(), CacheError> {
    let schema = arrange::segment_schema(part.table);
    let rows =
        arrange::arrange(part.table, &schema, &part.batches, internal).map_err(|source| CacheError::Arrange {
            table: part.table.name.to_owned(),
            source,
        })?;
    for start in (0..rows.num_rows()).step_by(WRITE_ROWS) {
        let length = WRITE_ROWS.min(rows.num_rows() - start);
        writer.write(&rows.slice(start, length)).await?;
    }
    Ok(())
}

/// Writes what is left of the attempts, one segment a table, and gives all their segments.
pub(super) async fn write_rest(
    storage: &Storage,
    options: &CacheOptions,
    put: &mut [Written],
) -> Result<Vec<Segment>, CacheError> {
    let key = |written: &Written| (written.key.app_id.clone(), written.key.attempt_id.clone());
    put.sort_by_key(key);
    if let Some(pair) = put.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])) {
        let (app_id, attempt_id) = key(&pair[0]);
        return Err(CacheError::Twice { app_id, attempt_id });
    }
    let mut segments: Vec<Segment> = put.iter_mut().flat_map(|written| written.segments.drain(..)).collect();
    for table in table::all() {
        let mut writer = None;
        for written in put.iter_mut() {
            let Some(part) = written.tables.remove(table.name) else {
                continue;
            };
            let writer = match &mut writer {
                Some(writer) => writer,
                none => none.insert(SegmentWriter::start(storage, table, 0, options)?),
            };
            write_part(writer, &part, written.key.internal()).await?;
        }
        if let Some(writer) = writer {
            segments.push(writer.finish().await?);
        }
    }
    Ok(segments)
}

/// The actions that make changes visible, seen from a snapshot.
pub(super) fn actions(
    put: &[Written],
    drop: &[(String, String)],
    segments: &[Segment],
    snapshot: &Snapshot,
) -> Result<Vec<Action>, CacheError> {
    let mut dropped = BTreeSet::new();
    let mut puts = Vec::new();
    for (app_id, attempt_id) in drop {
        dropped.extend(snapshot.attempt(app_id, attempt_id).map(|attempt| attempt.ord));
    }
    for Written { key, info, .. } in put {
        let before = snapshot.attempt(&key.app_id, &key.attempt_id);
        let generation = match before {
            Some(live) if key.extends && live.ord == key.ord && !dropped.contains(&live.ord) => live.generation,
            _ if key.extends => {
                return Err(CacheError::Gone {
                    app_id: key.app_id.clone(),
                    attempt_id: key.attempt_id.clone(),
                });
            }
            Some(replaced) => {
                dropped.insert(replaced.ord);
                replaced.generation + 1
            }
            None => 0,
        };
        puts.push(Action::PutApp(Attempt {
            ord: key.ord,
            app_id: key.app_id.clone(),
            attempt_id: key.attempt_id.clone(),
            generation,
            acl_id: key.acl_id,
            start_ms: key.start_ms,
            info: info.clone(),
        }));
    }
    let drops = dropped.into_iter().map(|ord| Action::DropApp { ord });
    let adds = segments.iter().cloned().map(Action::AddSegment);
    Ok(drops.chain(puts).chain(adds).collect())
}
