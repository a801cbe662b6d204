//! Takes the rows of attempts and makes segments of them.
//!
//! An [`AttemptWriter`] holds what it was given until that is a segment's worth: then it writes a segment of this attempt alone. What is
//! left of many attempts goes into one segment a table when they are committed together. Until then nobody sees any of it: files of an
//! attempt that is never committed are orphans.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::arrange::{self, AttemptPart, Internal};
use super::commit::Action;
use super::manifest::{Attempt, AttemptInfo, AttemptOrd, OtherLog, Segment, Snapshot};
use super::segment::SegmentWriter;
use super::store::Storage;
use super::{CacheError, CacheOptions, read};
use crate::table::{self, TableDef};

const MS_PER_DAY: i64 = 86_400_000;
/// Rows that are handed to Parquet at once.
const WRITE_ROWS: usize = 65_536;
/// A part of this fraction of a segment's worth is large.
const LARGE_PART: usize = 8;
/// Rows of several attempts that are put together, in bytes.
const GROUP_BYTES: usize = 32 * 1024 * 1024;

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
    pub(super) app_id: Arc<str>,
    pub(super) attempt_id: Arc<str>,
    pub(super) acl_id: i32,
    pub(super) start_ms: i64,
    /// Rows are added to those of a live attempt.
    pub(super) extends: bool,
}

/// What a batch takes in memory. Of a text that others hold as well it is a share: whoever prepared the text holds it too, and what
/// hundreds of waiting attempts have in common is there once.
fn memory_of(batch: &RecordBatch) -> usize {
    let share = |buffer: &Buffer| buffer.capacity() / buffer.strong_count().saturating_sub(1).max(1);
    let of_column = |column: &ArrayRef| match column.as_string_view_opt() {
        Some(texts) => size_of_val(&**texts.views()) + texts.data_buffers().iter().map(share).sum::<usize>(),
        None => column.get_array_memory_size(),
    };
    batch.columns().iter().map(of_column).sum()
}

/// Rows of one table that are not in a segment yet.
#[derive(Debug, Default)]
struct Part {
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
    /// Logs that were read and have no rows here.
    pub put_logs: Vec<OtherLog>,
    /// Such logs that went, by their identity. One that is not known is none.
    pub drop_logs: Vec<String>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.drop.is_empty() && self.put_logs.is_empty() && self.drop_logs.is_empty()
    }
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
        let part = self.tables.entry(table.name).or_default();
        part.bytes += memory_of(&batch);
        part.batches.push(batch);
        if part.bytes >= self.options.part_bytes
            && let Some(part) = self.tables.remove(table.name)
        {
            self.write_part(table, part).await?;
        }
        Ok(())
    }

    /// Takes the rows of all tables, as `history::snapshot::AttemptRows` holds them.
    pub async fn push_tables(&mut self, tables: &BTreeMap<&'static str, Vec<RecordBatch>>) -> Result<(), CacheError> {
        for table in table::stored() {
            for batch in tables.get(table.name).into_iter().flatten() {
                self.push(table, batch.clone()).await?;
            }
        }
        Ok(())
    }

    /// Writes what is worth a segment of its own, so that little is left for the commit, which is made for many attempts at once.
    pub async fn write_large_parts(&mut self) -> Result<(), CacheError> {
        for table in table::stored() {
            let is_large = |part: &Part| part.bytes >= self.options.part_bytes / LARGE_PART;
            if self.tables.get(table.name).is_some_and(is_large)
                && let Some(part) = self.tables.remove(table.name)
            {
                self.write_part(table, part).await?;
            }
        }
        Ok(())
    }

    async fn write_part(&mut self, table: &'static TableDef, part: Part) -> Result<(), CacheError> {
        let mut writer = SegmentWriter::start(&self.storage, table, 0, &self.options)?;
        write_parts(&mut writer, table, &[(self.key.clone(), part)]).await?;
        self.segments.push(writer.finish().await?);
        Ok(())
    }

    /// Rows that wait in memory, in bytes.
    pub fn buffered_bytes(&self) -> usize {
        self.tables.values().map(|part| part.bytes).sum()
    }

    /// Some columns of the rows of a table that were given so far, in no particular order.
    pub fn columns<'a>(
        &'a self,
        table: &'static TableDef,
        names: &'a [&'static str],
    ) -> BoxStream<'a, Result<RecordBatch, CacheError>> {
        let of_table = self.segments.iter().filter(|segment| segment.table == table.name);
        let written = of_table.map(|segment| (segment, 0..segment.rows)).collect();
        let written = read::columns(&self.storage, written, table, names);
        let waiting = self.tables.get(table.name).into_iter().flat_map(|part| &part.batches);
        written
            .chain(futures::stream::iter(waiting.cloned().map(Ok).collect::<Vec<_>>()))
            .boxed()
    }

    /// The number that the rows have.
    pub fn ord(&self) -> AttemptOrd {
        self.key.ord
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
    /// The number that the rows have.
    pub fn ord(&self) -> AttemptOrd {
        self.key.ord
    }

    /// Rows that wait in memory, in bytes: what a commit has still to write.
    pub fn buffered_bytes(&self) -> usize {
        self.tables.values().map(|part| part.bytes).sum()
    }
}

