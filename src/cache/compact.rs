//! Compaction: few large segments instead of many small ones, without the rows of attempts that are gone.
//!
//! Inputs are sorted, so they are merged in one pass: of each input one batch and one row group are in memory. Attempts may be
//! put and dropped meanwhile: an attempt that goes leaves dead rows in the new segment as it would have in the old ones.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::error::ArrowError;
use arrow::row::Rows;
use futures::{Stream, StreamExt};

use super::arrange::{self, Keys};
use super::commit::Action;
use super::manifest::{Segment, Snapshot};
use super::segment::SegmentWriter;
use super::{Cache, CacheError, CacheOptions, read};
use crate::table::{self, Column, TableDef, Type};

/// So many segments of one level are merged, however small.
const MERGE_COUNT: usize = 8;
/// Inputs of one merge: bounds the memory that it needs.
const MOST_INPUTS: usize = 16;
/// Segments of this level are the largest.
const TOP_LEVEL: u8 = 2;
/// A segment with more dead rows than one of so many is written anew.
const DEAD_ROWS_OF: u64 = 5;
/// Rows handed to Parquet at once. Shared texts are copied where attempts of several inputs alternate, so their rows are fewer.
const OUTPUT_ROWS: usize = 8192;
const OUTPUT_ROWS_OF_SHARED_TEXTS: usize = 512;

/// What a compaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were merged, and those that took their place.
    pub inputs: usize,
    pub outputs: usize,
    /// Segments without a live row.
    pub dropped: usize,
    pub bytes_read: u64,
    pub bytes_written: u64,
}

impl Cache {
    /// Does what is due, one commit for each merge.
    pub async fn compact(&self) -> Result<Compacted, CacheError> {
        let _one_at_a_time = self.compacting.lock().await;
        let mut done = self.drop_dead_segments().await?;
        for table in table::stored() {
            // Each merge leaves fewer segments, all but one of them full, so this ends; the bound is for a defect of ours.
            for _ in 0..1000 {
                let Some(plan) = plan(&self.snapshot(), table, &self.options) else {
                    break;
                };
                Box::pin(self.merge(table, &plan, &mut done)).await?;
            }
        }
        Ok(done)
    }

    /// Segments without a live row go without being read.
    async fn drop_dead_segments(&self) -> Result<Compacted, CacheError> {
        let dead = |snapshot: &Snapshot| {
            let segments = snapshot
                .all_segments()
                .filter(|segment| live_rows(snapshot, segment) == 0);
            let remove = segments.map(|segment| remove(segment));
            remove.collect::<Vec<Action>>()
        };
        let dropped = std::sync::atomic::AtomicUsize::new(0);
        self.commit_actions(|snapshot| {
            let actions = dead(snapshot);
            dropped.store(actions.len(), std::sync::atomic::Ordering::Relaxed);
            Ok(actions)
        })
        .await?;
        Ok(Compacted {
            dropped: dropped.into_inner(),
            ..Compacted::default()
        })
    }

    async fn merge(&self, table: &'static TableDef, plan: &Plan, done: &mut Compacted) -> Result<(), CacheError> {
        let snapshot = self.snapshot();
        let mut inputs = Vec::new();
        for segment in &plan.inputs {
            let rows = read::live_rows(&self.storage, &snapshot, table, segment).await?;
            inputs.push(Input {
                rows: Box::pin(rows),
                batch: None,
            });
        }
        let is_shared = |column: &Column| column.ty == Type::SharedText;
        let output_rows = match table.columns.iter().any(is_shared) {
            true => OUTPUT_ROWS_OF_SHARED_TEXTS,
            false => OUTPUT_ROWS,
        };
        let mut output = Output {
            cache: self,
            table,
            level: plan.level,
            target: target(table, plan.level, &self.options),
            rows: BatchCoalescer::new(arrange::segment_schema(table), output_rows)
                .with_biggest_coalesce_batch_size(Some(output_rows / 2)),
            writer: None,
            segments: Vec::new(),
        };
        merge_rows(table, inputs, &mut output).await?;
        let segments = output.finish().await?;
        done.inputs += plan.inputs.len();
        done.outputs += segments.len();
        done.bytes_read += plan.inputs.iter().map(|segment| segment.bytes).sum::<u64>();
        done.bytes_written += segments.iter().map(|segment| segment.bytes).sum::<u64>();
        self.commit_actions(|_| {
            let removed = plan.inputs.iter().map(|segment| remove(segment));
            Ok(removed
                .chain(segments.iter().cloned().map(Action::AddSegment))
                .collect())
        })
        .await?;
        Ok(())
    }
}

fn remove(segment: &Segment) -> Action {
    Action::RemoveSegment {
        table: segment.table.clone(),
        path: segment.path.clone(),
    }
}

pub(super) fn live_rows(snapshot: &Snapshot, segment: &Segment) -> u64 {
    let live = segment
        .attempts
        .iter()
        .filter(|range| snapshot.by_ord(range.ord).is_some());
    live.map(|range| range.rows.end - range.rows.start).sum()
}

/// The size that segments of a level are meant to have.
fn target(table: &TableDef, level: u8, options: &CacheOptions) -> u64 {
    match level {
        0 | 1 => options.level1_bytes,
        _ if table.name == "tasks" => options.level2_bytes_of_tasks,
        _ => options.level2_bytes,
    }
}

/// Segments to merge, and the level of what comes out.
#[derive(Debug)]
struct Plan {
    inputs: Vec<Arc<Segment>>,
    level: u8,
}

