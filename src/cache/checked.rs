//! Checksums of segments: what the disk, or someone, changed in a file is an error and never other rows.
//!
//! Parquet's own checksums of pages are not written by our writer, and its compression has none. So the manifest has a CRC-32 of each
//! block of a file, and who reads a part of it reads the blocks that the part lies in.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::ParquetError;
use tokio::io::AsyncWriteExt;

use super::manifest::{Segment, Snapshot};

/// Bytes that have a checksum together: few enough that a small read stays small, many enough that a manifest does.
const BLOCK: u64 = 64 * 1024;
/// Whose errors those are that checking gives.
const CHECKED: &str = "column cache";

/// Checksums of a file that is being written.
#[derive(Debug, Default)]
pub(super) struct Sums {
    blocks: Vec<u32>,
    open: crc32fast::Hasher,
    open_bytes: u64,
}

impl Sums {
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = usize::try_from(BLOCK - self.open_bytes).unwrap_or(usize::MAX);
            let (head, rest) = bytes.split_at(left.min(bytes.len()));
            self.open.update(head);
            self.open_bytes += head.len() as u64;
            bytes = rest;
            if self.open_bytes == BLOCK {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        self.blocks.push(std::mem::take(&mut self.open).finalize());
        self.open_bytes = 0;
    }

    /// The checksums of all blocks; the last may be short.
    pub(super) fn finish(&mut self) -> Vec<u32> {
        if self.open_bytes > 0 {
            self.close();
        }
        std::mem::take(&mut self.blocks)
    }
}

/// A file that is written, and its checksums.
pub(super) struct SummedFile {
    file: BufWriter,
    sums: Arc<Mutex<Sums>>,
}

impl SummedFile {
    pub(super) fn new(file: BufWriter) -> (Self, Arc<Mutex<Sums>>) {
        let sums = Arc::default();
        let written = SummedFile {
            file,
            sums: Arc::clone(&sums),
        };
        (written, sums)
    }
}

impl AsyncFileWriter for SummedFile {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, std::result::Result<(), ParquetError>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).add(&bytes);
        async move {
            let written = self.file.write_all(&bytes).await;
            written.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, std::result::Result<(), ParquetError>> {
        async move {
            let done = self.file.shutdown().await;
            done.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }
}

/// The store of a cache for those who read segments: what it gives of a segment that a snapshot names is what was written.
#[derive(Clone)]
pub(super) struct CheckedStore {
    inner: Arc<dyn ObjectStore>,
    /// By path. Names are never used again, so what is known of one stays true.
    known: Arc<RwLock<HashMap<String, Arc<Segment>>>>,
    /// Paths of segments that could not be read, or not as they were written.
    damaged: Arc<Mutex<BTreeSet<String>>>,
}

impl fmt::Debug for CheckedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckedStore({:?})", self.inner)
    }
}

impl fmt::Display for CheckedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckedStore({})", self.inner)
    }
}

impl CheckedStore {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        CheckedStore {
            inner,
            known: Arc::default(),
            damaged: Arc::default(),
        }
    }

    /// Segments that readers have found damaged or gone.
    pub(super) fn damaged(&self) -> BTreeSet<String> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What reading a segment gave, remembered if the segment is lost: whoever looks after the cache has its rows read again.
    fn noted<T>(&self, segment: &Segment, read: Result<T>) -> Result<T> {
        if matches!(
            read,
            Err(Error::NotFound { .. } | Error::Generic { store: CHECKED, .. })
        ) {
            let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
            damaged.insert(segment.path.clone());
        }
        read
    }

    /// From now on the segments of a snapshot are checked. Those that were removed stay known while old snapshots may read them.
    pub(super) fn know(&self, snapshot: &Snapshot) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for segment in snapshot.all_segments() {
            if !known.contains_key(&segment.path) {
                known.insert(segment.path.clone(), Arc::clone(segment));
            }
        }
    }

    /// Its files are deleted.
    pub(super) fn forget(&self, path: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(path);
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    fn segment(&self, path: &Path) -> Option<Arc<Segment>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .get(path.as_ref())
            .filter(|segment| !segment.blocks.is_empty())
            .cloned()
    }
}

