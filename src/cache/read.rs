//! Reads rows of segments: the row groups and pages that the manifest's row ranges name, and no others.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::{AsyncFileReader, MetadataFetch};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::manifest::{AttemptOrd, Segment, Snapshot};
use super::store::Storage;
use super::{CacheError, arrange};
use crate::table::TableDef;

/// Footers that are kept, in bytes: those of some hundred segments.
const FOOTER_BYTES: u64 = 128 * 1024 * 1024;

/// Footers of segments that were read lately, by path: of a wide table, to decode one costs more than the rows of an application do. Segments
/// never change.
pub(super) struct Footers(moka::future::Cache<String, ArrowReaderMetadata>);

impl Default for Footers {
    fn default() -> Self {
        let bytes = |_: &String, footer: &ArrowReaderMetadata| {
            u32::try_from(footer.metadata().memory_size()).unwrap_or(u32::MAX)
        };
        let cache = moka::future::Cache::builder();
        Footers(cache.max_capacity(FOOTER_BYTES).weigher(bytes).build())
    }
}

impl fmt::Debug for Footers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Footers").finish_non_exhaustive()
    }
}

/// Rows in a batch.
const BATCH_ROWS: usize = 8192;

/// The rows of an attempt, as the table is now, without the internal columns. Sorted within each segment; an attempt that was written in
/// several parts lies in several.
pub(super) async fn rows_of(
    storage: &Arc<Storage>,
    snapshot: &Snapshot,
    table: &'static TableDef,
    ord: AttemptOrd,
) -> Result<Vec<RecordBatch>, CacheError> {
    let mut batches = Vec::new();
    if snapshot.by_ord(ord).is_none() {
        return Ok(batches);
    }
    for (segment, rows) in snapshot.rows_of(table.name, ord) {
        let stream = open(storage, segment, table.arrow_schema(), vec![rows]).await?;
        let read: Vec<RecordBatch> = stream.try_collect().await?;
        batches.extend(read);
    }
    Ok(batches)
}

/// Some columns of rows of segments, which lie in each from first to end.
pub(super) fn columns<'a>(
    storage: &'a Arc<Storage>,
    parts: Vec<(&'a Segment, Range<u64>)>,
    table: &TableDef,
    names: &[&str],
) -> BoxStream<'a, Result<RecordBatch, CacheError>> {
    let schema = arrange::projected(table, names);
    futures::stream::iter(parts.into_iter().map(Ok))
        .and_then(move |(segment, rows)| open(storage, segment, Arc::clone(&schema), vec![rows]))
        .try_flatten()
        .boxed()
}

/// The live rows of a segment with the internal columns.
pub(super) async fn live_rows(
    storage: &Arc<Storage>,
    snapshot: &Snapshot,
    table: &'static TableDef,
    segment: &Arc<Segment>,
) -> Result<impl Stream<Item = Result<RecordBatch, CacheError>> + Send + use<>, CacheError> {
    let rows = snapshot.live_rows(segment);
    open(storage, segment, arrange::segment_schema(table), rows).await
}

/// Some rows of a segment, with the columns of `schema`. `rows` are ascending and do not touch.
async fn open(
    storage: &Arc<Storage>,
    segment: &Segment,
    schema: SchemaRef,
    rows: Vec<Range<u64>>,
) -> Result<impl Stream<Item = Result<RecordBatch, CacheError>> + Send + use<>, CacheError> {
    let file = storage.file(&segment.path);
    let mut reader = SegmentFile {
        store: Arc::new(storage.checked.clone()),
        path: Path::from(segment.path.as_str()),
        bytes: segment.bytes,
        footer_bytes: usize::try_from(segment.footer_bytes).unwrap_or(usize::MAX),
    };
    // Where pages lie, so that only those with the rows are fetched; their bounds are not needed.
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
    let metadata = match storage.footers.0.get(&segment.path).await {
        Some(known) => Ok(known),
        None => {
            let read = ArrowReaderMetadata::load_async(&mut reader, options.clone()).await;
            if let Ok(footer) = &read {
                storage.footers.0.insert(segment.path.clone(), footer.clone()).await;
            }
            read
        }
    };
    let metadata = metadata.and_then(|metadata| with_views(metadata, &schema, options));
    let metadata = metadata.map_err(|error| read_error(&file, error))?;
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata);
    let metadata = Arc::clone(builder.metadata());
    if u64::try_from(metadata.file_metadata().num_rows()) != Ok(segment.rows) {
        let reason = format!(
            "it has {} rows, not {}",
            metadata.file_metadata().num_rows(),
            segment.rows
        );
        return Err(CacheError::damaged(&file, reason));
    }
    let columns = Columns::new(&file, builder.schema(), schema)?;
    let (groups, selection) = select(&metadata, &rows);
    let stream = builder
        .with_projection(columns.projection(&metadata))
        .with_batch_size(BATCH_ROWS)
        .with_row_groups(groups)
        .with_row_selection(selection)
        .build()
        .map_err(|error| read_error(&file, error))?;
    Ok(stream.map(move |batch| {
        let batch = batch.map_err(|error| read_error(&file, error))?;
        columns.arrange(&file, &batch)
    }))
}

