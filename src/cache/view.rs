//! A moment of the cache that rows can be read from, whoever writes meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;

use super::collect::SEGMENTS;
use super::manifest::{AttemptOrd, Segment, Snapshot};
use super::store::Storage;
use super::{CacheError, arrange, read};
use crate::table::TableDef;

/// Decoded rows that are kept, in bytes: about two hundred applications of ordinary size.
const DECODED_BYTES: u64 = 256 * 1024 * 1024;

/// Rows of attempts that were asked for lately, decoded. An attempt is looked at many times in a row (a page of a user interface asks for
/// its jobs, stages, executors …), and to decode a page of Parquet for a few of its rows costs more than the question.
pub(super) struct Decoded(moka::future::Cache<DecodedKey, Arc<Vec<RecordBatch>>>);

/// Rows of an attempt never change; those of one that is extended are more afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct DecodedKey {
    ord: AttemptOrd,
    table: &'static str,
    rows: u64,
}

impl Default for Decoded {
    fn default() -> Self {
        let bytes = |_: &DecodedKey, batches: &Arc<Vec<RecordBatch>>| {
            let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let cache = moka::future::Cache::builder();
        Decoded(cache.max_capacity(DECODED_BYTES).weigher(bytes).build())
    }
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoded").finish_non_exhaustive()
    }
}

/// The texts of a few rows without those of the other rows of their row group, which they were read with.
fn with_own_texts(batch: RecordBatch) -> RecordBatch {
    let own = |column: &ArrayRef| match column.as_string_view_opt() {
        Some(texts) => Arc::new(texts.gc()) as ArrayRef,
        None => Arc::clone(column),
    };
    let columns = batch.columns().iter().map(own).collect();
    RecordBatch::try_new(batch.schema(), columns).unwrap_or(batch)
}

/// What is lost of a cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// As messages name them.
    pub files: Vec<String>,
    /// Attempts that had rows there, live or not.
    pub attempts: BTreeSet<AttemptOrd>,
}

/// One snapshot of a cache, and its files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CacheView {
    storage: Arc<Storage>,
    snapshot: Arc<Snapshot>,
    decoded: Arc<Decoded>,
}

impl CacheView {
    pub(super) fn new(storage: Arc<Storage>, snapshot: Arc<Snapshot>, decoded: Arc<Decoded>) -> Self {
        CacheView {
            storage,
            snapshot,
            decoded,
        }
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Where the paths of segments begin. What it gives of them is what was written, or an error.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.storage.checked.clone())
    }

    /// Rows that a table has of an attempt, from the manifest alone.
    pub fn row_count(&self, table: &TableDef, ord: AttemptOrd) -> u64 {
        let ranges = self.snapshot.rows_of(table.name, ord).into_iter();
        ranges.map(|(_, rows)| rows.end - rows.start).sum()
    }

    /// The rows of an attempt, as the table is now; kept in memory for the next who asks. Meant for few rows.
    pub async fn rows(
        &self,
        table: &'static TableDef,
        ord: AttemptOrd,
    ) -> Result<Arc<Vec<RecordBatch>>, Arc<CacheError>> {
        let rows = self.row_count(table, ord);
        if rows > 0 && self.snapshot.by_ord(ord).is_none() {
            // To give none would be to lose them.
            return Err(Arc::new(CacheError::NotLive { ord }));
        }
        if rows == 0 {
            return Ok(Arc::default());
        }
        let key = DecodedKey {
            ord,
            table: table.name,
            rows,
        };
        let read = async {
            let rows = Box::pin(read::rows_of(&self.storage, &self.snapshot, table, ord)).await?;
            Ok(Arc::new(rows.into_iter().map(with_own_texts).collect()))
        };
        self.decoded.0.try_get_with(key, read).await
    }

    /// Some columns of the rows of an attempt.
    pub fn columns<'a>(
        &'a self,
        table: &'static TableDef,
        ord: AttemptOrd,
        names: &'a [&'static str],
    ) -> BoxStream<'a, Result<RecordBatch, CacheError>> {
        let parts = self.snapshot.rows_of(table.name, ord).into_iter();
        let parts = parts.map(|(segment, rows)| (&**segment, rows)).collect();
        read::columns(&self.storage, parts, table, names)
    }

    /// Whether readers have met a segment that is not there, or not what was written.
    pub fn has_damage(&self) -> bool {
        !self.damaged().is_empty()
    }

    /// Segments with live rows that readers found damaged or gone, by path.
    fn damaged(&self) -> BTreeSet<&str> {
        let met = self.storage.checked.damaged();
        if met.is_empty() {
            return BTreeSet::new();
        }
        let is_lost = |segment: &Segment| met.contains(&segment.path) && !self.snapshot.live_rows(segment).is_empty();
        let segments = self.snapshot.all_segments().filter(|segment| is_lost(segment));
        segments.map(|segment| segment.path.as_str()).collect()
    }

    /// Files of segments that are not there, or not whole, or that readers found damaged, and whose rows they held. Costs one listing.
    pub async fn missing(&self) -> Result<Missing, CacheError> {
        let damaged = self.damaged();
        let listed = self.storage.list(SEGMENTS, None).await?;
        let sizes: HashMap<&str, u64> = listed.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        let mut missing = Missing::default();
        for segment in self.snapshot.all_segments() {
            let path = segment.path.as_str();
            if sizes.get(path) != Some(&segment.bytes) || damaged.contains(path) {
                missing.files.push(self.storage.file(&segment.path));
                missing.attempts.extend(segment.attempts.iter().map(|range| range.ord));
            }
        }
        Ok(missing)
    }

    /// All live rows of a table segment by segment, each batch with the attempts of its rows.
    pub async fn table(&self, table: &'static TableDef) -> Result<Vec<(RecordBatch, Vec<AttemptOrd>)>, CacheError> {
        let mut read = Vec::new();
        for segment in self.snapshot.segments(table.name) {
            let rows = Box::pin(read::live_rows(&self.storage, &self.snapshot, table, segment)).await?;
            let batches: Vec<RecordBatch> = rows.try_collect().await?;
            for batch in batches {
                let ords = arrange::ords(&batch).map(|ords| ords.values().iter().map(|ord| AttemptOrd(*ord)).collect());
                let columns: Vec<usize> = (0..table.columns.len()).collect();
                let rows = batch
                    .project(&columns)
                    .map_err(|error| CacheError::damaged(&segment.path, error))?;
                read.push((rows, ords.unwrap_or_default()));
            }
        }
        Ok(read)
    }
}