/// Whole blocks around a part of a file.
fn aligned(range: &Range<u64>, bytes: u64) -> Range<u64> {
    range.start / BLOCK * BLOCK..(range.end.div_ceil(BLOCK) * BLOCK).min(bytes)
}

/// `bytes` begin with a block.
fn check(segment: &Segment, start: u64, bytes: &[u8]) -> Result<()> {
    let first = usize::try_from(start / BLOCK).unwrap_or(usize::MAX);
    let size = usize::try_from(BLOCK).unwrap_or(usize::MAX);
    for (number, block) in bytes.chunks(size).enumerate() {
        if segment.blocks.get(first + number) != Some(&crc32fast::hash(block)) {
            let at = start + (number * size) as u64;
            return Err(Error::Generic {
                store: CHECKED,
                source: format!(
                    "{} is damaged at byte {at}: what lies there is not what was written; a process that writes the cache and meets \
                     this reads the logs of these rows again, sparkgate cache clear has all of them read again",
                    segment.path
                )
                .into(),
            });
        }
    }
    Ok(())
}

fn part(bytes: &Bytes, start: u64, range: &Range<u64>) -> Bytes {
    let at = |position: u64| {
        usize::try_from(position.saturating_sub(start))
            .unwrap_or(usize::MAX)
            .min(bytes.len())
    };
    bytes.slice(at(range.start)..at(range.end))
}

#[async_trait]
impl ObjectStore for CheckedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        let Some(segment) = self.segment(location).filter(|_| !options.head) else {
            return self.inner.get_opts(location, options).await;
        };
        let wanted = match &options.range {
            None => 0..segment.bytes,
            Some(GetRange::Bounded(range)) => range.start..range.end.min(segment.bytes),
            Some(GetRange::Offset(start)) => *start..segment.bytes,
            Some(GetRange::Suffix(count)) => segment.bytes.saturating_sub(*count)..segment.bytes,
        };
        if wanted.is_empty() {
            return self.inner.get_opts(location, options).await;
        }
        let whole = aligned(&wanted, segment.bytes);
        options.range = Some(GetRange::Bounded(whole.clone()));
        let found = self.noted(&segment, self.inner.get_opts(location, options).await)?;
        let (meta, attributes) = (found.meta.clone(), found.attributes.clone());
        let bytes = found.bytes().await?;
        self.noted(&segment, check(&segment, whole.start, &bytes))?;
        let bytes = part(&bytes, whole.start, &wanted);
        Ok(GetResult {
            payload: GetResultPayload::Stream(futures::stream::once(async move { Ok(bytes) }).boxed()),
            meta,
            range: wanted,
            attributes,
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let Some(segment) = self.segment(location) else {
            return self.inner.get_ranges(location, ranges).await;
        };
        let mut whole: Vec<Range<u64>> = ranges.iter().map(|range| aligned(range, segment.bytes)).collect();
        whole.sort_by_key(|range| range.start);
        whole.dedup_by(|next, before| {
            let touches = next.start <= before.end;
            if touches {
                before.end = before.end.max(next.end);
            }
            touches
        });
        let read = self.noted(&segment, self.inner.get_ranges(location, &whole).await)?;
        for (range, bytes) in whole.iter().zip(&read) {
            self.noted(&segment, check(&segment, range.start, bytes))?;
        }
        let of = |range: &Range<u64>| {
            let at = whole
                .partition_point(|whole| whole.start <= range.start)
                .saturating_sub(1);
            match (whole.get(at), read.get(at)) {
                (Some(whole), Some(bytes)) => part(bytes, whole.start, range),
                _ => BytesMut::new().freeze(),
            }
        };
        Ok(ranges.iter().map(of).collect())
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