async fn write_parts(
    writer: &mut SegmentWriter,
    table: &'static TableDef,
    parts: &[(AttemptKey, Part)],
) -> Result<(), CacheError> {
    let schema = arrange::segment_schema(table);
    let parts: Vec<AttemptPart<'_>> = parts
        .iter()
        .map(|(key, part)| AttemptPart {
            internal: key.internal(),
            batches: &part.batches,
        })
        .collect();
    let rows = arrange::arrange(table, &schema, &parts).map_err(|source| CacheError::Arrange {
        table: table.name.to_owned(),
        source,
    })?;
    for start in (0..rows.num_rows()).step_by(WRITE_ROWS) {
        let length = WRITE_ROWS.min(rows.num_rows() - start);
        writer.write(&rows.slice(start, length)).await?;
    }
    Ok(())
}

/// Writes what is left of the attempts, one segment a table, and gives all their segments.
///
/// Most attempts have few rows of a table, and Parquet wants many at once: they are put together first.
pub(super) async fn write_rest(
    storage: &Storage,
    options: &CacheOptions,
    put: &mut [Written],
) -> Result<Vec<Segment>, CacheError> {
    let key = |written: &Written| (written.key.app_id.clone(), written.key.attempt_id.clone());
    put.sort_by_key(key);
    if let Some(pair) = put.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])) {
        let (app_id, attempt_id) = key(&pair[0]);
        return Err(CacheError::Twice {
            app_id: app_id.to_string(),
            attempt_id: attempt_id.to_string(),
        });
    }
    let mut segments: Vec<Segment> = put.iter_mut().flat_map(|written| written.segments.drain(..)).collect();
    for table in table::stored() {
        let mut parts = put.iter_mut().filter_map(|written| {
            let part = written.tables.remove(table.name)?;
            Some((written.key.clone(), part))
        });
        let Some(first) = parts.next() else { continue };
        let mut writer = SegmentWriter::start(storage, table, 0, options)?;
        let mut bytes = first.1.bytes;
        let mut group = vec![first];
        for next in parts {
            if bytes >= GROUP_BYTES {
                write_parts(&mut writer, table, &std::mem::take(&mut group)).await?;
                bytes = 0;
            }
            bytes += next.1.bytes;
            group.push(next);
        }
        write_parts(&mut writer, table, &group).await?;
        segments.push(writer.finish().await?);
    }
    Ok(segments)
}

/// The actions that make changes visible, seen from a snapshot.
pub(super) fn actions(
    changes: &Changes,
    segments: &[Segment],
    acls: &BTreeMap<i32, String>,
    snapshot: &Snapshot,
) -> Result<Vec<Action>, CacheError> {
    let mut dropped = BTreeSet::new();
    let mut puts = Vec::new();
    for (app_id, attempt_id) in &changes.drop {
        dropped.extend(snapshot.attempt(app_id, attempt_id).map(|attempt| attempt.ord));
    }
    for Written { key, info, .. } in &changes.put {
        let before = snapshot.attempt(&key.app_id, &key.attempt_id);
        let generation = match before {
            Some(live) if key.extends && live.ord == key.ord && !dropped.contains(&live.ord) => live.generation,
            _ if key.extends => {
                return Err(CacheError::Gone {
                    app_id: key.app_id.to_string(),
                    attempt_id: key.attempt_id.to_string(),
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
    let known = snapshot.acls();
    let used = changes
        .put
        .iter()
        .map(|written| written.key.acl_id)
        .collect::<BTreeSet<i32>>();
    let new_acls = used.iter().filter(|acl_id| !known.contains_key(acl_id));
    let put_acls = new_acls.filter_map(|acl_id| {
        let (acl_id, acl) = (*acl_id, acls.get(acl_id)?.clone());
        Some(Action::PutAcl { acl_id, acl })
    });
    let gone = changes
        .drop_logs
        .iter()
        .filter(|identity| snapshot.other_log(identity).is_some());
    let drop_logs = gone.map(|identity| Action::DropOtherLog {
        identity: identity.clone(),
    });
    let drops = dropped.into_iter().map(|ord| Action::DropApp { ord });
    let adds = segments.iter().cloned().map(Action::AddSegment);
    let put_logs = changes.put_logs.iter().cloned().map(Action::PutOtherLog);
    let attempts = put_acls.chain(drops).chain(puts).chain(adds);
    Ok(attempts.chain(drop_logs).chain(put_logs).collect())
}