/// Has texts read as views where `schema` has views: rows then share the bytes of the dictionary, as they do in the file. A file says no
/// more than that there is a text.
fn with_views(
    metadata: ArrowReaderMetadata,
    schema: &Schema,
    options: ArrowReaderOptions,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let is_view = |name: &str| {
        schema
            .field_with_name(name)
            .is_ok_and(|field| *field.data_type() == DataType::Utf8View)
    };
    let found = metadata.schema().fields();
    if !found.iter().any(|field| is_view(field.name())) {
        return Ok(metadata);
    }
    let fields = found.iter().map(|field| {
        if *field.data_type() == DataType::Utf8 && is_view(field.name()) {
            Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View))
        } else {
            Arc::clone(field)
        }
    });
    let schema = Schema::new(fields.collect::<Vec<_>>());
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options.with_schema(Arc::new(schema)))
}

/// The row groups that have some of the rows, and which rows of those.
fn select(metadata: &ParquetMetaData, rows: &[Range<u64>]) -> (Vec<usize>, RowSelection) {
    let (mut groups, mut selected) = (Vec::new(), Vec::new());
    // Where a group starts in the file, and among the groups that are read.
    let (mut start, mut at) = (0_u64, 0_usize);
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let count = u64::try_from(group.num_rows()).unwrap_or_default();
        let mut wanted = rows
            .iter()
            .map(|range| range.start.max(start)..range.end.min(start + count))
            .filter(|range| !range.is_empty())
            .peekable();
        if wanted.peek().is_some() {
            groups.push(number);
            let offset = |row: u64| at + usize::try_from(row - start).unwrap_or(usize::MAX);
            selected.extend(wanted.map(|range| offset(range.start)..offset(range.end)));
            at += usize::try_from(count).unwrap_or(usize::MAX);
        }
        start += count;
    }
    (groups, RowSelection::from_consecutive_ranges(selected.into_iter(), at))
}

/// How the columns of a file become those of a table. An earlier release may have written fewer, or in another order.
struct Columns {
    schema: SchemaRef,
    /// Of each column its place in what is read; `None` if the file lacks it.
    from: Vec<Option<usize>>,
    /// Columns of the file that are read.
    roots: Vec<usize>,
}

impl Columns {
    fn new(file: &str, found: &Schema, schema: SchemaRef) -> Result<Self, CacheError> {
        let mut roots = Vec::new();
        for field in schema.fields() {
            let other = |column: &str| CacheError::OtherSchema {
                file: file.to_owned(),
                column: column.to_owned(),
                expected: field.data_type().to_string(),
            };
            match found.index_of(field.name()) {
                Ok(at) if found.field(at).data_type() == field.data_type() => roots.push(at),
                Err(_) if field.is_nullable() => {}
                _ => return Err(other(field.name())),
            }
        }
        roots.sort_unstable();
        let place = |name: &str| {
            let at = found.index_of(name).ok()?;
            roots.binary_search(&at).ok()
        };
        let from = schema.fields().iter().map(|field| place(field.name())).collect();
        Ok(Columns { schema, from, roots })
    }

    fn projection(&self, metadata: &ParquetMetaData) -> parquet::arrow::ProjectionMask {
        let columns = metadata.file_metadata().schema_descr();
        parquet::arrow::ProjectionMask::roots(columns, self.roots.iter().copied())
    }

    fn arrange(&self, file: &str, batch: &RecordBatch) -> Result<RecordBatch, CacheError> {
        let column = |(from, field): (&Option<usize>, &Arc<arrow::datatypes::Field>)| -> ArrayRef {
            match from {
                Some(at) => Arc::clone(batch.column(*at)),
                None => new_null_array(field.data_type(), batch.num_rows()),
            }
        };
        let columns = self.from.iter().zip(self.schema.fields()).map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| CacheError::damaged(file, error))
    }
}

/// One segment as `parquet` reads it.
struct SegmentFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
    footer_bytes: usize,
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for SegmentFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { self.store.get_range(&self.path, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let (bytes, footer) = (self.bytes, self.footer_bytes);
            let mut reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(footer));
            if let Some(options) = options {
                reader = reader
                    .with_metadata_options(Some(options.metadata_options().clone()))
                    .with_column_index_policy(options.column_index_policy())
                    .with_offset_index_policy(options.offset_index_policy());
            }
            let metadata = reader.load_and_finish(Fetch(self), bytes).await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}

struct Fetch<'a>(&'a mut SegmentFile);

impl MetadataFetch for Fetch<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.0.get_bytes(range)
    }
}

/// What the storage said, if that is what failed.
pub(super) fn storage_error(error: ParquetError) -> Result<object_store::Error, ParquetError> {
    match error {
        ParquetError::External(source) => match source.downcast::<object_store::Error>() {
            Ok(error) => Ok(*error),
            Err(source) => match source.downcast::<ParquetError>() {
                Ok(inner) => storage_error(*inner),
                Err(source) => match source.downcast::<std::io::Error>() {
                    Ok(io) => from_io(*io),
                    Err(source) => Err(ParquetError::External(source)),
                },
            },
        },
        error => Err(error),
    }
}

/// The upload of a file speaks of its store's errors as of its own.
fn from_io(error: std::io::Error) -> Result<object_store::Error, ParquetError> {
    Ok(object_store::Error::Generic {
        store: "upload",
        source: error.into(),
    })
}

fn read_error(file: &str, error: ParquetError) -> CacheError {
    let file = file.to_owned();
    match storage_error(error) {
        Ok(object_store::Error::NotFound { .. }) => CacheError::Missing { file },
        Ok(source) => CacheError::Store {
            action: "read",
            file,
            source,
        },
        Err(error) => CacheError::damaged(&file, error),
    }
}