/// The next merge of a table, if one is due.
fn plan(snapshot: &Snapshot, table: &TableDef, options: &CacheOptions) -> Option<Plan> {
    let mut levels: BTreeMap<u8, Vec<Arc<Segment>>> = BTreeMap::new();
    for segment in snapshot.segments(table.name) {
        levels
            .entry(segment.level.min(TOP_LEVEL))
            .or_default()
            .push(Arc::clone(segment));
    }
    for (level, mut segments) in levels {
        let next = (level + 1).min(TOP_LEVEL);
        // At the top only what is small is merged: there it would never be large enough else.
        if level == TOP_LEVEL {
            segments.retain(|segment| segment.bytes < target(table, level, options) / 2);
        }
        let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let is_due = segments.len() >= MERGE_COUNT || bytes >= target(table, next, options) && segments.len() > 1;
        if is_due {
            // Names begin with the time: what was written together is merged together.
            segments.truncate(MOST_INPUTS);
            return Some(Plan {
                inputs: segments,
                level: next,
            });
        }
    }
    let mostly_dead = snapshot.segments(table.name).find(|segment| {
        let dead = segment.rows - live_rows(snapshot, segment);
        dead * DEAD_ROWS_OF > segment.rows && dead < segment.rows
    });
    mostly_dead.map(|segment| Plan {
        inputs: vec![Arc::clone(segment)],
        level: segment.level,
    })
}

/// One sorted input. Its current batch is there until all its rows were taken.
struct Input {
    rows: Pin<Box<dyn Stream<Item = Result<RecordBatch, CacheError>> + Send>>,
    batch: Option<Current>,
}

struct Current {
    batch: RecordBatch,
    keys: Rows,
    /// Rows that were taken.
    taken: usize,
}

impl Current {
    fn first(&self) -> arrow::row::Row<'_> {
        self.keys.row(self.taken)
    }

    /// The end of the rows that come before or with `other`.
    fn end_of_run(&self, other: arrow::row::Row<'_>) -> usize {
        let (mut low, mut high) = (self.taken, self.batch.num_rows());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.keys.row(middle) <= other {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl Input {
    /// Sees to it that there is a current batch unless the input is at its end.
    async fn fill(&mut self, keys: &Keys, table: &TableDef) -> Result<(), CacheError> {
        while self.batch.is_none() {
            let Some(batch) = self.rows.next().await else { break };
            let batch = batch?;
            if batch.num_rows() > 0 {
                let keys = keys.of(&batch).map_err(|source| arrange_error(table, source))?;
                self.batch = Some(Current { batch, keys, taken: 0 });
            }
        }
        Ok(())
    }
}

async fn merge_rows(
    table: &'static TableDef,
    mut inputs: Vec<Input>,
    output: &mut Output<'_>,
) -> Result<(), CacheError> {
    let order = arrange::sort_order(table);
    let keys = Keys::new(&arrange::segment_schema(table), &order).map_err(|source| arrange_error(table, source))?;
    for input in &mut inputs {
        input.fill(&keys, table).await?;
    }
    loop {
        inputs.retain(|input| input.batch.is_some());
        let mut heads: Vec<(usize, &Current)> = inputs
            .iter()
            .enumerate()
            .filter_map(|(at, input)| Some((at, input.batch.as_ref()?)))
            .collect();
        // The sort is stable: of equal keys those of the earlier input come first.
        heads.sort_by(|(_, a), (_, b)| a.first().cmp(&b.first()));
        let Some((at, head)) = heads.first() else { return Ok(()) };
        let end = match heads.get(1) {
            Some((_, second)) => head.end_of_run(second.first()).max(head.taken + 1),
            None => head.batch.num_rows(),
        };
        let (at, run) = (*at, head.batch.slice(head.taken, end - head.taken));
        output.push(run).await?;
        let input = &mut inputs[at];
        if let Some(current) = &mut input.batch {
            current.taken = end;
            if end == current.batch.num_rows() {
                input.batch = None;
                input.fill(&keys, table).await?;
            }
        }
    }
}

fn arrange_error(table: &TableDef, source: ArrowError) -> CacheError {
    CacheError::Arrange {
        table: table.name.to_owned(),
        source,
    }
}

/// Writes rows into as many segments as their size asks for.
struct Output<'a> {
    cache: &'a Cache,
    table: &'static TableDef,
    level: u8,
    target: u64,
    rows: BatchCoalescer,
    writer: Option<SegmentWriter>,
    segments: Vec<Segment>,
}

impl Output<'_> {
    async fn push(&mut self, batch: RecordBatch) -> Result<(), CacheError> {
        let pushed = self.rows.push_batch(batch);
        pushed.map_err(|source| arrange_error(self.table, source))?;
        self.write_completed().await
    }

    async fn write_completed(&mut self) -> Result<(), CacheError> {
        while let Some(batch) = self.rows.next_completed_batch() {
            let writer = match &mut self.writer {
                Some(writer) => writer,
                none => {
                    let cache = self.cache;
                    none.insert(SegmentWriter::start(
                        &cache.storage,
                        self.table,
                        self.level,
                        &cache.options,
                    )?)
                }
            };
            writer.write(&batch).await?;
            if writer.bytes() as u64 >= self.target
                && let Some(writer) = self.writer.take()
            {
                self.segments.push(writer.finish().await?);
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<Segment>, CacheError> {
        let finished = self.rows.finish_buffered_batch();
        finished.map_err(|source| arrange_error(self.table, source))?;
        self.write_completed().await?;
        if let Some(writer) = self.writer.take() {
            self.segments.push(writer.finish().await?);
        }
        Ok(self.segments)
    }
}
